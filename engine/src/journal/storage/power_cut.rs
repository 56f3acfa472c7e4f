//! What a disk holds after a loss of power: all that was synced, and any part of the rest.

use super::memory::MemoryStorage;
use super::trace::{Contents, Event, Trace, write};

/// Bytes that a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// How writes tear that were not synced. Bytes around a write stay as they are in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Any of the sectors that a write touches are there.
    Sectors,
    /// Some first or some last bytes of a write are there.
    Bytes,
}

/// Whether a change of a file is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Perhaps; the next sync makes it sure.
    Open,
    /// Perhaps, forever: a sync of it failed.
    Doubtful,
    Sure,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What is on the disk for sure.
    durable: Vec<u8>,
    changes: Vec<(Event, Fate)>,
    /// Its length for the running system, in bytes.
    bytes: u64,
}

impl File {
    fn synced(&mut self, file: usize) {
        for (_, fate) in &mut self.changes {
            if *fate == Fate::Open {
                *fate = Fate::Sure;
            }
        }
        // The length is synced whatever became of the changes that led to it.
        self.changes.push((Event::Truncate { file, bytes: self.bytes }, Fate::Sure));
        let first_doubt = self.changes.iter().position(|(_, fate)| *fate != Fate::Sure);
        for (event, _) in self.changes.drain(..first_doubt.unwrap_or(self.changes.len())) {
            match event {
                Event::Write { offset, bytes, .. } => {
                    write(&mut self.durable, offset as usize, &bytes);
                }
                Event::Truncate { bytes, .. } => self.durable.resize(bytes as usize, 0),
                _ => {}
            }
        }
    }

    /// What it may hold. `former` is what may lie on its blocks that were not written, if `choose` likes.
    fn torn(&self, tear: Tear, former: &[u8], choose: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
        let mut content = self.durable.clone();
        if self.changes.is_empty() {
            return content;
        }
        let former = if former.is_empty() || choose(2) == 0 { &[] } else { former };
        for (event, fate) in &self.changes {
            match (event, fate) {
                (Event::Write { offset, bytes, .. }, Fate::Sure) => {
                    grow(&mut content, *offset as usize, former);
                    write(&mut content, *offset as usize, bytes);
                }
                (Event::Write { offset, bytes, .. }, _) => {
                    for (at, piece) in pieces(*offset as usize, bytes, tear, choose) {
                        grow(&mut content, at, former);
                        write(&mut content, at, piece);
                    }
                }
                (Event::Truncate { bytes, .. }, fate) if *fate == Fate::Sure || choose(2) != 0 => {
                    content.truncate(*bytes as usize);
                    grow(&mut content, *bytes as usize, former);
                }
                _ => {}
            }
        }
        // The length may reach the disk before the bytes do.
        if self.bytes as usize > content.len() && choose(2) != 0 {
            grow(&mut content, self.bytes as usize, former);
        }
        content
    }
}

/// Makes the file so long at least. Zeros fill it, behind what was on its blocks before.
fn grow(content: &mut Vec<u8>, bytes: usize, former: &[u8]) {
    let former = former.get(content.len()..bytes.min(former.len())).unwrap_or(&[]);
    content.extend_from_slice(former);
    content.resize(content.len().max(bytes), 0);
}

/// The parts of a write that are there, each with its offset.
fn pieces<'a>(
    offset: usize,
    bytes: &'a [u8],
    tear: Tear,
    choose: &mut dyn FnMut(usize) -> usize,
) -> Vec<(usize, &'a [u8])> {
    match tear {
        Tear::Bytes => {
            // None, the first, the first two ...; the last, the last two, ... all.
            let cut = choose(2 * bytes.len().max(1));
            match (2 * bytes.len()).checked_sub(cut + 1) {
                Some(skipped) if cut >= bytes.len() => vec![(offset + skipped, &bytes[skipped..])],
                _ => vec![(offset, &bytes[..cut.min(bytes.len())])],
            }
        }
        Tear::Sectors => {
            let (mut at, mut rest, mut pieces) = (offset, bytes, Vec::new());
            while !rest.is_empty() {
                let (sector, behind) =
                    rest.split_at((SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len()));
                if choose(2) != 0 {
                    pieces.push((at, sector));
                }
                (at, rest) = (at + sector.len(), behind);
            }
            pieces
        }
    }
}

/// A disk at the moment when the power goes.
#[derive(Clone, Debug)]
pub struct PowerCut {
    files: Vec<File>,
    /// The names on the disk for sure; no files.
    names: Contents,
    /// Changes of names that were not synced.
    name_changes: Vec<Event>,
}

impl PowerCut {
    /// What is known of the disk when the power goes behind the first `n` changes.
    pub fn behind(trace: &Trace, n: usize) -> Self {
        let mut cut = Self::new(trace.start.clone());
        trace.events[..n].iter().for_each(|event| cut.take(event));
        cut
    }

    /// A disk on which all of this is durable.
    fn new(start: Contents) -> Self {
        let file =
            |durable: Vec<u8>| File { bytes: durable.len() as u64, durable, changes: Vec::new() };
        Self {
            files: start.files.into_iter().map(file).collect(),
            names: Contents { files: Vec::new(), names: start.names },
            name_changes: Vec::new(),
        }
    }

    /// Goes on to the moment behind the next change.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Write { file, offset, bytes } => {
                let file = &mut self.files[*file];
                file.bytes = file.bytes.max(offset + bytes.len() as u64);
                file.changes.push((event.clone(), Fate::Open));
            }
            Event::Truncate { file, bytes } => {
                let file = &mut self.files[*file];
                file.bytes = *bytes;
                file.changes.push((event.clone(), Fate::Open));
            }
            Event::Sync { file } => self.files[*file].synced(*file),
            Event::SyncFailed { file } => {
                for (_, fate) in &mut self.files[*file].changes {
                    if *fate == Fate::Open {
                        *fate = Fate::Doubtful;
                    }
                }
            }
            Event::Create { file, .. } => {
                self.files.resize_with(self.files.len().max(file + 1), File::default);
                self.name_changes.push(event.clone());
            }
            Event::Rename { .. } | Event::Remove { .. } => self.name_changes.push(event.clone()),
            Event::SyncDirectory => {
                for event in std::mem::take(&mut self.name_changes) {
                    self.names.apply_to_names(&event);
                }
            }
            Event::Note(_) => {}
        }
    }

    /// What the disk may hold when the power is back. `choose(n)`, which returns a number below `n`,
    /// picks: pass `|_| 0` to lose all that was not synced, `|n| n - 1` to keep all of it.
    ///
    /// Each part of a write, as `tear` says, is there or not, whatever else is, and so are truncations and
    /// changes of names. A rename may also leave the file both names. A file's length may be there without
    /// its bytes: then there are zeros, or what an earlier file had at that place.
    pub fn disk(&self, tear: Tear, choose: &mut dyn FnMut(usize) -> usize) -> MemoryStorage {
        let mut start = self.names.clone();
        for event in &self.name_changes {
            match event {
                Event::Rename { to, file, .. } => match choose(3) {
                    0 => {}
                    1 => {
                        start.names.insert(to.clone(), *file);
                    }
                    _ => start.apply_to_names(event),
                },
                _ if choose(2) != 0 => start.apply_to_names(event),
                _ => {}
            }
        }
        let mut former: &[u8] = &[];
        for file in &self.files {
            start.files.push(file.torn(tear, former, choose));
            former = &file.durable;
        }
        MemoryStorage::from_trace(Trace { start, events: Vec::new() })
    }
}
