//! The first line that a server prints, once it listens: `ready pub=ADDR:PORT recv=ADDR:PORT`.

use std::fmt::Display;
use std::net::SocketAddr;

/// The line of a server with these addresses, for subscribers and for requests.
pub fn line(pub_addr: impl Display, recv_addr: impl Display) -> String {
    format!("ready pub={pub_addr} recv={recv_addr}")
}

/// Reads [`line()`]; nothing when it is another.
pub fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (pub_addr, recv_addr) = line.trim_end().strip_prefix("ready pub=")?.split_once(" recv=")?;
    Some((pub_addr.parse().ok()?, recv_addr.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_read() {
        let expected = (([127, 0, 0, 1], 7).into(), ([127, 0, 0, 1], 8).into());
        let line = line("127.0.0.1:7", "127.0.0.1:8") + "\n";
        assert_eq!(addresses(&line), Some(expected));
        assert_eq!(addresses("ready pub=127.0.0.1:7\n"), None);
        assert_eq!(addresses(""), None);
    }
}
