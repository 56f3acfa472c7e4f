//! The check of the whole server, from its sockets to its journal.

mod client;

use std::sync::Arc;
use std::time::Duration;

use mezzenger::Config;
use mezzenger::config::Verify;
use mezzenger::internals::DrivenServer;
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::wire::frame::split_v2;

use client::Client;

/// Turns after which a server without news has nothing left to do: a group of operations is handed to the
/// journal at the end of one, written, and heard of in the next.
const QUIET_TURNS: usize = 4;

/// One thing that somebody does to the server.
#[derive(Debug)]
enum Step<'a> {
    Request(&'a [u8]),
    /// A message of parts that may be no request.
    Parts(&'a [u8]),
    Subscribe(&'a [u8]),
    Unsubscribe(&'a [u8]),
    /// The server does what there is to do.
    Turn,
}

/// Does to a server what the bytes say: every request is answered, once and in its format; whatever is
/// published is well formed in its format; and what waits for an acknowledgement, no more and no less,
/// is there again after a restart.
///
/// Of the first byte, bit 0 gives the server a journal, and bit 1 makes it verify checksums. Each step is
/// a byte that says which, a length of two bytes (little-endian), and so many bytes.
///
/// # Panics
/// When one of this does not hold.
pub fn server(data: &[u8]) {
    let Some((&choice, script)) = data.split_first() else { return };
    let storage = MemoryStorage::new();
    let mut run = Run::start(choice, &storage);
    for step in steps(script) {
        match step {
            Step::Request(body) => {
                if let Some(publisher) = publisher(body) {
                    // The secrets of these publishers are nobody's.
                    run.server.prove(0, publisher);
                }
                run.client.request(body);
            }
            Step::Parts(bytes) => run.client.parts(bytes),
            Step::Subscribe(topic) => run.client.subscribe(topic),
            Step::Unsubscribe(topic) => run.client.unsubscribe(topic),
            Step::Turn => run.turn(),
        }
    }
    let pending = run.end();
    let recovered = Run::start(choice, &storage).server.metrics().pending_messages;
    assert_eq!(recovered, if has_journal(choice) { pending } else { 0 });
}

/// The publisher of a native request's first record.
fn publisher(body: &[u8]) -> Option<u64> {
    let (_, mut records) = split_v2(body)?;
    let (_, record) = records.next()?.ok()?;
    Some(record.id.publisher)
}

fn has_journal(choice: u8) -> bool {
    choice & 1 != 0
}

fn steps(mut script: &[u8]) -> impl Iterator<Item = Step<'_>> {
    std::iter::from_fn(move || {
        let (&[kind, low, high], rest) = script.split_first_chunk()?;
        let length = u16::from_le_bytes([low, high]).into();
        let (bytes, rest) = rest.split_at(rest.len().min(length));
        script = rest;
        Some(match kind % 8 {
            0 => Step::Turn,
            1 => Step::Subscribe(bytes),
            2 => Step::Unsubscribe(bytes),
            3 => Step::Parts(bytes),
            _ => Step::Request(bytes),
        })
    })
}

/// A server and all its clients.
struct Run {
    client: Client,
    server: DrivenServer,
}

impl Run {
    fn start(choice: u8, storage: &MemoryStorage) -> Self {
        let config = Config {
            persist_file: has_journal(choice).then(|| "/journal".into()),
            verify: if choice & 2 == 0 { Verify::Never } else { Verify::Always },
            // The clock has no part in this.
            retry_interval: Duration::from_secs(3600),
            // Small, so that they are met.
            max_message_bytes: 4096,
            max_pending_messages: 16,
            ..Config::default()
        };
        let mut server = DrivenServer::new(&config, Arc::new(storage.clone()))
            .expect("it starts, and recovers what it wrote itself");
        Self { client: Client::connect(&mut server), server }
    }

    fn turn(&mut self) {
        self.server.turn_broker().expect("the sockets work");
        self.server.turn_journal().expect("the journal works");
        self.client.receive();
    }

    /// Lets the server finish; returns how many messages wait for an acknowledgement.
    fn end(mut self) -> u64 {
        let mut quiet = 0;
        while quiet < QUIET_TURNS {
            let before = self.server.metrics();
            self.turn();
            quiet = if self.server.metrics() == before { quiet + 1 } else { 0 };
        }
        self.client.assert_all_answered();
        self.server.metrics().pending_messages
    }
}
