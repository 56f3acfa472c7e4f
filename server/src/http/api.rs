//! The API: lists in parts, and the few things that an operator may change.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use mezzenger::inspect::{self, DeadAction, DeadSelection, PendingCursor};
use mezzenger::{Inspector, MessageId};
use serde::Deserialize;

use super::ask::Unanswered;
use super::model::{self, Changed, Status};
use super::process::Process;
use super::reply::{self, Body};
use super::{Shared, audit};

/// Entries of a part, unless the request says otherwise, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 256;

/// Messages that a request may name.
const IDS_MAX: usize = 1000;

/// What a request asks for behind the `?`.
#[derive(Debug, Default)]
pub(super) struct Query {
    from: String,
    group: String,
    limit: usize,
    slow: bool,
}

impl Query {
    /// Reads it; what is unknown is an error, so that no misspelt bound is passed over.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut query = Self { limit: LIMIT, ..Self::default() };
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*key {
                "from" => query.from = value.into_owned(),
                "group" => query.group = value.into_owned(),
                "limit" => {
                    query.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                        .ok_or_else(|| format!("limit is a number from 1 to {LIMIT_MAX}"))?;
                }
                "slow" => {
                    query.slow = value.parse().map_err(|_| "slow is true or false".to_owned())?;
                }
                _ => {
                    return Err(format!(
                        "there is no parameter {key:?}: from, group, limit and slow are"
                    ));
                }
            }
        }
        Ok(query)
    }

    /// Where to begin; `None` when that is no place.
    fn start<T: FromStr>(&self, first: T) -> Option<T> {
        if self.from.is_empty() { Some(first) } else { self.from.parse().ok() }
    }
}

fn bad_request(why: &str) -> Response<Body> {
    reply::error(StatusCode::BAD_REQUEST, why)
}

/// A part of a list in JSON.
fn page<T, C: ToString, M: From<T> + serde::Serialize>(
    found: Result<inspect::Page<T, C>, Unanswered>,
) -> Response<Body> {
    match found {
        Ok(found) => {
            let items: Vec<M> = found.items.into_iter().map(Into::into).collect();
            let next = found.next.map(|next| next.to_string());
            reply::json(StatusCode::OK, &model::Page { items, next })
        }
        Err(unanswered) => unanswered.into(),
    }
}

/// The server at this moment.
pub(super) async fn status(shared: &Shared) -> Result<Status, Unanswered> {
    let overview = shared.ask(Inspector::overview).await?;
    Ok(Status::new(overview, Process::read()))
}

/// A list, of those that there are.
pub(super) async fn list(shared: &Shared, what: &str, query: Query) -> Option<Response<Body>> {
    let max = query.limit;
    macro_rules! start {
        ($first:expr) => {
            match query.start($first) {
                Some(from) => from,
                None => {
                    return Some(bad_request("from is what an earlier answer gave as next"));
                }
            }
        };
    }
    Some(match what {
        "connections" => {
            let from = start!(0);
            let found = shared.ask(|it, a| match query.slow {
                true => it.slow(from, max, a),
                false => it.connections(from, max, a),
            });
            page::<_, _, model::Connection>(found.await)
        }
        "names" => {
            let from = start!(0);
            page::<_, _, model::Name>(shared.ask(|it, a| it.names(from, max, a)).await)
        }
        "groups" => {
            page::<_, _, model::Group>(shared.ask(|it, a| it.groups(&query.from, max, a)).await)
        }
        "pending" => {
            let from = start!(PendingCursor::START);
            page::<_, _, model::PendingMessage>(shared.ask(|it, a| it.pending(from, max, a)).await)
        }
        "dead" => {
            let from = start!(0);
            let found = shared.ask(|it, a| it.dead(&query.group, from, max, a)).await;
            page::<_, _, model::DeadLetter>(found)
        }
        "retained" => page::<_, _, model::RetainedMessage>(
            shared.ask(|it, a| it.retained(&query.from, max, a)).await,
        ),
        _ => return None,
    })
}

/// Which dead letters are to be changed: those of these messages, or all of the group.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Letters {
    group: String,
    #[serde(default)]
    ids: Option<Vec<String>>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    from: Option<String>,
}

/// Replays or purges dead letters.
pub(super) async fn change_dead(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    action: DeadAction,
    body: &Bytes,
) -> Response<Body> {
    let letters: Letters = match serde_json::from_slice(body) {
        Ok(letters) => letters,
        Err(error) => return bad_request(&format!("the body says which dead letters: {error}")),
    };
    let selection = match (letters.ids, letters.all, letters.from) {
        (Some(ids), false, None) if (1..=IDS_MAX).contains(&ids.len()) => {
            let read: Result<Vec<MessageId>, _> = ids.iter().map(|id| id.parse()).collect();
            match read {
                Ok(ids) => DeadSelection::Ids(ids),
                Err(error) => return bad_request(&format!("one of the ids is none: {error}")),
            }
        }
        (None, true, from) => match from.as_deref().unwrap_or("0").parse() {
            Ok(from) => DeadSelection::From(from),
            Err(_) => return bad_request("from is what an earlier answer gave as next"),
        },
        _ => {
            return bad_request(&format!(
                "say either ids, of 1 to {IDS_MAX} messages, or all: true, for all of the group"
            ));
        }
    };
    let (change, verb) = match action {
        DeadAction::Replay => (audit::Change::Replay, "replay"),
        DeadAction::Purge => (audit::Change::Purge, "purge"),
    };
    let which = match &selection {
        DeadSelection::Ids(ids) => format!("{} dead letters", ids.len()),
        DeadSelection::From(_) => "all dead letters".to_owned(),
    };
    audit::asked(shared, peer, change, &format!("{verb} {which} of group '{}'", letters.group));
    let changed = shared.ask(|it, a| it.change_dead(action, &letters.group, selection, a)).await;
    match changed {
        Ok(Ok(changed)) => {
            let next = changed.next.map(|next| next.to_string());
            reply::json(StatusCode::OK, &Changed { done: changed.done, next })
        }
        Ok(Err(why)) => reply::error(StatusCode::CONFLICT, &why),
        Err(unanswered) => unanswered.into(),
    }
}

/// Closes a connection.
pub(super) async fn kick(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    connection: &str,
) -> Response<Body> {
    let gone = || reply::error(StatusCode::NOT_FOUND, "there is no such connection");
    let Ok(connection) = connection.parse::<u64>() else { return gone() };
    audit::asked(shared, peer, audit::Change::Close, &format!("close connection {connection}"));
    match shared.ask(|it, a| it.kick(connection, a)).await {
        Ok(true) => reply::json(StatusCode::OK, &serde_json::json!({ "closed": true })),
        Ok(false) => gone(),
        Err(unanswered) => unanswered.into(),
    }
}
