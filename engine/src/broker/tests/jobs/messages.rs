//! Every message that publishers made, and which of them a frame holds.

use std::collections::HashMap;

use super::super::*;
use crate::wire::properties::Properties;

/// A message, by its number: its place among all.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) id: MessageId,
    pub(super) name: &'static str,
    pub(super) ack: bool,
    /// Before when nobody gets it, and from when on.
    pub(super) deliver_at_ms: u64,
    pub(super) expires_ms: u64,
    record: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Messages {
    made: Vec<Made>,
    by_id: HashMap<MessageId, usize>,
}

impl Messages {
    pub(super) fn get(&self, number: usize) -> &Made {
        &self.made[number]
    }

    pub(super) fn number(&self, id: MessageId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn make(
        &mut self,
        id: MessageId,
        name: &'static str,
        ack: bool,
        deliver_at_ms: Option<u64>,
        expires_ms: Option<u64>,
    ) -> usize {
        let number = self.made.len();
        let mut payload = format!("message {number}").into_bytes();
        let properties = Properties { deliver_at_ms, expires_ms, ..Properties::default() };
        let has_properties = !properties.is_empty();
        if has_properties {
            properties.append_to(&mut payload).unwrap();
        }
        let mut out = Vec::new();
        let record = Record {
            id,
            ordinal: 0,
            timestamp_ns: TIMESTAMP_NS,
            checksum: checksum::native(name, &payload, TIMESTAMP_NS),
            ack,
            has_properties,
            encoding: Encoding::Text,
            payload: &payload,
        };
        record.append_to(&mut out).unwrap();
        let (deliver_at_ms, expires_ms) =
            (deliver_at_ms.unwrap_or(0), expires_ms.unwrap_or(u64::MAX));
        self.made.push(Made { id, name, ack, deliver_at_ms, expires_ms, record: out });
        self.by_id.insert(id, number);
        number
    }

    /// The request that publishes these messages of one name.
    pub(super) fn request(&self, numbers: &[usize]) -> Bytes {
        let mut frame = v2_prefix(self.get(numbers[0]).name);
        numbers.iter().for_each(|&number| frame.extend_from_slice(&self.get(number).record));
        frame.into()
    }

    pub(super) fn ids(&self, numbers: &[usize]) -> Vec<MessageId> {
        numbers.iter().map(|&number| self.get(number).id).collect()
    }

    /// What a frame holds.
    ///
    /// # Errors
    /// What is wrong with it, if it is not exactly what publishers made.
    pub(super) fn read(&self, frame: &Bytes) -> Result<Vec<usize>, String> {
        let Ok(Frame::V2 { name, body }) = Frame::parse(frame) else {
            return Err(format!("no native frame: {frame:?}"));
        };
        let mut numbers = Vec::new();
        for item in Records::new(body) {
            let (whole, record) = item.map_err(|error| error.to_string())?;
            let number = self.number(record.id);
            let number = number.ok_or_else(|| format!("nobody made {}", record.id))?;
            let made = self.get(number);
            if whole != made.record || name != made.name {
                return Err(format!("message {number} was changed"));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }
}
