//! What threads and tasks wait with. No runtime, and no thread of its own.
//!
//! - `wakers`: the tasks that wait for one thing; `oneshot`: one value, for whoever waits for it.
//! - `clock`: times that tasks wait for. `block`: how a thread waits for what is written for tasks.

mod block;
mod clock;
pub(super) mod oneshot;
mod wakers;

pub(super) use block::{block, block_until};
pub(super) use clock::Clock;
pub(super) use wakers::{WaitSlot, Wakers, Woken};
