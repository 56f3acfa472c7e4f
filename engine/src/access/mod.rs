//! Permissions: the identities of clients, and what each is allowed.
//!
//! A server that has an [`Access`] allows only what it lists. A connection is identified by its key (CURVE), by its user
//! (PLAIN), or not at all.
//!
//! ```
//! use mezzenger::access::{Access, Permissions};
//! use mezzenger::curve::{AuthorizedKeys, KeyPair};
//! use mezzenger::{Client, SendError, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (server_keys, shop) = (KeyPair::generate(), KeyPair::generate());
//! let access = Access::new().key(shop.public(), Permissions::none().publish("orders.>"));
//! let builder = Server::builder().pub_port(0).recv_port(0).access(access);
//! let server = builder.curve(server_keys.clone(), AuthorizedKeys::any()).start()?;
//!
//! let builder = Client::builder().port(server.recv_addr().port());
//! let client = builder.curve(shop, server_keys.public()).connect()?;
//! client.message("orders.new", "tea").send()?;
//! let refused = client.message("prices", "free").send().unwrap_err();
//! assert!(matches!(refused, SendError::NotAllowed { .. }));
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::curve::PublicKey;
use crate::wire::filter::{Filter, FilterError, has_wildcard};

mod password;
#[cfg(test)]
mod tests;

pub use self::password::{ParsePasswordHashError, PasswordHash};

/// Longest name of a user, in bytes: its length is sent in one byte.
const USER_BYTES_MAX: usize = 255;

/// Names shown in the text of a rejection.
const NAMES_SHOWN_MAX: usize = 8;

/// Allowed names, of messages or of groups.
///
/// A text is a name, or a pattern if one of its tokens is `*` or `>`: `"orders.new"`, `"orders.>"`, and `">"` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    kind: u8,
    text: Box<str>,
}

impl Names {
    /// This name alone, even if it looks like a pattern.
    pub fn name(name: impl Into<String>) -> Self {
        Self::of(&Filter::Name(&name.into()))
    }

    /// All names that begin with this text.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self::of(&Filter::Prefix(&prefix.into()))
    }

    fn of(filter: &Filter<'_>) -> Self {
        Self { kind: filter.kind(), text: filter.text().into() }
    }

    /// Checks it against the rules for names and patterns.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self) -> Result<(), FilterError> {
        Filter::read(self.kind, self.text.as_bytes()).map(drop)
    }

    fn filter(&self) -> Filter<'_> {
        match self.kind {
            0 => Filter::Name(&self.text),
            1 => Filter::Prefix(&self.text),
            _ => Filter::Pattern(&self.text),
        }
    }
}

impl From<&str> for Names {
    fn from(text: &str) -> Self {
        Self::of(&if has_wildcard(text) { Filter::Pattern(text) } else { Filter::Name(text) })
    }
}

impl From<String> for Names {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter().fmt(f)
    }
}

/// What a client may do. It may always ping, reply to requests that it received, and receive the replies to its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    publish: Vec<Names>,
    subscribe: Vec<Names>,
    groups: Vec<Names>,
    administer: bool,
}

/// What needs permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Publish,
    Subscribe,
    Group,
}

impl Permissions {
    /// Permits nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Permits everything.
    pub fn all() -> Self {
        Self::none().publish(">").subscribe(">").group(">").administer()
    }

    /// Allows it to publish under these names, too.
    #[must_use]
    pub fn publish(mut self, names: impl Into<Names>) -> Self {
        self.publish.push(names.into());
        self
    }

    /// Allows it to receive and acknowledge messages of these names, too. A subscription is allowed if one of the allowed names,
    /// prefixes or patterns covers all names of its filter. A ZeroMQ SUB socket may subscribe to more, and receives what is allowed.
    #[must_use]
    pub fn subscribe(mut self, names: impl Into<Names>) -> Self {
        self.subscribe.push(names.into());
        self
    }

    /// Allows it to join these groups, too, for messages that it may receive.
    #[must_use]
    pub fn group(mut self, names: impl Into<Names>) -> Self {
        self.groups.push(names.into());
        self
    }

    /// Allows it to create, list and delete the groups that it may join, to show, replay and purge their dead letters, to list the
    /// retained messages that it may receive, and to clear those that it may publish.
    #[must_use]
    pub fn administer(mut self) -> Self {
        self.administer = true;
        self
    }

    fn of(&self, operation: Operation) -> &[Names] {
        match operation {
            Operation::Publish => &self.publish,
            Operation::Subscribe => &self.subscribe,
            Operation::Group => &self.groups,
        }
    }

    /// Whether a name is allowed.
    pub(crate) fn allows(&self, operation: Operation, name: &str) -> bool {
        self.of(operation).iter().any(|names| names.filter().fits(name))
    }

    /// Whether some name is allowed.
    pub(crate) fn allows_any(&self, operation: Operation) -> bool {
        !self.of(operation).is_empty()
    }

    /// Whether one of the allowed names, prefixes or patterns covers all names of a filter.
    pub(crate) fn covers(&self, operation: Operation, asked: &Filter<'_>) -> bool {
        self.of(operation).iter().any(|names| names.filter().covers(asked))
    }

    /// Whether it may administer.
    pub(crate) fn administers(&self) -> bool {
        self.administer
    }

    /// Whether everything that the other allows is allowed.
    fn includes(&self, other: &Self) -> bool {
        (self.administer || !other.administer)
            && [Operation::Publish, Operation::Subscribe, Operation::Group].into_iter().all(
                |operation| {
                    other.of(operation).iter().all(|names| self.covers(operation, &names.filter()))
                },
            )
    }

    /// What is allowed, for the text of a rejection.
    pub(crate) fn shown(&self, operation: Operation) -> String {
        let all = self.of(operation);
        if all.is_empty() {
            return "nothing".to_owned();
        }
        let shown: Vec<_> = all.iter().take(NAMES_SHOWN_MAX).map(ToString::to_string).collect();
        match all.len().saturating_sub(NAMES_SHOWN_MAX) {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    }

    fn check(&self) -> Result<(), (String, FilterError)> {
        for names in [&self.publish, &self.subscribe, &self.groups].into_iter().flatten() {
            names.check().map_err(|error| (names.text.to_string(), error))?;
        }
        Ok(())
    }
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Identity {
    /// The client with this public key, which proved that it has the secret one.
    Key(PublicKey),
    /// The user, who gave the right password.
    User(Arc<str>),
    /// A client that was not asked who it is.
    Nobody,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {key}"),
            Self::User(user) => write!(f, "user '{}'", user.escape_debug()),
            Self::Nobody => f.write_str("a client without a key"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    password: PasswordHash,
    permissions: Arc<Permissions>,
}

/// What each client of a server may do. Anything not listed is not allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    keys: BTreeMap<PublicKey, Arc<Permissions>>,
    users: BTreeMap<Arc<str>, User>,
    others: Arc<Permissions>,
}

impl Access {
    /// Allows nothing to anybody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the client with this key may do, in place of an earlier setting.
    #[must_use]
    pub fn key(mut self, key: PublicKey, permissions: Permissions) -> Self {
        self.keys.insert(key, permissions.into());
        self
    }

    /// Adds a user, with a password and permissions, in place of an earlier one of this name. With users, a server accepts only
    /// clients that log in with a user's name and password (PLAIN). These travel unencrypted: the network must encrypt.
    ///
    /// ```
    /// use mezzenger::access::{Access, PasswordHash, Permissions};
    /// use mezzenger::{Client, Server};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let shop = Permissions::none().publish("orders.>");
    /// let access = Access::new().user("shop", PasswordHash::of("open sesame"), shop);
    /// let server = Server::builder().pub_port(0).recv_port(0).access(access).start()?;
    ///
    /// let builder = Client::builder().port(server.recv_addr().port());
    /// let client = builder.plain("shop", "open sesame").connect()?;
    /// client.message("orders.new", "tea").send()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn user(
        mut self,
        name: impl Into<String>,
        password: PasswordHash,
        permissions: Permissions,
    ) -> Self {
        let permissions = permissions.into();
        self.users.insert(name.into().into(), User { password, permissions });
        self
    }

    /// Sets what all other clients may do: those with other keys, or without keys.
    #[must_use]
    pub fn others(mut self, permissions: Permissions) -> Self {
        self.others = permissions.into();
        self
    }

    /// Whether the client with this key is listed.
    pub fn has_key(&self, key: &PublicKey) -> bool {
        self.keys.contains_key(key)
    }

    /// Whether the user with this name is listed.
    pub fn has_user(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// Whether a client is listed by its key.
    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether there are users, who log in with a password.
    pub fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// Checks all names, patterns and users.
    ///
    /// # Errors
    /// A text that is neither a name nor a pattern, with the rule that it breaks; a user's name that breaks a rule; passwords
    /// whose hashes take different times to check.
    pub fn check(&self) -> Result<(), AccessError> {
        for name in self.users.keys() {
            let is_right = !name.is_empty()
                && name.len() <= USER_BYTES_MAX
                && !name.chars().any(char::is_control);
            if !is_right {
                return Err(AccessError::User(name.to_string()));
            }
        }
        if let Some((first, user)) = self.users.iter().next() {
            let cost = user.password.cost();
            if let Some((other, user)) =
                self.users.iter().find(|(_, it)| it.password.cost() != cost)
            {
                return Err(AccessError::Costs {
                    users: [first.to_string(), other.to_string()],
                    costs: [cost.to_owned(), user.password.cost().to_owned()],
                });
            }
        }
        let users = self.users.values().map(|user| &user.permissions);
        for permissions in self.keys.values().chain(users).chain([&self.others]) {
            permissions.check().map_err(|(names, source)| AccessError::Names { names, source })?;
        }
        Ok(())
    }

    /// The hash to compare a user's password with, and whether there is such a user. For an unknown user it is another user's hash, so
    /// that the comparison takes as long: all hashes have the same parameters. `None` without any users.
    pub(crate) fn password_of(&self, user: &str) -> Option<(PasswordHash, bool)> {
        let known = self.users.get(user);
        let hash = known.or_else(|| self.users.values().next())?.password.clone();
        Some((hash, known.is_some()))
    }

    /// What a client may do.
    pub(crate) fn of(&self, identity: &Identity) -> &Arc<Permissions> {
        match identity {
            Identity::Key(key) => self.keys.get(key).unwrap_or(&self.others),
            Identity::User(user) => {
                self.users.get(user).map_or(&self.others, |user| &user.permissions)
            }
            Identity::Nobody => &self.others,
        }
    }

    /// Whether a client may still do everything that it might before, and is identified in the same way.
    pub(crate) fn keeps(&self, identity: &Identity, before: &Self) -> bool {
        if let Identity::User(user) = identity {
            let password = |access: &Self| access.users.get(user).map(|it| it.password.clone());
            if password(self).is_none() || password(self) != password(before) {
                return false;
            }
        }
        self.of(identity).includes(before.of(identity))
    }
}

/// Why an [`Access`] cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// A text is neither a name nor a pattern.
    #[error("access to '{}': {source}", names.escape_debug())]
    Names {
        /// What was given.
        names: String,
        /// The rule that it breaks.
        source: FilterError,
    },
    /// A user's name breaks a rule.
    #[error(
        "a user's name has 1 to {USER_BYTES_MAX} bytes and no control characters, and '{}' does not fit that",
        _0.escape_debug()
    )]
    User(String),
    /// Password hashes take different times to check, which would show strangers which users exist.
    #[error(
        "the passwords of '{}' and '{}' are hashed with different parameters ({} and {}), so that strangers could find out users by \
         how long a refusal takes: make all hashes with mezzenger hash-password",
        users[0].escape_debug(), users[1].escape_debug(), costs[0], costs[1]
    )]
    Costs {
        /// The two users.
        users: [String; 2],
        /// The parameters of each.
        costs: [String; 2],
    },
    /// Users were added to a running server that was started without users.
    #[error(
        "there were no users when the server started, and it asks for no passwords until it is started again"
    )]
    NoUsers,
}
