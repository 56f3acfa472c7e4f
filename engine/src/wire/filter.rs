//! Filters: one name, all names that begin alike, or a pattern over their tokens.

use std::fmt;

use super::name::{self, NameError, SEPARATOR};
use crate::limits::NAME_BYTES_MAX;

/// What parts the tokens of a name for patterns.
pub const TOKEN_SEPARATOR: char = '.';
/// The token of a pattern that fits any one token.
pub const ANY_TOKEN: &str = "*";
/// The last token of a pattern that fits one or more tokens.
pub const ANY_REST: &str = ">";

/// The names that a subscription is for. The text is of whoever keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Filter<'a> {
    /// The one name.
    Name(&'a str),
    /// All names that begin so; the empty text stands for all.
    Prefix(&'a str),
    /// All names whose tokens, separated by `.`, fit these: `*` fits any one token, and `>` at the end one or more.
    Pattern(&'a str),
}

/// Which rule a filter breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It is no name, nor the beginning of one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two dots follow each other, or one stands at an end.
    #[error("token {at} of a pattern is empty: between dots stands a text, '*' or '>'")]
    EmptyToken {
        /// Which one, from 1.
        at: usize,
    },
    /// `>` stands elsewhere than at the end.
    #[error("'>' is token {at} of {tokens}, and only the last token of a pattern may be '>'")]
    RestNotLast {
        /// Which one, from 1.
        at: usize,
        /// How many there are.
        tokens: usize,
    },
    /// The filter's kind is none that this version knows.
    #[error("a filter is of kind 0 (name), 1 (prefix) or 2 (pattern), and this one of kind {0}")]
    Kind(u8),
}

impl<'a> Filter<'a> {
    /// The number of its kind in the wire format.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Name(_) => 0,
            Self::Prefix(_) => 1,
            Self::Pattern(_) => 2,
        }
    }

    /// Its text.
    pub fn text(&self) -> &'a str {
        match self {
            Self::Name(text) | Self::Prefix(text) | Self::Pattern(text) => text,
        }
    }

    /// Reads a filter of this kind and checks it.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn read(kind: u8, bytes: &'a [u8]) -> Result<Self, FilterError> {
        match kind {
            0 => {
                let name = name::check(bytes)?;
                name::check_publishable(name)?;
                Ok(Self::Name(name))
            }
            1 if bytes.is_empty() => Ok(Self::Prefix("")),
            1 => Ok(Self::Prefix(name::check(bytes)?)),
            2 => {
                let pattern = name::check(bytes)?;
                check_tokens(pattern)?;
                Ok(Self::Pattern(pattern))
            }
            kind => Err(FilterError::Kind(kind)),
        }
    }

    /// Whether a message of this name is wanted. For one filter; the server asks its index.
    pub fn fits(&self, name: &str) -> bool {
        match self {
            Self::Name(text) => *text == name,
            Self::Prefix(text) => name.starts_with(text),
            Self::Pattern(pattern) => {
                let mut tokens = name.split(TOKEN_SEPARATOR);
                for wanted in pattern.split(TOKEN_SEPARATOR) {
                    let Some(token) = tokens.next() else { return false };
                    if wanted == ANY_REST {
                        return true;
                    }
                    if wanted != ANY_TOKEN && wanted != token {
                        return false;
                    }
                }
                tokens.next().is_none()
            }
        }
    }
}

impl Filter<'_> {
    /// Whether all names that fit `asked` fit this one, too. Decided by how both are written, so that it may deny what holds
    /// only because names have an end, as with a prefix of 255 bytes.
    pub fn covers(&self, asked: &Filter<'_>) -> bool {
        match (*self, *asked) {
            (_, Filter::Name(name)) => self.fits(name),
            (Self::Name(name), Filter::Pattern(pattern)) => {
                name == pattern && !has_wildcard(pattern)
            }
            (Self::Name(_), Filter::Prefix(_)) => false,
            (Self::Prefix(prefix), Filter::Prefix(asked)) => asked.starts_with(prefix),
            (Self::Prefix(prefix), Filter::Pattern(pattern)) => {
                literal_beginning(pattern).starts_with(prefix)
            }
            (Self::Pattern(pattern), Filter::Prefix(prefix)) => covers_prefix(pattern, prefix),
            (Self::Pattern(pattern), Filter::Pattern(asked)) => covers_pattern(pattern, asked),
        }
    }
}

/// Whether all names that begin so fit a pattern: it ends with `>`, and the tokens before that are whole in the prefix.
fn covers_prefix(pattern: &str, prefix: &str) -> bool {
    let mut tokens = prefix.split(TOKEN_SEPARATOR).peekable();
    for wanted in pattern.split(TOKEN_SEPARATOR) {
        if wanted == ANY_REST {
            return tokens.peek().is_some();
        }
        let Some(token) = tokens.next() else { return false };
        // Without another one behind it, a name may go on with it.
        let is_whole = tokens.peek().is_some();
        if !is_whole || (wanted != ANY_TOKEN && wanted != token) {
            return false;
        }
    }
    false
}

fn covers_pattern(pattern: &str, asked: &str) -> bool {
    let mut tokens = asked.split(TOKEN_SEPARATOR);
    for wanted in pattern.split(TOKEN_SEPARATOR) {
        let Some(token) = tokens.next() else { return false };
        match wanted {
            ANY_REST => return true,
            _ if token == ANY_REST => return false,
            ANY_TOKEN => {}
            wanted if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) => write!(f, "the name '{text}'"),
            Self::Prefix(text) => write!(f, "the prefix '{text}'"),
            Self::Pattern(text) => write!(f, "the pattern '{text}'"),
        }
    }
}

/// Whether a token of this text is a wildcard, as in a pattern. A name may look so, too.
pub fn has_wildcard(text: &str) -> bool {
    text.split(TOKEN_SEPARATOR).any(|token| token == ANY_TOKEN || token == ANY_REST)
}

/// The tokens of a pattern before its first wildcard, with which all names begin that fit it.
pub fn literal_beginning(pattern: &str) -> &str {
    let mut end = 0;
    for token in pattern.split(TOKEN_SEPARATOR) {
        if token == ANY_TOKEN || token == ANY_REST {
            return &pattern[..end];
        }
        end = pattern.len().min(end + token.len() + 1);
    }
    pattern
}

fn check_tokens(pattern: &str) -> Result<(), FilterError> {
    let tokens = pattern.split(TOKEN_SEPARATOR).count();
    for (at, token) in (1..).zip(pattern.split(TOKEN_SEPARATOR)) {
        if token.is_empty() {
            return Err(FilterError::EmptyToken { at });
        }
        if token == ANY_REST && at < tokens {
            return Err(FilterError::RestNotLast { at, tokens });
        }
    }
    Ok(())
}

// A pattern fits on the wire wherever a name does.
const _: () = assert!(NAME_BYTES_MAX <= u8::MAX as usize && SEPARATOR != TOKEN_SEPARATOR as u8);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_fits(filter: Filter<'_>, fitting: &[&str], others: &[&str]) {
        assert_eq!(Filter::read(filter.kind(), filter.text().as_bytes()), Ok(filter));
        for name in fitting {
            assert!(filter.fits(name), "{filter:?} {name}");
        }
        for name in others {
            assert!(!filter.fits(name), "{filter:?} {name}");
        }
    }

    #[test]
    fn each_kind_fits_what_it_says() {
        check_fits(Filter::Name("orders.*"), &["orders.*"], &["orders.new", "orders.*x"]);
        check_fits(Filter::Prefix("or"), &["or", "orders.new"], &["o", "xor"]);
        check_fits(Filter::Prefix(""), &["or", "."], &[]);
        check_fits(Filter::Pattern("orders"), &["orders"], &["orders.new", "order"]);
        check_fits(
            Filter::Pattern("orders.*"),
            &["orders.new", "orders.*", "orders."],
            &["orders", "orders.new.x", "order.new"],
        );
        check_fits(
            Filter::Pattern("orders.>"),
            &["orders.new", "orders.new.x", "orders..x"],
            &["orders", "order.new"],
        );
        check_fits(Filter::Pattern(">"), &["a", "a.b"], &[]);
        check_fits(
            Filter::Pattern("*.new.>"),
            &["orders.new.x", "orders.new.x.y"],
            &["orders.new", "orders.old.x"],
        );
        check_fits(Filter::Pattern("a*.b>"), &["a*.b>"], &["ab.bc", "a.b"]);
    }

    #[track_caller]
    fn check_error(kind: u8, text: &[u8], expected: FilterError) {
        assert_eq!(Filter::read(kind, text), Err(expected));
    }

    #[test]
    fn a_wildcard_is_a_whole_token() {
        for text in ["*", ">", "a.*", "*.a", "a.>", "a.>.b"] {
            assert!(has_wildcard(text), "{text}");
        }
        for text in ["", "a", "a.", "a*", "a.*b", "->", "a.b>"] {
            assert!(!has_wildcard(text), "{text}");
        }
    }

    #[test]
    fn a_filter_covers_what_asks_for_no_more() {
        use Filter::{Name, Pattern, Prefix};
        let all = [Prefix(""), Pattern(">")];
        let some = [Name("a.b"), Prefix("a."), Pattern("a.*"), Pattern("a.>"), Prefix("")];
        for (all, some) in all.iter().flat_map(|all| some.iter().map(move |some| (all, some))) {
            assert!(all.covers(some), "{all} {some}");
        }
        let covered = [
            (Name("a.b"), Name("a.b")),
            (Name("a.b"), Pattern("a.b")),
            (Pattern("a.b"), Name("a.b")),
            (Prefix("a."), Pattern("a.>")),
            (Pattern("a.>"), Prefix("a.")),
            (Pattern("a.>"), Prefix("a.b")),
            (Pattern("*.>"), Prefix("a.b")),
            (Pattern("a.*"), Pattern("a.*")),
            (Pattern("a.>"), Pattern("a.*.>")),
        ];
        let not = [
            (Name("a.*"), Pattern("a.*")),
            (Name("a"), Prefix("a")),
            (Prefix("a."), Pattern("a*.>")),
            (Prefix("a.b"), Pattern("a.*")),
            (Pattern("a.*"), Pattern("a.>")),
            (Pattern("a.*"), Prefix("a.")),
            (Pattern("a.>"), Prefix("a")),
            (Pattern("a.*.>"), Prefix("a.b")),
            (Pattern("a.b"), Pattern("*.b")),
        ];
        for (one, other) in covered {
            assert!(one.covers(&other), "{one}, {other}");
        }
        for (one, other) in not {
            assert!(!one.covers(&other), "{one}, {other}");
        }
    }

    fn any_filter() -> impl Strategy<Value = (u8, String)> {
        prop_oneof![
            r"[ab.*]{1,3}".prop_map(|text| (0, text)),
            r"[ab.*]{0,3}".prop_map(|text| (1, text)),
            r"([ab*]\.){0,2}[ab*>]".prop_map(|text| (2, text)),
        ]
    }

    /// All texts of these letters with up to this many.
    fn texts(letters: &[char], length_max: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut at = 0;
        while at < all.len() {
            if all[at].chars().count() < length_max {
                let longer = letters.iter().map(|letter| format!("{}{letter}", all[at]));
                let longer: Vec<_> = longer.collect();
                all.extend(longer);
            }
            at += 1;
        }
        all.split_off(1)
    }

    proptest! {
        #[test]
        fn what_is_covered_is_what_all_names_say(one in any_filter(), other in any_filter()) {
            let read = |(kind, text): &(u8, String)| {
                Filter::read(*kind, text.as_bytes()).is_ok()
            };
            prop_assume!(read(&one) && read(&other));
            let one = Filter::read(one.0, one.1.as_bytes()).unwrap();
            let other = Filter::read(other.0, other.1.as_bytes()).unwrap();
            let mut missed = texts(&['a', 'b', '.', '*'], 6)
                .into_iter()
                .filter(|name| other.fits(name) && !one.fits(name));
            prop_assert_eq!(one.covers(&other), missed.next().is_none(), "{} {}", one, other);
        }
    }

    #[test]
    fn each_rule_has_its_error() {
        check_error(0, b"", NameError::Empty.into());
        check_error(0, b"ping", NameError::Reserved.into());
        check_error(1, b"a|", NameError::Separator.into());
        check_error(1, b"a\xff", NameError::NotUtf8.into());
        check_error(2, b"", NameError::Empty.into());
        check_error(2, b"a..b", FilterError::EmptyToken { at: 2 });
        check_error(2, b".a", FilterError::EmptyToken { at: 1 });
        check_error(2, b"a.", FilterError::EmptyToken { at: 2 });
        check_error(2, b">.a", FilterError::RestNotLast { at: 1, tokens: 2 });
        check_error(2, &[b'a'; 256], NameError::TooLong { bytes: 256 }.into());
        check_error(3, b"a", FilterError::Kind(3));
    }

    #[test]
    fn what_stands_before_a_wildcard_is_literal() {
        let check = |pattern, expected| assert_eq!(literal_beginning(pattern), expected);
        check("a.b", "a.b");
        check("a.*.b", "a.");
        check("a.>", "a.");
        check(">", "");
        check("*.a", "");
        check("a*.b.>", "a*.b.");
    }
}
