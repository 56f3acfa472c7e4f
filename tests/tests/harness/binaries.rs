//! Where the workspace's programs are, built by the same profile as the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The workspace's root.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The directory that the tests were built into: `target/debug`, `target/release`.
fn profile_dir() -> PathBuf {
    // The test binary lies in its `deps`.
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

/// The directory of everything that is built.
pub(crate) fn target_dir() -> PathBuf {
    profile_dir().parent().unwrap().to_owned()
}

/// The path of a program of the workspace, which is built first when it has to be.
pub(crate) fn path(program: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| build(&[]));
    profile_dir().join(program)
}

/// The path of the Python package's extension, which is built first when it has to be: with the same features as all else, so that the
/// library is not compiled once more for it.
pub(crate) fn extension() -> PathBuf {
    build(&["--lib"]);
    profile_dir().join("lib_core.so")
}

fn build(also: &[&str]) {
    let profile = match profile_dir().file_name().and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev".to_owned(),
        other => other.to_owned(),
    };
    // `--test main` is what runs now: named here, the same features are chosen for the programs, and
    // what `cargo test --workspace` has built is not built again.
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--workspace", "--bins", "--test", "main", "--locked"])
        .args(["--profile", &profile])
        .args(also)
        .arg("--target-dir")
        .arg(target_dir())
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
