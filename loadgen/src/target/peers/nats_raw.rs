//! Core NATS spoken by hand over plain connections: what the server does without the cost of a client. What
//! gathered while a write was in flight leaves with the next one, and deliveries are read where they lie. The protocol:
//! <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::super::common::ANSWER_TIMEOUT;
use super::common::{
    Durability, Finished, GROUP, MakeEnds, PeerError, Publish, QUEUE_BYTES, Reading, Setup,
    check_answer, show,
};
use crate::count::Count;
use crate::notes::Notes;
use crate::watcher::Watcher;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

pub(super) struct NatsRaw {
    setup: Setup,
    version: String,
}

impl NatsRaw {
    pub(super) fn connect(setup: Setup) -> Result<Self, PeerError> {
        let action = "the connection";
        let version = setup.ask(action, async {
            let connected = Connection::open(&setup).await;
            connected.map(|(_, info)| info).map_err(|error| setup.connect_error(error))
        })?;
        Ok(Self { setup, version })
    }

    /// A connection on which the server has taken this.
    fn connection(&self, action: &'static str, commands: &[u8]) -> Result<Connection, PeerError> {
        self.setup.ask(action, async {
            let (mut connection, _) = Connection::open(&self.setup)
                .await
                .map_err(|error| self.setup.connect_error(error))?;
            connection.ask(commands).await.map_err(PeerError::request(action))?;
            Ok(connection)
        })
    }
}

impl MakeEnds for NatsRaw {
    fn version(&self) -> Option<String> {
        Some(self.version.clone())
    }

    fn durability(&self) -> Option<Durability> {
        Some(Durability::Memory)
    }

    fn publisher(&self) -> Result<Box<dyn Publish>, PeerError> {
        if self.setup.requests {
            return Ok(Box::new(self.requester()?));
        }
        let Connection { read, write, unread } = self.connection("the connection", b"")?;
        let queue = Arc::new(Outgoing::default());
        let reading = Incoming { read, unread, queue: Arc::clone(&queue) };
        let runtime = self.setup.runtime.clone();
        // In this order, in which they are ended: the server hangs up when nobody could write any more.
        let tasks = [
            runtime.spawn(reading.run(Vec::new(), self.setup.notes())),
            runtime.spawn(Arc::clone(&queue).write(write, self.setup.notes())),
        ];
        let names = self.setup.run.names.to_vec();
        Ok(Box::new(Publisher { runtime, queue, names, tasks, taken: Arc::default(), count: 0 }))
    }

    fn subscriber(&self, watchers: Vec<Watcher>) -> Result<Reading, PeerError> {
        let names = self.setup.run.names.iter().enumerate();
        let group = if self.setup.group { format!(" {GROUP}") } else { String::new() };
        let command = |(id, name)| format!("SUB {name}{group} {id}\r\n");
        let commands: String = names.map(command).collect();
        let connection = self.connection("a subscription", commands.as_bytes())?;
        let Connection { read, write, unread } = connection;
        let queue = Arc::new(Outgoing::default());
        let reading = Incoming { read, unread, queue: Arc::clone(&queue) };
        Ok(Reading(vec![
            self.setup.runtime.spawn(reading.run(watchers, self.setup.notes())),
            self.setup.runtime.spawn(queue.write(write, self.setup.notes())),
        ]))
    }
}

impl NatsRaw {
    /// A connection with an inbox, which one thread writes to and reads from in turns.
    fn requester(&self) -> Result<Requester, PeerError> {
        let action = "the connection";
        let inbox = format!("_INBOX.{:032x}", fastrand::u128(..));
        let connection = self.connection(action, format!("SUB {inbox} 0\r\n").as_bytes())?;
        let stream = || {
            let stream = connection.read.reunite(connection.write).map_err(io::Error::other)?;
            let stream = stream.into_std()?;
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(stream)
        };
        let stream = stream().map_err(PeerError::request::<io::Error>(action))?;
        let names = self.setup.run.names.to_vec();
        let stream = BufReader::new(stream);
        Ok(Requester { stream, inbox, names, taken: Arc::default(), count: 0 })
    }
}

struct Connection {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    unread: BytesMut,
}

impl Connection {
    /// A connection that the server has taken, and the server's version.
    async fn open(setup: &Setup) -> io::Result<(Self, String)> {
        let stream = TcpStream::connect(setup.address()).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let mut connection = Self { read, write, unread: BytesMut::new() };
        let info = connection.line().await?;
        let info = info.strip_prefix("INFO ").ok_or_else(|| not_understood(&info))?;
        let info: serde_json::Value = serde_json::from_str(info)?;
        let version = info["version"].as_str().unwrap_or_default().to_owned();
        connection.ask(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n").await?;
        Ok((connection, version))
    }

    /// Returns when the server has read these commands. No message may come before.
    async fn ask(&mut self, commands: &[u8]) -> io::Result<()> {
        self.write.write_all(&[commands, b"PING\r\n"].concat()).await?;
        loop {
            match &*self.line().await? {
                "PONG" => return Ok(()),
                "PING" => self.write.write_all(b"PONG\r\n").await?,
                line => return Err(not_understood(line)),
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = line_end(&self.unread) {
                let line = self.unread.split_to(end + 2);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            read_more(&mut self.read, &mut self.unread).await?;
        }
    }
}

/// Where the first line ends, without its line break.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == b"\r\n")
}

async fn read_more(read: &mut OwnedReadHalf, unread: &mut BytesMut) -> io::Result<()> {
    unread.reserve(READ_BYTES);
    match read.read_buf(unread).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn not_understood(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server said '{line}'"))
}

/// What waits to be written on a connection.
#[derive(Default)]
struct Outgoing {
    state: Mutex<State>,
    /// There is something to write.
    ready: Notify,
    /// All that waited was taken, or the connection ended.
    room: Notify,
    /// The server answered a PING of ours.
    ponged: Notify,
}

#[derive(Default)]
struct State {
    bytes: BytesMut,
    has_ended: bool,
}

impl Outgoing {
    /// Nothing that could panic is done under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, bytes: &[u8]) {
        self.lock().bytes.extend_from_slice(bytes);
        self.ready.notify_one();
    }

    fn end(&self) {
        self.lock().has_ended = true;
        self.room.notify_one();
        self.ponged.notify_one();
    }

    /// Writes all that gathers, until the connection is lost.
    async fn write(self: Arc<Self>, mut stream: OwnedWriteHalf, notes: Notes) {
        loop {
            let bytes = self.lock().bytes.split();
            if bytes.is_empty() {
                self.ready.notified().await;
                continue;
            }
            self.room.notify_one();
            if let Err(error) = stream.write_all(&bytes).await {
                notes.failures.add(|| format!("nats-raw: a write failed: {error}"));
                return self.end();
            }
        }
    }
}

/// What comes in on a connection.
struct Incoming {
    read: OwnedReadHalf,
    unread: BytesMut,
    queue: Arc<Outgoing>,
}

impl Incoming {
    /// Shows messages to the watchers, whose places are the subscriptions' ids, until the connection is lost.
    async fn run(mut self, mut watchers: Vec<Watcher>, notes: Notes) {
        loop {
            let read = match self.take(&mut watchers).await {
                Ok(()) => read_more(&mut self.read, &mut self.unread).await,
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                notes.failures.add(|| format!("nats-raw: the connection was lost: {error}"));
                return self.queue.end();
            }
        }
    }

    /// Takes all that is there whole.
    async fn take(&mut self, watchers: &mut [Watcher]) -> io::Result<()> {
        while let Some(end) = line_end(&self.unread) {
            let line = std::str::from_utf8(&self.unread[..end]).unwrap_or_default();
            let Some(message) = line.strip_prefix("MSG ") else {
                match line {
                    "PING" => self.queue.add(b"PONG\r\n"),
                    "PONG" => self.queue.ponged.notify_one(),
                    line => return Err(not_understood(line)),
                }
                self.unread.advance(end + 2);
                continue;
            };
            // The subject, the subscription, where an answer goes if it is a request, and the payload's length.
            let words: Vec<_> = message.split(' ').collect();
            let (id, asking, bytes) = match words[..] {
                [_, id, bytes] => (id, None, bytes),
                [_, id, asking, bytes] => (id, Some(asking), bytes),
                _ => return Err(not_understood(line)),
            };
            let (Ok(id), Ok(bytes)) = (id.parse::<usize>(), bytes.parse::<usize>()) else {
                return Err(not_understood(line));
            };
            let (start, end) = (end + 2, end + 2 + bytes);
            if self.unread.len() < end + 2 {
                break;
            }
            if let Some(watcher) = watchers.get_mut(id) {
                show(watcher, &self.unread[start..end]).await;
            }
            if let Some(asking) = asking {
                self.queue.add(&publish(asking, "", &self.unread[start..end]));
            }
            self.unread.advance(end + 2);
        }
        Ok(())
    }
}

struct Publisher {
    runtime: Handle,
    queue: Arc<Outgoing>,
    names: Vec<String>,
    tasks: [JoinHandle<()>; 2],
    taken: Arc<Count>,
    count: u64,
}

impl Publish for Publisher {
    fn publish(&mut self, name: usize, payload: &[u8]) -> Result<(), PeerError> {
        loop {
            let mut state = self.queue.lock();
            if state.has_ended {
                return Err(PeerError::Ended);
            }
            if state.bytes.len() < QUEUE_BYTES {
                for part in [b"PUB ", self.names[name].as_bytes(), b" "] {
                    state.bytes.extend_from_slice(part);
                }
                state.bytes.extend_from_slice(payload.len().to_string().as_bytes());
                for part in [b"\r\n", payload, b"\r\n"] {
                    state.bytes.extend_from_slice(part);
                }
                break;
            }
            drop(state);
            self.runtime.block_on(self.queue.room.notified());
        }
        self.queue.ready.notify_one();
        self.count += 1;
        self.taken.set(self.count);
        Ok(())
    }

    fn taken(&self) -> Arc<Count> {
        Arc::clone(&self.taken)
    }

    fn finish(self: Box<Self>) -> Finished {
        // Read after all that was published.
        self.queue.add(b"PING\r\n");
        self.runtime.block_on(self.queue.ponged.notified());
        let failure = self.queue.lock().has_ended.then_some(PeerError::Ended);
        for task in self.tasks {
            task.abort();
        }
        Finished { refused: 0, failure }
    }
}

/// The command that publishes a payload, with a subject for its answer.
fn publish(subject: &str, inbox: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("PUB {subject} {inbox} {}\r\n", payload.len());
    [head.as_bytes(), payload, b"\r\n"].concat()
}

/// Sends requests, and reads their answers, on the thread of its publisher.
struct Requester {
    stream: BufReader<net::TcpStream>,
    inbox: String,
    names: Vec<String>,
    taken: Arc<Count>,
    count: u64,
}

impl Requester {
    fn ask(&mut self, name: usize, payload: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.get_mut().write_all(&publish(&self.names[name], &self.inbox, payload))?;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim_end();
            match line.strip_prefix("MSG ").and_then(|message| message.rsplit(' ').next()) {
                Some(bytes) => {
                    let bytes: usize = bytes.parse().map_err(|_| not_understood(line))?;
                    let mut answer = vec![0; bytes + 2];
                    self.stream.read_exact(&mut answer)?;
                    answer.truncate(bytes);
                    return Ok(answer);
                }
                None if line == "PING" => self.stream.get_mut().write_all(b"PONG\r\n")?,
                None => return Err(not_understood(line)),
            }
        }
    }
}

impl Publish for Requester {
    fn publish(&mut self, name: usize, payload: &[u8]) -> Result<(), PeerError> {
        let answer = self.ask(name, payload).map_err(PeerError::request("a request"))?;
        check_answer(&answer, payload)?;
        self.count += 1;
        self.taken.set(self.count);
        Ok(())
    }

    fn taken(&self) -> Arc<Count> {
        Arc::clone(&self.taken)
    }

    fn finish(self: Box<Self>) -> Finished {
        Finished { refused: 0, failure: None }
    }
}
