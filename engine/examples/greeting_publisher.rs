//! Publishes one greeting, to be acknowledged by a subscriber, like the original's example.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = mezzenger::Client::builder().connect()?;
    client.message("greet", "hello").ack().send()?;
    println!("sent");
    Ok(())
}
