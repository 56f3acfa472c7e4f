//! The bounds against simulated servers, on a clock that the tests turn.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const TARGET: Duration = Duration::from_millis(20);
const MB: f64 = 1e6;

fn seconds(time: f64) -> Duration {
    Duration::from_secs_f64(time)
}

/// A server that takes what comes in its order, so many bytes a second, and its clients, who always have
/// something to send.
struct World {
    start: Instant,
    now: Instant,
    /// Bytes a second.
    rate: f64,
    /// There and back.
    round_trip: Duration,
    free_at: Instant,
    clients: Vec<Pace>,
    /// Answers under way: when they arrive, whose they are, their frame.
    answers: BinaryHeap<Reverse<(Instant, usize, usize)>>,
    departures: Vec<SendSample>,
    /// Of each frame answered: when, its bytes, how long it waited for the server.
    answered: Vec<(Instant, usize, Duration)>,
}

impl World {
    fn new(clients: usize, rate: f64, round_trip: Duration) -> Self {
        Self::with_target(TARGET, clients, rate, round_trip)
    }

    fn with_target(target: Duration, clients: usize, rate: f64, round_trip: Duration) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            rate,
            round_trip,
            free_at: start,
            clients: (0..clients).map(|_| Pace::new(target, start)).collect(),
            answers: BinaryHeap::new(),
            departures: Vec::new(),
            answered: Vec::new(),
        }
    }

    /// Sends a frame now.
    fn send(&mut self, client: usize, bytes: usize) {
        let departure = self.clients[client].depart(bytes, self.now);
        let there = self.now + self.round_trip / 2;
        self.free_at = self.free_at.max(there) + seconds(bytes as f64 / self.rate);
        self.departures.push(departure);
        let frame = self.departures.len() - 1;
        self.answers.push(Reverse((self.free_at + self.round_trip / 2, client, frame)));
    }

    fn fill(&mut self, client: usize) {
        loop {
            let bytes = self.clients[client].frame_bytes(1);
            if !self.clients[client].admits(bytes) {
                return;
            }
            self.send(client, bytes);
        }
    }

    /// Takes the next answer that comes before `end`; whose it is.
    fn hear(&mut self, end: Instant) -> Option<usize> {
        let &Reverse((at, client, frame)) = self.answers.peek()?;
        if at > end {
            return None;
        }
        self.answers.pop();
        self.now = at;
        let departure = self.departures[frame];
        self.clients[client].answer(&departure, at);
        let own = self.round_trip + seconds(departure.bytes as f64 / self.rate);
        let waited = (at - departure.at).saturating_sub(own);
        self.answered.push((at, departure.bytes, waited));
        Some(client)
    }

    /// All clients send as much as they may for so long.
    fn saturate(&mut self, time: Duration) {
        self.saturate_by(self.clients.len(), time);
    }

    /// The first so many clients do.
    fn saturate_by(&mut self, clients: usize, time: Duration) {
        let end = self.now + time;
        for client in 0..clients {
            self.fill(client);
        }
        while let Some(client) = self.hear(end) {
            self.fill(client);
        }
        self.now = end;
    }

    /// The part of the server's rate that was used in the last so many seconds, and how long 99 of 100 bytes
    /// waited at most.
    fn last(&self, time: Duration) -> (f64, Duration) {
        let since = self.now - time;
        let last = self.answered.iter().filter(|(at, ..)| *at >= since);
        let mut waits: Vec<_> = last.map(|&(_, bytes, waited)| (waited, bytes)).collect();
        waits.sort_unstable();
        let bytes: usize = waits.iter().map(|(_, bytes)| bytes).sum();
        let mut beyond = bytes / 100;
        while let Some((_, bytes)) = waits.last()
            && *bytes <= beyond
        {
            beyond -= bytes;
            waits.pop();
        }
        let waited = waits.last().map_or(Duration::MAX, |(waited, _)| *waited);
        (bytes as f64 / time.as_secs_f64() / self.rate, waited)
    }

    #[track_caller]
    fn check(&self, time: Duration) {
        let (used, waited) = self.last(time);
        let when = self.now - self.start;
        assert!(used > 0.95, "{used} of the rate at {when:?}");
        assert!(waited <= TARGET * 3 / 2, "{waited:?} at {when:?}: {:?}", self.clients[0]);
    }
}

#[test]
fn a_saturated_server_of_any_rate_is_used_and_its_queue_stays_short() {
    for rate in [2.0, 10.0, 100.0, 1000.0] {
        for round_trip_ms in [0.05, 0.2, 2.0, 20.0, 100.0] {
            if rate * round_trip_ms > 10_000.0 {
                // More than a client holds.
                continue;
            }
            let mut world = World::new(1, rate * MB, seconds(round_trip_ms / 1e3));
            world.saturate(Duration::from_secs(3));
            world.check(Duration::from_secs(1));
            // The shortest round trip that it believes in grows old twice.
            world.saturate(Duration::from_secs(12));
            let (used, waited) = world.last(Duration::from_secs(12));
            // After it was drained, an idle way takes a whole window at once.
            let bound = (TARGET * 3 / 2).max(world.round_trip + TARGET);
            assert!(used > 0.95 && waited <= bound, "{rate} {round_trip_ms} {used} {waited:?}");
        }
    }
}

#[test]
fn a_target_longer_than_the_time_between_two_drains_leaves_most_of_the_time_to_full_windows() {
    for target in [1, 5, 60, 24 * 3600] {
        // Drained, a server at this distance has next to nothing to do.
        let mut world = World::with_target(Duration::from_secs(target), 1, 2.0 * MB, seconds(0.5));
        let period = Duration::from_secs(40)
            .max(Duration::from_secs(target * 40))
            .min(Duration::from_secs(3000));
        world.saturate(period);
        let (used, _) = world.last(period * 3 / 4);
        assert!(used > 0.75, "{used} of the rate with a target of {target} s");
    }
}

#[test]
fn clients_that_share_a_server_together_keep_its_queue_short() {
    for round_trip_ms in [0.1, 10.0] {
        let mut world = World::new(8, 64.0 * MB, seconds(round_trip_ms / 1e3));
        // Each finds the queue of those before it.
        for clients in 1..=8 {
            world.saturate_by(clients, Duration::from_millis(700));
        }
        world.saturate(CLIENT_ROUND_TRIP_KEPT * 2);
        for _ in 0..10 {
            world.saturate(CLIENT_ROUND_TRIP_KEPT);
            let (used, waited) = world.last(CLIENT_ROUND_TRIP_KEPT);
            // Where nobody drained with the others, each took the others' queue for the way's length.
            assert!(used > 0.95 && waited < TARGET * 5 / 2, "{used} {waited:?}");
        }
        let answered = world.clients.iter().map(|client| client.answered);
        let (least, most) = (answered.clone().min().unwrap(), answered.max().unwrap());
        // A server that takes from its clients in turns makes them equal; this one does not.
        assert!(most < 20 * least, "{least} and {most} bytes");
    }
}

#[test]
fn a_server_that_becomes_slower_and_faster_again_is_followed() {
    for round_trip_ms in [0.1, 1.0, 10.0] {
        let mut world = World::new(1, 100.0 * MB, seconds(round_trip_ms / 1e3));
        world.saturate(Duration::from_secs(1));
        let in_flight = world.clients[0].bytes() as f64;
        world.rate /= 100.0;
        // What is in flight takes its time; then the queue is as short as ever.
        world.saturate(seconds(in_flight / world.rate) + TARGET * 10);
        world.saturate(Duration::from_secs(1));
        world.check(Duration::from_secs(1));
        world.rate *= 100.0;
        world.saturate(TARGET * 10 + world.round_trip * 20);
        world.saturate(Duration::from_millis(500));
        world.check(Duration::from_millis(500));
    }
}

#[test]
fn after_a_stall_the_rate_is_soon_as_before() {
    let mut world = World::new(1, 50.0 * MB, Duration::from_micros(200));
    world.saturate(Duration::from_secs(1));
    world.free_at = world.now + Duration::from_millis(300);
    world.saturate(Duration::from_millis(300) + TARGET * 5);
    world.saturate(Duration::from_millis(500));
    world.check(Duration::from_millis(500));
}

#[test]
fn a_burst_after_an_idle_time_finds_the_window_as_it_was() {
    let mut world = World::new(1, 50.0 * MB, Duration::from_millis(1));
    world.saturate(Duration::from_secs(1));
    while world.hear(world.now + TARGET * 10).is_some() {}
    world.now += Duration::from_secs(60);
    // Single messages meanwhile say nothing of what the server can do.
    for _ in 0..20 {
        world.clients[0].idle();
        world.send(0, 200);
        while world.hear(world.now + TARGET).is_some() {}
        world.now += Duration::from_millis(50);
    }
    world.saturate(Duration::from_millis(200));
    world.check(Duration::from_millis(200));
}

#[test]
fn a_publisher_slower_than_the_server_once_was_notices_that_it_became_slower_still() {
    let mut world = World::new(1, 100.0 * MB, Duration::from_micros(200));
    world.saturate(Duration::from_secs(1));
    world.rate = 0.5 * MB;
    // 1 MB a second, as long as there is room.
    let end = world.now + Duration::from_secs(20);
    let mut next = world.now;
    while world.now < end {
        while world.hear(next).is_some() {}
        world.now = next;
        next += Duration::from_millis(4);
        if world.clients[0].admits(4000) {
            world.send(0, 4000);
        }
        world.clients[0].idle();
    }
    world.check(Duration::from_secs(5));
}

#[test]
fn a_lone_message_never_waits() {
    for rate in [0.01, 1.0, 1000.0] {
        let mut world = World::new(1, rate * MB, Duration::from_millis(1));
        for _ in 0..1000 {
            assert!(world.clients[0].has_room() && world.clients[0].admits(200));
            world.send(0, 200);
            world.clients[0].idle();
            while world.hear(world.now + Duration::from_secs(1)).is_some() {}
            assert_eq!(world.answered.last().unwrap().2, Duration::ZERO);
            world.now += Duration::from_millis(10);
        }
    }
}

#[test]
fn frames_are_large_for_a_fast_server_and_small_for_a_slow_one() {
    for (rate, bytes) in
        [(1000.0, FRAME_BYTES_TARGET), (10.0, 50_000), (0.1, CLIENT_FRAME_BYTES_MIN)]
    {
        let mut world = World::new(1, rate * MB, Duration::from_micros(100));
        world.saturate(Duration::from_secs(5));
        let is = world.clients[0].frame_bytes(1);
        assert!(is.abs_diff(bytes) < bytes / 4, "{rate}: {is}");
    }
}

#[test]
fn frames_for_many_connections_are_large_whatever_the_rate_within_bounds() {
    let mut world = World::new(1, MB, Duration::from_micros(100));
    world.saturate(Duration::from_secs(5));
    let bytes = |connections| world.clients[0].frame_bytes(connections);
    // A quarter of the target's worth: 5 ms of a megabyte a second.
    assert!(bytes(1).abs_diff(5000) < 500, "{}", bytes(1));
    assert_eq!((bytes(0), bytes(10)), (bytes(1), bytes(1)));
    // 100 writes of 10 us, 32 times.
    assert!(bytes(100).abs_diff(32_000) < 3200, "{}", bytes(100));
    // Eight times the target, however many there are.
    assert!(bytes(1000).abs_diff(160_000) < 16_000, "{}", bytes(1000));
    assert_eq!(bytes(u32::MAX), bytes(1000));
}

#[test]
fn two_frames_may_be_in_flight_whatever_was_measured_and_what_is_lost_measures_nothing() {
    let now = Instant::now();
    let mut pace = Pace::new(TARGET, now);
    for _ in 0..3 {
        let frames = [(); CLIENT_FRAMES_IN_FLIGHT_MIN].map(|()| {
            assert!(pace.admits(1 << 30));
            pace.depart(1 << 30, now)
        });
        assert!(!pace.has_room() && !pace.admits(1));
        for frame in &frames {
            pace.forget(frame);
        }
    }
    assert_eq!((pace.frames(), pace.bytes(), pace.rate.get()), (0, 0, None));
}
