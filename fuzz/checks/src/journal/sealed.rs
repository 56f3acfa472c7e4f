//! Puts the checksums of made-up records right, so that what they protect is reached.
//!
//! A fuzzer does not guess a checksum. So the input has records as they lie in a file but for their
//! checksums, which are worked out here. The reserved byte of each header may say otherwise: bit 0 leaves
//! the header's checksum wrong, and bit 1 the body's. With bit 2 the body grows by a MiB, which takes the
//! file beyond what the reader holds at a time; but only in a file that may be large, as that is slow.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::model::{HEADER_BYTES, MAGIC, RECORDS, SECOND_HEADER};

const SALT: u64 = 0x5a17;
const FILLER_BYTES: usize = 1024 * 1024;
/// A file that may be large grows no more beyond this.
const FILE_BYTES_MAX: usize = 2 * FILLER_BYTES;

const RESERVED: usize = 7;
const LEAVE_HEADER: u8 = 1;
const LEAVE_BODY: u8 = 2;
const GROW: u8 = 4;

/// A file of these records.
pub(super) fn file(choice: u8, mut records: &[u8]) -> Vec<u8> {
    let mut file = vec![0; RECORDS];
    let version = match (choice & 4, choice >> 3) {
        (0, 2) => 1,
        (0, _) => 2,
        _ => 3,
    };
    let bytes_max = if choice >> 3 == 1 { FILE_BYTES_MAX } else { 0 };
    for (at, spoilt) in [(0, choice & 1 != 0), (SECOND_HEADER, choice & 2 != 0)] {
        let header = file_header(version);
        file[at..at + HEADER_BYTES].copy_from_slice(&header);
        file[at + 20] ^= u8::from(spoilt);
    }
    while let Some((header, rest)) = records.split_first_chunk::<HEADER_BYTES>() {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let (body, rest) = rest.split_at(rest.len().min(length as usize));
        records = rest;
        append(&mut file, *header, length, body, bytes_max);
    }
    file.extend_from_slice(records);
    file
}

fn append(
    file: &mut Vec<u8>,
    mut header: [u8; HEADER_BYTES],
    length: u32,
    body: &[u8],
    bytes_max: usize,
) {
    let at = file.len();
    let options = std::mem::take(&mut header[RESERVED]);
    file.extend_from_slice(&header);
    file.extend_from_slice(body);
    let is_whole = body.len() == length as usize;
    if is_whole && options & GROW != 0 && file.len() < bytes_max {
        file.resize(file.len() + FILLER_BYTES, 0xa5);
    }
    let (header, body) = file[at..].split_at_mut(HEADER_BYTES);
    if is_whole {
        header[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    }
    if options & LEAVE_BODY == 0 {
        header[16..24].copy_from_slice(&xxh3_64(body).to_le_bytes());
    }
    if options & LEAVE_HEADER == 0 {
        let sum = xxh3_64_with_seed(&header[..24], SALT.wrapping_add(at as u64));
        header[24..].copy_from_slice(&sum.to_le_bytes());
    }
}

fn file_header(version: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[16..24].copy_from_slice(&SALT.to_le_bytes());
    let sum = xxh3_64(&header[..24]);
    header[24..].copy_from_slice(&sum.to_le_bytes());
    header
}
