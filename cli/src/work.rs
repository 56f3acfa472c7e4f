//! `mezzenger work`: runs a command for each message that a group gives it.

use std::fmt::Display;
use std::io;
use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use mezzenger::{ClientBuilder, Delivery, Group, ReceiveError};
use serde_json::json;

use crate::duration::of_group;
use crate::error::{Error, written};
use crate::filter::FilterArgs;
use crate::group::{PolicyArgs, create_if_absent, group_name};
use crate::{SIGNAL_TICK, at_least_one, command, complain, connect, show, signals};

/// How a command asks for a later try: `EX_TEMPFAIL` of sysexits.h.
const LATER: i32 = 75;

/// After how long a message is tried again in a group without delays.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What to work at.
#[derive(clap::Args)]
#[command(override_usage = "mezzenger work [OPTIONS] <FILTER> --group <GROUP> -- <COMMAND>...")]
pub(crate) struct WorkArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Group to join: each message goes to one of its members.
    #[arg(long, value_parser = group_name)]
    group: String,

    /// Create the group if it does not exist, so that messages wait for it while it has no members (see `mezzenger
    /// group`).
    #[arg(long)]
    durable: bool,

    #[command(flatten)]
    policy: PolicyArgs,

    /// Delay before a failed message is tried again. Default: the group's --backoff, or 1s without one.
    #[arg(long, value_name = "DURATION", value_parser = of_group)]
    retry_delay: Option<Duration>,

    /// Exit after N acknowledged messages.
    #[arg(long, value_name = "N", value_parser = at_least_one::<u64>)]
    count: Option<u64>,

    /// Print a JSON object for each attempt: name, id, attempt, verdict (ack, nak or reject), and error, null where there
    /// is none. What the command prints goes to standard error then.
    #[arg(long)]
    json: bool,

    /// The command, and its arguments. The payload is on its standard input; MEZZENGER_NAME, MEZZENGER_ID,
    /// MEZZENGER_ATTEMPT, MEZZENGER_GROUP, MEZZENGER_ENCODING, MEZZENGER_CONTENT_TYPE and MEZZENGER_HEADERS (a JSON
    /// list of pairs) have the rest. Exit code 0: the message is done. 75: it gets a later attempt. Any other: it
    /// failed, which is reported, and gets a later attempt as well. After the last attempt, which is reported for 75,
    /// too, it becomes a dead letter, and so does a message whose headers are too long for the system to start the command. Ctrl-C, SIGTERM and SIGHUP let the command finish; a second signal
    /// kills it with its process group, and exits. If this process is killed, Linux kills the command, but not the
    /// processes that it started.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// How often messages are tried, and when again.
#[derive(Clone, Copy)]
struct Retries {
    attempts_max: u16,
    /// Zero: as the group's delays say.
    delay: Duration,
}

impl Retries {
    /// `delay`: what was asked for.
    fn new(delay: Option<Duration>, group: Option<&Group>) -> Self {
        let has_delays = group.is_some_and(|group| !group.backoff.is_empty());
        let default = if has_delays { Duration::ZERO } else { RETRY_DELAY };
        let attempts_max = group.map_or(0, |group| group.attempts_max);
        Self { attempts_max, delay: delay.unwrap_or(default) }
    }

    /// Whether a message that fails now becomes a dead letter.
    fn is_last(&self, job: &Delivery) -> bool {
        job.requires_ack() && job.attempt() == self.attempts_max
    }
}

impl WorkArgs {
    pub(crate) fn run(self, builder: ClientBuilder) -> Result<(), Error> {
        let filter = self.filter.checked();
        command::find(&self.command[0])?;
        let stopped = signals::stop_flag().map_err(Error::Signals)?;
        let client = connect(builder)?;
        if self.durable {
            create_if_absent(&client, &self.group, &filter, &self.policy)?;
        }
        // One at a time: what waits here, others could have done. With more credit those without ack would wait here
        // meanwhile, but so would those with ack.
        let member = client.subscription_to(filter).group(&self.group).credit(1);
        let mut jobs = self.policy.of_member(member).open()?;
        let group = client.groups().get(&self.group)?;
        let retries = Retries::new(self.retry_delay, group.as_ref());
        let mut left = self.count;
        let mut result = Ok(());
        while left != Some(0) && result.is_ok() && !stopped.load(Ordering::Relaxed) {
            let job = match jobs.recv_timeout(SIGNAL_TICK) {
                Ok(job) => job,
                Err(ReceiveError::TimedOut) => continue,
                Err(error) => {
                    result = Err(Error::Receive(error));
                    continue;
                }
            };
            let (id, attempt, name) = (job.id().to_string(), job.attempt(), job.name().to_owned());
            let (verdict, error) = match self.work(&job) {
                Ok(status) if status.success() => {
                    job.ack();
                    left = left.map(|left| left - 1);
                    ("ack", None)
                }
                Ok(status) => {
                    if status.code() != Some(LATER) || retries.is_last(&job) {
                        complain(&self.failed(&job, &status, &retries));
                    }
                    job.nak(retries.delay);
                    ("nak", Some(status.to_string()))
                }
                Err(source) if command::is_unfit_message(&source) => {
                    let why = format!("{} could not be run: {source}", self.command[0]);
                    let last = Retries { attempts_max: attempt, ..retries };
                    complain(&self.failed(&job, &source, &last));
                    job.reject(&why);
                    ("reject", Some(why))
                }
                Err(source) => {
                    let error = Some(source.to_string());
                    if command::is_not_there(&source) {
                        let command = self.command[0].clone();
                        result = Err(Error::Command { command, source });
                    } else {
                        complain(&self.failed(&job, &source, &retries));
                    }
                    job.nak(retries.delay);
                    ("nak", error)
                }
            };
            if self.json {
                let object = json!({ "name": name, "id": id, "attempt": attempt, "verdict": verdict, "error": error });
                if let Err(error) = written(show::json_line(&object)) {
                    result = Err(error);
                }
            }
        }
        // Also sends the acknowledgements that wait.
        client.stop();
        result
    }

    /// Runs the command for a message.
    fn work(&self, job: &Delivery) -> io::Result<ExitStatus> {
        let stdout = match self.json {
            true => io::stderr().as_fd().try_clone_to_owned()?.into(),
            false => Stdio::inherit(),
        };
        Ok(command::run(&self.command, &self.group, job, stdout)?.status)
    }

    fn failed(&self, job: &Delivery, why: &dyn Display, retries: &Retries) -> String {
        let command = &self.command;
        let then = if !job.requires_ack() {
            "it is lost, as it was published without ack".to_owned()
        } else if retries.is_last(job) {
            "it becomes a dead letter".to_owned()
        } else if retries.delay.is_zero() {
            "it is tried again when its group says so".to_owned()
        } else {
            format!("it is tried again in {}", humantime::format_duration(retries.delay))
        };
        format!(
            "{}: {why} for message {} under '{}', attempt {}; {then}",
            command[0],
            job.id(),
            show::on_terminal(job.name()),
            job.attempt()
        )
    }
}
