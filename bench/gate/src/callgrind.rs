//! Reads what `valgrind --tool=callgrind` wrote: instructions, and calls of the allocator.
//!
//! The format is described in the manual of callgrind. Names are written once, as `(12) name`, and are
//! `(12)` from then on.

use std::collections::HashMap;

/// Functions that give out a block of memory. Those of C++ and of Rust end up in them.
const ALLOCATORS: &[&str] =
    &["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Instructions executed.
    pub instructions: u64,
    /// Calls of an allocating function.
    pub allocations: u64,
}

/// Reads a profile; `None` if it has no sum.
pub fn read(profile: &str) -> Option<Counts> {
    let mut is_allocator = HashMap::new();
    let mut callee = "";
    let (mut instructions, mut allocations) = (None, 0);
    for line in profile.lines() {
        let Some((key, value)) = line.split_once(['=', ':']) else { continue };
        match key {
            "fn" | "cfn" => {
                let (id, name) = value.split_once(' ').unwrap_or((value, ""));
                if !name.is_empty() {
                    is_allocator.insert(id, ALLOCATORS.contains(&name.trim_end()));
                }
                if key == "cfn" {
                    callee = id;
                }
            }
            "calls" if is_allocator.get(callee) == Some(&true) => {
                allocations += value.split(' ').next()?.parse::<u64>().ok()?;
            }
            "summary" => instructions = value.trim().parse().ok(),
            _ => {}
        }
    }
    Some(Counts { instructions: instructions?, allocations })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
# callgrind format
version: 1
events: Ir
summary: 4615

fn=(1) alloc::raw_vec::grow
16 400
cfn=(2) malloc
calls=12 +3
16 50
+2 5
cfn=(3) _int_malloc
calls=7 0
16 9

fn=(2)
120 30
fn=(4) realloc
10 1
fn=(5) operator new(unsigned long)
1 2
cob=(9) /usr/lib/libc.so.6
cfn=(2)
calls=30 0
* 44
cfn=(4)
calls=1 0
* 3
";

    #[test]
    fn calls_of_allocators_are_added_up_whoever_makes_them() {
        assert_eq!(read(PROFILE), Some(Counts { instructions: 4615, allocations: 43 }));
        assert_eq!(read("events: Ir\n"), None);
    }
}
