//! The bytes on the wire, both formats, with no socket in sight.
//!
//! A frame is a name and a body. `frame` cuts it apart without copying, `record` reads and writes
//! the native (v2) records in it, `pickle` the dicts of the original (v1) format, `checksum` has the
//! MD5 formulas of both, `name` the rules for names, `ack` and `reply` the two small frames that
//! travel back, `hello` what a client says first, `control` what it asks for besides publishing, `delivery` what stands before what it gets, `filter` which names a
//! subscription is for, `group` what members of a group agree on, `letter` and `durable` what is asked and told of dead letters and of groups, `fields` reads what these say, and `confirm` has the topics by which a SUB socket learns that the server has its subscription. The byte diagrams are in `docs/wire-format.md`.

pub mod ack;
pub mod checksum;
pub mod confirm;
pub mod control;
pub mod delivery;
pub mod durable;
mod fields;
pub mod filter;
pub mod frame;
pub mod group;
pub mod hello;
pub mod id;
pub mod letter;
pub mod name;
pub mod pickle;
pub mod properties;
pub mod record;
pub mod reply;
pub mod retained;
