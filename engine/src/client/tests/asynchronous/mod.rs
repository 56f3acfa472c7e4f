//! What the client whose calls are futures promises.

mod calls;
mod dropped_calls;
mod dropping;
mod forks;
mod lifetime;
mod on_thread;
mod rules;

use std::task::{Context, Poll, Waker};

use crate::Server;
use crate::client::ClientBuilder;
use crate::client::asynchronous::Client;

/// A runtime of one thread.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(super) fn options(server: &Server) -> ClientBuilder {
    Client::builder().port(server.recv_addr().port())
}

pub(super) async fn client(server: &Server) -> Client {
    options(server).connect_async().await.unwrap()
}

/// Polls a future once, without a task.
pub(super) fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future until it is done or was polled so often, each time when it was woken; then it is dropped.
pub(super) async fn cut<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => {
            left -= 1;
            if left == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}
