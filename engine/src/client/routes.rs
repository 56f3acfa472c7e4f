//! Who in this client wants which messages.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::message::Message;
use crate::wire::frame::{V2, v2_prefix};

/// What is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Messages of exactly this name.
    Name(String),
    /// Messages whose name begins so.
    Prefix(String),
}

impl Target {
    /// What the subscribing socket filters by.
    pub(super) fn topic(&self) -> Vec<u8> {
        match self {
            Self::Name(name) => v2_prefix(name),
            Self::Prefix(prefix) => [&[V2], prefix.as_bytes()].concat(),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Name(text) | Self::Prefix(text) => text,
        }
    }
}

/// A callback, which returns why it failed.
pub(super) type Callback = Box<dyn FnMut(&[u8], &Message) -> Option<String> + Send>;

/// A receiver with its number.
struct Route {
    number: u64,
    callback: Callback,
}

/// All receivers of a client.
#[derive(Default)]
pub(super) struct Routes {
    names: HashMap<String, Vec<Route>>,
    prefixes: Vec<(String, Route)>,
    last_number: u64,
}

impl Routes {
    /// Adds a receiver and returns its number.
    pub(super) fn add(&mut self, target: &Target, callback: Callback) -> u64 {
        self.last_number += 1;
        let route = Route { number: self.last_number, callback };
        match target {
            Target::Name(name) => self.names.entry(name.clone()).or_default().push(route),
            Target::Prefix(prefix) => self.prefixes.push((prefix.clone(), route)),
        }
        self.last_number
    }

    /// Removes the receivers of exactly this target that `which` picks, and returns how many.
    fn remove_where(&mut self, target: &Target, which: impl Fn(&Route) -> bool) -> usize {
        let removed: Vec<Route> = match target {
            Target::Name(name) => {
                let Some(routes) = self.names.get_mut(name) else { return 0 };
                let removed = routes.extract_if(.., |route| which(route)).collect();
                if routes.is_empty() {
                    self.names.remove(name);
                }
                removed
            }
            Target::Prefix(prefix) => {
                let removed =
                    self.prefixes.extract_if(.., |(text, route)| text == prefix && which(route));
                removed.map(|(_, route)| route).collect()
            }
        };
        let count = removed.len();
        removed.into_iter().for_each(discard);
        count
    }

    /// Removes all receivers of a target, and returns how many they were.
    pub(super) fn remove(&mut self, target: &Target) -> usize {
        self.remove_where(target, |_| true)
    }

    /// Removes one receiver, and returns whether it was there.
    pub(super) fn remove_number(&mut self, target: &Target, number: u64) -> bool {
        self.remove_where(target, |route| route.number == number) > 0
    }

    /// All that receive messages of this name.
    pub(super) fn of(&mut self, name: &str) -> impl Iterator<Item = &mut Callback> {
        let named = self.names.get_mut(name).into_iter().flatten();
        let prefixed = self.prefixes.iter_mut().filter(|(prefix, _)| name.starts_with(&**prefix));
        named.chain(prefixed.map(|(_, route)| route)).map(|route| &mut route.callback)
    }

    /// Whether anyone receives messages of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
            || self.prefixes.iter().any(|(prefix, _)| name.starts_with(&**prefix))
    }

    /// The end of all.
    pub(super) fn clear(&mut self) {
        self.names.drain().flat_map(|(_, routes)| routes).for_each(discard);
        self.prefixes.drain(..).for_each(|(_, route)| discard(route));
    }
}

fn discard(route: Route) {
    // What a callback captured is foreign code, and may panic when dropped.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(route)));
}
