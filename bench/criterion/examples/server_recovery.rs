//! Starts server programs with a journal of unacknowledged 128-byte messages and prints for each start
//! the time until the server listens, with the messages taken back, and the resident memory that each of
//! them takes then, beyond what the server takes with an empty journal.
//!
//! `cargo run --release -p mezzenger-bench --example server_recovery -- 1000000 0 SERVER...`: so many
//! messages appended, none in ten of them settled. With several programs they take turns (A B B A), five
//! rounds.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arcstr::ArcStr;
use bytes::Bytes;
use crossbeam::channel::{Receiver, bounded};
use mezzenger::journal::storage::RealStorage;
use mezzenger::journal::{FsyncPolicy, Journal, JournalOptions, LiveSet, Op, SubmitError, open};
use mezzenger::message::{Format, Message};
use mezzenger::wire::id::MessageId;
use mezzenger_bench::id;
use mezzenger_bench::server::Server;

const ROUNDS: usize = 5;
/// A native record with a payload of 128 bytes.
const RECORD_BYTES: usize = 190;
const GROUP_MESSAGES: u64 = 256;

struct All;

impl LiveSet for All {
    fn is_live(&self, _: &MessageId) -> bool {
        true
    }
}

/// Submits groups and waits until the last is durable.
fn submit_all(journal: &Journal, progress: &Receiver<()>, groups: impl Iterator<Item = Vec<Op>>) {
    let mut last = journal.durable();
    for mut group in groups {
        loop {
            match journal.submit(group) {
                Ok(ticket) => break last = ticket,
                Err(SubmitError::Full(back)) => group = back,
                Err(error) => panic!("{error}"),
            }
            let _ = progress.recv();
        }
    }
    while journal.durable() < last {
        let _ = progress.recv();
    }
}

fn write(path: &Path, count: u64, settled_of_ten: u64) {
    let options = JournalOptions {
        fsync: FsyncPolicy::Never,
        compact_min_bytes: u64::MAX,
        ..JournalOptions::new(path)
    };
    let (_, opened) = open(options, Arc::new(RealStorage)).expect("opens");
    let (sender, progress) = bounded(1);
    let on_progress = Box::new(move |_| sender.try_send(()).unwrap_or_default());
    let journal = opened.start(Arc::new(All), on_progress).expect("starts");
    let (name, body) = (ArcStr::from("greet"), [7; RECORD_BYTES]);
    let message = |n| {
        let body = Bytes::copy_from_slice(&body);
        Message { id: id(n), name: name.clone(), format: Format::V2, body }
    };
    let numbers = |first: u64| first..count.min(first + GROUP_MESSAGES);
    let starts = || (0..count).step_by(GROUP_MESSAGES as usize);
    let appends = starts().map(|at| numbers(at).map(|n| Op::Append(message(n))).collect());
    submit_all(&journal, &progress, appends);
    let settled = |n: &u64| n % 10 < settled_of_ten;
    let settles = |at| numbers(at).filter(settled).map(|n| Op::Settle(id(n))).collect();
    submit_all(&journal, &progress, starts().map(settles));
    journal.close().expect("closes");
}

fn persist(journal: &Path) -> [&OsStr; 2] {
    [OsStr::new("--persist-file"), journal.as_os_str()]
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = || args.next().expect("a number").parse().expect("a number");
    let (count, settled_of_ten): (u64, u64) = (number(), number());
    let programs: Vec<PathBuf> = args.map(PathBuf::from).collect();
    let live = count - count * settled_of_ten / 10;
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let (empty, full, used) = (path("empty"), path("full"), path("used"));
    write(&full, count, settled_of_ten);
    for round in 0..ROUNDS {
        let mut turns: Vec<&PathBuf> = programs.iter().collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for program in turns {
            let idle = Server::start(program, &persist(&empty)).resident_bytes();
            // The server compacts it, so each start has a copy of its own.
            std::fs::copy(&full, &used).expect("copied");
            File::open(&used).and_then(|file| file.sync_all()).expect("synced");
            let started = Instant::now();
            let server = Server::start(program, &persist(&used));
            let taken = started.elapsed();
            let each = (server.resident_bytes().saturating_sub(idle)) as f64 / live as f64;
            println!(
                "{}: {count} appended, {live} live: ready in {:.0} ms, {:.2} M appended/s, {each:.1} B \
                 each",
                program.file_name().unwrap_or_default().display(),
                taken.as_secs_f64() * 1e3,
                count as f64 / taken.as_secs_f64() / 1e6,
            );
        }
    }
}
