//! What can be published: bytes and text. Typed values go through `publish_archive`.

use bytes::Bytes;

use crate::wire::record::Encoding;

/// Something that can be the payload of a message.
///
/// Byte slices, arrays, `Vec<u8>` and [`Bytes`] are published as [`Encoding::Bytes`]; `str` and
/// `String` as [`Encoding::Text`]; and references to all of them. The payload is only borrowed: it is
/// copied once, into the frame that leaves.
pub trait Payload {
    /// What the bytes are.
    fn encoding(&self) -> Encoding;
    /// The bytes as they travel.
    fn as_payload(&self) -> &[u8];
}

impl<T: Payload + ?Sized> Payload for &T {
    fn encoding(&self) -> Encoding {
        (**self).encoding()
    }
    fn as_payload(&self) -> &[u8] {
        (**self).as_payload()
    }
}

macro_rules! payload {
    ($([$($generics:tt)*] $type:ty => $encoding:ident, $bytes:ident;)*) => {$(
        impl $($generics)* Payload for $type {
            fn encoding(&self) -> Encoding {
                Encoding::$encoding
            }
            fn as_payload(&self) -> &[u8] {
                self.$bytes()
            }
        }
    )*};
}

payload! {
    [] [u8] => Bytes, as_ref;
    [<const N: usize>] [u8; N] => Bytes, as_slice;
    [] Vec<u8> => Bytes, as_slice;
    [] Bytes => Bytes, as_ref;
    [] str => Text, as_bytes;
    [] String => Text, as_bytes;
}

/// The bytes of a typed value, on their way to the frame.
pub(super) struct Archived<'a>(pub(super) &'a [u8]);

impl Payload for Archived<'_> {
    fn encoding(&self) -> Encoding {
        Encoding::Archive
    }
    fn as_payload(&self) -> &[u8] {
        self.0
    }
}

/// A type whose values can be published as archives: any that derives [`rkyv::Serialize`].
pub trait ArchivePayload:
    for<'a> rkyv::Serialize<
        rkyv::api::high::HighSerializer<
            Vec<u8>,
            rkyv::ser::allocator::ArenaHandle<'a>,
            rkyv::rancor::Error,
        >,
    >
{
}

impl<T> ArchivePayload for T where
    T: for<'a> rkyv::Serialize<
            rkyv::api::high::HighSerializer<
                Vec<u8>,
                rkyv::ser::allocator::ArenaHandle<'a>,
                rkyv::rancor::Error,
            >,
        >
{
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(payload: impl Payload, encoding: Encoding) {
        assert_eq!((payload.encoding(), payload.as_payload()), (encoding, &b"hello"[..]));
    }

    #[test]
    fn each_kind_has_its_encoding() {
        check(b"hello", Encoding::Bytes);
        check(&b"hello"[..], Encoding::Bytes);
        check(b"hello".to_vec(), Encoding::Bytes);
        check(Bytes::from_static(b"hello"), Encoding::Bytes);
        check("hello", Encoding::Text);
        check(String::from("hello"), Encoding::Text);
    }
}
