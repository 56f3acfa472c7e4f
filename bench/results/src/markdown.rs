//! Tables and links.

use std::path::Path;

use loadgen::report::Spread;
use loadgen::report::number::short;

use crate::raw::Target;

/// A table; its rows have as many cells as its head.
pub(crate) struct Table {
    text: String,
}

impl Table {
    pub(crate) fn new<S: AsRef<str>>(head: &[S]) -> Self {
        let mut table = Self { text: String::new() };
        table.row(head);
        table.row(&vec!["---"; head.len()]);
        table
    }

    pub(crate) fn row<S: AsRef<str>>(&mut self, cells: &[S]) {
        for cell in cells {
            // A bar would end the cell.
            let cell = cell.as_ref().replace('|', "\\|");
            self.text.push_str("| ");
            self.text.push_str(&cell);
            self.text.push(' ');
        }
        self.text.push_str("|\n");
    }

    /// The text, without the last line feed.
    pub(crate) fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }
}

/// `[text](path)`.
pub(crate) fn link(text: &str, path: &Path) -> String {
    format!("[{text}]({})", path.display())
}

/// A link to the folder of a target's raw files by their names: `nats-{1..5}.json`.
pub(crate) fn raw_files(target: &Target) -> String {
    let json = &target.rounds[0].json;
    let name = match target.rounds.len() {
        1 => format!("{}-1.json", target.name),
        rounds => format!("{}-{{1..{rounds}}}.json", target.name),
    };
    link(&name, json.parent().unwrap_or(json))
}

/// `7.90 M (7.60 M – 8.10 M)`: the median, and from where to where the rounds go.
pub(crate) fn spread(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    if min == max {
        short(median)
    } else {
        format!("{} ({} – {})", short(median), short(min), short(max))
    }
}

/// `7.90 M` or, when it was not measured, a dash.
pub(crate) fn cell(of: Option<Spread>) -> String {
    of.map_or("–".to_owned(), spread)
}
