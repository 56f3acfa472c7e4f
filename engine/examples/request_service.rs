//! A service that answers requests, on tokio: two workers share the requests, and callers that come at once wait for none but their own.
//!
//! `cargo run --release -p mezzenger --features tokio --example request_service`

use std::error::Error;
use std::time::Duration;

use mezzenger::asynchronous::{Client, Delivery, Subscription};
use mezzenger::{Filter, Server};

const PATIENCE: Duration = Duration::from_secs(5);

/// What the service says to a request.
async fn answer(request: &Delivery) -> String {
    // A database would be asked here; other requests are answered meanwhile.
    tokio::task::yield_now().await;
    match request.text() {
        Some(text) => format!("{} words", text.split_whitespace().count()),
        None => "no text".to_owned(),
    }
}

/// Answers requests until the subscription ends, many at a time.
async fn serve(mut requests: Subscription) {
    while let Some(request) = requests.next().await {
        // A request that is being dealt with holds credit: no more are taken than the subscription grants.
        tokio::spawn(async move {
            let answer = answer(&request).await;
            if let Err(error) = request.reply(answer).await {
                eprintln!("no answer to {}: {error}", request.id());
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A server inside this program; others connect to mezzenger-server.
    let server = Server::builder().pub_port(0).recv_port(0).start()?;
    let url = format!("mezzenger://{}", server.recv_addr());

    let service = Client::connect(url.as_str()).await?;
    let workers = || service.subscription_to(Filter::pattern("words.*")).group("counters").open();
    let workers = [tokio::spawn(serve(workers().await?)), tokio::spawn(serve(workers().await?))];

    let caller = Client::connect(url).await?;
    let texts = ["one", "one two", "one two three"];
    let asking = texts.map(|text| {
        let caller = caller.clone();
        tokio::spawn(async move { caller.message("words.count", text).request(PATIENCE).await })
    });
    for (text, answer) in texts.iter().zip(asking) {
        println!("'{text}': {}", answer.await??.text().unwrap_or_default());
    }

    // Their subscriptions end with the client.
    service.close().await?;
    for worker in workers {
        worker.await?;
    }
    caller.close().await?;
    Ok(())
}
