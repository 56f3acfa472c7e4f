//! The command line, turned into the settings of a run.
//!
//! [`Settings`] holds what is sent and for how long; each further group of flags is a struct of its own.

mod check;
mod faults;
mod output;
mod search;
mod settings;
mod target;
mod values;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use output::{CompareArgs, OutputArgs};
pub(crate) use settings::Settings;
#[cfg(feature = "libzmq")]
pub(crate) use target::ForwardArgs;
pub(crate) use target::{OwnServerArgs, PortArgs, ServeArgs, TargetArgs};

/// Measures a Mezzenger server, or another broker, under load, and checks that it loses nothing.
///
/// Starts its own server on free ports unless told otherwise. Every message is numbered, and every
/// subscriber checks every number. Prints rates, losses, latencies and the server's costs. Exits with 0
/// when all is well, 1 on a loss or a failure, 2 on a usage error.
///
/// Without --rate, publishers send as fast as the server takes it, and latency counts from the call of
/// publish, queues of the publisher included. With --rate, messages are due at fixed times and latency
/// counts from those (an open loop: a late message counts in full).
#[derive(Parser)]
#[command(name = "loadgen", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: OutputArgs,
}

/// What loadgen does besides a run.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Runs the server of a run, until stdin closes.
    #[command(hide = true)]
    Serve(ServeArgs),
    /// Runs the relay of a run, until stdin closes.
    #[command(hide = true)]
    Relay(PortArgs),
    /// Runs the bare forwarder of a run, until stdin closes.
    #[cfg(feature = "libzmq")]
    #[command(hide = true)]
    Forward(ForwardArgs),
    /// Compares the medians of two results that --json printed.
    Compare(CompareArgs),
}

impl Args {
    /// The settings and where results go, or a usage error that ends the process.
    pub(crate) fn settings(self) -> (Settings, OutputArgs) {
        if let Err(error) = check::check(&self.settings) {
            Self::command().error(ErrorKind::ValueValidation, error).exit();
        }
        (self.settings, self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
