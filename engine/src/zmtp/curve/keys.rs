//! Keys, and which clients' keys are accepted.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::primitives::{self, KEY_BYTES, SharedKey};
use super::z85;
use crate::random;

/// A public key of CURVE. Its text is [Z85](https://rfc.zeromq.org/spec/32/), 40 characters, as libzmq's tools write it.
///
/// ```
/// use mezzenger::curve::{KeyPair, PublicKey};
///
/// let key = KeyPair::generate().public();
/// assert_eq!(key.to_string().parse(), Ok(key));
/// assert!("too short".parse::<PublicKey>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = z85::encode(&self.0);
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no CURVE key: a key is 40 characters of Z85")]
pub struct ParseKeyError;

impl FromStr for PublicKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        z85::decode(text.as_bytes()).map(Self).ok_or(ParseKeyError)
    }
}

/// A secret key of CURVE. All clones share one copy, which is wiped from memory with the last of them. It is shown
/// nowhere: not by `Debug`, and there is no `Display`.
#[derive(Clone)]
pub struct SecretKey(Arc<Zeroizing<[u8; KEY_BYTES]>>);

impl SecretKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The key's bytes, to store it.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// What the owner of this key and that of the other have in common.
    pub(super) fn agree(&self, theirs: &PublicKey) -> SharedKey {
        SharedKey::agree(theirs.as_bytes(), self.as_bytes())
    }

    /// The key as Z85, to store it. The text is wiped from memory when it is dropped.
    pub fn to_z85(&self) -> Zeroizing<String> {
        let text = Zeroizing::new(z85::encode(self.as_bytes()));
        Zeroizing::new(text.iter().map(|&byte| char::from(byte)).collect())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl FromStr for SecretKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        z85::decode(text.as_bytes()).map(Self::from_bytes).ok_or(ParseKeyError)
    }
}

/// A secret key and its public key, with which a server or a client proves who it is.
#[derive(Clone, Debug)]
pub struct KeyPair {
    secret: SecretKey,
    public: PublicKey,
}

impl KeyPair {
    /// A new pair, from the system's random numbers.
    pub fn generate() -> Self {
        // Where it stays, so that no copy is left elsewhere.
        let mut secret = Arc::new(Zeroizing::new([0; KEY_BYTES]));
        random::fill(&mut Arc::make_mut(&mut secret)[..]);
        Self::from_secret(SecretKey(secret))
    }

    /// The pair of a secret key.
    pub fn from_secret(secret: SecretKey) -> Self {
        let public = PublicKey(primitives::public_key(secret.as_bytes()));
        Self { secret, public }
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The secret key.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }
}

/// Which clients a server with CURVE accepts.
///
/// ```
/// use mezzenger::curve::{AuthorizedKeys, KeyPair};
///
/// let (alice, bob) = (KeyPair::generate().public(), KeyPair::generate().public());
/// let authorized: AuthorizedKeys = [alice].into_iter().collect();
/// assert!(authorized.contains(&alice) && !authorized.contains(&bob));
/// assert!(AuthorizedKeys::any().contains(&bob));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKeys(Option<BTreeSet<PublicKey>>);

impl AuthorizedKeys {
    /// Accepts every client that knows the server's public key. Connections are encrypted and the server is authenticated, but
    /// clients are not.
    pub fn any() -> Self {
        Self(None)
    }

    /// Whether a client with this key is accepted.
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.0.as_ref().is_none_or(|keys| keys.contains(key))
    }

    /// The keys that are accepted here and not there; none where every key is accepted.
    pub(crate) fn without(&self, others: &Self) -> Vec<PublicKey> {
        let own = self.0.iter().flatten();
        own.filter(|key| others.0.is_some() && !others.contains(key)).copied().collect()
    }

    /// How many keys are accepted; `None` for any.
    pub fn count(&self) -> Option<usize> {
        self.0.as_ref().map(BTreeSet::len)
    }
}

impl FromIterator<PublicKey> for AuthorizedKeys {
    fn from_iter<I: IntoIterator<Item = PublicKey>>(keys: I) -> Self {
        Self(Some(keys.into_iter().collect()))
    }
}

/// The keys of a server with CURVE: its own, and those of the clients that it accepts.
#[derive(Clone, Debug)]
pub struct ServerKeys {
    /// The server's own keys.
    pub own: KeyPair,
    /// The keys of the clients that it accepts.
    pub authorized: AuthorizedKeys,
}

/// What a client with CURVE is known by, and the server that it talks to.
#[derive(Clone, Debug)]
pub(crate) struct ClientKeys {
    /// The client's own keys.
    pub(crate) own: KeyPair,
    /// The server's public key: who has not the secret one that belongs to it, is not talked to.
    pub(crate) server: PublicKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_set_has_and_another_has_not() {
        let [alice, bob] = [(); 2].map(|()| KeyPair::generate().public());
        let both: AuthorizedKeys = [alice, bob].into_iter().collect();
        let one: AuthorizedKeys = [alice].into_iter().collect();
        assert_eq!(both.without(&one), [bob]);
        assert_eq!(one.without(&both), []);
        assert_eq!(AuthorizedKeys::any().without(&one), []);
        assert_eq!(one.without(&AuthorizedKeys::any()), []);
    }

    #[test]
    fn no_secret_key_is_shown() {
        let pair = KeyPair::generate();
        let keys = ServerKeys { own: pair.clone(), authorized: AuthorizedKeys::any() };
        let secret = pair.secret().to_z85();
        let client = ClientKeys { own: pair.clone(), server: pair.public() };
        for shown in [format!("{pair:?}"), format!("{keys:#?}"), format!("{client:?}")] {
            assert!(!shown.contains(&*secret) && shown.contains("SecretKey(..)"), "{shown}");
            assert!(!shown.contains(&format!("{:?}", pair.secret().as_bytes())), "{shown}");
        }
        assert_eq!(secret.parse::<SecretKey>().unwrap().as_bytes(), pair.secret().as_bytes());
    }

    /// The pair that libzmq's manual page zmq_curve shows.
    #[test]
    fn a_public_key_is_the_one_that_libzmq_derives() {
        let secret: SecretKey = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6".parse().unwrap();
        let public = KeyPair::from_secret(secret).public();
        assert_eq!(public.to_string(), "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7");
    }
}
