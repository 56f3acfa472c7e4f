//! Prints the resident memory that each of many subscriptions takes in a server: names of 16 bytes, all
//! different, as many on each connection. What the connections themselves take is not counted.
//!
//! `cargo run --release -p mezzenger-bench --example subscription_memory -- 1000000 1000 SERVER`: so many
//! subscriptions over so many connections.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use mezzenger_bench::server::Server;

/// A connection of ZMTP 3.1 (rfc.zeromq.org/spec/37), as a SUB socket.
struct Connection(TcpStream);

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let mut greeting = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01NULL".to_vec();
        greeting.resize(64, 0);
        greeting.extend(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB");
        let mut connection = Self(TcpStream::connect(address)?);
        connection.0.write_all(&greeting)?;
        connection.wait_for(b"READY")?;
        Ok(connection)
    }

    /// Returns when the server has them all.
    fn subscribe(&mut self, names: impl Iterator<Item = String>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for name in names {
            let topic = format!("\x01{name}|");
            let length = u8::try_from(topic.len() + 10).expect("a short name");
            bytes.extend([4, length]);
            bytes.extend(b"\x09SUBSCRIBE");
            bytes.extend(topic.as_bytes());
        }
        bytes.extend(b"\x04\x07\x04PING\0\0");
        self.0.write_all(&bytes)?;
        self.wait_for(b"PONG")
    }

    fn wait_for(&mut self, answer: &[u8]) -> io::Result<()> {
        let (mut said, mut buffer) = (Vec::<u8>::new(), [0; 4096]);
        while !said.windows(answer.len()).any(|part| part == answer) {
            let read = self.0.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            said.extend(&buffer[..read]);
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = || args.next().expect("a number").parse().expect("a number");
    let (count, connections): (usize, usize) = (number(), number());
    let program = PathBuf::from(args.next().expect("the server's program"));
    let server = Server::start(&program, &[] as &[&str]);
    let mut open: Vec<_> =
        (0..connections).map(|_| Connection::open(&server.pub_addr)).collect::<Result<_, _>>()?;
    let before = server.resident_bytes();
    let each = count / connections;
    for (number, connection) in open.iter_mut().enumerate() {
        connection.subscribe((0..each).map(|n| format!("name.{:011}", number * each + n)))?;
    }
    let bytes = server.resident_bytes() - before;
    println!(
        "{count} subscriptions over {connections} connections: {:.1} MB, {:.1} B each",
        bytes as f64 / 1e6,
        bytes as f64 / count as f64
    );
    Ok(())
}
