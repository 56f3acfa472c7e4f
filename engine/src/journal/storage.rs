//! The seam between the journal and the disk: what it asks of files and directories.
//!
//! [`RealStorage`] is the file system. [`memory::MemoryStorage`] is a disk in memory that records every
//! change ([`trace`]), fails when told to ([`fault`]), and can be looked at as a loss of power would have
//! left it ([`power_cut`]).

use std::any::Any;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub mod fault;
pub mod memory;
pub mod power_cut;
pub mod trace;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing.
    Missing,
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A pipe, a device, or the like.
    Other,
}

/// Held as long as the lock is.
pub type LockGuard = Box<dyn Any + Send>;

/// Files and directories. Calls are as rare as system calls, so dynamic dispatch costs nothing here.
pub trait Storage: Send + Sync + 'static {
    /// The path with symbolic links followed, so that one file has one name. The file itself may be missing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when the directory is missing, or what the system says.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;

    /// What `path` leads to.
    ///
    /// # Errors
    /// What the system says, except that nothing is there.
    fn kind(&self, path: &Path) -> io::Result<PathKind>;

    /// Opens an existing file to read only.
    ///
    /// # Errors
    /// What the system says.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Opens an existing file to read, and to write at its end.
    ///
    /// # Errors
    /// What the system says.
    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Creates an empty file, in place of one that may exist, with the permissions of `like` if that exists.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path, like: Option<&Path>) -> io::Result<Box<dyn StorageFile>>;

    /// Writes over bytes of an existing file, from `offset` on.
    ///
    /// # Errors
    /// What the system says. Some of the bytes may then have been written.
    fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file another name, in place of one that may exist.
    ///
    /// # Errors
    /// What the system says. Whether the rename happened is then unknown.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory's entries durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Locks the file at `path` for this process, creating it; `None` if another holds the lock.
    ///
    /// # Errors
    /// What the system says.
    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>>;
}

/// One open file.
pub trait StorageFile: Send {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads up to `buffer.len()` bytes from `offset` on; 0 at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some of `parts`, in order, at the end; returns how many bytes.
    ///
    /// # Errors
    /// What the system says.
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Makes data and length durable.
    ///
    /// # Errors
    /// What the system says. What was written since the last success may then never become durable.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `bytes`.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
}

/// Writes all of `parts` at the end, however many calls that takes. `parts` is used up.
///
/// # Errors
/// The first error of the file, or [`io::ErrorKind::WriteZero`] when it takes no more. Some of the
/// bytes may then have been written.
pub fn append_all(file: &mut dyn StorageFile, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0); // drops empty ones
    while !parts.is_empty() {
        match file.append(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealStorage;

impl Storage for RealStorage {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = path.file_name().ok_or(error)?;
                let directory = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    _ => Path::new("."),
                };
                Ok(directory.canonicalize()?.join(name))
            }
            resolved => resolved,
        }
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => Ok(PathKind::Directory),
            Ok(metadata) if metadata.is_file() => Ok(PathKind::File),
            Ok(_) => Ok(PathKind::Other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(PathKind::Missing),
            Err(error) => Err(error),
        }
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(RealFile(File::open(path)?)))
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).append(true).open(path)?)))
    }

    fn create(&self, path: &Path, like: Option<&Path>) -> io::Result<Box<dyn StorageFile>> {
        // Append mode excludes truncation on opening, so an old file goes first.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(path)?;
        if let Some(metadata) = like.and_then(|like| like.metadata().ok()) {
            file.set_permissions(metadata.permissions())?;
        }
        Ok(Box::new(RealFile(file)))
    }

    fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // In append mode the system would write at the end, wherever it is told to.
        OpenOptions::new().write(true).open(path)?.write_all_at(bytes, offset)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

struct RealFile(File);

impl StorageFile for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(parts)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most three bytes at a time, and is interrupted every second time.
    struct Slow(Vec<u8>, usize);

    impl StorageFile for Slow {
        fn bytes(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }
        fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
            self.1 += 1;
            if self.1.is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let part = parts.first().map_or(&[][..], |part| &part[..part.len().min(3)]);
            self.0.extend_from_slice(part);
            Ok(part.len())
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn truncate(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn short_and_interrupted_writes_go_on_where_they_stopped() {
        let mut file = Slow(Vec::new(), 0);
        let mut parts = [b"".as_slice(), b"abcdefgh", b"", b"ij"].map(IoSlice::new);
        append_all(&mut file, &mut parts).unwrap();
        assert_eq!(file.0, b"abcdefghij");
    }

    #[test]
    fn a_lock_is_held_once_and_freed_on_drop() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        let guard = RealStorage.lock(&path).unwrap();
        assert!(guard.is_some());
        assert!(RealStorage.lock(&path).unwrap().is_none());
        drop(guard);
        assert!(RealStorage.lock(&path).unwrap().is_some());
    }

    #[test]
    fn a_link_and_its_file_resolve_to_one_path() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, b"x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(RealStorage.resolve(&link).unwrap(), RealStorage.resolve(&file).unwrap());
        let missing = RealStorage.resolve(&directory.path().join("none/x")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn overwriting_leaves_the_end_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = RealStorage.create(&path, None).unwrap();
        append_all(&mut *file, &mut [IoSlice::new(b"hello")]).unwrap();
        RealStorage.overwrite(&path, 1, b"ipp").unwrap();
        append_all(&mut *file, &mut [IoSlice::new(b"!")]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"hippo!");
        let missing = RealStorage.overwrite(&directory.path().join("none"), 0, b"x").unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
