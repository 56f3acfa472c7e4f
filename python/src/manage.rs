//! Groups, dead letters and retained messages: what is asked of the server about them, and what Python gets of its answers.

use std::time::Duration;

use mezzenger::asynchronous::Client;
use mezzenger::{DeadLetter, DeadLetterCause, Group, MessageId, RetainedMessage};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::arguments::{Given, Name, number};
use crate::errors::{self, WithOptions};
use crate::filter::{Filter, Wanted};
use crate::message::Message;
use crate::operation::Operation;
use crate::subscription::delays;
use crate::time::{delay, unix};

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
        // Zero stands for no end.
        (group.attempts_max > 0).then_some(group.attempts_max),
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
fn ids(py: Python<'_>, texts: &[Name]) -> PyResult<Vec<MessageId>> {
    let read = |text: &Name| {
        text.parse().map_err(|error| {
            let text = format!("{:?} is no id of a message: {error}", &**text);
            errors::new(py, "InvalidOption", text)
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

    fn groups_get(&self, name: Name) -> Operation {
        let (groups, name) = (self.client.groups(), (*name).to_owned());
        let found = async move { groups.get(&name).await };
        Operation::new(found, |py, found| found.map(|found| group(py, found)).transpose())
    }

    fn groups_delete(&self, name: Name, discard: bool) -> Operation {
        let (groups, name) = (self.client.groups(), (*name).to_owned());
        let deleted = async move {
            if discard {
                groups.delete_with_messages(&name).await
            } else {
                groups.delete(&name).await
            }
        };
        Operation::new(deleted, |_, ()| Ok(()))
    }

    /// `options`: the terms of the group; those that are `None` are the server's defaults.
    fn groups_create(
        &self,
        name: Name,
        filter: Wanted,
        options: &Bound<'_, PyDict>,
    ) -> PyResult<Operation> {
        let mut builder = self.client.groups().durable(&*name, filter.0);
        let mut given = Given::default();
        for (key, value) in options {
            if value.is_none() {
                continue;
            }
            let key = key.cast_into::<PyString>()?;
            let name = key.to_str()?;
            given.note(name, &value);
            builder = match name {
                "ack_wait" => builder.ack_wait(delay(name, &value)?),
                "in_flight_max" => builder.in_flight_max(number(name, &value)?),
                "attempts_max" => builder.attempts_max(number(name, &value)?),
                "backoff" => builder.backoff(&delays(name, &value)?),
                "keep_expired" if value.is_truthy()? => builder.keep_expired(),
                _ => builder,
            };
        }
        let created =
            async move { builder.create().await.map_err(|error| WithOptions::new(error, given)) };
        Ok(Operation::new(created, |_, ()| Ok(())))
    }

    fn letters_count(&self, group: Name) -> Operation {
        let letters = self.client.dead_letters(&group);
        Operation::new(async move { letters.count().await }, |_, count| Ok(count))
    }

    fn letters_list(&self, group: Name, limit: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let limit = number("limit", limit)?;
        let letters = self.client.dead_letters(&group);
        let listed = async move { letters.list(limit).await };
        Ok(Operation::new(listed, |py, listed| all(py, listed, letter)))
    }

    fn letters_show(&self, py: Python<'_>, group: Name, id: Name) -> PyResult<Operation> {
        let letters = self.client.dead_letters(&group);
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
        group: Name,
        is_replay: bool,
        these: Option<Vec<Name>>,
        name: Option<Name>,
    ) -> PyResult<Operation> {
        let letters = self.client.dead_letters(&group);
        let these = these.map(|these| ids(py, &these)).transpose()?;
        let name = name.map(|name| (*name).to_owned());
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

    fn retained_list(&self, filter: Wanted, limit: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let limit = number("limit", limit)?;
        let client = self.client.clone();
        let listed = async move { client.retained().list(&filter.0, limit).await };
        Ok(Operation::new(listed, |py, listed| all(py, listed, retained)))
    }

    fn retained_clear(&self, name: Name) -> Operation {
        let (retained, name) = (self.client.retained(), (*name).to_owned());
        Operation::new(async move { retained.clear(&name).await }, |_, ()| Ok(()))
    }
}
