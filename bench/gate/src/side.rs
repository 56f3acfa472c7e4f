//! The three functions that everything counted happens in. Valgrind finds them by their names, and so
//! they are never inlined.

/// Does work that a publisher does.
#[inline(never)]
pub fn publisher_side<R>(work: impl FnOnce() -> R) -> R {
    std::hint::black_box(work())
}

/// Does work that the server does.
#[inline(never)]
pub fn server_side<R>(work: impl FnOnce() -> R) -> R {
    std::hint::black_box(work())
}

/// Does work that a subscriber does.
#[inline(never)]
pub fn subscriber_side<R>(work: impl FnOnce() -> R) -> R {
    std::hint::black_box(work())
}
