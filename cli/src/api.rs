//! The server's API over HTTP: what `--http` of the server opens.

use std::fmt::Display;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use crate::error::Error;
use crate::show;

/// Bytes of an answer: a part of a list has at most 256 entries, each of a few names.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Entries of a part of a list: as many as the server gives.
const PART: usize = 256;

/// Bytes of a file with a token, which is one line.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Where the server tells of itself.
#[derive(Args, Clone)]
pub(crate) struct ApiArgs {
    /// Where the server listens for HTTP: its --http, as ADDRESS:PORT or as a URL.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:7280",
        env = "MEZZENGER_HTTP"
    )]
    http: String,

    /// File with the server's token: its --http-token-file.
    #[arg(long, global = true, value_name = "FILE", env = "MEZZENGER_HTTP_TOKEN_FILE")]
    http_token_file: Option<PathBuf>,
}

/// Asks a server.
pub(crate) struct Api {
    agent: Agent,
    /// Without a slash at its end.
    url: String,
    token: Option<String>,
}

impl ApiArgs {
    /// A client of the API. `timeout`: for each request.
    ///
    /// # Errors
    /// The address is none, or the token cannot be read.
    pub(crate) fn api(&self, timeout: Duration) -> Result<Api, Error> {
        let (scheme, host) = self.http.split_once("://").unwrap_or(("http", &self.http));
        let host = host.strip_suffix('/').unwrap_or(host);
        if scheme != "http" || host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            return Err(Error::ApiUrl { url: self.http.clone() });
        }
        let url = format!("http://{host}");
        let token = self.http_token_file.as_deref().map(read_token).transpose()?;
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // It is this machine's, or one of its network.
            .proxy(None)
            .max_redirects(0)
            .user_agent(concat!("mezzenger/", env!("CARGO_PKG_VERSION")));
        Ok(Api { agent: config.build().into(), url, token })
    }
}

fn read_token(file: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::File { path: file.to_owned(), source };
    let mut text = String::new();
    let open = fs::File::open(file).map_err(unreadable)?;
    open.take(TOKEN_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    let token = text.trim_end_matches(['\n', '\r']);
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::ApiToken { path: file.to_owned() });
    }
    Ok(token.to_owned())
}

impl Api {
    /// Where it asks.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What stands at a path of the API.
    ///
    /// # Errors
    /// There is no server, or it rejects.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Error> {
        let mut request = self.agent.get(format!("{}/api/v1/{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        self.read(path, request.call())
    }

    /// Changes something.
    ///
    /// # Errors
    /// There is no server, or it rejects.
    pub(crate) fn post(&self, path: &str) -> Result<Value, Error> {
        let request = self.agent.post(format!("{}/api/v1/{path}", self.url));
        let mut request = request.header("X-Mezzenger", "1").content_type("application/json");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        self.read(path, request.send("{}"))
    }

    /// The first `max` entries of a list, part after part.
    ///
    /// # Errors
    /// There is no server, or it rejects.
    pub(crate) fn list(&self, what: &str, max: usize) -> Result<Vec<Value>, Error> {
        self.list_those(what, &[], max)
    }

    /// As [`Self::list`], of the entries that these parameters choose.
    ///
    /// # Errors
    /// There is no server, or it rejects.
    pub(crate) fn list_those(
        &self,
        what: &str,
        which: &[(&str, &str)],
        max: usize,
    ) -> Result<Vec<Value>, Error> {
        let (mut items, mut from) = (Vec::new(), String::new());
        while items.len() < max {
            let limit = (max - items.len()).min(PART);
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &limit.to_string()).append_pair("from", &from);
            query.extend_pairs(which);
            let path = format!("{what}?{}", query.finish());
            let mut part = self.get(&path)?;
            let found: Vec<Value> = self.typed(&path, part["items"].take())?;
            items.extend(found.into_iter().take(limit));
            match part["next"].as_str() {
                Some(next) => next.clone_into(&mut from),
                None => break,
            }
        }
        Ok(items)
    }

    /// An answer, or a part of one, as this type.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn typed<T: DeserializeOwned>(&self, path: &str, value: Value) -> Result<T, Error> {
        serde_json::from_value(value).map_err(|error| self.foreign(path, &error))
    }

    fn foreign(&self, path: &str, why: &dyn Display) -> Error {
        Error::NoApi { url: format!("{}/api/v1/{path}", self.url), why: why.to_string() }
    }

    fn read(
        &self,
        path: &str,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, Error> {
        let mut answer = answer.map_err(|error| Error::NoHttp {
            url: self.url.clone(),
            why: match error {
                ureq::Error::Io(error) => error.to_string(),
                other => other.to_string(),
            },
        })?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let text = body.read_to_string().map_err(|error| self.foreign(path, &error))?;
        if status.is_success() {
            return serde_json::from_str(&text).map_err(|error| self.foreign(path, &error));
        }
        let said: Option<Value> = serde_json::from_str(&text).ok();
        let why = said.as_ref().and_then(|said| said["error"].as_str());
        Err(match (status, why) {
            (StatusCode::UNAUTHORIZED, _) => Error::ApiDenied {
                url: self.url.clone(),
                said: if self.token.is_some() {
                    "does not accept this token"
                } else {
                    "asks for a token"
                },
            },
            (_, Some(why)) => Error::ApiRefused { why: show::on_terminal(why) },
            (status, None) => self.foreign(path, &format!("HTTP status {status}")),
        })
    }
}
