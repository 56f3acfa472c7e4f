//! Passwords of users: where they come from, and their hashes.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mezzenger::access::PasswordHash;
use zeroize::Zeroizing;

use crate::error::{Error, written};
use crate::show;

/// Where a password may stand that no file holds.
const VARIABLE: &str = "MEZZENGER_PASSWORD";

/// Bytes of a password: its length stands in one byte.
const BYTES_MAX: usize = 255;

/// The mode bits of all but a file's owner.
const OTHERS: u32 = 0o077;

/// The password of a user, from this file, or from the environment.
///
/// # Errors
/// There is none, or its file cannot be used.
pub(crate) fn of_user(file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let Some(path) = file else {
        let password = env::var(VARIABLE).map_err(|_| Error::NoPassword)?;
        return checked(Zeroizing::new(password.into_bytes()));
    };
    let system = |source| Error::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(system)?;
    let mode = file.metadata().map_err(system)?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(Error::ExposedPassword { path: path.to_owned(), mode });
    }
    checked(line_of(file).map_err(system)?)
}

/// What there is up to a line's end, and a little more than there may be.
fn line_of(source: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(BYTES_MAX + 3));
    source.take(BYTES_MAX as u64 + 3).read_to_end(&mut text)?;
    for end in [b'\n', b'\r'] {
        if text.last() == Some(&end) {
            text.pop();
        }
    }
    Ok(text)
}

fn checked(password: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Error> {
    match password.len() {
        1..=BYTES_MAX => Ok(password),
        bytes => Err(Error::PasswordLength { bytes, max: BYTES_MAX }),
    }
}

/// Prints the hash of a password that is typed, twice and unseen, or that stands in the standard input.
///
/// # Errors
/// There is none, or both are not the same.
pub(crate) fn hash() -> Result<(), Error> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let ask = |prompt| {
            let typed = rpassword::prompt_password(prompt).map_err(Error::Stdin)?;
            Ok::<_, Error>(Zeroizing::new(typed.into_bytes()))
        };
        let first = ask("Password: ")?;
        if ask("Again: ")? != first {
            return Err(Error::PasswordsDiffer);
        }
        first
    } else {
        line_of(stdin.lock()).map_err(Error::Stdin)?
    };
    let password = checked(password)?;
    written(show::line(PasswordHash::of(&*password).to_string().as_bytes()))
}
