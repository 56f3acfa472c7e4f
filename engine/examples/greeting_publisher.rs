//! Publishes one greeting, to be acknowledged by a subscriber, like the original's example.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = mezzenger::Client::builder().connect()?;
    client.send_message("greet", "hello", true)?;
    println!("sent");
    Ok(())
}
