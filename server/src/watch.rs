//! Files that may change while the server runs: they are looked at again and again, and read when they changed.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mezzenger::escape_hidden;

/// Files that cannot be used of which the log says why.
const TOLD_MAX: usize = 16;

/// Seconds after a change in which another one may look the same: file systems count time in steps.
const YOUNG_S: i64 = 2;

/// What the system tells of files, without their being read.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Of each file: its name, its inode, its size, its mode, and when it changed (seconds, nanoseconds).
    files: Vec<(PathBuf, u64, u64, u32, i64, i64)>,
    /// The last change.
    changed_s: i64,
}

impl Seen {
    fn of(paths: Vec<PathBuf>) -> io::Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            // Of what a link leads to.
            let about = fs::metadata(&path)?;
            let (changed_s, changed_ns) = (about.ctime(), about.ctime_nsec());
            files.push((path, about.ino(), about.size(), about.mode(), changed_s, changed_ns));
        }
        files.sort();
        let changed_s = files.iter().map(|file| file.4).max().unwrap_or(0);
        Ok(Self { files, changed_s })
    }

    /// Whether the same may be seen after a further change.
    fn is_young(&self) -> bool {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        i64::try_from(now_s).is_ok_and(|now_s| now_s <= self.changed_s + YOUNG_S)
    }
}

/// What files say, with what is wrong with some of them, or why they say nothing.
pub(crate) type Read<C, E> = Result<(C, Vec<E>), E>;

/// What files say.
pub(crate) trait Source: Send + 'static {
    /// What is read.
    type Content: Clone + PartialEq + Send + 'static;
    /// Why it cannot be read.
    type Error: Error;

    /// What is said of it in the log.
    const WHAT: &'static str;
    /// How often the files are looked at.
    const INTERVAL: Duration;

    /// Which files these are now.
    fn paths(&self) -> io::Result<Vec<PathBuf>>;

    /// Reads them. Beside what they say comes what is wrong with some of them and keeps nothing else from counting.
    fn read(&self) -> Read<Self::Content, Self::Error>;

    /// What counts once there is nothing to read any more, if that is something.
    fn when_gone(&self) -> Option<Self::Content> {
        None
    }
}

/// Files, and what they said last.
#[derive(Debug)]
pub(crate) struct Watched<S: Source> {
    source: S,
    content: S::Content,
    /// Nothing, if they are to be read in any case.
    seen: Option<Seen>,
    /// What went wrong last, so that it is logged once.
    told: Vec<String>,
}

impl<S: Source> Watched<S> {
    /// Reads the files, and logs what is wrong with some of them.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub(crate) fn read(source: S) -> Result<Self, S::Error> {
        let (content, wrong) = source.read()?;
        let mut watched = Self { source, content, seen: None, told: Vec::new() };
        watched.tell(":", &wrong);
        Ok(watched)
    }

    /// What the files said last.
    pub(crate) fn content(&self) -> &S::Content {
        &self.content
    }

    /// Follows the files on a thread of its own, as long as the program runs.
    ///
    /// # Errors
    /// When the system denies the thread.
    pub(crate) fn begin(mut self, changed: impl Fn(S::Content) + Send + 'static) -> io::Result<()> {
        thread::Builder::new().name("watch".into()).spawn(move || {
            loop {
                if let Some(content) = self.look() {
                    changed(content);
                }
                thread::sleep(S::INTERVAL);
            }
        })?;
        Ok(())
    }

    /// What they say, if it is something else than before. If they cannot be read, what they said before stays.
    fn look(&mut self) -> Option<S::Content> {
        let seen = self.source.paths().and_then(Seen::of).ok();
        if seen.is_some() && seen == self.seen {
            return None;
        }
        match self.source.read() {
            Ok((content, wrong)) => {
                self.tell(":", &wrong);
                self.seen = seen.filter(|seen| !seen.is_young());
                if content == self.content {
                    return None;
                }
                self.content = content.clone();
                Some(content)
            }
            Err(error) => {
                self.seen = None;
                let Some(content) = self.source.when_gone() else {
                    self.tell(" stay as they are, because", &[error]);
                    return None;
                };
                self.tell(" count no longer, because", &[error]);
                if content == self.content {
                    return None;
                }
                self.content = content.clone();
                Some(content)
            }
        }
    }

    /// Logs what it has not logged of what is wrong now, behind what it is wrong with and `verb`.
    fn tell(&mut self, verb: &str, wrong: &[S::Error]) {
        let texts: Vec<_> = wrong.iter().take(TOLD_MAX).map(ToString::to_string).collect();
        for text in texts.iter().filter(|text| !self.told.contains(text)) {
            tracing::error!("{}{verb} {}", S::WHAT, escape_hidden(text));
        }
        let more = wrong.len().saturating_sub(TOLD_MAX);
        if more > 0 && self.told != texts {
            tracing::error!("{}: {more} further files cannot be used", S::WHAT);
        }
        self.told = texts;
    }
}
