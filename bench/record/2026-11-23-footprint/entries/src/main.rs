//! Measures ways to keep an unacknowledged message of 190 bytes (a payload of 128) in the map: what its
//! entry holds, and where its body lies. The timer of a message, 32 bytes, is not part of it.
//!
//! `cargo run --release -- memory CANDIDATE COUNT`, `... stragglers CANDIDATE COUNT` and `... speed
//! CANDIDATE OUTSTANDING`, a process each; without arguments it lists the candidates. `--features v2`
//! takes mimalloc 2 in place of 3, `no_thp` no huge pages; `near3`, `near4` and `near6` a hash that puts
//! 8, 16 or 64 consecutive ids of a publisher side by side.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arcstr::ArcStr;
use bytes::{Bytes, BytesMut};
use papaya::Guard;
use triomphe::ThinArc;

use hash::RandomState;

mod hash;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A native record with a payload of 128 bytes.
const RECORD_BYTES: usize = 190;
/// Records of one frame.
const FRAME_RECORDS: usize = 340;
/// Insertions between two flushes, where there are any.
const FLUSH_AFTER: usize = 8192;

type Id = (u64, u64);

/// What a map holds for a message.
trait Entry: Send + Sync + Sized + 'static {
    /// Keeps `record`, which lies in `frame`.
    fn keep(names: &Names, frame: &Bytes, record: &[u8], packed: &mut BytesMut) -> Self;
    fn body(&self) -> &[u8];
    fn token(&self) -> u32;
}

struct Names {
    fat: Arc<str>,
    thin: ArcStr,
}

macro_rules! entry {
    ($entry:ident, $name:ty, $field:ident, $body:ty, |$frame:ident, $record:ident, $packed:ident| $make:expr) => {
        struct $entry {
            name: $name,
            body: $body,
            token: AtomicU32,
            format: u8,
        }
        impl Entry for $entry {
            fn keep(names: &Names, $frame: &Bytes, $record: &[u8], $packed: &mut BytesMut) -> Self {
                let name = names.$field.clone();
                Self { name, body: $make, token: AtomicU32::new(1), format: 2 }
            }
            fn body(&self) -> &[u8] {
                black_box((&self.name, self.format));
                &self.body
            }
            fn token(&self) -> u32 {
                self.token.load(Ordering::Relaxed)
            }
        }
    };
}

entry!(BytesFat, Arc<str>, fat, Bytes, |_frame, record, _packed| Bytes::copy_from_slice(record));
entry!(BytesThin, ArcStr, thin, Bytes, |_frame, record, _packed| Bytes::copy_from_slice(record));
entry!(BoxFat, Arc<str>, fat, Box<[u8]>, |_frame, record, _packed| record.into());
entry!(BoxThin, ArcStr, thin, Box<[u8]>, |_frame, record, _packed| record.into());
entry!(FrameSlice, ArcStr, thin, Bytes, |frame, record, _packed| frame.slice_ref(record));
entry!(Packed, ArcStr, thin, Bytes, |_frame, record, packed| {
    if packed.capacity() < record.len() {
        *packed = BytesMut::with_capacity(64 * 1024);
    }
    packed.extend_from_slice(record);
    packed.split().freeze()
});

/// The name as a number, as if the map had a table of names: 40 bytes with the id.
struct BoxNumber {
    body: Box<[u8]>,
    token: AtomicU32,
    name_and_format: u32,
}

impl Entry for BoxNumber {
    fn keep(_: &Names, _: &Bytes, record: &[u8], _: &mut BytesMut) -> Self {
        Self { body: record.into(), token: AtomicU32::new(1), name_and_format: 7 }
    }
    fn body(&self) -> &[u8] {
        black_box(self.name_and_format);
        &self.body
    }
    fn token(&self) -> u32 {
        self.token.load(Ordering::Relaxed)
    }
}

/// Name, format and body in one allocation that can be shared.
struct OneArc {
    body: ThinArc<(ArcStr, u8), u8>,
    token: AtomicU32,
}

impl Entry for OneArc {
    fn keep(names: &Names, _: &Bytes, record: &[u8], _: &mut BytesMut) -> Self {
        let header = (names.thin.clone(), 2);
        Self { body: ThinArc::from_header_and_slice(header, record), token: AtomicU32::new(1) }
    }
    fn body(&self) -> &[u8] {
        &self.body.slice
    }
    fn token(&self) -> u32 {
        self.token.load(Ordering::Relaxed)
    }
}

struct Map<E: Entry> {
    map: papaya::HashMap<Id, E, RandomState>,
    names: Names,
    frame: Bytes,
    packed: BytesMut,
    flushes: bool,
    inserted: usize,
}

impl<E: Entry> Map<E> {
    fn new(flushes: bool) -> Self {
        let map = papaya::HashMap::builder()
            .capacity(8192)
            .hasher(RandomState::default())
            .collector(seize::Collector::new().batch_size(512))
            .build();
        let names = Names { fat: "greet".into(), thin: "greet".into() };
        let (frame, packed) = (Bytes::new(), BytesMut::new());
        Self { map, names, frame, packed, flushes, inserted: 0 }
    }

    fn insert(&mut self, n: usize) {
        let at = n % FRAME_RECORDS;
        if at == 0 {
            // As it would arrive: in a buffer of its own.
            self.frame = Bytes::from_owner(vec![n as u8; FRAME_RECORDS * RECORD_BYTES]);
        }
        let frame = &self.frame;
        let record = &frame[at * RECORD_BYTES..][..RECORD_BYTES];
        let entry = E::keep(&self.names, frame, record, &mut self.packed);
        let guard = self.map.guard();
        assert!(self.map.try_insert(id(n), entry, &guard).is_ok());
        self.inserted += 1;
        if self.flushes && self.inserted.is_multiple_of(FLUSH_AFTER) {
            guard.flush();
        }
    }

    fn remove(&self, n: usize) {
        let guard = self.map.guard();
        let entry = self.map.remove(&id(n), &guard).expect("it is there");
        assert!(entry.token() == 1 && entry.body().len() == RECORD_BYTES);
    }
}

fn id(n: usize) -> Id {
    (7 + n as u64 % 8, n as u64 / 8 + 1)
}

/// Nanoseconds of processor time that this thread has used: other load disturbs it less.
fn thread_ns() -> u128 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to a timespec that is ours.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128
}

fn rss() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|l| l.starts_with("Rss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Resident bytes of each of `count` entries, and of each when all of them were replaced once.
fn memory<E: Entry>(name: &str, count: usize, flushes: bool) {
    let mut map = Map::<E>::new(flushes);
    let before = rss();
    (0..count).for_each(|n| map.insert(n));
    let full = rss() - before;
    for n in 0..count {
        map.insert(count + n);
        map.remove(n);
    }
    let replaced = rss() - before;
    println!(
        "{name:12} entry={:2} B  {count} pending={:6.1} B each  replaced={:6.1} B each",
        size_of::<(Id, E)>(),
        full as f64 / count as f64,
        replaced as f64 / count as f64,
    );
}

/// Resident bytes when `count` messages have passed, 1000 at a time, of which one of each frame is never
/// acknowledged.
fn stragglers<E: Entry>(name: &str, count: usize, flushes: bool) {
    const OUTSTANDING: usize = 1000;
    let mut map = Map::<E>::new(flushes);
    let before = rss();
    for n in 0..count {
        map.insert(n);
        if let Some(n) = n.checked_sub(OUTSTANDING)
            && n % FRAME_RECORDS != 0
        {
            map.remove(n);
        }
    }
    let left = map.map.len();
    println!("{name:12} {count} messages, {left} left: {:6.1} MB", (rss() - before) as f64 / 1e6);
}

/// Processor time to insert one message and remove another, first in, first out.
fn speed<E: Entry>(name: &str, outstanding: usize, flushes: bool) {
    const PAIRS: usize = 2_000_000;
    let mut map = Map::<E>::new(flushes);
    (0..outstanding).for_each(|n| map.insert(n));
    let start = thread_ns();
    for n in 0..PAIRS {
        map.insert(outstanding + n);
        map.remove(n);
    }
    let each = (thread_ns() - start) as f64 / PAIRS as f64;
    println!("{name:12} outstanding={outstanding:<7} insert+remove={each:6.1} ns");
}

fn run<E: Entry>(name: &str, what: &str, number: usize, flushes: bool) {
    match what {
        "memory" => memory::<E>(name, number, flushes),
        "stragglers" => stragglers::<E>(name, number, flushes),
        _ => speed::<E>(name, number, flushes),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, what, name, number] = &args[..] else {
        println!(
            "as-it-was flushing bytes-thin box-fat box-thin box-number one-arc frame-slice packed"
        );
        return;
    };
    let number = number.parse().expect("a number");
    match name.as_str() {
        "as-it-was" => run::<BytesFat>(name, what, number, false),
        "flushing" => run::<BytesFat>(name, what, number, true),
        "bytes-thin" => run::<BytesThin>(name, what, number, true),
        "box-fat" => run::<BoxFat>(name, what, number, true),
        "box-thin" => run::<BoxThin>(name, what, number, true),
        "box-number" => run::<BoxNumber>(name, what, number, true),
        "one-arc" => run::<OneArc>(name, what, number, true),
        "frame-slice" => run::<FrameSlice>(name, what, number, true),
        "packed" => run::<Packed>(name, what, number, true),
        _ => panic!("no candidate {name}"),
    }
}
