//! Which retained messages a series of records leaves.

use std::collections::BTreeMap;

use arcstr::ArcStr;
use bytes::Bytes;

use super::record::RECORD_HEADER_BYTES;
use super::retained::{self, RetainedBody};
use crate::message::Message;

/// Bytes that a retained message occupies in the file.
pub(super) fn record_bytes(message: &Message) -> u64 {
    (RECORD_HEADER_BYTES + retained::body_bytes(message)) as u64
}

/// The retained messages that are left, gathered while records are read.
#[derive(Debug, Default)]
pub(super) struct Retained {
    by_name: BTreeMap<ArcStr, Message>,
}

impl Retained {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Bytes that their records occupy.
    pub(super) fn bytes(&self) -> u64 {
        self.by_name.values().map(record_bytes).sum()
    }

    /// A record says that a message is the last of its name.
    pub(super) fn put(&mut self, body: &RetainedBody<'_>) {
        let &RetainedBody { id, format, name, body } = body;
        let name = ArcStr::from(name);
        let body = Bytes::copy_from_slice(body);
        self.by_name.insert(name.clone(), Message { id, name, format, body });
    }

    /// A record says that the last message of a name is no more.
    pub(super) fn clear(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// All of them, in the order of their names.
    pub(super) fn into_messages(self) -> Vec<Message> {
        self.by_name.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Format;
    use crate::wire::id::MessageId;

    fn message(name: &str, body: &'static [u8]) -> Message {
        let id = MessageId { publisher: 1, sequence: 2 };
        Message { id, name: name.into(), format: Format::V2, body: Bytes::from_static(body) }
    }

    #[test]
    fn the_last_of_each_name_is_left_until_it_is_cleared() {
        let mut values = Retained::default();
        for wanted in [message("b", b"1"), message("a", b"2"), message("b", b"3")] {
            values.put(&retained::read(&retained::encode(&wanted)).unwrap());
        }
        values.clear("c");
        assert_eq!((values.len(), values.bytes()), (2, 2 * (32 + 18 + 2)));
        values.clear("a");
        assert_eq!(values.into_messages(), [message("b", b"3")]);
    }
}
