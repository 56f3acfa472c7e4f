//! Tools for a journal's file, beside the server that uses it and without one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::damage::{DamageReport, Torn};
use super::error::{OpenError, io_error};
use super::inspect::{ConcurrentReader, Inspection, inspect, read_beside, resolved};
use super::live::Messages;
use super::open::{Recovered, copy_part, open_file};
use super::options::JournalOptions;
use super::rewrite::remove_if_there;
use super::storage::{PathKind, RealStorage, Storage};
use crate::message::{DeadLetter, Message};

/// Copies a journal to a new file, up to its last whole record, and syncs it. A server may use the journal
/// meanwhile: the copy is what a crash of that server during the copying would have left. Use it to make a
/// backup, and, with the backup as the source, to restore one. Messages that were settled after the backup are then delivered again.
///
/// # Errors
/// [`OpenError::Damaged`] when records are damaged, [`OpenError::Exists`] when the new file exists already, and as for
/// [`inspect_journal`](super::inspect_journal). Then no copy is made.
pub fn copy_journal(from: &Path, to: &Path) -> Result<Inspection, OpenError> {
    copy(from, to, &RealStorage)
}

/// [`copy_journal`] on any disk.
pub(super) fn copy(from: &Path, to: &Path, storage: &dyn Storage) -> Result<Inspection, OpenError> {
    let to = storage.resolve(to).map_err(io_error("find", to))?;
    if storage.kind(&to).map_err(io_error("look at", &to))? != PathKind::Missing {
        return Err(OpenError::Exists { path: to });
    }
    let ConcurrentReader { file, read, .. } = read_beside(from, storage)?;
    let end = match read {
        Some((_, found)) if !found.damage.is_empty() => {
            return Err(OpenError::Damaged { path: from.to_owned(), damage: found.damage });
        }
        Some((_, found)) => found.end,
        // Nothing was ever written into it.
        None => 0,
    };
    let out = storage.create(&to).map_err(io_error("create", &to))?;
    let written = copy_part(storage, &*file, 0..end, &to, out).map_err(io_error("write", &to));
    // A server that started meanwhile may have cut off what it takes for torn, and written there again.
    let copied = written.and_then(|()| inspect(&to, storage)).and_then(|copied| {
        let is_sound = copied.damage.is_empty();
        if is_sound { Ok(copied) } else { Err(OpenError::Changing { path: from.to_owned() }) }
    });
    if copied.is_err() {
        let _ = remove_if_there(storage, &to);
    }
    copied
}

/// What [`repair_journal`] and [`compact_journal`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewritten {
    /// Messages that the journal holds now.
    pub messages: u64,
    /// Bytes of the file before.
    pub bytes_before: u64,
    /// Its bytes now.
    pub bytes: u64,
    /// The torn bytes that were removed.
    pub torn: Torn,
    /// The damaged bytes that were removed.
    pub damage: DamageReport,
    /// The copy of the file as it was, or of its torn end.
    pub copy: Option<PathBuf>,
}

/// Removes what is damaged or torn from a journal, after copying it beside the file, as a server that starts with `--repair`
/// does. No server may use the journal meanwhile.
///
/// # Errors
/// Why it cannot be opened; [`OpenError::Locked`] when a server uses it.
pub fn repair_journal(path: &Path) -> Result<Rewritten, OpenError> {
    open(path, |options| options.repair = true)
}

/// Rewrites a journal without what is settled, as a server does by itself when most of the file is settled. No server may
/// use the journal meanwhile.
///
/// # Errors
/// As for [`repair_journal`]; [`OpenError::Damaged`] when records are damaged.
pub fn compact_journal(path: &Path) -> Result<Rewritten, OpenError> {
    open(path, |options| options.rewrite = true)
}

fn open(path: &Path, set: impl FnOnce(&mut JournalOptions)) -> Result<Rewritten, OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(RealStorage);
    let resolved = resolved(path, &*storage)?;
    let size = || {
        let file = storage.open_to_read(&resolved)?;
        file.bytes()
    };
    let bytes_before = size().map_err(io_error("read", path))?;
    let mut options = JournalOptions::new(path);
    set(&mut options);
    let (recovered, _) = open_file(&options, &storage)?;
    let Recovered { messages, torn, torn_copy, damage, damaged_copy, .. } = recovered;
    let bytes = size().map_err(io_error("read", path))?;
    let (messages, copy) = (messages.len() as u64, damaged_copy.or(torn_copy));
    Ok(Rewritten { messages, bytes_before, bytes, torn, damage, copy })
}

/// What a journal holds.
pub struct Contents {
    /// Messages that are not settled, in the order in which they were appended, each read when it is taken.
    pub messages: Messages,
    /// Dead letters.
    pub letters: Vec<DeadLetter>,
    /// The last messages of names.
    pub retained: Vec<Message>,
}

/// Reads what a journal holds, and changes nothing, nor locks it. What is damaged is left out.
///
/// # Errors
/// As for [`inspect_journal`](super::inspect_journal).
pub fn contents(path: &Path) -> Result<Contents, OpenError> {
    let ConcurrentReader { file, read, .. } = read_beside(path, &RealStorage)?;
    let Some((header, found)) = read else {
        let (messages, letters, retained) = (Messages::none(path), Vec::new(), Vec::new());
        return Ok(Contents { messages, letters, retained });
    };
    // The same file, also when a server puts another one in its place.
    let messages = Messages::new(path, file, header.salt, found.end, found.live.into_offsets());
    let (letters, retained) = (found.letters.into_letters(), found.retained.into_messages());
    Ok(Contents { messages, letters, retained })
}
