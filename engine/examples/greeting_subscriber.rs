//! Prints each greeting until Enter is pressed, like the original's example.
//!
//! `cargo run --release -p mezzenger --example greeting_subscriber [-- ADDRESS]`

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1".to_owned());
    let client = mezzenger::Client::connect(address)?;
    client.subscribe("greet", |payload, message| {
        println!("{}: {}", message.name(), String::from_utf8_lossy(payload));
    })?;
    println!("waiting for greetings; press Enter to end");
    std::io::stdin().read_line(&mut String::new())?;
    client.stop();
    Ok(())
}
