//! Prints each greeting until Enter is pressed, like the original's example.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = mezzenger::Client::connect("127.0.0.1")?;
    client.subscribe("greet", |payload, message| {
        println!("{}: {}", message.name(), String::from_utf8_lossy(payload));
    })?;
    println!("waiting for greetings; press Enter to end");
    std::io::stdin().read_line(&mut String::new())?;
    client.stop();
    Ok(())
}
