//! Text from the network, made safe to show.

use std::fmt::{self, Write};

/// Shows bytes as one line of text that no terminal interprets: invalid UTF-8 becomes U+FFFD,
/// control characters (C0, DEL, C1), bidi controls and line separators become `\u{…}`.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a [u8]);

/// Whether a character could change what a terminal shows around it.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if is_unsafe(c) {
                    write!(f, "\\u{{{:x}}}", u32::from(c))?;
                } else {
                    f.write_char(c)?;
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

/// The longest prefix of `text` of at most `max` bytes that ends on a character boundary.
pub fn truncate_on_char(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_and_bidi_controls_are_escaped() {
        let shown = Printable("\u{202e}\u{9b}31mroot\n\u{7f}é".as_bytes()).to_string();
        assert_eq!(shown, "\\u{202e}\\u{9b}31mroot\\u{a}\\u{7f}é");
        assert_eq!(Printable(b"a\xffb").to_string(), "a\u{fffd}b");
    }

    #[test]
    fn truncation_keeps_characters_whole() {
        assert_eq!(truncate_on_char("aé", 2), "a");
        assert_eq!(truncate_on_char("aé", 3), "aé");
        assert_eq!(truncate_on_char("a", 9), "a");
    }
}
