//! A received message: a view of the frame it arrived in.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rkyv::api::high::HighValidator;
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;

use crate::client::publish::archive::{ArchiveType, type_of};
use crate::client::publish::payload::PayloadError;
use crate::wire::checksum::{self, Checksum};
use crate::wire::frame::{V2, split_v2, v2_prefix};
use crate::wire::id::MessageId;
use crate::wire::name;
use crate::wire::pickle::{self, V1Fields, Value};
use crate::wire::properties::{self, PayloadType, Properties};
use crate::wire::record::{Encoding, Record};

/// A received message.
///
/// It is a view of the received frame, which all clones share and which lives as long as the last of them. So a small
/// message that is kept for long keeps its whole frame in memory (up to 1 MB); copy the payload to keep less.
#[derive(Clone)]
pub struct Message {
    frame: Bytes,
    name_bytes: usize,
    payload_at: usize,
    payload_bytes: usize,
    /// Of the payload and what stands behind it.
    whole_bytes: usize,
    id: MessageId,
    ordinal: u64,
    timestamp_ns: u64,
    checksum: Checksum,
    ack: bool,
    encoding: Encoding,
}

impl Message {
    /// The first message of a frame in either format: one of an original client is carried over.
    pub(crate) fn of_frame(frame: &Bytes) -> Option<Self> {
        let frame = native(frame)?;
        let (name, mut records) = split_v2(&frame)?;
        let (_, record) = records.next()?.ok()?;
        Some(Self::new(frame.clone(), name.len(), &record))
    }

    /// A view of `record`, which lies in `frame`, a native frame whose name has `name_bytes` bytes.
    pub(in crate::client) fn new(frame: Bytes, name_bytes: usize, record: &Record<'_>) -> Self {
        let mut message = Self {
            frame,
            name_bytes,
            payload_at: 0,
            payload_bytes: 0,
            whole_bytes: 0,
            id: record.id,
            ordinal: 0,
            timestamp_ns: 0,
            checksum: record.checksum,
            ack: false,
            encoding: record.encoding,
        };
        message.move_to(record);
        message
    }

    /// Turns the view to another record of the same frame.
    pub(super) fn move_to(&mut self, record: &Record<'_>) {
        self.payload_bytes = record.parts().0.len();
        self.whole_bytes = record.payload.len();
        // An empty payload may lie anywhere.
        self.payload_at = if record.payload.is_empty() {
            0
        } else {
            record.payload.as_ptr().addr() - self.frame.as_ptr().addr()
        };
        self.id = record.id;
        self.ordinal = record.ordinal;
        self.timestamp_ns = record.timestamp_ns;
        self.checksum = record.checksum;
        self.ack = record.ack;
        self.encoding = record.encoding;
    }

    /// The name it was published under.
    pub fn name(&self) -> &str {
        // Checked when the frame was cut apart.
        std::str::from_utf8(&self.frame[1..=self.name_bytes]).unwrap_or_default()
    }

    /// The payload's bytes. For a message from an original (v1) client, the whole pickled dict.
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.payload_at..self.payload_at + self.payload_bytes]
    }

    /// The payload as a shared buffer, without a copy.
    pub fn payload_shared(&self) -> Bytes {
        self.frame.slice(self.payload_at..self.payload_at + self.payload_bytes)
    }

    /// The payload as text, when it was published as text (and is valid UTF-8).
    pub fn text(&self) -> Option<&str> {
        match self.encoding {
            Encoding::Text => std::str::from_utf8(self.payload()).ok(),
            _ => None,
        }
    }

    fn properties(&self) -> Properties<'_> {
        // The server lets none through that break a rule.
        let properties = self.parts().1.and_then(|it| Properties::read(it).ok());
        properties.unwrap_or_default()
    }

    /// The payload, and its properties if it has any.
    pub(in crate::client) fn parts(&self) -> (&[u8], Option<&[u8]>) {
        let (payload, behind) = self.whole().split_at(self.payload_bytes);
        let properties = behind.split_last_chunk::<{ properties::LENGTH_BYTES }>();
        (payload, properties.map(|(it, _)| it))
    }

    /// The payload and what stands behind it.
    pub(in crate::client) fn whole(&self) -> &[u8] {
        &self.frame[self.payload_at..self.payload_at + self.whole_bytes]
    }

    /// The first header with this key.
    pub fn header(&self, key: &str) -> Option<&str> {
        let headers = self.properties().headers;
        headers.into_iter().find_map(|(found, value)| (found == key).then_some(value))
    }

    /// All headers, in the order in which they were given.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties().headers.into_iter()
    }

    /// The media type of the payload, as its publisher gave it.
    pub fn content_type(&self) -> Option<&str> {
        self.properties().content_type
    }

    /// The name under which a reply is to be published.
    pub fn reply_to(&self) -> Option<&str> {
        self.properties().reply_to
    }

    /// What an answer has to repeat so that it finds its request.
    pub(in crate::client) fn correlation(&self) -> Option<u64> {
        self.properties().correlation
    }

    /// Whether the payload was published as bytes, text, an archive or a pickle.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether it asks for acknowledgement: the server delivers it again until it is acknowledged.
    pub fn requires_ack(&self) -> bool {
        self.ack
    }

    /// When it was published, in nanoseconds since the Unix epoch, by the publisher's clock.
    pub fn timestamp_ns(&self) -> u64 {
        self.timestamp_ns
    }

    /// When it was published, by the publisher's clock.
    pub fn timestamp(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.timestamp_ns)
    }

    /// The MD5 over name, payload with its properties, and timestamp.
    pub fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// Publisher and sequence: the same in each copy of a message that is delivered again.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// The publisher's count of its messages under this name, from 1; 0 if the publisher does not count.
    pub fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Whether the checksum matches the content. `None` for a message from an original (v1) client,
    /// whose checksum is over Python's text of the payload.
    pub fn verify(&self) -> Option<bool> {
        if self.id.is_v1() || self.encoding == Encoding::Pickle {
            return None;
        }
        Some(checksum::native(self.name(), self.whole(), self.timestamp_ns) == self.checksum)
    }

    /// The payload that an original (v1) client published, as a tree of plain data. Nothing in a pickle
    /// is ever executed: an instance of a class is described, not made.
    ///
    /// # Errors
    /// [`PayloadError::NotAPickle`] for a native message, [`PayloadError::Pickle`] for a pickle that
    /// Python would not load, or that is nested too deeply or unfolds to too much.
    pub fn value(&self) -> Result<Value, PayloadError> {
        if self.encoding != Encoding::Pickle {
            return Err(PayloadError::NotAPickle { encoding: self.encoding });
        }
        Ok(pickle::payload_value(self.payload())?)
    }

    /// The type of the archived value, if the publisher gave it.
    pub fn payload_type(&self) -> Option<PayloadType<'_>> {
        self.properties().payload_type
    }

    /// The payload as an archived `T`, validated and read in place, if it was published as a `T`: with the same type name and the
    /// same layout. [`ArchiveType`] says which mistakes that finds, and which it does not.
    ///
    /// ```
    /// # use mezzenger::{Client, PayloadError, Server};
    /// #[derive(rkyv::Archive, rkyv::Serialize)]
    /// struct Quote {
    ///     price: u32,
    /// }
    /// mezzenger::archive_type!(Quote { price: u32 });
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
    /// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
    /// let mut quotes = client.subscription("quotes")?;
    /// client.publish_archive("quotes", &Quote { price: 7 })?;
    /// let quote = quotes.recv()?;
    /// assert_eq!(quote.archive::<Quote>()?.price, 7);
    /// let other = quote.archive::<u32>().unwrap_err();
    /// assert!(matches!(other, PayloadError::OtherType { .. }));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PayloadError::NotAnArchive`] when it was not published as one; [`PayloadError::OtherType`] and
    /// [`PayloadError::OtherLayout`] when it was published as another type; [`PayloadError::Untyped`] when its publisher gave no
    /// type, because wrong values could be valid, too; [`PayloadError::Invalid`] when the bytes are not a valid archive of this type.
    pub fn archive<T>(&self) -> Result<&T::Archived, PayloadError>
    where
        T: ArchiveType,
        T::Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Error>>,
    {
        let wanted = type_of::<T>();
        match self.payload_type() {
            Some(found) if found == wanted => self.archive_untyped::<T>(),
            _ if self.encoding != Encoding::Archive => {
                Err(PayloadError::NotAnArchive { encoding: self.encoding })
            }
            None => Err(PayloadError::Untyped),
            Some(found) if found.name == wanted.name => {
                Err(PayloadError::OtherLayout { name: wanted.name })
            }
            Some(PayloadType { name, .. }) => {
                Err(PayloadError::OtherType { published: name.to_owned(), wanted: wanted.name })
            }
        }
    }

    /// The payload as an archived `T`, validated and read in place, whatever type it was published as. If it was published as
    /// another type, and its bytes are valid for both (any four bytes are a `u32` and an `f32`), the value is meaningless.
    ///
    /// # Errors
    /// [`PayloadError::NotAnArchive`] when it was not published as one, [`PayloadError::Invalid`] when
    /// the bytes are not a valid archive of this type.
    pub fn archive_untyped<T>(&self) -> Result<&T::Archived, PayloadError>
    where
        T: rkyv::Archive,
        T::Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Error>>,
    {
        if self.encoding != Encoding::Archive {
            return Err(PayloadError::NotAnArchive { encoding: self.encoding });
        }
        rkyv::access::<T::Archived, rancor::Error>(self.payload())
            .map_err(|error| PayloadError::Invalid { text: error.to_string() })
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("name", &self.name())
            .field("id", &self.id)
            .field("encoding", &self.encoding)
            .field("ack", &self.ack)
            .field("payload_bytes", &self.payload_bytes)
            .finish_non_exhaustive()
    }
}
/// A frame in the native format: one of an original client is carried over.
fn native(frame: &Bytes) -> Option<Bytes> {
    if frame.first() == Some(&V2) {
        return Some(frame.clone());
    }
    let at = frame.iter().position(|&byte| byte == name::SEPARATOR)?;
    let name = str::from_utf8(&frame[..at]).ok()?;
    let payload = &frame[at + 1..];
    let V1Fields { ack, timestamp_ns, checksum, .. } = pickle::scan(payload).ok()?;
    let record = Record::of_v1(name, payload, ack, timestamp_ns, checksum);
    let mut native = v2_prefix(name);
    record.append_to(&mut native).ok()?;
    Some(native.into())
}
