//! Keeps the rules that no compiler knows: who may use whom (the table in `docs/architecture.md`),
//! where `unsafe` may stand, how long a file may be.

mod circles;
mod modules;

use std::fs;
use std::path::{Path, PathBuf};

use self::modules::{Module, code, modules, starts_with};
use crate::harness::binaries::workspace;

/// Longest file, its tests included.
const LINES_MAX: usize = 500;
/// Files that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[];

/// Directories that are not ours to check.
const SKIPPED: &[&str] = &["target", ".git", ".venv"];

/// All files of the workspace with one of these endings.
pub(crate) fn files(endings: &[&str]) -> Vec<PathBuf> {
    fn walk(directory: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap();
            if path.is_dir() {
                if !SKIPPED.contains(&name) {
                    walk(&path, endings, found);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(workspace(), endings, &mut found);
    assert!(!found.is_empty());
    found.sort();
    found
}

/// A path as people write it.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap().to_str().unwrap().to_owned()
}

/// The cells of a table of `docs/architecture.md`, which begins with this head.
fn table(head: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(workspace().join("docs/architecture.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(ToOwned::to_owned).collect();
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "architecture.md has no table {head}");
    rows
}

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// The table of who may use whom: a module, and what it may use.
fn import_rules() -> Vec<(String, Vec<String>)> {
    let mut rules = Vec::new();
    for row in table("| module | may use |") {
        let [modules, allowed] = &row[..] else { panic!("no pair: {row:?}") };
        for module in quoted(modules) {
            rules.push((module, quoted(allowed)));
        }
    }
    rules
}

#[test]
fn modules_use_what_architecture_md_allows_and_nothing_else() {
    let rules = import_rules();
    let mut broken = Vec::new();
    for module in modules() {
        if module.path.is_empty() {
            continue;
        }
        let name = module.path.join("::");
        // The rule that names the module most exactly.
        let rule =
            rules.iter().filter(|(of, _)| starts_with(&name, of)).max_by_key(|(of, _)| of.len());
        let Some((of, allowed)) = rule else {
            broken.push(format!("{}: no rule in architecture.md", module.file));
            continue;
        };
        for used in module.uses() {
            let own = starts_with(&used, of) || starts_with(&name, &used);
            // A rule for part of a module also says which of its siblings it may use.
            if !own && !allowed.iter().any(|allowed| starts_with(&used, allowed)) {
                broken.push(format!("{}: `{of}` may not use `{used}`", module.file));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn rules_are_about_modules_that_exist() {
    let names: Vec<_> = modules().iter().map(|module| module.path.join("::")).collect();
    for (module, allowed) in import_rules() {
        for name in allowed.iter().chain([&module]) {
            assert!(
                names.contains(name),
                "architecture.md speaks of `{name}`, which does not exist"
            );
        }
    }
}

/// Fails when one of these words stands in the code of a module for which `applies` holds.
#[track_caller]
fn forbid(words: &[&str], why: &str, applies: impl Fn(&Module) -> bool) {
    let mut broken = Vec::new();
    for module in modules().iter().filter(|module| applies(module)) {
        for word in words {
            if has_word(&module.code, word) {
                broken.push(format!("{}: `{word}`: {why}", module.file));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn has_word(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

/// The parts of the broker that decide, and touch nothing.
const PURE_BROKER: &[&str] = &[
    "broker::backlog",
    "broker::transcode_queue",
    "broker::check",
    "broker::contents",
    "broker::control",
    "broker::core",
    "broker::dead_letters",
    "broker::delivery",
    "broker::effect",
    "broker::groups",
    "broker::inspected",
    "broker::keys",
    "broker::large",
    "broker::letters",
    "broker::members",
    "broker::native",
    "broker::outgoing",
    "broker::publish",
    "broker::publishers",
    "broker::redelivery_scan",
    "broker::refusal",
    "broker::keying",
    "broker::replies",
    "broker::resend",
    "broker::retained",
    "broker::retaining",
    "broker::storing",
    "broker::subscribers",
    "broker::times",
    "broker::transcode",
];

#[test]
fn the_library_names_no_libzmq() {
    forbid(&["zmq", "zmq_sys"], "libzmq is for tests and measurements", |_| true);
}

#[test]
fn the_protocol_touches_nothing() {
    let words = ["net", "fs", "Instant", "SystemTime", "thread", "channel", "Mutex", "Waker"];
    forbid(&words, "no sockets, files, clocks or threads in zmtp", |m| m.is_in("zmtp"));
}

#[test]
fn the_brokers_core_touches_nothing() {
    let words = ["net", "fs", "Instant", "SystemTime", "thread", "channel", "Mutex", "Waker"];
    forbid(&words, "no sockets, files, clocks or threads in the broker's core", |module| {
        PURE_BROKER.iter().any(|pure| module.is_in(pure))
    });
    for pure in PURE_BROKER {
        assert!(modules().iter().any(|module| module.is_in(pure)), "{pure} is gone");
    }
}

#[test]
fn the_wheel_never_reads_a_clock() {
    forbid(&["Instant", "SystemTime", "thread"], "ticks in, expiries out", |m| {
        m.is_in("retry::wheel")
    });
}

#[test]
fn the_clock_on_the_wall_only_stamps_messages() {
    // It jumps. What waits for a time waits by the monotonic clock of `Instant`, as libzmq does.
    forbid(&["SystemTime"], "only messages have a time of the day", |module| {
        // Batches take from it the phase of a period that all clients of a server share.
        // A server's dead letters have one, too.
        let stamps = [
            "client::publish::publisher",
            "client::publish::outgoing",
            "client::admin::retained",
            "client::receive::message",
            "client::admin::dead_letters",
            "client::publish::batches",
            "net::listen",
        ];
        !stamps.iter().any(|stamp| module.is_in(stamp))
    });
}

#[test]
fn only_programs_know_the_command_line_and_exit_codes() {
    forbid(&["clap", "ExitCode", "exit", "abort"], "that is for the programs", |_| true);
    // The compiler keeps them to the public API, unless they take a file of the library's in.
    for file in files(&[".rs"]) {
        let text = code(&file);
        assert!(!text.contains(concat!("#[", "path")), "{}", shown(&file));
    }
}

const UNSAFE_PLACES: [&str; 6] = [
    "cli/src/command.rs",
    "engine/src/client/process.rs",
    "engine/src/client/tests/forks.rs",
    "engine/src/wire/checksum/lanes/x86.rs",
    "python/src/buffer.rs",
    "python/src/message.rs",
];

#[test]
fn unsafe_stands_in_its_places_and_says_why_it_is_sound() {
    for file in files(&[".rs"]) {
        let name = shown(&file);
        if name == "tests/tests/tidy.rs" {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // Signatures make nothing happen.
            let declared = code.contains("unsafe extern") || code.contains("unsafe fn");
            if !has_word(code, "unsafe") || declared {
                continue;
            }
            let here = format!("{name}:{}", n + 1);
            let has_place = UNSAFE_PLACES.contains(&&*name);
            assert!(has_place, "{here}: unsafe outside its places");
            let said = lines[..n]
                .iter()
                .rev()
                .take_while(|line| !line.trim().is_empty())
                .take(8)
                .any(|line| line.contains("SAFETY:"));
            assert!(said, "{here}: no SAFETY comment");
        }
    }
}

#[test]
fn files_are_short_enough_to_have_one_job() {
    let mut broken = Vec::new();
    for file in files(&[".rs", ".py"]) {
        let name = shown(&file);
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        let excused = LONGER.iter().any(|(longer, _)| *longer == name);
        if lines > LINES_MAX && !excused {
            broken.push(format!("{name}: {lines} lines, allowed are {LINES_MAX}"));
        }
        if lines <= LINES_MAX && excused {
            broken.push(format!("{name}: no longer needs its exception"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!")];
    for file in files(&[".rs", ".py", ".md", ".toml", ".yml", "justfile", "/run"]) {
        let text = fs::read_to_string(&file).unwrap();
        for word in words {
            assert!(!text.contains(word), "{}: {word}", shown(&file));
        }
    }
}

#[test]
fn tests_wait_for_conditions() {
    let sleep = concat!("slee", "p(");
    // Between two looks at a condition; the last one, between two messages until publishing waits.
    let waits = [
        "tests/tests/harness/wait.rs",
        "loadgen/tests/peers.rs",
        "loadgen/tests/run.rs",
        "engine/src/client/tests/publishing.rs",
    ];
    for file in files(&[".rs"]) {
        let name = shown(&file);
        let text = fs::read_to_string(&file).unwrap();
        let is_test = name.split('/').any(|part| part == "tests" || part.ends_with("tests.rs"));
        // Beside what they test, tests come last in a file.
        let behind = text.split_once("\nmod tests {").map(|(_, tests)| tests);
        let tests = if is_test { Some(text.as_str()) } else { behind };
        if let Some(tests) = tests
            && !waits.contains(&name.as_str())
        {
            assert!(!tests.contains(sleep), "{name} sleeps");
        }
    }
}
