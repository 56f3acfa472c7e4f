//! The lists of `top`: their columns, and the orders in which they can stand.

use std::cmp::Ordering;

use super::fetch::Fetched;
use super::rates;
use crate::overview::{Connection, Group, Name, bytes, seconds};
use crate::show::on_terminal;
use crate::table::{Align, table};

/// What a cell is ordered by.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key {
    Text(String),
    Number(f64),
}

impl Key {
    /// Texts from a to z, and numbers from the largest on: what people look for stands on top.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Number(one), Self::Number(other)) => other.total_cmp(one),
            (Self::Text(_), Self::Number(_)) => Ordering::Less,
            (Self::Number(_), Self::Text(_)) => Ordering::Greater,
        }
    }
}

/// A cell of a list: what is shown, and what it is ordered by.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) key: Key,
}

fn text(text: &str) -> Cell {
    let text = on_terminal(text);
    Cell { key: Key::Text(text.clone()), text }
}

fn number(value: u64) -> Cell {
    Cell { text: value.to_string(), key: Key::Number(value as f64) }
}

fn size(value: u64) -> Cell {
    Cell { text: bytes(value), key: Key::Number(value as f64) }
}

/// A row of a list.
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    /// Whether somebody should look at it.
    pub(super) is_slow: bool,
}

/// A list.
pub(super) struct Tab {
    pub(super) title: &'static str,
    pub(super) columns: &'static [(&'static str, Align)],
    pub(super) rows: fn(&Fetched, Option<&Fetched>) -> Vec<Row>,
}

/// The lists.
pub(super) const TABS: [Tab; 3] = [
    Tab {
        title: "Connections",
        columns: &[
            ("State", Align::Left),
            ("Client", Align::Left),
            ("Address", Align::Left),
            ("User or key", Align::Left),
            ("Kind", Align::Left),
            ("Queued", Align::Right),
            ("Holds", Align::Right),
            ("Dropped", Align::Right),
            ("In", Align::Right),
            ("Out", Align::Right),
            ("Subs", Align::Right),
            ("Age", Align::Right),
            ("Id", Align::Right),
        ],
        rows: |now, _| now.connections.iter().map(connection).collect(),
    },
    Tab { title: "Groups", columns: &GROUP, rows: |now, _| now.groups.iter().map(group).collect() },
    Tab {
        title: "Names",
        columns: &[
            ("Messages", Align::Right),
            ("Name", Align::Left),
            ("Rate", Align::Right),
            ("Bytes", Align::Right),
            ("Subscribers", Align::Right),
            ("Groups", Align::Right),
        ],
        rows: |now, before| {
            let names = now.names.iter().filter(|it| it.name.is_some() || it.messages > 0);
            names.map(|it| name(it, now, before)).collect()
        },
    },
];

fn connection(it: &Connection) -> Row {
    // Slow ones first, the longest of them on top; then those that wait for them.
    let state = it.slow().map_or(if it.held { 0.0 } else { -1.0 }, |time| 1.0 + time);
    Row {
        cells: vec![
            Cell { text: it.state(), key: Key::Number(state) },
            text(it.client.as_deref().unwrap_or("-")),
            text(&it.address),
            text(it.proved()),
            text(it.kind()),
            size(it.queued_bytes),
            number(it.holds_publishers),
            number(it.dropped),
            size(it.received_bytes),
            size(it.sent_bytes),
            number(it.subscriptions),
            Cell { text: seconds(it.age_seconds), key: Key::Number(it.age_seconds) },
            text(&it.id),
        ],
        is_slow: it.slow().is_some(),
    }
}

const GROUP: [(&str, Align); 8] = [
    ("Group", Align::Left),
    ("Filter", Align::Left),
    ("Durable", Align::Left),
    ("Members", Align::Right),
    ("Waiting", Align::Right),
    ("In flight", Align::Right),
    ("Redelivered", Align::Right),
    ("Dead", Align::Right),
];

fn group(it: &Group) -> Row {
    Row {
        cells: vec![
            text(&it.name),
            text(&it.filter),
            text(if it.durable { "yes" } else { "no" }),
            number(it.members),
            number(it.waiting),
            number(it.in_flight),
            number(it.redelivered),
            number(it.dead_letters),
        ],
        is_slow: false,
    }
}

fn name(it: &Name, now: &Fetched, before: Option<&Fetched>) -> Row {
    let rate = before.and_then(|before| rates::of_name(it, before, now));
    Row {
        cells: vec![
            number(it.messages),
            text(it.name.as_deref().unwrap_or("(all others)")),
            Cell {
                text: rate.map_or("-".to_owned(), rates::rate),
                key: Key::Number(rate.unwrap_or(-1.0)),
            },
            size(it.bytes),
            number(it.subscribers),
            number(it.groups),
        ],
        is_slow: false,
    }
}

/// Groups for people, as lines.
pub(super) fn group_lines(groups: &[Group]) -> Vec<String> {
    let heads = GROUP.map(|(head, _)| head.to_uppercase());
    let mut columns = GROUP;
    for ((column, _), head) in columns.iter_mut().zip(&heads) {
        *column = head;
    }
    let rows = groups.iter().map(|it| {
        let mut cells = group(it).cells.into_iter();
        std::array::from_fn(|_| cells.next().map_or(String::new(), |cell| cell.text))
    });
    table(columns, rows)
}
