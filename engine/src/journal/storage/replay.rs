//! What a disk holds after a loss of power: all that was synced, and any part of the rest.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::memory::Event;

/// Bytes that a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A file during a replay.
/// The disk during a replay.
#[derive(Default)]
pub(super) struct ReplayFile {
    durable: Vec<u8>,
    /// Changes since the last sync; `true` marks those that a failed sync dropped from the cache.
    pending: Vec<(Event, bool)>,
}

/// The disk during a replay.
#[derive(Default)]
pub(super) struct Replay {
    files: Vec<ReplayFile>,
    names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<Event>,
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl Replay {
    fn file(&mut self, file: usize) -> &mut ReplayFile {
        if self.files.len() <= file {
            self.files.resize_with(file + 1, ReplayFile::default);
        }
        &mut self.files[file]
    }

    /// Applies one event.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Write { file, .. } | Event::Truncate { file, .. } => {
                self.file(*file).pending.push((event.clone(), false));
            }
            Event::Sync { file } => {
                let file = self.file(*file);
                let (dropped, kept) = file.pending.drain(..).partition(|(_, dropped)| *dropped);
                file.pending = dropped;
                for (event, _) in kept {
                    match event {
                        Event::Write { offset, bytes, .. } => {
                            write(&mut file.durable, offset as usize, &bytes);
                        }
                        Event::Truncate { bytes, .. } => file.durable.resize(bytes as usize, 0),
                        _ => {}
                    }
                }
            }
            Event::SyncFailed { file } => {
                self.file(*file).pending.iter_mut().for_each(|(_, dropped)| *dropped = true);
            }
            Event::Create { file, .. } => {
                self.file(*file);
                self.pending_names.push(event.clone());
            }
            Event::Rename { .. } | Event::Remove { .. } => self.pending_names.push(event.clone()),
            Event::SyncDirectory => {
                for event in std::mem::take(&mut self.pending_names) {
                    self.rename(&event);
                }
            }
            Event::Note(_) => {}
        }
    }

    fn rename(&mut self, event: &Event) {
        match event {
            Event::Create { path, file } => {
                self.names.insert(path.clone(), *file);
            }
            Event::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Event::Remove { path } => {
                self.names.remove(path);
            }
            _ => {}
        }
    }

    /// Cuts the power: the contents of all files by number, and the names that lead to them. See
    /// [`super::memory::MemoryStorage::after_power_cut`].
    pub(super) fn finish(
        mut self,
        choose: &mut dyn FnMut(usize) -> usize,
    ) -> (Vec<Vec<u8>>, BTreeMap<PathBuf, usize>) {
        let pending = std::mem::take(&mut self.pending_names);
        let kept = choose(pending.len() + 1).min(pending.len());
        for event in &pending[..kept] {
            self.rename(event);
        }
        for file in &mut self.files {
            for (event, _) in std::mem::take(&mut file.pending) {
                match event {
                    Event::Write { offset, bytes, .. } => {
                        let (mut at, mut rest) = (offset as usize, &bytes[..]);
                        while !rest.is_empty() {
                            let sector = (SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
                            if choose(2) != 0 {
                                write(&mut file.durable, at, &rest[..sector]);
                            }
                            (at, rest) = (at + sector, &rest[sector..]);
                        }
                    }
                    Event::Truncate { bytes, .. } if choose(2) != 0 => {
                        file.durable.resize(bytes as usize, 0);
                    }
                    _ => {}
                }
            }
        }
        (self.files.into_iter().map(|file| file.durable).collect(), self.names)
    }
}
