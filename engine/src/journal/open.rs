//! Opens a journal: locks it, recovers what it holds, and leaves a file that is clean and synced.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::damage::{DamageReport, Torn};
use super::encode::{Encoder, Synced};
use super::error::{OpenError, check_kind, io_error};
use super::groups::{self, RecoveredGroups};
use super::live::Messages;
use super::options::{FsyncPolicy, JournalOptions};
use super::record::{FileHeader, RECORDS_OFFSET, SeenRun, VERSION};
use super::recovery::{Scan, read_all};
use super::rewrite::{Finished, Rewrite, beside, directory, install, new_path, remove_if_there};
use super::storage::{PathKind, Storage, StorageFile, append_all};
use crate::message::{DeadLetter, Message, MessageKey};

/// Bytes copied at a time.
const COPY_BYTES: usize = 1024 * 1024;
/// Times that a journal is opened while other servers replace it, before that is an error.
const OPENS_MAX: usize = 100;

/// What a journal held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// Messages appended and not settled, in the order in which they were appended.
    pub messages: Messages,
    /// Their dead letters, in the order in which they came.
    pub letters: Vec<DeadLetter>,
    /// Durable groups.
    pub groups: RecoveredGroups,
    /// The last messages of names, in the order of these.
    pub retained: Vec<Message>,
    /// Keys that may count still.
    pub keys: Vec<MessageKey>,
    /// Every run of native sequence numbers ever appended, the publisher last heard of at the end.
    pub seen: Vec<SeenRun>,
    /// What a crash tore and was taken out, which nobody had been promised.
    pub torn: Torn,
    /// Where the file was copied to from its first torn byte on.
    pub torn_copy: Option<PathBuf>,
    /// What was damaged and is lost, if `repair` was set.
    pub damage: DamageReport,
    /// Where the damaged file was copied to.
    pub damaged_copy: Option<PathBuf>,
    /// Whether there was no file.
    pub is_new: bool,
}

/// A journal's clean file, ready for [`Opened::start`](super::Opened::start).
pub(super) struct OpenFile {
    pub(super) path: PathBuf,
    /// Locked.
    pub(super) file: Box<dyn StorageFile>,
    pub(super) encoder: Encoder,
    pub(super) salt: u64,
    /// The durable groups that are there.
    pub(super) groups: groups::Kept,
    /// Records of live messages, of dead letters, of durable groups and of retained messages.
    pub(super) live_records: u64,
    /// Their bytes.
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
    let (mut file, is_new) = lock(storage, &path)?;
    // Left over from a crash. Nobody else builds one, as the journal is locked.
    let stale = new_path(&path);
    remove_if_there(storage, &stale).map_err(io_error("remove", &stale))?;
    let bytes = file.bytes().map_err(io_error("read", &path))?;
    let read = read_all(&path, &*file, bytes)?;
    if let Some((_, found)) = &read
        && !found.damage.is_empty()
        && !options.repair
    {
        return Err(OpenError::Damaged { path, damage: found.damage.clone() });
    }
    restrict(&path, &*file);
    let opening = Opening { storage, path: &path, policy: options.fsync, is_new };
    match read {
        None => opening.create(&*file, bytes),
        // What an earlier version would not read stands in a file that says so.
        Some((header, found))
            if found.has_holes(bytes) || header.version < VERSION || options.rewrite =>
        {
            opening.rebuild(&*file, bytes, header, found)
        }
        Some((header, found)) => {
            let kept = opening.keep_torn(&*file, found.torn, bytes)?;
            if !found.torn.is_empty() {
                let cut = file.truncate(found.end);
                cut.map_err(io_error("cut the torn end off", &path))?;
            }
            opening.go_on(file, header, found, kept)
        }
    }
}

/// Opens the journal's file, which is created if it is missing, and locks it. Also returns whether it was
/// missing.
fn lock(storage: &dyn Storage, path: &Path) -> Result<(Box<dyn StorageFile>, bool), OpenError> {
    for _ in 0..OPENS_MAX {
        let kind = storage.kind(path).map_err(io_error("look at", path))?;
        check_kind(kind, path)?;
        let is_new = kind == PathKind::Missing;
        let opened = if is_new { storage.create(path) } else { storage.open_to_append(path) };
        let file = match opened {
            Ok(file) => file,
            // Another server created it first.
            Err(error) if is_new && error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) if is_new => return Err(io_error("create", path)(error)),
            // Somebody removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error("open", path)(error)),
        };
        if !file.try_lock().map_err(io_error("lock", path))? {
            return Err(OpenError::Locked { path: path.to_owned() });
        }
        // A server that compacted it, and let its lock go, may have put another file in its place.
        if file.is_at(path).map_err(io_error("look at", path))? {
            return Ok((file, is_new));
        }
    }
    Err(OpenError::Changing { path: path.to_owned() })
}

/// Messages are nobody's business but the server's.
fn restrict(path: &Path, file: &dyn StorageFile) {
    let path = path.display();
    match file.restrict_to_owner() {
        Ok(None) => {}
        Ok(Some(mode)) => tracing::warn!(
            "the journal {path} was open to other users (mode {mode:o}): took their permissions away"
        ),
        Err(error) => tracing::warn!(
            %error,
            "the journal {path} may be open to other users, and its permissions cannot be changed: \
             let the server's user own it"
        ),
    }
}

/// A file that is locked and read.
#[derive(Clone, Copy)]
struct Opening<'a> {
    storage: &'a dyn Storage,
    path: &'a Path,
    policy: FsyncPolicy,
    is_new: bool,
}

impl Opening<'_> {
    /// Puts an empty journal in place of a file into which nothing was ever written.
    fn create(
        self,
        file: &dyn StorageFile,
        bytes: u64,
    ) -> Result<(Recovered, OpenFile), OpenError> {
        let torn = Torn { offset: 0, bytes, stretches: u64::from(bytes > 0) };
        let torn_copy = self.keep_torn(file, torn, bytes)?;
        let new = self.new_file().map_err(io_error("create", self.path))?;
        let recovered = Recovered {
            messages: Messages::none(self.path),
            letters: Vec::new(),
            groups: RecoveredGroups::default(),
            retained: Vec::new(),
            keys: Vec::new(),
            seen: Vec::new(),
            torn,
            torn_copy,
            damage: DamageReport::default(),
            damaged_copy: None,
            is_new: self.is_new,
        };
        Ok((recovered, self.put_in_place(new, groups::Kept::default())?))
    }

    /// Goes on in a file that has no fault left.
    fn go_on(
        self,
        mut file: Box<dyn StorageFile>,
        FileHeader { salt, .. }: FileHeader,
        found: Scan,
        torn_copy: Option<PathBuf>,
    ) -> Result<(Recovered, OpenFile), OpenError> {
        let Self { storage, path, policy, is_new } = self;
        // What a killed server left in the system's cache is durable only from here on; the same goes for
        // the name that a rename gave the file.
        let synced = found.synced.max(RECORDS_OFFSET);
        self.write_again(&*file, synced, found.end)
            .map_err(io_error("write again the end of", path))?;
        let position = (found.end, found.ordinal);
        let mut encoder = Encoder::new(salt, position, Synced::To(synced), policy);
        if found.under_never != (policy == FsyncPolicy::Never) {
            // From here on, faults have another meaning.
            encoder.mark();
            encoder.write_to(&mut *file).map_err(io_error("write to", path))?;
        }
        file.sync().map_err(io_error("sync", path))?;
        encoder.set_synced(encoder.offset());
        let parent = directory(path);
        storage.sync_directory(parent).map_err(io_error("sync the directory", parent))?;
        let open = OpenFile {
            path: path.to_owned(),
            file,
            encoder,
            salt,
            groups: found.groups.kept(),
            live_records: (found.live.len() + found.letters.len() + found.groups.len()) as u64
                + found.retained.len() as u64,
            live_bytes: found.live.bytes
                + found.letters.bytes()
                + found.groups.bytes()
                + found.retained.bytes(),
            wants_mark: found.synced < found.content_end,
        };
        let read = storage.open_to_read(path).map_err(io_error("open", path))?;
        let offsets = found.live.into_offsets();
        let recovered = Recovered {
            letters: found.letters.into_letters(),
            groups: found.groups.into_recovered(&offsets),
            messages: Messages::new(path, read, salt, found.end, offsets),
            retained: found.retained.into_messages(),
            keys: found.keys.into_keys(),
            seen: found.seen.into_runs(),
            torn: found.torn,
            torn_copy,
            damage: found.damage,
            damaged_copy: None,
            is_new,
        };
        Ok((recovered, open))
    }

    /// Puts a file of all good records in place of one that has faults between them, or is of an earlier format.
    fn rebuild(
        self,
        file: &dyn StorageFile,
        bytes: u64,
        FileHeader { version, salt }: FileHeader,
        found: Scan,
    ) -> Result<(Recovered, OpenFile), OpenError> {
        let Self { storage, path, is_new, .. } = self;
        if version < VERSION {
            tracing::info!(
                from = version,
                to = VERSION,
                "rewriting the journal {}",
                path.display()
            );
        }
        let (damaged_copy, torn_copy) = match found.damage.is_empty() {
            true => (None, self.keep_torn(file, found.torn, bytes)?),
            false => (Some(self.keep(".damaged-", file, 0, bytes)?), None),
        };
        let (seen, letters) = (found.seen.into_runs(), found.letters.into_letters());
        let (retained, keys) = (found.retained.into_messages(), found.keys.into_keys());
        let (offsets, kept) = (found.live.into_offsets(), found.groups.kept());
        let groups = found.groups.into_recovered(&offsets);
        // The old file, which stays readable when another takes its name.
        let messages = |offsets| {
            let file = storage.open_to_read(path).map_err(io_error("open", path))?;
            Ok::<_, OpenError>(Messages::new(path, file, salt, found.end, offsets))
        };
        let recovered_messages = messages(offsets.clone())?;
        let failed = || io_error("rewrite the journal", path);
        let mut new = self.new_file().map_err(failed())?;
        new.seen(&seen).map_err(failed())?;
        let mut left = groups.all.iter().peekable();
        for (at, message) in messages(offsets)?.enumerate() {
            while let Some(found) = left.next_if(|found| found.before <= at) {
                new.group(&found.group).map_err(failed())?;
            }
            new.append(message?).map_err(failed())?;
        }
        for found in left {
            new.group(&found.group).map_err(failed())?;
        }
        for letter in &letters {
            new.letter(letter).map_err(failed())?;
        }
        for (group, state, ids) in groups::records(&groups.marks) {
            new.jobs(group, state, &ids).map_err(failed())?;
        }
        for message in &retained {
            new.retained(message).map_err(failed())?;
        }
        new.keys(&keys).map_err(failed())?;
        let recovered = Recovered {
            messages: recovered_messages,
            letters,
            groups,
            retained,
            keys,
            seen,
            torn: found.torn,
            torn_copy,
            damage: found.damage,
            damaged_copy,
            is_new,
        };
        Ok((recovered, self.put_in_place(new, kept)?))
    }

    fn new_file(self) -> io::Result<Rewrite> {
        Rewrite::create(self.storage, self.path, self.policy)
    }

    fn put_in_place(self, new: Rewrite, groups: groups::Kept) -> Result<OpenFile, OpenError> {
        let Self { storage, path, .. } = self;
        let (live_records, live_bytes) = (new.kept, new.kept_bytes);
        let Finished { file, encoder, salt } = new.finish().map_err(io_error("write", path))?;
        install(storage, path).map_err(io_error("put in place", path))?;
        Ok(OpenFile {
            path: path.to_owned(),
            file,
            encoder,
            salt,
            groups,
            live_records,
            live_bytes,
            wants_mark: false,
        })
    }

    /// Copies the file from its first torn byte on, if there is one.
    fn keep_torn(
        self,
        file: &dyn StorageFile,
        torn: Torn,
        bytes: u64,
    ) -> Result<Option<PathBuf>, OpenError> {
        match torn.is_empty() {
            true => Ok(None),
            false => self.keep(".torn-", file, torn.offset, bytes).map(Some),
        }
    }

    /// Copies a part of the file to the first free name beside it, for good.
    fn keep(
        self,
        addition: &str,
        file: &dyn StorageFile,
        from: u64,
        to: u64,
    ) -> Result<PathBuf, OpenError> {
        let mut n = 1_u64;
        let (copy, out) = loop {
            let copy = beside(self.path, &format!("{addition}{n}"));
            match self.storage.create(&copy) {
                Ok(out) => break (copy, out),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
                Err(error) => return Err(io_error("create", &copy)(error)),
            }
        };
        copy_part(self.storage, file, from..to, &copy, out)
            .map_err(io_error("keep what is damaged or torn in", &copy))?;
        Ok(copy)
    }

    /// Writes again, with the same bytes, what no record proves to be on the disk.
    ///
    /// If a sync of it has failed, by whatever server, the system may hold it in its cache and take it for
    /// written: another sync would succeed and write nothing.
    fn write_again(self, file: &dyn StorageFile, from: u64, to: u64) -> io::Result<()> {
        read_through(file, from, to, |offset, bytes| {
            self.storage.overwrite(self.path, offset, bytes)
        })
    }
}

/// Copies a part of a file to the new one at `path`, for good. Where that fails, there is no copy.
pub(super) fn copy_part(
    storage: &dyn Storage,
    file: &dyn StorageFile,
    part: Range<u64>,
    path: &Path,
    mut out: Box<dyn StorageFile>,
) -> io::Result<()> {
    let mut write = || {
        read_through(file, part.start, part.end, |_, bytes| {
            append_all(&mut *out, &mut [IoSlice::new(bytes)])
        })?;
        out.sync()?;
        storage.sync_directory(directory(path))
    };
    write().inspect_err(|_| {
        // Half a copy is worth nothing, and takes the room that may be missing.
        let _ = storage.remove(path);
    })
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
