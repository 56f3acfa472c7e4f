//! What leaves sealed arrives whole, and what waits is counted as it is without.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::FramePrefix;
use super::super::tests::{Takes, frame};
use super::*;
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
