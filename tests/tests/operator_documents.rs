//! The operator's guide and the page of symptoms speak of commands, settings and log lines that exist.

use std::fs;

use clap::error::ErrorKind;

use crate::harness::binaries::workspace;
use crate::harness::server::command;
use crate::tidy::{files, shown};

const PAGES: [&str; 2] = ["docs/operations.md", "docs/symptoms.md"];

fn page(name: &str) -> String {
    fs::read_to_string(workspace().join(name)).unwrap()
}

/// The blocks of a page in this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("\n```") {
        let (head, behind) = behind.split_once('\n').unwrap();
        let (block, behind) = behind.split_once("\n```").unwrap_or((behind, ""));
        if head == language {
            blocks.push(block.to_owned());
        }
        rest = behind;
    }
    blocks
}

/// What stands in backticks outside blocks, in one line each.
fn quoted(text: &str) -> Vec<String> {
    let mut is_block = false;
    let mut quoted = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_block = !is_block;
        } else if !is_block {
            quoted.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    quoted
}

#[test]
fn every_command_of_the_guide_and_the_symptoms_can_be_given() {
    let mut checked = 0;
    for name in PAGES {
        let text = page(name);
        let lines = blocks(&text, "sh").join("\n");
        let inline = quoted(&text);
        let words = lines
            .lines()
            .map(|line| (true, line))
            .chain(inline.iter().map(|line| (false, &**line)));
        for (is_block, line) in words {
            let Some(words) = shlex::split(line).filter(|words| !words.is_empty()) else {
                continue;
            };
            let mut command = match words[0].as_str() {
                "mezzenger" => mezzenger_cli::command(),
                "mezzenger-server" => mezzenger_server::command(),
                other => {
                    assert!(
                        !is_block,
                        "{name}: {other} is no program of ours: use a console block"
                    );
                    continue;
                }
            };
            if !is_block && words.len() == 1 {
                continue;
            }
            let problem = command.try_get_matches_from_mut(&words).err();
            // Within a sentence, values may be left to the reader.
            let is_left = |kind| {
                !is_block
                    && matches!(kind, ErrorKind::MissingRequiredArgument | ErrorKind::InvalidValue)
            };
            if let Some(error) = problem.filter(|error| !is_left(error.kind())) {
                panic!("{name}: {line}\n{error}");
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} commands found");
}

#[test]
fn settings_in_the_guide_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mezzenger.toml");
    let mut checked = 0;
    for name in PAGES {
        let text = page(name);
        let inline = quoted(&text).into_iter().filter(|line| line.contains(" = "));
        for settings in blocks(&text, "toml").into_iter().chain(inline) {
            // Some settings need a journal.
            let journal =
                if settings.contains("persist-file") { "" } else { "persist-file = \"x\"\n" };
            fs::write(&path, format!("{journal}{settings}\n")).unwrap();
            let output =
                command().arg("--config").arg(&path).arg("--check-config").output().unwrap();
            assert!(output.status.success(), "{name}: {settings}: {output:?}");
            checked += 1;
        }
    }
    assert!(checked >= 5, "{checked} found");
}

/// In tables, the first column is what the log or an error says.
#[test]
fn lines_of_the_log_among_the_symptoms_are_in_the_sources() {
    let mut sources = String::new();
    for file in files(&[".rs"]) {
        let name = shown(&file);
        if name.starts_with("engine/src") || name.starts_with("server/src") {
            // Texts over several lines have the indentation of the code within.
            let text = fs::read_to_string(&file).unwrap().replace("\\\n", "");
            sources.push_str(&text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    let text = page("docs/symptoms.md");
    let mut checked = 0;
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let said = row.split('`').nth(1).unwrap();
        if said != "panicked" {
            assert!(sources.contains(said), "no line of the log says {said:?}");
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} found");
}
