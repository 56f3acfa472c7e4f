//! A child process: its output is kept, its end has a deadline, and it does not outlive its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use loadgen::report::process::usage;
use rustix::process::{Pid, Signal, kill_process};

use super::wait::{PATIENCE, eventually};

/// A running child process.
pub(crate) struct Process {
    child: Child,
    name: String,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it. What it writes to stdout can be read line by line; what it writes to stderr is kept.
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (line, lines) = channel();
        let read_stdout = std::thread::spawn(move || {
            // An error ends the lines as the end of the file does.
            for text in stdout.lines().map_while(Result::ok) {
                if line.send(text).is_err() {
                    break;
                }
            }
        });
        let mut pipe = child.stderr.take().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&stderr);
        let read_stderr = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Self { child, name, lines, stderr, readers: vec![read_stdout, read_stderr] }
    }

    /// The next line on stdout; `None` when there will be no more.
    pub(crate) fn line(&self) -> Option<String> {
        self.line_within(PATIENCE)
    }

    /// As [`Self::line`], with another deadline.
    pub(crate) fn line_within(&self, time: Duration) -> Option<String> {
        match self.lines.recv_timeout(time) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} wrote no line within {time:?}; stderr:\n{}", self.name, self.stderr())
            }
        }
    }

    /// Lines that are there already, read without waiting.
    pub(crate) fn lines_so_far(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// The child's standard input, when it was asked to be a pipe.
    pub(crate) fn stdin(&mut self) -> &mut Option<std::process::ChildStdin> {
        &mut self.child.stdin
    }

    /// What it wrote to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The most memory that it has used so far, in bytes.
    pub(crate) fn memory_max_bytes(&self) -> usize {
        self.memory_bytes_of("VmHWM:")
    }

    /// The memory that it uses now, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes_of("VmRSS:")
    }

    fn memory_bytes_of(&self, key: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        value.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Which part of a processor its threads take while this is done.
    pub(crate) fn load_during(&self, what: impl FnOnce()) -> f64 {
        let cpu_s = || usage(self.id()).unwrap().cpu_s;
        let (start, before_s) = (Instant::now(), cpu_s());
        what();
        let (busy_s, time_s) = (cpu_s() - before_s, start.elapsed().as_secs_f64());
        println!("processor time {busy_s} s in {time_s} s");
        busy_s / time_s
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end and returns its status; stdout and stderr are then complete.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let status = eventually(&what, || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// As [`Self::wait`], and fails when it took longer than this.
    #[track_caller]
    pub(crate) fn wait_at_most(&mut self, time: Duration) -> ExitStatus {
        let start = Instant::now();
        let status = self.wait();
        let took = start.elapsed();
        assert!(took <= time, "{} took {took:?} to end, allowed are {time:?}", self.name);
        status
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        // Fails when it ended already, which is what is wanted.
        let _ = self.child.kill();
        self.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process dies of it, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stderr of {}\n{}", self.name, self.stderr());
        }
    }
}
