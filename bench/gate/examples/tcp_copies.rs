//! Which threads of a real server copy, over TCP, the kernel's copies left out. Two steps:
//!
//! ```sh
//! cargo build --release -p mezzenger-gate --example tcp_copies
//! valgrind --tool=dhat --mode=copy --num-callers=200 --dhat-out-file=profile target/release/examples/tcp_copies
//! ```
//!
//! starts one (without mimalloc, which does not get on with valgrind) that ends with its input, and
//! prints the options with which loadgen finds it. Then `tcp_copies profile` prints the sums.

use std::process::ExitCode;

use mezzenger::Server;
use mezzenger_gate::dhat::copied_within;

/// The threads, by a function that each runs in.
const THREADS: [(&str, &str); 3] = [
    ("broker", "mezzenger::broker::run::Broker"),
    ("libzmq's I/O", "zmq::epoll_t::loop"),
    ("journal", "mezzenger::journal::writer"),
];

fn main() -> ExitCode {
    let done = match std::env::args().nth(1) {
        None => serve(),
        Some(profile) => sum(&profile),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcp_copies: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().pub_port(0).recv_port(0).start()?;
    let (send, receive) = (server.recv_addr().port(), server.pub_addr().port());
    println!("--server 127.0.0.1 --send-port {send} --sub-port {receive}");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    println!("{:?}", server.metrics());
    server.shutdown()?;
    Ok(())
}

fn sum(profile: &str) -> Result<(), Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(profile)?;
    for (thread, function) in THREADS {
        println!("{:12} {:>12} bytes copied", thread, copied_within(&text, function)?);
    }
    Ok(())
}
