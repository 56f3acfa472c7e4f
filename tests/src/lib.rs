//! Compiles the Rust snippets of the README and of the guide as documentation tests. The integration tests proper are in
//! `tests/main.rs`.

#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
struct Readme;

#[doc = include_str!("../../docs/rust.md")]
#[cfg(doctest)]
struct RustPage;
