//! What came of the crash torture.

use std::path::Path;

use serde::Deserialize;

use crate::markdown::{Table, link};

/// What `mezzenger-torture --json` writes, as far as it is shown.
#[derive(Deserialize)]
pub(crate) struct Torture {
    command: String,
    rounds: u64,
    seconds: f64,
    kills: Kills,
    account: Account,
    /// Not there when the torture broke off.
    lost: Option<u64>,
    failures: Vec<String>,
}

#[derive(Deserialize)]
struct Kills {
    servers: u64,
    between_write_and_sync: u64,
    in_write: u64,
    in_compaction: u64,
    starting: u64,
    owing: u64,
    owed_max: u64,
    publishers: u64,
    subscribers: u64,
}

#[derive(Deserialize)]
struct Account {
    sent: u64,
    ok: u64,
    delivered: u64,
    duplicated: u64,
}

/// A table with a row for each figure, and the command.
pub(crate) fn section(path: &Path, torture: &Torture) -> String {
    let Torture { command, rounds, seconds, kills, account, lost, failures } = torture;
    let mut table = Table::new(&["what", "how many", "raw file"]);
    let raw = link("torture.json", path);
    let lost = lost.map_or("not known".to_owned(), |lost| lost.to_string());
    let rows = [
        ("rounds", rounds),
        ("kills of the server", &kills.servers),
        ("– between a write of the journal and its sync", &kills.between_write_and_sync),
        ("– in a write", &kills.in_write),
        ("– while it read its journal", &kills.starting),
        ("– during a compaction", &kills.in_compaction),
        ("– while it owed messages: answered OK, not delivered", &kills.owing),
        ("most messages that it owed then", &kills.owed_max),
        ("kills of publishers", &kills.publishers),
        ("kills of subscribers", &kills.subscribers),
        ("messages sent", &account.sent),
        ("answered OK", &account.ok),
        ("delivered", &account.delivered),
        ("deliveries beyond a message's first", &account.duplicated),
    ];
    for (what, count) in rows {
        table.row(&[what.to_owned(), count.to_string(), raw.clone()]);
    }
    table.row(&["**lost**".to_owned(), format!("**{lost}**"), raw]);
    let failures = match &failures[..] {
        [] => String::new(),
        failures => format!("\n\n**It failed**: {}", failures.join("; ")),
    };
    format!("{}\n\n`{command}`, {seconds:.0} s.{failures}", table.finish())
}
