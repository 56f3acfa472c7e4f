//! Where settings come from: the configuration file, variables, and the command line, each before the one named first.
//!
//! What settings there are, what they are called, what they mean and their defaults stand in [`Settings`] alone. A setting
//! `--retry-interval` is the key `retry-interval` in the file and the variable `MEZZENGER_RETRY_INTERVAL`: both become
//! arguments ahead of those of the command line, the last of which counts.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, CommandFactory, FromArgMatches};
use mezzenger::escape_hidden;
use toml::de::{DeTable, DeValue};

use crate::{Args, LIVE, Settings};

/// What the names of variables begin with.
const PREFIX: &str = "MEZZENGER_";

/// The mode bits that let others than a file's owner write it.
const OTHERS_WRITE: u32 = 0o022;

/// Longest line of a comment in a printed configuration.
const LINE_CHARS: usize = 100;

/// Why a configuration cannot be used.
#[derive(Debug)]
pub(crate) struct Problem(pub(crate) String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Problem {}

/// The whole command line. A switch can be switched off, too: `--insecure=false`.
pub(crate) fn command() -> Command {
    switches(Args::command())
}

/// What the file and variables can say.
fn settings() -> Command {
    switches(raw_settings())
}

fn raw_settings() -> Command {
    Settings::augment_args(Command::new("settings")).disable_help_flag(true)
}

fn switches(command: Command) -> Command {
    let settings = raw_settings();
    command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue if settings.get_arguments().any(|own| own.get_id() == arg.get_id()) => {
            arg.action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .value_name("true|false")
                .hide_default_value(true)
                .hide_possible_values(true)
        }
        _ => arg,
    })
}

/// The variable of a setting.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('-', "_"))
}

/// A setting that a file or a variable has.
struct Said {
    key: String,
    value: OsString,
    origin: String,
}

/// The settings that count.
pub(crate) struct Loaded {
    pub(crate) args: Args,
    matches: ArgMatches,
    /// Where those of files and variables were said, by key.
    origins: BTreeMap<String, String>,
}

/// Reads the command line alone.
///
/// # Errors
/// What clap says, help and versions among it.
pub(crate) fn command_line(arguments: &[OsString]) -> Result<Args, clap::Error> {
    Args::from_arg_matches(&command().try_get_matches_from(arguments)?)
}

/// The configuration file: that of the command line, or of `MEZZENGER_CONFIG`.
pub(crate) fn file(args: &Args) -> Option<PathBuf> {
    let variable = || env::var_os(variable("config")).filter(|path| !path.is_empty());
    args.config.clone().or_else(|| variable().map(PathBuf::from))
}

/// Reads the file, the variables and the command line.
///
/// # Errors
/// What cannot be used, and where it stands.
pub(crate) fn load(arguments: &[OsString], file: Option<&Path>) -> Result<Loaded, Problem> {
    let mut said = match file {
        Some(path) => read(path)?,
        None => Vec::new(),
    };
    said.extend(variables(|name| env::var_os(name)));
    merge(arguments, said)
}

/// What the variables say; an empty one says nothing.
fn variables(get: impl Fn(&str) -> Option<OsString>) -> Vec<Said> {
    let mut said = Vec::new();
    for key in settings().get_arguments().filter_map(Arg::get_long) {
        let origin = variable(key);
        if let Some(value) = get(&origin).filter(|value| !value.is_empty()) {
            said.push(Said { key: key.to_owned(), value, origin });
        }
    }
    said
}

/// What the file says.
fn read(path: &Path) -> Result<Vec<Said>, Problem> {
    let shown = path.display();
    let mut text = String::new();
    let read = File::open(path).and_then(|mut file| {
        let about = file.metadata()?;
        file.read_to_string(&mut text)?;
        Ok(about)
    });
    let about = read
        .map_err(|error| Problem(format!("cannot read the configuration file {shown}: {error}")))?;
    let mode = about.mode() & 0o7777;
    if about.is_file() && mode & OTHERS_WRITE != 0 {
        return Err(Problem(format!(
            "{shown} has mode {mode:04o}, and whoever may write it decides what the server does: run chmod go-w {shown}"
        )));
    }
    parse(&text, &shown.to_string())
}

fn parse(text: &str, file: &str) -> Result<Vec<Said>, Problem> {
    let line = |at: usize| text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let what = escape_hidden(&error.message().replace('\n', ", "));
        Problem(format!("{file}:{}: this is no TOML: {what}", line(at)))
    })?;
    let known = settings();
    let mut said = Vec::new();
    for (key, value) in table.get_ref() {
        let origin = format!("{file}:{}", line(key.span().start));
        let name: &str = key.get_ref();
        if !known.get_arguments().any(|arg| arg.get_long() == Some(name)) {
            return Err(Problem(format!("{origin}: there is no setting {name:?}{}", near(name))));
        }
        let value = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(is_on) => is_on.to_string(),
            other => {
                let what = other.type_str();
                let problem = format!(
                    "{origin}: {name} is of type {what}: expected a string, a number, true or false"
                );
                return Err(Problem(problem));
            }
        };
        said.push(Said { key: name.to_owned(), value: value.into(), origin });
    }
    Ok(said)
}

/// What a key may have been meant to be.
fn near(key: &str) -> String {
    let hyphens = key.replace('_', "-");
    if settings().get_arguments().any(|arg| arg.get_long() == Some(&hyphens)) {
        return format!("; did you mean {hyphens}?");
    }
    // The command line looks for what is near.
    let found = settings().try_get_matches_from(["settings", &format!("--{hyphens}=")]).err();
    match found.as_ref().and_then(|error| error.get(ContextKind::SuggestedArg)) {
        Some(ContextValue::String(near)) => {
            format!("; did you mean {}?", near.trim_start_matches('-'))
        }
        _ => "; mezzenger-server --print-config lists all of them".to_owned(),
    }
}

fn argument(key: &str, value: &OsStr) -> OsString {
    let mut argument = OsString::from(format!("--{key}="));
    argument.push(value);
    argument
}

/// Puts settings ahead of the command line's.
fn merge(arguments: &[OsString], said: Vec<Said>) -> Result<Loaded, Problem> {
    let own = command().try_get_matches_from(arguments).map_err(unexpected)?;
    let mut origins = BTreeMap::new();
    if said.is_empty() {
        let args = Args::from_arg_matches(&own).map_err(unexpected)?;
        return Ok(Loaded { args, matches: own, origins });
    }
    let alone = settings();
    let mut all: Vec<_> = arguments.iter().take(1).cloned().collect();
    for Said { key, value, origin } in said {
        let argument = argument(&key, &value);
        let begins = [OsString::from("settings"), argument.clone()];
        if let Err(error) = alone.clone().try_get_matches_from(begins) {
            let why = rule(&error);
            return Err(Problem(format!("{origin}: {key} is {value:?}: {why}")));
        }
        all.push(argument);
        origins.insert(key, origin);
    }
    all.extend(arguments.iter().skip(1).cloned());
    let merged = command().args_override_self(true).try_get_matches_from(&all);
    let matches = merged.map_err(unexpected)?;
    origins.retain(|key, _| own.value_source(&id(key)) != Some(ValueSource::CommandLine));
    let args = Args::from_arg_matches(&matches).map_err(unexpected)?;
    Ok(Loaded { args, matches, origins })
}

fn id(key: &str) -> String {
    key.replace('-', "_")
}

/// The command line was read before, and each setting by itself.
fn unexpected(error: clap::Error) -> Problem {
    Problem(error.to_string())
}

/// Which rule a value broke.
fn rule(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!("expected one of {}", values.join(", "))
        }
        _ => "expected a value".to_owned(),
    }
}

/// A setting as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) key: String,
    /// `None`: it is not set.
    pub(crate) text: Option<OsString>,
    pub(crate) is_default: bool,
    /// Whether it can change while the server runs.
    pub(crate) is_live: bool,
}

impl Value {
    /// The value for people.
    pub(crate) fn shown(&self) -> String {
        let text = self.text.as_deref().map(OsStr::to_string_lossy);
        text.map_or_else(|| "none".to_owned(), |text| text.escape_debug().to_string())
    }
}

impl Loaded {
    /// Adds to a text that names settings where those were said.
    pub(crate) fn explain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let names = |text: &str, key: &str| {
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
            words.into_iter().any(|word| word.strip_prefix("--") == Some(key))
        };
        let said: Vec<_> = self
            .origins
            .iter()
            .filter(|(key, _)| names(&text, key))
            .map(|(key, origin)| format!("{key} is set at {origin}"))
            .collect();
        if !said.is_empty() {
            text.push_str(&format!(" ({})", said.join(", ")));
        }
        text
    }

    /// Every setting, in the order of the help.
    pub(crate) fn values(&self) -> Vec<Value> {
        let mut values = Vec::new();
        for arg in settings().get_arguments() {
            let (Some(key), id) = (arg.get_long(), arg.get_id().as_str()) else { continue };
            let text = self.matches.get_raw(id).and_then(|mut all| all.next_back());
            let source = self.matches.value_source(id);
            values.push(Value {
                key: key.to_owned(),
                text: text.map(OsStr::to_owned),
                is_default: source.is_none_or(|source| source == ValueSource::DefaultValue),
                is_live: arg.get_help_heading() == Some(LIVE),
            });
        }
        values
    }

    /// The configuration as a file that reads back to the same.
    ///
    /// # Errors
    /// A path that is no UTF-8.
    pub(crate) fn print(&self) -> Result<String, Problem> {
        let version = env!("CARGO_PKG_VERSION");
        let mut text = String::new();
        comment(
            &format!(
                "The settings of mezzenger-server {version}. Those that are commented out have their defaults. A flag, such \
                 as --retry-interval=5s, counts before a variable, MEZZENGER_RETRY_INTERVAL=5s, and that before this file."
            ),
            &mut text,
        );
        let (command, values) = (settings(), self.values());
        for is_live in [false, true] {
            let head = if is_live { "These change with a reload" } else { "These take a restart" };
            text.push_str(&format!("\n## {head}.\n"));
            for value in values.iter().filter(|value| value.is_live == is_live) {
                let key = value.key.as_str();
                let arg = command.get_arguments().find(|arg| arg.get_long() == Some(key));
                let help = arg.and_then(|arg| arg.get_long_help().or(arg.get_help()));
                text.push('\n');
                comment(&help.map(ToString::to_string).unwrap_or_default(), &mut text);
                let name = arg.and_then(Arg::get_value_names).and_then(|names| names.first());
                let (shown, is_comment) = match &value.text {
                    Some(said) => {
                        let Some(said) = said.to_str() else {
                            let problem = format!(
                                "{key} is {said:?}, which is no UTF-8: a file cannot hold it"
                            );
                            return Err(Problem(problem));
                        };
                        (bare(said), value.is_default)
                    }
                    None => (bare(name.map_or("", |name| name.as_str())), true),
                };
                let mark = if is_comment { "#" } else { "" };
                text.push_str(&format!("{mark}{key} = {shown}\n"));
            }
        }
        Ok(text)
    }
}

/// A value in TOML: numbers, true and false as they are.
fn bare(text: &str) -> String {
    let is_number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    if is_number || text == "true" || text == "false" {
        return text.to_owned();
    }
    toml::Value::String(text.to_owned()).to_string()
}

/// Appends a text as lines of a comment.
fn comment(text: &str, to: &mut String) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > LINE_CHARS {
            to.push_str(&line);
            to.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    to.push_str(&line);
    to.push('\n');
}

/// An address to listen on, without a port.
pub(crate) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address such as 127.0.0.1, no host name and no port: those are --pub-port and --recv-port"
            .to_owned()
    })
}

/// An address to listen on, with a port.
pub(crate) fn http_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, such as 127.0.0.1:7280 or [::1]:7280".to_owned()
    })
}

#[cfg(test)]
mod tests;
