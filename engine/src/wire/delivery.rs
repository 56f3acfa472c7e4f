//! The head of a delivery on a connection for requests.

/// The first byte of the frame that stands before a delivery.
pub const DELIVERY: u8 = 0x03;

const AGAIN: u8 = 1;
const RETAINED: u8 = 2;

/// Bytes of the frame that stands before a delivery.
pub const DELIVERY_BYTES: usize = 8;

/// What stands before a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The subscription's number.
    pub number: u32,
    /// Whether the messages were sent before, to this subscriber or to others.
    pub again: bool,
    /// Whether it is a retained message, given to a subscription with the last values.
    pub retained: bool,
    /// Which delivery of the messages to the subscription's group this is, from 1; 0 where that is not counted.
    pub attempt: u16,
}

/// The frame that stands before a delivery.
pub fn delivery(delivery: Delivery) -> [u8; DELIVERY_BYTES] {
    let Delivery { number, again, retained, attempt } = delivery;
    let flags = (u8::from(again) * AGAIN) | (u8::from(retained) * RETAINED);
    let ([a, b, c, d], [e, f]) = (number.to_le_bytes(), attempt.to_le_bytes());
    [DELIVERY, a, b, c, d, flags, e, f]
}

/// Reads the frame that stands before a delivery; `None` for one that is none.
pub fn read_delivery(bytes: &[u8]) -> Option<Delivery> {
    let (&[first, a, b, c, d, flags, e, f], _) = bytes.split_first_chunk::<DELIVERY_BYTES>()?;
    let (number, attempt) = (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]));
    let (again, retained) = (flags & AGAIN != 0, flags & RETAINED != 0);
    (first == DELIVERY).then_some(Delivery { number, again, retained, attempt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_delivery_comes_back() {
        for (again, retained) in [(false, false), (true, false), (true, true)] {
            let said = Delivery { number: 0x0102, again, retained, attempt: 0x0304 };
            let bytes = delivery(said);
            let flags = u8::from(again) + 2 * u8::from(retained);
            assert_eq!(bytes, [3, 2, 1, 0, 0, flags, 4, 3]);
            assert_eq!(read_delivery(&bytes), Some(said));
            assert_eq!(read_delivery(&[&bytes[..], b"more"].concat()), Some(said));
            assert_eq!(read_delivery(&bytes[..7]), None);
        }
        assert_eq!(read_delivery(b"OK\0\0\0\0\0\0"), None);
    }
}
