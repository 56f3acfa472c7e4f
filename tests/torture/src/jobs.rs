//! Jobs: the messages that durable groups work at. Names, times, and what a worker says of each follow from its
//! key alone.

use std::time::{SystemTime, UNIX_EPOCH};

use fastrand::Rng;

use crate::content::Key;

/// A durable group of the torture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// The pattern that is its filter.
    pub pattern: &'static str,
    /// How often it gets a message before that becomes a dead letter; 0: without end.
    pub attempts_max: u16,
}

/// How many groups there are.
pub const GROUPS: usize = 2;

/// The groups. Their filters overlap: a third of the jobs is for both.
pub const ALL: [Group; GROUPS] = [
    Group { name: "patient", pattern: "jobs.*.x", attempts_max: 0 },
    Group { name: "strict", pattern: "jobs.b.*", attempts_max: 3 },
];

/// The groups that work at one under each name, and the names.
const NAMES: [(&str, [bool; GROUPS]); 3] =
    [("jobs.a.x", [true, false]), ("jobs.b.x", [true, true]), ("jobs.b.y", [false, true])];

/// How long those are held, or count, that come, or expire, after the end of any torture.
const FAR_MS: u64 = 24 * 60 * 60 * 1000;

fn named(key: Key) -> (&'static str, [bool; GROUPS]) {
    NAMES[key.number as usize % NAMES.len()]
}

/// The name that a job is published under.
pub fn name(key: Key) -> &'static str {
    named(key).0
}

/// Which groups have to work at it.
pub fn groups(key: Key) -> [bool; GROUPS] {
    named(key).1
}

/// When a job is delivered, and when it expires: milliseconds from when it is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// It is held until then.
    pub due_in: Option<u64>,
    /// It counts until then.
    pub expires_in: Option<u64>,
}

/// The times of a job. Those that are near lie in the time that processes are away for.
pub fn times(key: Key) -> Times {
    let mut random = Rng::with_seed(u64::from(key.publisher) << 32 | u64::from(key.number));
    let mut within = |ms: u64| Some(random.u64(..ms));
    let (due_in, expires_in) = match key.number % 32 {
        1 | 5 | 12 | 21 => (within(800), None),
        2 | 6 | 14 | 26 => (None, within(400)),
        9 | 25 => {
            let due = within(400);
            (due, due.zip(within(300)).map(|(due, more)| due + more))
        }
        10 => (None, Some(FAR_MS)),
        31 => (Some(FAR_MS), None),
        _ => (None, None),
    };
    Times { due_in, expires_in }
}

/// What a worker says of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is done.
    Ack,
    /// It is to come again.
    Nak,
    /// It will never be done.
    Reject,
    /// Nothing at all.
    Nothing,
}

/// What a worker of a group says of a job.
pub fn word(key: Key, group: usize, attempt: u16) -> Word {
    let number = key.number;
    let is_strict = ALL.get(group).is_some_and(|group| group.attempts_max > 0);
    match (number % 31, number % 23, number % 7, number % 5) {
        (7, ..) if is_strict => Word::Reject,
        (_, 5, ..) if is_strict => Word::Nak,
        (_, _, 3, _) if attempt == 1 => Word::Nothing,
        (_, _, _, 2) if attempt == 1 => Word::Nak,
        _ => Word::Ack,
    }
}

/// Milliseconds since the Unix epoch. All processes of a torture see one clock, and what is said of times holds while
/// nobody sets it.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use mezzenger::wire::filter::Filter;

    use super::*;

    fn keys() -> impl Iterator<Item = Key> {
        (0..5000).map(|number| Key { publisher: 3, number })
    }

    #[test]
    fn the_groups_of_a_name_are_those_whose_filters_fit_it() {
        for (name, groups) in NAMES {
            let fits = ALL.map(|group| Filter::Pattern(group.pattern).fits(name));
            assert_eq!(fits, groups, "{name}");
        }
        assert!(keys().any(|key| groups(key) == [true, true]));
    }

    #[test]
    fn each_kind_of_time_and_each_word_comes_up_in_each_group_that_has_it() {
        let count = |is: &dyn Fn(Key) -> bool| keys().filter(|key| is(*key)).count();
        let kind = |key: Key| (times(key).due_in.is_some(), times(key).expires_in.is_some());
        for kinds in [(false, false), (true, false), (false, true), (true, true)] {
            assert!(count(&|key| kind(key) == kinds) > 100, "{kinds:?}");
        }
        for (group, words) in [(0, 3), (1, 4)] {
            let all = [Word::Ack, Word::Nak, Word::Nothing, Word::Reject];
            for wanted in &all[..words] {
                let said = |key| groups(key)[group] && word(key, group, 1) == *wanted;
                assert!(count(&said) > 50, "{group}: {wanted:?}");
            }
        }
        // All others are done at the second attempt.
        assert!(keys().all(|key| word(key, 0, 2) == Word::Ack));
    }
}
