//! The clients of a run: where they connect to, and what fails on their own threads.

use std::sync::{Arc, Mutex, PoisonError};

use mezzenger::{Client, ConnectError, Failure};

use crate::args::Settings;
use crate::child::ChildServer;

/// Notes that are kept with their text; further ones are only counted.
const NOTES_KEPT_MAX: usize = 5;

/// A client that did not connect.
#[derive(Debug, thiserror::Error)]
#[error("{who} {index}: {source}")]
pub(crate) struct ClientError {
    who: &'static str,
    index: u16,
    source: ConnectError,
}

/// Makes clients for one server.
pub(crate) struct Clients {
    host: String,
    send_port: u16,
    sub_port: u16,
    failures: Arc<Notes>,
    warnings: Arc<Notes>,
}

impl Clients {
    /// For the run's own server, or for the one that the settings name.
    pub(crate) fn new(settings: &Settings, child: Option<&ChildServer>) -> Self {
        let (host, send_port, sub_port) = match (child, &settings.server) {
            (Some(child), _) => {
                let address = child.recv_addr();
                (address.ip().to_string(), address.port(), child.pub_addr().port())
            }
            (None, Some(host)) => (host.clone(), settings.send_port, settings.sub_port),
            (None, None) => ("127.0.0.1".to_owned(), settings.send_port, settings.sub_port),
        };
        Self { host, send_port, sub_port, failures: Arc::default(), warnings: Arc::default() }
    }

    /// A client that only publishes.
    pub(crate) fn publisher(&self, index: u16) -> Result<Client, ClientError> {
        self.connect("publisher", index, false)
    }

    /// A client that receives.
    pub(crate) fn subscriber(&self, index: u16) -> Result<Client, ClientError> {
        self.connect("subscriber", index, true)
    }

    fn connect(
        &self,
        who: &'static str,
        index: u16,
        receives: bool,
    ) -> Result<Client, ClientError> {
        let (failures, warnings) = (Arc::clone(&self.failures), Arc::clone(&self.warnings));
        Client::builder()
            .server_address(&self.host)
            .send_port(self.send_port)
            .sub_port(self.sub_port)
            .auto_start(receives)
            .on_error(move |failure| {
                // The server delivers those again, and duplicates are counted.
                let harmless = matches!(failure, Failure::AcksDropped { .. });
                let notes = if harmless { &warnings } else { &failures };
                notes.add(|| format!("{who} {index}: {failure}"));
            })
            .connect()
            .map_err(|source| ClientError { who, index, source })
    }

    /// What failed so far, as lines for a person.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lines()
    }

    /// What went wrong so far without harm, as lines for a person.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lines()
    }
}

/// The first lines, and a count of the others.
#[derive(Debug, Default)]
struct Notes {
    kept: Mutex<(Vec<String>, usize)>,
}

impl Notes {
    fn add(&self, text: impl FnOnce() -> String) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0.len() < NOTES_KEPT_MAX {
            kept.0.push(text());
        } else {
            kept.1 += 1;
        }
    }

    fn lines(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let more = (kept.1 > 0).then(|| format!("and {} more like these", kept.1));
        kept.0.iter().cloned().chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded() {
        let notes = Notes::default();
        assert!(notes.lines().is_empty());
        for index in 0..8 {
            notes.add(|| format!("note {index}"));
        }
        let lines = notes.lines();
        assert_eq!(lines.len(), NOTES_KEPT_MAX + 1);
        assert_eq!(lines[NOTES_KEPT_MAX], "and 3 more like these");
    }
}
