//! What publishers and subscribers have in common: a client, told by the command line, and an end that
//! comes with the end of stdin.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mezzenger::config::parse_duration;
use mezzenger::{Client, ClientBuilder, ConnectError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where the server is, and how long a client tries.
#[derive(clap::Args)]
pub(crate) struct ClientArgs {
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
    #[arg(long)]
    port: u16,
    #[arg(long, value_parser = parse_duration)]
    send_timeout: Duration,
    #[arg(long)]
    tries: u32,
}

impl ClientArgs {
    /// A builder with these options.
    pub(crate) fn builder(&self) -> ClientBuilder {
        Client::builder()
            .server_address(&self.address)
            .port(self.port)
            .send_timeout(self.send_timeout)
            .connection_retries(self.tries)
    }

    /// Connects, however often the server is away: it may just have been killed. `None` when stdin ends
    /// first: nothing was begun that would have to be finished.
    pub(crate) fn connect(&self, builder: &ClientBuilder) -> Result<Option<Client>, ConnectError> {
        let end = Instant::now() + self.send_timeout * self.tries;
        loop {
            match builder.clone().connect() {
                Err(ConnectError::Refused { .. }) if ends_within(PAUSE) => return Ok(None),
                Err(ConnectError::Refused { .. }) if Instant::now() < end => {}
                connected => return connected.map(Some),
            }
        }
    }
}

/// Between attempts to connect.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Whether stdin ends within this time: nothing else comes from there.
fn ends_within(time: Timespec) -> bool {
    let stdin = io::stdin();
    let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
    // Without an answer the next attempt comes at once.
    poll(&mut polled, Some(&time)).is_ok_and(|ready| ready > 0)
}

/// A flag that the end of stdin sets: whoever holds the other end is gone, or wants this process to end.
pub(crate) fn told_to_end() -> io::Result<Arc<AtomicBool>> {
    let ended = Arc::<AtomicBool>::default();
    let end = Arc::clone(&ended);
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        wait_for_the_end();
        end.store(true, Ordering::Relaxed);
    })?;
    Ok(ended)
}

/// Waits until stdin ends.
pub(crate) fn wait_for_the_end() {
    // An error ends it, too.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
}
