//! The server's keys, and the directory with those of its clients, which may change while it runs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mezzenger::KeysHandle;
use mezzenger::curve::{
    AuthorizedKeys, KeyFileError, ServerKeys, read_authorized_keys, read_key_pair,
};

/// How often the directory is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Seconds after a change in which another one may look the same: file systems count time in steps.
const YOUNG_S: i64 = 2;

/// What the system tells of the directory's files, without their being read.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Of each file: its name, its inode, its size, and when it changed (seconds, nanoseconds).
    files: Vec<(PathBuf, u64, u64, i64, i64)>,
    /// The last change.
    changed_s: i64,
}

impl Seen {
    fn of(directory: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "key") {
                // Of what a link leads to.
                let about = fs::metadata(&path)?;
                files.push((path, about.ino(), about.size(), about.ctime(), about.ctime_nsec()));
            }
        }
        files.sort();
        let changed_s = files.iter().map(|file| file.3).max().unwrap_or(0);
        Ok(Self { files, changed_s })
    }

    /// Whether the same may be seen after a further change.
    fn is_young(&self) -> bool {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        i64::try_from(now_s).is_ok_and(|now_s| now_s <= self.changed_s + YOUNG_S)
    }
}

/// The directory with the clients' keys.
#[derive(Debug)]
pub(crate) struct Watched {
    directory: PathBuf,
    keys: AuthorizedKeys,
    /// Nothing, if it is to be read in any case.
    seen: Option<Seen>,
    /// What went wrong last, so that it is logged once.
    told: Option<String>,
}

/// Reads the server's keys, and those of its clients. If these may change: what follows them.
///
/// # Errors
/// A file that cannot be used.
pub(crate) fn read(
    secret: &Path,
    directory: PathBuf,
) -> Result<(ServerKeys, Option<Watched>), KeyFileError> {
    let keys = read_authorized_keys(&directory)?;
    let server = ServerKeys { own: read_key_pair(secret)?, authorized: keys.clone() };
    let may_change = keys.count().is_some();
    Ok((server, may_change.then_some(Watched { directory, keys, seen: None, told: None })))
}

impl Watched {
    /// Follows the directory on a thread of its own, as long as the program runs.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub(crate) fn begin(mut self, server: KeysHandle) -> io::Result<()> {
        thread::Builder::new().name("keys".into()).spawn(move || {
            loop {
                if let Some(keys) = self.look() {
                    server.set_authorized_keys(keys);
                }
                thread::sleep(INTERVAL);
            }
        })?;
        Ok(())
    }

    /// The keys, if they are others than before. If they cannot be read, those before stay.
    fn look(&mut self) -> Option<AuthorizedKeys> {
        let seen = Seen::of(&self.directory).ok();
        if seen.is_some() && seen == self.seen {
            return None;
        }
        match read_authorized_keys(&self.directory) {
            Ok(keys) => {
                self.told = None;
                self.seen = seen.filter(|seen| !seen.is_young());
                if keys == self.keys {
                    return None;
                }
                self.keys = keys.clone();
                Some(keys)
            }
            Err(error) => {
                self.seen = None;
                let text = error.to_string();
                if self.told.as_ref() != Some(&text) {
                    tracing::error!("the authorized keys stay as they are, because {text}");
                    self.told = Some(text);
                }
                None
            }
        }
    }
}
