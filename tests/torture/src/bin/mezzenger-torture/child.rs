//! A child process whose lines arrive, with those of all others, in one channel.

use std::io::{self, BufRead, BufReader};
use std::process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

/// A line that a child said, or the end of its output.
#[derive(Debug)]
pub(crate) struct Event {
    /// The child's number.
    pub(crate) child: u32,
    /// `None` at the end, when all that it said has been told.
    pub(crate) line: Option<String>,
}

/// A running child. Dropping it kills it.
pub(crate) struct Child {
    process: Process,
    stdin: Option<ChildStdin>,
}

impl Child {
    /// Starts it. What it says goes to `events` under this number, also what it said before its death.
    pub(crate) fn start(
        command: &mut Command,
        child: u32,
        events: &SyncSender<Event>,
    ) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().map(BufReader::new);
        let events = events.clone();
        let this = Self { process, stdin };
        thread::Builder::new().name(format!("child {child}")).spawn(move || {
            // An error ends the lines as the end of the file does, and nobody may listen any more.
            for line in stdout.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                let _ = events.send(Event { child, line: Some(line) });
            }
            let _ = events.send(Event { child, line: None });
        })?;
        Ok(this)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Kills it (-9). It is dead when this returns.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Ends its stdin, which tells it to end.
    pub(crate) fn end_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends it SIGTERM.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        Ok(kill_process(self.pid(), Signal::TERM)?)
    }

    /// How it ended; waits for that, and is called when its output has ended.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when it is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
