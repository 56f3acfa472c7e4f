//! Bytes that wait until the system takes them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

use super::socket::ByteStream;

/// Chunks handed to the system in one call.
const CHUNKS_PER_CALL: usize = 64;

/// Chunks in the order in which they leave. Nothing is copied on the way to the system.
#[derive(Debug, Default)]
pub(crate) struct Sending(VecDeque<Bytes>);

impl Sending {
    /// Adds a chunk.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.0.push_back(chunk);
        }
    }

    /// Whether the system has everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the system what it takes now.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) fn write(&mut self, stream: &mut impl ByteStream) -> io::Result<()> {
        while !self.0.is_empty() {
            let mut slices = [IoSlice::new(&[]); CHUNKS_PER_CALL];
            for (slice, chunk) in slices.iter_mut().zip(&self.0) {
                *slice = IoSlice::new(chunk);
            }
            let count = self.0.len().min(CHUNKS_PER_CALL);
            match stream.write(&slices[..count]) {
                Ok(bytes) => self.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut bytes: usize) {
        while bytes > 0
            && let Some(first) = self.0.front_mut()
        {
            let part = bytes.min(first.len());
            first.advance(part);
            bytes -= part;
            if first.is_empty() {
                self.0.pop_front();
            }
        }
    }
}
