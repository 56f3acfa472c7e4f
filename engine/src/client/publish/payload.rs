//! Payloads: bytes, text, and typed values as `archive` writes them.

use bytes::Bytes;

use crate::wire::pickle::PickleError;
use crate::wire::properties::PayloadType;
use crate::wire::record::Encoding;

/// Something that can be the payload of a message.
///
/// Byte slices, arrays, `Vec<u8>` and [`Bytes`] are published as [`Encoding::Bytes`]; `str` and
/// `String` as [`Encoding::Text`]; a [`TypedPayload`](crate::TypedPayload) as [`Encoding::Archive`]; and references to all
/// of them. The payload is only borrowed: it is copied once, into the frame that leaves.
pub trait Payload {
    /// Whether it is published as bytes, text or an archive.
    fn encoding(&self) -> Encoding;
    /// The bytes as they travel.
    fn as_payload(&self) -> &[u8];
    /// The type of the value, for an archive. Not called for other payloads.
    fn payload_type(&self) -> Option<PayloadType<'_>> {
        None
    }
}

impl<T: Payload + ?Sized> Payload for &T {
    fn encoding(&self) -> Encoding {
        (**self).encoding()
    }
    fn as_payload(&self) -> &[u8] {
        (**self).as_payload()
    }
    fn payload_type(&self) -> Option<PayloadType<'_>> {
        (**self).payload_type()
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

/// Why a payload could not be read as what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The payload is of another kind.
    #[error("the payload is no archive: its encoding is {encoding:?}")]
    NotAnArchive {
        /// What it is.
        encoding: Encoding,
    },
    /// The payload is no pickle.
    #[error(
        "the payload is no pickle but {encoding:?}: read it with payload(), text() or archive()"
    )]
    NotAPickle {
        /// What it is.
        encoding: Encoding,
    },
    /// The pickle cannot be read as data.
    #[error("the payload cannot be read as data: {0}")]
    Pickle(#[from] PickleError),
    /// The payload is an archive of a type with another name.
    #[error("the payload is a '{published}', and was read as a '{wanted}': read it as what it is")]
    OtherType {
        /// What its publisher calls it.
        published: String,
        /// What the type is called that was asked for.
        wanted: &'static str,
    },
    /// The payload is an archive of a type of the same name that lies there in another way.
    #[error(
        "the payload is a '{name}' with other fields, or written with another pointer width of rkyv: compile both \
         ends with the same definition, and give a type that changes another name"
    )]
    OtherLayout {
        /// What the type is called.
        name: &'static str,
    },
    /// The payload is an archive, and does not say of which type.
    #[error(
        "the payload does not say of which type it is an archive: publish it with publish_archive() or as a \
         TypedPayload, or read it with archive_untyped() if you know"
    )]
    Untyped,
    /// The bytes are not a valid archive of that type.
    #[error(
        "the payload is not a valid archive of this type: {text}; do both ends use the same type?"
    )]
    Invalid {
        /// What rkyv says.
        text: String,
    },
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
