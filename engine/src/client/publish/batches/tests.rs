use super::*;

const BOUNDS: Bounds = Bounds {
    frame_bytes_max: 1 << 20,
    buffer_bytes: 1 << 20,
    window_frames: 8,
    patience: Duration::from_secs(1),
    // No bound but those of frames and bytes.
    target_delay: Duration::from_secs(3600),
};

fn add(batches: &mut Batches, name: &str, messages: usize) {
    batches.open_batch(name).unwrap();
    let (at, _) = batches.add_batch(name, Vec::new(), None, Instant::now());
    batches.queue[at].messages = messages;
}

fn finish(batches: &mut Batches, cut: SequencedBatch, result: Result<(), SendError>) {
    batches.finish(Finished { cut, result, connections: 1 }, Instant::now());
}

fn refusal() -> Result<(), SendError> {
    Err(SendError::PendingFull { text: String::new() })
}

/// Ends frames of two messages each, in this order, and returns the next frame's first ordinal.
fn next_ordinal(frames: usize, ends: &[(usize, bool)]) -> u64 {
    let mut batches = Batches::new(BOUNDS.target_delay);
    for _ in 0..frames {
        add(&mut batches, "a", 2);
    }
    let mut cuts: Vec<_> = (0..frames).map(|_| batches.cut_next(&BOUNDS, Instant::now())).collect();
    for &(at, refused) in ends {
        let result = if refused { refusal() } else { Ok(()) };
        finish(&mut batches, cuts[at].take().unwrap(), result);
    }
    add(&mut batches, "a", 1);
    batches.cut_next(&BOUNDS, Instant::now()).unwrap().first_ordinal
}

#[test]
fn ordinals_of_refused_frames_at_the_tail_are_free_again_in_any_order() {
    assert_eq!(next_ordinal(1, &[(0, true)]), 1);
    assert_eq!(next_ordinal(3, &[(0, true), (1, true), (2, true)]), 1);
    assert_eq!(next_ordinal(3, &[(2, true), (0, true), (1, true)]), 1);
    assert_eq!(next_ordinal(3, &[(1, true), (0, false), (2, true)]), 3);
    assert_eq!(next_ordinal(3, &[(0, true), (1, false), (2, true)]), 5);
    assert_eq!(next_ordinal(3, &[(1, true), (2, false), (0, true)]), 7);
    assert_eq!(next_ordinal(3, &[(0, true), (1, true)]), 7);
}

#[test]
fn a_full_window_opens_again_once_half_of_it_is_free() {
    let mut batches = Batches::new(BOUNDS.target_delay);
    for _ in 0..20 {
        add(&mut batches, "a", 1);
    }
    let leave = |batches: &mut Batches| -> Vec<_> {
        std::iter::from_fn(|| batches.cut_next(&BOUNDS, Instant::now())).collect()
    };
    let mut on_their_way = leave(&mut batches);
    assert_eq!(on_their_way.len(), 8);
    for left in [7, 6, 5] {
        finish(&mut batches, on_their_way.swap_remove(0), Ok(()));
        assert!(leave(&mut batches).is_empty(), "{left} on their way");
    }
    finish(&mut batches, on_their_way.swap_remove(0), Ok(()));
    assert_eq!(leave(&mut batches).len(), 4);
}

#[test]
fn a_name_that_is_not_counted_is_forgotten_once_nothing_of_it_is_left() {
    let mut batches = Batches::new(BOUNDS.target_delay);
    for n in 0..CLIENT_NAMES_COUNTED_MAX {
        batches.open_batch(&n.to_string()).unwrap();
    }
    add(&mut batches, "beyond", 1);
    add(&mut batches, "beyond", 1);
    let first = batches.cut_next(&BOUNDS, Instant::now()).unwrap();
    finish(&mut batches, first, Ok(()));
    let second = batches.cut_next(&BOUNDS, Instant::now()).unwrap();
    add(&mut batches, "beyond", 1);
    finish(&mut batches, second, Ok(()));
    assert!(batches.names.contains_key("beyond"));
    let third = batches.cut_next(&BOUNDS, Instant::now()).unwrap();
    assert_eq!(third.first_ordinal, 0);
    finish(&mut batches, third, Ok(()));
    assert!(!batches.names.contains_key("beyond"));
}

/// Adds a message to an open batch, which leaves if it may.
fn leaves_open(batches: &mut Batches) -> Option<SequencedBatch> {
    batches.open_batch("a").unwrap();
    let (at, _) = batches.add_batch("a", Vec::new(), Some(1 << 20), Instant::now());
    batches.queue[at].messages = 1;
    batches.cut_next(&BOUNDS, Instant::now())
}

#[test]
fn a_message_leaves_at_once_behind_small_frames_and_waits_behind_a_full_one() {
    let mut batches = Batches::new(BOUNDS.target_delay);
    let early: Vec<_> = (0..CLIENT_EARLY_FRAMES_MAX)
        .map(|_| leaves_open(&mut batches).expect("few are on their way"))
        .collect();
    assert!(leaves_open(&mut batches).is_none(), "as many as may be");
    for cut in early {
        finish(&mut batches, cut, Ok(()));
    }
    let waited = batches.cut_next(&BOUNDS, Instant::now()).unwrap();
    finish(&mut batches, waited, Ok(()));
    add(&mut batches, "a", 100);
    let full = batches.cut_next(&BOUNDS, Instant::now()).unwrap();
    assert!(leaves_open(&mut batches).is_none(), "more are about to come");
    finish(&mut batches, full, Ok(()));
    let cut = batches.cut_next(&BOUNDS, Instant::now()).expect("nothing is on its way");
    assert_eq!(cut.batch.messages, 1);
    // It was not full: the next one leaves at once again.
    assert!(leaves_open(&mut batches).is_some());
}

#[test]
fn the_next_frame_of_a_name_is_as_large_as_its_connections_ask_for() {
    let mut batches = Batches::new(Duration::from_millis(20));
    let told = |batches: &mut Batches, result, connections| {
        add(batches, "a", 1);
        let cut = batches.cut_next(&BOUNDS, Instant::now()).unwrap();
        batches.finish(Finished { cut, result, connections }, Instant::now());
    };
    told(&mut batches, Ok(()), 1000);
    let pace = &batches.pace;
    assert_eq!(batches.frame_bytes("a"), pace.frame_bytes(1000));
    assert_eq!(batches.frame_bytes("b"), pace.frame_bytes(0));
    told(&mut batches, refusal(), 0);
    assert_eq!(batches.names["a"].connections, 1000, "a refusal tells nothing");
    told(&mut batches, Ok(()), 7);
    assert_eq!(batches.names["a"].connections, 7);
}
