//! Patterns over the tokens of names: a tree with a level for each token.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::filter::{ANY_REST, ANY_TOKEN, TOKEN_SEPARATOR};

/// A point in the tree: what patterns that begin with the tokens up to here go on with.
#[derive(Debug, Default)]
struct Level {
    tokens: BTreeMap<Box<str>, Level>,
    any: Option<Box<Level>>,
    /// Subscriptions whose pattern ends here.
    ending: BTreeSet<u64>,
    /// Subscriptions whose pattern ends with `>` here.
    rest: BTreeSet<u64>,
}

impl Level {
    fn is_empty(&self) -> bool {
        self.tokens.is_empty()
            && self.any.is_none()
            && self.ending.is_empty()
            && self.rest.is_empty()
    }

    /// The subscriptions of a pattern, made if they are not there.
    fn entry(&mut self, pattern: &str) -> &mut BTreeSet<u64> {
        let mut level = self;
        for token in pattern.split(TOKEN_SEPARATOR) {
            level = match token {
                ANY_REST => return &mut level.rest,
                ANY_TOKEN => level.any.get_or_insert_default(),
                token => level.tokens.entry(token.into()).or_default(),
            };
        }
        &mut level.ending
    }

    /// Takes a subscription out, and the levels that are empty then. At most 128 deep: a name has 255 bytes.
    fn remove(&mut self, pattern: &str, subscription: u64) {
        let (token, rest) = match pattern.split_once(TOKEN_SEPARATOR) {
            Some((token, rest)) => (token, Some(rest)),
            None => (pattern, None),
        };
        if token == ANY_REST {
            self.rest.remove(&subscription);
            return;
        }
        let next = match token {
            ANY_TOKEN => self.any.as_deref_mut(),
            token => self.tokens.get_mut(token),
        };
        let Some(next) = next else { return };
        match rest {
            Some(rest) => next.remove(rest, subscription),
            None => _ = next.ending.remove(&subscription),
        }
        if next.is_empty() {
            match token {
                ANY_TOKEN => self.any = None,
                token => _ = self.tokens.remove(token),
            }
        }
    }
}

/// All patterns that somebody subscribed to.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    root: Level,
}

impl Patterns {
    /// Adds a subscription to a pattern whose rules were checked.
    pub(super) fn add(&mut self, pattern: &str, subscription: u64) {
        self.root.entry(pattern).insert(subscription);
    }

    /// Takes a subscription out.
    pub(super) fn remove(&mut self, pattern: &str, subscription: u64) {
        self.root.remove(pattern, subscription);
    }

    /// The subscriptions to patterns that a name fits.
    pub(super) fn of(&self, name: &str, mut found: impl FnMut(u64)) {
        if self.root.is_empty() {
            return;
        }
        // The points that the tokens so far lead to.
        let (mut here, mut next) = (vec![&self.root], Vec::new());
        for token in name.split(TOKEN_SEPARATOR) {
            for level in here.drain(..) {
                level.rest.iter().copied().for_each(&mut found);
                next.extend(level.any.as_deref());
                next.extend(level.tokens.get(token));
            }
            std::mem::swap(&mut here, &mut next);
            if here.is_empty() {
                return;
            }
        }
        for level in here {
            level.ending.iter().copied().for_each(&mut found);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::filter::Filter;

    proptest! {
        #[test]
        fn a_name_finds_the_patterns_that_it_fits(
            patterns in prop::collection::vec(r"([ab*]\.){0,3}[ab*>]", 0..30),
            names in prop::collection::vec(r"([abc]?\.){0,3}[abc]", 1..20),
        ) {
            let mut tree = Patterns::default();
            for (pattern, number) in patterns.iter().zip(0..) {
                tree.add(pattern, number);
            }
            for removed in 0..=patterns.len() {
                for name in &names {
                    let mut found = Vec::new();
                    tree.of(name, |number| found.push(number));
                    found.sort_unstable();
                    let fits = |number: &u64| Filter::Pattern(&patterns[*number as usize]).fits(name);
                    let expected: Vec<u64> =
                        (removed as u64..patterns.len() as u64).filter(fits).collect();
                    prop_assert_eq!(found, expected);
                }
                if let Some(pattern) = patterns.get(removed) {
                    tree.remove(pattern, removed as u64);
                }
            }
            prop_assert!(tree.is_empty());
        }
    }
}
