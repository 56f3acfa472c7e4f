//! The interop matrix: real ZeroMQ libraries, each in a program of its own, against the real server.
//! `tests/interop/run` makes the programs, runs these tests and writes the matrix;
//! `docs/interop.md` describes the programs and the steps.

mod capture;
mod library;
mod message;
mod steps;
mod zmtp;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::json;

use library::{Lacks, Library};
use steps::STEPS;

use crate::harness::{binaries, in_ci};

/// Libraries whose absence fails no CI run. Outside of CI any may be absent, and is then named.
const MAY_BE_ABSENT: &[&str] = &[];

#[test]
#[ignore = "run by tests/interop/run, which makes the client's program"]
fn pyzmq() {
    matrix_row(&Library::new("pyzmq", "pyzmq"));
}

#[test]
#[ignore = "run by tests/interop/run, which makes the client's program"]
fn node() {
    matrix_row(&Library::new("node", "npm zeromq"));
}

#[test]
#[ignore = "run by tests/interop/run, which makes the client's program"]
fn czmq() {
    matrix_row(&Library::new("czmq", "czmq"));
}

#[test]
#[ignore = "run by tests/interop/run, which makes the client's program"]
fn jeromq() {
    matrix_row(&Library::new("jeromq", "JeroMQ").lacks(&["heartbeat", "correlate", "curve"]));
}

#[test]
#[ignore = "run by tests/interop/run, which makes the client's program"]
fn crate_zeromq() {
    let library = Library::new("zeromq", "crate zeromq");
    let library = library.lacks(&["heartbeat", "correlate", "curve"]);
    matrix_row(&library.requests_do_not_reconnect());
}

#[test]
#[ignore = "run by tests/interop/run, which makes the client's program"]
fn crate_omq_tokio() {
    matrix_row(&Library::new("omq", "crate omq-tokio").lacks(&["correlate"]));
}

/// Takes a library through all steps, whatever becomes of each, writes its row, and fails with all that
/// failed.
fn matrix_row(library: &Library) {
    if let Err(why) = library.program() {
        let absent = format!("SKIPPED: {}: {why}", library.title);
        eprintln!("{absent}");
        write_row(library, &json!({ "title": library.title, "skipped": why }));
        assert!(!in_ci() || MAY_BE_ABSENT.contains(&library.name), "{absent}");
        return;
    }
    let mut results = Vec::new();
    let mut failed = Vec::new();
    for &(step, run) in STEPS {
        let lacks = library.lacks.contains(&step);
        let result = match catch_unwind(AssertUnwindSafe(|| run(library))) {
            Ok(()) if lacks => Err("the library is said to lack this, and has it".to_owned()),
            Ok(()) => Ok("pass".to_owned()),
            Err(panic) => match panic.downcast::<Lacks>() {
                Ok(what) if lacks => Ok(format!("lacks: {}", what.0)),
                Ok(what) => Err(what.0),
                Err(panic) => Err(message_of(&*panic)),
            },
        };
        if let Err(why) = &result {
            failed.push(format!("{step}: {why}"));
        }
        let shown = result.unwrap_or_else(|why| format!("FAIL: {why}"));
        results.push(json!({ "step": step, "result": shown }));
    }
    let facts = catch_unwind(AssertUnwindSafe(|| zmtp::facts(library)));
    if facts.is_err() {
        failed.push("facts: the handshake was not understood".to_owned());
    }
    let row = json!({
        "title": library.title,
        "version": library.version(),
        "steps": results,
        "facts": facts.unwrap_or_default(),
    });
    write_row(library, &row);
    assert!(failed.is_empty(), "{}:\n{}", library.title, failed.join("\n"));
}

fn write_row(library: &Library, row: &serde_json::Value) {
    let rows = binaries::target_dir().join("interop/rows");
    fs::create_dir_all(&rows).unwrap();
    fs::write(rows.join(library.name).with_extension("json"), format!("{row:#}\n")).unwrap();
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
