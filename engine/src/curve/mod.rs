//! Keys of CURVE ([CurveZMQ](https://rfc.zeromq.org/spec/26/)), by which servers and clients know each other and encrypt
//! what they say; and the files that hold them.
//!
//! A server is started with its own [`KeyPair`] and the [`AuthorizedKeys`] of its clients
//! ([`ServerBuilder::curve`](crate::ServerBuilder::curve)), a client with its own pair and the server's [`PublicKey`]
//! ([`ClientBuilder::curve`](crate::ClientBuilder::curve)). Files are those of pyzmq's `zmq.auth`: `NAME.key` holds a public
//! key, `NAME.key_secret` both.

mod files;

pub use self::files::{
    KeyFileError, authorized_key_files, find_public_key, read_authorized_keys, read_key_pair,
    read_public_key, read_usable_keys, write_key_pair,
};
pub use crate::zmtp::curve::keys::{
    AuthorizedKeys, KeyPair, ParseKeyError, PublicKey, SecretKey, ServerKeys,
};
