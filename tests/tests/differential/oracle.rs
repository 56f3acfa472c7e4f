//! libzmq's ROUTER and XPUB, driven by the rules of `docs/wire-format.md`.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::{confirm, name};

/// Most frames and bytes of a request up to its delimiter, as wire-format.md says them.
const ENVELOPE_FRAMES_MAX: usize = 7;
const ENVELOPE_BYTES_MAX: usize = 2048;

/// The sockets, on free ports, and the thread that drives them.
pub(super) struct Oracle {
    pub(super) requests: SocketAddr,
    pub(super) publishing: SocketAddr,
    control: zmq::Socket,
    driver: Option<JoinHandle<()>>,
}

impl Oracle {
    pub(super) fn start() -> Self {
        let context = zmq::Context::new();
        let socket = |kind| {
            let socket = context.socket(kind).unwrap();
            socket.set_linger(0).unwrap();
            socket.set_sndhwm(0).unwrap();
            socket.set_rcvhwm(0).unwrap();
            socket
        };
        let (router, xpub) = (socket(zmq::ROUTER), socket(zmq::XPUB));
        // Answers go by the connection here, too: an identity is the newest connection's that chose it.
        router.set_router_handover(true).unwrap();
        xpub.set_xpub_verbose(true).unwrap();
        let [requests, publishing] = [&router, &xpub].map(|socket| {
            socket.bind("tcp://127.0.0.1:*").unwrap();
            let endpoint = socket.get_last_endpoint().unwrap().unwrap();
            endpoint.strip_prefix("tcp://").unwrap().parse().unwrap()
        });
        let (control, commands) = (socket(zmq::PAIR), socket(zmq::PAIR));
        commands.bind("inproc://control").unwrap();
        control.connect("inproc://control").unwrap();
        let driver = std::thread::spawn(move || drive(&router, &xpub, &commands));
        Self { requests, publishing, control, driver: Some(driver) }
    }

    /// Publishes frames, each as a message, and returns once the socket has them.
    pub(super) fn publish(&self, frames: &[Vec<u8>]) {
        self.control.send_multipart(frames, 0).unwrap();
        self.control.recv_bytes(0).unwrap();
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // An empty message ends the driver.
        if self.control.send("", 0).is_ok()
            && let Some(driver) = self.driver.take()
        {
            let _ = driver.join();
        }
    }
}

fn drive(router: &zmq::Socket, xpub: &zmq::Socket, commands: &zmq::Socket) {
    loop {
        let mut items = [router, xpub, commands].map(|socket| socket.as_poll_item(zmq::POLLIN));
        zmq::poll(&mut items, -1).unwrap();
        while let Ok(parts) = router.recv_multipart(zmq::DONTWAIT) {
            router.send_multipart(answer(&parts), 0).unwrap();
        }
        while let Ok(parts) = xpub.recv_multipart(zmq::DONTWAIT) {
            if let [only] = &parts[..]
                && let Some((1, topic)) = only.split_first()
                && confirm::is_topic(topic)
            {
                xpub.send(topic, 0).unwrap();
            }
        }
        if let Ok(frames) = commands.recv_multipart(zmq::DONTWAIT) {
            if frames[0].is_empty() {
                return;
            }
            for frame in frames {
                xpub.send(frame, 0).unwrap();
            }
            commands.send("", 0).unwrap();
        }
    }
}

/// The answer to a request, with the routing id that libzmq puts before both.
fn answer(parts: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (routing_id, frames) = parts.split_first().unwrap();
    let mut bytes = 0;
    let fits = |frame: &Vec<u8>| {
        let head = if frame.len() > 255 { 9 } else { 2 };
        bytes += frame.len();
        let fits = bytes <= ENVELOPE_BYTES_MAX;
        bytes += head;
        fits
    };
    let end = frames.iter().position(Vec::is_empty).map_or(frames.len(), |at| at + 1);
    let is_whole =
        end <= ENVELOPE_FRAMES_MAX && frames[end - 1].is_empty() && frames[..end].iter().all(fits);
    let (envelope, body) = match &frames[end..] {
        _ if !is_whole => (vec![Vec::new()], Vec::new()),
        [body] => (frames[..end].to_vec(), reply(body)),
        _ => (frames[..end].to_vec(), Vec::new()),
    };
    [vec![routing_id.clone()], envelope, vec![body]].concat()
}

/// The answer to a body. A refusal in the native format is its first byte alone; the texts are not compared.
fn reply(body: &[u8]) -> Vec<u8> {
    let is_ping = body.starts_with(&v2_prefix(name::PING))
        || body.starts_with(format!("{}|", name::PING).as_bytes());
    match body {
        _ if is_ping => b"OK".to_vec(),
        [0..0x20, ..] => vec![1],
        _ => Vec::new(),
    }
}
