//! Groups, dead letters and retained messages: what is asked of the server about them, and what Python gets of its answers.

use std::time::Duration;

use mezzenger::asynchronous::Client;
use mezzenger::{DeadLetter, DeadLetterCause, Group, MessageId, RetainedMessage};
use pyo3::prelude::*;

use crate::errors;
use crate::filter::{Filter, Wanted};
use crate::message::Message;
use crate::operation::Operation;
use crate::time::{Time, unix};

/// An object of a class of `mezzenger._records`.
fn record<'py>(
    py: Python<'py>,
    class: &str,
    fields: impl pyo3::call::PyCallArgs<'py>,
) -> PyResult<Py<PyAny>> {
    py.import("mezzenger._records")?.getattr(class)?.call1(fields).map(Bound::unbind)
}

fn group(py: Python<'_>, group: Group) -> PyResult<Py<PyAny>> {
    let delays: Vec<f64> = group.backoff.iter().map(Duration::as_secs_f64).collect();
    let terms = (
        group.name,
        Filter(group.filter),
        group.is_durable,
        group.ack_wait.as_secs_f64(),
        group.in_flight_max,
        group.attempts_max,
        delays,
        group.keeps_expired,
    );
    let counts = (group.members, group.waiting, group.in_flight, group.dead_letters);
    record(py, "_group", (terms, counts))
}

fn letter(py: Python<'_>, letter: DeadLetter) -> PyResult<Py<PyAny>> {
    let cause = match letter.cause {
        DeadLetterCause::UsedUp => "used up",
        DeadLetterCause::Rejected => "rejected",
        DeadLetterCause::Expired => "expired",
        _ => "unknown",
    };
    let fields = (
        letter.id.to_string(),
        letter.name,
        letter.group,
        Filter(letter.filter),
        letter.attempts,
        cause,
        letter.reason,
        letter.published.map(unix),
        unix(letter.died),
        letter.bytes,
    );
    record(py, "DeadLetter", fields)
}

fn retained(py: Python<'_>, message: RetainedMessage) -> PyResult<Py<PyAny>> {
    let fields = (message.id.to_string(), message.name, unix(message.published), message.bytes);
    record(py, "RetainedMessage", fields)
}

fn all<T>(
    py: Python<'_>,
    values: Vec<T>,
    convert: impl Fn(Python<'_>, T) -> PyResult<Py<PyAny>>,
) -> PyResult<Vec<Py<PyAny>>> {
    values.into_iter().map(|value| convert(py, value)).collect()
}

/// Ids of messages, as Python has them.
fn ids(py: Python<'_>, texts: &[String]) -> PyResult<Vec<MessageId>> {
    let read = |text: &String| {
        text.parse().map_err(|error| {
            errors::new(py, "InvalidOption", format!("{text:?} is no id of a message: {error}"))
        })
    };
    texts.iter().map(read).collect()
}

/// What asks the server about groups, dead letters and retained messages.
#[pyclass(frozen, module = "mezzenger._core")]
pub(crate) struct Manager {
    client: Client,
    /// Which classes pickles may have.
    trust: Option<Py<PyAny>>,
}

impl Manager {
    pub(crate) fn new(client: Client, trust: Option<Py<PyAny>>) -> Self {
        Self { client, trust }
    }
}

#[pymethods]
impl Manager {
    fn groups_list(&self) -> Operation {
        let groups = self.client.groups();
        let listed = async move { groups.list().await };
        Operation::new(listed, |py, listed| all(py, listed, group))
    }

    fn groups_get(&self, name: String) -> Operation {
        let groups = self.client.groups();
        let found = async move { groups.get(&name).await };
        Operation::new(found, |py, found| found.map(|found| group(py, found)).transpose())
    }

    fn groups_delete(&self, name: String, discard: bool) -> Operation {
        let groups = self.client.groups();
        let deleted = async move {
            if discard {
                groups.delete_with_messages(&name).await
            } else {
                groups.delete(&name).await
            }
        };
        Operation::new(deleted, |_, ()| Ok(()))
    }

    #[expect(clippy::too_many_arguments, reason = "the terms of a group, which Python names")]
    fn groups_create(
        &self,
        name: String,
        filter: Wanted,
        ack_wait: Option<Time>,
        in_flight_max: Option<u32>,
        attempts_max: Option<u16>,
        backoff: Option<Vec<Time>>,
        keep_expired: bool,
    ) -> Operation {
        let mut builder = self.client.groups().durable(name, filter.0);
        if let Some(Time(time)) = ack_wait {
            builder = builder.ack_wait(time);
        }
        if let Some(messages) = in_flight_max {
            builder = builder.in_flight_max(messages);
        }
        if let Some(attempts) = attempts_max {
            builder = builder.attempts_max(attempts);
        }
        if let Some(delays) = backoff {
            let delays: Vec<Duration> = delays.into_iter().map(|Time(delay)| delay).collect();
            builder = builder.backoff(&delays);
        }
        if keep_expired {
            builder = builder.keep_expired();
        }
        Operation::new(async move { builder.create().await }, |_, ()| Ok(()))
    }

    fn letters_count(&self, group: &str) -> Operation {
        let letters = self.client.dead_letters(group);
        Operation::new(async move { letters.count().await }, |_, count| Ok(count))
    }

    fn letters_list(&self, group: &str, limit: usize) -> Operation {
        let letters = self.client.dead_letters(group);
        let listed = async move { letters.list(limit).await };
        Operation::new(listed, |py, listed| all(py, listed, letter))
    }

    fn letters_show(&self, py: Python<'_>, group: &str, id: String) -> PyResult<Operation> {
        let letters = self.client.dead_letters(group);
        let (id, trust) = (ids(py, &[id])?, self.trust.as_ref().map(|it| it.clone_ref(py)));
        let shown = async move { letters.show(id[0]).await };
        Ok(Operation::new(shown, move |py, (found, message)| {
            Ok((letter(py, found)?, Py::new(py, Message::new(message, trust))?))
        }))
    }

    /// Replays or purges those with these ids, or of this name, or all.
    fn letters_change(
        &self,
        py: Python<'_>,
        group: &str,
        is_replay: bool,
        these: Option<Vec<String>>,
        name: Option<String>,
    ) -> PyResult<Operation> {
        let letters = self.client.dead_letters(group);
        let these = these.map(|these| ids(py, &these)).transpose()?;
        let changed = async move {
            match (is_replay, these, name) {
                (true, Some(ids), _) => letters.replay(&ids).await,
                (true, None, Some(name)) => letters.replay_named(&name).await,
                (true, None, None) => letters.replay_all().await,
                (false, Some(ids), _) => letters.purge(&ids).await,
                (false, None, Some(name)) => letters.purge_named(&name).await,
                (false, None, None) => letters.purge_all().await,
            }
        };
        Ok(Operation::new(changed, |_, count| Ok(count)))
    }

    fn retained_count(&self) -> Operation {
        let retained = self.client.retained();
        Operation::new(async move { retained.count().await }, |_, count| Ok(count))
    }

    fn retained_list(&self, filter: Wanted, limit: usize) -> Operation {
        let client = self.client.clone();
        let listed = async move { client.retained().list(&filter.0, limit).await };
        Operation::new(listed, |py, listed| all(py, listed, retained))
    }

    fn retained_clear(&self, name: String) -> Operation {
        let retained = self.client.retained();
        Operation::new(async move { retained.clear(&name).await }, |_, ()| Ok(()))
    }
}
