//! Runs one flow, to be counted by valgrind, and prints what it did as JSON.

use std::process::ExitCode;

use clap::Parser;
use mezzenger_gate::flow::Flow;
use mezzenger_gate::pipeline::{Pipeline, Run};
use mezzenger_gate::seed::Seed;

/// Runs one flow of messages through client, server and client on one thread.
#[derive(Parser)]
struct Args {
    /// The flow's name.
    #[arg(value_parser = |name: &str| Flow::named(name).ok_or("no flow has this name"))]
    flow: Flow,
    /// Rounds of it.
    #[arg(long)]
    rounds: usize,
    /// With the larger payloads, to count copies.
    #[arg(long)]
    larger: bool,
    /// A regression to put in.
    #[arg(long, default_value = "none")]
    seed: Seed,
}

fn main() -> ExitCode {
    let Args { flow, rounds, larger, seed } = Args::parse();
    let payload_bytes = flow.payload_bytes + if larger { flow.extra_bytes } else { 0 };
    let run = Run { flow, rounds, payload_bytes, acknowledges: true, seed };
    match Pipeline::new(run).and_then(Pipeline::run) {
        Ok(done) => {
            println!("{}", serde_json::json!(done));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("gate-pipeline: {error}");
            ExitCode::FAILURE
        }
    }
}
