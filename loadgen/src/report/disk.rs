//! The folder in which a server keeps messages: its file system, and how fast that syncs.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::number::round_to;
use super::spread::Spread;

/// Syncs that are timed. They take some 30 ms on a fast disk, and a second on a slow one.
const SYNCS: usize = 100;

/// Bytes written before each sync.
const WRITE_BYTES: usize = 4096;

/// The file system under a folder.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Disk {
    /// Its type, such as `ext4`.
    pub file_system: String,
    /// How often a second 4 KiB can be appended and synced with `fdatasync`: 1 / the median time of a
    /// hundred times.
    pub fdatasync_per_s: f64,
}

impl Disk {
    /// Measures the file system of `folder` with a file that has no name and is gone afterwards.
    pub fn measure(folder: &Path) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let file_system = file_system(&mounts, &folder).unwrap_or("unknown").to_owned();
        let mut file = tempfile::tempfile_in(&folder)?;
        let block = [0x5a; WRITE_BYTES];
        let mut times_s = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let start = Instant::now();
            file.write_all(&block)?;
            file.sync_data()?;
            times_s.push(start.elapsed().as_secs_f64());
        }
        let median_s = Spread::new(times_s).map_or(f64::INFINITY, |spread| spread.median);
        Ok(Self { file_system, fdatasync_per_s: round_to(1.0 / median_s, 1) })
    }
}

/// The type of the file system that `folder` lies in, by the text of `/proc/self/mountinfo`.
fn file_system<'a>(mounts: &'a str, folder: &Path) -> Option<&'a str> {
    let mount = |line: &'a str| {
        let (fields, tail) = line.split_once(" - ")?;
        let point = fields.split(' ').nth(4)?.replace("\\040", " ");
        let kind = tail.split(' ').next()?;
        folder.starts_with(&point).then_some((point.len(), kind))
    };
    // Of equals the last: it was mounted over the others.
    mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      23 22 0:20 / /data\\040disk rw - xfs /dev/sdb1 rw\n\
                      24 23 0:21 / /data\\040disk/fast rw - tmpfs none rw\n\
                      25 23 0:22 / /data\\040disk/fast rw - btrfs none rw\n";
        let check = |folder, expected| {
            assert_eq!(file_system(mounts, Path::new(folder)), Some(expected), "{folder}");
        };
        check("/home", "ext4");
        check("/data diskette", "ext4");
        check("/data disk/slow", "xfs");
        check("/data disk/fast/deep", "btrfs");
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn a_folder_is_measured_and_left_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::measure(folder.path()).expect("it is measured");
        assert!(disk.fdatasync_per_s > 0.0 && disk.file_system != "unknown", "{disk:?}");
        assert_eq!(fs::read_dir(folder.path()).expect("it can be read").count(), 0);
        assert!(Disk::measure(&folder.path().join("missing")).is_err());
    }
}
