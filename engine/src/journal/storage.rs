//! The seam between the journal and the disk: what it asks of files and directories.
//!
//! [`RealStorage`] is the file system. With the feature `internals` there is `memory::MemoryStorage` too: a
//! disk in memory that records every change (`trace`), fails on command (`fault`), and can be looked at as a
//! loss of power would have left it (`power_cut`).

use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{
    FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown,
};
use std::path::{Path, PathBuf};

#[cfg(any(test, feature = "internals"))]
pub mod fault;
#[cfg(any(test, feature = "internals"))]
pub mod memory;
#[cfg(any(test, feature = "internals"))]
pub mod power_cut;
#[cfg(any(test, feature = "internals"))]
pub mod trace;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing.
    Missing,
    /// A symbolic link that leads to nothing.
    DanglingLink,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Something else, such as "a named pipe".
    Special(&'static str),
}

/// Files and directories. Calls are as rare as system calls, so dynamic dispatch costs nothing here.
///
/// No call that opens or creates a file follows a symbolic link in the path's last part, nor waits for the
/// other end of a pipe: [`Self::resolve`] the path first.
pub trait Storage: Send + Sync + 'static {
    /// The path with symbolic links followed, so that one file has one name. The file itself may be missing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when the directory is missing, or what the system says.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;

    /// What `path` leads to, symbolic links followed.
    ///
    /// # Errors
    /// What the system says, except that nothing is there.
    fn kind(&self, path: &Path) -> io::Result<PathKind>;

    /// Opens an existing regular file to read only.
    ///
    /// # Errors
    /// What the system says.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Opens an existing regular file to read, and to write at its end.
    ///
    /// # Errors
    /// What the system says.
    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Creates an empty file that its owner alone may read and write, to be used as one that
    /// [`Self::open_to_append`] opened.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when anything has the name, or what the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Writes over bytes of an existing regular file, from `offset` on.
    ///
    /// # Errors
    /// What the system says. Some of the bytes may then have been written.
    fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file another name, in place of one that may exist, and whose owner it gets as far as the system allows that.
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

    /// Locks the file, under whatever names it has, until this handle is dropped. `false` if another handle,
    /// of this process or another, holds the lock.
    ///
    /// # Errors
    /// What the system says.
    fn try_lock(&self) -> io::Result<bool>;

    /// Whether `path` is a name of this file. A symbolic link is none.
    ///
    /// # Errors
    /// What the system says, except that nothing is there.
    fn is_at(&self, path: &Path) -> io::Result<bool>;

    /// Takes all permissions from everyone but the file's owner. Returns the permission bits as they were
    /// if that changed them.
    ///
    /// # Errors
    /// What the system says.
    fn restrict_to_owner(&self) -> io::Result<Option<u32>>;
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
            Ok(metadata) => Ok(kind(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(if path.is_symlink() { PathKind::DanglingLink } else { PathKind::Missing })
            }
            Err(error) => Err(error),
        }
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(RealFile(open_regular(OpenOptions::new().read(true), path)?)))
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(RealFile(open_regular(OpenOptions::new().read(true).append(true), path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true).mode(OWNER_ONLY);
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // In append mode the system would write at the end, wherever it is told to.
        open_regular(OpenOptions::new().write(true), path)?.write_all_at(bytes, offset)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        keep_owner(from, to);
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// Gives a file to the owner of the one that it is to replace, as far as the system allows that: where root repairs a journal,
/// the server's user is to be able to read it.
///
/// That user may write the directory, and so have put another file in this place, which is not to become its own: a link
/// is not followed, and a file that has further names stays as it is.
fn keep_owner(from: &Path, to: &Path) {
    let Ok(old) = to.symlink_metadata() else { return };
    let Ok(file) = open_regular(OpenOptions::new().read(true), from) else { return };
    let Ok(new) = file.metadata() else { return };
    if new.nlink() == 1 && (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
    }
}

/// Permission bits of a file that its owner alone may read and write.
const OWNER_ONLY: u32 = 0o600;

fn kind(metadata: &Metadata) -> PathKind {
    let kind = metadata.file_type();
    if kind.is_file() {
        PathKind::File
    } else if kind.is_dir() {
        PathKind::Directory
    } else if kind.is_fifo() {
        PathKind::Special("a named pipe")
    } else if kind.is_socket() {
        PathKind::Special("a socket")
    } else {
        PathKind::Special("a device")
    }
}

/// Opens a regular file, and nothing else: what the path leads to may have changed since it was looked at.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening a named pipe waits for its other end. Regular files do not care.
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if kind(&file.metadata()?) != PathKind::File {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
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

    fn try_lock(&self) -> io::Result<bool> {
        // flock(2): it belongs to this open file, so that other handles of this process may come and go.
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let here = self.0.metadata()?;
        match path.symlink_metadata() {
            Ok(there) => Ok((here.dev(), here.ino()) == (there.dev(), there.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn restrict_to_owner(&self) -> io::Result<Option<u32>> {
        let mode = self.0.metadata()?.permissions().mode() & 0o7777;
        let owners = mode & 0o700;
        if mode == owners {
            return Ok(None);
        }
        self.0.set_permissions(Permissions::from_mode(owners))?;
        Ok(Some(mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_the_owner_of_the_one_that_it_replaces_unless_another_was_put_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let [new, old, foreign] = ["new", "old", "foreign"].map(|name| directory.path().join(name));
        let owner = |path: &Path| path.metadata().map(|it| (it.uid(), it.gid())).unwrap();
        let nobody = (65_534, 65_534);
        for place in ["a file", "a link", "a second name"] {
            let _ = std::fs::remove_file(&new);
            for path in [&old, &foreign] {
                std::fs::write(path, "").unwrap();
            }
            let own = owner(&foreign);
            if std::os::unix::fs::chown(&old, Some(nobody.0), Some(nobody.1)).is_err() {
                // Root alone may give files away.
                return;
            }
            match place {
                "a file" => std::fs::write(&new, "").unwrap(),
                "a link" => std::os::unix::fs::symlink(&foreign, &new).unwrap(),
                _ => std::fs::hard_link(&foreign, &new).unwrap(),
            }
            RealStorage.rename(&new, &old).unwrap();
            assert_eq!(owner(&foreign), own, "{place}");
            assert_eq!(owner(&old) == nobody, place == "a file", "{place}");
            std::fs::remove_file(&old).unwrap();
        }
    }

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
        fn try_lock(&self) -> io::Result<bool> {
            Ok(true)
        }
        fn is_at(&self, _: &Path) -> io::Result<bool> {
            Ok(true)
        }
        fn restrict_to_owner(&self) -> io::Result<Option<u32>> {
            Ok(None)
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
    fn a_lock_is_the_files_under_all_names_and_freed_on_drop() {
        let directory = tempfile::tempdir().unwrap();
        let [path, link] = ["file", "link"].map(|name| directory.path().join(name));
        let holder = RealStorage.create(&path).unwrap();
        std::fs::hard_link(&path, &link).unwrap();
        assert!(holder.try_lock().unwrap());
        let [second, third] = [&path, &link].map(|path| RealStorage.open_to_append(path).unwrap());
        assert!(!second.try_lock().unwrap() && !third.try_lock().unwrap());
        // Another handle that closes does not take the lock along.
        drop(second);
        assert!(!third.try_lock().unwrap());
        drop(holder);
        assert!(third.try_lock().unwrap());
    }

    #[test]
    fn a_file_knows_whether_a_name_is_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let [path, other] = ["file", "other"].map(|name| directory.path().join(name));
        let file = RealStorage.create(&path).unwrap();
        assert!(file.is_at(&path).unwrap() && !file.is_at(&other).unwrap());
        std::os::unix::fs::symlink(&path, &other).unwrap();
        assert!(!file.is_at(&other).unwrap());
        RealStorage.remove(&path).unwrap();
        let _new = RealStorage.create(&path).unwrap();
        assert!(!file.is_at(&path).unwrap());
    }

    #[test]
    fn nothing_is_opened_through_a_link_nor_created_over_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| directory.path().join(name));
        std::fs::write(&file, b"x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(RealStorage.open_to_read(&link).is_err());
        assert!(RealStorage.open_to_append(&link).is_err());
        assert!(RealStorage.overwrite(&link, 0, b"y").is_err());
        for path in [&file, &link] {
            let error = RealStorage.create(path).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
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
        let mut file = RealStorage.create(&path).unwrap();
        append_all(&mut *file, &mut [IoSlice::new(b"hello")]).unwrap();
        RealStorage.overwrite(&path, 1, b"ipp").unwrap();
        append_all(&mut *file, &mut [IoSlice::new(b"!")]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"hippo!");
        let missing = RealStorage.overwrite(&directory.path().join("none"), 0, b"x").unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
