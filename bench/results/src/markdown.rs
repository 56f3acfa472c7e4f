//! Tables and figures as the page has them.

use loadgen::report::Spread;
use loadgen::report::number::short;

/// A table, without a line feed at its end.
pub(crate) fn table<S: AsRef<str>>(head: &[S], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<&str>| {
        // A bar would end a cell.
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |", cells.join(" | "))
    };
    let mut lines = vec![line(head.iter().map(AsRef::as_ref).collect())];
    lines.push(line(vec!["---"; head.len()]));
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// `7.90 M (7.60 M – 8.10 M)`: the median, and from where to where the rounds go; a dash when it was not
/// measured.
pub(crate) fn spread(of: Option<Spread>) -> String {
    match of {
        None => "–".to_owned(),
        Some(Spread { median, min, max }) if min == max => short(median),
        Some(Spread { median, min, max }) => {
            format!("{} ({} – {})", short(median), short(min), short(max))
        }
    }
}
