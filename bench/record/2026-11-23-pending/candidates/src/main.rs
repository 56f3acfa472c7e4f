//! Measures maps as the store of unacknowledged messages. One writer inserts and removes, nearly in
//! order; a second thread may look ids up meanwhile. Prints one line a measurement.
//!
//! `cargo run --release -- speed`, and `cargo run --release -- memory CANDIDATE` (a process each).

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Id(u64, u64);

/// What a map holds for each id: 56 bytes, as in the server.
struct Entry {
    name: Arc<str>,
    body: Bytes,
    token: AtomicU32,
}

trait Map: Sync {
    fn insert(&self, id: Id, entry: Entry) -> bool;
    fn remove(&self, id: &Id) -> Option<u32>;
    fn contains(&self, id: &Id) -> bool;
}

/// xxh3 of the 16 bytes with a random seed.
#[derive(Clone)]
struct Xxh3(u64);
struct Xxh3Hasher(u64, [u8; 16], usize);
impl BuildHasher for Xxh3 {
    type Hasher = Xxh3Hasher;
    fn build_hasher(&self) -> Xxh3Hasher {
        Xxh3Hasher(self.0, [0; 16], 0)
    }
}
impl std::hash::Hasher for Xxh3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.1[self.2] = *b;
            self.2 += 1;
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.1[self.2..self.2 + 8].copy_from_slice(&n.to_le_bytes());
        self.2 += 8;
    }
    fn finish(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(&self.1, self.0)
    }
}

struct Locked<S>(Mutex<HashMap<Id, Entry, S>>);
impl<S: BuildHasher + Send> Map for Locked<S> {
    fn insert(&self, id: Id, entry: Entry) -> bool {
        self.0.lock().unwrap().insert(id, entry).is_none()
    }
    fn remove(&self, id: &Id) -> Option<u32> {
        self.0.lock().unwrap().remove(id).map(|e| e.token.load(Ordering::Relaxed))
    }
    fn contains(&self, id: &Id) -> bool {
        self.0.lock().unwrap().contains_key(id)
    }
}

impl<S: BuildHasher + Sync> Map for papaya::HashMap<Id, Entry, S> {
    fn insert(&self, id: Id, entry: Entry) -> bool {
        self.pin().try_insert(id, entry).is_ok()
    }
    fn remove(&self, id: &Id) -> Option<u32> {
        self.pin().remove(id).map(|e| e.token.load(Ordering::Relaxed))
    }
    fn contains(&self, id: &Id) -> bool {
        self.pin().contains_key(id)
    }
}

impl Map for crossbeam_skiplist::SkipMap<Id, Entry> {
    fn insert(&self, id: Id, entry: Entry) -> bool {
        if self.contains_key(&id) {
            return false;
        }
        self.insert(id, entry);
        true
    }
    fn remove(&self, id: &Id) -> Option<u32> {
        self.remove(id).map(|e| e.value().token.load(Ordering::Relaxed))
    }
    fn contains(&self, id: &Id) -> bool {
        self.contains_key(id)
    }
}

impl<S: BuildHasher + Clone + Sync + Send> Map for dashmap::DashMap<Id, Entry, S> {
    fn insert(&self, id: Id, entry: Entry) -> bool {
        self.insert(id, entry).is_none()
    }
    fn remove(&self, id: &Id) -> Option<u32> {
        self.remove(id).map(|(_, e)| e.token.load(Ordering::Relaxed))
    }
    fn contains(&self, id: &Id) -> bool {
        self.contains_key(id)
    }
}

/// Its writers lock a bucket; only its lookups are lock-free.
impl<S: BuildHasher + Sync> Map for scc::HashIndex<Id, Entry, S> {
    fn insert(&self, id: Id, entry: Entry) -> bool {
        self.insert_sync(id, entry).is_ok()
    }
    fn remove(&self, id: &Id) -> Option<u32> {
        let token = self.peek_with(id, |_, e| e.token.load(Ordering::Relaxed));
        self.remove_sync(id);
        token
    }
    fn contains(&self, id: &Id) -> bool {
        self.contains(id)
    }
}

const NAMES: [&str; 10] = [
    "locked-siphash",
    "locked-foldhash",
    "dashmap-foldhash",
    "scc-hashindex-foldhash",
    "skipmap",
    "papaya-siphash",
    "papaya-xxh3",
    "papaya-foldhash",
    "papaya-chosen",
    "papaya-presized-2M",
];

fn make(name: &str) -> Box<dyn Map> {
    let fold = foldhash::quality::RandomState::default;
    let papaya = |capacity, batch| {
        let collector = seize::Collector::new().batch_size(batch);
        let map = papaya::HashMap::<Id, Entry>::builder();
        Box::new(map.hasher(fold()).capacity(capacity).collector(collector).build())
    };
    match name {
        "locked-siphash" => Box::new(Locked(Mutex::new(HashMap::with_hasher(RandomState::new())))),
        "locked-foldhash" => Box::new(Locked(Mutex::new(HashMap::with_hasher(fold())))),
        "dashmap-foldhash" => Box::new(dashmap::DashMap::with_hasher(fold())),
        "scc-hashindex-foldhash" => Box::new(scc::HashIndex::with_hasher(fold())),
        "skipmap" => Box::new(crossbeam_skiplist::SkipMap::<Id, Entry>::new()),
        "papaya-siphash" => {
            Box::new(papaya::HashMap::<Id, Entry, _>::with_hasher(RandomState::new()))
        }
        "papaya-xxh3" => {
            Box::new(papaya::HashMap::<Id, Entry, _>::with_hasher(Xxh3(fastrand::u64(..))))
        }
        "papaya-foldhash" => papaya(0, 32),
        "papaya-chosen" => papaya(8192, 512),
        "papaya-presized-2M" => papaya(2_000_000, 512),
        _ => panic!("{name} is none of {NAMES:?}"),
    }
}

/// Nanoseconds of processor time that this thread has used: other load disturbs it less.
fn thread_ns() -> u128 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to a timespec that is ours.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128
}

/// Ids as 8 native publishers make them (counting), or as v1 checksums are (random).
fn ids(count: usize, random: bool) -> Vec<Id> {
    let mut rng = fastrand::Rng::with_seed(7);
    let publishers: Vec<u64> = (0..8).map(|_| rng.u64(..) >> 1).collect();
    (0..count as u64)
        .map(|n| {
            if random {
                Id(rng.u64(..) | 1 << 63, rng.u64(..))
            } else {
                Id(publishers[(n % 8) as usize], n / 8 + 1)
            }
        })
        .collect()
}

/// The order of removal: that of insertion, each shifted by up to 64 places.
fn shuffled(ids: &[Id]) -> Vec<Id> {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut out = ids.to_vec();
    for chunk in out.chunks_mut(64) {
        rng.shuffle(chunk);
    }
    out
}

fn speed(name: &str, outstanding: usize, random: bool, reader: bool) {
    let ops = 2_000_000;
    let map = make(name);
    let ids = ids(outstanding + ops, random);
    let removals = shuffled(&ids);
    let name_text: Arc<str> = "greet".into();
    let entry = |n: usize| Entry {
        name: Arc::clone(&name_text),
        body: Bytes::from_static(b"body"),
        token: AtomicU32::new(n as u32),
    };
    // With at least 64 between, a shifted removal finds its id.
    for (n, id) in ids[..outstanding].iter().enumerate() {
        assert!(map.insert(*id, entry(n)));
    }
    let position = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let mut lookups = 0;
    let (mut elapsed, mut busy, mut worst) = (0, 0, 0);
    std::thread::scope(|scope| {
        let lookup = reader.then(|| {
            scope.spawn(|| {
                let mut rng = fastrand::Rng::with_seed(3);
                let mut count = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    let at = position.load(Ordering::Relaxed) as usize;
                    for _ in 0..64 {
                        black_box(map.contains(&ids[at + rng.usize(..outstanding)]));
                    }
                    count += 64;
                }
                count
            })
        });
        let (start, start_busy) = (Instant::now(), thread_ns());
        let mut last = 0;
        for n in 0..ops {
            assert!(map.insert(ids[outstanding + n], entry(n)));
            assert!(map.remove(&removals[n]).is_some());
            if n % 64 == 0 {
                position.store(n as u64, Ordering::Relaxed);
                let now = start.elapsed().as_nanos();
                worst = worst.max(now - last);
                last = now;
            }
        }
        elapsed = start.elapsed().as_nanos();
        busy = thread_ns() - start_busy;
        done.store(true, Ordering::Relaxed);
        if let Some(lookup) = lookup {
            lookups = lookup.join().unwrap();
        }
    });
    assert!(map.contains(&ids[ids.len() - 1]) && !map.contains(&ids[0]));
    println!(
        "{name:26} outstanding={outstanding:<8} ids={} reader={} insert+remove={:6.1} ns (processor {:6.1})  worst 64 pairs={:8.1} us  lookups={:5.2} M/s",
        if random { "random  " } else { "counting" },
        u8::from(reader),
        elapsed as f64 / ops as f64,
        busy as f64 / ops as f64,
        worst as f64 / 1e3,
        lookups as f64 * 1e3 / elapsed as f64,
    );
}

fn rss() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|l| l.starts_with("Rss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// RSS for each of a million entries, again after five million pairs more, and after all were removed.
fn memory(name: &str) {
    const N: usize = 1_000_000;
    let name_text: Arc<str> = "greet".into();
    let id = |n: usize| Id(n as u64 % 8, n as u64 / 8 + 1);
    let map = make(name);
    let before = rss();
    let put = |n: usize| {
        let entry = Entry {
            name: Arc::clone(&name_text),
            body: Bytes::from_static(b"body"),
            token: AtomicU32::new(0),
        };
        black_box((&entry.name, &entry.body));
        assert!(map.insert(id(n), entry));
    };
    (0..N).for_each(put);
    let full = rss() - before;
    let mut peak = 0;
    for n in 0..5 * N {
        put(N + n);
        map.remove(&id(n));
        if n % 100_000 == 0 {
            peak = peak.max(rss() - before);
        }
    }
    let later = rss() - before;
    for n in 5 * N..6 * N {
        map.remove(&id(n));
    }
    // A little traffic, with which deferred work gets done.
    for n in 6 * N..6 * N + 10_000 {
        put(n);
        map.remove(&id(n));
    }
    unsafe extern "C" {
        fn mi_collect(force: bool);
    }
    unsafe { mi_collect(true) };
    let empty = rss().saturating_sub(before);
    println!(
        "{name:26} bytes/entry at 1 M={:6.1}  after 5 M pairs={:6.1} (peak {:6.1})  emptied={:5.1} MB",
        full as f64 / N as f64,
        later as f64 / N as f64,
        peak as f64 / N as f64,
        empty as f64 / 1e6
    );
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("memory") => memory(&args[2]),
        Some("speed") => {
            let names: Vec<&str> = if args.len() > 2 {
                args[2..].iter().map(String::as_str).collect()
            } else {
                NAMES.to_vec()
            };
            for random in [false, true] {
                for outstanding in [1_000, 100_000, 1_000_000] {
                    for reader in [false, true] {
                        for name in &names {
                            speed(name, outstanding, random, reader);
                        }
                    }
                }
            }
        }
        Some("names") => NAMES.iter().for_each(|n| println!("{n}")),
        _ => eprintln!("speed [CANDIDATE...] | memory CANDIDATE | names"),
    }
}
