//! The interop matrix.

use crate::markdown::table;
use crate::record::{Interop, InteropClient};

/// A row for each library, a column for each step; below it, what a library lacks and what failed.
pub(crate) fn section(matrix: &Interop) -> String {
    let steps = matrix.clients.iter().map(|client| &client.steps).find(|steps| !steps.is_empty());
    let steps: Vec<&str> = steps.into_iter().flatten().map(|of| of.step.as_str()).collect();
    let mut head = vec!["client", "library and version"];
    head.extend(&steps);
    head.push("passed");
    let rows: Vec<_> = matrix.clients.iter().map(|client| row(client, &steps)).collect();
    let mut text = format!(
        "Run on {} at {} by `bash tests/interop/run`.\n\n{}",
        matrix.date,
        matrix.commit,
        table(&head, &rows)
    );
    let notes: Vec<_> = matrix.clients.iter().flat_map(notes).collect();
    for (at, note) in notes.iter().enumerate() {
        text.push_str(if at == 0 { "\n\n- " } else { "\n- " });
        text.push_str(note);
    }
    text
}

fn row(client: &InteropClient, steps: &[&str]) -> Vec<String> {
    let result = |step: &&str| client.steps.iter().find(|of| of.step == **step);
    let cell = |step: &&str| {
        let shown = match result(step).map(|of| of.result.as_str()) {
            Some("pass") => "yes",
            Some(lacks) if lacks.starts_with("lacks: ") => "lacks",
            Some(_) => "**no**",
            None => "–",
        };
        shown.to_owned()
    };
    let passed = client.steps.iter().filter(|of| of.result == "pass").count();
    let mut row = vec![client.title.clone(), client.version.clone().unwrap_or("–".to_owned())];
    row.extend(steps.iter().map(cell));
    row.push(format!("{passed} of {}", steps.len()));
    row
}

/// What a library lacks, what failed, and why it was not run.
fn notes(client: &InteropClient) -> Vec<String> {
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped =
        client.skipped.iter().map(|why| format!("{}: not run: {}", client.title, line(why)));
    let steps = client.steps.iter().filter(|of| of.result != "pass");
    let steps = steps.map(|of| format!("{}, {}: {}", client.title, of.step, line(&of.result)));
    skipped.chain(steps).collect()
}
