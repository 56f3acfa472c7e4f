//! The task that does a client's work: turns of its requester, and what to wait for between them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::unix::AsyncFd;
use tokio::time::Sleep;

use crate::client::connection::requester::Requester;
use crate::client::publish::receipt::SharedOutcome;
use crate::client::waiting::Clock;
use crate::net::connection::Address;
use crate::net::wait::{Pause, Polled, Woken};
use crate::net::waker::TaskWakes;

/// What was found of each host.
type Found = Vec<(String, io::Result<Vec<SocketAddr>>)>;

/// A name that is being looked up.
type LookUp = Pin<Box<dyn Future<Output = Found> + Send>>;

/// What a client's task owns. When it goes, whatever waits for it ends.
pub(super) struct Driver {
    // In the order in which they go: what calls wait for is decided before the clock is given up.
    requester: Requester,
    wakes: TaskWakes,
    socket: Option<AsyncFd<Arc<OwnedFd>>>,
    sleep: Option<Pin<Box<Sleep>>>,
    look_up: Option<LookUp>,
    clock: Arc<Clock>,
    _end: End,
}

/// Decides its fate when it goes.
#[derive(Default)]
pub(super) struct End(Arc<SharedOutcome>);

impl End {
    /// What is decided when it has gone.
    pub(super) fn outcome(&self) -> Arc<SharedOutcome> {
        Arc::clone(&self.0)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.decide(Ok(()));
    }
}

impl Driver {
    pub(super) fn new(requester: Requester, wakes: TaskWakes, clock: Arc<Clock>) -> Self {
        let (socket, sleep, look_up) = Default::default();
        Self { requester, wakes, socket, sleep, look_up, clock, _end: End::default() }
    }

    /// What is decided when it has gone.
    pub(super) fn ended(&self) -> Arc<SharedOutcome> {
        self._end.outcome()
    }

    /// The task's body: runs until told to stop, and then until all is answered or time is over.
    pub(super) async fn run(mut self) {
        let mut woken = Woken::default();
        while let Some(pause) = self.requester.turn(woken) {
            let now = Instant::now();
            self.clock.wake(now);
            if pause.time.is_some_and(|time| time.is_zero()) {
                // There is more to do, and others may have something to do, too.
                tokio::task::yield_now().await;
                woken = Woken::default();
                continue;
            }
            match self.wait(&pause, now).await {
                Ok(next) => woken = next,
                Err(error) => {
                    tracing::error!("the client's task ends: {error}");
                    return;
                }
            }
        }
    }

    /// Waits as [`wait`](crate::net::wait::wait) does, and for addresses.
    async fn wait(&mut self, pause: &Pause, now: Instant) -> io::Result<Woken> {
        self.watch(pause.connection.as_ref())?;
        if self.look_up.is_none()
            && let Some(addresses) = self.unresolved()
        {
            self.look_up = Some(Box::pin(async move {
                let mut all = Vec::new();
                for Address { host, port } in addresses {
                    let found = tokio::net::lookup_host((host.as_str(), port)).await;
                    let found = found.map(Iterator::collect);
                    all.push((host, found));
                }
                all
            }));
        }
        let end = pause.time.and_then(|time| now.checked_add(time));
        self.alarm(end.map(|end| self.clock.next(end)));
        let writes = pause.connection.as_ref().is_some_and(|polled| polled.write);
        poll_fn(|context| self.poll(writes, context)).await
    }

    /// Where servers are, if their names are to be looked up.
    fn unresolved(&self) -> Option<Vec<Address>> {
        self.requester.connection().lock().as_ref()?.wire.unresolved()
    }

    /// Registers the socket with the runtime, unless it is.
    #[expect(
        deprecated,
        reason = "what tokio has instead asks for a promise about types that give another descriptor each time: this one does not"
    )]
    fn watch(&mut self, polled: Option<&Polled>) -> io::Result<()> {
        let is = |watched: &AsyncFd<Arc<OwnedFd>>, polled: &Polled| {
            Arc::ptr_eq(watched.get_ref(), &polled.socket)
        };
        match (&self.socket, polled) {
            (Some(watched), Some(polled)) if is(watched, polled) => {}
            (_, polled) => {
                // The last one's number may be used again only when it is no longer watched.
                self.socket = None;
                let socket = polled.map(|polled| AsyncFd::new(Arc::clone(&polled.socket)));
                self.socket = socket.transpose()?;
            }
        }
        Ok(())
    }

    /// Sees to it that the sleep ends by then. One that ends earlier costs a turn; to set it again for each turn would cost more.
    fn alarm(&mut self, end: Option<Instant>) {
        let Some(end) = end.map(tokio::time::Instant::from_std) else {
            self.sleep = None;
            return;
        };
        match &mut self.sleep {
            Some(sleep) if !sleep.is_elapsed() && sleep.deadline() <= end => {}
            Some(sleep) => sleep.as_mut().reset(end),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(end))),
        }
    }

    fn poll(&mut self, writes: bool, context: &mut Context<'_>) -> Poll<io::Result<Woken>> {
        // Here alone it is taken back: the turn that follows looks at what the wakers changed.
        let is_told = self.wakes.take(context);
        let mut woken = Woken { connection: false, waker: is_told };
        if let Some(socket) = &self.socket {
            // Taken back before the turn, which reads and writes until the system has no more, or comes again at once.
            if let Poll::Ready(guard) = socket.poll_read_ready(context) {
                guard?.clear_ready();
                woken.connection = true;
            }
            if writes && let Poll::Ready(guard) = socket.poll_write_ready(context) {
                guard?.clear_ready();
                woken.connection = true;
            }
        }
        let mut is_due = false;
        if let Some(look_up) = &mut self.look_up
            && let Poll::Ready(found) = look_up.as_mut().poll(context)
        {
            self.look_up = None;
            if let Some(connection) = self.requester.connection().lock().as_mut() {
                connection.wire.resolved(found);
            }
            is_due = true;
        }
        if let Some(sleep) = &mut self.sleep {
            is_due |= sleep.as_mut().poll(context).is_ready();
        }
        if is_due || woken != Woken::default() { Poll::Ready(Ok(woken)) } else { Poll::Pending }
    }
}
