//! Tells what a journal's file holds and what is damaged, and changes nothing.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::open::{OpenError, io_error, read_all};
use super::record::RECORDS_OFFSET;
use super::recovery::{DamageReport, Records};
use super::storage::{PathKind, Storage};

/// Times that a file which looks damaged is read before it is said to change.
const READS_MAX: usize = 4;

/// What [`inspect`] found in a journal. Shown, it is the report of `--check-journal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// The version of its format; `None` if nothing was ever written behind the header.
    pub version: Option<u32>,
    /// Its length in bytes.
    pub bytes: u64,
    /// Good records.
    pub records: Records,
    /// Ids in the settle records.
    pub settled: u64,
    /// Messages that opening the journal would recover.
    pub live: u64,
    /// Bytes their records occupy.
    pub live_bytes: u64,
    /// Bytes that opening the journal would cut off its end.
    pub torn_bytes: u64,
    /// What is damaged.
    pub damage: DamageReport,
}

/// Reads a journal and changes nothing, nor locks it: a server may use it meanwhile, or start on it. What
/// that server is just writing may seem torn.
///
/// # Errors
/// As opening it, except that damage is part of the answer, and a missing file is [`OpenError::Missing`].
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

fn read(path: &Path, storage: &dyn Storage) -> Result<Inspection, OpenError> {
    let path = path.to_owned();
    match storage.kind(&path).map_err(io_error("look at", &path))? {
        PathKind::File => {}
        PathKind::Missing => return Err(OpenError::Missing { path }),
        PathKind::Directory => return Err(OpenError::IsADirectory { path }),
        PathKind::Other => return Err(OpenError::NotAJournal { path }),
    }
    let file = storage.open_to_read(&path).map_err(io_error("open", &path))?;
    let bytes = file.bytes().map_err(io_error("read", &path))?;
    let Some((header, found)) = read_all(&path, &*file, bytes)? else {
        return Ok(Inspection {
            path,
            version: None,
            bytes,
            records: Records::default(),
            settled: 0,
            live: 0,
            live_bytes: 0,
            torn_bytes: bytes,
            damage: DamageReport::default(),
        });
    };
    Ok(Inspection {
        path,
        version: Some(header.version),
        bytes,
        records: found.records,
        settled: found.settled,
        live: found.live.len() as u64,
        live_bytes: found.live.bytes,
        torn_bytes: bytes - found.end,
        damage: found.damage,
    })
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Records { append, settle, seen, mark } = self.records;
        writeln!(f, "journal: {}", self.path.display())?;
        match self.version {
            Some(version) => writeln!(f, "format: version {version}")?,
            None => writeln!(f, "format: none, as it holds no record yet")?,
        }
        writeln!(f, "size: {} bytes", self.bytes)?;
        let all = self.records.all();
        writeln!(f, "records: {all} ({append} append, {settle} settle, {seen} seen, {mark} mark)")?;
        let (settled, live, live_bytes) = (self.settled, self.live, self.live_bytes);
        writeln!(f, "messages: {append} appended, {settled} settled, {live} live")?;
        writeln!(f, "live: {live_bytes} bytes")?;
        match self.torn_bytes {
            0 => writeln!(f, "torn end: none")?,
            torn => writeln!(
                f,
                "torn end: {torn} bytes from offset {}: a crash left them, or a server is writing \
                 them; the next start cuts them off",
                self.bytes - torn
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
            "A server starts on this file only with --repair: it keeps a copy, and goes on without what is \
             damaged."
        )
    }
}
