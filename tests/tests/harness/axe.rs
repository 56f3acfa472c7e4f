//! What the server's page is checked with: the rules of axe-core, as `tests/browser` pins it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use super::{binaries, skipped};

/// The script, installed on first use under the build directory; nothing, and a line on stderr, without npm.
pub(crate) fn script() -> Option<PathBuf> {
    if Command::new("npm").arg("--version").output().is_err() {
        skipped("the page's accessibility", "there is no npm");
        return None;
    }
    let source = binaries::workspace().join("tests/browser");
    let directory = binaries::target_dir().join("page-checks");
    fs::create_dir_all(&directory).unwrap();
    // Another test run may be at it: the lock ends with the file's handle, however this one ends.
    let lock = File::create(directory.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let wanted = fs::read_to_string(source.join("package-lock.json")).unwrap();
    let marker = directory.join("made-from.json");
    if fs::read_to_string(&marker).ok().as_deref() != Some(&wanted) {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), directory.join(file)).unwrap();
        }
        let mut command = Command::new("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix"]);
        let output = command.arg(&directory).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        // Last, so that what was not finished is made again.
        fs::write(marker, wanted).unwrap();
    }
    Some(directory.join("node_modules/axe-core/axe.min.js"))
}
