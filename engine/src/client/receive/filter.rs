//! The filter of a subscription.

use std::fmt;

use crate::client::error::SubscribeError;
use crate::wire::filter::{self, FilterError};

/// Selects messages by name: one name, a prefix, or a pattern of tokens separated by `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The one name.
    Name(String),
    /// All names that begin with this text; the empty text selects all.
    Prefix(String),
    /// All names whose tokens match: `*` matches any one token, and `>` at the end one or more.
    Pattern(String),
}

impl Filter {
    /// Selects one name, literally, also if it looks like a pattern.
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name(name.into())
    }

    /// Selects all names that begin with `prefix`; the empty prefix selects all.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self::Prefix(prefix.into())
    }

    /// Selects all names that match a pattern of tokens: `*` matches any one token, and `>` at the end one or more.
    ///
    /// ```
    /// use mezzenger::Filter;
    ///
    /// assert!(Filter::pattern("orders.*.paid").fits("orders.7.paid"));
    /// assert!(Filter::pattern("orders.>").fits("orders.7.paid"));
    /// assert!(!Filter::pattern("orders.*").fits("orders.7.paid"));
    /// ```
    pub fn pattern(pattern: impl Into<String>) -> Self {
        Self::Pattern(pattern.into())
    }

    /// The filter that a text from a user or a configuration stands for: a pattern if one of its tokens is `*` or `>`, one
    /// name otherwise. [`Self::check`] says whether it can be used.
    ///
    /// ```
    /// use mezzenger::Filter;
    ///
    /// assert_eq!(Filter::from_text("orders.new"), Filter::name("orders.new"));
    /// assert_eq!(Filter::from_text("orders.>"), Filter::pattern("orders.>"));
    /// ```
    pub fn from_text(text: impl Into<String>) -> Self {
        let text = text.into();
        if filter::has_wildcard(&text) { Self::Pattern(text) } else { Self::Name(text) }
    }

    /// Whether it selects messages of this name.
    pub fn fits(&self, name: &str) -> bool {
        self.wire().fits(name)
    }

    /// Checks the text against the rules for names and patterns, as the server does.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self) -> Result<(), FilterError> {
        let wire = self.wire();
        filter::Filter::read(wire.kind(), wire.text().as_bytes()).map(drop)
    }

    /// The filter of a call that takes a name alone.
    ///
    /// # Errors
    /// [`SubscribeError::Pattern`] for a text that looks like a pattern: as a name it would match next to nothing, silently.
    pub(in crate::client) fn of_name(name: &str) -> Result<Self, SubscribeError> {
        if filter::has_wildcard(name) {
            return Err(SubscribeError::Pattern { text: name.to_owned() });
        }
        Ok(Self::name(name))
    }

    /// The filter with this number of its kind in the wire format, if it is one.
    pub(in crate::client) fn read(kind: u8, text: &str) -> Option<Self> {
        let owned = text.to_owned();
        Some(match filter::Filter::read(kind, text.as_bytes()).ok()? {
            filter::Filter::Name(_) => Self::Name(owned),
            filter::Filter::Prefix(_) => Self::Prefix(owned),
            filter::Filter::Pattern(_) => Self::Pattern(owned),
        })
    }

    pub(super) fn is_pattern(&self) -> bool {
        matches!(self, Self::Pattern(_))
    }

    /// Its text.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Name(text) | Self::Prefix(text) | Self::Pattern(text) => text,
        }
    }

    pub(in crate::client) fn wire(&self) -> filter::Filter<'_> {
        match self {
            Self::Name(text) => filter::Filter::Name(text),
            Self::Prefix(text) => filter::Filter::Prefix(text),
            Self::Pattern(text) => filter::Filter::Pattern(text),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wire().fmt(f)
    }
}
