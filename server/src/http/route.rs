//! Routes: the handler of each path.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use mezzenger::Inspector;
use mezzenger::inspect::DeadAction;
use tokio::time::timeout;

use super::ask::Unanswered;
use super::places::Place;
use super::reply::{self, Body};
use super::{Shared, api, audit, metrics, page};

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long it may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// The description of the API.
const OPENAPI: &str = include_str!("openapi.json");

/// Answers a request. Notes in `place` what the request turns out to be.
pub(super) async fn answer(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
    peer: SocketAddr,
    place: &Place,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let (method, path) = (&head.method, head.uri.path());
    if let Err(denied) = shared.guard.check_host(&head.headers) {
        return reply::denied(denied);
    }
    // What probes and the page need before there is a token: nothing of them tells anything.
    let is_read = method == Method::GET || method == Method::HEAD;
    match path {
        "/healthz" if is_read => return healthz(shared).await,
        "/readyz" if is_read => return readyz(shared).await,
        "/" if is_read => return page::answer(shared.guard.wants_token()),
        _ => {}
    }
    if let Err(denied) = shared.guard.check(method, &head.headers) {
        if denied.status == StatusCode::UNAUTHORIZED && head.headers.contains_key(AUTHORIZATION) {
            audit::wrong_token(shared, peer);
        }
        return reply::denied(denied);
    }
    place.showed_token(shared.guard.wants_token());
    let changes = match path {
        "/api/v1/dead/replay" => Some(Change::Dead(DeadAction::Replay)),
        "/api/v1/dead/purge" => Some(Change::Dead(DeadAction::Purge)),
        _ => path
            .strip_prefix("/api/v1/connections/")
            .and_then(|rest| rest.strip_suffix("/close"))
            .map(Change::Kick),
    };
    if let Some(change) = changes {
        if method != Method::POST {
            return reply::wrong_method("POST");
        }
        let body = match read(body).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        return match change {
            Change::Dead(action) => api::change_dead(shared, peer, action, &body).await,
            Change::Kick(connection) => api::kick(shared, peer, connection).await,
        };
    }
    let not_found =
        || reply::error(StatusCode::NOT_FOUND, "there is nothing here: see /api/v1/openapi.json");
    match path {
        "/healthz" | "/readyz" | "/" => return reply::wrong_method("GET, HEAD"),
        "/metrics" | "/api/v1/status" | "/api/v1/events" | "/api/v1/openapi.json" => {}
        _ if path.starts_with("/api/v1/") => {}
        _ => return not_found(),
    }
    if !is_read {
        return reply::wrong_method("GET, HEAD");
    }
    match path {
        "/metrics" => scrape(shared, &head.headers).await,
        "/api/v1/status" => match api::status(shared).await {
            Ok(status) => reply::json(StatusCode::OK, &status),
            Err(unanswered) => unanswered.into(),
        },
        "/api/v1/events" => {
            if method == Method::HEAD {
                return reply::answer(StatusCode::OK, "text/event-stream", "");
            }
            place.listens();
            shared.events.listen(shared)
        }
        "/api/v1/openapi.json" => reply::answer(StatusCode::OK, "application/json", OPENAPI),
        _ => {
            let what = path.strip_prefix("/api/v1/").unwrap_or_default();
            match api::Query::read(head.uri.query().unwrap_or_default()) {
                Ok(query) => api::list(shared, what, query).await.unwrap_or_else(not_found),
                Err(why) => reply::error(StatusCode::BAD_REQUEST, &why),
            }
        }
    }
}

enum Change<'a> {
    Dead(DeadAction),
    Kick(&'a str),
}

async fn read(body: Incoming) -> Result<Bytes, Response<Body>> {
    match timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(reply::error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body was cut off, or is larger than 64 KiB",
        )),
        Err(_) => {
            Err(reply::error(StatusCode::REQUEST_TIMEOUT, "the body did not come within 10 s"))
        }
    }
}

/// Whether the process is alive: a server that recovers is, one whose thread hangs is not.
async fn healthz(shared: &Shared) -> Response<Body> {
    match shared.ask(Inspector::overview).await {
        Ok(_) | Err(Unanswered::Recovering | Unanswered::Busy) => {
            reply::json(StatusCode::OK, &serde_json::json!({ "alive": true }))
        }
        Err(unanswered) => unanswered.into(),
    }
}

/// Whether clients should be sent here.
async fn readyz(shared: &Shared) -> Response<Body> {
    let why = match shared.ask(Inspector::overview).await {
        Ok(overview) if overview.is_draining => "the server is draining".to_owned(),
        Ok(overview) => match overview.journal.and_then(|journal| journal.failure) {
            None => return reply::json(StatusCode::OK, &serde_json::json!({ "ready": true })),
            // It may name files: whoever may know them reads it in the status.
            Some(_) => "the journal failed: messages with ack=1 are rejected".to_owned(),
        },
        Err(unanswered) => unanswered.why().to_owned(),
    };
    reply::json(
        StatusCode::SERVICE_UNAVAILABLE,
        &serde_json::json!({ "ready": false, "reason": why }),
    )
}

async fn scrape(shared: &Shared, headers: &HeaderMap) -> Response<Body> {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = metrics::Format::of(accepted);
    match metrics::gather(shared).await {
        Ok(gathered) => reply::answer(StatusCode::OK, format.kind(), gathered.text(format)),
        Err(unanswered) => unanswered.into(),
    }
}
