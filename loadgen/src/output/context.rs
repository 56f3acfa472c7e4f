//! The context of a run, known before it starts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use loadgen::report::{Disk, Environment};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::args::Settings;

/// Where, with what and how is measured.
pub(crate) struct Context {
    pub(crate) environment: Environment,
    /// Of the folder that the run's own server keeps messages in.
    pub(crate) disk: Option<Disk>,
    /// The program, as it was called.
    pub(crate) command: String,
}

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    /// The folder for messages does not take a file.
    #[error("--persist-file {}: its folder takes no file: {source}; name one in another", file.display())]
    Folder {
        /// The file for messages.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The settings do not fit into JSON.
    #[error("the settings cannot be recorded: {0}; use names that are UTF-8")]
    Settings(serde_json::Error),
}

impl Context {
    /// Looks around, and measures how fast the folder for messages syncs.
    pub(crate) fn new(settings: &Settings) -> Result<Self, ContextError> {
        // Better found before the run than after it.
        config(settings)?;
        let disk = match &settings.target.own.persist_file {
            Some(path) => Some(disk(path)?),
            None => None,
        };
        Ok(Self {
            environment: Environment::here(),
            disk,
            command: command(std::env::args_os().map(|arg| arg.to_string_lossy().into_owned())),
        })
    }
}

fn disk(file: &Path) -> Result<Disk, ContextError> {
    let folder = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    Disk::measure(folder).map_err(|source| ContextError::Folder { file: file.to_owned(), source })
}

/// The settings as they stand in the result.
pub(super) fn config(settings: &Settings) -> Result<BTreeMap<String, Value>, ContextError> {
    fields(settings).map_err(ContextError::Settings)
}

/// The fields of a struct by their names.
pub(super) fn fields<T: DeserializeOwned>(of: impl Serialize) -> serde_json::Result<T> {
    serde_json::from_value(serde_json::to_value(of)?)
}

/// What to type to run this again. The program is named without its folder.
fn command(args: impl Iterator<Item = String>) -> String {
    let args: Vec<String> = args.skip(1).collect();
    let args = args.iter().map(String::as_str);
    // A null character, which it would fail on, cannot be in an argument.
    shlex::try_join(std::iter::once("loadgen").chain(args)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_again() {
        let args = ["/somewhere/loadgen", "--pubs", "8", "--csv", "my file.csv"];
        let text = command(args.into_iter().map(ToOwned::to_owned));
        assert_eq!(text, "loadgen --pubs 8 --csv 'my file.csv'");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = disk(Path::new("no-such-folder/journal")).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains(" no-such-folder/journal: ")));
        assert!(disk(Path::new("journal")).is_ok(), "the folder is where the program runs");
    }
}
