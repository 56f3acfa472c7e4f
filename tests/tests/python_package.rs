//! The Python package keeps its promises: `python/test`, with its own tests and type checkers.

use std::process::{Command, Stdio};

use crate::harness::binaries::{self, workspace};
use crate::harness::skipped;

/// Whether Python can make environments.
fn has_venv() -> bool {
    let mut python = Command::new("python3");
    let found = python.args(["-c", "import venv, ensurepip"]).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

#[test]
fn the_python_package_passes_its_tests_and_type_checkers() {
    if !has_venv() {
        let why = "python3 has no module venv; Debian has it in python3-venv";
        let is_demanded = std::env::var_os("MEZZENGER_PYTHON_TESTS").is_some();
        assert!(!is_demanded, "the Python package's tests are demanded: {why}");
        return skipped("the Python package", why);
    }
    let mut test = Command::new("bash");
    test.arg(workspace().join("python/test"))
        .env("CARGO_TARGET_DIR", binaries::target_dir())
        .env("MEZZENGER_EXTENSION", binaries::extension());
    let output = test.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "python/test: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
