//! Runs a command for a message.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::thread;

use mezzenger::Delivery;

use crate::show;

/// Whether no message can be worked at: the command is not there.
pub(crate) fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// Runs a command with a message: the payload on its standard input, the rest in its environment. What it prints goes
/// where `stdout` says.
pub(crate) fn run(
    command: &[String],
    group: &str,
    message: &Delivery,
    stdout: Stdio,
) -> io::Result<Output> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("MEZZENGER_NAME", message.name())
        .env("MEZZENGER_ID", message.id().to_string())
        .env("MEZZENGER_ATTEMPT", message.attempt().to_string())
        .env("MEZZENGER_GROUP", group)
        .env("MEZZENGER_ENCODING", show::encoding(message.encoding()))
        .env("MEZZENGER_CONTENT_TYPE", message.content_type().unwrap_or_default())
        .env("MEZZENGER_HEADERS", show::headers(message).to_string())
        .stdin(Stdio::piped())
        .stdout(stdout)
        // Ctrl-C ends the wait for the next message, and not the work at this one.
        .process_group(0)
        .spawn()?;
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        // Beside reading what it prints, so that neither waits for the other.
        let writing = scope.spawn(move || match stdin {
            Some(mut stdin) => stdin.write_all(message.payload()),
            None => Ok(()),
        });
        let output = child.wait_with_output()?;
        match writing.join() {
            // It need not read all of it.
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(output),
        }
    })
}
