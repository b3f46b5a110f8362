//! How OpenVPN cuts a line into words: `parse_line` (options_parse.c), state by state.
//!
//! The server reads commands and configuration lines alike with it, so it judges what we may send
//! (`config_line`) and proves what we do send (tests). Held against OpenVPN 2.6.14 by running both.

use thiserror::Error;

use super::limits::{MAX_PARAMETER, MAX_PARAMETERS};

/// Why OpenVPN refuses a whole line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LexError {
    /// A quotation without its end.
    #[error("a quotation is not closed")]
    Quotation,
    /// A backslash where it escapes nothing.
    #[error("a backslash may stand only before a backslash, a double quote or a blank")]
    Backslash,
    /// A word over [`MAX_PARAMETER`].
    #[error("a word is longer than {MAX_PARAMETER} bytes")]
    TooLong,
}

/// A line as OpenVPN reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lexed {
    /// At most [`MAX_PARAMETERS`]; what follows the last is not read.
    pub words: Vec<Vec<u8>>,
    /// Whether a comment ended the line.
    pub has_comment: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    Bare,
    Quoted,
    SingleQuoted,
}

/// Cuts one line, without its end, into words. A NUL ends it, as in C.
///
/// # Errors
/// Where OpenVPN refuses the line.
pub fn words(line: &[u8]) -> Result<Lexed, LexError> {
    let (mut lexed, mut word) = (Lexed::default(), Vec::new());
    let (mut state, mut is_escaped) = (State::Between, false);
    let text = line.split(|byte| *byte == 0).next().unwrap_or_default();
    // OpenVPN's loop takes the closing NUL too, as a blank.
    for byte in text.iter().copied().chain([0]) {
        if byte == b'\\' && !is_escaped && state != State::SingleQuoted {
            is_escaped = true;
            continue;
        }
        let was_escaped = std::mem::take(&mut is_escaped);
        let is_done = match (state, byte) {
            (State::Between, byte) if is_blank(byte) => continue,
            // Even behind a backslash.
            (State::Between, b';' | b'#') => {
                lexed.has_comment = true;
                return Ok(lexed);
            }
            (State::Between, b'"') if !was_escaped => {
                state = State::Quoted;
                continue;
            }
            (State::Between, b'\'') if !was_escaped => {
                state = State::SingleQuoted;
                continue;
            }
            (State::Between, _) => {
                state = State::Bare;
                false
            }
            (State::Bare, byte) => is_blank(byte) && !was_escaped,
            (State::Quoted, byte) => byte == b'"' && !was_escaped,
            (State::SingleQuoted, byte) => byte == b'\'',
        };
        if is_done {
            lexed.words.push(std::mem::take(&mut word));
            state = State::Between;
            if lexed.words.len() == MAX_PARAMETERS {
                return Ok(lexed);
            }
        } else if byte != 0 {
            if was_escaped && !(matches!(byte, b'\\' | b'"') || is_blank(byte)) {
                return Err(LexError::Backslash);
            }
            if word.len() == MAX_PARAMETER {
                return Err(LexError::TooLong);
            }
            word.push(byte);
        }
    }
    match state {
        State::Between => Ok(lexed),
        // A backslash was the last character.
        State::Bare => Err(LexError::Backslash),
        State::Quoted | State::SingleQuoted => Err(LexError::Quotation),
    }
}

/// `isspace` of the C locale, and NUL.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, 0 | b' ' | 9..=13)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Vec<String>, LexError> {
        let lexed = words(line.as_bytes())?;
        Ok(lexed.words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect())
    }

    #[test]
    fn lines_are_cut_as_openvpn_cuts_them() {
        let table: [(&str, &[&str]); 17] = [
            ("", &[]),
            ("  a  b ", &["a", "b"]),
            (r#"a "b c" 'd e'"#, &["a", "b c", "d e"]),
            (r#"a "b \" \\ c""#, &["a", r#"b " \ c"#]),
            (r"a 'b \ c'", &["a", r"b \ c"]),
            (r"a b\ c", &["a", "b c"]),
            (r#""a""b""#, &["a", "b"]),
            (r#"a"b"c d'e'"#, &[r#"a"b"c"#, "d'e'"]),
            (r#""" '' a"#, &["", "", "a"]),
            ("a # b", &["a"]),
            ("a;b #c", &["a;b"]),
            ("a \"#\" ';'", &["a", "#", ";"]),
            (r"a \# b", &["a"]),
            (r"a \ b", &["a", "b"]),
            (r"a \", &["a"]),
            ("a é", &["a", "é"]),
            ("a\0b", &["a"]),
        ];
        for (line, expected) in table {
            assert_eq!(
                read(line),
                Ok(expected.iter().map(|s| (*s).to_owned()).collect()),
                "{line}"
            );
        }
    }

    #[test]
    fn lines_are_refused_where_openvpn_refuses_them() {
        for (line, error) in [
            (r#"a "b"#, LexError::Quotation),
            ("a 'b", LexError::Quotation),
            (r#"a "b\"#, LexError::Quotation),
            (r"a\nb", LexError::Backslash),
            (r#"a "\x""#, LexError::Backslash),
            (r"a \'b'", LexError::Backslash),
            (r"ab\", LexError::Backslash),
        ] {
            assert_eq!(read(line), Err(error), "{line}");
        }
    }

    #[test]
    fn words_have_bounds_and_what_follows_the_last_is_not_read() {
        for quote in ["", "\"", "'"] {
            let line = |length| format!("a {quote}{}{quote}", "x".repeat(length));
            assert_eq!(read(&line(MAX_PARAMETER)).map(|words| words.len()), Ok(2));
            assert_eq!(read(&line(MAX_PARAMETER + 1)), Err(LexError::TooLong));
        }
        let escaped = format!("\"{}\"", "\\\"".repeat(MAX_PARAMETER));
        assert_eq!(read(&escaped).map(|words| words[0].len()), Ok(MAX_PARAMETER));
        let many = format!("{} \"", "a ".repeat(MAX_PARAMETERS));
        assert_eq!(read(&many).map(|words| words.len()), Ok(MAX_PARAMETERS));
    }

    #[test]
    fn a_comment_is_told() {
        assert!(words(b"push x # y").unwrap().has_comment);
        assert!(!words(b"push \"x # y\"").unwrap().has_comment);
    }
}
