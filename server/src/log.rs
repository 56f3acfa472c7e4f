//! Where log lines go: a bounded queue, and a thread that writes it to stderr.
//!
//! The broker must never wait for whoever reads its log, and never end because nobody does. A line that
//! finds no room in the queue, or that stderr does not take, is dropped and counted; the count is written
//! as soon as stderr takes something again.

mod style;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::registry::LookupSpan;

pub(crate) use self::style::LogFormat;
use self::style::Style;

/// Most bytes of lines that wait to be written.
const QUEUE_BYTES: usize = 1024 * 1024;

/// How long the end of the program waits for its last lines.
const FLUSH_MAX: Duration = Duration::from_millis(500);

/// How long to wait for a stderr that is full and cannot be waited for.
const BUSY_WAIT: Duration = Duration::from_millis(10);

/// The queue's end for those who log.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// The queue changed.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Whole lines.
    text: Vec<u8>,
    /// Lines that found no room since the queue was last taken.
    dropped: usize,
    /// Whether what was taken is still being written.
    writing: bool,
    style: Style,
}

impl Shared {
    /// Nothing is called under the lock that could leave the queue half changed.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Starts the thread that writes to stderr, in the style that fits what that is.
    ///
    /// # Errors
    /// When the system denies a thread or a descriptor.
    pub(crate) fn start() -> io::Result<Self> {
        // Past the standard library's lock of stderr, which a write that hangs would hold.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let log = Self::to(stderr)?;
        log.set_format(LogFormat::Auto);
        Ok(log)
    }

    /// Goes on in this format.
    pub(crate) fn set_format(&self, format: LogFormat) {
        self.0.lock().style = format.style();
    }

    /// What writes events to this log, in its format.
    pub(crate) fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let style = self.0.lock().style;
        style.layer(self)
    }

    /// Says why the program, or a thread of it, ends.
    pub(crate) fn last_words(&self, text: &str) {
        let style = self.0.lock().style;
        self.lines(style.lines(Level::ERROR, "mezzenger-server", text).as_bytes());
    }

    fn to(target: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let log = Self(Arc::clone(&shared));
        let mut output = Output { target, lost: 0, is_torn: false, style: Style::default() };
        thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                let Taken { text, dropped, style } = take(&shared);
                output.style = style;
                output.write(&text, dropped);
            }
        })?;
        Ok(log)
    }

    /// Queues whole lines, or drops and counts them. Never waits for a write.
    pub(crate) fn lines(&self, text: &[u8]) {
        let mut queue = self.0.lock();
        let text = &*queue.style.seen(text);
        if queue.text.len() + text.len() > QUEUE_BYTES {
            queue.dropped += lines_in(text);
        } else {
            queue.text.extend_from_slice(text);
        }
        drop(queue);
        self.0.changed.notify_all();
    }

    /// Waits until the queue is written, for half a second at most.
    pub(crate) fn flush(&self) {
        let deadline = Instant::now() + FLUSH_MAX;
        let mut queue = self.0.lock();
        while queue.writing || !queue.text.is_empty() || queue.dropped > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes panics lines of this log: the default hook would wait for stderr.
    pub(crate) fn take_panics(&self) {
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let current = thread::current();
            let name = current.name().unwrap_or("unnamed");
            let mut text = format!("thread '{name}' {panic}");
            let trace = Backtrace::capture();
            if trace.status() == BacktraceStatus::Captured {
                text.push_str(&format!("\n{trace}"));
            }
            log.last_words(&text);
        }));
    }
}

/// What is to be written.
struct Taken {
    text: Vec<u8>,
    /// Lines that were dropped behind it.
    dropped: usize,
    style: Style,
}

/// Waits for something to write.
fn take(shared: &Shared) -> Taken {
    let mut queue = shared.lock();
    queue.writing = false;
    shared.changed.notify_all();
    while queue.text.is_empty() && queue.dropped == 0 {
        queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    queue.writing = true;
    let (text, dropped) = (std::mem::take(&mut queue.text), std::mem::take(&mut queue.dropped));
    Taken { text, dropped, style: queue.style }
}

fn lines_in(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// What writes, and knows what it could not write.
struct Output<W> {
    target: W,
    /// Lines lost that the log does not tell of yet.
    lost: usize,
    /// Whether the last line was written in part.
    is_torn: bool,
    style: Style,
}

impl<W: Write> Output<W> {
    /// Writes these lines, behind which `dropped` further ones were lost.
    fn write(&mut self, text: &[u8], dropped: usize) {
        self.tell_lost();
        let left = self.write_part(text);
        self.lost += lines_in(left) + dropped;
        self.tell_lost();
    }

    fn tell_lost(&mut self) {
        if self.lost == 0 {
            return;
        }
        let mut line = String::new();
        if self.is_torn {
            line.push('\n');
        }
        line.push_str(&self.style.lost(self.lost));
        if self.write_part(line.as_bytes()).is_empty() {
            self.lost = 0;
        }
    }

    /// Writes what the target takes, and returns what it does not.
    fn write_part<'a>(&mut self, mut text: &'a [u8]) -> &'a [u8] {
        while !text.is_empty() {
            match self.target.write(text) {
                Ok(n @ 1..) => {
                    self.is_torn = text[n - 1] != b'\n';
                    text = &text[n..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever shares stderr may have made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(BUSY_WAIT),
                // A full disk or a pipe without a reader, which may last.
                Ok(0) | Err(_) => break,
            }
        }
        text
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Each write is what `tracing_subscriber` makes of one event: whole lines.
impl Write for &Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.lines(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Takes the given numbers of bytes at a time, fails at a 0, and then takes all.
    #[derive(Default)]
    struct Target {
        takes: VecDeque<usize>,
        written: Vec<u8>,
    }

    impl Write for Target {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            match self.takes.pop_front() {
                Some(0) => Err(io::ErrorKind::StorageFull.into()),
                takes => {
                    let n = takes.unwrap_or(text.len()).min(text.len());
                    self.written.extend_from_slice(&text[..n]);
                    Ok(n)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes these lines, each with a number of dropped ones behind it, and returns what arrived; of
    /// counts of lost lines only the number.
    fn write(takes: &[usize], lines: &[(&str, usize)]) -> Vec<String> {
        let target = Target { takes: takes.iter().copied().collect(), ..Target::default() };
        let mut output = Output { target, lost: 0, is_torn: false, style: Style::default() };
        for (text, dropped) in lines {
            output.write(text.as_bytes(), *dropped);
        }
        let written = String::from_utf8(output.target.written).unwrap();
        let lost =
            |line: &str| line.split_once(" log lines lost").map(|(before, _)| before.to_owned());
        let short = |line: &str| match lost(line) {
            Some(before) => format!("lost {}", before.rsplit(' ').next().unwrap()),
            None => line.to_owned(),
        };
        written.lines().map(short).collect()
    }

    #[test]
    fn what_is_taken_in_pieces_is_written_whole() {
        assert_eq!(write(&[1, 2], &[("first\nsecond\n", 0)]), ["first", "second"]);
    }

    #[test]
    fn dropped_lines_are_counted_where_they_are_missing() {
        assert_eq!(write(&[], &[("a\n", 3), ("b\n", 0)]), ["a", "lost 3", "b"]);
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_once_it_works_again() {
        // The line and the count fail, then the count again and the next line, then nothing.
        let written = write(&[0, 0, 0, 0, 0], &[("a\nb\n", 0), ("c\n", 2), ("d\n", 0)]);
        assert_eq!(written, ["lost 5", "d"]);
    }

    #[test]
    fn a_torn_line_is_lost_and_ends() {
        assert_eq!(write(&[3, 0, 0], &[("a\nbcd\n", 0), ("e\n", 0)]), ["a", "b", "lost 1", "e"]);
    }

    #[test]
    fn the_queue_is_bounded_and_never_waits() {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let log = Log(Arc::clone(&shared));
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..2 * QUEUE_BYTES / line.len() {
            log.lines(&line);
        }
        let Taken { text, dropped, .. } = take(&shared);
        assert_eq!((text.len(), dropped), (QUEUE_BYTES, QUEUE_BYTES / line.len()));
        // Nobody writes: the end comes all the same.
        log.flush();
    }
}
