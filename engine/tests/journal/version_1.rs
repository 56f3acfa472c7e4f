//! Journals of the format's version 1 are read, and go on as version 2.

use std::path::Path;

use mezzenger::journal::storage::power_cut::{PowerCut, Tear};
use mezzenger::journal::{Op, OpenError, inspect};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::choices;
use crate::harness::*;
use crate::letters::letter;

/// Adds a record of format version 1 to a file, byte by byte.
fn add_v1_record(file: &mut Vec<u8>, kind: u8, format: u8, name: &str, ordinal: u32, body: &[u8]) {
    let (salt, offset) = (0x0123_4567_89ab_cdef_u64, file.len() as u64);
    let mut header = Vec::from((body.len() as u32).to_le_bytes());
    header.extend([kind, format, name.len() as u8, 0]);
    header.extend(0_u32.to_le_bytes());
    header.extend(ordinal.to_le_bytes());
    header.extend(xxh3_64(body).to_le_bytes());
    let seed = salt.wrapping_add(offset);
    header.extend(xxh3_64_with_seed(&header, seed).to_le_bytes());
    file.extend(header);
    file.extend(body);
}

/// A file as version 1 wrote it: three messages, of which the second is settled, what was seen, and a mark.
fn version_1() -> Vec<u8> {
    let mut header = Vec::from(*b"\x8dMEZJRNL\x01\0\0\0\0\0\0\0\xef\xcd\xab\x89\x67\x45\x23\x01");
    header.extend(xxh3_64(&header).to_le_bytes());
    let mut file = header.clone();
    file.resize(4096, 0);
    file.extend(header);
    for n in 0..3 {
        let message = message(n);
        let body = [&message.id.to_bytes()[..], message.name.as_bytes(), &message.body].concat();
        add_v1_record(&mut file, 1, message.format as u8, &message.name, n as u32, &body);
    }
    add_v1_record(&mut file, 2, 0, "", 3, &id(1).to_bytes());
    let run = [9, 1, 5_u64].map(u64::to_le_bytes).concat();
    add_v1_record(&mut file, 3, 0, "", 4, &run);
    add_v1_record(&mut file, 4, 0, "", 5, &[]);
    file
}

#[test]
fn a_journal_of_version_1_is_read_and_goes_on_as_version_2() {
    for torn in [&b""[..], b"torn"] {
        let bytes = [&version_1()[..], torn].concat();
        let storage = disk(&bytes);
        let found = inspect(Path::new(PATH), &storage).unwrap();
        assert_eq!((found.version, found.live, found.settled), (Some(1), 2, 1));
        let (kept, recovered) = recover(&storage, options()).unwrap();
        assert_eq!(kept, messages([0, 2]));
        assert!(recovered.seen.iter().any(|run| (run.publisher, run.last) == (9, 5)));
        assert_eq!((recovered.torn.bytes, recovered.letters.len()), (torn.len() as u64, 0));
        assert_eq!(recovered.torn_copy.is_some(), !torn.is_empty());
        let found = inspect(Path::new(PATH), &storage).unwrap();
        assert_eq!((found.version, found.live, found.torn.bytes), (Some(2), 2, 0));
        // It takes letters from now on, and knows the same again.
        let run = Run::start(&storage, options()).unwrap();
        assert!(run.settled(run.journal.submit(vec![Op::Letter(letter(0, "a", true))]).ok()));
        run.journal.close().unwrap();
        let (kept, recovered) = recover(&storage, options()).unwrap();
        assert_eq!((kept, recovered.letters), (messages([0, 2]), vec![letter(0, "a", true)]));
    }
    // Damage is damage.
    let mut bytes = version_1();
    bytes[4200] ^= 1;
    assert!(matches!(recover(&disk(&bytes), options()), Err(OpenError::Damaged { .. })));
    assert_eq!(bytes.len(), version_1().len());
}

#[test]
fn a_version_1_journal_survives_a_loss_of_power_while_it_is_rewritten() {
    let before = disk(&version_1());
    recover(&before, options()).unwrap();
    let trace = before.trace();
    for n in 0..=trace.events.len() {
        let cut = PowerCut::behind(&trace, n);
        for tear in [Tear::Sectors, Tear::Bytes] {
            let checked = choices::each(n as u64, |choose| {
                let (kept, _) = recover(&cut.disk(tear, choose), options()).unwrap();
                if kept == messages([0, 2]) { Ok(()) } else { Err(n) }
            });
            assert!(checked.is_ok(), "{checked:?}");
        }
    }
}
