//! Compiles the Rust snippets of the README as documentation tests. The integration tests proper are in
//! `tests/main.rs`.

#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
struct Readme;
