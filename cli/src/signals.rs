//! Signals: the first lets a command finish its current work, the second ends it at once, with the process that it runs
//! for a message.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The process group that works at a message. Its number cannot be another's while it stands here: whoever reaps the
/// process holds this lock.
static RUNNING: Mutex<Option<Pid>> = Mutex::new(None);

fn running() -> MutexGuard<'static, Option<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A flag that SIGINT, SIGTERM and SIGHUP set; the second of them ends at once this process and the group that it runs.
pub(crate) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stopped);
    // Whoever ignores hang-ups, such as nohup, wants to outlive its terminal.
    let hangup = if ignores_hangups() { None } else { Some(SIGHUP) };
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup))?;
    thread::Builder::new().name("mezzenger-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if set.swap(true, Ordering::Relaxed) {
                // Held to the end: nothing is started any more.
                let running = running();
                if let Some(group) = *running {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                signal_hook::low_level::exit(128 + signal);
            }
        }
    })?;
    Ok(stopped)
}

/// Whether SIGHUP was ignored when this process began, where the system tells.
fn ignores_hangups() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    ignored.is_some_and(|bits| bits >> (SIGHUP - 1) & 1 == 1)
}

/// Starts the leader of a process group, which the second signal ends.
pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
    let mut running = running();
    let child = command.spawn()?;
    *running = Some(Pid::from_child(&child));
    Ok(child)
}

/// Waits until a process that [`start`] started has ended, and leaves it to [`reap`].
pub(crate) fn ended(leader: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(leader), options), Err(Errno::INTR)) {}
}

/// Waits until it has ended, and says how.
pub(crate) fn reap(child: &mut Child) -> io::Result<ExitStatus> {
    // Not under the lock, which the second signal waits for.
    ended(Pid::from_child(child));
    let mut running = running();
    *running = None;
    child.wait()
}
