//! Detects forks. The child of a fork has its parent's connection, which it must not use, and none of its threads.
#![expect(unsafe_code, reason = "a page of memory that the system wipes in the children of a fork")]

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// Bytes that are mapped: the system takes a whole page.
const PAGE_BYTES: usize = 4096;

/// The process that something is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process(u64);

/// The number of this process, on a page of which children get a wiped copy; `None` where the system has no such pages.
fn page() -> Option<&'static AtomicU64> {
    static PAGE: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    *PAGE.get_or_init(|| {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a mapping of its own, at an address that the system chooses.
        let page = unsafe { mmap_anonymous(ptr::null_mut(), PAGE_BYTES, protection, flags) };
        let page = page.ok()?;
        // SAFETY: the page that was just mapped, of which nobody knows yet. Zeros are a value of what it will hold.
        unsafe { madvise(page, PAGE_BYTES, Advice::LinuxWipeOnFork) }.ok()?;
        // SAFETY: a page is aligned for any number, holds zeros, and is never unmapped.
        Some(unsafe { &*page.cast::<AtomicU64>() })
    })
}

impl Process {
    /// This one.
    pub(super) fn this() -> Self {
        let Some(page) = page() else { return Self(std::process::id().into()) };
        let found = page.load(Ordering::Relaxed);
        if found != 0 {
            return Self(found);
        }
        let number = crate::random::random().max(1);
        let set = page.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        Self(set.map_or_else(|found| found, |_| number))
    }

    /// Whether it is this one. Costs two loads where the system can wipe pages, and else a system call.
    pub(super) fn is_this(self) -> bool {
        match page() {
            Some(page) => page.load(Ordering::Relaxed) == self.0,
            None => u64::from(std::process::id()) == self.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_all_the_time() {
        let first = Process::this();
        assert!(first.is_this());
        assert_eq!(Process::this(), first);
        assert!(
            page().is_some(),
            "this system wipes no pages: it would cost a call for each message"
        );
    }
}
