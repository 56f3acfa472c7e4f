//! Typed values: their names, the layout of their archives, and the payloads made from them.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::payload::Payload;
use crate::client::error::SendError;
use crate::wire::properties::PayloadType;
use crate::wire::record::Encoding;

/// A type whose values travel as archives, under a name that publishers and readers share.
///
/// [`archive_type!`](crate::archive_type) implements it for a struct, with the layout of the struct's archive.
/// Numbers, `bool`, `char`, `String`, tuples of at most six, arrays, and `Option`, `Box`, `Vec`, `HashMap` and `BTreeMap` of such types have
/// it. For others, such as enums, generic and recursive types, implement it by hand:
///
/// ```
/// use mezzenger::ArchiveType;
///
/// #[derive(rkyv::Archive, rkyv::Serialize)]
/// enum Side {
///     Buy,
///     Sell,
/// }
///
/// impl ArchiveType for Side {
///     const NAME: &'static str = "shop.Side/1";
/// }
/// ```
///
/// # What is compared
///
/// Name and layout travel with each archive, and [`Message::archive`](crate::Message::archive) compares them with those of the requested
/// type. The layout is a hash of [`Self::LAYOUT`], of the archive's size, and of the pointer width that rkyv was compiled
/// with. With a `LAYOUT` of 0, as above, a changed type is noticed only if its size changes, and not if variants are reordered or
/// a type behind a pointer is replaced by another one of the same size. When you change such a type, change its name or its `LAYOUT`. What fields mean is
/// never compared: a price in cents and one in euros look the same.
pub trait ArchiveType: rkyv::Archive {
    /// The type's name: 1 to 255 bytes without control characters. It is independent of the type's path, so that the type can move, and
    /// two programs can each define their own.
    const NAME: &'static str;
    /// A number that changes with the fields and their types.
    const LAYOUT: u64 = 0;
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a, because it can be computed in a constant.
const fn hash_byte(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(FNV_PRIME)
}

const fn hash_number(mut hash: u64, number: u64) -> u64 {
    let bytes = number.to_le_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = hash_byte(hash, bytes[at]);
        at += 1;
    }
    hash
}

const fn hash_text(hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = hash_number(hash, bytes.len() as u64);
    let mut at = 0;
    while at < bytes.len() {
        hash = hash_byte(hash, bytes[at]);
        at += 1;
    }
    hash
}

/// A hash of a type's layout in archives of this program, including its name.
#[doc(hidden)]
pub const fn layout_of<T: ArchiveType>() -> u64 {
    let hash = hash_number(hash_text(FNV_BASIS, T::NAME), T::LAYOUT);
    let hash = hash_number(hash, size_of::<T::Archived>() as u64);
    let hash = hash_number(hash, align_of::<T::Archived>() as u64);
    hash_number(hash, size_of::<rkyv::primitive::ArchivedUsize>() as u64)
}

/// A hash of these fields: their names, their offsets, and [`layout_of`] their types.
#[doc(hidden)]
pub const fn layout_of_fields(fields: &[(&str, usize, u64)]) -> u64 {
    let (mut hash, mut at) = (FNV_BASIS, 0);
    while at < fields.len() {
        let (name, offset, layout) = fields[at];
        hash = hash_number(hash_number(hash_text(hash, name), offset as u64), layout);
        at += 1;
    }
    hash
}

#[doc(hidden)]
pub type ArchivedForm<T> = <T as rkyv::Archive>::Archived;

/// Implements [`ArchiveType`](crate::ArchiveType) for a struct. Name all of its fields with their types; the compiler rejects
/// anything else. The types of the fields have to implement the trait, too. Use it where the fields are visible:
///
/// ```
/// #[derive(rkyv::Archive, rkyv::Serialize)]
/// struct Quote {
///     symbol: String,
///     price: u32,
/// }
/// mezzenger::archive_type!(Quote { symbol: String, price: u32 });
///
/// #[derive(rkyv::Archive, rkyv::Serialize)]
/// struct Book {
///     quotes: Vec<Quote>,
/// }
/// // The name is that of the struct, unless you give another.
/// mezzenger::archive_type!(Book as "shop.Book" { quotes: Vec<Quote> });
/// # use mezzenger::ArchiveType;
/// # assert_eq!((Quote::NAME, Book::NAME), ("Quote", "shop.Book"));
/// ```
///
/// Names, types and order of the fields are part of the layout: a field that is added, removed, renamed, moved or given another type
/// changes the layout, also that of structs that contain this one.
///
/// ```compile_fail
/// #[derive(rkyv::Archive, rkyv::Serialize)]
/// struct Quote {
///     price: u32,
/// }
/// mezzenger::archive_type!(Quote { price: i32 });
/// ```
///
/// ```compile_fail
/// #[derive(rkyv::Archive, rkyv::Serialize)]
/// struct Quote {
///     symbol: String,
///     price: u32,
/// }
/// mezzenger::archive_type!(Quote { price: u32 });
/// ```
#[macro_export]
macro_rules! archive_type {
    ($type:ident { $($field:ident: $of:ty),* $(,)? }) => {
        $crate::archive_type!(@ $type, ::core::stringify!($type), $($field: $of),*);
    };
    ($type:ident as $name:literal { $($field:ident: $of:ty),* $(,)? }) => {
        $crate::archive_type!(@ $type, $name, $($field: $of),*);
    };
    (@ $type:ident, $name:expr, $($field:ident: $of:ty),*) => {
        impl $crate::ArchiveType for $type {
            const NAME: &'static str = $name;
            const LAYOUT: u64 = $crate::layout_of_fields(&[$((
                ::core::stringify!($field),
                ::core::mem::offset_of!($crate::ArchivedForm<$type>, $field),
                $crate::layout_of::<$of>(),
            )),*]);
        }
        // All fields, and their types.
        const _: fn(&$type) = |$type { $($field),* }| {
            $(let _: &&$of = &$field;)*
        };
    };
}

macro_rules! named {
    ($($type:ty: $name:literal),* $(,)?) => {$(
        impl ArchiveType for $type {
            const NAME: &'static str = $name;
        }
    )*};
}

named! {
    (): "()", bool: "bool", char: "char", String: "String", f32: "f32", f64: "f64",
    u8: "u8", u16: "u16", u32: "u32", u64: "u64", u128: "u128", usize: "usize",
    i8: "i8", i16: "i16", i32: "i32", i64: "i64", i128: "i128", isize: "isize",
}

macro_rules! of_one {
    ($($type:ident),*) => {$(
        impl<T: ArchiveType> ArchiveType for $type<T> {
            const NAME: &'static str = stringify!($type);
            const LAYOUT: u64 = layout_of::<T>();
        }
    )*};
}

of_one!(Box, Option, Vec);

impl<T: ArchiveType, const N: usize> ArchiveType for [T; N] {
    const NAME: &'static str = "[]";
    const LAYOUT: u64 = hash_number(layout_of::<T>(), N as u64);
}

impl<K, V> ArchiveType for HashMap<K, V>
where
    K: ArchiveType<Archived: Hash + Eq> + Hash + Eq,
    V: ArchiveType,
{
    const NAME: &'static str = "HashMap";
    const LAYOUT: u64 = hash_number(layout_of::<K>(), layout_of::<V>());
}

impl<K, V> ArchiveType for BTreeMap<K, V>
where
    K: ArchiveType<Archived: Ord> + Ord,
    V: ArchiveType,
{
    const NAME: &'static str = "BTreeMap";
    const LAYOUT: u64 = hash_number(layout_of::<K>(), layout_of::<V>());
}

macro_rules! tuples {
    ($(($($t:ident),+))*) => {$(
        impl<$($t: ArchiveType),+> ArchiveType for ($($t,)+) {
            const NAME: &'static str = "(,)";
            const LAYOUT: u64 = {
                let hash = FNV_BASIS;
                $(let hash = hash_number(hash, layout_of::<$t>());)+
                hash
            };
        }
    )*};
}

tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }

/// A type's name and layout in this program.
pub(in crate::client) const fn type_of<T: ArchiveType>() -> PayloadType<'static> {
    PayloadType { layout: const { layout_of::<T>() }, name: T::NAME }
}

/// A type whose values can be published as archives: any that derives [`rkyv::Serialize`] and is an [`ArchiveType`].
pub trait ArchivePayload:
    ArchiveType
    + for<'a> rkyv::Serialize<
        rkyv::api::high::HighSerializer<
            Vec<u8>,
            rkyv::ser::allocator::ArenaHandle<'a>,
            rkyv::rancor::Error,
        >,
    >
{
}

impl<T> ArchivePayload for T where
    T: ArchiveType
        + for<'a> rkyv::Serialize<
            rkyv::api::high::HighSerializer<
                Vec<u8>,
                rkyv::ser::allocator::ArenaHandle<'a>,
                rkyv::rancor::Error,
            >,
        >
{
}

/// Writes the archive of a value to an empty buffer.
pub(in crate::client) fn write<T: ArchivePayload>(
    value: &T,
    buffer: Vec<u8>,
) -> Result<Vec<u8>, SendError> {
    rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Error>(value, buffer)
        .map_err(|error| SendError::Archive { text: error.to_string() })
}

/// A typed value to publish, wherever a [`Payload`] is taken: messages with headers, requests, replies.
///
/// ```
/// # use mezzenger::{Client, Server, TypedPayload};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
/// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
/// let mut prices = client.subscription("price.tea")?;
/// client.message("price.tea", TypedPayload::new(&7_u32)?).header("shop", "7").send()?;
/// let price = prices.recv()?;
/// assert_eq!(*price.archive::<u32>()?, 7);
/// assert!(price.archive::<f32>().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedPayload {
    bytes: Vec<u8>,
    payload_type: PayloadType<'static>,
}

impl TypedPayload {
    /// Archives a value.
    ///
    /// # Errors
    /// [`SendError::Archive`] when the value's own implementation fails.
    pub fn new<T: ArchivePayload>(value: &T) -> Result<Self, SendError> {
        Ok(Self { bytes: write(value, Vec::new())?, payload_type: type_of::<T>() })
    }
}

impl Payload for TypedPayload {
    fn encoding(&self) -> Encoding {
        Encoding::Archive
    }
    fn as_payload(&self) -> &[u8] {
        &self.bytes
    }
    fn payload_type(&self) -> Option<PayloadType<'_>> {
        Some(self.payload_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same fields, but for one thing each.
    mod variants {
        macro_rules! variant {
            ($module:ident, $($field:ident: $of:ty),*) => {
                pub(crate) mod $module {
                    #[derive(rkyv::Archive, rkyv::Serialize)]
                    pub(crate) struct Quote {
                        $(pub(crate) $field: $of),*
                    }
                    crate::archive_type!(Quote { $($field: $of),* });
                }
            };
        }
        variant!(original, a: u32, b: u32, c: Vec<(u8, Option<u16>)>);
        variant!(copy, a: u32, b: u32, c: Vec<(u8, Option<u16>)>);
        variant!(swapped, b: u32, a: u32, c: Vec<(u8, Option<u16>)>);
        variant!(other_type, a: u32, b: f32, c: Vec<(u8, Option<u16>)>);
        variant!(renamed, a: u32, d: u32, c: Vec<(u8, Option<u16>)>);
        variant!(deep, a: u32, b: u32, c: Vec<(u8, Option<i16>)>);
        variant!(shorter, a: u32, b: u32);
        variant!(around, a: super::original::Quote);
        variant!(around_deep, a: super::deep::Quote);
    }

    #[test]
    fn a_layout_is_that_of_all_fields_and_of_their_types() {
        use variants::*;
        let layouts = [
            layout_of::<original::Quote>(),
            layout_of::<swapped::Quote>(),
            layout_of::<other_type::Quote>(),
            layout_of::<renamed::Quote>(),
            layout_of::<deep::Quote>(),
            layout_of::<shorter::Quote>(),
            layout_of::<around::Quote>(),
            layout_of::<around_deep::Quote>(),
        ];
        for (at, layout) in layouts.iter().enumerate() {
            assert!(!layouts[..at].contains(layout), "{at}");
        }
        assert_eq!(layout_of::<original::Quote>(), layout_of::<copy::Quote>());
    }

    #[test]
    fn types_that_look_alike_differ_by_their_names() {
        let types = [
            type_of::<u32>(),
            type_of::<i32>(),
            type_of::<f32>(),
            type_of::<char>(),
            type_of::<[u8; 4]>(),
            type_of::<[u16; 2]>(),
            type_of::<(u16, u16)>(),
            type_of::<(u16, i16)>(),
            type_of::<String>(),
            type_of::<Vec<u8>>(),
            type_of::<Vec<i8>>(),
            type_of::<Box<u8>>(),
            type_of::<BTreeMap<u8, u8>>(),
            type_of::<HashMap<u8, u8>>(),
            type_of::<HashMap<u8, i8>>(),
        ];
        for (at, found) in types.iter().enumerate() {
            assert!(!types[..at].contains(found), "{at}");
        }
    }

    #[test]
    fn the_number_of_a_layout_stays_the_same_over_compilers() {
        // Messages in journals have it.
        let by_hand = {
            let fnv = |hash: u64, bytes: &[u8]| {
                bytes
                    .iter()
                    .fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
            };
            let numbers = |hash, numbers: &[u64]| {
                numbers.iter().fold(hash, |hash, number| fnv(hash, &number.to_le_bytes()))
            };
            let width = size_of::<rkyv::primitive::ArchivedUsize>() as u64;
            numbers(fnv(numbers(FNV_BASIS, &[3]), b"u32"), &[0, 4, 1, width])
        };
        assert_eq!(layout_of::<u32>(), by_hand);
    }
}
