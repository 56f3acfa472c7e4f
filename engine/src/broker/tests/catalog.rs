//! Every message that the publishers of a test made, and which of them a frame holds.

use std::collections::HashMap;

use super::*;
use crate::message::Format;

/// Names of which one begins with another, so that v1 subscribers get what they did not ask for.
pub(super) const NAMES: [&str; 3] = ["a", "ab", "b"];

/// Most messages of a native frame.
pub(super) const FRAME_MESSAGES_MAX: usize = 4;

/// A message, by its number: its place in the catalog.
pub(super) struct Made {
    pub(super) id: MessageId,
    pub(super) name: &'static str,
    pub(super) ack: bool,
    pub(super) format: Format,
    /// Its native record with the length, or its dict.
    pub(super) body: Bytes,
    /// The frame in which v1 subscribers get it.
    pub(super) frame_v1: Bytes,
    /// By which v1 subscribers acknowledge it.
    pub(super) checksum_v1: [u8; 16],
}

#[derive(Default)]
pub(super) struct Catalog {
    made: Vec<Made>,
    by_id: HashMap<MessageId, usize>,
    by_frame_v1: HashMap<Bytes, usize>,
}

impl Catalog {
    pub(super) fn len(&self) -> usize {
        self.made.len()
    }

    pub(super) fn get(&self, number: usize) -> &Made {
        &self.made[number]
    }

    pub(super) fn number(&self, id: MessageId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// A text that no other message has, of somewhat more than so many bytes.
    fn payload(&self, bytes: usize) -> String {
        format!("message {}: {}", self.made.len(), "x".repeat(bytes))
    }

    fn add(&mut self, made: Made) -> usize {
        let number = self.made.len();
        self.by_id.insert(made.id, number);
        self.by_frame_v1.insert(made.frame_v1.clone(), number);
        self.made.push(made);
        number
    }

    /// Makes a native message with a payload of about so many bytes.
    pub(super) fn native(
        &mut self,
        id: MessageId,
        ordinal: u64,
        name: &'static str,
        ack: bool,
        payload_bytes: usize,
    ) -> usize {
        let payload = self.payload(payload_bytes);
        let record = Record {
            id,
            ordinal,
            timestamp_ns: TIMESTAMP_NS,
            checksum: checksum::native(name, payload.as_bytes(), TIMESTAMP_NS),
            ack,
            has_properties: false,
            encoding: Encoding::Text,
            payload: payload.as_bytes(),
        };
        let mut body = Vec::new();
        record.append_to(&mut body).unwrap();
        let (dict, checksum_v1) =
            pickle::write(name, pickle::Plain::Text(&payload), ack, TIMESTAMP_NS);
        let frame_v1 = [name.as_bytes(), b"|", &dict].concat().into();
        let (format, body) = (Format::V2, body.into());
        self.add(Made { id, name, ack, format, body, frame_v1, checksum_v1 })
    }

    /// Makes a v1 message with a payload of about so many bytes.
    pub(super) fn original(
        &mut self,
        name: &'static str,
        ack: bool,
        payload_bytes: usize,
    ) -> usize {
        let (frame_v1, checksum_v1) = frame_v1(name, &self.payload(payload_bytes), ack);
        let id = MessageId::from_v1_checksum(checksum_v1);
        let (format, body) = (Format::V1, frame_v1.slice(name.len() + 1..));
        self.add(Made { id, name, ack, format, body, frame_v1, checksum_v1 })
    }

    /// The request that publishes these messages: one v1 message, or native ones of one name.
    pub(super) fn request(&self, numbers: &[usize]) -> Bytes {
        let first = self.get(numbers[0]);
        if first.format == Format::V1 {
            return first.frame_v1.clone();
        }
        let mut frame = v2_prefix(first.name);
        for &number in numbers {
            frame.extend_from_slice(&self.get(number).body);
        }
        frame.into()
    }

    /// The request by which a v1 subscriber acknowledges a message.
    pub(super) fn ack_v1(&self, number: usize) -> Bytes {
        let sum = checksum::to_hex(self.get(number).checksum_v1);
        frame_v1("ack", &sum, false).0
    }

    /// What a published frame holds, and in which format.
    ///
    /// # Errors
    /// What is wrong with it, if it is not exactly what publishers made.
    pub(super) fn read(&self, frame: &Bytes) -> Result<(Format, Vec<usize>), String> {
        match Frame::parse(frame) {
            Ok(Frame::V1 { name, .. }) => {
                let number = self.by_frame_v1.get(frame);
                let number = number.ok_or_else(|| format!("nobody made a v1 frame of {name}"))?;
                Ok((Format::V1, vec![*number]))
            }
            Ok(Frame::V2 { name, body }) => {
                let mut numbers = Vec::new();
                for item in Records::new(body) {
                    let (whole, record) = item.map_err(|error| error.to_string())?;
                    let number = self.number(record.id);
                    let number = number.ok_or_else(|| format!("nobody made {}", record.id))?;
                    let made = self.get(number);
                    let same = match made.format {
                        Format::V2 => whole == made.body,
                        Format::V1 => {
                            let sum = checksum::native(name, record.payload, record.timestamp_ns);
                            record.encoding == Encoding::Pickle
                                && record.payload == made.body
                                && (record.ack, record.checksum) == (made.ack, sum)
                        }
                    };
                    if !same || name != made.name {
                        return Err(format!("message {number} was changed"));
                    }
                    numbers.push(number);
                }
                Ok((Format::V2, numbers))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
