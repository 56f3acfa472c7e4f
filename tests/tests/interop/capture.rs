//! A TCP forwarder that keeps what both ends say.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::harness::eventually;

/// What the ends of one connection said so far.
#[derive(Clone, Default)]
pub(super) struct Said {
    pub(super) client: Vec<u8>,
    pub(super) server: Vec<u8>,
}

/// A forwarder to one address.
pub(super) struct Capture {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Said>>>,
    ends: Arc<AtomicBool>,
    accepts: Option<JoinHandle<()>>,
}

impl Capture {
    /// Forwards to this address.
    pub(super) fn of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let accepts = std::thread::spawn({
            let (connections, ends) = (Arc::clone(&connections), Arc::clone(&ends));
            move || accept(&listener, server, &connections, &ends)
        });
        Self { address, connections, ends, accepts: Some(accepts) }
    }

    /// Where clients connect, for ZeroMQ.
    pub(super) fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// What was said on the only connection that there was.
    #[track_caller]
    pub(super) fn only_connection(&self) -> Said {
        eventually("a connection", || {
            let connections = self.connections.lock().unwrap();
            assert!(connections.len() <= 1, "the client connected {} times", connections.len());
            connections.first().cloned()
        })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts. Those that forward end with their connections.
        let _ = TcpStream::connect(self.address);
        if let Some(accepts) = self.accepts.take() {
            let _ = accepts.join();
        }
    }
}

fn accept(
    listener: &TcpListener,
    server: SocketAddr,
    connections: &Arc<Mutex<Vec<Said>>>,
    ends: &AtomicBool,
) {
    while let Ok((client, _)) = listener.accept() {
        if ends.load(Ordering::SeqCst) {
            return;
        }
        // Without a server the client is hung up on.
        let Ok(server) = TcpStream::connect(server) else { continue };
        let number = {
            let mut connections = connections.lock().unwrap();
            connections.push(Said::default());
            connections.len() - 1
        };
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
            continue;
        };
        let keep = Arc::clone(connections);
        std::thread::spawn(move || {
            forward(client, server, |bytes| {
                keep.lock().unwrap()[number].client.extend_from_slice(bytes);
            });
        });
        let keep = Arc::clone(connections);
        std::thread::spawn(move || {
            forward(server_too, client_too, |bytes| {
                keep.lock().unwrap()[number].server.extend_from_slice(bytes);
            });
        });
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut buffer = [0; 16384];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // Either end's hanging up is the other's.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
