//! The keys of an encrypted run, made for it: the server's, which its process reads from files, and that of all clients.

use std::ffi::OsString;
use std::fs;
use std::io;

use mezzenger::curve::{KeyFileError, KeyPair, PublicKey, write_key_pair};
use tempfile::TempDir;

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// There is no folder for them.
    #[error("the keys of this run have no folder: {0}; check TMPDIR")]
    Folder(#[from] io::Error),
    /// They could not be written.
    #[error("the keys of this run could not be written: {0}")]
    Write(#[from] KeyFileError),
}

/// Keys in a folder that nobody else may enter, and that goes with them.
#[derive(Debug)]
pub(crate) struct Keys {
    folder: TempDir,
    /// What clients know the server by.
    pub(crate) server: PublicKey,
    /// What the server knows clients by.
    pub(crate) client: KeyPair,
}

impl Keys {
    /// New keys, in new files.
    pub(crate) fn make() -> Result<Self, KeysError> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("authorized"))?;
        let (server, client) = (KeyPair::generate(), KeyPair::generate());
        write_key_pair(folder.path().join("server"), &server)?;
        write_key_pair(folder.path().join("authorized/client"), &client)?;
        Ok(Self { folder, server: server.public(), client })
    }

    /// The flags that tell the server's process where they are.
    pub(crate) fn flags(&self) -> [OsString; 4] {
        let path = |name| self.folder.path().join(name).into_os_string();
        let (secret, authorized) = (path("server.key_secret"), path("authorized"));
        ["--curve-secret".into(), secret, "--authorized-keys".into(), authorized]
    }
}
