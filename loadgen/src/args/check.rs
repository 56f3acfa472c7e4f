//! Flags that do not go together, which the parser cannot see.

use super::settings::Settings;
use crate::address::{Address, Broker, Target};

/// Finds the first of them, in words for people.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    if settings.duration.is_zero() {
        return Err("--duration must be longer than zero".to_owned());
    }
    target(settings)?;
    faults(settings)?;
    search(settings)
}

/// Finds what the target cannot do.
fn target(settings: &Settings) -> Result<(), String> {
    let on = &settings.target;
    let own = on.target == Target::Mezzenger && on.server.is_none();
    if on.server.is_some() && on.target != Target::Mezzenger {
        return Err("--server names a Mezzenger server; a --target names its own".to_owned());
    }
    if !own && (on.own.persist_file.is_some() || on.own.retry_interval.is_some()) {
        return Err("--persist-file, --fsync and --retry-interval are for the run's own \
                    server, so without --server and --target"
            .to_owned());
    }
    let is_ours = matches!(on.target, Target::Mezzenger | Target::Relay | Target::ZmqForwarder);
    if on.target_delay.is_some() && !is_ours {
        return Err(format!(
            "--target-delay is for this project's clients, not for those of {}",
            on.target
        ));
    }
    let acks = settings.acks();
    if on.own.persist_file.is_some() && acks == 0.0 {
        return Err("--persist-file keeps messages that ask for it: add --ack".to_owned());
    }
    if acks > 0.0 && !on.target.acknowledges() {
        return Err(format!("{} knows no acknowledgement: leave --ack out", on.target));
    }
    if acks > 0.0 && acks < 1.0 && on.target != Target::Mezzenger {
        return Err(format!("{} acknowledges all messages or none: use --ack", on.target));
    }
    let starts = own || matches!(on.target, Target::Relay | Target::ZmqForwarder | Target::Libzmq);
    if on.server_pid.is_some() && starts {
        return Err(
            "--server-pid is for a server that runs already; this run starts one".to_owned()
        );
    }
    if settings.idle > 0 && on.target.idle_hello().is_none() {
        return Err(format!("--idle knows no way to open a connection to {}", on.target));
    }
    if settings.subs > 1 && !settings.group && on.target.is_one_group() {
        return Err(format!(
            "{} gives each message to one consumer of its group: use --subs 1 or --group",
            on.target
        ));
    }
    encryption(settings)?;
    sharing(settings)
}

/// Finds what the target cannot encrypt.
fn encryption(settings: &Settings) -> Result<(), String> {
    let on = &settings.target;
    let libzmq = matches!(on.target, Target::ZmqForwarder | Target::Libzmq);
    if on.curve && !libzmq && on.target != Target::Mezzenger {
        return Err(format!("{} has no CURVE; NATS has --tls", on.target));
    }
    #[cfg(feature = "libzmq")]
    if on.curve && libzmq && zmq::has("curve") != Some(true) {
        return Err("the libzmq of this build has no CURVE: link the system's, as bench/peers.sh --libzmq does".to_owned());
    }
    let has_tls = matches!(
        &on.target,
        Target::Peer(Address { broker: Broker::Nats | Broker::JetStream(_), .. })
    );
    if on.tls.is_some() && !has_tls {
        return Err(format!("--tls is for nats:// and nats+js://, not for {}", on.target));
    }
    Ok(())
}

/// Finds what a group, or requests, cannot have.
fn sharing(settings: &Settings) -> Result<(), String> {
    let target = &settings.target.target;
    let churns = settings.faults.churn > 0;
    if settings.group && !target.has_groups() {
        return Err(format!("{target} gives every message to each subscriber: leave --group out"));
    }
    if settings.durable && *target != Target::Mezzenger {
        return Err(format!("{target} has groups of one kind: leave --durable out"));
    }
    if settings.group && churns {
        return Err("nobody knows what a member of a group that comes and goes ought to get: use \
                    --group without --churn"
            .to_owned());
    }
    if settings.connections && !target.counts_connections() {
        return Err(format!("--connections knows no way to connect to {target} alone"));
    }
    if !settings.request {
        return Ok(());
    }
    if !target.answers() {
        return Err(format!("{target} knows no requests: leave --request out"));
    }
    if settings.acks() > 0.0 || churns {
        return Err("a request is done when it is answered: use --request without --ack, \
                    --ack-ratio and --churn"
            .to_owned());
    }
    if settings.subs > 1 && !settings.group {
        return Err(
            "each of several subscribers would answer: use --request with --subs 1, or with \
                    --group"
                .to_owned(),
        );
    }
    Ok(())
}

/// Finds faults that a run cannot have, or cannot judge.
fn faults(settings: &Settings) -> Result<(), String> {
    let faults = &settings.faults;
    if faults.slow_subs > settings.subs {
        return Err("--slow-subs are some of the --subs: not more than those".to_owned());
    }
    if faults.churn > 0 && settings.target.target.is_one_group() {
        let target = &settings.target.target;
        return Err(format!("{target} has one consumer, which cannot come and go"));
    }
    let Some(every) = faults.kill_server_every else { return Ok(()) };
    if every.is_zero() {
        return Err("--kill-server-every must be longer than zero".to_owned());
    }
    let target = &settings.target;
    if target.target != Target::Mezzenger || target.own.persist_file.is_none() {
        return Err("--kill-server-every kills the run's own server, whose --persist-file keeps \
                    the messages: add that"
            .to_owned());
    }
    if settings.acks() < 1.0 || settings.subs > 1 || faults.churn > 0 {
        return Err("a killed server owes acknowledged messages alone, and to one subscriber: \
                    use --kill-server-every with --ack, --subs 1 and no --churn"
            .to_owned());
    }
    Ok(())
}

fn search(settings: &Settings) -> Result<(), String> {
    let search = &settings.search;
    let is_zero = search.p99_under.is_some_and(|limit| limit.is_zero());
    if is_zero {
        return Err("--p99-under must be longer than zero".to_owned());
    }
    if search.find_max && (settings.count.is_some() || settings.target.own.persist_file.is_some()) {
        return Err("--find-max makes several runs of --duration, each with an empty server: \
                    use it without --count and --persist-file"
            .to_owned());
    }
    Ok(())
}
