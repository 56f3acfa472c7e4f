//! Runs a command for a message.

use std::env;
use std::io::{self, PipeReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::thread;

use mezzenger::Delivery;
use mezzenger::config::MESSAGE_BYTES_MAX;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, access};
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread};
use rustix::process::Pid;

use crate::error::Error;
use crate::{show, signals};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Whether no message can be worked at: the command is not there.
pub(crate) fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// Whether it cannot be run with this message, now or later: what the message says of itself is too long for the system
/// together with the rest of the environment, with which this process was started, or has a NUL in it.
pub(crate) fn is_unfit_message(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ArgumentListTooLong | io::ErrorKind::InvalidInput)
}

/// Looks for a program as the system will when it is run.
///
/// # Errors
/// It is not there, or cannot be run by this user.
pub(crate) fn find(program: &str) -> Result<(), Error> {
    let is_there = |path: &Path| access(path, Access::EXEC_OK).is_ok() && path.is_file();
    let found = if program.contains('/') {
        is_there(Path::new(program))
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|folder| is_there(&folder.join(program)))
    };
    if found { Ok(()) } else { Err(Error::NoCommand { command: program.to_owned() }) }
}

/// Runs a command with a message: the payload on its standard input, the rest in its environment. What it prints goes
/// where `stdout` says; a pipe takes no more than fits a message. It ends when the command does, also when what that has started
/// holds on to its pipes.
pub(crate) fn run(
    command: &[String],
    group: &str,
    message: &Delivery,
    stdout: Stdio,
) -> io::Result<Output> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("MEZZENGER_NAME", message.name())
        .env("MEZZENGER_ID", message.id().to_string())
        .env("MEZZENGER_ATTEMPT", message.attempt().to_string())
        .env("MEZZENGER_GROUP", group)
        .env("MEZZENGER_ENCODING", show::encoding(message.encoding()))
        .env("MEZZENGER_CONTENT_TYPE", message.content_type().unwrap_or_default())
        .env("MEZZENGER_HEADERS", show::json_text(&show::headers(message)))
        .stdin(Stdio::piped())
        .stdout(stdout)
        // Ctrl-C ends the wait for the next message, and not the work at this one.
        .process_group(0);
    die_with_parent(&mut command);
    let mut child = signals::start(&mut command)?;
    let spoken = speak(&mut child, message.payload());
    let status = signals::reap(&mut child)?;
    Ok(Output { status, stdout: spoken?, stderr: Vec::new() })
}

/// Has the system end the command when this process ends, however it does: its message then goes to another member at once,
/// and two must not work at it.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[expect(unsafe_code, reason = "what is to run between fork and exec")]
fn die_with_parent(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let parent = Some(getpid());
    let child = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before that was set.
        if getppid() == parent { Ok(()) } else { Err(Errno::CHILD.into()) }
    };
    // SAFETY: the child makes two system calls: it takes no lock and no memory, which is all that it may do after the fork
    // of a process with threads.
    unsafe { command.pre_exec(child) };
}

/// The system has no such thing.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn die_with_parent(_: &mut Command) {}

/// Gives a command its input and takes its output until it has ended. What goes wrong ends it.
fn speak(child: &mut Child, input: &[u8]) -> io::Result<Vec<u8>> {
    let (leader, stdin, stdout) = (Pid::from_child(child), child.stdin.take(), child.stdout.take());
    thread::scope(|scope| {
        let spoken = io::pipe().and_then(|(ended, ending)| {
            thread::Builder::new().spawn_scoped(scope, move || {
                signals::ended(leader);
                drop(ending);
            })?;
            take_turns(input, stdin, stdout, &ended, MESSAGE_BYTES_MAX)
        });
        if spoken.is_err() {
            let _ = child.kill();
        }
        spoken
    })
}

/// Writes and reads in turns, so that neither waits for the other, until `ended` is closed. Who else holds the pipes is not
/// waited for. More than `max` bytes of output are an error.
fn take_turns(
    mut input: &[u8],
    mut stdin: Option<ChildStdin>,
    mut stdout: Option<ChildStdout>,
    ended: &PipeReader,
    max: usize,
) -> io::Result<Vec<u8>> {
    if let Some(pipe) = &stdin {
        ioctl_fionbio(pipe, true)?;
    }
    let (mut output, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    loop {
        if input.is_empty() {
            stdin = None;
        }
        let mut polled = vec![PollFd::new(ended, PollFlags::IN)];
        polled.extend(stdin.iter().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        polled.extend(stdout.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut polled, None) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        let ready: Vec<_> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        if ready.next() == Some(true) {
            if let Some(pipe) = stdout {
                // What the command printed, and no more: others may print for ever.
                let bytes = ioctl_fionread(&pipe)?;
                pipe.take(bytes).read_to_end(&mut output)?;
            }
            return bounded(output, max);
        }
        if let Some(pipe) = &mut stdin
            && ready.next() == Some(true)
        {
            match pipe.write(input) {
                Ok(count) => input = input.get(count..).unwrap_or_default(),
                // It need not read all of it.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => stdin = None,
                Err(error) if is_for_now(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(pipe) = &mut stdout
            && ready.next() == Some(true)
        {
            match pipe.read(&mut piece) {
                Ok(0) => stdout = None,
                Ok(count) => {
                    output.extend(piece.get(..count).unwrap_or_default());
                    output = bounded(output, max)?;
                }
                Err(error) if is_for_now(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn bounded(output: Vec<u8>, max: usize) -> io::Result<Vec<u8>> {
    if output.len() > max {
        return Err(io::Error::other(format!(
            "it printed more than {max} bytes, and no message has more"
        )));
    }
    Ok(output)
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_prints_without_end_is_an_error_at_the_bound() {
        let printed = |max| {
            let mut child = Command::new("sh")
                .args(["-c", "echo 1234567; exec cat"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let stdout = child.stdout.take();
            let (ended, ending) = io::pipe().unwrap();
            drop(child.stdin.take());
            child.wait().unwrap();
            drop(ending);
            take_turns(&[], None, stdout, &ended, max)
        };
        assert_eq!(printed(8).unwrap(), b"1234567\n");
        let error = printed(7).unwrap_err().to_string();
        assert!(error.contains("more than 7 bytes"), "{error}");
    }
}
