//! What the handles of a client share: its threads, and the way to them.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::unbounded;

use super::batches::Bounds;
use super::dead_letters::DeadLetters;
use super::delivery::Deliverer;
use super::errands::Errands;
use super::error::{ConnectError, SendError, SubscribeError};
use super::links::{Link, Links};
use super::message::Message;
use super::options::Options;
use super::outbox::Outbox;
use super::outcome::Outcome;
use super::outgoing::OutgoingMessage;
use super::payload::{ArchivePayload, Payload};
use super::publisher::{Content, Publisher};
use super::receipt::{Fate, Receipt};
use super::receive::{Commands, Filter, Opener, Requests, SubscriptionBuilder, Voice};
use super::report::{Counters, Reporter};
use super::requester::{Requester, Setup};
use super::routes::Target;
use super::subscriber::{Control, Subscriber, random_u64};
use super::worker::Worker;
use crate::limits::{CLIENT_FRAME_SLACK_BYTES, CLIENT_OWN_FRAME_BYTES};
use crate::net::connection::{Address, Connection, Settings};
use crate::net::subscribing::Subscribing;
use crate::net::waker::{self, Waker};
use crate::wire::hello;
use crate::wire::name;
use crate::zmtp::handshake::Kind;

/// How long a thread may take to notice that it is to end.
const NOTICE: Duration = Duration::from_millis(500);

/// Silence after which the server is asked for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long the answer may take before the connection counts as lost.
const REQUEST_SILENCE: Duration = Duration::from_secs(15);

/// The same for the receiving connection: long, because the server may have much to send first.
const RECEIVING_SILENCE: Duration = Duration::from_secs(60);

/// A running client.
pub(super) struct Core {
    publisher: Arc<Publisher>,
    timeout: Duration,
    verify: bool,
    outbox: Arc<Outbox>,
    errands: Arc<Errands>,
    commands: Arc<Commands>,
    opener: Opener,
    requests: Requests,
    reporter: Arc<Reporter>,
    links: Arc<Links>,
    request_waker: Waker,
    stopping: Arc<AtomicBool>,
    requester: Option<Worker>,
    control: Option<Arc<Control>>,
    receiver: Option<Worker>,
}

/// What the two threads of a client run; the second only if it receives.
pub(super) type Threads = (Requester, Option<Subscriber>);

impl Core {
    /// Starts the threads and waits until the server said hello.
    pub(super) fn start(options: Options) -> Result<Self, ConnectError> {
        let wires = [
            (options.send_port, Kind::Dealer, REQUEST_SILENCE),
            (options.sub_port, Kind::Sub, RECEIVING_SILENCE),
        ]
        .map(|(port, kind, silence_max)| {
            let settings = settings(&options, kind, silence_max);
            let address = Some(address(&options, port));
            Connection::new(Settings { address, ..settings })
        });
        let (mut core, (requester, subscriber)) = Self::split(&options, wires)?;
        let (answered, receives) = (Arc::<Fate>::default(), subscriber.is_some());
        let opened = core.links.connect(Arc::clone(&answered));
        let patience = options.send_timeout.saturating_mul(options.connection_retries);
        let end = Instant::now().checked_add(patience);
        let worker = Worker::spawn("mezzenger-requests", move || requester.run());
        core.requester = Some(worker.map_err(ConnectError::Thread)?);
        if let Some(subscriber) = subscriber {
            let worker = Worker::spawn("mezzenger-receives", move || subscriber.run());
            core.receiver = Some(worker.map_err(ConnectError::Thread)?);
        }
        let answer = answered.wait_until(end);
        let link = if answer == Some(Ok(())) { Link::Messages } else { Link::Requests };
        let is_open = answer == Some(Ok(()))
            && (!receives || opened.wait_until(end).is_some_and(|opened| opened.is_ok()));
        let (link, failure, is_certain) = core.links.connected(link);
        if is_open {
            return Ok(core);
        }
        core.links.abandon();
        let port = if link == Link::Requests { options.send_port } else { options.sub_port };
        let address = options.server_address;
        Err(match (answer, failure) {
            (_, Some(failure)) if is_certain => ConnectError::certain(address, port, failure),
            (Some(Err(source)), _) => ConnectError::Rejected { address, port, source },
            (_, failure) => {
                let (timeout, tries) = (options.send_timeout, options.connection_retries);
                ConnectError::no_answer(address, port, timeout, tries, failure)
            }
        })
    }

    /// A client whose threads do not run yet, and what they are to run. The connections are those for
    /// requests and for receiving.
    pub(super) fn split(
        options: &Options,
        [requests, receiving]: [Connection; 2],
    ) -> Result<(Self, Threads), ConnectError> {
        let reporter = Arc::new(Reporter {
            on_missed: options.on_missed.clone(),
            on_blocked: options.on_blocked.clone(),
            on_error: options.on_error.clone(),
            ..Reporter::default()
        });
        let (request_waker, wakes) = waker::pair().map_err(ConnectError::System)?;
        let links = Arc::new(Links::new(options.on_connection.clone(), request_waker.clone()));
        let bounds = Bounds {
            frame_bytes_max: options.max_message_size,
            buffer_bytes: options.buffer_bytes,
            window_frames: options.window,
            patience: options.send_timeout.saturating_mul(options.connection_retries),
            target_delay: options.target_delay,
        };
        let outbox = Arc::new(Outbox::new(bounds, Arc::clone(&reporter), request_waker.clone()));
        let errands = Arc::new(Errands::new(request_waker.clone(), Arc::clone(&reporter)));
        let commands = Arc::new(Commands::new(request_waker.clone(), Arc::clone(&reporter)));
        let stopping = Arc::<AtomicBool>::default();
        let mut secret = hello::Secret::default();
        secret[..8].copy_from_slice(&random_u64().to_le_bytes());
        secret[8..].copy_from_slice(&random_u64().to_le_bytes());
        let setup = Setup {
            server: address(options, options.send_port).to_string(),
            timeout: options.send_timeout,
            tries: options.connection_retries,
            verbose: options.verbose,
            links: Arc::clone(&links),
            commands: Arc::clone(&commands),
            verify: options.verify_checksums,
            hello: hello::request(&secret).into(),
        };
        let requester = Requester::new(
            setup,
            requests,
            wakes,
            Arc::clone(&outbox),
            Arc::clone(&errands),
            Arc::clone(&reporter),
            Arc::clone(&stopping),
        );
        let publisher = Arc::new(Publisher {
            id: hello::publisher(&secret),
            max_message_bytes: options.max_message_size,
            outbox: Arc::clone(&outbox),
            line: requester.line(),
            waker: request_waker.clone(),
        });
        let voice = Voice {
            commands: Arc::clone(&commands),
            errands: Arc::clone(&errands),
            publisher: Arc::clone(&publisher),
        };
        let opener = Opener::new(voice, options.send_timeout, options.connection_retries);
        let mut core = Self {
            requests: Requests::new(opener.clone(), publisher.id),
            publisher,
            timeout: options.send_timeout,
            verify: options.verify_checksums,
            outbox,
            errands,
            commands,
            opener,
            reporter,
            links,
            request_waker,
            stopping,
            requester: None,
            control: None,
            receiver: None,
        };
        let subscriber =
            if options.auto_start { Some(core.receive(receiving, options)?) } else { None };
        Ok((core, (requester, subscriber)))
    }

    fn receive(&mut self, wire: Connection, options: &Options) -> Result<Subscriber, ConnectError> {
        let (waker, wakes) = waker::pair().map_err(ConnectError::System)?;
        let (commands, incoming) = unbounded();
        let (timeout, tries) = (options.send_timeout, options.connection_retries);
        let control = Arc::new(Control::new(commands, waker, timeout, tries));
        let deliverer = Deliverer::new(
            Arc::clone(&self.errands),
            Arc::clone(&self.reporter),
            self.verify,
            control.stopping(),
        );
        self.control = Some(Arc::clone(&control));
        let wire = Subscribing::new(wire);
        let links = Arc::clone(&self.links);
        Ok(Subscriber {
            wire,
            wakes,
            commands: incoming,
            deliverer,
            control,
            links,
            timeout,
            tries,
        })
    }

    pub(super) fn ping(&self) -> Result<(), SendError> {
        Receipt { fate: self.errands.ping() }.wait()
    }

    /// Gives a message without properties to the outbox. `unattended`: nobody waits for the answer.
    pub(super) fn publish(
        &self,
        name: &str,
        payload: &dyn Payload,
        ack: bool,
        unattended: bool,
    ) -> Result<Receipt, SendError> {
        let encoding = payload.encoding();
        let payload = payload.as_payload();
        let has_properties = false;
        let content = Content { name, encoding, payload, has_properties, ack, unattended };
        self.publisher.publish(content)
    }

    /// Begins a message with properties.
    pub(super) fn message<'a, P: Payload>(
        &'a self,
        name: &'a str,
        payload: P,
    ) -> OutgoingMessage<'a, P> {
        OutgoingMessage::new(&self.publisher, &self.requests, name, payload)
    }

    /// Archives a value and lends its bytes out.
    pub(super) fn archive<T: ArchivePayload, R>(
        &self,
        value: &T,
        then: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, SendError> {
        thread_local! {
            static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        let mut scratch = SCRATCH.take();
        scratch.clear();
        let bytes = rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Error>(value, scratch)
            .map_err(|error| SendError::Archive { text: error.to_string() })?;
        let result = then(&bytes);
        // One huge value shall not hold memory for ever.
        if bytes.capacity() <= CLIENT_OWN_FRAME_BYTES {
            SCRATCH.set(bytes);
        }
        Ok(result)
    }

    pub(super) fn flush(&self) -> Result<(), SendError> {
        self.outbox.flush()
    }

    fn control(&self) -> Result<&Arc<Control>, SubscribeError> {
        self.control.as_ref().ok_or(SubscribeError::NotStarted)
    }

    pub(super) fn subscribe_callback<F, O>(
        &self,
        target: Target,
        mut callback: F,
    ) -> Result<(), SubscribeError>
    where
        F: FnMut(&[u8], &Message) -> O + Send + 'static,
        O: Outcome,
    {
        let control = self.control()?;
        check_target(&target)?;
        let callback =
            Box::new(move |payload: &[u8], message: &Message| callback(payload, message).failure());
        control.subscribe(target, callback)
    }

    pub(super) fn subscription_to(&self, filter: Filter) -> SubscriptionBuilder {
        SubscriptionBuilder::new(self.opener.clone(), filter)
    }

    pub(super) fn unsubscribe(&self, target: Target) -> Result<(), SubscribeError> {
        self.control()?.unsubscribe(target)
    }

    pub(super) fn dead_letters(&self, group: &str) -> DeadLetters {
        DeadLetters::new(Arc::clone(&self.errands), group.to_owned())
    }

    pub(super) fn publisher_id(&self) -> u64 {
        self.publisher.id
    }

    pub(super) fn counters(&self) -> Counters {
        self.reporter.counters()
    }

    /// Ends the threads, the receiving one first, so that its last acknowledgements still leave.
    pub(super) fn stop(&self) {
        // A callback that waits for room shall not hold the end up.
        self.outbox.refuse();
        self.commands.stop();
        if let Some(control) = &self.control {
            control.stop();
        }
        if let Some(receiver) = &self.receiver {
            receiver.join(self.timeout + NOTICE);
        }
        self.stopping.store(true, Ordering::Release);
        self.request_waker.wake();
        if let Some(requester) = &self.requester {
            requester.join(self.timeout + NOTICE);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.stop();
    }
}

fn check_target(target: &Target) -> Result<(), SubscribeError> {
    match target {
        Target::Name(name) => name::check_publishable(name)?,
        // A prefix may read like a reserved name.
        Target::Prefix(prefix) => name::check_prefix(prefix)?,
    }
    Ok(())
}

/// Where one of the server's ports is.
fn address(options: &Options, port: u16) -> Address {
    // An IPv6 address may stand in brackets.
    let host = options.server_address.trim_start_matches('[').trim_end_matches(']').to_owned();
    Address { host, port }
}

/// A connection's settings, without an address.
pub(super) fn settings(options: &Options, kind: Kind, silence_max: Duration) -> Settings {
    Settings {
        address: None,
        kind,
        // The server's limit may be a little larger, and what it publishes carries no more.
        // No server sends more than libzmq's signed length tells.
        frame_bytes_max: options
            .max_message_size
            .saturating_add(CLIENT_FRAME_SLACK_BYTES)
            .min(i32::MAX as usize),
        heartbeat: HEARTBEAT,
        silence_max,
    }
}
