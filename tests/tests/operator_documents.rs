//! The guide names commands, settings and log lines that exist.

use std::fs;

use clap::error::ErrorKind;

use crate::harness::pages::{Page, guide, is_decision};
use crate::harness::server::command;
use crate::tidy::{files, shown};

/// Pages whose TOML blocks are settings of the server.
const SETTINGS: [&str; 3] = ["docs/operations.md", "docs/settings.md", "docs/symptoms.md"];

/// Other programs that `sh` blocks may run: a test of its own runs what they do, or it is CI's.
const OTHERS: [&str; 7] = ["bash", "cargo", "curl", "mkdir", "pip", "python", "v/bin/pip"];

#[test]
fn every_command_of_the_guide_can_be_given() {
    let mut checked = 0;
    for page in guide().iter().filter(|page| !is_decision(page)) {
        let (name, blocks) = (&page.path, page.blocks_in("sh").join(""));
        let lines = blocks.replace("\\\n", "");
        let console = page.blocks_in("console").join("");
        let typed = console.lines().filter_map(|line| line.strip_prefix("$ "));
        let inline = page.quoted();
        let words = lines
            .lines()
            .chain(typed)
            .map(|line| (true, line))
            .chain(inline.iter().map(|line| (false, &**line)));
        for (is_block, line) in words {
            let Some(words) = shlex::split(line).filter(|words| !words.is_empty()) else {
                continue;
            };
            let mut command = match words[0].as_str() {
                "mezzenger" => mezzenger_cli::command(),
                "mezzenger-server" => mezzenger_server::command(),
                _ => continue,
            };
            if !is_block && words.len() == 1 {
                continue;
            }
            let problem = command.try_get_matches_from_mut(&words).err();
            // Within a sentence, values may be left to the reader.
            let is_left = |kind| match kind {
                ErrorKind::DisplayHelp => true,
                ErrorKind::MissingRequiredArgument | ErrorKind::InvalidValue => !is_block,
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !is_block,
                // Bytes of the wire format that begin with the program's name.
                ErrorKind::InvalidSubcommand => name == "docs/wire-format.md",
                _ => false,
            };
            if let Some(error) = problem.filter(|error| !is_left(error.kind())) {
                panic!("{name}: {line}\n{error}");
            }
            checked += 1;
        }
    }
    assert!(checked > 80, "{checked} commands found");
}

/// A `sh` block is for commands that can be given as they are; what shows a session, or a program of somebody else, is a `console` block.
#[test]
fn shell_blocks_run_known_programs() {
    for page in guide() {
        for line in page.blocks_in("sh").join("").replace("\\\n", "").lines() {
            let program = line.split_whitespace().next().unwrap_or_default();
            let is_ours = ["mezzenger", "mezzenger-server"].contains(&program);
            let is_known =
                is_ours || OTHERS.contains(&program) || program.starts_with("target/release/");
            assert!(
                is_known || program.is_empty() || program.starts_with('#'),
                "{}: {program} is no program of ours: use a console block",
                page.path
            );
        }
    }
}

#[test]
fn settings_in_the_guide_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mezzenger.toml");
    let mut checked = 0;
    for name in SETTINGS {
        let page = Page::read(name);
        let inline = page.quoted().into_iter().filter(|line| line.contains(" = "));
        for settings in page.blocks_in("toml").into_iter().chain(inline) {
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
    let page = Page::read("docs/symptoms.md");
    let mut checked = 0;
    for row in page.text.lines().filter(|line| line.starts_with("| `")) {
        let said = row.split('`').nth(1).unwrap();
        if said != "panicked" {
            assert!(sources.contains(said), "no line of the log says {said:?}");
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} found");
}
