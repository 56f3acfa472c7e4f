//! Options of a client.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use mezzenger::ClientBuilder;
use mezzenger::asynchronous::Client;
use mezzenger::curve::{KeyFileError, find_public_key, read_key_pair};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::arguments::{Given, number, positive, text};
use crate::errors;
use crate::time::duration;

/// Reads the address and the keyword arguments of a client; those that are `None` keep the library's defaults.
pub(crate) fn read(
    address: &Bound<'_, PyAny>,
    arguments: &Bound<'_, PyDict>,
) -> PyResult<(ClientBuilder, Given)> {
    let py = address.py();
    let mut builder = Client::builder();
    let mut given = Given::default();
    let (mut own, mut server) = (None, None);
    let (mut user, mut password) = (None, None);
    let mut is_named = false;
    // The address comes last: its URL may say another port.
    for (key, value) in arguments {
        if value.is_none() {
            continue;
        }
        let key = key.cast_into::<PyString>()?;
        let name = key.to_str()?;
        // No error shows that.
        if name != "password" {
            given.note(name, &value);
        }
        builder = match name {
            "port" => builder.port(number(name, &value)?),
            "send_timeout" => builder.send_timeout(duration(name, &value)?),
            "connection_retries" => builder.connection_retries(number(name, &value)?),
            "client_name" => {
                is_named = true;
                builder.client_name(&*text(name, &value, "InvalidOption")?)
            }
            "verbose" => builder.verbose(value.is_truthy()?),
            "max_message_size" => builder.max_message_size(number(name, &value)?),
            "window" => builder.window(number(name, &value)?),
            "buffer_bytes" => builder.buffer_bytes(positive(name, &value)?),
            "target_delay" => builder.target_delay(duration(name, &value)?),
            "curve_key" => {
                own = Some(value.extract::<PathBuf>()?);
                builder
            }
            "server_key" => {
                server = Some(value.extract::<PathBuf>()?);
                builder
            }
            "user" => {
                user = Some((*text(name, &value, "InvalidOption")?).to_owned());
                builder
            }
            "password" => {
                password = Some((*text(name, &value, "InvalidOption")?).to_owned());
                builder
            }
            "verify_checksums" => builder.verify_checksums(value.is_truthy()?),
            other => {
                let text = format!("Client() got an unexpected keyword argument '{other}'");
                return Err(PyTypeError::new_err(text));
            }
        };
    }
    if !is_named {
        builder = builder.client_name(script_name(py));
    }
    match (own, server) {
        (None, None) => {}
        (Some(own), Some(server)) => {
            let unusable = |name| {
                move |error: KeyFileError| {
                    errors::new(py, "InvalidOption", format!("{name}: {error}"))
                }
            };
            let own = read_key_pair(own).map_err(unusable("curve_key"))?;
            builder = builder.curve(own, find_public_key(server).map_err(unusable("server_key"))?);
        }
        _ => {
            let text = "curve_key and server_key belong together: this client's NAME.key_secret, and the server's public key";
            return Err(errors::new(py, "InvalidOption", text));
        }
    }
    match (user, password) {
        (None, None) => {}
        (Some(user), Some(password)) => builder = builder.plain(user, password),
        _ => {
            let text = "user and password belong together: the name and the password of a user that the server knows";
            return Err(errors::new(py, "InvalidOption", text));
        }
    }
    given.note("address", address);
    Ok((builder.server_address(&*text("address", address, "InvalidOption")?), given))
}

/// What the script is called: its file, or the package that runs as a program. `python` where there is neither.
fn script_name(py: Python<'_>) -> String {
    let argv = py.import("sys").and_then(|sys| sys.getattr("argv")?.get_item(0)?.extract());
    let path: PathBuf = argv.unwrap_or_default();
    let name = match path.file_name() {
        Some(name) if name == "__main__.py" => path.parent().and_then(Path::file_name),
        // What `python -c` says of itself.
        Some(name) if name == "-c" => None,
        name => name,
    };
    name.map_or("python".into(), OsStr::to_string_lossy).into_owned()
}
