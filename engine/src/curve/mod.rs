//! Keys of CURVE ([CurveZMQ](https://rfc.zeromq.org/spec/26/)), with which servers and clients authenticate each other and
//! encrypt their connections, and the files that hold the keys.
//!
//! A server is started with its own [`KeyPair`] and the [`AuthorizedKeys`] of its clients
//! ([`ServerBuilder::curve`](crate::ServerBuilder::curve)), a client with its own pair and the server's [`PublicKey`]
//! ([`ClientBuilder::curve`](crate::ClientBuilder::curve)). The files have the form of pyzmq's `zmq.auth`: `NAME.key` holds the
//! public key, `NAME.key_secret` both keys.

mod files;

pub use self::files::{
    KeyFileError, authorized_key_files, find_public_key, read_authorized_keys, read_key_pair,
    read_public_key, read_usable_keys, write_key_pair,
};
pub use crate::zmtp::curve::keys::{
    AuthorizedKeys, KeyPair, ParseKeyError, PublicKey, SecretKey, ServerKeys,
};
