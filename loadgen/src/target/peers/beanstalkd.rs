//! Beanstalkd, spoken by hand, as its text protocol is made for it: one tube for the run.
//!
//! Publishers put what has gathered while the last puts travelled. A worker reserves 64 jobs a turn, and deletes them in the
//! write that reserves the next ones. The server does not say when it syncs. The protocol:
//! <https://github.com/beanstalkd/beanstalkd/blob/master/doc/protocol.txt>.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::common::{
    Durability, Finished, MakeEnds, PeerError, Publish, Reading, Setup, show, wait,
};
use crate::count::Count;
use crate::header::Header;
use crate::watcher::Watcher;

/// Puts that leave together.
const PUTS_MAX: usize = 256;

/// Jobs reserved in one turn.
const JOBS_MAX: usize = 64;

/// How long a turn waits for its first job, in seconds.
const RESERVE_S: u32 = 1;

/// How long a worker may have a job, in seconds: longer than any run.
const TIME_TO_RUN_S: u32 = 600;

pub(super) struct Beanstalkd {
    setup: Setup,
    version: Option<String>,
    has_binlog: bool,
    settled: Arc<Count>,
}

impl Beanstalkd {
    pub(super) fn connect(setup: Setup) -> Result<Self, PeerError> {
        let action = "the connection";
        let stats = setup.ask(action, async {
            let mut connection =
                Connection::open(&setup).await.map_err(|error| setup.connect_error(error))?;
            connection.stats("stats").await.map_err(PeerError::request("stats"))
        })?;
        let version = stat(&stats, "version").map(|text| text.trim_matches('"').to_owned());
        let has_binlog = stat(&stats, "binlog-current-index").is_some_and(|index| index != "0");
        Ok(Self { setup, version, has_binlog, settled: Arc::default() })
    }

    /// A connection that was asked this, with one line for an answer to each.
    fn connection(
        &self,
        action: &'static str,
        commands: &[String],
    ) -> Result<Connection, PeerError> {
        self.setup.ask(action, async {
            let connected = Connection::open(&self.setup).await;
            let mut connection = connected.map_err(|error| self.setup.connect_error(error))?;
            let asked = async {
                for command in commands {
                    connection.write(command.as_bytes()).await?;
                    let answer = connection.line().await?;
                    if !answer.starts_with("USING") && !answer.starts_with("WATCHING") {
                        return Err(not_understood(&answer));
                    }
                }
                Ok(())
            };
            asked.await.map_err(PeerError::request(action))?;
            Ok(connection)
        })
    }

    fn tube(&self) -> String {
        self.setup.prefix()
    }
}

/// A value out of the server's statistics.
fn stat<'a>(stats: &'a str, key: &str) -> Option<&'a str> {
    stats.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

impl MakeEnds for Beanstalkd {
    fn version(&self) -> Option<String> {
        self.version.clone()
    }

    fn durability(&self) -> Option<Durability> {
        Some(if self.has_binlog { Durability::PageCache } else { Durability::Memory })
    }

    fn publisher(&self) -> Result<Box<dyn Publish>, PeerError> {
        let connection = self.connection("use", &[format!("use {}\r\n", self.tube())])?;
        let (queue, messages) = mpsc::channel(self.setup.queue_messages());
        let (runtime, taken) = (self.setup.runtime.clone(), Arc::<Count>::default());
        let task = runtime.spawn(put(connection, messages, Arc::clone(&taken)));
        Ok(Box::new(Publisher { runtime, queue, task, taken }))
    }

    fn subscriber(&self, watchers: Vec<Watcher>) -> Result<Reading, PeerError> {
        let commands = [format!("watch {}\r\n", self.tube()), "ignore default\r\n".to_owned()];
        let connection = self.connection("watch", &commands)?;
        let worker = work(connection, watchers, Arc::clone(&self.settled));
        let notes = self.setup.notes();
        let task = async move {
            if let Err(error) = worker.await {
                notes.failures.add(|| format!("beanstalkd: {error}"));
            }
        };
        Ok(Reading(vec![self.setup.runtime.spawn(task)]))
    }

    fn settled(&self) -> Option<u64> {
        self.setup.ack.then(|| self.settled.get())
    }

    fn pending(&self) -> Result<Option<u64>, PeerError> {
        let mut connection = self.connection("stats-tube", &[])?;
        let command = format!("stats-tube {}", self.tube());
        let stats = self.setup.ask("stats-tube", async {
            connection.stats(&command).await.map_err(PeerError::request("stats-tube"))
        })?;
        let count = |key| stat(&stats, key).and_then(|count| count.parse::<u64>().ok());
        let kinds = ["current-jobs-ready", "current-jobs-reserved", "current-jobs-delayed"];
        Ok(Some(kinds.into_iter().filter_map(count).sum()))
    }
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(setup: &Setup) -> io::Result<Self> {
        let stream = TcpStream::connect(setup.address()).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    async fn write(&mut self, commands: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(commands).await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// What stands behind a line that tells its length.
    async fn body(&mut self, bytes: &str) -> io::Result<Vec<u8>> {
        let bytes: usize = bytes.parse().map_err(|_| not_understood(bytes))?;
        let mut body = vec![0; bytes + 2];
        self.0.read_exact(&mut body).await?;
        body.truncate(bytes);
        Ok(body)
    }

    /// Statistics; none of a tube that is gone.
    async fn stats(&mut self, command: &str) -> io::Result<String> {
        self.write(format!("{command}\r\n").as_bytes()).await?;
        let answer = self.line().await?;
        match answer.strip_prefix("OK ") {
            Some(bytes) => {
                let body = self.body(bytes).await?;
                Ok(String::from_utf8_lossy(&body).into_owned())
            }
            None if answer == "NOT_FOUND" => Ok(String::new()),
            None => Err(not_understood(&answer)),
        }
    }

    /// A job that was asked for: its id and payload; `None` when there was none.
    async fn job(&mut self) -> io::Result<Option<(String, Vec<u8>)>> {
        let answer = self.line().await?;
        match answer.strip_prefix("RESERVED ").and_then(|job| job.split_once(' ')) {
            Some((id, bytes)) => Ok(Some((id.to_owned(), self.body(bytes).await?))),
            None if answer == "TIMED_OUT" => Ok(None),
            None => Err(not_understood(&answer)),
        }
    }
}

fn not_understood(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server said '{line}'"))
}

/// Puts what one publisher hands over, and waits for the answers.
async fn put(
    mut connection: Connection,
    mut messages: mpsc::Receiver<Vec<u8>>,
    taken: Arc<Count>,
) -> Finished {
    let mut finished = Finished { refused: 0, failure: None };
    let mut gathered = Vec::with_capacity(PUTS_MAX);
    while messages.recv_many(&mut gathered, PUTS_MAX).await > 0 {
        let mut puts = Vec::new();
        for payload in &gathered {
            let head = format!("put 0 0 {TIME_TO_RUN_S} {}\r\n", payload.len());
            puts.extend([head.as_bytes(), payload, b"\r\n"].concat());
        }
        let mut inserted = 0;
        let answers = async {
            connection.write(&puts).await?;
            for _ in &gathered {
                let answer = connection.line().await?;
                if !answer.starts_with("INSERTED ") {
                    return Err(not_understood(&answer));
                }
                taken.add(1);
                inserted += 1;
            }
            Ok(())
        };
        if let Err(error) = answers.await {
            finished.refused += gathered.len() as u64 - inserted;
            finished.failure = Some(PeerError::request("a put")(error));
            return finished;
        }
        gathered.clear();
    }
    finished
}

/// Reserves jobs and deletes them, until the connection is lost.
async fn work(
    mut connection: Connection,
    mut watchers: Vec<Watcher>,
    settled: Arc<Count>,
) -> io::Result<()> {
    let (mut turn, mut deleted) = (Vec::new(), 0);
    loop {
        turn.extend(format!("reserve-with-timeout {RESERVE_S}\r\n").into_bytes());
        turn.extend(b"reserve-with-timeout 0\r\n".repeat(JOBS_MAX - 1));
        connection.write(&turn).await?;
        turn.clear();
        for _ in 0..deleted {
            match &*connection.line().await? {
                "DELETED" => settled.add(1),
                answer => return Err(not_understood(answer)),
            }
        }
        deleted = 0;
        for _ in 0..JOBS_MAX {
            let Some((id, payload)) = connection.job().await? else { continue };
            // Jobs do not say under which name they came.
            let name = Header::read(&payload).map_or(0, |header| header.name.into());
            if let Some(watcher) = watchers.get_mut::<usize>(name) {
                show(watcher, &payload).await;
            }
            turn.extend(format!("delete {id}\r\n").into_bytes());
            deleted += 1;
        }
    }
}

struct Publisher {
    runtime: Handle,
    queue: mpsc::Sender<Vec<u8>>,
    task: JoinHandle<Finished>,
    taken: Arc<Count>,
}

impl Publish for Publisher {
    fn publish(&mut self, _: usize, payload: &[u8]) -> Result<(), PeerError> {
        wait(&self.runtime, self.queue.send(payload.to_vec())).map_err(|_| PeerError::Ended)
    }

    fn taken(&self) -> Arc<Count> {
        Arc::clone(&self.taken)
    }

    fn finish(self: Box<Self>) -> Finished {
        let Self { runtime, queue, task, .. } = *self;
        drop(queue);
        let ended = || Finished { refused: 0, failure: Some(PeerError::Ended) };
        runtime.block_on(task).unwrap_or_else(|_| ended())
    }
}
