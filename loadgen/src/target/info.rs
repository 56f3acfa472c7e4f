//! How results describe a target of this project.

use loadgen::report::{Durability, TargetInfo};
use mezzenger::FsyncPolicy;

use crate::address::Target;
use crate::args::TargetArgs;

/// What results say of a server of this project, of the relay, of the forwarder, or of libzmq at it.
pub(super) fn of_own(args: &TargetArgs) -> TargetInfo {
    let name = args.target.name();
    let (version, durability) = match args.target {
        Target::Relay | Target::ZmqForwarder => (Some(own_version()), Some(Durability::Memory)),
        #[cfg(feature = "libzmq")]
        Target::Libzmq => (Some(super::libzmq::version()), Some(Durability::Memory)),
        // A server elsewhere does not say.
        _ if args.server.is_some() => (None, None),
        _ if args.own.persist_file.is_none() => (Some(own_version()), Some(Durability::Memory)),
        _ => {
            let synced = args.own.fsync.unwrap_or_default() == FsyncPolicy::Always;
            let class = if synced { Durability::Fsync } else { Durability::PageCache };
            (Some(own_version()), Some(class))
        }
    };
    TargetInfo { name: name.to_owned(), version, durability: durability.or(args.durability) }
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
        assert_eq!(of_own(&args).durability, expected);
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
