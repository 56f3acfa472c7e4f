//! The four functions that do cryptography: [`public_key`] of random bytes, [`SharedKey::agree`], [`SharedKey::seal`] and
//! [`SharedKey::open`]. All of it is `crypto_box`'s: X25519, XSalsa20 and Poly1305, as in NaCl.

use std::sync::Arc;

use crypto_box::SalsaBox;
use crypto_box::aead::AeadInPlace;
use zeroize::Zeroizing;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 24;
/// Bytes that a box has beyond its content; they stand first.
pub(super) const TAG_BYTES: usize = 16;

/// A box that was changed, or sealed with other keys or another nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ForgedBox;

/// The public key of a secret one.
pub(super) fn public_key(secret: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
    *crypto_box::SecretKey::from_bytes(*secret).public_key().as_bytes()
}

/// What two ends have in common: each makes it from its own secret key and the other's public one. It is wiped from memory
/// with its last clone.
#[derive(Clone)]
pub(super) struct SharedKey(Arc<SalsaBox>);

impl SharedKey {
    /// Of this end's secret key and the other's public one.
    pub(super) fn agree(theirs: &[u8; KEY_BYTES], ours: &[u8; KEY_BYTES]) -> Self {
        let ours = crypto_box::SecretKey::from_bytes(*ours);
        let theirs = crypto_box::PublicKey::from_bytes(*theirs);
        Self(Arc::new(SalsaBox::new(&theirs, &ours)))
    }

    /// Encrypts in place; what stands before the encrypted bytes in a box. A nonce serves once.
    pub(super) fn seal(&self, nonce: &[u8; NONCE_BYTES], bytes: &mut [u8]) -> [u8; TAG_BYTES] {
        self.0
            .encrypt_in_place_detached(nonce.into(), b"", bytes)
            .expect("no frame is as long as the cipher's 256 GiB")
            .into()
    }

    /// Decrypts in place, if the tag is right; it is compared in constant time.
    ///
    /// # Errors
    /// [`ForgedBox`]; the bytes are as they were.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        bytes: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), ForgedBox> {
        self.0
            .decrypt_in_place_detached(nonce.into(), b"", bytes, tag.into())
            .map_err(|_| ForgedBox)
    }

    /// Appends a box with this content.
    pub(super) fn append_box(
        &self,
        nonce: &[u8; NONCE_BYTES],
        content: &[&[u8]],
        out: &mut Vec<u8>,
    ) {
        let tag_at = out.len();
        out.extend_from_slice(&[0; TAG_BYTES]);
        for part in content {
            out.extend_from_slice(part);
        }
        let (head, bytes) = out.split_at_mut(tag_at + TAG_BYTES);
        head[tag_at..].copy_from_slice(&self.seal(nonce, bytes));
    }

    /// The content of a box, which is wiped when it is dropped.
    ///
    /// # Errors
    /// [`ForgedBox`].
    pub(super) fn open_box(
        &self,
        nonce: &[u8; NONCE_BYTES],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ForgedBox> {
        let (tag, content) = sealed.split_first_chunk().ok_or(ForgedBox)?;
        let mut content = Zeroizing::new(content.to_vec());
        self.open(nonce, &mut content, tag)?;
        Ok(content)
    }
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        let all: Vec<u8> = pairs.iter().map(|&[a, b]| digit(a) << 4 | digit(b)).collect();
        all.try_into().unwrap()
    }

    /// The example that NaCl's documentation computes ("Cryptography in NaCl", sections 2 to 10), which its own tests
    /// check, too.
    #[test]
    fn a_box_is_the_one_of_nacls_documentation() {
        let alice = bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let bob = bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let nonce = bytes("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let content: [u8; 131] = bytes(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c012335\
             61f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c\
             60902e52f0a089bc76897040e082f937763848645e0705",
        );
        let mut sealed = Vec::new();
        let key = SharedKey::agree(&bob, &alice);
        key.append_box(&nonce, &[&content], &mut sealed);
        assert_eq!(sealed[..16], bytes::<16>("f3ffc7703f9400e52a7dfb4b3d3305d9"));
        assert_eq!(sealed[16..32], bytes::<16>("8e993b9f48681273c29650ba32fc76ce"));
        assert_eq!(*key.open_box(&nonce, &sealed).unwrap(), content);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(key.open_box(&nonce, &changed).is_err(), "byte {at}");
            assert!(key.open_box(&nonce, &sealed[..at]).is_err(), "{at} bytes");
        }
    }
}
