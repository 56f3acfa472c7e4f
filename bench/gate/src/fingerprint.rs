//! What counts depend on besides the code: the same code counts differently with other tools.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The tools of a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// `rustc --version`.
    pub rustc: String,
    /// XXH3 of `Cargo.lock`: the versions of all dependencies.
    pub cargo_lock: String,
    /// `valgrind --version`.
    pub valgrind: String,
    /// The C library, which allocates and copies.
    pub libc: String,
    /// The architecture, and what of its vector instructions valgrind may offer: the code asks.
    pub cpu: String,
}

/// Why the tools are not known.
#[derive(Debug, thiserror::Error)]
pub enum FingerprintError {
    /// A tool did not tell its version.
    #[error(
        "cannot ask '{tool} --version': {source}; is it installed? \
         (on Debian: apt-get install valgrind)"
    )]
    Tool {
        /// The tool.
        tool: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The list of dependencies cannot be read.
    #[error("cannot read {path}: {source}")]
    Lock {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Fingerprint {
    /// Those of this machine, for the workspace at this path.
    ///
    /// # Errors
    /// When a tool is missing.
    pub fn here(workspace: &Path) -> Result<Self, FingerprintError> {
        let lock = workspace.join("Cargo.lock");
        let bytes = fs::read(&lock).map_err(|source| FingerprintError::Lock {
            path: lock.display().to_string(),
            source,
        })?;
        Ok(Self {
            rustc: version_of("rustc")?,
            cargo_lock: format!("{:016x}", xxh3_64(&bytes)),
            valgrind: version_of("valgrind")?,
            libc: version_of("ldd")?,
            cpu: cpu(),
        })
    }

    /// The parts that are not the same, as `part: other -> this`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let parts = [
            ("rustc", &self.rustc, &other.rustc),
            ("Cargo.lock", &self.cargo_lock, &other.cargo_lock),
            ("valgrind", &self.valgrind, &other.valgrind),
            ("C library", &self.libc, &other.libc),
            ("processor", &self.cpu, &other.cpu),
        ];
        let changed = parts.iter().filter(|(_, this, other)| this != other);
        changed.map(|(part, this, other)| format!("{part}: {other} -> {this}")).collect()
    }
}

/// The first line of what a tool says of its version.
fn version_of(tool: &'static str) -> Result<String, FingerprintError> {
    let fail = |source| FingerprintError::Tool { tool, source };
    let output = Command::new(tool).arg("--version").output().map_err(fail)?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        _ => Err(fail(io::Error::other(format!("it ended with {}", output.status)))),
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu() -> String {
    let features = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
    ];
    let found = features.iter().filter(|(_, found)| *found).map(|(name, _)| *name);
    ["x86_64"].into_iter().chain(found).collect::<Vec<_>>().join(" ")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu() -> String {
    std::env::consts::ARCH.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_its_part_and_both_values() {
        let text = |text: &str| text.to_owned();
        let old = Fingerprint {
            rustc: text("rustc 1.95.0"),
            cargo_lock: text("01"),
            valgrind: text("valgrind-3.19.0"),
            libc: text("2.36"),
            cpu: text("x86_64"),
        };
        let new = Fingerprint { valgrind: text("valgrind-3.22.0"), ..old.clone() };
        assert_eq!(new.differences(&old), ["valgrind: valgrind-3.19.0 -> valgrind-3.22.0"]);
        assert_eq!(old.differences(&old), [""; 0]);
    }
}
