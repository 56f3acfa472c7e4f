//! A cursor over a pickle's bytes that keeps opcodes within their frames.

use super::error::PickleError;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the current frame ends; outside of frames, where the pickle ends.
    end: usize,
    in_frame: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: bytes.len(), in_frame: false }
    }

    /// The offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes that were not read yet.
    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Reads an opcode, leaving the frame that ended before it.
    #[inline]
    pub(super) fn opcode(&mut self) -> Result<u8, PickleError> {
        if self.at == self.end {
            self.end = self.bytes.len();
            self.in_frame = false;
        }
        let opcode = *self.bytes.get(self.at).ok_or(PickleError::Truncated)?;
        self.at += 1;
        Ok(opcode)
    }

    /// Enters a frame whose length, eight bytes, comes next.
    pub(super) fn enter_frame(&mut self) -> Result<(), PickleError> {
        let frame_bytes = u64::from_le_bytes(self.array()?);
        match usize::try_from(frame_bytes) {
            Ok(bytes) if bytes <= self.remaining() && !self.in_frame => {
                self.end = self.at + bytes;
                self.in_frame = true;
                Ok(())
            }
            _ => Err(PickleError::Frame { at: self.at }),
        }
    }

    /// Reads this many bytes.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], PickleError> {
        if bytes > self.end - self.at {
            return Err(self.overrun());
        }
        let taken = &self.bytes[self.at..self.at + bytes];
        self.at += bytes;
        Ok(taken)
    }

    /// Reads an array of bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        match self.bytes[self.at..self.end].first_chunk::<N>() {
            Some(array) => {
                self.at += N;
                Ok(*array)
            }
            None => Err(self.overrun()),
        }
    }

    /// Reads one byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        self.array().map(|[byte]| byte)
    }

    /// Reads a line, without the newline that ends it.
    pub(super) fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..self.end];
        let length = rest.iter().position(|&b| b == b'\n').ok_or_else(|| self.overrun())?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn overrun(&self) -> PickleError {
        if self.in_frame { PickleError::Frame { at: self.at } } else { PickleError::Truncated }
    }
}
