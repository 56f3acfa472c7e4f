//! The configuration file is read again while the server runs: what can change does, and the log says what.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use mezzenger::ControlHandle;
use tracing_subscriber::filter::Targets;

use crate::config::{self, Loaded, Value};
use crate::{log_filter, rust_log, start_config, systemd};

/// Changes what is logged.
type SetFilter = Box<dyn Fn(Targets) -> Result<(), tracing_subscriber::reload::Error> + Send>;

/// What a reload compares with, and changes.
pub(crate) struct Reload {
    arguments: Vec<OsString>,
    file: PathBuf,
    /// The settings that count now.
    values: BTreeMap<String, Value>,
    set_filter: SetFilter,
}

impl Reload {
    /// Of the settings that a server starts with.
    pub(crate) fn new(
        arguments: Vec<OsString>,
        file: PathBuf,
        loaded: &Loaded,
        set_filter: SetFilter,
    ) -> Self {
        Self { arguments, file, values: by_key(loaded), set_filter }
    }

    /// Reads the file again; a server that is still starting goes on with what it read.
    pub(crate) fn reload(&mut self, server: Option<&ControlHandle>) {
        let Some(server) = server else {
            tracing::warn!("the server is still starting: send SIGHUP again once it is ready");
            return;
        };
        systemd::reloading();
        if let Err(error) = self.change(server) {
            tracing::error!("all settings stay as they are: {error}");
        }
        systemd::ready_again();
    }

    fn change(&mut self, server: &ControlHandle) -> Result<(), Box<dyn Error>> {
        let loaded = config::load(&self.arguments, Some(&self.file))?;
        let filter = log_filter(&loaded.args)?;
        let (config, _) = start_config(&loaded)?;
        server.reconfigure(&config)?;
        (self.set_filter)(filter)?;
        let mut is_same = true;
        for (key, new) in by_key(&loaded) {
            let Some(old) = self.values.get_mut(&key) else { continue };
            if old.text == new.text {
                continue;
            }
            is_same = false;
            let (from, to) = (old.shown(), new.shown());
            if !new.is_live {
                tracing::warn!("{key} stays {from}; {to} counts after a restart of the server");
            } else {
                let overrides = key == "log-level" && (loaded.args.verbose || rust_log().is_some());
                let but = if overrides { ", but --verbose or RUST_LOG counts first" } else { "" };
                tracing::info!("{key} changed from {from} to {to}{but}");
                *old = new;
            }
        }
        if is_same {
            tracing::info!("read {} again: nothing changed", self.file.display());
        }
        Ok(())
    }
}

fn by_key(loaded: &Loaded) -> BTreeMap<String, Value> {
    loaded.values().into_iter().map(|value| (value.key.clone(), value)).collect()
}
