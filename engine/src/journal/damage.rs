//! Reports of what is damaged in a file, and what a crash tore.

use std::fmt;

use crate::limits::JOURNAL_DAMAGES_LISTED_MAX;

/// A damaged stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its offset in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The number of records in it.
    pub records: u32,
}

impl Damage {
    /// Takes in the stretch behind this one.
    pub(super) fn extend(&mut self, behind: Self) {
        self.bytes += behind.bytes;
        self.records = self.records.saturating_add(behind.records);
    }
}

/// All that is damaged in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DamageReport {
    /// The first damaged stretches: a file may have more than are listed.
    pub listed: Vec<Damage>,
    /// How many stretches there are.
    pub stretches: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// The records they held.
    pub records: u64,
}

impl DamageReport {
    /// Whether nothing is damaged.
    pub fn is_empty(&self) -> bool {
        self.stretches == 0
    }

    pub(super) fn add(&mut self, damage: Damage) {
        self.stretches += 1;
        self.bytes += damage.bytes;
        self.records += u64::from(damage.records);
        if self.listed.len() < JOURNAL_DAMAGES_LISTED_MAX {
            self.listed.push(damage);
        }
    }
}

impl fmt::Display for DamageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let plural = if self.records == 1 { "" } else { "s" };
        write!(f, "{} damaged record{plural} in {} bytes, at ", self.records, self.bytes)?;
        for (n, damage) in self.listed.iter().take(SHOWN).enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}offset {} ({} bytes)", damage.offset, damage.bytes)?;
        }
        match self.stretches.saturating_sub(SHOWN as u64) {
            0 => Ok(()),
            more => write!(f, " and {more} more places"),
        }
    }
}

/// Bytes that a crash left incomplete. No OK depends on them, so a start removes them without `repair`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Torn {
    /// The offset of the first torn byte, if there is one.
    pub offset: u64,
    /// How many bytes are torn.
    pub bytes: u64,
    /// The number of torn stretches, with sound records between them. The last one may be the end of the file.
    pub stretches: u64,
}

impl Torn {
    /// Whether nothing is torn.
    pub fn is_empty(&self) -> bool {
        self.stretches == 0
    }

    pub(super) fn add(&mut self, stretch: Damage) {
        if self.is_empty() {
            self.offset = stretch.offset;
        }
        self.bytes += stretch.bytes;
        self.stretches += 1;
    }
}
