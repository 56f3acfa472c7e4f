//! Options of a message: the keyword arguments of the calls that publish.

use std::time::{Duration, SystemTime};

use mezzenger::asynchronous::OutgoingMessage;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyMapping, PyString, PyTuple};

use crate::arguments::{refused, text};
use crate::payload::{Body, Owned, Slice};
use crate::time::{duration, moment};

/// What may be said, in the order in which the client of event loops says it: all of it at once, which is quicker to read than words.
const OPTIONS: [&str; 10] = [
    "ack",
    "headers",
    "content_type",
    "reply_to",
    "expires_in",
    "deliver_in",
    "deliver_at",
    "retain",
    "idempotency_key",
    "format",
];

/// What was said.
#[derive(Default)]
pub(crate) struct Said {
    ack: bool,
    headers: Vec<(PyBackedStr, PyBackedStr)>,
    content_type: Option<PyBackedStr>,
    reply_to: Option<PyBackedStr>,
    expires_in: Option<Duration>,
    deliver_in: Option<Duration>,
    deliver_at: Option<SystemTime>,
    retain: bool,
    idempotency_key: Option<PyBackedStr>,
}

fn headers(value: &Bound<'_, PyAny>) -> PyResult<Vec<(PyBackedStr, PyBackedStr)>> {
    let pairs = match value.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?.into_any(),
        Err(_) => value.clone(),
    };
    let wrong = |_| PyTypeError::new_err("headers: expected a dict of str, or pairs of str");
    let read = |pair: Bound<'_, PyAny>| {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract().map_err(wrong)?;
        let read = |text: &Bound<'_, PyAny>| self::text("headers", text, PROPERTY);
        Ok((read(&key)?, read(&value)?))
    };
    pairs.try_iter().map_err(wrong)?.map(|pair| read(pair?)).collect()
}

/// What a property raises that cannot work.
const PROPERTY: &str = "InvalidProperties";

impl Said {
    /// Reads keyword arguments; the payload's format is among them.
    pub(crate) fn read<'py>(
        function: &str,
        arguments: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<(Self, Option<Bound<'py, PyAny>>)> {
        let (mut said, mut format) = (Self::default(), None);
        for (key, value) in arguments.into_iter().flatten() {
            let key = key.cast_into::<PyString>()?;
            let key = key.to_str()?;
            if !said.take(key, value, &mut format)? {
                let text = format!("{function}() got an unexpected keyword argument '{key}'");
                return Err(PyTypeError::new_err(text));
            }
        }
        Ok((said, format))
    }

    /// Reads all arguments, in the order of [`OPTIONS`].
    fn read_all<'py>(
        arguments: &Bound<'py, PyTuple>,
    ) -> PyResult<(Self, Option<Bound<'py, PyAny>>)> {
        let (mut said, mut format) = (Self::default(), None);
        if arguments.len() != OPTIONS.len() {
            let text = format!("{} options are wanted: {OPTIONS:?}", OPTIONS.len());
            return Err(PyTypeError::new_err(text));
        }
        for (key, value) in OPTIONS.into_iter().zip(arguments) {
            said.take(key, value, &mut format)?;
        }
        Ok((said, format))
    }

    /// Takes one argument, if it is one of these.
    fn take<'py>(
        &mut self,
        key: &str,
        value: Bound<'py, PyAny>,
        format: &mut Option<Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        if value.is_none() {
            return Ok(OPTIONS.contains(&key));
        }
        match key {
            "ack" => self.ack = value.is_truthy()?,
            "headers" => self.headers = headers(&value)?,
            "content_type" => self.content_type = Some(text(key, &value, PROPERTY)?),
            "reply_to" => self.reply_to = Some(text(key, &value, "InvalidName")?),
            "expires_in" => self.expires_in = Some(duration(key, &value)?),
            "deliver_in" => self.deliver_in = Some(duration(key, &value)?),
            "deliver_at" => self.deliver_at = Some(moment(key, &value)?),
            "retain" => self.retain = value.is_truthy()?,
            "idempotency_key" => self.idempotency_key = Some(text(key, &value, PROPERTY)?),
            "format" => *format = Some(value.clone()),
            _ => return Ok(false),
        }
        if self.deliver_in.is_some() && self.deliver_at.is_some() {
            return Err(refused(key, &value, "deliver_in and deliver_at say the same: give one"));
        }
        Ok(true)
    }

    pub(crate) fn say_type(&mut self, content_type: Option<Bound<'_, PyString>>) -> PyResult<()> {
        if let Some(content_type) = content_type
            && self.content_type.is_none()
        {
            self.content_type = Some(content_type.try_into()?);
        }
        Ok(())
    }

    /// Says it of a message.
    pub(crate) fn say<'a, P: mezzenger::Payload>(
        &'a self,
        mut message: OutgoingMessage<'a, P>,
    ) -> OutgoingMessage<'a, P> {
        if self.ack {
            message = message.ack();
        }
        for (key, value) in &self.headers {
            message = message.header(key, value);
        }
        if let Some(content_type) = &self.content_type {
            message = message.content_type(content_type);
        }
        if let Some(name) = &self.reply_to {
            message = message.reply_to(name);
        }
        if let Some(time) = self.expires_in {
            message = message.expires_in(time);
        }
        if let Some(time) = self.deliver_in {
            message = message.deliver_in(time);
        }
        if let Some(time) = self.deliver_at {
            message = message.deliver_at(time);
        }
        if self.retain {
            message = message.retain();
        }
        if let Some(key) = &self.idempotency_key {
            message = message.idempotency_key(key);
        }
        message
    }
}

/// A payload, and what is said of the message.
pub(crate) struct Outgoing<'py> {
    pub(crate) body: Body<'py>,
    pub(crate) said: Said,
}

impl<'py> Outgoing<'py> {
    /// Reads what a function that publishes was called with.
    pub(crate) fn read(
        function: &str,
        payload: &Bound<'py, PyAny>,
        arguments: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Self> {
        Self::new(payload, Said::read(function, arguments)?)
    }

    /// Reads a payload and all options, in the order of [`OPTIONS`].
    pub(crate) fn read_all(
        payload: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyTuple>,
    ) -> PyResult<Self> {
        Self::new(payload, Said::read_all(arguments)?)
    }

    fn new(
        payload: &Bound<'py, PyAny>,
        (mut said, format): (Said, Option<Bound<'py, PyAny>>),
    ) -> PyResult<Self> {
        let (body, content_type) = Body::of(payload, format.as_ref())?;
        said.say_type(content_type)?;
        Ok(Self { body, said })
    }

    /// The payload as it is.
    pub(crate) fn slice(&self) -> PyResult<Slice<'_>> {
        self.body.slice()
    }

    /// What an operation keeps.
    pub(crate) fn into_owned(self) -> PyResult<(Owned, Said)> {
        let payload = self.body.slice()?.to_owned();
        Ok((payload, self.said))
    }
}
