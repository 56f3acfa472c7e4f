//! What the two clients share: the commands, which `docs/interop.md` describes.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, Write};
use std::time::Duration;

/// Why a command was not carried out.
pub enum Failure {
    /// The library has no such thing.
    Unsupported(String),
    /// It was tried, and this came of it.
    Failed(String),
}

impl Failure {
    /// What a library says.
    pub fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// How to open a socket.
#[derive(Default)]
pub struct Settings {
    /// The interval between PINGs; time to live and timeout are ten times that.
    pub heartbeat: Option<Duration>,
    /// `ZMQ_REQ_CORRELATE` and `ZMQ_REQ_RELAXED`.
    pub correlate: bool,
    /// The socket's identity.
    pub identity: Option<String>,
    /// The keys of CURVE.
    pub curve: Option<Curve>,
}

/// The keys of a client with CURVE, in Z85.
pub struct Curve {
    /// Its own public one.
    pub public: String,
    /// Its own secret one.
    pub secret: String,
    /// The server's public one.
    pub server: String,
}

impl Curve {
    /// Reads the files of the option: the client's own, a comma, the server's.
    fn read(files: &str) -> Result<Self, Failure> {
        let (own, server) =
            files.split_once(',').ok_or_else(|| Failure::failed("curve takes two files"))?;
        Ok(Self {
            public: key_of(own, "public-key")?,
            secret: key_of(own, "secret-key")?,
            server: key_of(server, "public-key")?,
        })
    }
}

fn key_of(file: &str, field: &str) -> Result<String, Failure> {
    let text = fs::read_to_string(file).map_err(Failure::failed)?;
    let key = text.lines().find_map(|line| {
        let key = line.trim().strip_prefix(field)?.trim_start().strip_prefix('=')?;
        Some(key.trim().trim_matches('"').to_owned())
    });
    key.ok_or_else(|| Failure::Failed(format!("no {field} in {file}")))
}

/// The kinds of socket that the server serves.
#[derive(Clone, Copy)]
pub enum Kind {
    /// One request at a time.
    Req,
    /// Requests with an envelope.
    Dealer,
    /// Subscriptions.
    Sub,
}

/// A library's socket.
pub trait Socket: Sized {
    /// The library, with its version.
    const VERSION: &str;

    /// Connects a new socket.
    fn open(kind: Kind, endpoint: &str, settings: &Settings) -> Result<Self, Failure>;
    /// Subscribes to a prefix.
    fn subscribe(&mut self, prefix: &str) -> Result<(), Failure>;
    /// Ends a subscription.
    fn unsubscribe(&mut self, prefix: &str) -> Result<(), Failure>;
    /// Sends a message of these frames.
    fn send(&mut self, frames: Vec<Vec<u8>>) -> Result<(), Failure>;
    /// The frames of the next message; `None` when none came in time.
    fn receive(&mut self, timeout: Duration) -> Result<Option<Vec<Vec<u8>>>, Failure>;
}

/// Carries out the commands of the standard input.
pub fn serve<S: Socket>() {
    let mut sockets = HashMap::new();
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        let step = words[0];
        let answer = match run::<S>(&mut sockets, &words) {
            Ok(further) => format!(r#"{{"step":"{step}","ok":true{further}}}"#),
            Err(failure) => {
                let (unsupported, detail) = match failure {
                    Failure::Unsupported(detail) => (true, detail),
                    Failure::Failed(detail) => (false, detail),
                };
                let detail = detail.replace(['"', '\\', '\n'], "'");
                format!(
                    r#"{{"step":"{step}","ok":false,"unsupported":{unsupported},"detail":"{detail}"}}"#
                )
            }
        };
        writeln!(out, "{answer}").unwrap();
        out.flush().unwrap();
    }
}

fn run<S: Socket>(sockets: &mut HashMap<String, S>, words: &[&str]) -> Result<String, Failure> {
    if words == ["version"] {
        return Ok(format!(r#","detail":"{}""#, S::VERSION));
    }
    if let ["open", name, kind, endpoint, options @ ..] = words {
        let kind = match *kind {
            "REQ" => Kind::Req,
            "DEALER" => Kind::Dealer,
            _ => Kind::Sub,
        };
        let socket = S::open(kind, endpoint, &settings(options)?)?;
        sockets.insert((*name).to_owned(), socket);
        return Ok(String::new());
    }
    if let ["close", name] = words {
        sockets.remove(*name);
        return Ok(String::new());
    }
    let unknown = || Failure::Failed(format!("unknown command {words:?}"));
    let socket = words.get(1).and_then(|name| sockets.get_mut(*name)).ok_or_else(unknown)?;
    match *words {
        ["subscribe", _, prefix] => socket.subscribe(prefix)?,
        ["unsubscribe", _, prefix] => socket.unsubscribe(prefix)?,
        ["send", _, ref paths @ ..] => {
            let frames: Result<_, _> = paths.iter().map(fs::read).collect();
            socket.send(frames.map_err(Failure::failed)?)?;
        }
        ["receive", _, timeout_ms, directory] => {
            let timeout = Duration::from_millis(timeout_ms.parse().map_err(Failure::failed)?);
            let frames = socket.receive(timeout)?.unwrap_or_default();
            for (number, frame) in frames.iter().enumerate() {
                fs::write(format!("{directory}/{number}"), frame).map_err(Failure::failed)?;
            }
            return Ok(format!(r#","frames":{}"#, frames.len()));
        }
        _ => return Err(unknown()),
    }
    Ok(String::new())
}

fn settings(options: &[&str]) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("heartbeat", interval_ms) => {
                let interval_ms = interval_ms.parse().map_err(Failure::failed)?;
                settings.heartbeat = Some(Duration::from_millis(interval_ms));
            }
            ("correlate", _) => settings.correlate = true,
            ("curve", files) => settings.curve = Some(Curve::read(files)?),
            ("identity", identity) => settings.identity = Some(identity.to_owned()),
            _ => return Err(Failure::Failed(format!("unknown option {option}"))),
        }
    }
    Ok(settings)
}
