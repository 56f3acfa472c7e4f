//! A small file system in memory, so that a disk can be really full.
//!
//! It is mounted in a mount namespace of its own, which a waiting process holds. When that process ends,
//! and at the latest it does when its standard input is closed because the test has died, the kernel
//! unmounts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::Process;
use super::{binaries, skipped};

/// A mounted file system. Who wants to see it must [`Self::enter`].
pub(crate) struct SmallDisk {
    holder: Process,
    mount_point: tempfile::TempDir,
    is_root: bool,
}

impl SmallDisk {
    /// Mounts a file system of this size; `None`, and a line on stderr, when the system does not let us.
    pub(crate) fn mount(kib: usize) -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let mount_point = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if !is_root {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args([
                "sh",
                "-c",
                r#"mount -t tmpfs -o "size=$1k" tmpfs "$2" && echo mounted && exec cat"#,
            ])
            .args(["sh", &kib.to_string()])
            .arg(mount_point.path())
            .stdin(Stdio::piped());
        let mut holder = Process::start(&mut command);
        if holder.line().as_deref() != Some("mounted") {
            holder.wait();
            skipped("tests of a full disk, on a tmpfs", holder.stderr().trim());
            return None;
        }
        Some(Self { holder, mount_point, is_root })
    }

    /// A command that runs a program where the file system is mounted.
    pub(crate) fn enter(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if !self.is_root {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(program.as_ref()).env_remove("RUST_LOG");
        command
    }

    /// A command that runs a server there, on free ports, with a journal on the file system.
    pub(crate) fn server(&self) -> Command {
        let mut command = self.enter(binaries::path("mezzenger-server"));
        self.add_flags(&mut command);
        command
    }

    /// Adds such a server to a command that runs there and runs what its last arguments say.
    pub(crate) fn add_server<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.arg(binaries::path("mezzenger-server"));
        self.add_flags(command)
    }

    fn add_flags<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.args(["--pub-port", "0", "--recv-port", "0", "--retry-interval", "1h"]);
        command.arg("--persist-file").arg(self.journal())
    }

    /// The journal's path, for who entered.
    pub(crate) fn journal(&self) -> PathBuf {
        self.mount_point.path().join("journal")
    }

    /// The path of a file on it, for who did not enter.
    pub(crate) fn seen_from_outside(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(path.strip_prefix("/").unwrap())
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, kib: usize) {
        let mut remount = self.enter("mount");
        // With a source, so that it does not read what is mounted, which names users of another namespace.
        remount.args(["-o", &format!("remount,size={kib}k"), "tmpfs"]).arg(self.mount_point.path());
        assert!(remount.status().unwrap().success());
    }
}
