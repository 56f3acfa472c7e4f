//! Keeps the rules that no compiler knows: who may use whom (the table in `engine/docs/architecture.md`),
//! where `unsafe` may stand, how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

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

/// The code of a file: without comments, and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(all(test, not(loom)))]\nmod tests {"];
    let text = match tests.iter().find_map(|tests| text.find(tests)) {
        Some(at) => &text[..at],
        None => &text,
    };
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// A source file of the engine's library.
struct Module {
    file: String,
    /// `broker::core` for `engine/src/broker/core.rs`; empty for `lib.rs`.
    path: Vec<String>,
    code: String,
}

/// The modules of the library, without the files that hold tests alone.
fn modules() -> Vec<Module> {
    modules_in("engine/src")
}

/// The same of a crate's folder of sources.
fn modules_in(source: &str) -> Vec<Module> {
    let source = workspace().join(source);
    let mut modules = Vec::new();
    for file in files(&[".rs"]) {
        let Ok(inner) = file.strip_prefix(&source) else { continue };
        let inner = inner.with_extension("");
        let mut path: Vec<String> =
            inner.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if path.iter().any(|part| part.ends_with("tests")) {
            continue;
        }
        if matches!(path.last().map(String::as_str), Some("mod" | "lib")) {
            path.pop();
        }
        modules.push(Module { file: shown(&file), path, code: code(&file) });
    }
    assert!(modules.len() > 20);
    modules
}

impl Module {
    /// Whether the module is this one, or lies in it.
    fn is_in(&self, path: &str) -> bool {
        starts_with(&self.path.join("::"), path)
    }

    /// Whether a path is this module, or something in it. `main.rs` and `lib.rs` are never meant.
    fn names(&self, path: &str) -> bool {
        !self.path.is_empty() && starts_with(path, &self.path.join("::"))
    }

    /// The other modules that this one names, as paths from the crate's root.
    fn uses(&self) -> Vec<String> {
        let mut uses = Vec::new();
        for path in paths_behind(&self.code, "crate::") {
            uses.push(path);
        }
        for path in paths_behind(&self.code, "super::") {
            let mut from = self.path.clone();
            from.pop();
            let mut rest = path.as_str();
            while let Some(further) = rest.strip_prefix("super::") {
                from.pop();
                rest = further;
            }
            from.push(rest.to_owned());
            uses.push(from.join("::"));
        }
        uses
    }
}

/// Whether `path` is `prefix` or lies in it.
fn starts_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What follows each `start` in the code: `crate::a::{b, c::D}` gives `a::b` and `a::c::D`.
fn paths_behind(code: &str, start: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(start) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        collect(&code[at + start.len()..], "", &mut found);
    }
    found
}

/// Reads one path, or one group of paths, and returns what follows it.
fn collect<'a>(code: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let end = code.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let (path, rest) = code.split_at(end.unwrap_or(code.len()));
    let whole = format!("{prefix}{path}");
    let Some(mut rest) = rest.strip_prefix('{').filter(|_| path.is_empty() || path.ends_with("::"))
    else {
        found.push(whole);
        return rest;
    };
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        match rest.strip_prefix('}') {
            Some(behind) => return behind,
            None if rest.is_empty() => return rest,
            None => {}
        }
        let before = rest.len();
        rest = collect(rest, &whole, found);
        // Something else than a path, such as `as`: on to the next.
        if rest.len() == before || !rest.starts_with([',', '}']) {
            rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
        }
    }
}

#[test]
fn the_reader_of_paths_reads_paths() {
    let code = "use crate::a::{self, b, c::{D, E as F}};\nlet x = crate::g::h(1); $crate::i; use crate::j;";
    let expected = ["a::self", "a::b", "a::c::D", "a::c::E", "g::h", "j"];
    assert_eq!(paths_behind(code, "crate::"), expected);
}

/// The table of `engine/docs/architecture.md`: a module, and what it may use.
fn import_rules() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(workspace().join("engine/docs/architecture.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| module | may use |")).skip(2);
    let quoted = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
    };
    let mut rules = Vec::new();
    for line in table.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.trim_matches('|').splitn(2, '|').collect();
        for module in quoted(cells[0]) {
            rules.push((module, quoted(cells[1])));
        }
    }
    assert!(rules.len() > 10, "the table of import rules was not found");
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

/// The modules of loadgen that import, however indirectly, one that imports them.
#[test]
fn no_module_of_loadgen_imports_itself_in_a_circle() {
    let modules = modules_in("loadgen/src");
    let uses = |module: &Module| -> Vec<usize> {
        let uses = module.uses();
        // What is named most exactly: `a::b` for `a::b::Type`.
        let named = uses.iter().filter_map(|used| {
            let known = (0..modules.len()).filter(|at| modules[*at].names(used));
            known.max_by_key(|at| modules[*at].path.len())
        });
        named.filter(|at| modules[*at].path != module.path).collect()
    };
    let edges: Vec<_> = modules.iter().map(uses).collect();
    for (start, module) in modules.iter().enumerate() {
        let (mut seen, mut next) = (vec![false; modules.len()], edges[start].clone());
        while let Some(at) = next.pop() {
            assert!(at != start, "{} is in a circle of imports", module.file);
            if !std::mem::replace(&mut seen[at], true) {
                next.extend(&edges[at]);
            }
        }
    }
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
    "broker::check",
    "broker::core",
    "broker::delivery",
    "broker::effect",
    "broker::publish",
    "broker::publishers",
    "broker::replies",
    "broker::resend",
    "broker::subscribers",
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
    forbid(&["SystemTime"], "only a client's messages have a time of the day", |module| {
        // Batches take from it the phase of a period that all clients of a server share.
        let stamps = ["client::core", "client::message", "client::batches"];
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

#[test]
fn unsafe_stands_in_one_place_and_says_why_it_is_sound() {
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
            let has_place = name == "engine/src/wire/checksum/lanes/x86.rs";
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
