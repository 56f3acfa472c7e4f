//! What the README and the first page of the guide have people type prints what they show.

use crate::harness::pages::Page;
use crate::harness::process::Process;
use crate::harness::shell::Shell;
use crate::harness::wait::eventually;

/// A line with what differs between two runs taken out: ids, times and addresses.
fn steady(line: &str) -> String {
    let is_id =
        |word: &str| word.len() == 33 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let is_time = |word: &str| word.starts_with("20") && word.ends_with('Z');
    let words = line.split(' ').map(|word| match word {
        word if is_id(word) => "ID",
        word if is_time(word) => "TIME",
        word if word.contains("127.0.0.1:") => word.split("127.0.0.1:").next().unwrap(),
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn steady_lines(text: &str) -> Vec<String> {
    text.lines().map(steady).collect()
}

/// The commands of a block, each with what is printed under it.
fn steps(block: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command.to_owned(), String::new())),
            (None, Some((_, printed))) => printed.push_str(&format!("{line}\n")),
            (None, None) => panic!("a block begins with a command: {line}"),
        }
    }
    steps
}

/// Whether a command goes on until it is ended.
fn is_endless(line: &str) -> bool {
    let word = |n| line.split(' ').nth(n).unwrap_or_default();
    word(0) == "mezzenger"
        && matches!(word(1), "sub" | "work" | "reply")
        && !line.contains("--count")
}

/// How a page crashes its server. The test does not run this line, which ends all servers of the machine, but kills its own.
const KILL: &str = "kill -9 $(pidof mezzenger-server)";

/// A line that goes on until it is ended, what the page shows under it, and its process.
type Endless = (String, String, Process);

/// Ends them, after they printed what the page shows.
fn end(behind: &mut Vec<Endless>) {
    for (line, printed, process) in behind.drain(..) {
        for wanted in printed.lines() {
            let got = process.line();
            assert_eq!(got.as_deref().map(steady), Some(steady(wanted)), "{line}");
        }
    }
}

/// Gives the commands of a page's `console` blocks, from the top.
fn follow(page: &str) {
    let page = Page::read(page);
    let folder = tempfile::tempdir().unwrap();
    let mut shell: Option<Shell> = None;
    let mut behind = Vec::new();
    let mut is_found = false;
    for block in page.blocks_in("console") {
        for (line, printed) in steps(&block) {
            if line.split(' ').next() == Some("mezzenger-server") {
                assert_eq!(steady(printed.trim_end()), "ready pub= recv=", "{printed}");
                // They must not reach the next server, which may get the same port.
                end(&mut behind);
                if let Some(shell) = shell.take() {
                    shell.server.terminate();
                }
                shell = Some(Shell::start(folder.path(), &line));
                continue;
            }
            if line == KILL {
                let shell = shell.take().expect("a server is started first");
                let mut server = shell.server;
                server.process.kill();
                continue;
            }
            let shell = shell.as_ref().expect("a server is started first");
            if is_endless(&line) {
                behind.push((line.clone(), printed, shell.start_behind(&line)));
                is_found = true;
                continue;
            }
            let wanted = steady_lines(&printed);
            // What looks at others' work is asked until they have done it.
            if line.contains(" list") {
                eventually(&format!("{line}: {wanted:?}"), || {
                    (steady_lines(&shell.run(&line)) == wanted).then_some(())
                });
            } else {
                assert_eq!(steady_lines(&shell.run(&line)), wanted, "{}: {line}", page.path);
            }
        }
    }
    assert!(is_found, "{}: the commands were not found", page.path);
    end(&mut behind);
}

#[test]
fn the_readmes_commands_print_what_it_shows() {
    follow("README.md");
}

#[test]
fn the_commands_of_getting_started_print_what_it_shows() {
    follow("docs/getting-started.md");
}
