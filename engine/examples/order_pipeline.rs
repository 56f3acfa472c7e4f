//! An order pipeline in one program: two workers share the orders, some fail for a while, and one is given up.
//!
//! `cargo run --release -p mezzenger --example order_pipeline`

use std::error::Error;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use mezzenger::{Client, Delivery, Filter, Server};

const ORDERS: [&str; 5] = ["tea", "coffee", "a unicorn", "milk", "sugar"];

/// Packs an order; why it cannot.
fn pack(order: &Delivery) -> Result<(), &'static str> {
    match order.text() {
        // Milk is out of stock at first.
        Some("milk") if order.attempt() < 3 => Err("out of stock"),
        Some("a unicorn") => Err("there is no such thing"),
        _ => Ok(()),
    }
}

fn work(client: &Client, worker: usize, done: &Sender<String>) -> Result<(), Box<dyn Error>> {
    let backoff = [Duration::from_millis(50), Duration::from_millis(200)];
    let group = client.subscription_to(Filter::pattern("orders.*")).group("order-pipeline");
    for order in group.attempts_max(3).backoff(&backoff).credit(1).open()? {
        let text = order.text().unwrap_or_default().to_owned();
        match pack(&order) {
            Ok(()) => {
                println!("worker {worker} packed {text} at attempt {}", order.attempt());
                order.ack();
                done.send(text)?;
            }
            Err(why) => {
                println!("worker {worker} could not pack {text}: {why}");
                order.nak(Duration::ZERO);
            }
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    // A server inside this program; others connect to mezzenger-server.
    let server = Server::builder().pub_port(0).recv_port(0).start()?;
    let connect = || Client::builder().port(server.recv_addr().port()).connect();
    let (done, packed) = channel();
    let workers = [connect()?, connect()?];
    let threads: Vec<_> = (1..)
        .zip(workers.clone())
        .map(|(worker, client)| {
            let done = done.clone();
            thread::spawn(move || {
                if let Err(error) = work(&client, worker, &done) {
                    eprintln!("worker {worker}: {error}");
                }
            })
        })
        .collect();

    // So that the end of both workers ends the wait for what they packed.
    drop(done);

    let shop = connect()?;
    for order in ORDERS {
        shop.message("orders.new", order).ack().header("shop", "7").send()?;
    }
    for _ in 1..ORDERS.len() {
        packed.recv()?;
    }
    let letters = shop.dead_letters("order-pipeline");
    while letters.count()? == 0 {
        thread::sleep(Duration::from_millis(10));
    }
    for letter in letters.list(10)? {
        let (_, message) = letters.show(letter.id)?;
        println!(
            "given up after {} attempts: {}",
            letter.attempts,
            message.text().unwrap_or_default()
        );
    }
    workers.iter().for_each(Client::stop);
    for thread in threads {
        thread.join().map_err(|_| "a worker panicked")?;
    }
    Ok(())
}
