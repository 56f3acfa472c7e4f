//! What a client's connection for requests begins with, and the answer of the targets that are no Mezzenger server.

/// What the body of a hello begins with.
pub(crate) const HELLO: &[u8] = b"\x02\x01";

/// Milliseconds; nothing is ever sent again here.
const RETRY_INTERVAL_MS: u32 = 10_000;

/// The answer: how large a message may be, the server's instance, and its retry interval.
pub(crate) fn answer(message_bytes_max: u64) -> Vec<u8> {
    let (instance, interval) = (0_u64.to_le_bytes(), RETRY_INTERVAL_MS.to_le_bytes());
    [HELLO, &message_bytes_max.to_le_bytes(), &instance, &interval].concat()
}
