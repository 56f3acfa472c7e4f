//! Waits for sockets and wakers together.

use std::time::Duration;

use super::socket::{Socket, TransportError};
use crate::net::waker::WakeReceiver;

fn rounded_ms(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// What one polled thing can do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Something can be received, or the waker was woken.
    pub readable: bool,
}

/// Most things one call can wait for.
const ITEMS_MAX: usize = 4;

/// Waits until a socket can be read, a waker is woken, or the time is over (`None`: no end), and says
/// in `ready` which: first the sockets, then the wakers. Times are rounded up to milliseconds. A
/// signal ends the wait early, with nothing ready.
///
/// # Panics
/// When there are more than four things, or `ready` has another length than there are things.
///
/// # Errors
/// When the context is ending.
pub fn poll(
    sockets: &[&Socket],
    wakers: &[&WakeReceiver],
    ready: &mut [Ready],
    timeout: Option<Duration>,
) -> Result<(), TransportError> {
    let count = sockets.len() + wakers.len();
    assert!(count <= ITEMS_MAX && ready.len() == count, "poll() takes up to four things");
    let timeout_ms = timeout.map_or(-1, rounded_ms);
    let items = sockets
        .iter()
        .map(|s| s.socket.as_poll_item(zmq::POLLIN))
        .chain(wakers.iter().map(|w| zmq::PollItem::from_fd(w.raw_fd(), zmq::POLLIN)));
    let mut array = [const { None }; ITEMS_MAX];
    for (slot, item) in array.iter_mut().zip(items) {
        *slot = Some(item);
    }
    let mut items = array
        .map(|item| item.unwrap_or_else(|| zmq::PollItem::from_fd(-1, zmq::PollEvents::empty())));
    match zmq::poll(&mut items[..count], timeout_ms) {
        Ok(_) => {}
        Err(zmq::Error::EINTR) => {
            ready.fill(Ready::default());
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    for (ready, item) in ready.iter_mut().zip(&items) {
        ready.readable = item.is_readable();
    }
    Ok(())
}
