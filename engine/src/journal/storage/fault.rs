//! Faults of a disk in memory.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

/// A call that a disk answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the method of the same name of Storage or StorageFile")]
pub enum Call {
    Resolve,
    Kind,
    OpenToRead,
    OpenToAppend,
    Create,
    Overwrite,
    Rename,
    Remove,
    SyncDirectory,
    Bytes,
    ReadAt,
    Append,
    Sync,
    Truncate,
    TryLock,
    IsAt,
    RestrictToOwner,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing and returns this error.
    Error(Errno),
    /// A read or write moves half of its bytes and says so; other calls succeed.
    Short,
    /// A write writes half of its bytes, and the next call returns this error.
    ShortThen(Errno),
    /// It and all later calls do nothing and return this error.
    ErrorFromHere(Errno),
}

/// The calls so far, and the faults that wait for theirs.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) calls: Vec<Call>,
    pub(super) at: BTreeMap<usize, Fault>,
    pub(super) next: Vec<(Call, Fault)>,
    pub(super) always: Option<Errno>,
}

impl Faults {
    /// Counts a call and tells whether it is to be cut short.
    pub(super) fn call(&mut self, call: Call) -> io::Result<bool> {
        let number = self.calls.len();
        self.calls.push(call);
        let next = self.next.iter().position(|(wanted, _)| *wanted == call);
        let fault = match (self.at.remove(&number), next) {
            (None, Some(next)) => Some(self.next.remove(next).1),
            (fault, _) => fault,
        };
        match fault.or(self.always.map(Fault::Error)) {
            None => Ok(false),
            Some(Fault::Error(errno)) => Err(errno.into()),
            Some(Fault::Short) => Ok(true),
            Some(Fault::ShortThen(errno)) => {
                self.at.insert(number + 1, Fault::Error(errno));
                Ok(true)
            }
            Some(Fault::ErrorFromHere(errno)) => {
                self.always = Some(errno);
                Err(errno.into())
            }
        }
    }
}
