//! The journal: acknowledged messages on disk, so that they outlive the server.
//!
//! Data goes one way. The broker [submits](Journal::submit) groups of [`Op`]s and never waits (`handle`). The
//! journal's thread (`writer`, and `full_disk` when there is no room) encodes (`encode`, `record`, `letter`, `group`) whatever has
//! queued up, writes and syncs it in one go through the file seam ([`storage`]), and reports in `shared` how
//! far it came. [`open()`] (`recovery`, with `read`, `live`, `letters`, `groups` and `seen`) gives back what a file holds; [`inspect()`]
//! only tells, and `tools` copies it, tells its messages, or rewrites it without a server. `compaction` rewrites a file that is mostly garbage (`rewrite`) while the writer goes on.
//!
//! The journal knows nothing of sockets, of the map of pending messages, nor of retries. The bytes are in
//! `docs/journal-format.md`.

mod compaction;
mod damage;
mod encode;
mod error;
mod full_disk;
mod group;
mod groups;
mod handle;
mod inspect;
mod keys;
mod letter;
mod letters;
mod live;
#[cfg(all(loom, test))]
mod loom_tests;
mod names;
mod open;
mod ops;
mod options;
mod read;
pub mod record;
mod recovery;
mod retained;
mod rewrite;
mod seen;
mod shared;
pub mod storage;
mod tools;
mod values;
mod writer;

pub use damage::{Damage, DamageReport, Torn};
pub use error::OpenError;
pub use group::{GroupBody, JobState, JobsBody};
pub use groups::{Marks, RecoveredGroup, RecoveredGroups};
pub use handle::{Journal, JournalStats, Opened, SubmitError, open};
pub use inspect::{Inspection, inspect, inspect_journal};
pub use letter::{EndBody, LetterBody, LetterEnd};
pub use live::Messages;
pub use open::Recovered;
pub use ops::{LiveSet, OnProgress, Op, fits, record_bytes};
pub use options::{FsyncPolicy, FsyncPolicyError, JournalOptions};
pub use record::SeenRun;
pub use recovery::Records;
pub use shared::{Action, JournalError};
pub use tools::{Contents, Rewritten, compact_journal, contents, copy_journal, repair_journal};
#[cfg(any(test, feature = "internals"))]
pub(crate) use writer::Writer;
