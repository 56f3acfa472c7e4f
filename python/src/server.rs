//! The broker in this process.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mezzenger::curve::{KeyFileError, ServerKeys, read_authorized_keys, read_key_pair};
use mezzenger::{Config, FsyncPolicy, SlowSubscriber, Verify};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::errors::{self, OrRaise};
use crate::time::Time;

/// The broker in this process, for tests and small programs.
#[pyclass(subclass, frozen, module = "mezzenger._core")]
pub(crate) struct Server {
    server: Mutex<Option<mezzenger::Server>>,
    host: String,
    pub_port: u16,
    recv_port: u16,
}

impl Server {
    fn lock(&self) -> MutexGuard<'_, Option<mezzenger::Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value that is said as text, as on the command line.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    value: &Bound<'_, PyAny>,
) -> PyResult<T> {
    let text: String = value.extract()?;
    text.parse().map_err(|error| {
        errors::new(value.py(), "ServerConfigError", format!("{name} is {text:?}: {error}"))
    })
}

fn config(py: Python<'_>, arguments: Option<&Bound<'_, PyDict>>) -> PyResult<Config> {
    // Free ports, since several may run at the same time.
    let mut config = Config { pub_port: 0, recv_port: 0, ..Config::default() };
    let (mut secret, mut authorized) = (None, None);
    for (key, value) in arguments.into_iter().flatten() {
        if value.is_none() {
            continue;
        }
        let time = || value.extract::<Time>().map(|Time(time)| time);
        let key = key.cast_into::<PyString>()?;
        match key.to_str()? {
            "bind" => config.bind = parsed("bind", &value)?,
            "pub_port" => config.pub_port = value.extract()?,
            "recv_port" | "port" => config.recv_port = value.extract()?,
            "persist_file" => config.persist_file = Some(value.extract()?),
            "fsync" => config.fsync = parsed::<FsyncPolicy>("fsync", &value)?,
            "repair" => config.repair = value.is_truthy()?,
            "retry_interval" => config.retry_interval = time()?,
            "idempotency_window" => config.idempotency_window = time()?,
            "max_pending_messages" => config.max_pending_messages = value.extract()?,
            "max_pending_bytes" => config.max_pending_bytes = value.extract()?,
            "max_message_size" => config.max_message_bytes = value.extract()?,
            "max_connections" => config.max_connections = value.extract()?,
            "max_connections_per_address" => {
                config.max_connections_per_address = value.extract()?;
            }
            "slow_subscriber" => {
                config.slow_subscriber = parsed::<SlowSubscriber>("slow_subscriber", &value)?;
            }
            "verify" => config.verify = parsed::<Verify>("verify", &value)?,
            "drain_timeout" => config.drain_timeout = time()?,
            "curve_secret" => secret = Some(value.extract::<PathBuf>()?),
            "authorized_keys" => authorized = Some(value.extract::<PathBuf>()?),
            "insecure" => config.insecure = value.is_truthy()?,
            other => {
                let text = format!("Server() got an unexpected keyword argument '{other}'");
                return Err(PyTypeError::new_err(text));
            }
        }
    }
    match (secret, authorized) {
        (None, None) => {}
        (Some(secret), Some(authorized)) => {
            let unusable = |error: KeyFileError| errors::new(py, "ServerConfigError", error);
            config.curve = Some(ServerKeys {
                own: read_key_pair(secret).map_err(unusable)?,
                authorized: read_authorized_keys(authorized).map_err(unusable)?,
            });
        }
        _ => {
            let text = "curve_secret and authorized_keys belong together: the server's NAME.key_secret, and the folder of its clients' public keys";
            return Err(errors::new(py, "ServerConfigError", text));
        }
    }
    Ok(config)
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (**options))]
    fn new(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let config = config(py, options)?;
        let server = py.detach(|| mezzenger::Server::start(&config)).or_raise(py)?;
        let (pub_addr, recv_addr) = (server.pub_addr(), server.recv_addr());
        Ok(Self {
            host: recv_addr.ip().to_string(),
            pub_port: pub_addr.port(),
            recv_port: recv_addr.port(),
            server: Mutex::new(Some(server)),
        })
    }

    /// The address that it listens on.
    #[getter]
    fn host(&self) -> &str {
        &self.host
    }

    /// The port that clients connect to.
    #[getter]
    fn port(&self) -> u16 {
        self.recv_port
    }

    /// The port of the original's subscribers.
    #[getter]
    fn pub_port(&self) -> u16 {
        self.pub_port
    }

    /// What Client() takes.
    #[getter]
    fn url(&self) -> String {
        if self.host.contains(':') {
            return format!("mezzenger://[{}]:{}", self.host, self.recv_port);
        }
        format!("mezzenger://{}:{}", self.host, self.recv_port)
    }

    /// What it counted, by name; None once it was closed.
    fn _metrics(&self, py: Python<'_>) -> PyResult<Option<Py<PyDict>>> {
        let Some(metrics) = self.lock().as_ref().map(mezzenger::Server::metrics) else {
            return Ok(None);
        };
        let counted = PyDict::new(py);
        for (name, count) in [
            ("requests", metrics.requests),
            ("refused", metrics.refused),
            ("accepted", metrics.accepted),
            ("duplicates", metrics.duplicates),
            ("frames_published", metrics.frames_published),
            ("resent", metrics.resent),
            ("settled", metrics.settled),
            ("expired", metrics.expired),
            ("delayed", metrics.delayed),
            ("retained", metrics.retained),
            ("dead_letters", metrics.dead_letters),
            ("pending_messages", metrics.pending_messages),
            ("pending_bytes", metrics.pending_bytes),
        ] {
            counted.set_item(name, count)?;
        }
        Ok(Some(counted.unbind()))
    }

    /// Stops taking messages, finishes what was taken, and ends, within drain_timeout. Closing again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let server = self.lock().take();
        match server {
            Some(server) => py.detach(|| server.shutdown()).or_raise(py),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // To wait for its end would hold the interpreter up.
        if let Some(server) = self.lock().take() {
            server.stop_handle().stop();
            std::thread::spawn(move || drop(server));
        }
    }
}
