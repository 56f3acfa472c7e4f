//! Counts orders by what happens to them, as it happens. It observes, and takes none from the workers.
//!
//! `cargo run --release -p mezzenger --example dashboard -- [HOST] [PORT] [MESSAGES]`: ends after MESSAGES messages; without it,
//! never.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;

use mezzenger::{Client, Filter};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let host = args.next().unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = args.next().map_or(Ok(7202), |port| port.parse())?;
    let messages = args.next().map_or(Ok(usize::MAX), |messages| messages.parse())?;
    let client = Client::builder().server_address(host).port(port).connect()?;
    let mut counts = BTreeMap::<String, u64>::new();
    let events = client.subscription_to(Filter::pattern("orders.>")).observe().open()?;
    println!("observing");
    for event in events.take(messages) {
        *counts.entry(event.name().to_owned()).or_default() += 1;
        println!("{counts:?}");
    }
    Ok(())
}
