//! How the tidy test reads sources: which modules there are, and which others each of them names.

use std::fs;
use std::path::Path;

use super::{files, shown};
use crate::harness::binaries::workspace;

/// The code of a file: without comments, and without its unit tests.
pub(crate) fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let tests = [
        "#[cfg(test)]\nmod tests {",
        "#[cfg(test)]\npub(super) mod tests {",
        "#[cfg(all(test, not(loom)))]\nmod tests {",
    ];
    let text = match tests.iter().find_map(|tests| text.find(tests)) {
        Some(at) => &text[..at],
        None => &text,
    };
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// A source file of the engine's library.
pub(crate) struct Module {
    pub(crate) file: String,
    /// `broker::core` for `engine/src/broker/core.rs`; empty for `lib.rs`.
    pub(crate) path: Vec<String>,
    pub(crate) code: String,
}

/// The modules of the library, without the files that hold tests alone.
pub(crate) fn modules() -> Vec<Module> {
    modules_in("engine/src")
}

/// The same of a crate's folder of sources.
pub(crate) fn modules_in(source: &str) -> Vec<Module> {
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
    assert!(!modules.is_empty(), "no modules in {}", source.display());
    modules
}

impl Module {
    /// Whether the module is this one, or lies in it.
    pub(crate) fn is_in(&self, path: &str) -> bool {
        starts_with(&self.path.join("::"), path)
    }

    /// Whether a path is this module, or something in it. `main.rs` and `lib.rs` are never meant.
    pub(crate) fn names(&self, path: &str) -> bool {
        !self.path.is_empty() && starts_with(path, &self.path.join("::"))
    }

    /// The other modules that this one names, as paths from the crate's root.
    pub(crate) fn uses(&self) -> Vec<String> {
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
pub(crate) fn starts_with(path: &str, prefix: &str) -> bool {
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
