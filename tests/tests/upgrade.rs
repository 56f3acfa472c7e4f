//! Journals that earlier versions wrote, `tests/golden/journals`: a server that is started on a copy has all that they held.
//!
//! Version 1 was written by a server of the first format, version 2 by one of the second, each killed while it ran.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mezzenger::{Client, Filter};

use crate::harness::Server;
use crate::harness::binaries::workspace;

const LONG: Duration = Duration::from_secs(30);

/// A copy of the journal of this version, in a folder of its own.
fn copy(version: u32, folder: &Path) -> PathBuf {
    let golden = workspace().join(format!("tests/golden/journals/version-{version}.journal"));
    let journal = folder.join("journal");
    fs::copy(golden, &journal).unwrap();
    assert_eq!(version_of(&journal), version);
    journal
}

/// The version of the format that a journal's header names.
fn version_of(journal: &Path) -> u32 {
    u32::from_le_bytes(fs::read(journal).unwrap()[8..12].try_into().unwrap())
}

/// The next messages of a name, in order, each acknowledged.
#[track_caller]
fn next(client: &Client, name: &str, count: usize) -> Vec<String> {
    let mut messages = client.subscription(name).unwrap();
    let mut texts = Vec::new();
    for _ in 0..count {
        let delivery = messages.recv_timeout(LONG).unwrap();
        texts.push(delivery.text().unwrap().to_owned());
        delivery.ack();
    }
    texts
}

#[test]
fn a_journal_of_version_1_is_taken_over_whole() {
    let folder = tempfile::tempdir().unwrap();
    let journal = copy(1, folder.path());
    let server = Server::start_with_journal(&journal, &[]);
    assert_eq!(version_of(&journal), 2);
    let client = server.client();
    assert_eq!(next(&client, "orders", 2), ["first order", "second order"]);
    assert_eq!(next(&client, "prices", 1), ["a price"]);
    client.stop();
    server.terminate();
}

#[test]
fn a_journal_of_version_2_is_taken_over_whole() {
    let folder = tempfile::tempdir().unwrap();
    let journal = copy(2, folder.path());
    let server = Server::start_with_journal(&journal, &[]);
    let client = server.client();
    // "packed before" was acknowledged by the group.
    let orders = Filter::pattern("orders.*");
    let mut packers = client.subscription_to(orders).group("packers").open().unwrap();
    let job = packers.recv_timeout(LONG).unwrap();
    assert_eq!((job.text(), job.header("region")), (Some("to be packed"), Some("north")));
    assert_eq!(job.content_type(), Some("text/plain"));
    job.ack();
    let letters = client.dead_letters("fragile").list(9).unwrap();
    let texts = letters.iter().map(|letter| {
        let (_, message) = client.dead_letters("fragile").show(letter.id).unwrap();
        message.text().unwrap().to_owned()
    });
    assert_eq!(texts.collect::<Vec<_>>(), ["a vase"]);
    // The second one replaced the first.
    let mut prices = client.subscription_to(Filter::name("prices")).with_last().open().unwrap();
    assert_eq!(prices.recv_timeout(LONG).unwrap().text(), Some("11"));
    assert_eq!(next(&client, "invoices", 1), ["once"]);
    // It was due two seconds after it was published, and its server was killed before.
    assert_eq!(next(&client, "reports", 1), ["later"]);
    client.stop();
    server.terminate();
}
