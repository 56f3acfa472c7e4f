//! Prints how many bytes of resident memory each pending message takes in a server, with the allocator
//! that the server has.

use std::process::ExitCode;

use clap::Parser;
use mezzenger_gate::flow::ACKNOWLEDGED;
use mezzenger_gate::pipeline::{Pipeline, Run};
use mezzenger_gate::resident::bytes_per_pending;
use mezzenger_gate::seed::Seed;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Publishes messages that nobody acknowledges, and prints the resident bytes of each.
#[derive(Parser)]
struct Args {
    /// Messages.
    #[arg(long, default_value_t = 100_000)]
    messages: usize,
    /// A regression to put in.
    #[arg(long, default_value = "none")]
    seed: Seed,
}

fn main() -> ExitCode {
    let Args { messages, seed } = Args::parse();
    let flow = ACKNOWLEDGED;
    let rounds = messages.div_ceil(flow.round_messages());
    let payload_bytes = flow.payload_bytes;
    let run = Run { flow, rounds, payload_bytes, acknowledges: false, seed };
    let measured = Pipeline::new(run).map_err(Into::into).and_then(bytes_per_pending);
    match measured {
        Ok(bytes) => {
            println!("{bytes}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("gate-pending: {error}");
            ExitCode::FAILURE
        }
    }
}
