//! Text of strangers within a line for people.

/// Whether a character changes how the text around it looks, or is not seen: control characters, separators of lines and
/// paragraphs, marks for the direction of text, and characters without a width. Accents and the variants of
/// emoji, which belong to the character before them, are not among these.
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// A text with [hidden](is_hidden) characters written out, as `\n` or `\u{202e}`.
pub fn escape_hidden(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        if is_hidden(char) {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_or_turns_text_around_is_written_out() {
        let check = |text: &str, expected: &str| assert_eq!(escape_hidden(text), expected);
        check("a 'b'\n\u{1b}[31m\u{85}\u{e4}", "a 'b'\\n\\u{1b}[31m\\u{85}\u{e4}");
        check("a\u{202e}b\u{2066}c\u{61c}", "a\\u{202e}b\\u{2066}c\\u{61c}");
        check("a\u{200b}b\u{feff}\u{ad}\u{2060}", "a\\u{200b}b\\u{feff}\\u{ad}\\u{2060}");
        check("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}");
        check("a\u{e0041}\u{1bca0}", "a\\u{e0041}\\u{1bca0}");
        for text in ["e\u{301}", "\u{2764}\u{fe0f}", "\u{65e5}\u{672c}", "\u{5d0}\u{5d1}", "\\n"] {
            check(text, text);
        }
    }
}
