//! Runs the pipeline under valgrind.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::callgrind::{self, Counts};
use crate::dhat;
use crate::flow::{Flow, Side};
use crate::judge::COPIED_BYTES;
use crate::pipeline::Done;
use crate::seed::Seed;

/// How much longer the longer run is in which copies are counted.
const LONGER_COPIES: usize = 2;

/// Attempts at a count that comes out negative.
const COPIES_TRIES: usize = 3;

/// How many callers valgrind notes at most: enough for the whole stack.
const CALLERS: &str = "--num-callers=200";

/// Why something could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum ValgrindError {
    /// It could not be started.
    #[error("cannot run {program}: {source}; is it installed? (apt-get install valgrind)")]
    Start {
        /// What was to run.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("{program} failed ({status}) on {what}: {stderr}")]
    Failed {
        /// What ran.
        program: String,
        /// The exit status.
        status: String,
        /// The arguments.
        what: String,
        /// What it said.
        stderr: String,
    },
    /// It wrote something that cannot be read.
    #[error(
        "cannot read what valgrind counted in {path}: {reason}; is its version too old or new?"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Larger payloads had fewer of their bytes copied.
    #[error(
        "{flow} copies {bytes} bytes of payload for a message, which cannot be: payloads of the two sizes do \
         not take the same way; see 'Copies' in bench/gate/README.md"
    )]
    Negative {
        /// The flow.
        flow: &'static str,
        /// What was computed.
        bytes: f64,
    },
    /// A file could not be made.
    #[error("cannot keep valgrind's profile: {0}; check the space in the temporary directory")]
    Io(#[from] io::Error),
}

/// One run of the pipeline program.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The program.
    pub program: &'a Path,
    /// The flow.
    pub flow: Flow,
    /// A regression put in on purpose.
    pub seed: Seed,
}

impl Job<'_> {
    fn command(&self, valgrind: Option<Command>, rounds: usize, larger: bool) -> Command {
        let mut command = match valgrind {
            Some(mut valgrind) => {
                valgrind.arg(self.program);
                valgrind
            }
            None => Command::new(self.program),
        };
        command.args([self.flow.name, "--rounds", &rounds.to_string()]);
        command.args(["--seed", &self.seed.to_string()]);
        if larger {
            command.arg("--larger");
        }
        command
    }

    /// Runs it as it is, and returns what it did.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, rounds: usize) -> Result<Done, ValgrindError> {
        let output = finish(self.command(None, rounds, false))?;
        serde_json::from_slice(&output.stdout).map_err(|error| ValgrindError::Unreadable {
            path: self.program.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Counts instructions and allocations of one side.
    ///
    /// # Errors
    /// When valgrind or the pipeline fails.
    pub fn count(&self, side: Side, rounds: usize) -> Result<Counts, ValgrindError> {
        let toggle = format!("--toggle-collect=*{}*", side.function());
        let [each, whole] = callgrind::OPTIONS;
        let options = ["--tool=callgrind", each, whole, &toggle];
        self.profile(&options, "--callgrind-out-file", rounds, false, |profile| {
            callgrind::read(profile).ok_or_else(|| "it has no sum".to_owned())
        })
    }

    /// Bytes that each side copied, in the order of [`Side::ALL`].
    fn copied(&self, rounds: usize, larger: bool) -> Result<[u64; 3], ValgrindError> {
        let options = ["--tool=dhat", "--mode=copy", CALLERS];
        self.profile(&options, "--dhat-out-file", rounds, larger, |profile| {
            let mut sums = [0; 3];
            for (sum, side) in sums.iter_mut().zip(Side::ALL) {
                let copied = dhat::copied_within(profile, side.function());
                *sum = copied.map_err(|error| error.to_string())?;
            }
            Ok(sums)
        })
    }

    /// Bytes of payload that each side copies for one more message, in the order of [`Side::ALL`]: how many
    /// more bytes it copies when payloads are larger, scaled to the payload. What is copied once, whatever
    /// follows, is left out: it is in a run of `rounds` and in one of `LONGER_COPIES` times as many.
    ///
    /// # Errors
    /// When valgrind or the pipeline fails.
    pub fn payload_copied(&self, rounds: usize) -> Result<[f64; 3], ValgrindError> {
        for _ in 1..COPIES_TRIES {
            // What a connection's first read finds, and so what is copied once, may differ between runs.
            match self.try_payload_copied(rounds) {
                Err(ValgrindError::Negative { .. }) => {}
                result => return result,
            }
        }
        self.try_payload_copied(rounds)
    }

    fn try_payload_copied(&self, rounds: usize) -> Result<[f64; 3], ValgrindError> {
        let longer = LONGER_COPIES * rounds;
        let (plain, larger) = (self.copied(rounds, false)?, self.copied(rounds, true)?);
        let (plain_longer, larger_longer) =
            (self.copied(longer, false)?, self.copied(longer, true)?);
        let messages = (longer - rounds) * self.flow.round_messages();
        let extra_bytes = (messages * self.flow.extra_bytes) as f64;
        let mut copied = [0.0; 3];
        for (at, copied) in copied.iter_mut().enumerate() {
            let once = larger[at] as f64 - plain[at] as f64;
            let all = larger_longer[at] as f64 - plain_longer[at] as f64;
            *copied = (all - once) / extra_bytes * self.flow.payload_bytes as f64;
            if -*copied > COPIED_BYTES.limit(0.0) && self.flow.sides.contains(&Side::ALL[at]) {
                return Err(ValgrindError::Negative { flow: self.flow.name, bytes: *copied });
            }
        }
        Ok(copied)
    }

    fn profile<T>(
        &self,
        options: &[&str],
        out_option: &str,
        rounds: usize,
        larger: bool,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ValgrindError> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("profile");
        let mut valgrind = Command::new("valgrind");
        // The environment lies on the stack, and what lies where may cost instructions.
        valgrind.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        valgrind.arg("--quiet").args(options);
        valgrind.arg(format!("{out_option}={}", path.display()));
        finish(self.command(Some(valgrind), rounds, larger))?;
        let profile = std::fs::read_to_string(&path)?;
        read(&profile).map_err(|reason| ValgrindError::Unreadable { path, reason })
    }
}

/// Runs a program to its end, which must be a good one.
pub(crate) fn finish(mut command: Command) -> Result<Output, ValgrindError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|source| ValgrindError::Start { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(output);
    }
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    Err(ValgrindError::Failed {
        program,
        status: output.status.to_string(),
        what: words.join(" "),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
