//! The page for people: one document that asks for nothing but the API.

use bytes::Bytes;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use hyper::{Response, StatusCode};

use super::reply::{self, Body};

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = concat!(
    include_str!("page/text.js"),
    include_str!("page/figures.js"),
    include_str!("page/page.js")
);

/// The page. `wants_token`: it asks for one first.
pub(super) fn answer(wants_token: bool) -> Response<Body> {
    let mut random = [0; 16];
    if getrandom::getrandom(&mut random).is_err() {
        return reply::error(StatusCode::INTERNAL_SERVER_ERROR, "the system has no random numbers");
    }
    let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let text = DOCUMENT
        .replace("{{token}}", if wants_token { "wanted" } else { "none" })
        .replace("{{nonce}}", &nonce)
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT);
    let mut response = reply::answer(StatusCode::OK, "text/html; charset=utf-8", Bytes::from(text));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}
