//! Keys of CURVE: making them, and giving them, or a user's password, to a client.

use std::path::PathBuf;

use mezzenger::ClientBuilder;
use mezzenger::curve::{KeyPair, find_public_key, read_key_pair, write_key_pair};

use crate::error::{Error, written};
use crate::{password, show};

/// Whose keys a client has, and its server; or which user it is.
#[derive(clap::Args)]
pub(crate) struct KeyArgs {
    /// This client's keys, a file made by `keygen`: NAME.key_secret. For a server with --curve-secret.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires = "server_key",
        env = "MEZZENGER_CURVE_KEY"
    )]
    curve_key: Option<PathBuf>,

    /// The server's public key: 40 characters, or a file made by `keygen`, NAME.key. The client connects to no server
    /// without the matching secret key.
    #[arg(
        long,
        global = true,
        value_name = "FILE|KEY",
        requires = "curve_key",
        env = "MEZZENGER_SERVER_KEY"
    )]
    server_key: Option<String>,

    /// This client's user, for a server with users in --access. The password is in --password-file or
    /// MEZZENGER_PASSWORD. Both travel unencrypted: use it only on networks that encrypt.
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "curve_key")]
    user: Option<String>,

    /// File with the user's password, readable by its owner alone. A line feed at its end is ignored.
    #[arg(long, global = true, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

impl KeyArgs {
    /// Has a client use these keys.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub(crate) fn give(&self, builder: ClientBuilder) -> Result<ClientBuilder, Error> {
        if let Some(user) = &self.user {
            let password = password::of_user(self.password_file.as_deref())?;
            return Ok(builder.plain(user, &password));
        }
        let (Some(own), Some(server)) = (&self.curve_key, &self.server_key) else {
            return Ok(builder);
        };
        Ok(builder.curve(read_key_pair(own)?, find_public_key(server)?))
    }
}

/// Where new keys go.
#[derive(clap::Args)]
pub(crate) struct KeygenArgs {
    /// Name of the files, with or without a directory.
    #[arg(value_name = "NAME")]
    name: PathBuf,
}

impl KeygenArgs {
    /// Makes a pair of keys.
    ///
    /// # Errors
    /// When files of this name exist, or cannot be written.
    pub(crate) fn run(self) -> Result<(), Error> {
        let pair = KeyPair::generate();
        write_key_pair(&self.name, &pair)?;
        written(show::line(pair.public().to_string().as_bytes()))
    }
}
