//! What the journal of a server was doing when it was killed, seen from outside: the server is the real
//! one, and does nothing for it.
//!
//! The process is stopped first (SIGSTOP). A stopped thread runs none of its own code any more, so what it
//! was doing then is what the kill that follows interrupts. `/proc/PID/task/TID/syscall` says which system
//! call the journal's thread was in. The call may go on to its end in the kernel, as it does under a bare
//! SIGKILL; the thread never learns it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest time that a thread may take to stop: as long as a slow sync.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What the journal's thread was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There was none yet: the server was reading its journal.
    Starting,
    /// Neither of the others.
    Idle,
    /// It had begun a write and not learnt of its end.
    Writing,
    /// It had written, begun the sync, and not learnt of its end.
    Syncing,
    /// The system does not say.
    Unknown,
}

/// What was seen of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) phase: Phase,
    /// Whether a compaction was going on.
    pub(crate) is_compacting: bool,
}

/// Stops a server for good and looks at its journal's threads.
pub(crate) fn stop_and_look(pid: Pid) -> io::Result<Seen> {
    kill_process(pid, Signal::STOP)?;
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let threads: Vec<PathBuf> =
        fs::read_dir(tasks)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    let named = |name: &str| {
        // A thread may end while it is asked.
        let has_name = |task: &&PathBuf| {
            fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        threads.iter().find(has_name)
    };
    let phase = match named("journal") {
        None => Phase::Starting,
        Some(task) if has_stopped(task) => {
            fs::read_to_string(task.join("syscall")).map_or(Phase::Unknown, |text| phase(&text))
        }
        Some(_) => Phase::Unknown,
    };
    // Names of threads are cut to 15 bytes, which this has.
    Ok(Seen { phase, is_compacting: named("journal-compact").is_some() })
}

/// Waits until a thread has stopped.
fn has_stopped(task: &Path) -> bool {
    let deadline = Instant::now() + STOP_PATIENCE;
    while Instant::now() < deadline {
        match fs::read_to_string(task.join("stat")) {
            Ok(stat) if state(&stat) == Some('T') => return true,
            Ok(_) => thread::yield_now(),
            Err(_) => return false,
        }
    }
    false
}

/// The state in the text of `/proc/PID/task/TID/stat`.
fn state(stat: &str) -> Option<char> {
    // The second field is the name in parentheses, which may hold anything.
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Reads `/proc/PID/task/TID/syscall`: a call's number and its arguments; -1 outside of calls.
fn phase(text: &str) -> Phase {
    let number = text.split_whitespace().next().and_then(|word| word.parse::<libc::c_long>().ok());
    match number {
        None => Phase::Unknown,
        Some(libc::SYS_write | libc::SYS_writev) => Phase::Writing,
        Some(libc::SYS_fdatasync | libc::SYS_fsync) => Phase::Syncing,
        Some(_) => Phase::Idle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_stands_behind_any_name() {
        assert_eq!(state("7 (journal) T 1 7"), Some('T'));
        assert_eq!(state("7 (a) S) D 1 7"), Some('D'));
        assert_eq!(state("7"), None);
    }

    #[test]
    fn a_call_is_known_by_its_number() {
        let call = |number: libc::c_long| phase(&format!("{number} 0x5 0x0 0x7ffd 0x7f63\n"));
        assert_eq!(call(libc::SYS_fdatasync), Phase::Syncing);
        assert_eq!(call(libc::SYS_writev), Phase::Writing);
        assert_eq!(call(libc::SYS_futex), Phase::Idle);
        assert_eq!(phase("-1 0x7ffd 0x7f63\n"), Phase::Idle);
        assert_eq!(phase("running\n"), Phase::Unknown);
        assert_eq!(phase(""), Phase::Unknown);
    }
}
