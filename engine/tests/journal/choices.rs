//! Goes through what a lost power may leave: all of it where it is little, much of it where it is more.

use crate::harness::{FEW, Random};

/// Most combinations of choices that are all tried.
const ALL_MAX: usize = if FEW { 32 } else { 1024 };
/// Most choices that are tried alone.
const ALONE_MAX: usize = if FEW { 8 } else { 64 };
/// Most values of one choice that are tried while nothing else changes.
const VALUES_MAX: usize = if FEW { 4 } else { 16 };
/// Random combinations, where not all are tried.
const RANDOM: usize = if FEW { 4 } else { 64 };

/// Answers choices from a list; behind its end with the first value.
struct Fixed<'a> {
    values: &'a [usize],
    /// The choices asked for: how many values each had.
    asked: Vec<usize>,
}

impl Fixed<'_> {
    fn choose(&mut self, n: usize) -> usize {
        let value = self.values.get(self.asked.len()).copied().unwrap_or(0).min(n - 1);
        self.asked.push(n);
        value
    }
}

/// Calls `attempt` with one way to choose after the other, until it fails. Returns how often.
///
/// If there are at most [`ALL_MAX`] ways, with all. Otherwise: nothing kept; all kept; choices alone kept, or
/// alone lost; choices at many of their values, with all before kept and all behind lost; some at random.
pub(crate) fn each<E>(
    seed: u64,
    mut attempt: impl FnMut(&mut dyn FnMut(usize) -> usize) -> Result<(), E>,
) -> Result<usize, E> {
    let mut attempts = 0;
    let mut fixed = |values: &[usize]| {
        let mut fixed = Fixed { values, asked: Vec::new() };
        attempts += 1;
        attempt(&mut |n| fixed.choose(n))?;
        Ok(fixed.asked)
    };
    let asked = fixed(&[])?;
    let ways = asked.iter().try_fold(1_usize, |ways, n| ways.checked_mul(*n));
    if ways.is_some_and(|ways| ways <= ALL_MAX) {
        let mut values = vec![0; asked.len()];
        let mut asked = asked;
        // Counts upwards, the last choice fastest. A choice may decide which others follow.
        while let Some(last) = (0..asked.len()).rev().find(|at| values[*at] + 1 < asked[*at]) {
            values[last] += 1;
            values.truncate(last + 1);
            asked = fixed(&values)?;
            values.resize(asked.len(), 0);
        }
        return Ok(attempts);
    }
    let all: Vec<usize> = asked.iter().map(|n| n - 1).collect();
    fixed(&all)?;
    for (at, n) in asked.iter().enumerate().step_by(asked.len().div_ceil(ALONE_MAX)) {
        let mut alone = vec![0; asked.len()];
        alone[at] = n - 1;
        fixed(&alone)?;
        let mut others = all.clone();
        others[at] = 0;
        fixed(&others)?;
        for value in (1..*n).step_by(n.div_ceil(VALUES_MAX)) {
            let mut first = all[..at].to_vec();
            first.push(value);
            fixed(&first)?;
        }
    }
    let mut random = Random(seed);
    for _ in 0..RANDOM {
        let kept_of_8 = random.below(9);
        let values: Vec<usize> = asked
            .iter()
            .map(|n| match random.below(8) < kept_of_8 {
                true => random.below(*n),
                false => [0, n - 1][random.below(2)],
            })
            .collect();
        fixed(&values)?;
    }
    Ok(attempts)
}

#[test]
fn few_ways_are_all_tried() {
    let mut tried = Vec::new();
    let attempts = each::<()>(1, |choose| {
        let first = choose(2);
        // What is asked next depends on the answer.
        tried.push((first, choose(if first == 0 { 3 } else { 2 })));
        Ok(())
    });
    assert_eq!(attempts, Ok(5));
    assert_eq!(tried, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
}

#[test]
fn of_many_ways_each_choice_is_tried_alone() {
    let mut tried = Vec::new();
    const CHOICES: usize = if FEW { 8 } else { 40 };
    each::<()>(1, |choose| {
        tried.push((0..CHOICES).map(|_| choose(3)).collect::<Vec<_>>());
        Ok(())
    })
    .unwrap();
    for at in 0..CHOICES {
        let alone = (0..CHOICES).map(|n| if n == at { 2 } else { 0 }).collect();
        let lost = (0..CHOICES).map(|n| if n == at { 0 } else { 2 }).collect();
        let first = (0..CHOICES).map(|n| if n <= at { 2 } else { 0 }).collect();
        assert!([alone, lost, first].iter().all(|wanted| tried.contains(wanted)), "{at}");
    }
}
