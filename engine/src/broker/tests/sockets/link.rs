//! One connection, as the system and the wire see it: bounded buffers both ways, and what is told of it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;

use super::conditions::Wires;
use crate::zmtp::inbox::Room;
use crate::zmtp::session::Port;

/// Why the server may close a connection, or what its peer did first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its peer ended it; all that it had sent is to be read before.
    Ended,
    /// Anything else: it was reset, did not read, was silent, sent what is no request.
    Other(&'static str),
}

/// What is told once, when it becomes so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tell {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) ended: bool,
}

impl Tell {
    pub(super) const ALL: Self = Self { readable: true, writable: true, ended: true };

    pub(super) fn is_something(self) -> bool {
        self != Self::default()
    }
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: usize,
    pub(super) port: Port,
    pub(super) address: SocketAddr,
    pub(super) wires: Wires,
    piece_max: usize,
    room: usize,
    /// Bytes left in the direction of the client at which the server is told that there is room.
    low: usize,
    /// What the client sent and is on its way, and what has arrived.
    pub(super) out: VecDeque<u8>,
    pub(super) up: VecDeque<u8>,
    /// Bytes that the client sent, that arrived, and that the server read.
    pub(super) sent: u64,
    pub(super) arrived: u64,
    pub(super) read: u64,
    /// What the server wrote and the client has not read; bytes that it did.
    pub(super) down: VecDeque<u8>,
    pub(super) taken: u64,
    /// The server waits for room.
    pub(super) wants_room: bool,
    /// The client's end is behind what it sent; it has arrived.
    pub(super) ends: bool,
    pub(super) fin: bool,
    pub(super) is_reset: bool,
    /// How many bytes have to pass in each direction before it is reset, and before the client sends, or
    /// reads, no more for a while.
    pub(super) reset_at: [Option<u64>; 2],
    pub(super) stall_at: [Option<(u64, Duration)>; 2],
    pub(super) stalled_until: [Duration; 2],
    /// The server's number for it, while it has it.
    pub(super) key: Option<u64>,
    /// Which server has it, as they are numbered.
    pub(super) life: u32,
    /// It has come to its listener.
    pub(super) is_made: bool,
    /// Bytes that had arrived when the server was told to end.
    pub(super) arrived_before_drain: u64,
    pub(super) is_registered: bool,
    /// The server delivers on it, and expects that it is read.
    pub(super) delivers: bool,
    pub(super) tell: Tell,
    /// The server closed it.
    pub(super) is_closed: bool,
    /// The client does not look at it any more.
    pub(super) is_gone: bool,
    /// Whether events are scheduled that move its bytes.
    pub(super) moves: [bool; 2],
    pub(super) cause: Option<Cause>,
    /// It came from somebody who does all as one should, and has no trouble.
    pub(super) is_healthy: bool,
}

/// To the server, and to the client.
pub(super) const UP: usize = 0;
pub(super) const DOWN: usize = 1;

/// Takes so many bytes out.
fn take(queue: &mut VecDeque<u8>, bytes: usize) -> Vec<u8> {
    let (first, second) = queue.as_slices();
    let from_first = bytes.min(first.len());
    let taken = [&first[..from_first], &second[..bytes - from_first]].concat();
    queue.drain(..bytes);
    taken
}

impl Link {
    pub(super) fn new(
        client: usize,
        port: Port,
        address: SocketAddr,
        wires: Wires,
        random: &mut Rng,
    ) -> Self {
        let (piece_max, room) =
            (random.usize(wires.piece_max.clone()), random.usize(wires.room.clone()));
        Self {
            client,
            port,
            address,
            wires,
            piece_max,
            room,
            low: random.usize(room / 2..room),
            out: VecDeque::new(),
            up: VecDeque::new(),
            sent: 0,
            arrived: 0,
            read: 0,
            down: VecDeque::new(),
            taken: 0,
            wants_room: false,
            ends: false,
            fin: false,
            is_reset: false,
            reset_at: [None; 2],
            stall_at: [None; 2],
            stalled_until: [Duration::ZERO; 2],
            key: None,
            is_made: false,
            arrived_before_drain: 0,
            is_registered: false,
            delivers: port == Port::Publishing,
            life: 0,
            tell: Tell::default(),
            is_closed: false,
            is_gone: false,
            moves: [false; 2],
            cause: None,
            is_healthy: false,
        }
    }

    /// Nothing is slow any more.
    pub(super) fn calm_down(&mut self) {
        let good = Wires::good();
        (self.piece_max, self.room) = (good.piece_max.start, self.room.max(good.room.start));
        self.low = self.low.max(self.room / 2);
        self.wires = good;
        (self.reset_at, self.stall_at) = ([None; 2], [None; 2]);
        self.stalled_until = [Duration::ZERO; 2];
    }

    /// Bytes of the next piece, of so many: many make large pieces, so that it comes to an end.
    fn piece(&self, waiting: usize, random: &mut Rng) -> usize {
        random.usize(1..=self.piece_max.max(waiting / 20)).min(waiting)
    }

    /// Moves a piece of what the client sent to the server; whether anything was left.
    pub(super) fn arrive(&mut self, random: &mut Rng) -> bool {
        let room = self.room.max(self.out.len() / 30).saturating_sub(self.up.len());
        let mut bytes = self.piece(self.out.len(), random).min(room);
        if let Some(at) = self.reset_at[UP] {
            bytes = bytes.min((at - self.arrived) as usize);
        }
        if let Some((at, _)) = self.stall_at[UP] {
            bytes = bytes.min((at - self.arrived) as usize);
        }
        if bytes > 0 {
            // Told when it becomes so, and perhaps more often.
            self.tell.readable |= self.up.is_empty() || random.bool();
            self.up.extend(&take(&mut self.out, bytes));
            self.arrived += bytes as u64;
        }
        if self.ends && self.out.is_empty() && !self.fin {
            self.fin = true;
            (self.tell.readable, self.tell.ended) = (true, true);
        }
        !self.out.is_empty()
    }

    /// Takes a piece of what the server wrote.
    pub(super) fn take(&mut self, random: &mut Rng) -> Vec<u8> {
        let mut bytes = self.piece(self.down.len(), random);
        if let Some(at) = self.reset_at[DOWN] {
            bytes = bytes.min((at - self.taken) as usize);
        }
        if let Some((at, _)) = self.stall_at[DOWN] {
            bytes = bytes.min((at - self.taken) as usize);
        }
        let piece = take(&mut self.down, bytes);
        self.taken += bytes as u64;
        if self.wants_room && self.down.len() <= self.low {
            self.wants_room = false;
            self.tell.writable = true;
        }
        piece
    }

    /// The connection is lost, perhaps with what arrived.
    pub(super) fn reset(&mut self, random: &mut Rng) {
        self.is_reset = true;
        self.out.clear();
        if random.bool() {
            self.up.clear();
        }
        self.down.clear();
        self.tell = Tell::ALL;
        self.cause.get_or_insert(Cause::Other("reset"));
        if self.cause == Some(Cause::Ended) {
            self.cause = Some(Cause::Other("reset behind its end"));
        }
    }

    /// The server reads.
    pub(super) fn server_reads(&mut self, room: Room<'_>) -> io::Result<usize> {
        assert!(room.bytes() > 0, "a read without room would look like the end");
        let bytes = room.bytes().min(self.up.len());
        if bytes > 0 {
            room.put(&take(&mut self.up, bytes));
            self.read += bytes as u64;
            Ok(bytes)
        } else if self.is_reset {
            Err(io::ErrorKind::ConnectionReset.into())
        } else if self.fin {
            Ok(0)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    /// The server writes.
    pub(super) fn server_writes(
        &mut self,
        slices: &[io::IoSlice<'_>],
        random: &mut Rng,
    ) -> io::Result<usize> {
        if self.is_reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        assert!(offered > 0, "a write of nothing");
        if self.is_gone {
            // Whoever sends to a peer that has gone learns of it with the next write.
            self.reset(random);
            return Ok(offered);
        }
        let mut bytes = self.room.max(offered / 16).saturating_sub(self.down.len()).min(offered);
        if bytes > 1 && random.u32(0..4) == 0 {
            bytes = random.usize(1..bytes);
        }
        self.wants_room = bytes < offered;
        if bytes == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut left = bytes;
        for slice in slices {
            let (now, _) = slice.split_at(left.min(slice.len()));
            self.down.extend(now);
            left -= now.len();
        }
        Ok(bytes)
    }
}
