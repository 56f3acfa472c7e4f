//! Reads the fields of a request, or of an answer, one after the other.

use super::name::{self, NameError};

/// It has fewer bytes than these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short(pub(super) usize);

/// What is left of it.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    taken: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, taken: 0 }
    }

    /// What follows the fields that were taken.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Bytes that were taken.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        self.taken += N;
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Short(self.taken))?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(super) fn bytes(&mut self, length: u8) -> Result<&'a [u8], Short> {
        self.taken += usize::from(length);
        let (bytes, rest) = self.rest.split_at_checked(length.into()).ok_or(Short(self.taken))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A text behind its length.
    pub(super) fn text(&mut self) -> Result<&'a [u8], Short> {
        let [length] = self.take()?;
        self.bytes(length)
    }

    /// The same; `None` also for one that is not UTF-8.
    pub(super) fn utf8(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.text().ok()?).ok()
    }

    pub(super) fn u16(&mut self) -> Result<u16, Short> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Short> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Short> {
        self.take().map(u64::from_le_bytes)
    }
}

/// A name, or none where the text is empty.
pub(super) fn name_or_none(text: &[u8]) -> Result<&str, NameError> {
    if text.is_empty() { Ok("") } else { name::check(text) }
}
