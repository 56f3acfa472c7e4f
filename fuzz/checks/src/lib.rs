//! What each fuzz target promises, as a function that takes any bytes and panics when the promise does
//! not hold.
//!
//! The targets in `fuzz/fuzz_targets` call these with what libFuzzer makes up; `tests/corpus.rs` calls
//! them with what is in `fuzz/corpus`, on the stable toolchain. `fuzz/README.md` lists the promises.
//!
//! Each expectation is worked out anew and naively from the documents of the formats: nothing of the
//! engine's own readers is used to judge them.

mod connection;
mod frame;
mod journal;
mod pickle;
mod record;
mod server;
mod session;
mod small_frames;

pub use connection::connection;
pub use frame::frame;
pub use journal::journal;
pub use pickle::pickle;
pub use record::record;
pub use server::server;
pub use session::session;
pub use small_frames::small_frames;

/// A target's check.
pub type Check = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: [(&str, Check); 8] = [
    ("connection", connection),
    ("frame", frame),
    ("journal", journal),
    ("pickle", pickle),
    ("record", record),
    ("server", server),
    ("session", session),
    ("small_frames", small_frames),
];
