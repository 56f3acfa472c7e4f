//! What a native client asks on its connection for requests, as far as the targets that are no Mezzenger server
//! answer it: the hello, subscriptions to a name or to all that begin alike, and credit.
//!
//! Peers are trusted: what is cut short or not known is [`Request::Refused`].

/// What the body of a hello begins with.
const HELLO: &[u8] = b"\x02\x01";
/// What the body of a client's ping begins with.
const PING: &[u8] = b"\x01ping|";
/// What the body of any request but a publish begins with.
const CONTROL: u8 = 0x02;

/// Milliseconds; nothing is ever sent again here.
const RETRY_INTERVAL_MS: u32 = 10_000;

/// Bytes of what stands before each delivery.
pub(super) const LEAD_BYTES: usize = 8;

/// The answer to what these targets do not do: error 9, of subscriptions.
pub(super) const REFUSAL: &[u8] = b"\x01\x09\0this target knows neither groups nor patterns";

/// A request.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    /// Who the client is.
    Hello,
    Ping,
    /// Messages.
    Publish,
    Subscribe(Subscribe),
    /// The subscription with this number ends.
    Unsubscribe(u32),
    /// More bytes may be delivered.
    Credit {
        number: u32,
        bytes: u64,
    },
    Refused,
}

/// A subscription that is asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Subscribe {
    pub(super) number: u32,
    /// Bytes that may be delivered before more is granted.
    pub(super) credit: u64,
    /// What the frames that it wants begin with.
    pub(super) topic: Vec<u8>,
}

impl Subscribe {
    /// What stands before each delivery: its number; never again, and no attempt.
    pub(super) fn lead(&self) -> [u8; LEAD_BYTES] {
        let [a, b, c, d] = self.number.to_le_bytes();
        [0x03, a, b, c, d, 0, 0, 0]
    }
}

/// Reads the body of a request.
pub(super) fn read(body: &[u8]) -> Request {
    match body.first() {
        Some(&CONTROL) if body.starts_with(HELLO) => Request::Hello,
        Some(&CONTROL) => read_control(&body[1..]).unwrap_or(Request::Refused),
        _ if body.starts_with(PING) => Request::Ping,
        _ => Request::Publish,
    }
}

fn read_control(body: &[u8]) -> Option<Request> {
    let (&kind, rest) = body.split_first()?;
    let (number, rest) = rest.split_first_chunk()?;
    let number = u32::from_le_bytes(*number);
    Some(match kind {
        0x02 => {
            // Observers and broadcasts, whatever becomes of what has no credit: here it waits.
            let ([0 | 1, _, filter @ (0 | 1)], rest) = rest.split_first_chunk()? else {
                return None;
            };
            let (credit, rest) = rest.split_first_chunk()?;
            let (&length, rest) = rest.split_first()?;
            let text = rest.get(..length.into())?;
            let end: &[u8] = if *filter == 0 { b"|" } else { b"" };
            let topic = [b"\x01", text, end].concat();
            Request::Subscribe(Subscribe { number, credit: u64::from_le_bytes(*credit), topic })
        }
        0x03 => Request::Unsubscribe(number),
        0x04 => Request::Credit { number, bytes: u64::from_le_bytes(*rest.first_chunk()?) },
        _ => return None,
    })
}

/// The answer to a request that was taken, whose messages were for this many subscribers, none of them an observer.
pub(super) fn ok(receivers: u32) -> Vec<u8> {
    [b"OK", &receivers.to_le_bytes()[..], &receivers.to_le_bytes()].concat()
}

/// The answer to a hello: how large a message may be, the server's instance, and its retry interval.
pub(super) fn hello(message_bytes_max: u64) -> Vec<u8> {
    let (instance, interval) = (0_u64.to_le_bytes(), RETRY_INTERVAL_MS.to_le_bytes());
    [HELLO, &message_bytes_max.to_le_bytes(), &instance, &interval].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A subscribe of number 7 with 300 bytes of credit.
    fn subscribe(kind: u8, filter: u8) -> Vec<u8> {
        let credit = 300_u64.to_le_bytes();
        [&b"\x02\x02\x07\0\0\0"[..], &[kind, 0, filter], &credit, b"\x03a.b"].concat()
    }

    #[test]
    fn subscriptions_are_read_as_the_topics_of_their_frames() {
        for (filter, topic) in [(0, &b"\x01a.b|"[..]), (1, b"\x01a.b")] {
            let wanted = Subscribe { number: 7, credit: 300, topic: topic.to_vec() };
            assert_eq!(wanted.lead(), *b"\x03\x07\0\0\0\0\0\0");
            assert_eq!(read(&subscribe(1, filter)), Request::Subscribe(wanted));
        }
        assert_eq!(read(b"\x02\x03\x07\0\0\0"), Request::Unsubscribe(7));
        let credit = Request::Credit { number: 7, bytes: 2 };
        assert_eq!(read(b"\x02\x04\x07\0\0\0\x02\0\0\0\0\0\0\0"), credit);
        assert_eq!((read(b"\x02\x01secret"), read(b"\x01ping|")), (Request::Hello, Request::Ping));
        assert_eq!((read(b"\x01a|"), read(b"")), (Request::Publish, Request::Publish));
    }

    #[test]
    fn what_is_cut_short_or_not_known_is_refused() {
        let whole = subscribe(0, 0);
        for end in 1..whole.len() {
            assert_eq!(read(&whole[..end]), Request::Refused, "{end}");
        }
        for (kind, filter) in [(2, 0), (0, 2)] {
            assert_eq!(read(&subscribe(kind, filter)), Request::Refused);
        }
        assert_eq!(read(b"\x02\x05\x07\0\0\0"), Request::Refused);
    }
}
