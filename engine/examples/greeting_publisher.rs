//! Publishes one greeting, to be acknowledged by a subscriber, like the original's example.
//!
//! `cargo run --release -p mezzenger --example greeting_publisher [-- ADDRESS]`

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1".to_owned());
    let client = mezzenger::Client::connect(address)?;
    client.message("greet", "hello").ack().send()?;
    println!("sent");
    Ok(())
}
