//! The connections, by number.

use std::ops::Range;

use super::peer::Peer;
use super::subscribers::ConnectionId;

/// A table of connections. A number is a place and how often it was used before, so that no number is used twice.
#[derive(Debug)]
pub(super) struct Peers<S> {
    places: Vec<PeerSlot<S>>,
    free: Vec<u32>,
    count: usize,
}

#[derive(Debug)]
struct PeerSlot<S> {
    used: u32,
    peer: Option<Box<Peer<S>>>,
}

impl<S> Default for Peers<S> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), count: 0 }
    }
}

fn split(id: ConnectionId) -> (usize, u32) {
    (id as u32 as usize, (id >> 32) as u32)
}

impl<S> Peers<S> {
    /// The number that the next connection gets.
    pub(super) fn next_id(&self) -> ConnectionId {
        match self.free.last() {
            Some(&at) => u64::from(self.places[at as usize].used) << 32 | u64::from(at),
            None => self.places.len() as u64,
        }
    }

    /// Adds a connection under [`Self::next_id`].
    pub(super) fn add(&mut self, peer: Peer<S>) {
        self.count += 1;
        let peer = Some(Box::new(peer));
        match self.free.pop() {
            Some(at) => self.places[at as usize].peer = peer,
            None => self.places.push(PeerSlot { used: 0, peer }),
        }
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Peer<S>> {
        let (at, used) = split(id);
        let place = self.places.get_mut(at)?;
        if place.used == used { place.peer.as_deref_mut() } else { None }
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Box<Peer<S>>> {
        let (at, used) = split(id);
        let place = self.places.get_mut(at)?;
        if place.used != used {
            return None;
        }
        let peer = place.peer.take()?;
        place.used = place.used.wrapping_add(1);
        self.free.push(at as u32);
        self.count -= 1;
        Some(peer)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer<S>> {
        self.places.iter_mut().filter_map(|place| place.peer.as_deref_mut())
    }

    /// How many places there are, those that are free among them.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// The connections in these places, each with its place.
    pub(super) fn within(&self, places: Range<usize>) -> impl Iterator<Item = (usize, &Peer<S>)> {
        let from = places.start;
        let places = self.places.get(places).unwrap_or_default();
        let peers = (from..).zip(places);
        peers.filter_map(|(at, place)| Some((at, place.peer.as_deref()?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer<S>> {
        self.places.iter().filter_map(|place| place.peer.as_deref())
    }
}
