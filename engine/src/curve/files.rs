//! Files with keys, in the form of pyzmq's `zmq.auth`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use zeroize::Zeroizing;

use super::{AuthorizedKeys, KeyPair, ParseKeyError, PublicKey, SecretKey};

/// Bytes of a file with keys: many times what zmq.auth writes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Keys of a directory.
const FILES_MAX: usize = 100_000;

/// In place of a directory: whoever knows the server's key.
const ANY: &str = "*";

/// The mode bits of all but a file's owner.
const OTHERS: u32 = 0o077;

/// Those of them that let somebody write.
const OTHERS_WRITE: u32 = 0o022;

/// Why a file with keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The system call failed.
    #[error("{path}: {source}")]
    System {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no such directory of clients' keys.
    #[error(
        "there is no directory {path}, where the clients' public keys are looked for: create it"
    )]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// There is a file of this name, and it is not overwritten.
    #[error("{path} exists, and keys are not overwritten: choose another name, or remove it")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Users other than the owner may read or write a file with a secret key.
    #[error(
        "{path} has mode {mode:04o}, which lets others than its owner at the secret key: run chmod 600 {path}"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Users other than the owner may write a file or directory of authorized keys.
    #[error(
        "{path} has mode {mode:04o}, and whoever may write it authorizes keys: run chmod go-w {path}"
    )]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file has only a public key.
    #[error(
        "{path} has a public key and no secret one: give {path}_secret, the other file of mezzenger keygen"
    )]
    Public {
        /// The file.
        path: PathBuf,
    },
    /// It is a pipe, a device or a directory.
    #[error("{path} is no regular file: remove it, or replace it with a file of mezzenger keygen")]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// The file has no such key.
    #[error("{path} has no {field}: is it a file of mezzenger keygen or of pyzmq?")]
    Missing {
        /// The file.
        path: PathBuf,
        /// `public-key` or `secret-key`.
        field: &'static str,
    },
    /// The file has something else in the place of a key.
    #[error("{path}: {field}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// `public-key` or `secret-key`.
        field: &'static str,
        /// What is wrong.
        source: ParseKeyError,
    },
    /// The public key of a file is not that of its secret one.
    #[error("the keys of {path} do not belong together: make new ones")]
    Mismatch {
        /// The file.
        path: PathBuf,
    },
    /// The directory has more files with keys than it may have.
    #[error("{path} has more than {FILES_MAX} keys")]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
}

impl KeyFileError {
    fn system(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::System { path, source }
    }
}

/// Reads the public key of a file: `NAME.key`, or `NAME.key_secret`.
///
/// # Errors
/// A file that cannot be read, or has no public key.
pub fn read_public_key(path: impl AsRef<Path>) -> Result<PublicKey, KeyFileError> {
    let path = path.as_ref();
    let (_, text) = read(path)?;
    public_key(path, &text)
}

/// The public key that this text is, or that the file at this path holds. A file that exists takes precedence, because its path
/// may look like a key.
///
/// # Errors
/// As for [`read_public_key`], if the text is not a key.
pub fn find_public_key(text: impl AsRef<Path>) -> Result<PublicKey, KeyFileError> {
    let path = text.as_ref();
    let text = path.to_str().filter(|_| !path.exists());
    text.and_then(|text| text.parse().ok()).map_or_else(|| read_public_key(path), Ok)
}

/// Reads both keys of a file, `NAME.key_secret`.
///
/// # Errors
/// A file that cannot be read, that users other than its owner may read or write, or that does not have both keys.
pub fn read_key_pair(path: impl AsRef<Path>) -> Result<KeyPair, KeyFileError> {
    let path = path.as_ref();
    let (mode, text) = read(path)?;
    let field = "secret-key";
    if value(&text, field).is_none() && public_key(path, &text).is_ok() {
        return Err(KeyFileError::Public { path: path.to_owned() });
    }
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode: mode & 0o7777 });
    }
    let secret = value(&text, field)
        .ok_or_else(|| KeyFileError::Missing { path: path.to_owned(), field })?;
    let secret: SecretKey = secret.parse().map_err(|source| KeyFileError::Malformed {
        path: path.to_owned(),
        field,
        source,
    })?;
    let pair = KeyPair::from_secret(secret);
    if public_key(path, &text)? == pair.public() {
        Ok(pair)
    } else {
        Err(KeyFileError::Mismatch { path: path.to_owned() })
    }
}

/// Reads the public keys of a directory: of each file in it whose name ends in `.key`. `*` stands for
/// [any key](AuthorizedKeys::any), as pyzmq's `zmq.auth.CURVE_ALLOW_ANY`. Files whose names begin with a dot are skipped.
///
/// # Errors
/// A directory or a file that cannot be read, or that users other than its owner may write, or a file without a public key.
pub fn read_authorized_keys(directory: impl AsRef<Path>) -> Result<AuthorizedKeys, KeyFileError> {
    let (keys, unusable) = read_usable_keys(directory)?;
    unusable.into_iter().next().map_or(Ok(keys), Err)
}

/// As [`read_authorized_keys`], but reads the other files also when some cannot be used: returns the keys, and an error for
/// each file that cannot be used.
///
/// # Errors
/// A directory that cannot be read, or that users other than its owner may write.
pub fn read_usable_keys(
    directory: impl AsRef<Path>,
) -> Result<(AuthorizedKeys, Vec<KeyFileError>), KeyFileError> {
    let directory = directory.as_ref();
    let (mut keys, mut unusable) = (Vec::new(), Vec::new());
    if directory.as_os_str() == ANY {
        return Ok((AuthorizedKeys::any(), unusable));
    }
    let metadata = fs::metadata(directory).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => KeyFileError::NoDirectory { path: directory.to_owned() },
        _ => KeyFileError::System { path: directory.to_owned(), source },
    })?;
    let mode = metadata.mode();
    check_writers(directory, mode)?;
    for path in authorized_key_files(directory).map_err(KeyFileError::system(directory))? {
        if keys.len() + unusable.len() == FILES_MAX {
            return Err(KeyFileError::TooMany { path: directory.to_owned() });
        }
        let read = read(&path).and_then(|(mode, text)| {
            check_writers(&path, mode)?;
            public_key(&path, &text)
        });
        match read {
            Ok(key) => keys.push(key),
            // It is removed just now.
            Err(KeyFileError::System { source, .. })
                if source.kind() == io::ErrorKind::NotFound
                    && fs::symlink_metadata(&path).is_err() => {}
            Err(error) => unusable.push(error),
        }
    }
    Ok((keys.into_iter().collect(), unusable))
}

/// The files that [`read_authorized_keys`] reads, at most one more than it takes.
///
/// # Errors
/// A directory that cannot be read.
pub fn authorized_key_files(directory: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_key = path.extension().is_some_and(|extension| extension == "key");
        if is_key && !is_hidden && paths.len() <= FILES_MAX {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn check_writers(path: &Path, mode: u32) -> Result<(), KeyFileError> {
    // What a cluster mounts for a container has any mode, and nobody writes to it.
    let is_read_only =
        || statvfs(path).is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::RDONLY));
    if mode & OTHERS_WRITE == 0 || is_read_only() {
        return Ok(());
    }
    Err(KeyFileError::Writable { path: path.to_owned(), mode: mode & 0o7777 })
}

/// Writes two new files, `name.key` with the public key and `name.key_secret` with both, which only its owner may read, and
/// returns their paths. `name` may begin with a directory.
///
/// # Errors
/// When a file of that name exists, or the system call fails.
pub fn write_key_pair(
    name: impl AsRef<Path>,
    pair: &KeyPair,
) -> Result<[PathBuf; 2], KeyFileError> {
    let with = |ending| {
        let mut path = name.as_ref().as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    };
    let paths = [with(".key"), with(".key_secret")];
    let [public, secret] = &paths;
    // Of the two, the one that says whether there are keys of this name.
    let public_file = create(public, 0o644)?;
    let secret_file = create(secret, 0o600).inspect_err(|_| {
        let _ = fs::remove_file(public);
    })?;
    let key = pair.public();
    let text = format!(
        "# A public key of CURVE. Who is given it can be sure of whom it belongs to only if it came on a safe way.\n\n\
         metadata\ncurve\n    public-key = \"{key}\"\n"
    );
    write(public, public_file, &text)?;
    let text = Zeroizing::new(format!(
        "# A secret key of CURVE. Whoever has it is taken for its owner: keep it where it is.\n\n\
         metadata\ncurve\n    public-key = \"{key}\"\n    secret-key = \"{}\"\n",
        *pair.secret().to_z85()
    ));
    write(secret, secret_file, &text)?;
    Ok(paths)
}

fn create(path: &Path, mode: u32) -> Result<File, KeyFileError> {
    // A new file, never what a link points to.
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::System { path: path.to_owned(), source },
    })
}

fn write(path: &Path, mut file: File, text: &str) -> Result<(), KeyFileError> {
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(KeyFileError::system(path))
}

/// The mode of a file, and what it holds.
fn read(path: &Path) -> Result<(u32, Zeroizing<String>), KeyFileError> {
    // A pipe would keep whoever opens it waiting.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(KeyFileError::system(path))?;
    // Of the file that was opened, whatever the path names now.
    let about = file.metadata().map_err(KeyFileError::system(path))?;
    if !about.is_file() {
        return Err(KeyFileError::NoFile { path: path.to_owned() });
    }
    let mode = about.mode();
    let mut text = Zeroizing::new(String::with_capacity(4096));
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(KeyFileError::system(path))?;
    Ok((mode, text))
}

fn public_key(path: &Path, text: &str) -> Result<PublicKey, KeyFileError> {
    let field = "public-key";
    let key =
        value(text, field).ok_or_else(|| KeyFileError::Missing { path: path.to_owned(), field })?;
    key.parse().map_err(|source| KeyFileError::Malformed { path: path.to_owned(), field, source })
}

/// The value of a field: behind its name and an equals sign, in quotes or not, on a line of its own.
fn value<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(field)?.trim_start().strip_prefix('=')?.trim();
        Some(rest.trim_matches(['"', '\'']))
    })
}

#[cfg(test)]
mod tests;
