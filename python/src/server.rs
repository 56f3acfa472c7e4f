//! The broker in this process.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use mezzenger::curve::{KeyFileError, ServerKeys, read_authorized_keys, read_key_pair};
use mezzenger::{Config, FsyncPolicy, SlowSubscriber, Verify};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::arguments::{number, shown, text};
use crate::errors::{self, OrRaise};
use crate::forks::Process;
use crate::time::duration;

/// The broker in this process, for tests and small programs.
#[pyclass(subclass, frozen, module = "mezzenger._core")]
pub(crate) struct Server {
    server: Mutex<Option<mezzenger::Server>>,
    addresses: OnceLock<Addresses>,
    process: Process,
}

/// Where it listens.
struct Addresses {
    host: String,
    pub_port: u16,
    recv_port: u16,
}

impl Server {
    fn lock(&self) -> MutexGuard<'_, Option<mezzenger::Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self, py: Python<'_>) -> PyResult<&Addresses> {
        self.addresses
            .get()
            .ok_or_else(|| errors::new(py, "ServerError", "the server was not started"))
    }

    /// Takes it out; nothing in the child of a fork, whose parent has it, with its threads.
    fn take(&self) -> Option<mezzenger::Server> {
        let server = self.lock().take()?;
        if self.process.is_this() {
            return Some(server);
        }
        // To drop it would be to wait for a thread that is not here.
        std::mem::forget(server);
        None
    }
}

/// A value that is said as text, as on the command line.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    value: &Bound<'_, PyAny>,
) -> PyResult<T> {
    let said = text(name, value, "ServerConfigError")?;
    said.parse().map_err(|error| {
        errors::new(value.py(), "ServerConfigError", format!("{name}={}: {error}", shown(value)))
    })
}

fn config(py: Python<'_>, arguments: &Bound<'_, PyDict>) -> PyResult<Config> {
    // Free ports, since several may run at the same time.
    let mut config = Config { pub_port: 0, recv_port: 0, ..Config::default() };
    let (mut secret, mut authorized) = (None, None);
    for (key, value) in arguments {
        if value.is_none() {
            continue;
        }
        let key = key.cast_into::<PyString>()?;
        let key = key.to_str()?;
        let time = || duration(key, &value);
        match key {
            "bind" => config.bind = parsed("bind", &value)?,
            "pub_port" => config.pub_port = number(key, &value)?,
            "port" => config.recv_port = number(key, &value)?,
            "persist_file" => config.persist_file = Some(value.extract()?),
            "fsync" => config.fsync = parsed::<FsyncPolicy>("fsync", &value)?,
            "repair" => config.repair = value.is_truthy()?,
            "retry_interval" => config.retry_interval = time()?,
            "idempotency_window" => config.idempotency_window = time()?,
            "max_pending_messages" => config.max_pending_messages = number(key, &value)?,
            "max_pending_bytes" => config.max_pending_bytes = number(key, &value)?,
            "max_message_size" => config.max_message_bytes = number(key, &value)?,
            "max_connections" => config.max_connections = number(key, &value)?,
            "max_connections_per_address" => {
                config.max_connections_per_address = number(key, &value)?;
            }
            "slow_subscriber" => {
                config.slow_subscriber = parsed::<SlowSubscriber>("slow_subscriber", &value)?;
            }
            "verify" => config.verify = parsed::<Verify>("verify", &value)?,
            "drain_timeout" => config.drain_timeout = time()?,
            "curve_secret" => secret = Some(value.extract::<PathBuf>()?),
            "authorized_keys" => authorized = Some(value.extract::<PathBuf>()?),
            "access" => {
                let access = mezzenger_server::read_access(value.extract::<PathBuf>()?);
                let unusable = |error| errors::new(py, "ServerConfigError", error);
                config.access = Some(access.map_err(unusable)?);
            }
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
    /// What it is started with comes with `_start`.
    #[new]
    #[pyo3(signature = (*_arguments, **_options))]
    fn new(_arguments: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> Self {
        let (server, addresses) = Default::default();
        Self { server, addresses, process: Process::this() }
    }

    /// Starts it, once.
    fn _start(&self, py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<()> {
        let config = config(py, options)?;
        let server = py.detach(|| mezzenger::Server::start(&config)).or_raise(py)?;
        let (pub_addr, recv_addr) = (server.pub_addr(), server.recv_addr());
        let addresses = Addresses {
            host: recv_addr.ip().to_string(),
            pub_port: pub_addr.port(),
            recv_port: recv_addr.port(),
        };
        if self.addresses.set(addresses).is_err() {
            py.detach(|| drop(server));
            let text = "the server was started before: make another one";
            return Err(errors::new(py, "ServerError", text));
        }
        *self.lock() = Some(server);
        Ok(())
    }

    /// The address that it listens on.
    #[getter]
    fn host(&self, py: Python<'_>) -> PyResult<&str> {
        self.addresses(py).map(|it| &*it.host)
    }

    /// The port that clients connect to.
    #[getter]
    fn port(&self, py: Python<'_>) -> PyResult<u16> {
        self.addresses(py).map(|it| it.recv_port)
    }

    /// The port of the original's subscribers.
    #[getter]
    fn pub_port(&self, py: Python<'_>) -> PyResult<u16> {
        self.addresses(py).map(|it| it.pub_port)
    }

    /// What Client() takes.
    #[getter]
    fn url(&self, py: Python<'_>) -> PyResult<String> {
        let Addresses { host, recv_port, .. } = self.addresses(py)?;
        Ok(match host.contains(':') {
            true => format!("mezzenger://[{host}]:{recv_port}"),
            false => format!("mezzenger://{host}:{recv_port}"),
        })
    }

    /// Whether close() was called.
    #[getter]
    fn closed(&self) -> bool {
        self.lock().is_none()
    }

    /// What it counted, by name; None once it was closed.
    fn _metrics(&self, py: Python<'_>) -> PyResult<Option<Py<PyDict>>> {
        self.process.check(py, "server")?;
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

    /// Stops taking messages, finishes what was taken, and ends, within drain_timeout. Closing again does nothing, nor does closing in the
    /// child of a fork: the server is its parent's.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.take() {
            Some(server) => py.detach(|| server.shutdown()).or_raise(py),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // To wait for its end would hold the interpreter up.
        if let Some(server) = self.take() {
            server.stop_handle().stop();
            std::thread::spawn(move || drop(server));
        }
    }
}
