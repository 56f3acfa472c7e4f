//! Integration tests: the real binaries, driven by clients of both formats. One behaviour a file; what
//! they share is in `harness`.

mod harness;

mod abuse;
mod acks;
mod back_pressure;
mod check_journal;
mod clock;
mod command_line;
mod connections;
mod crash;
mod disk_full;
mod documents;
mod drain;
mod duplicates;
mod envelopes;
mod failed_sync;
mod floods;
mod identities;
mod interference;
mod journal_errors;
mod load;
mod load_compare;
mod load_outputs;
mod malformed;
mod partial_requests;
mod pending_limit;
mod ping;
mod protocols;
mod resend;
mod restarts;
mod server_away;
mod signals;
mod sizes;
mod stalled_subscriber;
mod start_errors;
mod subscription_floods;
mod subscriptions;
mod tidy;
mod torture;
mod v1_to_v1;
mod v1_to_v2;
mod v2_to_v1;
mod v2_to_v2;
