//! The messages of a file that were appended and not settled: where they lie, and then they themselves.
//!
//! A file is read twice. The first time checks every record and finds out which messages are live; the
//! second takes those out. So nothing is allocated for a message that a later record settles, and the
//! server's memory afterwards is what the messages take.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::OpenError;
use super::names::Names;
use super::read::{Next, Reader};
use super::record::Body;
use super::storage::StorageFile;
use crate::hash::IdHashes;
use crate::message::Message;
use crate::wire::id::MessageId;

/// Where the record of a message lies.
#[derive(Clone, Copy, Debug)]
struct RecordLocation {
    offset: u64,
    record_bytes: u64,
}

/// The places of the live messages, gathered while a file is read.
#[derive(Debug, Default)]
pub(super) struct Live {
    places: HashMap<MessageId, RecordLocation, IdHashes>,
    /// Bytes that their records occupy.
    pub(super) bytes: u64,
}

impl Live {
    /// Whether a message is live.
    pub(super) fn contains(&self, id: MessageId) -> bool {
        self.places.contains_key(&id)
    }

    /// Messages that are live.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Adds the message of the record at `offset`; `false` if it is live already.
    pub(super) fn append(&mut self, id: MessageId, offset: u64, record_bytes: u64) -> bool {
        let Entry::Vacant(vacant) = self.places.entry(id) else { return false };
        vacant.insert(RecordLocation { offset, record_bytes });
        self.bytes += record_bytes;
        true
    }

    /// Removes a message; `false` if it is not there.
    pub(super) fn settle(&mut self, id: MessageId) -> bool {
        let Some(place) = self.places.remove(&id) else { return false };
        self.bytes -= place.record_bytes;
        true
    }

    /// Where the records of the messages start, in the order in which they were appended.
    pub(super) fn into_offsets(self) -> Vec<u64> {
        let mut offsets: Vec<u64> = self.places.into_values().map(|place| place.offset).collect();
        offsets.sort_unstable();
        offsets
    }
}

/// Recovered messages in the order in which they were appended. Each is read when it is taken, and
/// checked again.
pub struct Messages {
    path: PathBuf,
    reader: Option<Reader<Box<dyn StorageFile>>>,
    offsets: std::vec::IntoIter<u64>,
    names: Names,
}

impl Messages {
    /// The messages of the records at these offsets, in this order, of a file with this salt.
    pub(super) fn new(
        path: &Path,
        file: Box<dyn StorageFile>,
        salt: u64,
        end: u64,
        offsets: Vec<u64>,
    ) -> Self {
        let reader = Some(Reader::whole(file, salt, end));
        Self {
            path: path.to_owned(),
            reader,
            offsets: offsets.into_iter(),
            names: Names::default(),
        }
    }

    /// Those of an empty journal.
    pub(super) fn none(path: &Path) -> Self {
        let offsets = Vec::new().into_iter();
        Self { path: path.to_owned(), reader: None, offsets, names: Names::default() }
    }

    fn read(&mut self, offset: u64) -> io::Result<Message> {
        if let Some(reader) = &mut self.reader {
            reader.seek(offset);
            if let Next::Record { body: Body::Append { id, format, name, body }, .. } =
                reader.next()?
            {
                let name = self.names.share(name);
                return Ok(Message { id, name, format, body: Bytes::copy_from_slice(body) });
            }
        }
        let text =
            format!("the record at offset {offset} is no longer what it was when it was checked");
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

impl Iterator for Messages {
    type Item = Result<Message, OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offsets.next()?;
        let read = self.read(offset);
        let path = &self.path;
        Some(read.map_err(|source| OpenError::Io { action: "read", path: path.clone(), source }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.offsets.size_hint()
    }
}

impl ExactSizeIterator for Messages {}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("left", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> MessageId {
        MessageId { publisher: 1, sequence }
    }

    #[test]
    fn what_is_left_keeps_the_order_in_which_it_was_appended() {
        let mut live = Live::default();
        for n in 0..1000 {
            live.append(id(n), 100 * n, 100);
        }
        for n in (0..1000).filter(|n| n % 7 != 0) {
            live.settle(id(n));
        }
        assert!(!live.settle(id(2000)));
        assert!(!live.append(id(7), 100_000, 50));
        assert!(live.append(id(8), 100_050, 50));
        assert_eq!((live.len(), live.bytes), (144, 143 * 100 + 50));
        let mut expected: Vec<u64> = (0..1000).step_by(7).map(|n| 100 * n).collect();
        expected.push(100_050);
        assert_eq!(live.into_offsets(), expected);
    }
}
