//! The check of the journal's recovery.

mod model;
mod sealed;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mezzenger::MessageId;
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::{
    Inspection, JobState, JournalOptions, OpenError, Recovered, RecoveredGroups, SeenRun, inspect,
    open,
};
use mezzenger::limits::SEQUENCE_RUNS_MAX;
use mezzenger::message::Message;

use model::{Model, Recovery};

const PATH: &str = "/journal";
const DAMAGED_COPY: &str = "/journal.damaged-1";
const TORN_COPY: &str = "/journal.torn-1";

/// Recovers a journal from any bytes: what comes back is what `docs/journal-format.md` says, what is
/// damaged is reported and left alone, and a file that was cut or repaired holds the same afterwards.
///
/// The first byte chooses: from 128 on, the file is what follows. Otherwise what follows is its records,
/// whose checksums are put right first (see `sealed.rs`); bits 0 and 1 spoil a copy of the header, bit 2
/// makes the format newer, a file of which the bits above are 1 may be large, and one where they are 2 is of version 1.
///
/// # Panics
/// When recovery and the document differ.
pub fn journal(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let file = if choice >= 128 { rest.to_vec() } else { sealed::file(choice, rest) };
    let disk = || {
        let storage = MemoryStorage::new();
        storage.put(Path::new(PATH), file.clone());
        storage
    };
    let storage = disk();
    match (recover(&storage, false), Model::read(&file)) {
        (Ok((messages, recovered)), Model::Fresh) => {
            assert!(messages.is_empty() && recovered.seen.is_empty());
            assert_eq!(recovered.torn.bytes, file.len() as u64);
            assert_kept(&storage, &recovered, &file, 0);
            assert_reopens(&storage, &[], &Recovery::default());
        }
        (Ok((messages, recovered)), Model::Journal(model)) => {
            assert!(model.damage.is_empty());
            assert_recovered(&messages, &recovered, &model, &file);
            assert_inspected(&disk(), &model, &file);
            assert_kept(&storage, &recovered, &file, model.torn.first().map_or(0, |torn| torn.0));
            if model.has_only_a_torn_tail(file.len()) && model.version == 2 {
                // It goes on in the same file, with a mark if the policy is another.
                let now = storage.read(Path::new(PATH)).expect("it is there");
                let mark_bytes = if model.under_never { 32 } else { 0 };
                assert_eq!(now[..model.end], file[..model.end]);
                assert_eq!(now.len(), model.end + mark_bytes);
            }
            assert_reopens(&storage, &messages, &model);
        }
        (Err(OpenError::Damaged { damage, .. }), Model::Journal(model)) => {
            assert_eq!(damage.listed, model.damage);
            assert_eq!(storage.read(Path::new(PATH)).as_deref(), Some(&*file), "left alone");
            assert_inspected(&storage, &model, &file);
            let (messages, recovered) = recover(&storage, true).expect("damage is repaired");
            assert_eq!(recovered.damage, damage);
            assert_recovered(&messages, &recovered, &model, &file);
            assert_eq!(recovered.damaged_copy.as_deref(), Some(Path::new(DAMAGED_COPY)));
            assert_eq!(storage.read(Path::new(DAMAGED_COPY)).as_deref(), Some(&*file), "kept");
            assert_reopens(&storage, &messages, &model);
        }
        (Err(OpenError::Newer { version, .. }), Model::Newer(expected)) => {
            assert_eq!(version, expected);
        }
        (Err(OpenError::HeaderDamaged { .. }), Model::HeaderDamaged)
        | (Err(OpenError::NotAJournal { .. }), Model::NotAJournal) => {
            assert_eq!(storage.read(Path::new(PATH)).as_deref(), Some(&*file), "left alone");
        }
        (found, model) => panic!("{:?}, and the document says {model:?}", found.map(|_| ())),
    }
}

/// Opens the journal, reads its messages, and closes it.
fn recover(storage: &MemoryStorage, repair: bool) -> Result<(Vec<Message>, Recovered), OpenError> {
    let options = JournalOptions { repair, ..JournalOptions::new(PATH) };
    let (mut recovered, _) = open(options, Arc::new(storage.clone()))?;
    let messages = recovered.messages.by_ref().collect::<Result<_, _>>()?;
    Ok((messages, recovered))
}

fn assert_recovered(messages: &[Message], recovered: &Recovered, model: &Recovery, file: &[u8]) {
    assert_eq!(messages, model.live);
    assert_eq!(recovered.letters, model.letters);
    assert_groups(recovered, model);
    assert_values(recovered, model);
    assert_eq!(recovered.torn, model.torn(), "of {} bytes", file.len());
    assert_eq!(recovered.damage.listed, model.damage);
    assert_seen(&recovered.seen, &model.seen);
}

/// What is retained, and which keys count.
fn assert_values(recovered: &Recovered, model: &Recovery) {
    assert_eq!(recovered.retained, model.retained());
    assert_eq!(recovered.keys, model.keys());
}

fn assert_groups(recovered: &Recovered, model: &Recovery) {
    let RecoveredGroups { all, last_number, marks } = &recovered.groups;
    let groups: Vec<_> = all.iter().map(|it| (it.group.number, it.before)).collect();
    assert_eq!((groups, *last_number), (model.groups(), model.last_group));
    let each = |(id, marks): (&MessageId, &Vec<(u64, JobState)>)| {
        marks.iter().map(|(number, state)| ((*id, *number), *state as u8)).collect::<Vec<_>>()
    };
    let marks: BTreeMap<_, _> = marks.iter().flat_map(each).collect();
    assert_eq!(marks, model.marks());
}

/// What is torn is kept, from its first byte on.
fn assert_kept(storage: &MemoryStorage, recovered: &Recovered, file: &[u8], from: usize) {
    let kept = storage.read(Path::new(TORN_COPY));
    if recovered.torn.is_empty() {
        assert!(kept.is_none() && recovered.torn_copy.is_none());
    } else {
        assert_eq!(recovered.torn_copy.as_deref(), Some(Path::new(TORN_COPY)));
        assert_eq!(kept.as_deref(), Some(&file[from..]), "kept");
    }
}

/// A journal that was recovered once is clean.
fn assert_reopens(storage: &MemoryStorage, expected: &[Message], model: &Recovery) {
    let (messages, recovered) = recover(storage, false).expect("it was just put in order");
    assert_eq!(messages, expected);
    assert_eq!(recovered.letters, model.letters);
    assert_values(&recovered, model);
    assert_eq!((recovered.torn.bytes, recovered.damage.stretches), (0, 0));
}

fn assert_inspected(storage: &MemoryStorage, model: &Recovery, file: &[u8]) {
    let found = inspect(Path::new(PATH), storage).expect("it was opened");
    let Inspection {
        bytes,
        records,
        appended,
        settled,
        settled_elsewhere,
        live,
        letters,
        retained,
        torn,
        damage,
        ..
    } = found;
    assert_eq!(letters, model.letters.len() as u64);
    assert_eq!(retained, model.retained().len() as u64);
    assert_eq!((bytes, torn), (file.len() as u64, model.torn()));
    assert_eq!(
        (records.append, appended, settled, settled_elsewhere, live),
        (
            model.append_records,
            model.appended,
            model.settled,
            model.settled_elsewhere,
            model.live.len() as u64
        )
    );
    assert_eq!(appended, settled + live, "the numbers add up");
    assert_eq!(damage.listed, model.damage);
}

/// The runs of each publisher, unless there are so many that some are forgotten.
fn assert_seen(found: &[SeenRun], expected: &[SeenRun]) {
    let mut publishers: BTreeMap<u64, (Vec<_>, Vec<_>)> = BTreeMap::new();
    for run in found {
        publishers.entry(run.publisher).or_default().0.push((run.first, run.last));
    }
    for run in expected {
        publishers.entry(run.publisher).or_default().1.push((run.first, run.last));
    }
    for (publisher, (found, mut expected)) in publishers {
        let all_remembered = expected.len() <= SEQUENCE_RUNS_MAX;
        expected.sort_unstable();
        expected.dedup_by(|(first, last), run| {
            let joins = *first <= run.1.saturating_add(1);
            if joins {
                run.1 = run.1.max(*last);
            }
            joins
        });
        if all_remembered {
            assert_eq!(found, expected, "publisher {publisher}");
        }
    }
}
