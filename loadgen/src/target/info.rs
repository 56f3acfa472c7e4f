//! What results say of a target.

use std::fmt;

use clap::ValueEnum;
use mezzenger::journal::FsyncPolicy;
use serde::{Serialize, Serializer};

use super::Target;
use crate::args::TargetArgs;

/// What happened to a message when its publisher was told OK. Figures of different classes are no
/// comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// It is in the server's memory, and ends with the server.
    Memory,
    /// It was written to a file: it survives the server, not a power cut.
    PageCache,
    /// It was synced to disk, and survives a power cut.
    Fsync,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::PageCache => "page cache",
            Self::Fsync => "fsync before OK",
        })
    }
}

impl Serialize for Durability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A target, as results name it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TargetInfo {
    pub(crate) name: &'static str,
    /// The server's version, where it tells it.
    pub(crate) version: Option<String>,
    /// `None` when it is neither known nor stated.
    pub(crate) durability: Option<Durability>,
}

impl TargetInfo {
    /// For a server of this project, or the forwarder.
    pub(super) fn of_own(args: &TargetArgs) -> Self {
        let name = args.target.name();
        let (version, durability) = match args.target {
            Target::ZmqForwarder => (Some(own_version()), Some(Durability::Memory)),
            // A server elsewhere does not say.
            _ if args.server.is_some() => (None, None),
            _ if args.own.persist_file.is_none() => (Some(own_version()), Some(Durability::Memory)),
            _ => {
                let synced = args.own.fsync.unwrap_or_default() == FsyncPolicy::Always;
                let class = if synced { Durability::Fsync } else { Durability::PageCache };
                (Some(own_version()), Some(class))
            }
        };
        Self { name, version, durability: durability.or(args.durability) }
    }
}

fn own_version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut TargetArgs), expected: Option<Durability>) {
        let mut args = TargetArgs::default();
        change(&mut args);
        assert_eq!(TargetInfo::of_own(&args).durability, expected);
    }

    #[test]
    fn the_class_follows_from_what_the_server_is_told() {
        check(|_| {}, Some(Durability::Memory));
        check(|args| args.target = Target::ZmqForwarder, Some(Durability::Memory));
        check(|args| args.own.persist_file = Some("j".into()), Some(Durability::Fsync));
        check(
            |args| {
                args.own.persist_file = Some("j".into());
                args.own.fsync = Some(FsyncPolicy::Never);
            },
            Some(Durability::PageCache),
        );
        check(|args| args.server = Some("h".to_owned()), None);
        check(
            |args| {
                args.server = Some("h".to_owned());
                args.durability = Some(Durability::Fsync);
            },
            Some(Durability::Fsync),
        );
    }
}
