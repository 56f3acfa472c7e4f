//! A connection to the port of requests without a client library: a thousand of them take no threads, and what they
//! add to a time is little.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mezzenger::wire::hello;
use mezzenger::wire::reply::{self, Reply};

use crate::error::MeasureError;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Longest frame that is read: more than any that is asked for.
const FRAME_BYTES_MAX: u64 = 1 << 20;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection of ZMTP 3.0, as a DEALER socket.
pub(crate) struct Dealer(BufReader<TcpStream>);

impl Dealer {
    /// Connects, and says who it is.
    pub(crate) fn connect(addr: SocketAddr, secret: &hello::Secret) -> Result<Self, MeasureError> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
        greeting.extend(b"NULL");
        greeting.resize(64, 0);
        let mut dealer = Self(BufReader::new(stream));
        greeting.extend(frame(COMMAND, b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER"));
        greeting.extend(request(&hello::request(secret)));
        dealer.write(&greeting)?;
        dealer.0.read_exact(&mut [0; 64])?;
        let answer = dealer.answer()?;
        match hello::read_answer(&answer) {
            Some(_) => Ok(dealer),
            None => Err(unread(&answer)),
        }
    }

    /// Sends what [`request`] made, of one request or several.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), MeasureError> {
        Ok(self.0.get_mut().write_all(bytes)?)
    }

    /// The answer to the oldest request, which has to be OK.
    pub(crate) fn ok(&mut self) -> Result<(), MeasureError> {
        let answer = self.answer()?;
        match reply::read(&answer) {
            Some(Reply::Ok { .. }) => Ok(()),
            _ => Err(unread(&answer)),
        }
    }

    fn answer(&mut self) -> Result<Vec<u8>, MeasureError> {
        match <[Vec<u8>; 2]>::try_from(self.message()?) {
            Ok([_, body]) => Ok(body),
            Err(parts) => Err(unread(&parts.concat())),
        }
    }

    /// The frame of the next delivery.
    pub(crate) fn delivery(&mut self) -> Result<Vec<u8>, MeasureError> {
        match <[Vec<u8>; 3]>::try_from(self.message()?) {
            Ok([_, _, frame]) => Ok(frame),
            Err(parts) => Err(unread(&parts.concat())),
        }
    }

    /// The parts of the next message.
    fn message(&mut self) -> Result<Vec<Vec<u8>>, MeasureError> {
        let mut parts = Vec::new();
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head)?;
            let [flags, length] = head;
            let bytes = if flags & LONG == 0 {
                u64::from(length)
            } else {
                let mut long = [length, 0, 0, 0, 0, 0, 0, 0];
                self.0.read_exact(&mut long[1..])?;
                u64::from_be_bytes(long)
            };
            if bytes > FRAME_BYTES_MAX {
                return Err(io::Error::other(format!("a frame of {bytes} bytes")).into());
            }
            let mut body = vec![0; bytes as usize];
            self.0.read_exact(&mut body)?;
            // To 3.0 there is nothing to say that needs an answer.
            if flags & COMMAND != 0 {
                continue;
            }
            parts.push(body);
            if flags & MORE == 0 {
                return Ok(parts);
            }
        }
    }
}

fn unread(answer: &[u8]) -> MeasureError {
    MeasureError::Answer(String::from_utf8_lossy(answer).into_owned())
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => {
            let mut frame = vec![flags | LONG];
            frame.extend((body.len() as u64).to_be_bytes());
            frame
        }
    };
    frame.extend(body);
    frame
}

/// The bytes of a request.
pub(crate) fn request(body: &[u8]) -> Vec<u8> {
    let mut request = frame(MORE, b"");
    request.extend(frame(0, body));
    request
}
