//! Answers, and the headers that all of them have.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::guard::Denied;

/// A body that is there at once, or comes in parts.
pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

const OWN_ORIGIN: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// An answer of this type.
pub(super) fn answer(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    with_body(status, kind, Full::new(body.into()).boxed_unsync())
}

/// An answer whose body comes in parts.
pub(super) fn with_body(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (OWN_ORIGIN, "same-origin"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => answer(status, "application/json", text),
        Err(error) => {
            tracing::error!("an answer over HTTP cannot be written: {error}");
            let text = "{\"error\":\"the answer cannot be written: see the log\"}";
            answer(StatusCode::INTERNAL_SERVER_ERROR, "application/json", text)
        }
    }
}

/// Says what is wrong.
pub(super) fn error(status: StatusCode, why: &str) -> Response<Body> {
    json(status, &Failure { error: why })
}

/// The answer to a request that failed.
#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
}

/// Rejects a request.
pub(super) fn denied(denied: Denied) -> Response<Body> {
    let mut response = error(denied.status, denied.why);
    if denied.status == StatusCode::UNAUTHORIZED {
        let value = HeaderValue::from_static("Bearer realm=\"mezzenger\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

/// Rejects a method where others are there.
pub(super) fn wrong_method(allowed: &'static str) -> Response<Body> {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "this takes another method");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
