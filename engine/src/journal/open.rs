//! Opens a journal: locks it, recovers what it holds, and leaves a file that is clean and synced.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::encode::{Encoder, Synced};
use super::live::Messages;
use super::options::JournalOptions;
use super::record::{FileHeader, RECORDS_OFFSET, SeenRun};
use super::recovery::{DamageReport, Scan, Start, read_start, scan};
use super::rewrite::{Finished, Rewrite, beside, directory, install, new_path};
use super::storage::{LockGuard, PathKind, Storage, StorageFile, append_all};

/// Bytes copied at a time.
const COPY_BYTES: usize = 1024 * 1024;

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the journal {path} is in use by another server: stop that one, or use another file")]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// Its directory does not exist.
    #[error("the directory of the journal {path} does not exist: create it first")]
    DirectoryMissing {
        /// The journal.
        path: PathBuf,
    },
    /// There is no file to look at.
    #[error("there is no journal {path}")]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Its end changed again and again while it was only looked at.
    #[error("the journal {path} changes while it is read, as when a server starts: try again")]
    Changing {
        /// The journal.
        path: PathBuf,
    },
    /// The path is a directory.
    #[error("{path} is a directory: name a file in it for the journal")]
    IsADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The file is something else. It was left alone.
    #[error("{path} is not a journal: it was left alone, name another file")]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    #[error("the journal {path} has format {version}, which only a newer server reads")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format's version.
        version: u32,
    },
    /// Both copies of the header are damaged, and no record can be read without one.
    #[error(
        "the journal {path} is damaged at its start, in both copies of its header, and cannot be \
         read: move it away to start with an empty one"
    )]
    HeaderDamaged {
        /// The file.
        path: PathBuf,
    },
    /// Records that were synced are damaged. The file was left alone.
    #[error(
        "the journal {path} has {damage}; start with --repair to go on without them (the file is \
         copied first)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is damaged.
        damage: DamageReport,
    },
    /// The file system refused.
    #[error("cannot {action} {path}: {source}; check the directory's permissions and free space")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The journal's thread could not be started.
    #[error("cannot start the journal's thread: {0}")]
    Thread(io::Error),
}

/// Names the action in an error.
pub(super) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { action, path: path.to_owned(), source }
}

/// What a journal held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// Messages appended and not settled, in the order in which they were appended.
    pub messages: Messages,
    /// Every run of native sequence numbers ever appended, the publisher last heard of at the end.
    pub seen: Vec<SeenRun>,
    /// Bytes cut off the end, which nobody had been promised.
    pub torn_bytes: u64,
    /// What was damaged and is lost, if `repair` was set.
    pub damage: DamageReport,
    /// Where the damaged file was copied to.
    pub damaged_copy: Option<PathBuf>,
}

/// A journal's clean file, ready for [`Opened::start`](super::Opened::start).
pub(super) struct OpenFile {
    pub(super) path: PathBuf,
    pub(super) lock: LockGuard,
    pub(super) file: Box<dyn StorageFile>,
    pub(super) encoder: Encoder,
    pub(super) salt: u64,
    pub(super) live_records: u64,
    pub(super) live_bytes: u64,
    /// Whether a mark would tell more about what is synced than the last record does.
    pub(super) wants_mark: bool,
}

/// Opens the file of a journal and reads it.
pub(super) fn open_file(
    options: &JournalOptions,
    storage: &Arc<dyn Storage>,
) -> Result<(Recovered, OpenFile), OpenError> {
    let storage = &**storage;
    let path = storage.resolve(&options.path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::DirectoryMissing { path: options.path.clone() },
        _ => io_error("find", &options.path)(error),
    })?;
    let path = &path;
    let kind = storage.kind(path).map_err(io_error("look at", path))?;
    match kind {
        PathKind::Missing | PathKind::File => {}
        PathKind::Directory => return Err(OpenError::IsADirectory { path: path.clone() }),
        PathKind::Other => return Err(OpenError::NotAJournal { path: path.clone() }),
    }
    let lock_path = beside(path, ".lock");
    let lock = storage
        .lock(&lock_path)
        .map_err(io_error("create and lock", &lock_path))?
        .ok_or_else(|| OpenError::Locked { path: path.clone() })?;
    let stale = new_path(path);
    if storage.kind(&stale).map_err(io_error("look at", &stale))? != PathKind::Missing {
        storage.remove(&stale).map_err(io_error("remove", &stale))?;
    }
    // Again, now that nobody else changes it.
    let kind = storage.kind(path).map_err(io_error("look at", path))?;
    if kind == PathKind::Missing {
        return create(storage, path, lock, 0);
    }
    let mut file = storage.open_to_append(path).map_err(io_error("open", path))?;
    let bytes = file.bytes().map_err(io_error("read", path))?;
    let Some((FileHeader { salt, .. }, mut found)) = read_all(path, &*file, bytes)? else {
        return create(storage, path, lock, bytes);
    };
    let torn_bytes = bytes - found.end;
    let damage = std::mem::take(&mut found.damage);
    if !damage.is_empty() {
        if !options.repair {
            return Err(OpenError::Damaged { path: path.clone(), damage });
        }
        let copy = keep_copy(storage, path, &*file, bytes)?;
        let damaged_copy = Some(copy);
        return repaired(storage, path, lock, salt, found, |messages, seen| Recovered {
            messages,
            seen,
            torn_bytes,
            damage,
            damaged_copy,
        });
    }
    if torn_bytes > 0 {
        file.truncate(found.end).map_err(io_error("cut the torn end off", path))?;
    }
    // What a killed server left in the system's cache is durable only from here on; the same goes for
    // the name that a rename gave the file.
    write_again(storage, path, &*file, found.synced.max(RECORDS_OFFSET), found.end)
        .map_err(io_error("write again the end of", path))?;
    file.sync().map_err(io_error("sync", path))?;
    let parent = directory(path);
    storage.sync_directory(parent).map_err(io_error("sync the directory", parent))?;
    let open = OpenFile {
        path: path.clone(),
        lock,
        file,
        encoder: Encoder::new(salt, found.end, found.ordinal, Synced::To(found.end)),
        salt,
        live_records: found.live.len() as u64,
        live_bytes: found.live.bytes,
        wants_mark: found.synced < found.content_end,
    };
    let read = storage.open_to_read(path).map_err(io_error("open", path))?;
    let recovered = Recovered {
        messages: Messages::new(path, read, salt, found.end, found.live.into_offsets()),
        seen: found.seen.into_runs(),
        torn_bytes,
        damage,
        damaged_copy: None,
    };
    Ok((recovered, open))
}

/// Reads a file: its header and all its records; `None` if nothing was ever written behind its header.
pub(super) fn read_all(
    path: &Path,
    file: &dyn StorageFile,
    bytes: u64,
) -> Result<Option<(FileHeader, Scan)>, OpenError> {
    let start = read_start(file, bytes).map_err(io_error("read", path))?;
    let path = path.to_owned();
    let (header, damaged) = match start {
        Start::Journal { header, damaged } => (header, damaged),
        Start::Fresh => return Ok(None),
        Start::Newer(version) => return Err(OpenError::Newer { path, version }),
        Start::Unreadable => return Err(OpenError::HeaderDamaged { path }),
        Start::NotAJournal => return Err(OpenError::NotAJournal { path }),
    };
    let found = scan(file, bytes, header.salt, damaged).map_err(io_error("read", &path))?;
    Ok(Some((header, found)))
}

fn create(
    storage: &dyn Storage,
    path: &Path,
    lock: LockGuard,
    torn_bytes: u64,
) -> Result<(Recovered, OpenFile), OpenError> {
    let new = Rewrite::create(storage, path).map_err(io_error("create", path))?;
    let open = put_in_place(storage, path, lock, new)?;
    let recovered = Recovered {
        messages: Messages::none(path),
        seen: Vec::new(),
        torn_bytes,
        damage: DamageReport::default(),
        damaged_copy: None,
    };
    Ok((recovered, open))
}

fn repaired(
    storage: &dyn Storage,
    path: &Path,
    lock: LockGuard,
    salt: u64,
    found: Scan,
    recovered: impl FnOnce(Messages, Vec<SeenRun>) -> Recovered,
) -> Result<(Recovered, OpenFile), OpenError> {
    let seen = found.seen.into_runs();
    let offsets = found.live.into_offsets();
    // The damaged file, which stays readable when another takes its name.
    let messages = |offsets| {
        let file = storage.open_to_read(path).map_err(io_error("open", path))?;
        Ok::<_, OpenError>(Messages::new(path, file, salt, found.end, offsets))
    };
    let recovered_messages = messages(offsets.clone())?;
    let failed = || io_error("write the repaired journal", path);
    let mut new = Rewrite::create(storage, path).map_err(failed())?;
    new.seen(&seen).map_err(failed())?;
    for message in messages(offsets)? {
        new.append(message?).map_err(failed())?;
    }
    let open = put_in_place(storage, path, lock, new)?;
    Ok((recovered(recovered_messages, seen), open))
}

fn put_in_place(
    storage: &dyn Storage,
    path: &Path,
    lock: LockGuard,
    new: Rewrite,
) -> Result<OpenFile, OpenError> {
    let (live_records, live_bytes) = (new.messages, new.message_bytes);
    let Finished { file, encoder, salt } = new.finish().map_err(io_error("write", path))?;
    install(storage, path).map_err(io_error("put in place", path))?;
    Ok(OpenFile {
        path: path.to_owned(),
        lock,
        file,
        encoder,
        salt,
        live_records,
        live_bytes,
        wants_mark: false,
    })
}

/// Copies a damaged file to the first free name beside it, for good.
fn keep_copy(
    storage: &dyn Storage,
    path: &Path,
    file: &dyn StorageFile,
    bytes: u64,
) -> Result<PathBuf, OpenError> {
    let mut n = 1_u64;
    let copy = loop {
        let copy = beside(path, &format!(".damaged-{n}"));
        if storage.kind(&copy).map_err(io_error("look at", &copy))? == PathKind::Missing {
            break copy;
        }
        n += 1;
    };
    let write = || {
        let mut out = storage.create(&copy, Some(path))?;
        read_through(file, 0, bytes, |_, bytes| append_all(&mut *out, &mut [IoSlice::new(bytes)]))?;
        out.sync()?;
        storage.sync_directory(directory(&copy))
    };
    write().map_err(|error| {
        // Half a copy is worth nothing, and takes the room that may be missing.
        let _ = storage.remove(&copy);
        io_error("copy the damaged journal to", &copy)(error)
    })?;
    Ok(copy)
}

/// Writes again, with the same bytes, what no record proves to be on the disk.
///
/// If a sync of it has failed, by whatever server, the system may hold it in its cache and take it for
/// written: another sync would succeed and write nothing.
fn write_again(
    storage: &dyn Storage,
    path: &Path,
    file: &dyn StorageFile,
    from: u64,
    to: u64,
) -> io::Result<()> {
    read_through(file, from, to, |offset, bytes| storage.overwrite(path, offset, bytes))
}

/// Hands on the bytes of a file, some at a time, each time with their offset.
fn read_through(
    file: &dyn StorageFile,
    from: u64,
    to: u64,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES.min((to - from) as usize)];
    let mut at = from;
    while at < to {
        let wanted = buffer.len().min((to - at) as usize);
        match file.read_at(&mut buffer[..wanted], at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                take(at, &buffer[..read])?;
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
