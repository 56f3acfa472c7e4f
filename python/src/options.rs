//! What a client is made with.

use std::path::PathBuf;

use mezzenger::ClientBuilder;
use mezzenger::asynchronous::Client;
use mezzenger::curve::{KeyFileError, find_public_key, read_key_pair};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::errors;
use crate::time::Time;

/// Reads the keyword arguments of a client; those that are `None` keep the library's defaults.
pub(crate) fn read(
    py: Python<'_>,
    address: &str,
    arguments: Option<&Bound<'_, PyDict>>,
) -> PyResult<ClientBuilder> {
    let mut builder = Client::builder();
    let (mut own, mut server) = (None, None);
    // The address comes last: its URL may say another port.
    for (key, value) in arguments.into_iter().flatten() {
        if value.is_none() {
            continue;
        }
        let key = key.cast_into::<PyString>()?;
        builder = match key.to_str()? {
            "port" => builder.port(value.extract()?),
            "send_timeout" => builder.send_timeout(value.extract::<Time>()?.0),
            "connection_retries" => builder.connection_retries(value.extract()?),
            "verbose" => builder.verbose(value.is_truthy()?),
            "max_message_size" => builder.max_message_size(value.extract()?),
            "window" => builder.window(value.extract()?),
            "buffer_bytes" => builder.buffer_bytes(value.extract()?),
            "target_delay" => builder.target_delay(value.extract::<Time>()?.0),
            "curve_key" => {
                own = Some(value.extract::<PathBuf>()?);
                builder
            }
            "server_key" => {
                server = Some(value.extract::<PathBuf>()?);
                builder
            }
            "verify_checksums" => builder.verify_checksums(value.is_truthy()?),
            other => {
                let text = format!("Client() got an unexpected keyword argument '{other}'");
                return Err(PyTypeError::new_err(text));
            }
        };
    }
    match (own, server) {
        (None, None) => {}
        (Some(own), Some(server)) => {
            let unusable = |error: KeyFileError| errors::new(py, "InvalidOption", error);
            let own = read_key_pair(own).map_err(unusable)?;
            builder = builder.curve(own, find_public_key(server).map_err(unusable)?);
        }
        _ => {
            let text = "curve_key and server_key belong together: this client's NAME.key_secret, and the server's public key";
            return Err(errors::new(py, "InvalidOption", text));
        }
    }
    Ok(builder.server_address(address))
}
