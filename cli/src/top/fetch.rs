//! Asks the server again and again, on a thread of its own, so that keys are obeyed while it does not answer.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::error::Error;
use crate::inspect::{connections, list, most_first};
use crate::overview::{Connection, Group, Name, Status, slow_first};

/// Most entries of a list: more than anybody reads, and few enough to ask for each second.
const ENTRIES_MAX: usize = 1024;

/// The server at one moment.
pub(crate) struct Fetched {
    pub(crate) status: Status,
    pub(crate) connections: Vec<Connection>,
    pub(crate) groups: Vec<Group>,
    pub(crate) names: Vec<Name>,
}

/// What came of asking: the server, or why there is none.
pub(crate) type News = Result<Box<Fetched>, String>;

/// Asks once for everything.
///
/// # Errors
/// There is no server, or it rejects.
pub(crate) fn all(api: &Api) -> Result<Box<Fetched>, Error> {
    let status = api.typed("status", api.get("status")?)?;
    let connections = connections(api, ENTRIES_MAX)?;
    let mut connections: Vec<Connection> = api.typed("connections", connections.into())?;
    slow_first(&mut connections);
    let groups = list(api, "groups", ENTRIES_MAX)?;
    let mut names = list(api, "names", ENTRIES_MAX)?;
    most_first(&mut names);
    Ok(Box::new(Fetched { status, connections, groups, names }))
}

/// The thread that asks.
pub(crate) struct Fetcher {
    news: Receiver<News>,
    thread: JoinHandle<()>,
    /// Dropped, it ends the thread's wait.
    _ending: Sender<()>,
}

impl Fetcher {
    /// Starts it. It ends once this is dropped and the request that it waits for is over.
    pub(crate) fn start(api: Api, interval: Duration) -> io::Result<Self> {
        // One that nobody takes keeps it from asking more.
        let (teller, news) = sync_channel(1);
        let (_ending, ending) = channel();
        let thread = thread::Builder::new().name("mezzenger-top".to_owned()).spawn(move || {
            loop {
                let begun = Instant::now();
                if teller.send(all(&api).map_err(|error| error.to_string())).is_err() {
                    return;
                }
                let wait = interval.saturating_sub(begun.elapsed());
                if ending.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        })?;
        Ok(Self { news, thread, _ending })
    }

    /// What it has asked since the last time.
    pub(crate) fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Whether it asks no more, which it should not do by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}
