//! What log lines look like: for a person at a terminal, for a file or a pipe, for journald, or as JSON.

use std::borrow::Cow;
use std::env;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use clap::ValueEnum;
use mezzenger::{escape_hidden, is_hidden};
use serde_json::json;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::{FmtSpan, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{self, FmtContext};
use tracing_subscriber::registry::LookupSpan;

use super::Log;

/// How the log is written, as one says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Auto,
    Text,
    Json,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// With the time of the day, without colours.
    #[default]
    Plain,
    /// The same in colours.
    Terminal,
    /// With the priority in front, and without a time: journald has its own.
    Journald,
    /// One object a line.
    Json,
}

impl LogFormat {
    /// What fits what stderr is.
    pub(crate) fn style(self) -> Style {
        match self {
            Self::Json => Style::Json,
            Self::Text => Style::Plain,
            Self::Auto if io::stderr().is_terminal() => Style::Terminal,
            Self::Auto if is_journal() => Style::Journald,
            Self::Auto => Style::Plain,
        }
    }
}

/// Whether stderr leads to journald, which says so with the device and the inode of the stream.
fn is_journal() -> bool {
    let Ok(said) = env::var("JOURNAL_STREAM") else { return false };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    stderr
        .and_then(|stderr| stderr.metadata())
        .is_ok_and(|about| said == format!("{}:{}", about.dev(), about.ino()))
}

/// syslog's number of a level, in the form that journald takes off a line.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

fn now() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, and the time of the day is better missing than the line.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

impl Style {
    /// What writes events to this log.
    pub(super) fn layer<S>(self, log: &Log) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        // Its own errors would be written to stderr at once.
        let lines = fmt::layer().with_writer(log.clone()).log_internal_errors(false);
        let lines = lines.with_span_events(FmtSpan::NONE);
        match self {
            Self::Plain => lines.with_ansi(false).boxed(),
            Self::Terminal => lines.with_ansi(true).boxed(),
            Self::Journald => lines.with_ansi(false).event_format(Journald).boxed(),
            Self::Json => lines.json().flatten_event(true).boxed(),
        }
    }

    /// Whole lines of which everything is seen: what clients named may hold characters that turn a line around, or hide
    /// parts of it. ASCII stays, colours among it.
    pub(super) fn seen(self, lines: &[u8]) -> Cow<'_, [u8]> {
        if lines.is_ascii() {
            return lines.into();
        }
        let is_unseen = |char| !char::is_ascii(&char) && is_hidden(char);
        let text = String::from_utf8_lossy(lines);
        let mut out = String::with_capacity(text.len());
        for char in text.chars() {
            match self {
                _ if !is_unseen(char) => out.push(char),
                Self::Json => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                Self::Plain | Self::Terminal | Self::Journald => out.extend(char.escape_unicode()),
            }
        }
        out.into_bytes().into()
    }

    /// Lines that no event makes: the program's last words, and those of the log about itself.
    pub(super) fn lines(self, level: Level, from: &str, text: &str) -> String {
        match self {
            Self::Plain | Self::Terminal => {
                let lines: Vec<_> = text.lines().map(escape_hidden).collect();
                format!("{from}: {}\n", lines.join("\n"))
            }
            Self::Journald => {
                let priority = priority(level);
                let lines = text.lines().map(escape_hidden);
                lines.map(|line| format!("{priority}{from}: {line}\n")).collect()
            }
            Self::Json => {
                let level = level.as_str();
                let line = json!({
                    "timestamp": now(), "level": level, "message": text, "target": "mezzenger_server",
                });
                format!("{line}\n")
            }
        }
    }

    /// The line that tells of lost ones.
    pub(super) fn lost(self, count: usize) -> String {
        let text = format!("{count} log lines lost: stderr did not take them in time");
        match self {
            Self::Plain | Self::Terminal => format!("{}  WARN mezzenger_server: {text}\n", now()),
            Self::Journald | Self::Json => self.lines(Level::WARN, "mezzenger_server", &text),
        }
    }
}

/// Lines as journald wants them.
struct Journald;

impl<S, N> FormatEvent<S, N> for Journald
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        writer.write_str(priority(*event.metadata().level()))?;
        let rest = fmt::format().without_time().with_level(false).with_ansi(false);
        rest.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn nothing_of_a_line_is_hidden_or_turned_around() {
        let line =
            "\u{1b}[32m INFO\u{1b}[0m gr\u{fc}\u{df}e '\u{202e}a\u{200b}\u{2028}\u{e0041}'\n";
        let seen =
            |style: Style| String::from_utf8(style.seen(line.as_bytes()).into_owned()).unwrap();
        let colours = "\u{1b}[32m INFO\u{1b}[0m gr\u{fc}\u{df}e";
        assert_eq!(
            seen(Style::Plain),
            format!("{colours} '\\u{{202e}}a\\u{{200b}}\\u{{2028}}\\u{{e0041}}'\n")
        );
        let json = format!("\"{}\"\n", line.trim_end().replace('\u{1b}', ""));
        let shown = String::from_utf8(Style::Json.seen(json.as_bytes()).into_owned()).unwrap();
        assert!(!shown.chars().any(|char| char != '\n' && is_hidden(char)), "{shown}");
        assert_eq!(
            serde_json::from_str::<Value>(&shown).unwrap(),
            serde_json::from_str::<Value>(&json).unwrap()
        );
    }

    #[test]
    fn what_no_event_makes_has_the_style_too() {
        let text = "it \"failed\"\nand \u{1b}[31m more";
        let line = |style: Style| style.lines(Level::ERROR, "mezzenger-server", text);
        let shown = "mezzenger-server: it \"failed\"\nand \\u{1b}[31m more\n";
        assert_eq!(line(Style::Plain), shown);
        for line in line(Style::Journald).lines() {
            assert!(
                line.starts_with("<3>mezzenger-server: ") && !line.contains('\u{1b}'),
                "{line}"
            );
        }
        let json = line(Style::Json);
        assert_eq!(json.lines().count(), 1);
        assert!(!json.contains('\u{1b}'), "{json}");
        let object: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&object["level"], &object["message"]), (&"ERROR".into(), &text.into()));
        assert!(object["timestamp"].as_str().unwrap().contains('T'));
        let lost: Value = serde_json::from_str(&Style::Json.lost(7)).unwrap();
        assert!(lost["message"].as_str().unwrap().starts_with("7 log lines lost"));
        assert!(Style::Journald.lost(7).starts_with("<4>mezzenger_server: 7 log lines lost"));
    }
}
