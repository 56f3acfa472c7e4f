//! A server of a few lines over libzmq's sockets, for tests that need to see and to spoil what it does.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};

use crate::client::{Client, ClientBuilder};
use crate::net::tests::listen;
use crate::net::waker::{self, WakeReceiver, Waker};
use crate::wire::control::{self, Control, Delivery};
use crate::wire::frame::{Frame, v2_prefix};
use crate::wire::id::MessageId;
use crate::wire::record::{Encoding, Record, Records};
use crate::wire::reply::{self, ErrorCode};
use crate::wire::{self, ack, checksum, hello};

/// Longer than anything takes that works.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// What the server does with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// Publishes it and answers OK.
    Ok,
    /// Refuses it.
    Refuse(ErrorCode),
    /// Answers nothing.
    Silence,
    /// Answers OK when the test says [`FakeServer::release`].
    Hold,
}

/// A request other than a ping.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) name: String,
    pub(super) frame: Vec<u8>,
    peer: Vec<u8>,
    id: Vec<u8>,
}

impl Request {
    /// The payloads in it.
    pub(super) fn payloads(&self) -> Vec<Vec<u8>> {
        self.records().map(|record| record.payload.to_vec()).collect()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let body = &self.frame[self.name.len() + 2..];
        Records::new(body).map(|item| item.unwrap().1)
    }

    /// The ids in it, when it acknowledges.
    pub(super) fn acked(&self) -> Vec<MessageId> {
        assert_eq!(self.name, "ack");
        ack::ids(&self.frame[5..]).unwrap().collect()
    }
}

enum Command {
    /// A frame, and how often its group had it.
    Publish(Vec<u8>, u16),
    Release,
}

type Policy = Arc<Mutex<dyn FnMut(&Request) -> Answer + Send>>;

/// The server, on a thread of its own.
pub(super) struct FakeServer {
    pub(super) port: u16,
    /// Each request but pings, before it is answered.
    pub(super) requests: Receiver<Request>,
    /// What members of groups say.
    pub(super) settled: Receiver<String>,
    /// Whether subscriptions are confirmed.
    pub(super) confirms: Arc<AtomicBool>,
    /// Whether subscriptions are refused.
    pub(super) refuses: Arc<AtomicBool>,
    /// The limit that it tells; 0: it refuses to say hello, as an older server does.
    pub(super) limit: Arc<AtomicU64>,
    policy: Arc<Mutex<Policy>>,
    commands: Sender<Command>,
    stopping: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    pub(super) fn start() -> Self {
        Self::start_on(0)
    }

    /// Starts on the port that an earlier one had (0: any).
    pub(super) fn start_on(port: u16) -> Self {
        let (router, port) = listen(zmq::ROUTER, port);
        let (waker, wakes) = waker::pair().unwrap();
        let (seen, requests) = unbounded();
        let (said, settled) = unbounded();
        let (commands, incoming) = unbounded();
        let stopping = Arc::<AtomicBool>::default();
        let confirms = Arc::new(AtomicBool::new(true));
        let refuses = Arc::<AtomicBool>::default();
        let limit = Arc::new(AtomicU64::new(u64::MAX));
        let first: Policy = Arc::new(Mutex::new(|_: &Request| Answer::Ok));
        let policy = Arc::new(Mutex::new(first));
        let mut state = State {
            router,
            wakes,
            seen,
            said,
            incoming,
            held: Vec::new(),
            stopping: Arc::clone(&stopping),
            confirms: Arc::clone(&confirms),
            refuses: Arc::clone(&refuses),
            limit: Arc::clone(&limit),
            policy: Arc::clone(&policy),
            natives: Vec::new(),
        };
        let thread = Some(std::thread::spawn(move || state.run()));
        Self {
            port,
            requests,
            settled,
            confirms,
            refuses,
            limit,
            policy,
            commands,
            stopping,
            waker,
            thread,
        }
    }

    /// Decides over each later request but pings.
    pub(super) fn answer(&self, policy: impl FnMut(&Request) -> Answer + Send + 'static) {
        *self.policy.lock().unwrap() = Arc::new(Mutex::new(policy));
    }

    /// Options for a client of this server, impatient ones. Answers that are held are no slow server.
    pub(super) fn options(&self) -> ClientBuilder {
        Client::builder()
            .port(self.port)
            .send_timeout(Duration::from_millis(200))
            .connection_retries(3)
            .target_delay(LONG)
    }

    /// Options for a client that never gives up while a test runs.
    pub(super) fn patient(&self) -> ClientBuilder {
        self.options().send_timeout(LONG)
    }

    pub(super) fn next(&self) -> Request {
        self.requests.recv_timeout(LONG).expect("a request should have come")
    }

    /// Answers OK to the oldest request that is held.
    pub(super) fn release(&self) {
        self.command(Command::Release);
    }

    pub(super) fn publish(&self, frame: Vec<u8>) {
        self.deliver(frame, 0);
    }

    pub(super) fn deliver(&self, frame: Vec<u8>, attempt: u16) {
        self.command(Command::Publish(frame, attempt));
    }

    fn command(&self, command: Command) {
        self.commands.send(command).unwrap();
        self.waker.wake();
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// The connection, the number, and whether a name fits.
type Native = (Vec<u8>, u32, Box<dyn Fn(&str) -> bool + Send>);

struct State {
    router: zmq::Socket,
    wakes: WakeReceiver,
    seen: Sender<Request>,
    said: Sender<String>,
    incoming: Receiver<Command>,
    held: Vec<Request>,
    stopping: Arc<AtomicBool>,
    confirms: Arc<AtomicBool>,
    refuses: Arc<AtomicBool>,
    limit: Arc<AtomicU64>,
    policy: Arc<Mutex<Policy>>,
    natives: Vec<Native>,
}

fn receive(socket: &zmq::Socket) -> Option<Vec<Vec<u8>>> {
    match socket.recv_multipart(zmq::DONTWAIT) {
        Ok(parts) => Some(parts),
        Err(zmq::Error::EAGAIN) => None,
        Err(error) => panic!("{error}"),
    }
}

impl State {
    fn run(&mut self) {
        while !self.stopping.load(Ordering::Acquire) {
            self.wakes.clear();
            while let Ok(command) = self.incoming.try_recv() {
                match command {
                    Command::Publish(frame, attempt) => self.publish(&frame, attempt),
                    Command::Release => {
                        let request = self.held.remove(0);
                        self.take(&request);
                    }
                }
            }
            while let Some(parts) = receive(&self.router) {
                self.request(&parts);
            }
            let wakes = self.wakes.as_fd().as_raw_fd();
            let router = self.router.as_poll_item(zmq::POLLIN);
            let wakes = zmq::PollItem::from_fd(wakes, zmq::POLLIN);
            zmq::poll(&mut [router, wakes], -1).unwrap();
        }
    }

    fn request(&mut self, parts: &[Vec<u8>]) {
        let [peer, id, empty, frame] = parts else { panic!("{} parts", parts.len()) };
        assert!(empty.is_empty() && id.len() == 8);
        if let Ok(Control::Hello(_)) = control::read(frame) {
            let max_message_bytes = self.limit.load(Ordering::Acquire);
            let said = match max_message_bytes {
                0 => reply::refusal(ErrorCode::UnsupportedVersion, "too old"),
                _ => hello::answer(hello::Answer {
                    max_message_bytes,
                    instance: 1,
                    retry_interval_ms: 10_000,
                }),
            };
            return self.send(peer, id, &said);
        }
        if let Ok(control) = control::read(frame) {
            if self.refuses.load(Ordering::Acquire) {
                return self.send(peer, id, &reply::refusal(ErrorCode::Subscription, "because"));
            }
            if self.control(peer, &control) {
                self.send(peer, id, reply::OK);
            }
            return;
        }
        let Ok(Frame::V2 { name, .. }) = Frame::parse(frame) else { panic!("no native frame") };
        let name = name.to_owned();
        let request = Request { name, frame: frame.clone(), peer: peer.clone(), id: id.clone() };
        if request.name == "ping" {
            return self.reply(&request, reply::OK);
        }
        let policy = Arc::clone(&self.policy.lock().unwrap());
        let answer = policy.lock().unwrap()(&request);
        // The test may have ended.
        let _ = self.seen.send(request.clone());
        match answer {
            Answer::Ok => self.take(&request),
            Answer::Refuse(code) => self.reply(&request, &reply::refusal(code, "because")),
            Answer::Silence => {}
            Answer::Hold => self.held.push(request),
        }
    }

    /// Does what a subscription asks for; whether it is answered.
    fn control(&mut self, peer: &[u8], control: &Control<'_>) -> bool {
        match control {
            Control::Subscribe(wanted) if self.confirms.load(Ordering::Acquire) => {
                let (filter, number) = (wanted.filter, wanted.number);
                let (kind, text) = (filter.kind(), filter.text().as_bytes().to_vec());
                let fits =
                    move |name: &str| wire::filter::Filter::read(kind, &text).unwrap().fits(name);
                self.natives.push((peer.to_vec(), number, Box::new(fits)));
                true
            }
            Control::Subscribe(_) => false,
            Control::Unsubscribe(ended) => {
                self.natives.retain(|(of, number, _)| of != peer || number != ended);
                true
            }
            Control::Settle { verdict, .. } => {
                // The test may have ended.
                let _ = self.said.send(format!("{verdict:?}"));
                true
            }
            _ => true,
        }
    }

    fn take(&mut self, request: &Request) {
        if request.name != "ack" {
            self.publish(&request.frame, 0);
        }
        self.reply(request, reply::OK);
    }

    fn reply(&mut self, request: &Request, body: &[u8]) {
        self.send(&request.peer, &request.id, body);
    }

    fn send(&self, peer: &[u8], id: &[u8], body: &[u8]) {
        let parts = [peer, id, &[], body];
        self.router.send_multipart(parts, zmq::DONTWAIT).unwrap();
    }

    fn publish(&mut self, frame: &[u8], attempt: u16) {
        for (peer, number, fits) in &self.natives {
            // Of a torn frame, the name alone.
            let name = frame.get(1..).unwrap_or_default().split(|&byte| byte == b'|').next();
            if name.and_then(|name| str::from_utf8(name).ok()).is_some_and(fits) {
                let delivery = Delivery { number: *number, again: false, retained: false, attempt };
                let head = control::delivery(delivery);
                // It may have gone.
                let _ = self.router.send_multipart([&peer[..], b"", &head, frame], zmq::DONTWAIT);
            }
        }
    }
}

/// A frame as another publisher would make it: (ordinal, payload, ack) each.
pub(super) fn frame(name: &str, publisher: u64, messages: &[(u64, &str, bool)]) -> Vec<u8> {
    let mut frame = v2_prefix(name);
    for &(ordinal, payload, ack) in messages {
        let payload = payload.as_bytes();
        Record {
            id: MessageId { publisher, sequence: 1000 + ordinal },
            ordinal,
            timestamp_ns: 5,
            checksum: checksum::native(name, payload, 5),
            ack,
            has_properties: false,
            encoding: Encoding::Text,
            payload,
        }
        .append_to(&mut frame)
        .unwrap();
    }
    frame
}
