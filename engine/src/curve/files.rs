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
    /// There is a file of this name, and it is not overwritten.
    #[error("{path} exists, and keys are not overwritten: choose another name, or remove it")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may read or write a file with a secret key.
    #[error(
        "{path} has mode {mode:04o}, which lets others than its owner at the secret key: run chmod 600 {path}"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others than its owner may write what says whose keys are authorized.
    #[error(
        "{path} has mode {mode:04o}, and whoever may write it authorizes keys: run chmod go-w {path}"
    )]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
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
    /// More files than a directory of keys may have.
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

/// The public key that this text is, or that the file of this name holds. A file that is there comes first: its path may
/// look like a key.
///
/// # Errors
/// As for [`read_public_key`], for what is no key.
pub fn find_public_key(text: impl AsRef<Path>) -> Result<PublicKey, KeyFileError> {
    let path = text.as_ref();
    let text = path.to_str().filter(|_| !path.exists());
    text.and_then(|text| text.parse().ok()).map_or_else(|| read_public_key(path), Ok)
}

/// Reads both keys of a file, `NAME.key_secret`.
///
/// # Errors
/// A file that cannot be read, that others than its owner may read or write, or that has not both keys.
pub fn read_key_pair(path: impl AsRef<Path>) -> Result<KeyPair, KeyFileError> {
    let path = path.as_ref();
    let (mode, text) = read(path)?;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode: mode & 0o7777 });
    }
    let field = "secret-key";
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
/// [any key](AuthorizedKeys::any), as pyzmq's `zmq.auth.CURVE_ALLOW_ANY`. Files whose names begin with a dot are passed over.
///
/// # Errors
/// A directory or a file that cannot be read, or that others than its owner may write, or a file without a public key: of
/// none is it known whose key is missing.
pub fn read_authorized_keys(directory: impl AsRef<Path>) -> Result<AuthorizedKeys, KeyFileError> {
    let (keys, unusable) = read_usable_keys(directory)?;
    unusable.into_iter().next().map_or(Ok(keys), Err)
}

/// As [`read_authorized_keys`], but a file that cannot be used keeps no other key out and none in: what is wrong with such
/// files comes beside the keys of the others.
///
/// # Errors
/// A directory that cannot be read, or that others than its owner may write.
pub fn read_usable_keys(
    directory: impl AsRef<Path>,
) -> Result<(AuthorizedKeys, Vec<KeyFileError>), KeyFileError> {
    let directory = directory.as_ref();
    let (mut keys, mut unusable) = (Vec::new(), Vec::new());
    if directory.as_os_str() == ANY {
        return Ok((AuthorizedKeys::any(), unusable));
    }
    let mode = fs::metadata(directory).map_err(KeyFileError::system(directory))?.mode();
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

/// Writes two new files, `name.key` with the public key and `name.key_secret` with both, which only its owner may read;
/// their paths. `name` may have a directory before it.
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
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// As zmq.auth.create_certificates of pyzmq 27 writes it, with the keys of libzmq's manual.
    const FROM_ZMQ_AUTH: &str = r#"#   ****  Generated on 2026-11-30 08:00:00.000000 by pyzmq  ****
#   ZeroMQ CURVE **Secret** Certificate
#   DO NOT PROVIDE THIS FILE TO OTHER USERS nor change its permissions.

metadata
    public-key-of = "nobody"
curve
    public-key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    secret-key = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
"#;

    #[test]
    fn files_of_zmq_auth_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.key_secret");
        fs::write(&path, FROM_ZMQ_AUTH).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let pair = read_key_pair(&path).unwrap();
        assert_eq!(pair.public().to_string(), "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7");
        assert_eq!(read_public_key(&path).unwrap(), pair.public());
    }

    #[test]
    fn what_was_written_is_read_and_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate();
        let [public, secret] = write_key_pair(directory.path().join("a.b"), &pair).unwrap();
        assert!(public.ends_with("a.b.key") && secret.ends_with("a.b.key_secret"));
        assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read_public_key(&public).unwrap(), pair.public());
        let read = read_key_pair(&secret).unwrap();
        assert_eq!(read.secret().as_bytes(), pair.secret().as_bytes());
        let text = fs::read_to_string(&public).unwrap();
        assert!(!text.contains(&**pair.secret().to_z85()));
        let again = write_key_pair(directory.path().join("a.b"), &KeyPair::generate());
        assert!(matches!(again, Err(KeyFileError::Exists { .. })));
        assert_eq!(fs::read_to_string(&public).unwrap(), text);
        // A link is not followed, and no half of a pair is left.
        symlink(directory.path().join("elsewhere"), directory.path().join("c.key_secret")).unwrap();
        let linked = write_key_pair(directory.path().join("c"), &pair);
        assert!(matches!(linked, Err(KeyFileError::Exists { .. })));
        assert!(!directory.path().join("elsewhere").exists());
        assert!(!directory.path().join("c.key").exists());
    }

    #[test]
    fn a_public_key_is_a_text_or_a_file_whose_path_may_look_like_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let (pair, other) = (KeyPair::generate(), KeyPair::generate());
        assert_eq!(find_public_key(other.public().to_string()).unwrap(), other.public());
        let missing = find_public_key(directory.path().join("none.key"));
        assert!(matches!(missing, Err(KeyFileError::System { .. })));
        let room = 40 - directory.path().as_os_str().len() - "/.key".len();
        let [public, _] = write_key_pair(directory.path().join("a".repeat(room)), &pair).unwrap();
        assert!(public.to_str().unwrap().parse::<PublicKey>().is_ok(), "it looks like a key");
        assert_eq!(find_public_key(&public).unwrap(), pair.public());
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused_with_what_mends_it() {
        let directory = tempfile::tempdir().unwrap();
        let [public, secret] =
            write_key_pair(directory.path().join("a"), &KeyPair::generate()).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_key_pair(&secret).unwrap_err().to_string();
            assert!(error.ends_with(&format!("chmod 600 {}", secret.display())), "{error}");
        }
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
        read_key_pair(&secret).unwrap();
        fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).unwrap();
        let missing = read_key_pair(&public).unwrap_err();
        assert!(matches!(missing, KeyFileError::Missing { field: "secret-key", .. }), "{missing}");
    }

    #[test]
    fn keys_that_do_not_belong_together_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key_secret");
        let (one, other) = (KeyPair::generate(), KeyPair::generate());
        let [_, written] = write_key_pair(directory.path().join("one"), &one).unwrap();
        let text = fs::read_to_string(&written).unwrap();
        let write = |text: String| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            read_key_pair(&path).unwrap_err()
        };
        let swapped = text.replace(&one.public().to_string(), &other.public().to_string());
        assert!(matches!(write(swapped), KeyFileError::Mismatch { .. }));
        let short = text.replace(&**one.secret().to_z85(), "short");
        assert!(matches!(write(short), KeyFileError::Malformed { field: "secret-key", .. }));
    }

    #[test]
    fn a_directory_is_read_as_the_keys_of_its_key_files() {
        let directory = tempfile::tempdir().unwrap();
        let pairs = [KeyPair::generate(), KeyPair::generate()];
        for (name, pair) in ["a", "b"].iter().zip(&pairs) {
            write_key_pair(directory.path().join(name), pair).unwrap();
        }
        fs::write(directory.path().join("README"), "no key").unwrap();
        let keys = read_authorized_keys(directory.path()).unwrap();
        assert_eq!(keys, pairs.iter().map(KeyPair::public).collect());
        fs::write(directory.path().join("c.key"), "no key").unwrap();
        let error = read_authorized_keys(directory.path()).unwrap_err();
        assert!(error.to_string().contains("c.key has no public-key"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_used_keeps_no_other_key_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (good, other) = (KeyPair::generate(), KeyPair::generate());
        write_key_pair(path("good"), &good).unwrap();
        fs::write(path("broken.key"), "no key").unwrap();
        fs::create_dir(path("directory.key")).unwrap();
        symlink(path("nowhere"), path("dangling.key")).unwrap();
        // To open a pipe waits for whoever writes to it.
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe.key"), 0o600.into()).unwrap();
        let [public, _] = write_key_pair(path("shared"), &other).unwrap();
        fs::set_permissions(&public, fs::Permissions::from_mode(0o664)).unwrap();
        let (keys, unusable) = read_usable_keys(directory.path()).unwrap();
        assert_eq!(keys, [good.public()].into_iter().collect());
        let mends = format!("run chmod go-w {}", public.display());
        let mut told: Vec<_> = unusable.iter().map(ToString::to_string).collect();
        told.sort();
        let expected = [
            ("broken.key", "has no public-key"),
            ("dangling.key", "No such file"),
            ("directory.key", "is no regular file"),
            ("pipe.key", "is no regular file"),
            ("shared.key", mends.as_str()),
        ];
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (text, (name, why)) in told.iter().zip(expected) {
            assert!(text.contains(name) && text.contains(why), "{text}");
        }
    }

    #[test]
    fn hidden_files_are_no_keys() {
        let directory = tempfile::tempdir().unwrap();
        for name in [".a", ".", ".a.key"] {
            write_key_pair(directory.path().join(name), &KeyPair::generate()).unwrap();
        }
        assert_eq!(read_authorized_keys(directory.path()).unwrap().count(), Some(0));
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused_with_what_mends_it() {
        let directory = tempfile::tempdir().unwrap();
        write_key_pair(directory.path().join("a"), &KeyPair::generate()).unwrap();
        for mode in [0o770, 0o702, 0o1777] {
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_authorized_keys(directory.path()).unwrap_err().to_string();
            let mends = format!("run chmod go-w {}", directory.path().display());
            assert!(error.ends_with(&mends), "{error}");
        }
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(read_authorized_keys(directory.path()).unwrap().count(), Some(1));
    }
}
