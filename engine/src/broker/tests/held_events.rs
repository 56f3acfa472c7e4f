//! What a connection sends while it is held back, and what of it goes ahead.

use super::answers::Server;
use super::native::{grant, subscribe};
use super::*;
use crate::limits::REPLY_BYTES_MAX;
use crate::wire::control::{self, Control, Kind, Verdict};
use crate::wire::filter::Filter;
use crate::zmtp::envelope::Envelope;
use crate::zmtp::session::Event;

#[test]
fn what_is_about_a_subscription_does_not_overtake_what_begins_it() {
    let mut server = Server::new(REPLY_BYTES_MAX);
    let _client = server.connect();
    let id = server.broker.peers.iter().next().unwrap().id;
    server.broker.peers.get_mut(id).unwrap().is_held = true;
    let mut goes_ahead = |body: Vec<u8>| {
        let event = Event::Request(Envelope::new(b""), body.into());
        server.broker.put_aside(id, event).is_some()
    };
    let unsubscribe = |number| control::request(&Control::Unsubscribe(number));
    let settle = |number| {
        control::request(&Control::Settle { number, verdict: Verdict::Ack, ids: &[0; 16] })
    };
    assert!(goes_ahead(grant(1, 9)));
    assert!(!goes_ahead(subscribe(1, Kind::Observer, Filter::Prefix(""), 9)));
    for body in [grant(1, 9), unsubscribe(1), settle(1)] {
        assert!(!goes_ahead(body));
    }
    // Others are there.
    for body in
        [grant(2, 9), unsubscribe(2), settle(2), ack::frame(&[MessageId::from_bytes([1; 16])])]
    {
        assert!(goes_ahead(body));
    }
    server.broker.peers.get_mut(id).unwrap().is_held = false;
    let taken = std::iter::from_fn(|| server.broker.take_aside(id)).count();
    assert_eq!(taken, 4, "in their order");
    server.broker.peers.get_mut(id).unwrap().is_held = true;
    let event = Event::Request(Envelope::new(b""), unsubscribe(1).into());
    assert!(server.broker.put_aside(id, event).is_some(), "it has begun");
}
