//! The opcodes that push one scalar, read with their operands.

use super::error::PickleError;
use super::item::Item;
use super::reader::Reader;
use super::text::{Octets, Text};
use super::{number, opcode as op};

/// Reads the scalar that an opcode stands for; `None` if the opcode is another kind.
#[inline(always)]
pub(super) fn read<'a>(
    opcode: u8,
    input: &mut Reader<'a>,
) -> Result<Option<Item<'a>>, PickleError> {
    let at = input.at() - 1;
    let malformed = || PickleError::Operand { opcode, at };
    Ok(Some(match opcode {
        op::NONE => Item::None,
        op::NEWTRUE => Item::Bool(true),
        op::NEWFALSE => Item::Bool(false),
        op::BININT => Item::Int(i32::from_le_bytes(input.array()?).into()),
        op::BININT1 => Item::Int(input.byte()?.into()),
        op::BININT2 => Item::Int(u16::from_le_bytes(input.array()?).into()),
        op::BINFLOAT => Item::Float(f64::from_be_bytes(input.array()?)),
        op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 => {
            Item::Text(Text::from_utf8(sized(opcode, input)?).ok_or_else(malformed)?)
        }
        op::SHORT_BINBYTES | op::BINBYTES | op::BINBYTES8 => {
            Item::Bytes(Octets::Raw(sized(opcode, input)?))
        }
        op::BYTEARRAY8 => Item::ByteArray(Octets::Raw(sized(opcode, input)?)),
        op::SHORT_BINSTRING | op::BINSTRING => Item::Str(Octets::Raw(sized(opcode, input)?)),
        op::LONG1 | op::LONG4 => number::from_little_endian(sized(opcode, input)?).into(),
        op::INT => match input.line()? {
            b"00" => Item::Bool(false),
            b"01" => Item::Bool(true),
            line => number::from_decimal(line).ok_or_else(malformed)?.into(),
        },
        op::LONG => {
            let line = input.line()?;
            number::from_decimal(line.strip_suffix(b"L").unwrap_or(line))
                .ok_or_else(malformed)?
                .into()
        }
        op::FLOAT => Item::Float(number::float_from_text(input.line()?).ok_or_else(malformed)?),
        op::STRING => Item::Str(Octets::from_quoted(input.line()?).ok_or_else(malformed)?),
        op::UNICODE => Item::Text(Text::from_escaped(input.line()?).ok_or_else(malformed)?),
        _ => return Ok(None),
    }))
}

/// Reads a length and that many bytes.
#[inline]
fn sized<'a>(opcode: u8, input: &mut Reader<'a>) -> Result<&'a [u8], PickleError> {
    let at = input.at() - 1;
    let bytes = match opcode {
        op::SHORT_BINUNICODE | op::SHORT_BINBYTES | op::SHORT_BINSTRING | op::LONG1 => {
            usize::from(input.byte()?)
        }
        // These two lengths are signed.
        op::BINSTRING | op::LONG4 => usize::try_from(i32::from_le_bytes(input.array()?))
            .map_err(|_| PickleError::Operand { opcode, at })?,
        op::BINUNICODE | op::BINBYTES => u32::from_le_bytes(input.array()?) as usize,
        _ => usize::try_from(u64::from_le_bytes(input.array()?))
            .map_err(|_| PickleError::Truncated)?,
    };
    input.take(bytes)
}
