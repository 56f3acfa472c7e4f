//! Reports what a journal's file holds and what is damaged, and changes nothing.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::damage::{DamageReport, Torn};
use super::error::{OpenError, check_kind, io_error};
use super::record::{FileHeader, RECORDS_OFFSET};
use super::recovery::{Records, Scan, read_all};
use super::storage::{PathKind, RealStorage, Storage, StorageFile};

/// Times that a file which looks damaged is read before it is said to change.
const READS_MAX: usize = 4;

/// What [`inspect_journal`] found. Its `Display` is the report of `--check-journal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// The version of its format; `None` if there was never a record after the header.
    pub version: Option<u32>,
    /// Its length in bytes.
    pub bytes: u64,
    /// Good records.
    pub records: Records,
    /// Messages appended, each as often as it was not live then: those that are settled, and those that are
    /// live.
    pub appended: u64,
    /// Messages of these that were settled.
    pub settled: u64,
    /// Ids in settle records whose messages are not in the file: it was compacted, or they are damaged.
    pub settled_elsewhere: u64,
    /// Messages that opening the journal would recover.
    pub live: u64,
    /// Bytes their records occupy.
    pub live_bytes: u64,
    /// Dead letters that opening the journal would recover; their messages are live, too.
    pub letters: u64,
    /// Durable groups that opening the journal would recover.
    pub groups: u64,
    /// Retained messages that opening the journal would recover.
    pub retained: u64,
    /// The torn bytes that opening the journal would remove.
    pub torn: Torn,
    /// What is damaged.
    pub damage: DamageReport,
}

/// Reads a server's journal, as `mezzenger-server --check-journal` does. Neither changes nor locks it: a
/// server may use it meanwhile, or start with it. What that server is just writing may seem torn.
///
/// # Errors
/// Those of opening it, except that damage is part of the result; a missing file is [`OpenError::Missing`].
pub fn inspect_journal(path: &Path) -> Result<Inspection, OpenError> {
    inspect(path, &RealStorage)
}

/// Reads a journal, and neither changes nor locks it: a server may use it meanwhile, or start with it. What
/// that server is just writing may seem torn.
///
/// # Errors
/// Those of opening it, except that damage is part of the result; a missing file is [`OpenError::Missing`].
pub fn inspect(path: &Path, storage: &dyn Storage) -> Result<Inspection, OpenError> {
    // A server that starts may cut the end off while it is read here, and write there again: that looks
    // damaged, or too short, but not twice in the same way.
    let mut damage = None;
    for _ in 0..READS_MAX {
        match read(path, storage) {
            Ok(found) if found.damage.is_empty() || damage.as_ref() == Some(&found.damage) => {
                return Ok(found);
            }
            Ok(found) => damage = Some(found.damage),
            Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
    }
    Err(OpenError::Changing { path: path.to_owned() })
}

/// The path of a journal that is there, with symbolic links followed.
pub(super) fn resolved(path: &Path, storage: &dyn Storage) -> Result<PathBuf, OpenError> {
    let kind = storage.kind(path).map_err(io_error("look at", path))?;
    check_kind(kind, path)?;
    if kind == PathKind::Missing {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    storage.resolve(path).map_err(io_error("find", path))
}

/// A journal that is read beside whoever uses it.
pub(super) struct ConcurrentReader {
    pub(super) file: Box<dyn StorageFile>,
    pub(super) bytes: u64,
    /// `None` if nothing was ever written into it.
    pub(super) read: Option<(FileHeader, Scan)>,
}

/// Reads a journal that is there, and does not lock it.
pub(super) fn read_beside(
    path: &Path,
    storage: &dyn Storage,
) -> Result<ConcurrentReader, OpenError> {
    let resolved = resolved(path, storage)?;
    let file = storage.open_to_read(&resolved).map_err(io_error("open", path))?;
    let bytes = file.bytes().map_err(io_error("read", path))?;
    let read = read_all(path, &*file, bytes)?;
    Ok(ConcurrentReader { file, bytes, read })
}

fn read(path: &Path, storage: &dyn Storage) -> Result<Inspection, OpenError> {
    let ConcurrentReader { bytes, read, .. } = read_beside(path, storage)?;
    let path = path.to_owned();
    let Some((header, found)) = read else {
        return Ok(Inspection {
            path,
            version: None,
            bytes,
            records: Records::default(),
            appended: 0,
            settled: 0,
            settled_elsewhere: 0,
            live: 0,
            live_bytes: 0,
            letters: 0,
            groups: 0,
            retained: 0,
            torn: Torn { offset: 0, bytes, stretches: u64::from(bytes > 0) },
            damage: DamageReport::default(),
        });
    };
    Ok(Inspection {
        path,
        version: Some(header.version),
        bytes,
        records: found.records,
        appended: found.appended,
        settled: found.settled,
        settled_elsewhere: found.settled_elsewhere,
        live: found.live.len() as u64,
        live_bytes: found.live.bytes,
        letters: found.letters.len() as u64,
        groups: found.groups.len() as u64,
        retained: found.retained.len() as u64,
        torn: found.torn,
        damage: found.damage,
    })
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Records { append, settle, seen, mark, letter, letter_end, .. } = self.records;
        let Records { group, group_end, jobs, retained, cleared, key, .. } = self.records;
        writeln!(f, "journal: {}", self.path.display())?;
        match self.version {
            Some(version) => writeln!(f, "format: version {version}")?,
            None => writeln!(f, "format: none, as it holds no record yet")?,
        }
        writeln!(f, "size: {} bytes", self.bytes)?;
        let all = self.records.all();
        writeln!(
            f,
            "records: {all} ({append} append, {settle} settle, {seen} seen, {mark} mark, {letter} letter, \
             {letter_end} letter end, {group} group, {group_end} group end, {jobs} jobs, {retained} retained, \
             {cleared} cleared, {key} key)"
        )?;
        let Self { appended, settled, live, live_bytes, .. } = self;
        writeln!(f, "messages: {appended} appended, {settled} settled, {live} live")?;
        if self.settled_elsewhere > 0 {
            writeln!(
                f,
                "settlements of messages not in this file (compacted, torn or damaged): {}",
                self.settled_elsewhere
            )?;
        }
        writeln!(f, "live: {live_bytes} bytes")?;
        writeln!(f, "dead letters: {}", self.letters)?;
        writeln!(f, "durable groups: {}", self.groups)?;
        writeln!(f, "retained: {}", self.retained)?;
        let Torn { offset, bytes, stretches } = self.torn;
        match stretches {
            0 => writeln!(f, "torn end: none")?,
            1 if offset + bytes == self.bytes => writeln!(
                f,
                "torn end: {bytes} bytes from offset {offset}: a crash left them, or a server is writing \
                 them; the next start moves them to a file beside the journal"
            )?,
            _ => writeln!(
                f,
                "torn: {bytes} bytes in {stretches} places, the first at offset {offset}: a power cut left \
                 them before they were synced; the next start goes on without them, and keeps a copy"
            )?,
        }
        let damage = &self.damage;
        if damage.is_empty() {
            return write!(f, "damage: none");
        }
        let plural = if damage.records == 1 { "" } else { "s" };
        writeln!(f, "damage: {} record{plural} in {} bytes", damage.records, damage.bytes)?;
        for stretch in &damage.listed {
            write!(f, "  offset {}: {} bytes, ", stretch.offset, stretch.bytes)?;
            match stretch.records {
                _ if stretch.offset < RECORDS_OFFSET => writeln!(f, "a copy of the header")?,
                1 => writeln!(f, "1 record")?,
                records => writeln!(f, "{records} records")?,
            }
        }
        match damage.stretches - damage.listed.len() as u64 {
            0 => {}
            more => writeln!(f, "  and {more} more places")?,
        }
        write!(
            f,
            "`mezzenger journal repair FILE`, or a server that starts with --repair, takes out what is damaged, and keeps \
             a copy of the file. Until then no server starts on it."
        )
    }
}
