//! Options of a journal.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// When what was written is synced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FsyncPolicy {
    /// Before it is reported durable: it survives a power cut.
    #[default]
    Always,
    /// Once in this time: it survives a crash of the server at once, a power cut after this time.
    Interval(Duration),
    /// When the system likes to, and on closing: it survives a crash of the server at once. After a power cut
    /// the journal may need a repair, as nothing tells what never reached the disk from damage.
    Never,
}

/// Why a text is no [`FsyncPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsyncPolicyError {
    /// It is none of the words.
    #[error("expected 'always', 'interval=TIME' (such as interval=50ms) or 'never', not '{0}'")]
    Unknown(String),
    /// The time cannot be read.
    #[error("'{0}' is not a time: write it with its unit, like 50ms or 1s")]
    NotATime(String),
    /// The time is zero.
    #[error("the interval must not be zero: 'always' syncs every time")]
    Zero,
}

impl FromStr for FsyncPolicy {
    type Err = FsyncPolicyError;

    /// Reads `always`, `never`, `interval=50ms`. A time without a unit is rejected: whoever forgets `ms` would lose a thousand
    /// times as much.
    fn from_str(text: &str) -> Result<Self, FsyncPolicyError> {
        match text {
            "always" => return Ok(Self::Always),
            "never" => return Ok(Self::Never),
            _ => {}
        }
        let time = text
            .strip_prefix("interval=")
            .ok_or_else(|| FsyncPolicyError::Unknown(text.to_owned()))?;
        match humantime::parse_duration(time).ok() {
            None => Err(FsyncPolicyError::NotATime(time.to_owned())),
            Some(Duration::ZERO) => Err(FsyncPolicyError::Zero),
            Some(interval) => Ok(Self::Interval(interval)),
        }
    }
}

impl fmt::Display for FsyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Interval(time) => write!(f, "interval={}", humantime::format_duration(*time)),
            Self::Never => f.write_str("never"),
        }
    }
}

/// Where a journal lies and how it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// The file, or a symbolic link to it. Beside it come, for a while, `.compact`, `.torn-N` after crashes that
    /// tore it, and `.damaged-N` after repairs.
    pub path: PathBuf,
    /// When it is synced.
    pub fsync: FsyncPolicy,
    /// Size in bytes below which the file is never compacted.
    pub compact_min_bytes: u64,
    /// Whether to go on without damaged records, after a copy of the file was made.
    pub repair: bool,
    /// Whether to rewrite the file when it is opened, without what is settled.
    pub rewrite: bool,
}

impl JournalOptions {
    /// Smallest file that is compacted unless told otherwise, in bytes.
    pub const COMPACT_MIN_BYTES: u64 = 64 * 1024 * 1024;

    /// The default choices for a journal at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            fsync: FsyncPolicy::default(),
            compact_min_bytes: Self::COMPACT_MIN_BYTES,
            repair: false,
            rewrite: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<FsyncPolicy, FsyncPolicyError>) {
        assert_eq!(text.parse(), expected);
        if let Ok(policy) = expected {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }

    #[test]
    fn policies_are_read_and_shown() {
        let interval = |ms| Ok(FsyncPolicy::Interval(Duration::from_millis(ms)));
        check("always", Ok(FsyncPolicy::Always));
        check("never", Ok(FsyncPolicy::Never));
        check("interval=50ms", interval(50));
        check("interval=2s", interval(2000));
        check("interval=50", Err(FsyncPolicyError::NotATime("50".into())));
        check("interval=1m 30s", interval(90_000));
        check("interval=0ms", Err(FsyncPolicyError::Zero));
        check("interval=-1", Err(FsyncPolicyError::NotATime("-1".into())));
        check("interval=soon", Err(FsyncPolicyError::NotATime("soon".into())));
        check("interval=1e300", Err(FsyncPolicyError::NotATime("1e300".into())));
        check("Always", Err(FsyncPolicyError::Unknown("Always".into())));
    }
}
