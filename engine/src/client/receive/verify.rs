//! Checks the checksums of a received frame, all at once.

use crate::client::report::{Failure, Reporter};
use crate::wire::checksum::{self, Content};
use crate::wire::record::{Encoding, Record, Records};

/// Whether a record's checksum can be checked here. A v1 checksum is over Python's text of the payload.
pub(super) fn is_checkable(record: &Record<'_>) -> bool {
    !record.id.is_v1() && record.encoding != Encoding::Pickle
}

/// [`mismatches`], after each was reported.
pub(in crate::client) fn reported(
    name: &str,
    records: &Records<'_>,
    reporter: &Reporter,
) -> Vec<usize> {
    let wrong = mismatches(name, records);
    for &at in &wrong {
        if let Some(Ok((_, Record { id, .. }))) = records.clone().nth(at) {
            reporter.failure(&Failure::Checksum { name: name.to_owned(), id });
        }
    }
    wrong
}

/// The places of the records whose checksum does not match their content, ascending.
pub(super) fn mismatches(name: &str, records: &Records<'_>) -> Vec<usize> {
    let checkable = || {
        let records = records.clone().flatten().map(|(_, record)| record).enumerate();
        records.filter(|(_, record)| is_checkable(record))
    };
    let mut checksums = Vec::new();
    let contents = checkable().map(|(_, Record { payload, timestamp_ns, .. })| Content {
        name,
        payload,
        timestamp_ns,
    });
    checksum::native_each(contents, &mut checksums);
    let wrong = checkable().zip(checksums).filter(|((_, record), sum)| record.checksum != *sum);
    wrong.map(|((at, _), _)| at).collect()
}
