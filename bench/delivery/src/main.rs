//! Measures what groups and subscriptions promise: each subcommand is one goal of delivery, and prints a JSON
//! object with the figures of each round.

mod args;
mod dealer;
mod error;
mod figures;
mod poison;
mod server;
mod subscriptions;
mod worker_death;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::error::MeasureError;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mezzenger-delivery: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), MeasureError> {
    let server = &args.server;
    let json = match args.command {
        Command::WorkerDeath(args) => {
            serde_json::to_string_pretty(&worker_death::run(server, &args)?)
        }
        Command::Poison(args) => serde_json::to_string_pretty(&poison::run(server, &args)?),
        Command::Subscriptions(args) => {
            serde_json::to_string_pretty(&subscriptions::run(server, &args)?)
        }
        Command::Hold(args) => return worker_death::hold(&args),
    };
    let json = json.map_err(io::Error::from)?;
    Ok(writeln!(io::stdout(), "{json}")?)
}
