//! The permissions file, which may change while the server runs.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mezzenger::access::{
    Access, AccessError, Names, ParsePasswordHashError, PasswordHash, Permissions,
};
use mezzenger::curve::{ParseKeyError, PublicKey};
use serde::Deserialize;

use crate::watch::{Source, Watched};

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
    /// It is too large.
    #[error("{path} has more than {FILE_BYTES_MAX} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no TOML, or has another structure.
    #[error("{path}: {source}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where, and why.
        source: Box<toml::de::Error>,
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

impl From<NamesText> for Names {
    fn from(text: NamesText) -> Self {
        match text {
            NamesText::Text(text) => text.into(),
            NamesText::Prefix(PrefixText { prefix }) => Self::prefix(prefix),
            NamesText::Name(NameText { name }) => Self::name(name),
        }
    }
}

impl From<Allowed> for Permissions {
    fn from(Allowed { publish, subscribe, groups, administer }: Allowed) -> Self {
        let permissions = publish.into_iter().fold(Self::none(), Self::publish);
        let permissions = subscribe.into_iter().fold(permissions, Self::subscribe);
        let permissions = groups.into_iter().fold(permissions, Self::group);
        if administer { permissions.administer() } else { permissions }
    }
}

/// The file.
#[derive(Debug)]
pub(crate) struct AccessFile(PathBuf);

impl Source for AccessFile {
    type Content = Access;
    type Error = AccessFileError;

    const WHAT: &'static str = "the permissions";
    const INTERVAL: Duration = Duration::from_millis(500);

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        Ok(vec![self.0.clone()])
    }

    fn read(&self) -> Result<Access, AccessFileError> {
        read_file(&self.0)
    }
}

/// Reads the file, and what follows it.
///
/// # Errors
/// A file that cannot be used.
pub(crate) fn read(path: PathBuf) -> Result<(Access, Watched<AccessFile>), AccessFileError> {
    let access = read_file(&path)?;
    Ok((access.clone(), Watched::new(AccessFile(path), access)))
}

/// Reads a file that says what each client may do.
///
/// # Errors
/// A file that cannot be read, that others than its owner may read or write, or that says something else.
pub fn read_file(path: impl AsRef<Path>) -> Result<Access, AccessFileError> {
    let path = path.as_ref();
    let system = |source| AccessFileError::System { path: path.to_owned(), source };
    let file = File::open(path).map_err(system)?;
    // Of the file that was opened, whatever the path names now.
    let mode = file.metadata().map_err(system)?.mode() & 0o7777;
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

fn parse(path: &Path, text: &str) -> Result<Access, AccessFileError> {
    let text: Text = toml::from_str(text).map_err(|source| {
        let (path, source) = (path.to_owned(), source.into());
        AccessFileError::Toml { path, source }
    })?;
    let mut access = Access::new().others(text.others.into());
    for (at, client) in (1..).zip(text.client) {
        let wrong = |problem| AccessFileError::Client { path: path.to_owned(), at, problem };
        let Client { key, user, password, publish, subscribe, groups, administer } = client;
        let permissions = Allowed { publish, subscribe, groups, administer }.into();
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use mezzenger::curve::KeyPair;

    use super::*;

    fn read_text(text: &str) -> Result<Access, AccessFileError> {
        parse(Path::new("access.toml"), text)
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = read_text(text).unwrap_err().to_string();
        assert!(error.starts_with("access.toml") && error.contains(expected), "{error}");
    }

    #[test]
    fn a_file_says_what_each_may_do() {
        let (alice, bob) = (KeyPair::generate().public(), KeyPair::generate().public());
        let text = format!(
            "[[client]]\nkey = '{alice}'\npublish = ['orders.>', {{ prefix = 'x' }}, {{ name = 'a.*' }}]\n\
             subscribe = ['prices']\ngroups = ['packers']\nadminister = true\n\n\
             [[client]]\nkey = '{bob}'\n\n[others]\nsubscribe = ['news.*']\n"
        );
        let shop = Permissions::none()
            .publish("orders.>")
            .publish(Names::prefix("x"))
            .publish(Names::name("a.*"))
            .subscribe("prices")
            .group("packers")
            .administer();
        let expected = Access::new()
            .key(alice, shop)
            .key(bob, Permissions::none())
            .others(Permissions::none().subscribe("news.*"));
        assert_eq!(read_text(&text).unwrap(), expected);
        assert_eq!(read_text("").unwrap(), Access::new());
    }

    #[test]
    fn what_a_file_cannot_say_is_named() {
        let key = KeyPair::generate().public();
        let client = |rest: &str| format!("[[client]]\nkey = '{key}'\n{rest}\n");
        check_error(&client("publsh = []"), "unknown field `publsh`, expected");
        check_error(&client("publsh = []"), "`publish`");
        check_error("[other]", "`others`");
        check_error("[[client]]", "client 1: it has a key, or a user and a password");
        check_error(&client("user = 'a'\npassword = 'b'"), "say one of both");
        check_error("[[client]]\nuser = 'a'", "say one of both");
        check_error("[[client]]\nkey = 'short'", "client 1: key: ");
        check_error(&client(&client("")), "client 2: its key or user is that of another one");
        check_error(&client("publish = ['a..*']"), "access to 'a..*'");
        check_error(&client("publish = [{ prefx = 'a' }]"), "{ prefix =");
        check_error(&client("administer = 1"), "boolean");
    }

    #[test]
    fn users_have_hashes_of_passwords_and_nothing_of_these_is_told() {
        let hash = PasswordHash::of("secret");
        let user = |password: &str| format!("[[client]]\nuser = 'shop'\npassword = '{password}'\n");
        let shop = Permissions::none().publish("a");
        let expected = Access::new().user("shop", hash.clone(), shop);
        let text = format!("{}publish = ['a']\n", user(&hash.to_string()));
        assert_eq!(read_text(&text).unwrap(), expected);
        let error = read_text(&user("hunter2")).unwrap_err().to_string();
        assert!(error.contains("client 1: password: this is no hash"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        check_error(&format!("{}{}", user(&hash.to_string()), user(&hash.to_string())), "client 2");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_what_mends_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.toml");
        fs::write(&path, "").unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_file(&path).unwrap_err().to_string();
            assert!(error.ends_with(&format!("chmod 600 {}", path.display())), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_file(&path).unwrap(), Access::new());
    }
}
