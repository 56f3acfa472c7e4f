//! The messages of a file that were appended and not settled, gathered while it is read.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use arcstr::ArcStr;
use bytes::Bytes;

use crate::hash::IdHashes;
use crate::limits::NAMES_CACHED_MAX;
use crate::message::{Format, Message};
use crate::wire::id::MessageId;

/// Messages of one chunk. The chunks free their memory one by one while the messages are handed over.
const CHUNK_MESSAGES: usize = 4096;

/// Messages in the order in which they were appended.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Where in the chunks each message is.
    index: HashMap<MessageId, usize, IdHashes>,
    chunks: Vec<Vec<Option<Message>>>,
    slots: usize,
    names: HashSet<ArcStr>,
    last_name: Option<ArcStr>,
}

impl Live {
    /// Messages that are live.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Adds a message, unless it is there.
    pub(super) fn append(&mut self, id: MessageId, format: Format, name: &str, body: &[u8]) {
        // One look-up: in a large map each costs a cache miss.
        let Entry::Vacant(place) = self.index.entry(id) else { return };
        place.insert(self.slots);
        let name = self.name(name);
        let body = Bytes::copy_from_slice(body);
        self.push(Message { id, name, format, body });
    }

    /// Puts a message into the next slot, where the index must say that it is.
    fn push(&mut self, message: Message) {
        if self.slots.is_multiple_of(CHUNK_MESSAGES) {
            self.chunks.push(Vec::with_capacity(CHUNK_MESSAGES));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(Some(message));
        }
        self.slots += 1;
    }

    /// Removes a message, if it is there.
    pub(super) fn settle(&mut self, id: MessageId) {
        let Some(slot) = self.index.remove(&id) else { return };
        if let Some(message) = self
            .chunks
            .get_mut(slot / CHUNK_MESSAGES)
            .and_then(|c| c.get_mut(slot % CHUNK_MESSAGES))
        {
            *message = None;
        }
        if self.slots > 2 * self.index.len() + 16 * CHUNK_MESSAGES {
            self.close_gaps();
        }
    }

    fn close_gaps(&mut self) {
        self.slots = 0;
        for message in std::mem::take(&mut self.chunks).into_iter().flatten().flatten() {
            self.index.insert(message.id, self.slots);
            self.push(message);
        }
    }

    /// One shared copy of a name.
    fn name(&mut self, name: &str) -> ArcStr {
        if let Some(last) = &self.last_name
            && &**last == name
        {
            return last.clone();
        }
        let shared = match self.names.get(name) {
            Some(shared) => shared.clone(),
            None => {
                if self.names.len() >= NAMES_CACHED_MAX {
                    self.names.clear();
                }
                let shared: ArcStr = name.into();
                self.names.insert(shared.clone());
                shared
            }
        };
        self.last_name = Some(shared.clone());
        shared
    }

    /// The messages, for a caller that reads them and leaves them here.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.chunks.iter().flatten().flatten()
    }

    /// Hands the messages over.
    pub(super) fn into_messages(self) -> Messages {
        let left = self.index.len();
        Messages { chunks: self.chunks.into_iter(), chunk: Vec::new().into_iter(), left }
    }
}

/// Recovered messages in the order in which they were appended. Memory is freed as they are taken.
#[derive(Debug)]
pub struct Messages {
    chunks: std::vec::IntoIter<Vec<Option<Message>>>,
    chunk: std::vec::IntoIter<Option<Message>>,
    left: usize,
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.chunk.by_ref().flatten().next() {
                self.left = self.left.saturating_sub(1);
                return Some(message);
            }
            self.chunk = self.chunks.next()?.into_iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Messages {}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: usize) -> MessageId {
        MessageId { publisher: 1, sequence: sequence as u64 + 1 }
    }

    #[test]
    fn what_is_left_keeps_its_order_when_gaps_are_closed() {
        let mut live = Live::default();
        let many = 40 * CHUNK_MESSAGES;
        for n in 0..many {
            live.append(id(n), Format::V2, if n % 2 == 0 { "a" } else { "b" }, &n.to_le_bytes());
        }
        for n in (0..many).filter(|n| n % 7 != 0) {
            live.settle(id(n));
        }
        assert!(live.slots < many / 2, "{} slots", live.slots);
        live.settle(id(many + 1));
        live.append(id(7), Format::V2, "again", b"");
        let messages = live.into_messages();
        assert_eq!(messages.len(), many.div_ceil(7));
        for (n, message) in messages.enumerate() {
            assert_eq!((message.id, &message.body[..]), (id(7 * n), &(7 * n).to_le_bytes()[..]));
        }
    }
}
