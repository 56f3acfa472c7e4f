//! The receiving thread: owns the receiving connection, confirms subscriptions, feeds what arrives to
//! `delivery`.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam::channel::{Receiver as Channel, Sender, at, bounded, never, select_biased};

use super::claim::Claim;
use super::delivery::Deliverer;
use super::error::SubscribeError;
use super::links::{Link, Links};
use super::routes::{Callback, Target};
use crate::limits::CLIENT_FRAMES_PER_TURN;
use crate::net::subscribing::Subscribing;
use crate::net::wait::{Pause, Woken, wait};
use crate::net::waker::{WakeReceiver, Waker};
use crate::wire::{confirm, frame};

/// Where the outcome of a command goes.
pub(super) struct Reply {
    outcome: Sender<Result<(), SubscribeError>>,
    /// Taken by whoever decides the outcome: this thread, or the caller, who waits no more.
    claim: Arc<Claim>,
}

impl Reply {
    fn send(&self, outcome: Result<(), SubscribeError>) {
        // A caller that stops with the client no longer listens.
        let _ = self.outcome.try_send(outcome);
    }
}

/// What the receiving thread is asked to do.
pub(super) enum Command {
    Subscribe { target: Target, callback: Callback, reply: Reply },
    Unsubscribe { target: Target, reply: Reply },
}

/// How other threads reach the receiving thread.
pub(super) struct Control {
    /// Unbounded, but each entry belongs to a thread that waits.
    commands: Sender<Command>,
    waker: Waker,
    stopping: Arc<AtomicBool>,
    thread: OnceLock<ThreadId>,
    /// Nothing is sent: that the client stops disconnects it.
    stopped: Channel<()>,
    running: Mutex<Option<Sender<()>>>,
    timeout: Duration,
    tries: u32,
}

impl Control {
    pub(super) fn new(
        commands: Sender<Command>,
        waker: Waker,
        timeout: Duration,
        tries: u32,
    ) -> Self {
        let (running, stopped) = bounded(0);
        let (stopping, thread) = Default::default();
        let running = Mutex::new(Some(running));
        Self { commands, waker, stopping, thread, stopped, running, timeout, tries }
    }

    pub(super) fn stopping(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopping)
    }

    /// Whether the caller runs inside a callback.
    pub(super) fn is_current_thread(&self) -> bool {
        self.thread.get() == Some(&thread::current().id())
    }

    /// Hands a command over and waits for its outcome, within a bound: a callback may hold the
    /// receiving thread up for as long as it likes.
    fn call(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), SubscribeError> {
        if self.is_current_thread() {
            return Err(SubscribeError::InCallback);
        }
        let (sender, outcome) = bounded(1);
        let claim = Arc::<Claim>::default();
        let reply = Reply { outcome: sender, claim: Arc::clone(&claim) };
        self.commands.send(command(reply)).map_err(|_| SubscribeError::Stopped)?;
        self.waker.wake();
        let (tries, timeout) = (self.tries, self.timeout);
        // Longer than the thread itself takes when it is free.
        let bound = timeout.saturating_mul(tries.saturating_add(1));
        let late = Instant::now().checked_add(bound).map_or_else(never, at);
        select_biased! {
            // When the thread ends it drops the command, and the wait ends.
            recv(outcome) -> outcome => outcome.unwrap_or(Err(SubscribeError::Stopped)),
            recv(self.stopped) -> _ => Err(SubscribeError::Stopped),
            recv(late) -> _ => if claim.take() {
                Err(SubscribeError::NotConfirmed { tries, timeout })
            } else {
                // It was decided in this moment.
                outcome.recv().unwrap_or(Err(SubscribeError::Stopped))
            },
        }
    }

    pub(super) fn subscribe(
        &self,
        target: Target,
        callback: Callback,
    ) -> Result<(), SubscribeError> {
        self.call(|reply| Command::Subscribe { target, callback, reply })
    }

    pub(super) fn unsubscribe(&self, target: Target) -> Result<(), SubscribeError> {
        self.call(|reply| Command::Unsubscribe { target, reply })
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.waker.wake();
    }
}

// On a new connection subscriptions are told in the order of their bytes. A confirmation must come after
// what it confirms.
const _: () = assert!(confirm::CONFIRM > frame::V2);

/// A subscription that the server has not confirmed.
struct Pending {
    topic: [u8; confirm::TOPIC_BYTES],
    target: Target,
    route: u64,
    tries: u32,
    deadline: Instant,
    reply: Reply,
}

/// The state of the receiving thread. When it goes, all subscriptions end.
pub(super) struct Subscriber {
    pub(super) wire: Subscribing,
    pub(super) wakes: WakeReceiver,
    pub(super) commands: Channel<Command>,
    pub(super) deliverer: Deliverer,
    pub(super) control: Arc<Control>,
    pub(super) links: Arc<Links>,
    pub(super) timeout: Duration,
    pub(super) tries: u32,
}

/// What the thread holds while it runs.
pub(super) struct Running {
    subscriber: Subscriber,
    pending: Vec<Pending>,
}

impl Subscriber {
    /// The thread's body: runs until told to stop.
    pub(super) fn run(self) {
        let mut running = self.begin();
        if let Err(error) = running.serve() {
            tracing::error!("the client's receiving thread ends: {error}");
        }
    }

    /// Makes the current thread the receiving one.
    pub(super) fn begin(self) -> Running {
        let _ = self.control.thread.set(thread::current().id());
        Running { subscriber: self, pending: Vec::new() }
    }
}

impl Running {
    fn serve(&mut self) -> io::Result<()> {
        let mut woken = Woken::default();
        while let Some(pause) = self.turn(woken) {
            woken = wait(&pause, &self.subscriber.wakes)?;
        }
        Ok(())
    }

    /// Does what there is to do, and returns what to wait for; `None` at the end.
    pub(super) fn turn(&mut self, woken: Woken) -> Option<Pause> {
        if woken.waker {
            self.subscriber.wakes.clear();
        }
        if self.subscriber.control.stopping.load(Ordering::Acquire) {
            return None;
        }
        if woken.connection {
            self.subscriber.wire.readable();
        }
        self.subscriber.wire.advance();
        // Before callbacks are called, which may take their time.
        let Subscriber { links, wire, .. } = &mut self.subscriber;
        links.note(Link::Messages, wire.take_changes(), wire.socket());
        let now = Instant::now();
        while let Ok(command) = self.subscriber.commands.try_recv() {
            self.execute(command, now);
        }
        self.check_time(now);
        let more = self.receive();
        let changes = self.subscriber.wire.take_changes();
        let wire = &self.subscriber.wire;
        self.subscriber.links.note(Link::Messages, changes, wire.socket());
        let deadlines = self.pending.iter().map(|pending| pending.deadline);
        let deadline = deadlines.chain(wire.deadline(true)).min();
        let time = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let time = if more { Some(Duration::ZERO) } else { time };
        Some(Pause { connection: wire.polled(), time })
    }

    fn execute(&mut self, command: Command, now: Instant) {
        let Subscriber { wire, deliverer, .. } = &mut self.subscriber;
        match command {
            Command::Subscribe { target, callback, reply } => {
                if reply.claim.is_taken() {
                    // The caller was told that it failed.
                    return;
                }
                wire.subscribe(&target.topic());
                let route = deliverer.routes.add(&target, callback);
                let topic = new_topic();
                wire.subscribe(&topic);
                let deadline = now + self.subscriber.timeout;
                self.pending.push(Pending { topic, target, route, tries: 1, deadline, reply });
            }
            Command::Unsubscribe { target, reply } => {
                if !reply.claim.take() {
                    return;
                }
                let removed = deliverer.routes.remove(&target);
                for _ in 0..removed {
                    wire.unsubscribe(&target.topic());
                }
                deliverer.forget_unsubscribed();
                let name = target.text().to_owned();
                reply.send(match removed {
                    0 => Err(SubscribeError::NotSubscribed { name }),
                    _ => Ok(()),
                });
            }
        }
    }

    /// Asks again for confirmations that did not come, or takes their subscriptions back.
    fn check_time(&mut self, now: Instant) {
        let Subscriber { wire, deliverer, timeout, tries, .. } = &mut self.subscriber;
        let (timeout, tries) = (*timeout, *tries);
        for late in self.pending.iter_mut().filter(|pending| pending.deadline <= now) {
            wire.unsubscribe(&late.topic);
            if late.tries < tries {
                late.topic = new_topic();
                late.tries += 1;
                late.deadline = now + timeout;
                wire.subscribe(&late.topic);
            }
        }
        for given_up in self.pending.extract_if(.., |pending| pending.deadline <= now) {
            take_back(wire, deliverer, &given_up);
            if given_up.reply.claim.take() {
                given_up.reply.send(Err(SubscribeError::NotConfirmed { tries, timeout }));
            }
        }
    }

    /// Receives some frames; whether there may be more.
    fn receive(&mut self) -> bool {
        for _ in 0..CLIENT_FRAMES_PER_TURN {
            let Some(frame) = self.subscriber.wire.receive() else { return false };
            self.deliver(&frame);
        }
        true
    }

    fn deliver(&mut self, frame: &Bytes) {
        if confirm::is_topic(frame) {
            self.confirmed(frame);
        } else {
            self.subscriber.deliverer.deliver(frame);
        }
    }

    fn confirmed(&mut self, topic: &[u8]) {
        if let Some(at) = self.pending.iter().position(|pending| pending.topic == topic) {
            let pending = self.pending.swap_remove(at);
            let Subscriber { wire, deliverer, .. } = &mut self.subscriber;
            wire.unsubscribe(&pending.topic);
            if pending.reply.claim.take() {
                pending.reply.send(Ok(()));
            } else {
                take_back(wire, deliverer, &pending);
            }
        }
    }
}

/// Ends a subscription whose caller is told that it failed.
fn take_back(wire: &mut Subscribing, deliverer: &mut Deliverer, pending: &Pending) {
    if deliverer.routes.remove_number(&pending.target, pending.route) {
        wire.unsubscribe(&pending.target.topic());
        deliverer.forget_unsubscribed();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.subscriber.deliverer.routes.clear();
    }
}

/// Each `RandomState` is keyed by the system's randomness.
pub(super) fn random_u64() -> u64 {
    RandomState::new().hash_one(thread::current().id())
}

fn new_topic() -> [u8; confirm::TOPIC_BYTES] {
    confirm::topic(u128::from(random_u64()) << 64 | u128::from(random_u64()))
}
