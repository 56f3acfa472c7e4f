//! Mezzenger for programs that run on tokio: a client whose calls are futures. It needs the feature `tokio` of this crate.
//!
//! It is the same client as [`mezzenger::Client`](crate::Client), with the same words, and the same options
//! ([`Client::builder`]). It has no thread: one task on the runtime that it was connected on does its work, for any number of
//! handles, subscriptions and callers. No call blocks. Host names are looked up on the runtime's own threads for that; an IP address takes none.
//! Programs without tokio, with another executor, connect it with [`connect_on_thread`](crate::ClientBuilder::connect_on_thread).
//!
//! # Publish, work, request
//!
//! ```
//! use std::time::Duration;
//! use mezzenger::asynchronous::Client;
//! use mezzenger::{Filter, Server};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // A server of its own, for a test; programs run mezzenger-server.
//!     let server = Server::builder().pub_port(0).recv_port(0).start()?;
//!     let client = Client::connect(format!("mezzenger://{}", server.recv_addr())).await?;
//!
//!     // Returns when the buffer has room for it; the receipt is a future of the server's answer.
//!     let receipt = client.publish("orders.new", "coffee").await?;
//!     receipt.await?;
//!
//!     let mut orders = client.subscription_to(Filter::pattern("orders.*")).group("packers").open().await?;
//!     client.message("orders.new", "tea").ack().header("shop", "7").send().await?;
//!     let order = orders.recv().await?;
//!     assert_eq!((order.text(), order.header("shop")), (Some("tea"), Some("7")));
//!     order.ack();
//!
//!     let mut requests = client.subscription("words").await?;
//!     tokio::spawn(async move {
//!         while let Some(request) = requests.next().await {
//!             let words = request.text().unwrap_or_default().split_whitespace().count();
//!             if let Err(error) = request.reply(words.to_string()).await {
//!                 eprintln!("no answer to {}: {error}", request.id());
//!             }
//!         }
//!     });
//!     let answer = client.message("words", "one two").request(Duration::from_secs(1)).await?;
//!     assert_eq!(answer.text(), Some("2"));
//!
//!     client.close().await?;
//!     Ok(())
//! }
//! ```
//!
//! # Dropping futures
//!
//! Every future may be dropped at any time, as `select!` and `timeout` do:
//!
//! - [`Client::publish`], [`OutgoingMessage::publish`], [`Delivery::reply`]: the message is published as a whole or not at all.
//! - [`OutgoingMessage::send`], [`Receipt`](crate::Receipt): the message is published all the same. The next [`Client::flush`]
//!   returns an error that nobody waits for any more, and [`on_error`](crate::ClientBuilder::on_error).
//! - [`OutgoingMessage::request`]: the same, and the answer is forgotten.
//! - [`Subscription::recv`], [`Subscription::next`]: no message is lost: the next call has it.
//! - [`SubscriptionBuilder::open`], [`GroupBuilder::open`], [`ClientBuilder::connect_async`](crate::ClientBuilder::connect_async),
//!   [`connect_on_thread`](crate::ClientBuilder::connect_on_thread): what was begun is taken back.
//! - [`GroupBuilder::run`]: the member leaves its group, and what it did not settle goes to others.
//! - [`Client::flush`], [`Client::close`]: the error that they would tell is left for the next call, and the client closes all the same.
//! - [`DeadLetters`]: what was asked for may be done, or done in part.
//!
//! # Backpressure
//!
//! While the server does not keep up, [`Client::publish`] waits for room in the buffer
//! ([`buffer_bytes`](crate::ClientBuilder::buffer_bytes)), `send_timeout` times `connection_retries` at most. The runtime runs other tasks meanwhile. What a
//! subscription does not read waits at the server, beyond its [`credit`](SubscriptionBuilder::credit).
//!
//! # The end
//!
//! [`Client::close`] ends a client when all is sent and answered. When the last handle is dropped, its task does the same for as long as the
//! runtime lives, `send_timeout` at most. When the runtime goes, or the client is closed, whatever waits and every later call
//! ends with `Stopped`, as [`SendError::Stopped`](crate::SendError::Stopped).

mod driver;
mod handle;
mod thread;

pub use handle::Client;

pub use super::admin::dead_letters::tasks::DeadLetters;
pub use super::mode::Asynchronous;
pub use super::publish::receipt::Receipt;

/// A message that is about to be published: [`Client::message`].
pub type OutgoingMessage<'a, P> = super::publish::outgoing::OutgoingMessage<'a, P, Asynchronous>;

/// A subscription that is about to be opened: [`Client::subscription_to`].
pub type SubscriptionBuilder = super::receive::SubscriptionBuilder<Asynchronous>;

/// A member of a group that is about to join: [`SubscriptionBuilder::group`].
pub type GroupBuilder = super::receive::GroupBuilder<Asynchronous>;

/// A subscription that is read like a stream.
pub type Subscription = super::receive::Subscription<Asynchronous>;

/// A message that was delivered, and what its receiver says of it.
pub type Delivery = super::receive::Delivery<Asynchronous>;

/// The groups of the server: [`Client::groups`].
pub type Groups = super::admin::groups::Groups<Asynchronous>;

/// A durable group that is about to be created: [`Groups::durable`].
pub type DurableGroupBuilder = super::admin::groups::DurableGroupBuilder<Asynchronous>;

/// The retained messages of the server: [`Client::retained`].
pub type Retained = super::admin::retained::Retained<Asynchronous>;
