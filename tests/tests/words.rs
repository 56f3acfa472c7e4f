//! One word for one thing: what CONTRIBUTING.md says not to write is written nowhere that users and developers read.

use std::fs;

use clap::Command;

use crate::harness::binaries::workspace;
use crate::harness::pages::{Page, guide, is_decision};
use crate::tidy::{files, shown};

/// Pages that are not in the guide.
const OTHER_PAGES: [&str; 9] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "RESULTS.md",
    "SECURITY.md",
    "bench/gate/README.md",
    "fuzz/README.md",
    "python/README.md",
    "python/bench/README.md",
    "tests/torture/README.md",
];
/// Folders with source files.
const SOURCES: [&str; 6] =
    ["cli/src/", "engine/examples/", "engine/src/", "loadgen/src/", "python/src/", "server/src/"];

/// What begins a line of code with a text that users see.
const SHOWN: [&str; 3] = ["#[error(\"", "println!(\"", "eprintln!(\""];

/// A text that the words are looked for in, line by line.
struct Text {
    /// The file, or the command whose help it is.
    name: String,
    /// Numbers of lines, and the lines without code.
    lines: Vec<(usize, String)>,
}

/// What CONTRIBUTING.md forbids, each with what to write instead.
fn forbidden() -> Vec<(String, String)> {
    let page = Page::read("CONTRIBUTING.md");
    let table = page.text.split_once("| not | but |").expect("a table of words").1;
    let mut forbidden = Vec::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [not, but] = cells[..] else { panic!("no pair: {row}") };
        for words in not.split('`').skip(1).step_by(2) {
            forbidden.push((words.to_lowercase(), but.to_owned()));
        }
    }
    assert!(forbidden.len() > 15, "the table of words was not found");
    forbidden
}

/// A line without what stands in backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

fn page(page: &Page) -> Text {
    let prose = page.prose().into_iter();
    let lines = prose.map(|(n, line)| (n, without_code(line))).collect();
    Text { name: page.path.clone(), lines }
}

/// The documentation comments of a file, the texts of its errors, and what it prints.
fn comments(name: String, source: &str) -> Text {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (n, line) in source.lines().enumerate() {
        let line = line.trim_start();
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        match comment {
            Some(text) if text.trim_start().starts_with("```") => is_code = !is_code,
            Some(text) if !is_code => lines.push((n + 1, without_code(text))),
            Some(_) => {}
            None => {
                is_code = false;
                let is_shown = SHOWN.iter().any(|beginning| line.starts_with(beginning));
                lines.push((n + 1, if is_shown { without_code(line) } else { String::new() }));
            }
        }
    }
    Text { name, lines }
}

/// The comments and docstrings of a file in Python, and its strings of several lines.
fn docstrings(name: String, source: &str) -> Text {
    let mut is_within = false;
    let mut lines = Vec::new();
    for (n, line) in source.lines().enumerate() {
        let marks = line.matches("\"\"\"").count();
        let is_text = is_within || marks > 0 || line.trim_start().starts_with('#');
        is_within ^= marks % 2 == 1;
        lines.push((n + 1, if is_text { without_code(line) } else { String::new() }));
    }
    Text { name, lines }
}

/// The help texts of a command and all within it.
fn help(command: &mut Command, path: &str, texts: &mut Vec<Text>) {
    let text = command.render_long_help().to_string();
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, without_code(line))).collect();
    texts.push(Text { name: format!("{path} --help"), lines });
    for within in command.get_subcommands_mut() {
        let path = format!("{path} {}", within.get_name());
        help(within, &path, texts);
    }
}

fn texts() -> Vec<Text> {
    let mut pages = guide();
    pages.retain(|page| !is_decision(page) && page.path != "docs/glossary.md");
    pages.extend(OTHER_PAGES.map(Page::read));
    let mut texts: Vec<_> = pages.iter().map(page).collect();
    for file in files(&[".rs"]) {
        let name = shown(&file);
        let is_source = SOURCES.iter().any(|folder| name.starts_with(folder));
        if is_source && !name.contains("/tests") {
            let source = fs::read_to_string(workspace().join(&name)).unwrap();
            texts.push(comments(name, &source));
        }
    }
    for file in files(&[".py", ".pyi"]) {
        let name = shown(&file);
        if name.starts_with("python/package/") || name.starts_with("python/examples/") {
            let source = fs::read_to_string(workspace().join(&name)).unwrap();
            texts.push(docstrings(name, &source));
        }
    }
    help(&mut mezzenger_cli::command(), "mezzenger", &mut texts);
    help(&mut mezzenger_server::command(), "mezzenger-server", &mut texts);
    texts
}

/// Where in a text these words are, over the ends of lines, too.
fn found(text: &Text, words: &str) -> Vec<usize> {
    let mut joined = String::new();
    let mut starts = Vec::new();
    for (n, line) in &text.lines {
        starts.push((joined.len(), *n));
        joined.push_str(&line.trim().to_lowercase());
        // What is no text ends a sentence.
        joined.push(if line.is_empty() { '\n' } else { ' ' });
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let whole = |at: &usize| {
        !joined[..*at].ends_with(is_part) && !joined[*at + words.len()..].starts_with(is_part)
    };
    let line = |at| starts.iter().rev().find(|(start, _)| *start <= at).unwrap().1;
    joined.match_indices(words).map(|(at, _)| at).filter(whole).map(line).collect()
}

#[test]
fn what_is_not_to_be_written_is_written_nowhere() {
    let (texts, mut broken) = (texts(), Vec::new());
    for (words, but) in forbidden() {
        for text in &texts {
            for line in found(text, &words) {
                broken.push(format!("{}:{line}: \"{words}\"; write: {but}", text.name));
            }
        }
    }
    broken.sort();
    assert!(broken.is_empty(), "{} places:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn words_are_found_over_lines_and_not_within_others_or_in_code() {
    let source = "/// Is told\n/// so `so many` many.\nfn is_told() {}\n/// Under way, underway.\n";
    let text = comments("a.rs".to_owned(), source);
    assert_eq!(found(&text, "told so"), [1]);
    assert_eq!(found(&text, "so many"), [0; 0]);
    assert_eq!(found(&text, "is told"), [1]);
    assert_eq!(found(&text, "under way"), [4]);
    let printed = comments("a.rs".to_owned(), "let anew = 1;\n    println!(\"anew\");\n");
    assert_eq!(found(&printed, "anew"), [2]);
}

/// Each word of the glossary has one sentence.
#[test]
fn the_glossary_says_what_each_word_means() {
    let glossary = Page::read("docs/glossary.md");
    let table = glossary.text.split_once("| word | meaning |").expect("a table of words").1;
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 30, "{} words", rows.len());
    let mut before = String::new();
    for row in rows {
        let (word, meaning) = row.trim_matches('|').split_once('|').unwrap();
        let word = word.trim().to_lowercase();
        assert!(before < word, "{word} stands behind {before}");
        assert!(meaning.trim().ends_with('.'), "{word} has no sentence");
        before = word;
    }
}
