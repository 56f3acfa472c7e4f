//! Errors of opening a journal.

use std::io;
use std::path::{Path, PathBuf};

use super::damage::DamageReport;
use super::storage::PathKind;

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
    /// There is no such file.
    #[error("there is no journal {path}")]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The new file of a copy exists already.
    #[error(
        "{path} is there already: a copy of a journal is a new file, so move that one away first"
    )]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// Other servers kept changing it while it was read.
    #[error("the journal {path} changes while it is opened, as when a server starts: try again")]
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
    /// The path is a symbolic link that leads to nothing.
    #[error(
        "{path} is a symbolic link to a file that does not exist: remove the link, or create an empty \
         file where it leads"
    )]
    DanglingLink {
        /// The link.
        path: PathBuf,
    },
    /// The path is a pipe, a socket or a device.
    #[error("{path} is {what}: a journal is a regular file, name another path")]
    Special {
        /// The path.
        path: PathBuf,
        /// What it is, such as "a named pipe".
        what: &'static str,
    },
    /// The file is not a journal. It was not changed.
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
    /// Records that were synced are damaged. The file was not changed.
    #[error(
        "the journal {path} has {damage}; `mezzenger journal repair FILE`, or a start with --repair, takes them out (the \
         file is copied first)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is damaged.
        damage: DamageReport,
    },
    /// The file system call failed.
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

/// Rejects what can be no journal. A missing file is none of that.
pub(super) fn check_kind(kind: PathKind, path: &Path) -> Result<(), OpenError> {
    let path = path.to_owned();
    match kind {
        PathKind::Missing | PathKind::File => Ok(()),
        PathKind::DanglingLink => Err(OpenError::DanglingLink { path }),
        PathKind::Directory => Err(OpenError::IsADirectory { path }),
        PathKind::Special(what) => Err(OpenError::Special { path, what }),
    }
}
