//! Walks the records of a file in bounded memory, and finds the next one behind damage.

use std::io;
use std::ops::Deref;

use super::record::{Body, RECORD_HEADER_BYTES, RECORDS_OFFSET, RecordHeader};
use super::storage::StorageFile;

/// Bytes read from the file at a time. The window grows beyond it only for a longer record.
const WINDOW_BYTES: usize = 1024 * 1024;

/// What [`Reader::next`] found at its offset.
#[derive(Debug)]
pub(super) enum Next<'a> {
    /// A good record; the reader is behind it now.
    Record {
        /// Where it starts, in bytes.
        offset: u64,
        /// Its header.
        header: RecordHeader,
        /// Its body, read.
        body: Body<'a>,
        /// Its body, in bytes.
        bytes: &'a [u8],
    },
    /// A record whose header is good and whose body is not; the reader stays before it.
    BadBody {
        /// Bytes of the record.
        record_bytes: u64,
    },
    /// Bytes that are no header; the reader stays before them.
    Bad,
    /// A record whose header is good and which the file's end cuts off; the reader stays before it.
    CutOff,
    /// The end.
    End,
}

/// What the headers from some record on say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeaderScan {
    /// How far the file was synced, in bytes.
    pub(super) synced: u64,
    /// Whether the last server that wrote to the file had the policy `never`, if a record tells.
    pub(super) under_never: Option<bool>,
}

/// Reads records one after the other.
pub(super) struct Reader<F> {
    file: F,
    salt: u64,
    /// Where the file, or the part of it to be read, ends.
    end: u64,
    /// Where the next record starts.
    offset: u64,
    window: Vec<u8>,
    /// The window's bytes before this were read.
    start: usize,
}

impl<'f, F: Deref<Target = dyn StorageFile + 'f>> Reader<F> {
    /// Reads `from..end` of a file with this salt.
    pub(super) fn new(file: F, salt: u64, from: u64, end: u64) -> Self {
        Self { file, salt, end, offset: from, window: Vec::new(), start: 0 }
    }

    /// Reads all records of a file of `bytes` bytes.
    pub(super) fn whole(file: F, salt: u64, bytes: u64) -> Self {
        Self::new(file, salt, RECORDS_OFFSET, bytes)
    }

    /// Where the next record starts, in bytes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on at `offset`.
    pub(super) fn seek(&mut self, offset: u64) {
        match offset.checked_sub(self.offset) {
            Some(ahead) if ahead <= (self.window.len() - self.start) as u64 => {
                self.start += ahead as usize;
            }
            _ => {
                self.window.clear();
                self.start = 0;
            }
        }
        self.offset = offset;
    }

    /// The bytes left.
    fn rest(&self) -> u64 {
        self.end.saturating_sub(self.offset)
    }

    /// Makes the window hold `bytes` from the offset on, which [`Self::rest`] must have.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        if self.window.len() - self.start >= bytes {
            return Ok(());
        }
        self.window.drain(..self.start);
        self.start = 0;
        if self.window.capacity() > 4 * WINDOW_BYTES && bytes <= WINDOW_BYTES {
            self.window.shrink_to(WINDOW_BYTES);
        }
        let mut filled = self.window.len();
        let wanted =
            bytes.max(WINDOW_BYTES).min(usize::try_from(self.rest()).unwrap_or(usize::MAX));
        self.window.resize(wanted.max(filled), 0);
        while filled < bytes {
            let at = self.offset + filled as u64;
            match self.file.read_at(&mut self.window[filled..], at) {
                Ok(0) => {
                    self.window.truncate(filled);
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.window.truncate(filled);
                    return Err(error);
                }
            }
        }
        self.window.truncate(filled);
        Ok(())
    }

    /// The header at the offset; `None` if there is none that is good.
    fn header(&mut self) -> io::Result<Option<RecordHeader>> {
        if self.rest() < RECORD_HEADER_BYTES as u64 {
            return Ok(None);
        }
        self.fill(RECORD_HEADER_BYTES)?;
        Ok(RecordHeader::decode(&self.window[self.start..], self.salt, self.offset))
    }

    /// Reads what stands at the offset.
    ///
    /// # Errors
    /// What the file says.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        if self.rest() == 0 {
            return Ok(Next::End);
        }
        let Some(header) = self.header()? else { return Ok(Next::Bad) };
        let record_bytes = header.record_bytes();
        if record_bytes > self.rest() {
            return Ok(Next::CutOff);
        }
        self.fill(record_bytes as usize)?;
        let record = &self.window[self.start..][..record_bytes as usize];
        let bytes = &record[RECORD_HEADER_BYTES..];
        let Some(body) = Body::decode(&header, bytes) else {
            return Ok(Next::BadBody { record_bytes });
        };
        let offset = self.offset;
        self.offset += record_bytes;
        self.start += record_bytes as usize;
        Ok(Next::Record { offset, header, body, bytes })
    }

    /// Goes to the next good header behind the offset and returns it; `None` and to the end if there is none.
    ///
    /// # Errors
    /// What the file says.
    pub(super) fn find_header(&mut self) -> io::Result<Option<RecordHeader>> {
        while self.rest() > RECORD_HEADER_BYTES as u64 {
            self.fill(RECORD_HEADER_BYTES + 1)?;
            let window = &self.window[self.start..];
            let places = window.len() - RECORD_HEADER_BYTES;
            let found = (1..=places).find_map(|place| {
                let at = self.offset + place as u64;
                RecordHeader::decode(&window[place..], self.salt, at).map(|header| (at, header))
            });
            if let Some((at, header)) = found {
                self.seek(at);
                return Ok(Some(header));
            }
            self.seek(self.offset + places as u64);
        }
        self.seek(self.end);
        Ok(None)
    }

    /// What the good headers from the offset on say. The reader is where it was afterwards.
    ///
    /// # Errors
    /// What the file says.
    pub(super) fn look_ahead(&mut self) -> io::Result<HeaderScan> {
        let start = self.offset;
        let mut ahead = HeaderScan::default();
        let mut header = self.header()?;
        loop {
            match header {
                Some(found) => {
                    ahead.synced = ahead.synced.max(found.synced_to(self.offset));
                    ahead.under_never = found.under_never().or(ahead.under_never);
                    let next = self.offset.saturating_add(found.record_bytes());
                    if next >= self.end {
                        break;
                    }
                    self.seek(next);
                    header = self.header()?;
                }
                None => {
                    header = self.find_header()?;
                    if header.is_none() {
                        break;
                    }
                }
            }
        }
        self.seek(start);
        Ok(ahead)
    }
}
