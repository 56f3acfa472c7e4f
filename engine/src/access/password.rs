//! Passwords: a server stores only their hashes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use argon2::password_hash::{self, SaltString};
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier};

use crate::random::random_bytes;

/// The one accepted algorithm: argon2i is weaker against trade-offs of memory for time, and argon2d against side channels (RFC 9106).
const ALGORITHM: &str = "argon2id";

/// The highest accepted parameters: a GiB of memory, and more passes and lanes than anybody would wait for.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;

/// The parameters of new hashes: OWASP's recommendation. All hashes of a server must have the same parameters, so that a change of
/// these means hashing every password again.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Longest text that is parsed as a hash, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// The hash of a password, made with argon2id. Its text form is what `mezzenger hash-password` prints:
/// `$argon2id$v=19$m=19456,t=2,p=1$…$…`.
///
/// ```
/// use mezzenger::access::PasswordHash;
///
/// let hash = PasswordHash::of("open sesame");
/// assert_eq!(hash.to_string().parse(), Ok(hash));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// Hashes a password, with a new random salt. It takes some tens of milliseconds, and 19 MiB of memory.
    pub fn of(password: impl AsRef<[u8]>) -> Self {
        let salt = SaltString::encode_b64(&random_bytes::<16>());
        let salt = salt.expect("a salt has 4 to 64 bytes, and this one has 16");
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("they are within bounds");
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let hash = argon2.hash_password(password.as_ref(), &salt);
        Self(hash.expect("a password of any length has a hash").to_string().into())
    }

    /// The same with the least possible memory and time.
    #[cfg(test)]
    pub(crate) fn cheap(password: &str) -> Self {
        let salt = SaltString::encode_b64(&random_bytes::<16>()).unwrap();
        let params = Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        Self(argon2.hash_password(password.as_bytes(), &salt).unwrap().to_string().into())
    }

    /// The parameters, which decide how long a check takes: `v=19$m=19456,t=2,p=1`.
    pub(crate) fn cost(&self) -> &str {
        let cost = self.0.strip_prefix('$').and_then(|text| text.split_once('$'));
        let cost = cost.and_then(|(_, rest)| rest.rsplit_once('$')).map(|(rest, _)| rest);
        cost.and_then(|rest| rest.rsplit_once('$')).map_or("", |(cost, _)| cost)
    }

    /// Whether this is the hash of this password. The time does not depend on the answer.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        // It was one when it was read.
        password_hash::PasswordHash::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// Why a text is not a password hash. It does not quote the text, which may be the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePasswordHashError {
    /// The text is not a hash.
    #[error("this is no hash of a password: make one with mezzenger hash-password")]
    NoHash,
    /// The hash was made with another algorithm.
    #[error(
        "the hash was made with another algorithm than argon2id: make one with mezzenger hash-password"
    )]
    Algorithm,
    /// A check would take too much memory or time.
    #[error(
        "the hash asks for more than {} MiB, {PASSES_MAX} passes or {LANES_MAX} lanes: make one with mezzenger hash-password",
        MEMORY_KIB_MAX / 1024
    )]
    Dear,
}

impl FromStr for PasswordHash {
    type Err = ParsePasswordHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = ParsePasswordHashError::NoHash;
        if text.len() > TEXT_BYTES_MAX {
            return Err(wrong);
        }
        let hash = password_hash::PasswordHash::new(text).map_err(|_| wrong)?;
        if hash.algorithm.as_str() != ALGORITHM {
            return Err(ParsePasswordHashError::Algorithm);
        }
        if hash.hash.is_none() || hash.salt.is_none() {
            return Err(wrong);
        }
        let params = Params::try_from(&hash).map_err(|_| wrong)?;
        if params.m_cost() > MEMORY_KIB_MAX
            || params.t_cost() > PASSES_MAX
            || params.p_cost() > LANES_MAX
        {
            return Err(ParsePasswordHashError::Dear);
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of argon2's command line, the reference implementation:
    /// `echo -n password | argon2 somesalt -id -t 2 -m 8 -p 1 -e`.
    const REFERENCE: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    #[test]
    fn a_hash_is_of_its_password_alone() {
        let (one, other) = (PasswordHash::of("secret"), PasswordHash::of("secret"));
        assert_ne!(one, other, "the salt is another one each time");
        for hash in [one, other] {
            assert!(hash.is_of(b"secret") && !hash.is_of(b"secret ") && !hash.is_of(b""));
            assert_eq!(hash.cost(), "v=19$m=19456,t=2,p=1");
        }
        assert!(REFERENCE.parse::<PasswordHash>().unwrap().is_of(b"password"));
    }

    #[test]
    fn what_is_no_hash_is_refused_and_nothing_of_it_is_shown() {
        use ParsePasswordHashError::{Algorithm, Dear, NoHash};
        let check = |text: &str, expected| assert_eq!(text.parse::<PasswordHash>(), Err(expected));
        check("hunter2", NoHash);
        check("", NoHash);
        check("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", NoHash);
        check(&"$".repeat(1000), NoHash);
        check(&REFERENCE.replace("argon2id", "argon2i"), Algorithm);
        check(&REFERENCE.replace("m=256", "m=2000000"), Dear);
        check(&REFERENCE.replace("t=2", "t=65"), Dear);
        assert_eq!(format!("{:?}", PasswordHash::of("a")), "PasswordHash(..)");
    }
}
