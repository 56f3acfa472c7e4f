//! What leaves sealed arrives whole, and what waits is counted as it is without.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::FramePrefix;
use super::super::tests::{Takes, frame};
use super::*;
use crate::limits::SEALED_PER_TURN_BYTES_MAX;
use crate::zmtp::curve::Traffic;
use crate::zmtp::curve::traffic::Opener;
use crate::zmtp::frame::Head;

fn opened(mut rest: &[u8], opener: &mut Opener) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    while let Some((head, head_bytes)) = Head::read(rest).unwrap() {
        let (sealed, after) = rest[head_bytes..].split_at(head.body_bytes as usize);
        bodies.push(opener.open(sealed).unwrap().1);
        rest = after;
    }
    bodies
}

proptest! {
    #[test]
    fn what_leaves_in_pieces_of_any_size_arrives_whole(
        pushes in prop::collection::vec((0..4_u8, 0..6000_usize), 1..80),
        piece in 1..90_000_usize,
    ) {
        let (mut client, server) = Traffic::pair();
        let (mut frames, mut output) = (Frames::default(), Output::default());
        let mut stream = Takes(piece, Vec::new());
        // What is left of the handshake leaves as it is.
        output.own().extend(b"handshake");
        output.seal(server.sealer);
        let (mut own, mut shared, mut dropped) = (Vec::new(), Vec::new(), 0);
        for (n, (kind, bytes)) in pushes.into_iter().enumerate() {
            let mut body = vec![n as u8; bytes];
            body.insert(0, u8::from(kind == 0));
            if kind == 0 {
                output.own().extend(frame(&body));
                own.push(body);
            } else {
                let id = frames.add(body.clone().into(), 1, true, Duration::ZERO);
                output.push(id, FramePrefix::default(), &frames);
                shared.push(body);
            }
            if kind == 3 {
                dropped += output.drop_oldest(20_000, &mut frames);
            }
            output.unblock();
            output.write(&mut stream, &mut frames).unwrap();
            prop_assert!(frames.bytes() >= output.frame_bytes().saturating_sub(9 * shared.len()));
        }
        while !output.is_empty() {
            output.unblock();
            output.write(&mut stream, &mut frames).unwrap();
        }
        prop_assert_eq!((frames.bytes(), output.frame_bytes(), output.own_bytes()), (0, 0, 0));
        let rest = stream.1.strip_prefix(&b"handshake"[..]).unwrap();
        let (ours, theirs): (Vec<_>, Vec<_>) =
            opened(rest, &mut client.opener).into_iter().partition(|body| body[0] == 1);
        prop_assert_eq!(ours, own);
        prop_assert_eq!(theirs.len() + dropped, shared.len());
        // Those that were not dropped, in their order.
        let mut all = shared.iter();
        prop_assert!(theirs.iter().all(|body| all.any(|it| it == body)));
    }
}

#[test]
fn one_call_seals_a_part_and_keeps_no_more_than_that() {
    let (mut client, server) = Traffic::pair();
    let (mut frames, mut output) = (Frames::default(), Output::default());
    output.seal(server.sealer);
    const FRAMES: usize = 100;
    for _ in 0..FRAMES {
        let id = frames.add(Bytes::from(vec![7; 40_000]), 1, false, Duration::ZERO);
        output.push(id, FramePrefix::default(), &frames);
    }
    let whole = frames.bytes();
    let mut stream = Takes(usize::MAX, Vec::new());
    let written = output.write(&mut stream, &mut frames).unwrap();
    let most = SEALED_PER_CALL_BYTES_MAX + SEALED_AT_ONCE_BYTES + 40_100;
    assert!((SEALED_PER_CALL_BYTES_MAX..most).contains(&written), "{written}");
    assert!(!output.is_blocked() && !output.is_empty(), "the rest has its turn later");
    assert!(frames.bytes() < whole);
    // The system takes no more: what is sealed is counted, too.
    let before = frames.bytes();
    stream.0 = 100;
    output.write(&mut stream, &mut frames).unwrap();
    assert!(output.is_blocked());
    let sealed = frames.bytes() - before;
    assert!((SEALED_AT_ONCE_BYTES..SEALED_AT_ONCE_BYTES + 40_100).contains(&sealed), "{sealed}");
    stream.0 = usize::MAX;
    while !output.is_empty() {
        output.unblock();
        output.write(&mut stream, &mut frames).unwrap();
    }
    assert_eq!((frames.bytes(), opened(&stream.1, &mut client.opener).len()), (0, FRAMES));
    // A connection that ends takes what was sealed for it along.
    let id = frames.add(Bytes::from(vec![7; 400_000]), 1, false, Duration::ZERO);
    output.push(id, FramePrefix::default(), &frames);
    stream.0 = 1;
    output.write(&mut stream, &mut frames).unwrap();
    assert!(frames.bytes() > 800_000);
    output.clear(&mut frames);
    assert_eq!(frames.bytes(), 0);
}

fn large(bytes: usize, frames: &mut Frames, outputs: &mut [Output]) {
    let id = frames.add(Bytes::from(vec![7; bytes]), outputs.len() as u32, false, Duration::ZERO);
    for output in outputs {
        output.push(id, FramePrefix::default(), frames);
    }
}

/// Connections, and what opens what they are sent.
fn connections<const N: usize>() -> ([Output; N], [Opener; N]) {
    let both = [(); N].map(|()| {
        let (client, server) = Traffic::pair();
        let mut output = Output::default();
        output.seal(server.sealer);
        (output, client.opener)
    });
    let mut openers = Vec::new();
    let outputs = both.map(|(output, opener)| {
        openers.push(opener);
        output
    });
    (outputs, openers.try_into().unwrap_or_else(|_| unreachable!()))
}

#[test]
fn one_turn_seals_a_part_for_all_connections_together() {
    const BYTES: usize = 1_500_000;
    let (mut outputs, mut openers) = connections::<8>();
    let mut frames = Frames::default();
    large(BYTES, &mut frames, &mut outputs);
    let mut streams = [(); 8].map(|()| Takes(usize::MAX, Vec::new()));
    for turn in 1.. {
        frames.sealed.begin_turn(usize::MAX);
        let mut written = 0;
        for (output, stream) in outputs.iter_mut().zip(&mut streams) {
            written += output.write(stream, &mut frames).unwrap();
            assert!(!output.is_blocked() && !output.awaits_room());
        }
        assert!(written < SEALED_PER_TURN_BYTES_MAX + BYTES + 100, "turn {turn}: {written}");
        if outputs.iter().all(Output::is_empty) {
            break;
        }
        assert!(written >= SEALED_PER_TURN_BYTES_MAX, "turn {turn}: {written}");
    }
    for (stream, opener) in streams.iter().zip(&mut openers) {
        let bodies = opened(&stream.1, opener);
        assert_eq!(bodies.iter().map(Bytes::len).collect::<Vec<_>>(), [BYTES]);
    }
}

#[test]
fn large_frames_wait_for_room_in_their_order_and_nothing_else_does() {
    const ROOM: usize = 1_000_000;
    let (mut outputs, mut openers) = connections::<5>();
    let mut frames = Frames::default();
    frames.sealed.begin_turn(ROOM);
    let [one, two, three, four, five] = &mut outputs;
    large(600_000, &mut frames, std::slice::from_mut(one));
    large(600_000, &mut frames, std::slice::from_mut(two));
    large(100_000, &mut frames, std::slice::from_mut(three));
    large(1000, &mut frames, std::slice::from_mut(four));
    let mut streams = [(); 5].map(|()| Takes(10, Vec::new()));
    let [to_one, to_two, to_three, to_four, to_five] = &mut streams;
    one.write(to_one, &mut frames).unwrap();
    assert!(one.is_blocked() && one.takes_room());
    // The second does not fit, and the third, which would, does not go ahead of it.
    for (output, stream) in [(&mut *two, &mut *to_two), (&mut *three, &mut *to_three)] {
        assert_eq!(output.write(stream, &mut frames).unwrap(), 0);
        assert!(output.awaits_room() && !output.is_blocked() && !output.takes_room());
    }
    assert!(frames.sealed.is_awaited());
    // What is not large needs no room, and nor does what a connection that waits is told.
    to_four.0 = usize::MAX;
    four.write(to_four, &mut frames).unwrap();
    assert!(four.is_empty());
    to_two.0 = usize::MAX;
    two.own().extend(frame(b"pong"));
    assert!(two.write(to_two, &mut frames).unwrap() > 0);
    assert!(two.awaits_room() && two.own_bytes() == 0);
    // The first takes its own: the second is next, and then the third fits beside it.
    assert!(!frames.sealed.take_freed());
    to_one.0 = usize::MAX;
    one.unblock();
    one.write(to_one, &mut frames).unwrap();
    assert!(one.is_empty() && !one.takes_room());
    assert!(frames.sealed.take_freed() && !frames.sealed.is_awaited());
    to_two.0 = 10;
    two.write(to_two, &mut frames).unwrap();
    assert!(two.takes_room());
    to_three.0 = usize::MAX;
    three.write(to_three, &mut frames).unwrap();
    assert!(three.is_empty());
    // One that has the room to itself may be larger than that. A connection that ends gives its room back.
    two.clear(&mut frames);
    assert!(frames.sealed.take_freed());
    large(3 * ROOM, &mut frames, std::slice::from_mut(five));
    to_five.0 = usize::MAX;
    five.write(to_five, &mut frames).unwrap();
    assert!(five.is_empty());
    assert_eq!(frames.bytes(), 0);
    for (at, bodies) in [(0, vec![600_000]), (1, vec![4]), (2, vec![100_000]), (3, vec![1000])] {
        let arrived = opened(
            &streams[at].1[..if at == 1 { 39 } else { streams[at].1.len() }],
            &mut openers[at],
        );
        assert_eq!(arrived.iter().map(Bytes::len).collect::<Vec<_>>(), bodies);
    }
}
