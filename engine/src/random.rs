//! Random numbers, all of them from the system: what a process keeps to make more of them goes to each child that it forks,
//! as the keys of [`std::hash::RandomState`] do, and then two clients are one.

/// Fills this with random bytes.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::getrandom(bytes).expect("the system has random numbers");
}

/// Random bytes.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// A random number.
pub(crate) fn random() -> u64 {
    u64::from_ne_bytes(random_bytes())
}
