use proptest::prelude::*;

use super::*;

const MAX: usize = 1 << 20;

fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Head::message(body.len(), false).append_to(&mut bytes);
    bytes.extend(body);
    bytes
}

/// An inbox, and what its peer sent and it has not read.
#[derive(Default)]
struct Reader {
    inbox: Inbox,
    scratch: Vec<u8>,
    sent: Vec<u8>,
    /// Where each read put what it found.
    places: Vec<std::ops::Range<*const u8>>,
}

impl Reader {
    /// Reads once.
    fn fill(&mut self) -> Filled {
        let (sent, places) = (&mut self.sent, &mut self.places);
        let read = |room: Room<'_>| {
            assert!(room.bytes() > 0, "an end of the stream would be read");
            if sent.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let found: Vec<u8> = sent.drain(..room.bytes().min(sent.len())).collect();
            let start = match &room {
                Room::Behind(buffer) => buffer[buffer.len()..].as_ptr(),
                Room::Over(bytes) => bytes.as_ptr(),
            };
            places.push(start..start.wrapping_add(found.len()));
            Ok(room.put(&found))
        };
        self.inbox.fill(read, &mut self.scratch).unwrap().0
    }

    /// Takes all frames that are whole, and the sizes of those that are over the bound.
    fn take(&mut self, bytes_max: usize) -> (Vec<Bytes>, Vec<(u64, u8)>) {
        let (mut bodies, mut oversize) = (Vec::new(), Vec::new());
        loop {
            match self.inbox.next(bytes_max).unwrap() {
                Next::Frame(_, body) => bodies.push(body),
                Next::Oversize { head, first } => oversize.push((head.body_bytes, first)),
                // Nothing changes by asking again.
                Next::Nothing if matches!(self.inbox.next(bytes_max), Ok(Next::Nothing)) => {
                    return (bodies, oversize);
                }
                Next::Nothing => panic!("it had something the second time"),
            }
        }
    }
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        sizes in prop::collection::vec(
            prop_oneof![0..300_usize, 60_000..70_000_usize, 130_000..300_000_usize], 1..10,
        ),
        pieces in prop::collection::vec(1..90_000_usize, 1..20),
        reuses: bool,
        keeps in prop::collection::vec(any::<bool>(), 10),
    ) {
        let bodies: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(n, &size)| vec![n as u8; size]).collect();
        let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        let inbox = Inbox { reuses, ..Inbox::default() };
        let mut reader = Reader { inbox, ..Reader::default() };
        // Some are kept, and stay what they were.
        let (mut received, mut kept, mut rest) = (0, Vec::new(), &stream[..]);
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            reader.sent.extend(now);
            while reader.fill() != Filled::Nothing {
                for body in reader.take(MAX).0 {
                    prop_assert_eq!(&body, &bodies[received]);
                    if keeps[received] {
                        kept.push((received, body));
                    }
                    received += 1;
                }
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(received, bodies.len());
        prop_assert!(kept.iter().all(|(at, body)| *body == bodies[*at]));
        prop_assert_eq!(reader.inbox.held_bytes(), 0);
        prop_assert_eq!(reader.inbox.part.capacity(), 0, "an idle connection holds a buffer");
    }

    #[test]
    fn a_frame_over_the_bound_is_dropped_and_what_follows_it_is_not(
        sizes in prop::collection::vec(0..2000_usize, 1..20), piece in 1..3000_usize,
    ) {
        let bodies: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(n, &size)| vec![n as u8; size]).collect();
        let (mut reader, mut all) = (Reader::default(), (Vec::new(), Vec::new()));
        let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        for piece in stream.chunks(piece) {
            reader.sent.extend(piece);
            while reader.fill() != Filled::Nothing {
                let (bodies, oversize) = reader.take(1000);
                all.0.extend(bodies);
                all.1.extend(oversize);
                prop_assert!(reader.inbox.held_bytes() <= 1009);
            }
        }
        let (kept, dropped): (Vec<_>, Vec<_>) =
            bodies.iter().partition(|body| body.len() <= 1000);
        prop_assert!(all.0.iter().eq(kept));
        let dropped: Vec<_> =
            dropped.iter().map(|body| (body.len() as u64, body[0])).collect();
        prop_assert_eq!(all.1, dropped);
    }
}

#[test]
fn who_keeps_a_frame_keeps_little_else() {
    // What comes with it: nothing, one frame, or so many that the buffer of the read is given away.
    for (beside, beside_bytes) in [(0, 0), (1, 9000), (100, 100), (100, 700), (9, 12_000)] {
        for bytes in [1, 100, 3000, 5000] {
            let mut reader = Reader::default();
            reader.sent.extend(frame(&vec![b'k'; bytes]));
            (0..beside).for_each(|_| reader.sent.extend(frame(&vec![b'-'; beside_bytes])));
            let mut kept = Vec::new();
            while reader.fill() != Filled::Nothing {
                let bodies = reader.take(MAX).0;
                kept.extend(bodies.into_iter().filter(|body| body[0] == b'k'));
            }
            // Nobody else has its buffer.
            let kept = kept.pop().unwrap().try_into_mut().unwrap();
            let bytes_max = BUFFER_SHARE_MAX * (bytes + 9) + LOOKAHEAD_BYTES;
            assert!(kept.capacity() <= bytes_max, "{bytes}: {}", kept.capacity());
        }
    }
}

#[test]
fn a_large_frame_lies_in_a_buffer_made_to_its_measure() {
    let mut reader = Reader::default();
    reader.sent.extend(frame(&[1; 3 * SCRATCH_BYTES]));
    reader.sent.extend(frame(b"behind it"));
    let mut bodies = Vec::new();
    while reader.fill() != Filled::Nothing {
        bodies.extend(reader.take(MAX).0);
    }
    assert_eq!(bodies.pop().unwrap(), "behind it");
    let body = bodies.pop().unwrap().try_into_mut().unwrap();
    assert!(body.capacity() <= 3 * SCRATCH_BYTES + LOOKAHEAD_BYTES, "{}", body.capacity());
}

#[test]
fn large_frames_that_follow_one_another_are_read_to_their_place() {
    let sizes = [LARGE_FRAME_BYTES, 50_000, 3 * SCRATCH_BYTES];
    for (body_bytes, reuses) in sizes.into_iter().flat_map(|size| [(size, false), (size, true)]) {
        let inbox = Inbox { reuses, ..Inbox::default() };
        // What is read before any large frame came is copied, in part at least.
        let (mut reader, mut bodies) = (Reader { inbox, ..Reader::default() }, Vec::new());
        for frames in [1, 4] {
            for n in 0..frames {
                // Each is announced by a frame of its own, as in requests.
                reader.sent.extend(frame(b""));
                reader.sent.extend(frame(&vec![n; body_bytes]));
            }
            bodies.clear();
            while reader.fill() != Filled::Nothing {
                bodies.extend(reader.take(MAX).0);
            }
            bodies.retain(|body| !body.is_empty());
            assert_eq!(bodies.len(), usize::from(frames));
        }
        for body in bodies {
            let place = body.as_ptr_range();
            let read: usize = (reader.places.iter())
                .map(|written| {
                    let start = written.start.max(place.start) as usize;
                    (written.end.min(place.end) as usize).saturating_sub(start)
                })
                .sum();
            assert!(read + LOOKAHEAD_BYTES >= body_bytes, "{read} of {body_bytes}");
        }
    }
}

/// How many buffers large frames of these sizes come in, each sent when the one before was taken, and kept or
/// not.
fn buffers(sizes: &[usize], keep: bool) -> usize {
    let mut reader = Reader { inbox: Inbox::reusing(), ..Reader::default() };
    let (mut buffers, mut kept) = (std::collections::BTreeSet::new(), Vec::new());
    // The first one is not expected to be large, and is copied.
    reader.sent.extend(frame(&[0; LARGE_FRAME_BYTES]));
    reader.fill();
    drop(reader.take(MAX));
    for (n, &bytes) in sizes.iter().enumerate() {
        reader.sent.extend(frame(&vec![n as u8; bytes]));
        while reader.fill() != Filled::Nothing {
            for body in reader.take(MAX).0 {
                // So that the allocator has no reason to hand out the buffer that was freed last.
                kept.push(Bytes::from(vec![0; body.len()]));
                buffers.insert(body.as_ptr());
                kept.extend(keep.then_some(body));
            }
        }
    }
    buffers.len()
}

#[test]
fn large_frames_come_in_one_buffer_as_long_as_nobody_keeps_one() {
    let sizes = [60_000, 50_000, 40_000, 60_000, 35_000, 60_000, 50_000];
    assert_eq!(buffers(&sizes, false), 1);
    // One that does not fit has a buffer of its own, which is the next ones' then.
    assert!(buffers(&[50_000, 60_000, 50_000, 60_000], false) <= 2);
    assert!(buffers(&sizes, true) >= sizes.len() - 1);
}

#[test]
fn a_large_buffer_is_not_kept() {
    let mut reader = Reader { inbox: Inbox::reusing(), ..Reader::default() };
    for bytes in [20_000, 1_100_000, 1_100_000] {
        reader.sent.extend(frame(&vec![0; bytes]));
        while reader.fill() != Filled::Nothing {
            reader.take(2 * MAX);
        }
    }
    assert!(reader.inbox.used.len() < 1_000_000, "{}", reader.inbox.used.len());
}

#[test]
fn the_end_of_the_stream_is_an_error() {
    let ended = Inbox::default().fill(|_| Ok(0), &mut Vec::new());
    assert!(matches!(ended, Err(ConnectionError::Closed)));
}
