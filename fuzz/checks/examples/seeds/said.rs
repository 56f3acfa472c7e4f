//! Messages that say more than their payload, and requests about groups and last values.

use mezzenger::MessageId;
use mezzenger::wire::checksum::native;
use mezzenger::wire::control::Group;
use mezzenger::wire::filter::Filter;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::properties::Properties;
use mezzenger::wire::record::{Encoding, Record, RecordError};
use mezzenger::wire::{durable, retained};

/// A frame of `greet` with one message that says this beside its payload.
pub(super) fn with(
    sequence: u64,
    ack: bool,
    properties: &Properties<'_>,
) -> Result<Vec<u8>, RecordError> {
    let (name, timestamp_ns) = ("greet", 1_763_866_000_000_000_000);
    let mut payload = b"hello".to_vec();
    properties.append_to(&mut payload).map_err(|_| RecordError::NoRecords)?;
    let record = Record {
        id: MessageId { publisher: 7, sequence },
        ordinal: 0,
        timestamp_ns,
        checksum: native(name, &payload, timestamp_ns),
        ack,
        has_properties: true,
        encoding: Encoding::Text,
        payload: &payload,
    };
    let mut frame = v2_prefix(name);
    record.append_to(&mut frame).map(|()| frame)
}

/// What a message says of when it counts, that it is kept as the last one, and its publisher's key.
pub(super) fn said() -> [(&'static str, Properties<'static>); 4] {
    let none = Properties::default;
    [
        ("expires", Properties { expires_ms: Some(32_503_680_000_000), ..none() }),
        ("deliver_at", Properties { deliver_at_ms: Some(1_763_866_000_000), ..none() }),
        ("retained", Properties { retain: true, ..none() }),
        ("keyed", Properties { key: Some("key"), ..none() }),
    ]
}

/// Requests of clients that said hello, each of one kind.
pub(super) fn controls() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let group = Group { attempts_max: 2, ..Group::named("g") };
    let create =
        durable::request(&durable::Request::Create { filter: Filter::Prefix("gr"), group });
    let list = durable::request(&durable::Request::List { from: "", limit: 0 });
    let unsettled = durable::Unsettled::Discarded;
    let delete = durable::request(&durable::Request::Delete { name: "g", unsettled });
    let clear = retained::request(&retained::Request::Clear("greet"));
    let (filter, after, limit) = (Filter::Pattern("*"), "", 0);
    let values = retained::request(&retained::Request::List { filter, after, limit });
    vec![("groups", vec![create, list, delete]), ("values", vec![values, clear])]
}
