//! What many subscriptions take, and what they cost a message that fits few of them.

use std::thread;
use std::time::{Duration, Instant};

use loadgen::report::Environment;
use mezzenger::wire::checksum;
use mezzenger::wire::control::{self, Control, Kind, Overflow, Subscribe};
use mezzenger::wire::filter::Filter;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::hello;
use mezzenger::wire::id::MessageId;
use mezzenger::wire::record::{Encoding, Record};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::args::{FilterKind, ServerArgs, SubscriptionsArgs};
use crate::dealer::{Dealer, request};
use crate::error::MeasureError;
use crate::figures::quantile;
use crate::server::Server;

/// How long a server is left alone before its memory is looked at.
const SETTLED: Duration = Duration::from_secs(3);

/// Subscriptions that are asked for together.
const TOGETHER: usize = 50;

/// Bytes that a subscription may have delivered: more than all messages of a measure.
const CREDIT_BYTES: u64 = 1 << 30;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    count: u32,
    connections: u32,
    filter: FilterKind,
    fitting: u32,
    server_args: Vec<String>,
    /// Resident memory of the server, more than with the connections alone, for each subscription.
    bytes_each: f64,
    /// How long it took to subscribe, in all.
    subscribing_s: f64,
    /// From the request until its OK and all fitting deliveries have arrived: the medians of each round, with all
    /// subscriptions and with the fitting ones alone.
    rounds: Vec<Round>,
    /// The median of what each round's time with all is of the one with few.
    ratio: f64,
    environment: Environment,
}

#[derive(Debug, Serialize)]
struct Round {
    with_all_us: f64,
    with_few_us: f64,
}

/// Measures a server with all subscriptions beside one with few.
pub(crate) fn run(server: &ServerArgs, args: &SubscriptionsArgs) -> Result<Outcome, MeasureError> {
    let limit = getrlimit(Resource::Nofile);
    // What is too few then fails where a connection is made.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let full = Server::start(server)?;
    let mut connections = (0..args.connections)
        .map(|number| Dealer::connect(full.addr, &secret(number)))
        .collect::<Result<Vec<_>, _>>()?;
    thread::sleep(SETTLED);
    let before = full.resident_bytes()?;
    let began = Instant::now();
    let count = subscribe_all(&mut connections, args)?;
    let subscribing_s = began.elapsed().as_secs_f64();
    thread::sleep(SETTLED);
    let bytes = full.resident_bytes()?.saturating_sub(before);

    let few = Server::start(server)?;
    let mut with_all = Scene::new(&full, args)?;
    let mut with_few = Scene::new(&few, args)?;
    let mut rounds = Vec::new();
    for number in 0..args.rounds {
        // In turns: A B B A.
        let [with_all_us, with_few_us] = if number % 2 == 0 {
            let first = with_all.publish(args.messages)?;
            [first, with_few.publish(args.messages)?]
        } else {
            let first = with_few.publish(args.messages)?;
            [with_all.publish(args.messages)?, first]
        };
        rounds.push(Round { with_all_us, with_few_us });
    }
    let mut ratios: Vec<f64> =
        rounds.iter().map(|round| round.with_all_us / round.with_few_us).collect();
    Ok(Outcome {
        count,
        connections: args.connections,
        filter: args.filter,
        fitting: args.fitting,
        server_args: server.server_arg.clone(),
        bytes_each: bytes as f64 / f64::from(count),
        subscribing_s,
        ratio: quantile(&mut ratios, 0.5),
        rounds,
        environment: Environment::here(),
    })
}

fn secret(number: u32) -> hello::Secret {
    u128::from(number).to_le_bytes()
}

/// Subscribes each connection to as many texts of 16 bytes, all different; how many there are in all.
fn subscribe_all(
    connections: &mut [Dealer],
    args: &SubscriptionsArgs,
) -> Result<u32, MeasureError> {
    let each = args.count.div_ceil(args.connections);
    let mut text = 0;
    for connection in connections {
        for from in (0..each).step_by(TOGETHER) {
            let numbers = from..each.min(from + TOGETHER as u32);
            let mut requests = Vec::new();
            for number in numbers.clone() {
                let (name, pattern) = (format!("name.{text:011}"), format!("name.{text:09}.*"));
                let filter = match args.filter {
                    FilterKind::Name => Filter::Name(&name),
                    FilterKind::Prefix => Filter::Prefix(&name),
                    FilterKind::Pattern => Filter::Pattern(&pattern),
                };
                requests.extend(subscribe(number, filter));
                text += 1;
            }
            connection.write(&requests)?;
            numbers.into_iter().try_for_each(|_| connection.ok())?;
        }
    }
    Ok(text)
}

fn subscribe(number: u32, filter: Filter<'_>) -> Vec<u8> {
    request(&control::request(&Control::Subscribe(Subscribe {
        number,
        kind: Kind::Broadcast,
        overflow: Overflow::Drop,
        filter,
        credit: CREDIT_BYTES,
        with_last: false,
    })))
}

/// The name of a message, and which one of its name it is. The server remembers whom a name fits: under a prefix or a pattern
/// each message has another one, for which it has to look.
fn name(filter: FilterKind, sequence: u64) -> (String, u64) {
    match filter {
        FilterKind::Name => ("fits.it".to_owned(), sequence),
        FilterKind::Prefix | FilterKind::Pattern => (format!("fits.{sequence}"), 1),
    }
}

/// A publisher, and those whom its messages fit.
struct Scene {
    filter: FilterKind,
    publisher: Dealer,
    id: MessageId,
    fitting: Vec<Dealer>,
}

impl Scene {
    fn new(server: &Server, args: &SubscriptionsArgs) -> Result<Self, MeasureError> {
        // None of the other connections has these.
        let own = secret(u32::MAX);
        let fitting = (1..=args.fitting).map(|number| {
            let mut dealer = Dealer::connect(server.addr, &secret(u32::MAX - number))?;
            let filter = match args.filter {
                FilterKind::Name => Filter::Name("fits.it"),
                FilterKind::Prefix => Filter::Prefix("fits."),
                FilterKind::Pattern => Filter::Pattern("fits.*"),
            };
            dealer.write(&subscribe(0, filter))?;
            dealer.ok()?;
            Ok(dealer)
        });
        Ok(Self {
            filter: args.filter,
            fitting: fitting.collect::<Result<_, MeasureError>>()?,
            publisher: Dealer::connect(server.addr, &own)?,
            id: MessageId { publisher: hello::publisher(&own), sequence: 0 },
        })
    }

    /// Publishes so many messages, one after the other: the median of their times, in microseconds.
    fn publish(&mut self, messages: u32) -> Result<f64, MeasureError> {
        let mut times_us = Vec::new();
        for _ in 0..messages {
            self.id.sequence += 1;
            let payload = self.id.sequence.to_le_bytes();
            let (name, ordinal) = name(self.filter, self.id.sequence);
            let mut frame = v2_prefix(&name);
            let record = Record {
                id: self.id,
                ordinal,
                timestamp_ns: 0,
                checksum: checksum::native(&name, &payload, 0),
                ack: false,
                has_properties: false,
                encoding: Encoding::Bytes,
                payload: &payload,
            };
            record.append_to(&mut frame).map_err(|error| MeasureError::Wrong(error.to_string()))?;
            let bytes = request(&frame);
            let began = Instant::now();
            self.publisher.write(&bytes)?;
            self.publisher.ok()?;
            for dealer in &mut self.fitting {
                if dealer.delivery()? != frame {
                    return Err(MeasureError::Wrong("another message came".to_owned()));
                }
            }
            times_us.push(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok(quantile(&mut times_us, 0.5))
    }
}
