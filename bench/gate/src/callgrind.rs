//! Reads what `valgrind --tool=callgrind` wrote: instructions, and calls of the allocator.
//!
//! The format is described in the manual of callgrind. Names are written once, as `(12) name`, and are
//! `(12)` from then on.
//!
//! `calls=` lines count calls at any time, also while nothing is collected, whereas costs are those of
//! the time in which something is. So a call of an allocating function is counted as an execution of its
//! first instruction, which those lines give the address of.

use std::collections::{HashMap, HashSet};

/// Makes callgrind write the cost of each instruction, under its whole address.
pub const OPTIONS: [&str; 2] = ["--dump-instr=yes", "--compress-pos=no"];

/// Functions that give out a block of memory. Those of C++ and of Rust end up in them.
const ALLOCATORS: &[&str] =
    &["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Instructions executed.
    pub instructions: u64,
    /// Calls of an allocating function, from wherever.
    pub allocations: u64,
}

/// Reads a profile that was written with [`OPTIONS`]; `None` if it has no sum.
pub fn read(profile: &str) -> Option<Counts> {
    let mut allocators = HashSet::new();
    let (mut function, mut callee) = ("", "");
    let mut entries = HashSet::new();
    let mut executed: HashMap<&str, u64> = HashMap::new();
    let mut instructions = None;
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once(['=', ':']) else {
            if allocators.contains(function)
                && let Some((address, cost)) = instruction(line)
            {
                *executed.entry(address).or_default() += cost;
            }
            continue;
        };
        match key {
            "fn" | "cfn" => {
                let (id, name) = value.split_once(' ').unwrap_or((value, ""));
                if ALLOCATORS.contains(&name.trim_end()) {
                    allocators.insert(id);
                }
                *(if key == "fn" { &mut function } else { &mut callee }) = id;
            }
            "calls" => {
                if allocators.contains(callee) {
                    entries.insert(value.split(' ').nth(1)?);
                }
                // The cost of the call, at the address of the caller.
                lines.next();
            }
            "summary" => instructions = value.trim().parse().ok(),
            _ => {}
        }
    }
    let allocations = entries.iter().filter_map(|entry| executed.get(entry)).sum();
    Some(Counts { instructions: instructions?, allocations })
}

/// An address, and how often its instruction was executed.
fn instruction(line: &str) -> Option<(&str, u64)> {
    let mut words = line.split(' ');
    let (address, _line, cost) = (words.next()?, words.next()?, words.next()?);
    Some((address, cost.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
# callgrind format
version: 1
positions: instr line
events: Ir
summary: 4615

fn=(1) alloc::raw_vec::grow
0x1000 16 400
cfn=(2) malloc
calls=12 0x2000 3
0x1004 16 50
0x1008 18 5
cfn=(3) _int_malloc
calls=7 0x3000 0
0x100c 16 9

fn=(2)
0x2000 120 30
0x2004 120 28
fi=(8) arena.c
0x2008 7 1000
cfn=(3)
calls=30 0x3000 0
0x2000 99 5000
fn=(4) realloc
0x4000 10 3
0x4008 11 2
fn=(5) operator new(unsigned long)
0x5000 1 2
cob=(9) /usr/lib/libc.so.6
cfn=(2)
calls=300 0x2000 0
0x5004 1 44
cfn=(4)
calls=9 0x4000 0
0x5008 1 3
";

    #[test]
    fn allocations_are_executions_of_the_first_instruction_however_many_calls_are_told() {
        assert_eq!(read(PROFILE), Some(Counts { instructions: 4615, allocations: 33 }));
        assert_eq!(read("events: Ir\n"), None);
    }
}
