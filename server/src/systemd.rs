//! Reports to the service manager when the server is ready, reads its configuration again and ends, and that it is alive.
//! Without a service manager nothing happens.

use std::io;
use std::thread;
use std::time::Duration;

use mezzenger::ControlHandle;
use sd_notify::NotifyState;

/// How long the log waits before it says again that the broker is stuck.
const TOLD: Duration = Duration::from_secs(10);

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager (NOTIFY_SOCKET) cannot be told: {error}");
    }
}

/// The server listens, at these addresses.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is read again. [`ready_again`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(time) => notify(&[NotifyState::Reloading, time]),
        Err(error) => tracing::warn!("the service manager is not told of the reload: {error}"),
    }
}

/// The configuration was read again.
pub(crate) fn ready_again() {
    notify(&[NotifyState::Ready]);
}

/// The server ends.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Tells the service manager's watchdog, if there is one, that the server is alive, as long as the broker's thread takes
/// turns: a thread of its own that only slept and told would do so for a stuck broker, too.
///
/// # Errors
/// When the system denies the thread.
pub(crate) fn feed_watchdog(server: ControlHandle) -> io::Result<()> {
    let Some(limit) = sd_notify::watchdog_enabled() else { return Ok(()) };
    // Twice within the limit, so that one late answer does not end the server.
    let pause = limit / 3;
    thread::Builder::new().name("watchdog".into()).spawn(move || {
        let mut silent = Duration::ZERO;
        loop {
            if server.is_alive(pause) {
                silent = Duration::ZERO;
                notify(&[NotifyState::Watchdog]);
                thread::sleep(pause);
            } else {
                if silent.is_zero() || silent >= TOLD {
                    tracing::error!(
                        "the broker's thread has not answered for {pause:?}: the service manager ends the server when it \
                         hears nothing for {limit:?}"
                    );
                    silent = Duration::ZERO;
                }
                silent += pause;
            }
        }
    })?;
    Ok(())
}
