//! What the handles of a client share.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::admin::dead_letters::{self, DeadLetters};
use super::admin::groups::Groups;
use super::admin::retained::Retained;
use super::connection::control_queue::ControlQueue;
use super::connection::links::Links;
use super::connection::requester::{Requester, Setup};
use super::error::{ConnectError, SendError, SubscribeError};
use super::options::Options;
use super::process::Process;
use super::publish::archive::{self, ArchivePayload};
use super::publish::batches::Bounds;
#[cfg(feature = "tokio")]
use super::publish::outbox::Flushing;
use super::publish::outbox::Outbox;
use super::publish::outgoing::OutgoingMessage;
use super::publish::payload::Payload;
use super::publish::publisher::{Content, Publisher};
use super::publish::receipt::{Receipt, SharedOutcome};
use super::receive::message::Message;
use super::receive::outcome::Outcome;
use super::receive::{
    Callback, Callbacks, Commands, Filter, Opener, Requests, Settler, SubscriptionBuilder,
};
use super::report::{Counters, Reporter};
use super::run::here;
use super::run::threads::Threads;
use super::waiting::Clock;
use crate::limits::{CLIENT_FRAME_SLACK_BYTES, CLIENT_OWN_FRAME_BYTES};
use crate::net::connection::{Address, Connection, Settings};
use crate::net::waker::{self, WakeReceiver, Waker};
use crate::random::random_bytes;
use crate::wire::hello;
use crate::wire::properties::Properties;
use crate::wire::record::Encoding;
use crate::zmtp::handshake::Kind;

/// How long a thread may take to notice that it is to end.
const NOTICE: Duration = Duration::from_millis(500);

/// Silence after which the client pings the server.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long the server may say nothing before the connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A running client.
pub(super) struct Core {
    publisher: Arc<Publisher>,
    timeout: Duration,
    outbox: Arc<Outbox>,
    control_queue: Arc<ControlQueue>,
    commands: Arc<Commands>,
    requests: Requests,
    callbacks: Arc<Callbacks>,
    reporter: Arc<Reporter>,
    links: Arc<Links>,
    waker: Waker,
    stopping: Arc<AtomicBool>,
    no_calls: Arc<AtomicBool>,
    threads: Option<Arc<Threads>>,
}

impl Core {
    /// Starts the thread that leads and waits until the server said hello.
    pub(super) fn start(options: Options) -> Result<Self, ConnectError> {
        if !here::may_wait() {
            return Err(ConnectError::InCallback);
        }
        let (waker, wakes) = waker::pair().map_err(ConnectError::System)?;
        let (mut core, requester) = Self::split(&options, wire(&options), waker, Some(wakes))?;
        let answered = Arc::<SharedOutcome>::default();
        core.links.connect(Arc::clone(&answered));
        let patience = options.send_timeout.saturating_mul(options.connection_retries);
        let end = Instant::now().checked_add(patience);
        let no_calls = Arc::clone(&core.no_calls);
        let threads = Arc::new(Threads::new(requester, options.callback_threads, no_calls));
        threads.start().map_err(ConnectError::Thread)?;
        core.threads = Some(threads);
        let answer = answered.wait_until(end);
        core.connected(&options, answer)
    }

    /// A client that a task is to drive, whom the waker wakes, and what its turns are done with.
    #[cfg(feature = "tokio")]
    pub(super) fn for_task(
        options: &Options,
        waker: Waker,
    ) -> Result<(Self, Requester), ConnectError> {
        Self::split(options, wire(options).resolved_by_owner(), waker, None)
    }

    /// A client whose calls are futures, and whose turns a thread is to do, which the waker wakes.
    #[cfg(feature = "tokio")]
    pub(super) fn for_thread(
        options: &Options,
        waker: Waker,
    ) -> Result<(Self, Requester), ConnectError> {
        Self::split(options, wire(options), waker, None)
    }

    /// What is waited for to see it connected.
    #[cfg(feature = "tokio")]
    pub(super) fn connect(&self) -> Receipt {
        let answered = Arc::<SharedOutcome>::default();
        self.links.connect(Arc::clone(&answered));
        self.receipt(answered)
    }

    /// The client, if it is connected: if its hello was answered in time.
    pub(super) fn connected(
        self,
        options: &Options,
        answer: Option<Result<(), SendError>>,
    ) -> Result<Self, ConnectError> {
        let (failure, is_certain) = self.links.connected();
        if answer == Some(Ok(())) {
            return Ok(self);
        }
        self.links.abandon();
        let (address, port) = (options.server_address.clone(), options.port);
        Err(match (answer, failure) {
            (_, Some(failure)) if is_certain => ConnectError::certain(address, port, failure),
            (Some(Err(source)), _) => ConnectError::Rejected { address, port, source },
            (_, failure) => {
                let (timeout, tries) = (options.send_timeout, options.connection_retries);
                ConnectError::no_answer(address, port, timeout, tries, failure)
            }
        })
    }

    /// A client without threads, and what its turns are done with. Without `wakes`, whoever does them has what the waker wakes.
    pub(super) fn split(
        options: &Options,
        wire: Connection,
        waker: Waker,
        wakes: Option<WakeReceiver>,
    ) -> Result<(Self, Requester), ConnectError> {
        let reporter = Arc::new(Reporter {
            on_missed: options.on_missed.clone(),
            on_blocked: options.on_blocked.clone(),
            on_error: options.on_error.clone(),
            ..Reporter::default()
        });
        let links = Arc::new(Links::new(options.on_connection.clone(), 1 + options.others.len()));
        let bounds = Bounds {
            frame_bytes_max: options.max_message_size,
            buffer_bytes: options.buffer_bytes,
            window_frames: options.window,
            patience: options.send_timeout.saturating_mul(options.connection_retries),
            target_delay: options.target_delay,
        };
        let outbox = Arc::new(Outbox::new(bounds, Arc::clone(&reporter), waker.clone()));
        let process = Process::this();
        let control_queue =
            Arc::new(ControlQueue::new(waker.clone(), Arc::clone(&reporter), process));
        let commands = Arc::new(Commands::new(waker.clone(), Arc::clone(&reporter)));
        let stopping = Arc::<AtomicBool>::default();
        let secret: hello::Secret = random_bytes();
        let setup = Setup {
            server: options.server_address.clone(),
            timeout: options.send_timeout,
            tries: options.connection_retries,
            verbose: options.verbose,
            links: Arc::clone(&links),
            commands: Arc::clone(&commands),
            verify: options.verify_checksums,
            hello: hello::named_request(&secret, &options.client_name).into(),
        };
        let requester = Requester::new(
            setup,
            wire,
            wakes,
            Arc::clone(&outbox),
            Arc::clone(&control_queue),
            Arc::clone(&reporter),
            Arc::clone(&stopping),
        );
        let publisher = Arc::new(Publisher {
            id: hello::publisher(&secret),
            process,
            max_message_bytes: options.max_message_size,
            outbox: Arc::clone(&outbox),
            connection: requester.connection(),
            waker: waker.clone(),
            clock: Arc::new(Clock::new(waker.clone())),
        });
        let settler = Settler {
            commands: Arc::clone(&commands),
            control_queue: Arc::clone(&control_queue),
            publisher: Arc::clone(&publisher),
        };
        let opener = Opener::new(settler, options.send_timeout, options.connection_retries);
        let no_calls = Arc::<AtomicBool>::default();
        let callbacks =
            Callbacks::new(opener.clone(), Arc::clone(&reporter), Arc::clone(&no_calls));
        let core = Self {
            requests: Requests::new(opener.clone(), publisher.id),
            publisher,
            timeout: options.send_timeout,
            outbox,
            control_queue,
            commands,
            callbacks: Arc::new(callbacks),
            reporter,
            links,
            waker,
            stopping,
            no_calls,
            threads: None,
        };
        Ok((core, requester))
    }

    pub(super) fn ping(&self) -> Result<(), SendError> {
        self.ask_for_life().wait()
    }

    /// Gives a message to the outbox, without properties but for the type of an archive.
    pub(super) fn publish(&self, name: &str, payload: &dyn Payload) -> Result<Receipt, SendError> {
        let encoding = payload.encoding();
        if encoding == Encoding::Archive {
            let properties = Properties::default();
            return self.publisher.publish_with(name, &payload, &properties, false, true);
        }
        // `publish_with` would do the same, for 41 more instructions than the 2,327 of a message of 128 bytes.
        let payload = payload.as_payload();
        self.publisher.publish(Content {
            name,
            encoding,
            payload,
            has_properties: false,
            is_counted: true,
            ack: false,
            unattended: true,
        })
    }

    pub(super) fn forward(&self, name: &str, message: &Message) -> Result<Receipt, SendError> {
        self.publisher.forward(name, message)
    }

    /// Begins a message with properties.
    pub(super) fn message<'a, P: Payload, Mode>(
        &'a self,
        name: &'a str,
        payload: P,
    ) -> OutgoingMessage<'a, P, Mode> {
        OutgoingMessage::new(&self.publisher, &self.requests, name, payload)
    }

    /// Gives the archive of a value to the outbox, with its type.
    pub(super) fn publish_archive<T: ArchivePayload>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<Receipt, SendError> {
        thread_local! {
            static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        let mut scratch = SCRATCH.take();
        scratch.clear();
        let mut bytes = archive::write(value, scratch)?;
        let payload_type = Some(archive::type_of::<T>());
        Properties { payload_type, ..Properties::default() }.append_to(&mut bytes)?;
        let receipt = self.publisher.publish(Content {
            name,
            encoding: Encoding::Archive,
            payload: &bytes,
            has_properties: true,
            is_counted: true,
            ack: false,
            unattended: true,
        });
        // One huge value shall not hold memory for ever.
        if bytes.capacity() <= CLIENT_OWN_FRAME_BYTES {
            SCRATCH.set(bytes);
        }
        receipt
    }

    pub(super) fn flush(&self) -> Result<(), SendError> {
        if !self.publisher.process.is_this() {
            return Err(SendError::Forked);
        }
        self.outbox.flush()
    }

    /// How many waits of tasks are noted anywhere.
    #[cfg(all(test, feature = "tokio"))]
    pub(super) fn waiting(&self) -> usize {
        self.outbox.waiting() + self.publisher.clock.waiting() + self.requests.waiting()
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn requests_are_locked(&self) -> bool {
        self.requests.are_locked()
    }

    /// A task begins to flush.
    #[cfg(feature = "tokio")]
    pub(super) fn flushing(&self) -> Result<Flushing<'_>, SendError> {
        match self.publisher.process.is_this() {
            true => Ok(self.outbox.flushing()),
            false => Err(SendError::Forked),
        }
    }

    /// Whether it was told to stop, or what did its work is gone.
    #[cfg(feature = "tokio")]
    pub(super) fn is_stopped(&self) -> bool {
        self.outbox.is_stopped()
    }

    #[cfg(feature = "tokio")]
    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    #[cfg(feature = "tokio")]
    pub(super) fn control_queue(&self) -> &ControlQueue {
        &self.control_queue
    }

    /// A ping, to be waited for.
    pub(super) fn ask_for_life(&self) -> Receipt {
        self.receipt(self.control_queue.ping())
    }

    /// The promise of what is decided for this client.
    pub(super) fn receipt(&self, outcome: Arc<SharedOutcome>) -> Receipt {
        Receipt::new(outcome, self.publisher.process)
    }

    pub(super) fn subscribe_callback<F, O>(
        &self,
        filter: Filter,
        mut callback: F,
    ) -> Result<(), SubscribeError>
    where
        F: FnMut(&[u8], &Message) -> O + Send + 'static,
        O: Outcome,
    {
        let callback: Callback =
            Callback::Messages(Box::new(move |payload: &[u8], message: &Message| {
                callback(payload, message).verdict()
            }));
        self.callbacks.add_broadcast(filter, callback)
    }

    pub(super) fn subscription_to<Mode>(&self, filter: Filter) -> SubscriptionBuilder<Mode> {
        SubscriptionBuilder::new(Arc::clone(&self.callbacks), filter)
    }

    pub(super) fn unsubscribe(&self, filter: &Filter) -> Result<(), SubscribeError> {
        self.callbacks.remove(filter)
    }

    pub(super) fn dead_letters(&self, group: &str) -> DeadLetters {
        DeadLetters::new(self.dead_letters_in_task(group))
    }

    pub(super) fn dead_letters_in_task(&self, group: &str) -> dead_letters::tasks::DeadLetters {
        dead_letters::tasks::DeadLetters::new(Arc::clone(&self.control_queue), group.to_owned())
    }

    pub(super) fn groups<Mode>(&self) -> Groups<Mode> {
        Groups::new(Arc::clone(&self.control_queue))
    }

    pub(super) fn retained<Mode>(&self) -> Retained<Mode> {
        Retained::new(Arc::clone(&self.control_queue))
    }

    pub(super) fn publisher_id(&self) -> u64 {
        self.publisher.id
    }

    pub(super) fn counters(&self) -> Counters {
        self.reporter.counters()
    }

    /// Ends the client: first its callbacks, so that their last acknowledgements still leave.
    pub(super) fn stop(&self) {
        // Its parent's client goes on, and no thread of it is here.
        if !self.publisher.process.is_this() {
            return;
        }
        // A callback that waits for room shall not hold the end up.
        self.outbox.refuse();
        self.commands.stop();
        let bound = self.timeout + NOTICE;
        if let Some(threads) = &self.threads {
            threads.end_calls(bound);
        }
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(threads) = &self.threads {
            threads.end(bound);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The connection.
fn wire(options: &Options) -> Connection {
    let addresses = addresses(options);
    Connection::new(Settings { addresses, ..settings(options, SILENCE_MAX) })
}

/// Where servers take requests.
pub(super) fn addresses(options: &Options) -> Vec<Address> {
    let first = (&options.server_address, options.port);
    let others =
        options.others.iter().map(|(host, port)| (host, port.unwrap_or(options.port_unsaid)));
    let address = |(host, port): (&String, u16)| {
        // An IPv6 address may stand in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Address { host, port }
    };
    std::iter::once(first).chain(others).map(address).collect()
}

/// The connection's settings, without an address.
pub(super) fn settings(options: &Options, silence_max: Duration) -> Settings {
    Settings {
        addresses: Vec::new(),
        timeout: options.send_timeout,
        kind: Kind::Dealer,
        // The server's limit may be a little larger, and what it publishes carries no more.
        // No server sends more than libzmq's signed length tells.
        frame_bytes_max: options
            .max_message_size
            .saturating_add(CLIENT_FRAME_SLACK_BYTES)
            .min(i32::MAX as usize),
        heartbeat: HEARTBEAT,
        silence_max,
        keys: options.curve.clone(),
        login: options.login.clone(),
    }
}
