//! One copy of each name that the records of a file hold again and again.

use std::collections::HashSet;

use arcstr::ArcStr;

use crate::limits::NAMES_CACHED_MAX;

/// One shared copy of each name.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: HashSet<ArcStr>,
    last: Option<ArcStr>,
}

impl Names {
    /// The shared copy of this one.
    pub(super) fn share(&mut self, name: &str) -> ArcStr {
        if let Some(last) = &self.last
            && &**last == name
        {
            return last.clone();
        }
        let shared = match self.names.get(name) {
            Some(shared) => shared.clone(),
            None => {
                if self.names.len() >= NAMES_CACHED_MAX {
                    self.names.clear();
                }
                let shared: ArcStr = name.into();
                self.names.insert(shared.clone());
                shared
            }
        };
        self.last = Some(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_name_share_it() {
        let mut names = Names::default();
        let [a, b, again] = ["a", "b", "a"].map(|name| names.share(name));
        assert!(ArcStr::ptr_eq(&a, &again) && !ArcStr::ptr_eq(&a, &b));
    }
}
