//! Columns of text.

/// On which side of its column a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// The lines of a table: its heads, and its rows below them, in columns as wide as what they hold.
pub(crate) fn table<const N: usize>(
    columns: [(&str, Align); N],
    rows: impl Iterator<Item = [String; N]>,
) -> Vec<String> {
    let mut all = vec![columns.map(|(head, _)| head.to_owned())];
    all.extend(rows);
    let width = |cell: &String| cell.chars().count();
    let mut widths = [0; N];
    for row in &all {
        for (max, cell) in widths.iter_mut().zip(row) {
            *max = width(cell).max(*max);
        }
    }
    let line = |row: [String; N]| {
        let mut line = String::new();
        for ((cell, max), (_, align)) in row.iter().zip(widths).zip(columns) {
            let padding = " ".repeat(max - width(cell));
            let (before, after) = match align {
                Align::Left => ("", &padding[..]),
                Align::Right => (&padding[..], ""),
            };
            line.extend([before, cell, after, "  "]);
        }
        line.truncate(line.trim_end().len());
        line
    };
    all.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_they_hold() {
        let row = |name: &str, count: &str| [name.to_owned(), count.to_owned()];
        let rows = [row("grüße", "1"), row("a", "1234567")];
        let lines = table([("NAME", Align::Left), ("COUNT", Align::Right)], rows.into_iter());
        assert_eq!(lines, ["NAME     COUNT", "grüße        1", "a      1234567"]);
    }
}
