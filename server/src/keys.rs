//! The server's keys, and the directory with those of its clients, which may change while it runs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mezzenger::curve::{
    AuthorizedKeys, KeyFileError, ServerKeys, authorized_key_files, read_key_pair, read_usable_keys,
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
        authorized_key_files(&self.0)
    }

    fn read(&self) -> Result<(AuthorizedKeys, Vec<KeyFileError>), KeyFileError> {
        read_usable_keys(&self.0)
    }

    /// Who removes the directory takes all keys away.
    fn when_gone(&self) -> Option<AuthorizedKeys> {
        (!self.0.is_dir()).then(|| AuthorizedKeys::from_iter([]))
    }
}

/// Reads the server's keys, and those of its clients. If these may change: what follows them.
///
/// # Errors
/// A file of the server, or a directory, that cannot be used. Unusable files of clients are logged.
pub(crate) fn read(
    secret: &Path,
    directory: PathBuf,
) -> Result<(ServerKeys, Option<Watched<Directory>>), KeyFileError> {
    let own = read_key_pair(secret)?;
    let watched = Watched::read(Directory(directory))?;
    let server = ServerKeys { own, authorized: watched.content().clone() };
    let may_change = server.authorized.count().is_some();
    Ok((server, may_change.then_some(watched)))
}
