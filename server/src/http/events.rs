//! Sends what changed to listeners once a second: gathered once for all of them, and not at all without any.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval};

use super::Shared;
use super::api;
use super::ask::Unanswered;
use super::model::Event;
use super::reply::{self, Body};

/// Listeners at a time.
const LISTENERS_MAX: usize = 16;

/// How long one may listen; a browser reconnects by itself.
pub(super) const LISTENING_TIME_MAX: Duration = Duration::from_secs(3600);

/// Time between two events.
const INTERVAL: Duration = Duration::from_secs(1);

/// Events that wait for a listener, which loses the oldest of more.
const WAITING_MAX: usize = 2;

/// Entries of each list in an event.
const LISTED: usize = 100;

/// Who listens.
pub(super) struct Events {
    places: Arc<Semaphore>,
    sender: Sender<Bytes>,
    /// Whether somebody gathers.
    is_running: AtomicBool,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(LISTENERS_MAX)),
            sender: channel(WAITING_MAX).0,
            is_running: AtomicBool::new(false),
        }
    }
}

impl Events {
    /// The answer to one who listens from now on.
    pub(super) fn listen(&self, shared: &Arc<Shared>) -> Response<Body> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return reply::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "16 listen already, as many as may: close one",
            );
        };
        let listener = Listener { receiver: self.sender.subscribe(), _place: place };
        // Both run on one thread, so that no listener comes between the last look and the end.
        if !self.is_running.swap(true, Ordering::Relaxed) {
            tokio::spawn(gather(Arc::clone(shared)));
        }
        let events = stream::unfold(listener, |mut listener| async move {
            let event = listener.next().await?;
            Some((Ok(Frame::data(event)), listener))
        });
        let body = StreamBody::new(events).boxed_unsync();
        reply::with_body(StatusCode::OK, "text/event-stream", body)
    }
}

struct Listener {
    receiver: Receiver<Bytes>,
    /// Given back when it is gone.
    _place: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                // It was slower than the events: the next one says all.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// Sends events until nobody listens.
async fn gather(shared: Arc<Shared>) {
    let mut seconds = interval(INTERVAL);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let text = match event(&shared).await {
            Ok(event) => match serde_json::to_string(&event) {
                Ok(text) => format!("data: {text}\n\n"),
                Err(error) => format!(": {error}\n\n"),
            },
            Err(unanswered) => {
                let text = serde_json::json!({ "error": unanswered.why() });
                format!("event: unanswered\ndata: {text}\n\n")
            }
        };
        if shared.events.sender.send(text.into()).is_err() {
            shared.events.is_running.store(false, Ordering::Relaxed);
            return;
        }
    }
}

async fn event(shared: &Shared) -> Result<Event, Unanswered> {
    let status = api::status(shared).await?;
    let slow = shared.ask(|it, a| it.slow(0, LISTED, a)).await?;
    let groups = shared.ask(|it, a| it.groups("", LISTED, a)).await?;
    let names = shared.ask(|it, a| it.names(0, LISTED + 1, a)).await?;
    Ok(Event {
        status,
        slow: slow.items.into_iter().map(Into::into).collect(),
        groups: groups.items.into_iter().map(Into::into).collect(),
        names: names.items.into_iter().map(Into::into).collect(),
    })
}
