//! The permissions file, which may change while the server runs.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mezzenger::access::{
    Access, AccessError, Names, ParsePasswordHashError, PasswordHash, Permissions,
};
use mezzenger::curve::{ParseKeyError, PublicKey};
use mezzenger::escape_hidden;
use rustix::fs::OFlags;
use serde::Deserialize;

use crate::watch::{Source, Watched};

#[cfg(test)]
mod tests;

/// Bytes of the file: some ten thousand clients.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The mode bits of all but a file's owner.
const OTHERS: u32 = 0o077;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessFileError {
    /// The system call failed.
    #[error("{path}: {source}")]
    System {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error(
        "{path} has mode {mode:04o}, and only its owner may read or write what says who may do what: run chmod 600 {path}"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is a pipe, a device or a directory.
    #[error("{path} is no regular file: name one that says what each client may do")]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// It is too large.
    #[error("{path} has more than {FILE_BYTES_MAX} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no TOML, or has another structure.
    #[error("{path}:{line}:{column}: {what}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where in the line, in characters from 1.
        column: usize,
        /// Why, without what stands there: that may be a hash.
        what: String,
    },
    /// A text that is meant to be a pattern is a name.
    #[error(
        "{path}: '{names}': * and > stand for whole tokens between dots, as in orders.* and orders.>: say \
         {{ prefix = \"…\" }} for all names that begin so, or {{ name = \"…\" }} for the one name that has such a character"
    )]
    Pattern {
        /// The file.
        path: PathBuf,
        /// The text.
        names: String,
    },
    /// Nobody proves a key to this server.
    #[error(
        "{path} has clients with a key, and the server asks nobody for one: they count as [others]; give it --curve-secret and \
         --authorized-keys, or say users instead"
    )]
    KeysWithoutCurve {
        /// The file.
        path: PathBuf,
    },
    /// Something about one client is wrong.
    #[error("{path}: client {at}: {problem}")]
    Client {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        at: usize,
        /// What it is.
        problem: ClientProblem,
    },
    /// It speaks of names that there cannot be.
    #[error("{path}: {source}")]
    Names {
        /// The file.
        path: PathBuf,
        /// What it is.
        source: AccessError,
    },
}

/// What is wrong with one client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientProblem {
    /// Its key is none.
    #[error("key: {0}")]
    Key(ParseKeyError),
    /// Something was said of it before.
    #[error("its key or user is that of another one: say all of it in one place")]
    Again,
    /// It does not say who it is, or does so twice.
    #[error("it has a key, or a user and a password: say one of both")]
    Who,
    /// Its password is no hash of one.
    #[error("password: {0}")]
    Password(ParsePasswordHashError),
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    client: Vec<Client>,
    #[serde(default)]
    others: Allowed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    key: Option<String>,
    user: Option<String>,
    /// Its hash.
    password: Option<String>,
    #[serde(default)]
    publish: Vec<NamesText>,
    #[serde(default)]
    subscribe: Vec<NamesText>,
    #[serde(default)]
    groups: Vec<NamesText>,
    #[serde(default)]
    administer: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    #[serde(default)]
    publish: Vec<NamesText>,
    #[serde(default)]
    subscribe: Vec<NamesText>,
    #[serde(default)]
    groups: Vec<NamesText>,
    #[serde(default)]
    administer: bool,
}

/// `"orders.>"`, `{ prefix = "ord" }`, or `{ name = "a.*" }` for a name that looks like a pattern.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a name or a pattern in quotes, { prefix = \"…\" } or { name = \"…\" }"
)]
enum NamesText {
    Text(String),
    Prefix(PrefixText),
    Name(NameText),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrefixText {
    prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameText {
    name: String,
}

/// A name that was meant to be a pattern.
struct Misleading(String);

impl TryFrom<NamesText> for Names {
    type Error = Misleading;

    fn try_from(text: NamesText) -> Result<Self, Misleading> {
        let is_part = |token: &str| token.len() > 1 && token.contains(['*', '>']);
        Ok(match text {
            NamesText::Text(text) if text.split('.').any(is_part) => return Err(Misleading(text)),
            NamesText::Text(text) => text.into(),
            NamesText::Prefix(PrefixText { prefix }) => Self::prefix(prefix),
            NamesText::Name(NameText { name }) => Self::name(name),
        })
    }
}

impl TryFrom<Allowed> for Permissions {
    type Error = Misleading;

    fn try_from(allowed: Allowed) -> Result<Self, Misleading> {
        let Allowed { publish, subscribe, groups, administer } = allowed;
        let mut permissions = if administer { Self::none().administer() } else { Self::none() };
        for names in publish {
            permissions = permissions.publish(Names::try_from(names)?);
        }
        for names in subscribe {
            permissions = permissions.subscribe(Names::try_from(names)?);
        }
        for names in groups {
            permissions = permissions.group(Names::try_from(names)?);
        }
        Ok(permissions)
    }
}

/// The file.
#[derive(Debug)]
pub(crate) struct AccessFile {
    path: PathBuf,
    /// Whether clients prove keys.
    has_curve: bool,
}

impl Source for AccessFile {
    type Content = Access;
    type Error = AccessFileError;

    const WHAT: &'static str = "the permissions";
    const INTERVAL: Duration = Duration::from_millis(500);

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        Ok(vec![self.path.clone()])
    }

    fn read(&self) -> Result<(Access, Vec<AccessFileError>), AccessFileError> {
        let access = read_file(&self.path)?;
        let is_vain = access.has_keys() && !self.has_curve;
        let path = || self.path.clone();
        let wrong = is_vain.then(|| AccessFileError::KeysWithoutCurve { path: path() });
        Ok((access, wrong.into_iter().collect()))
    }
}

/// Reads the file, and what follows it. `has_curve`: clients prove keys.
///
/// # Errors
/// A file that cannot be used.
pub(crate) fn read(
    path: PathBuf,
    has_curve: bool,
) -> Result<(Access, Watched<AccessFile>), AccessFileError> {
    let watched = Watched::read(AccessFile { path, has_curve })?;
    Ok((watched.content().clone(), watched))
}

/// Reads a file that says what each client may do.
///
/// # Errors
/// A file that cannot be read, that others than its owner may read or write, or that says something else.
pub fn read_file(path: impl AsRef<Path>) -> Result<Access, AccessFileError> {
    let path = path.as_ref();
    let system = |source| AccessFileError::System { path: path.to_owned(), source };
    // A pipe would keep whoever opens it waiting.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(system)?;
    // Of the file that was opened, whatever the path names now.
    let about = file.metadata().map_err(system)?;
    if !about.is_file() {
        return Err(AccessFileError::NoFile { path: path.to_owned() });
    }
    let mode = about.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(AccessFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    let bytes = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(system)?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(AccessFileError::TooLarge { path: path.to_owned() });
    }
    parse(path, &text)
}

/// What is wrong, without what the file has there.
fn without_values(message: &str) -> String {
    // Nothing but a hash begins so.
    if message.contains("$argon2") {
        return "something else is expected where a hash of a password stands".to_owned();
    }
    let shown = ["string \"", "character `"].iter().find_map(|kind| message.find(kind));
    let message = match (shown, message.rfind(", expected ")) {
        (Some(from), Some(to)) if from < to => {
            let kind = message[from..].split(' ').next().unwrap_or_default();
            format!("{}{kind}{}", &message[..from], &message[to..])
        }
        _ => message.to_owned(),
    };
    escape_hidden(&message.replace('\n', ", "))
}

fn toml_error(path: &Path, text: &str, error: &toml::de::Error) -> AccessFileError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    AccessFileError::Toml {
        path: path.to_owned(),
        line,
        column,
        what: without_values(error.message()),
    }
}

fn parse(path: &Path, text: &str) -> Result<Access, AccessFileError> {
    let text: Text = toml::from_str(text).map_err(|error| toml_error(path, text, &error))?;
    let misleading = |Misleading(names)| AccessFileError::Pattern {
        path: path.to_owned(),
        names: escape_hidden(&names),
    };
    let mut access = Access::new().others(text.others.try_into().map_err(misleading)?);
    for (at, client) in (1..).zip(text.client) {
        let wrong = |problem| AccessFileError::Client { path: path.to_owned(), at, problem };
        let Client { key, user, password, publish, subscribe, groups, administer } = client;
        let allowed = Allowed { publish, subscribe, groups, administer };
        let permissions = allowed.try_into().map_err(misleading)?;
        let (is_again, with) = match (key, user, password) {
            (Some(key), None, None) => {
                let key: PublicKey =
                    key.parse().map_err(|error| wrong(ClientProblem::Key(error)))?;
                (access.has_key(&key), access.key(key, permissions))
            }
            (None, Some(user), Some(password)) => {
                let password: PasswordHash =
                    password.parse().map_err(|error| wrong(ClientProblem::Password(error)))?;
                (access.has_user(&user), access.user(user, password, permissions))
            }
            _ => return Err(wrong(ClientProblem::Who)),
        };
        if is_again {
            return Err(wrong(ClientProblem::Again));
        }
        access = with;
    }
    access.check().map_err(|source| AccessFileError::Names { path: path.to_owned(), source })?;
    Ok(access)
}
