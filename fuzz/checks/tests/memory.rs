//! What strangers say makes a server take no memory of the size that they announce. Alone in its process,
//! whose peak is the measure.

use std::fs;
use std::path::Path;

use mezzenger_fuzz_checks::session;

/// Far above what a server takes for small messages; far below the least of the lengths that the corpus
/// announces and nothing follows, 1 GiB.
const GROWTH_KIB_MAX: u64 = 256 * 1024;

/// Most address space that this process ever had: what is allocated counts even if nothing is written to it.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn announced_lengths_take_no_memory() {
    let before = peak_kib();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/session");
    let mut announced = false;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        announced |= path.ends_with("one_gibibyte");
        session(&fs::read(&path).unwrap());
        let growth = peak_kib() - before;
        assert!(growth <= GROWTH_KIB_MAX, "{growth} KiB by {}", path.display());
    }
    assert!(announced, "no input announces much");
}
