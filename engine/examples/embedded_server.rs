//! A program with a server of its own, as its tests have one: on free ports, in memory, and gone when it is dropped.
//!
//! `cargo run --release -p mezzenger --example embedded_server`, and `cargo test -p mezzenger --example embedded_server`

use std::error::Error;
use std::thread;

use mezzenger::{Client, SendError, Server, Subscription};

/// Starts a server on free ports, and connects two clients to it.
fn server_with_clients() -> Result<(Server, [Client; 2]), Box<dyn Error>> {
    let server = Server::builder().pub_port(0).recv_port(0).start()?;
    let connect = || Client::builder().port(server.recv_addr().port()).connect();
    let clients = [connect()?, connect()?];
    Ok((server, clients))
}

/// The program's own part: it knows no server, only what it is subscribed to.
fn tell_prices(requests: Subscription) -> Result<(), SendError> {
    for request in requests {
        request.reply(match request.text() {
            Some("tea") => "7",
            Some("coffee") => "9",
            _ => "not for sale",
        })?;
    }
    Ok(())
}

/// Asks for a price while [`tell_prices`] answers.
fn ask(item: &str) -> Result<String, Box<dyn Error>> {
    let (_server, [shop, customer]) = server_with_clients()?;
    let requests = shop.subscription("price")?;
    let telling = thread::spawn(move || tell_prices(requests));
    let answer = customer.message("price", item).request(std::time::Duration::from_secs(10));
    // Ends the subscription, and so the thread.
    shop.stop();
    telling.join().map_err(|_| "the shop panicked")??;
    Ok(answer?.text().unwrap_or_default().to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    for item in ["tea", "coffee", "a unicorn"] {
        println!("{item}: {}", ask(item)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_sale_has_a_price() {
        assert_eq!(ask("tea").unwrap(), "7");
    }

    #[test]
    fn what_is_not_on_sale_has_none() {
        assert_eq!(ask("a unicorn").unwrap(), "not for sale");
    }
}
