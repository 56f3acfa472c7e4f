//! Reads requests, and remembers where each reply goes.

use crate::limits::ENVELOPE_PARTS_MAX;
use crate::transport::{Part, Received, Socket, TransportError};

/// The frames that a reply begins with: the routing id, whatever else the requester put before the
/// empty delimiter, and the delimiter.
#[derive(Debug)]
pub(super) struct Envelope(Vec<Part>);

/// A request, or what arrived in place of one.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) from: Envelope,
    /// The frame behind the delimiter, or what is wrong with the request's shape.
    pub(super) body: Result<Part, &'static str>,
}

/// Reads one request, all its parts, if one is there.
///
/// libzmq hands over a message's parts only when it has them all, so the reads behind the first find
/// something.
pub(super) fn read(socket: &mut Socket) -> Result<Option<Request>, TransportError> {
    let mut envelope = Vec::with_capacity(2);
    let mut body = None;
    let mut wrong = None;
    let mut in_envelope = true;
    loop {
        let mut part = Part::empty();
        if socket.receive(&mut part)? == Received::Nothing {
            return Ok(None);
        }
        let more = part.has_more();
        if in_envelope {
            // The routing id is never empty; the first empty frame behind it is the delimiter.
            in_envelope = !part.as_slice().is_empty();
            if envelope.len() < ENVELOPE_PARTS_MAX {
                envelope.push(part);
            } else {
                wrong = Some("too many frames before the empty one");
            }
        } else if body.is_none() {
            body = Some(part);
        } else {
            wrong = Some("more than one frame behind the empty one");
        }
        if !more {
            break;
        }
    }
    if in_envelope {
        wrong = Some("no empty frame");
    }
    if !envelope.last().is_some_and(|part| part.as_slice().is_empty()) {
        // No delimiter, or one behind too many frames: the answer goes behind one all the same.
        envelope.truncate(1);
        envelope.push(Part::empty());
    }
    let body = match (wrong, body) {
        (Some(wrong), _) => Err(wrong),
        (None, Some(body)) => Ok(body),
        (None, None) => Err("nothing behind the empty one"),
    };
    Ok(Some(Request { from: Envelope(envelope), body }))
}

/// Sends a reply of one frame. A requester that is gone, or that does not read its replies, loses it.
pub(super) fn reply(
    socket: &mut Socket,
    to: &mut Envelope,
    mut body: Part,
) -> Result<(), TransportError> {
    for part in &mut to.0 {
        if !socket.send(part, true)? {
            return Ok(());
        }
    }
    socket.send(&mut body, false)?;
    Ok(())
}
