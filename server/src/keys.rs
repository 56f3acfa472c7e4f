//! The server's keys, and the directory with those of its clients, which may change while it runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mezzenger::curve::{
    AuthorizedKeys, KeyFileError, ServerKeys, read_authorized_keys, read_key_pair,
};

use crate::watch::{Source, Watched};

/// The directory with the clients' keys.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Source for Directory {
    type Content = AuthorizedKeys;
    type Error = KeyFileError;

    const WHAT: &'static str = "the authorized keys";
    const INTERVAL: Duration = Duration::from_secs(1);

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "key") {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    fn read(&self) -> Result<AuthorizedKeys, KeyFileError> {
        read_authorized_keys(&self.0)
    }
}

/// Reads the server's keys, and those of its clients. If these may change: what follows them.
///
/// # Errors
/// A file that cannot be used.
pub(crate) fn read(
    secret: &Path,
    directory: PathBuf,
) -> Result<(ServerKeys, Option<Watched<Directory>>), KeyFileError> {
    let keys = read_authorized_keys(&directory)?;
    let server = ServerKeys { own: read_key_pair(secret)?, authorized: keys.clone() };
    let may_change = keys.count().is_some();
    Ok((server, may_change.then(|| Watched::new(Directory(directory), keys))))
}
