//! [Z85](https://rfc.zeromq.org/spec/32/): four bytes as five characters that every shell and file takes.

const DIGITS: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Characters of a key.
pub(super) const KEY_CHARACTERS: usize = 40;

/// The text of 32 bytes.
pub(super) fn encode(bytes: &[u8; 32]) -> [u8; KEY_CHARACTERS] {
    let mut text = [0; KEY_CHARACTERS];
    let (words, _) = bytes.as_chunks::<4>();
    let (places, _) = text.as_chunks_mut::<5>();
    for (word, place) in words.iter().zip(places) {
        let mut rest = u32::from_be_bytes(*word);
        for digit in place.iter_mut().rev() {
            *digit = DIGITS[(rest % 85) as usize];
            rest /= 85;
        }
    }
    text
}

/// The 32 bytes of a text; `None` if it is none of such.
pub(super) fn decode(text: &[u8]) -> Option<[u8; 32]> {
    let text: &[u8; KEY_CHARACTERS] = text.try_into().ok()?;
    let mut bytes = [0; 32];
    let (places, _) = text.as_chunks::<5>();
    let (words, _) = bytes.as_chunks_mut::<4>();
    for (place, word) in places.iter().zip(words) {
        let mut value = 0_u32;
        for character in place {
            let digit = DIGITS.iter().position(|digit| digit == character)?;
            value = value.checked_mul(85)?.checked_add(digit as u32)?;
        }
        *word = value.to_be_bytes();
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_specification_is_the_same_here() {
        // RFC 32's example, four times.
        let eight = [0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b];
        let bytes: [u8; 32] = eight.repeat(4).try_into().unwrap();
        assert_eq!(encode(&bytes).as_slice(), b"HelloWorld".repeat(4));
        assert_eq!(decode(&b"HelloWorld".repeat(4)), Some(bytes));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            &b""[..],
            &b"HelloWorld".repeat(4)[1..],
            &b"HelloWorl ".repeat(4),
            &b"HelloWorl\\".repeat(4),
            // More than four bytes can say.
            &b"#####".repeat(8),
        ] {
            assert_eq!(decode(text), None);
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back(bytes: [u8; 32]) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
