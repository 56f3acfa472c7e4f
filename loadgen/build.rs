//! Tells the crate which commit it is built from, and with which compiler.

use std::path::Path;
use std::process::Command;

/// What measured programs are made of. A change elsewhere, such as in a document, leaves them what the
/// commit says.
const SOURCES: &[&str] = &["../Cargo.lock", "../engine", "../loadgen"];

fn main() {
    println!("cargo:rustc-env=BUILD_COMMIT={}", commit().unwrap_or_else(unknown));
    println!("cargo:rustc-env=BUILD_RUSTC={}", rustc().unwrap_or_else(unknown));
    // Git appends a line to this file for each commit and checkout.
    let log = output("git", &["rev-parse", "--git-path", "logs/HEAD"]);
    for path in SOURCES.iter().copied().chain(log.as_deref()) {
        // Cargo takes a path that does not exist for one that always changes.
        if Path::new(path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

/// The commit, with `-dirty` when the sources are not what it holds.
fn commit() -> Option<String> {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"])?;
    let changed = output("git", &[&["status", "--porcelain", "--"], SOURCES].concat())?;
    Some(if changed.is_empty() { commit } else { format!("{commit}-dirty") })
}

fn rustc() -> Option<String> {
    output(&std::env::var("RUSTC").ok()?, &["--version"])
}

/// What a program prints; nothing when it is missing or fails.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}
