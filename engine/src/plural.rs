//! Numbers of things, for texts.

use std::fmt::Display;

/// `1 message`, `2 messages`: a number, and the word for one or for several.
pub(crate) fn counted<N: Display + PartialEq + From<u8>>(
    number: N,
    one: &str,
    several: &str,
) -> String {
    let word = if number == N::from(1) { one } else { several };
    format!("{number} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let texts = [0, 1, 2].map(|number: usize| counted(number, "try", "tries"));
        assert_eq!(texts, ["0 tries", "1 try", "2 tries"]);
    }
}
