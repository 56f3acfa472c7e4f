//! What a caller says of a message besides its name and payload: the keyword arguments of what publishes.

use std::time::{Duration, SystemTime};

use mezzenger::asynchronous::OutgoingMessage;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyMapping, PyString};

use crate::payload::{Body, Owned, Slice};
use crate::time::{At, Time};

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

/// What an argument says, if it is not `None`.
fn given<'py, T>(value: &Bound<'py, PyAny>) -> PyResult<Option<T>>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    if value.is_none() { Ok(None) } else { value.extract().map(Some).map_err(Into::into) }
}

fn headers(value: &Bound<'_, PyAny>) -> PyResult<Vec<(PyBackedStr, PyBackedStr)>> {
    if value.is_none() {
        return Ok(Vec::new());
    }
    let pairs = match value.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?.into_any(),
        Err(_) => value.clone(),
    };
    let wrong = |_| PyTypeError::new_err("headers are a dict of str, or pairs of str");
    pairs.try_iter()?.map(|pair| pair?.extract().map_err(wrong)).collect()
}

impl Said {
    /// Reads keyword arguments; the payload's format is among them.
    pub(crate) fn read<'py>(
        function: &str,
        arguments: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<(Self, Option<Bound<'py, PyAny>>)> {
        let (mut said, mut format) = (Self::default(), None);
        for (key, value) in arguments.into_iter().flatten() {
            let key = key.cast_into::<PyString>()?;
            match key.to_str()? {
                "ack" => said.ack = value.is_truthy()?,
                "headers" => said.headers = headers(&value)?,
                "content_type" => said.content_type = given(&value)?,
                "reply_to" => said.reply_to = given(&value)?,
                "expires_in" => said.expires_in = given(&value)?.map(|Time(time)| time),
                "deliver_in" => said.deliver_in = given(&value)?.map(|Time(time)| time),
                "deliver_at" => said.deliver_at = given(&value)?.map(|At(time)| time),
                "retain" => said.retain = value.is_truthy()?,
                "idempotency_key" => said.idempotency_key = given(&value)?,
                "format" => format = Some(value).filter(|format| !format.is_none()),
                other => {
                    let text = format!("{function}() got an unexpected keyword argument '{other}'");
                    return Err(PyTypeError::new_err(text));
                }
            }
        }
        Ok((said, format))
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
        let (mut said, format) = Said::read(function, arguments)?;
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
