//! Words of a line: `parse_line` of OpenVPN's options_parse.c, carried over statement by statement
//! with its own variables, against `proto::lexer`, which was written from its states.

use ovpn_warden::proto::{
    lexer::{LexError, Lexed, words},
    limits::{MAX_PARAMETER, MAX_PARAMETERS},
};

/// Checks one input.
pub(crate) fn check(line: &[u8]) {
    assert_eq!(words(line), parse_line(line), "{:?}", String::from_utf8_lossy(line));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Initial,
    ReadingQuoted,
    ReadingUnquoted,
    ReadingSquoted,
    Done,
}

pub(super) fn parse_line(line: &[u8]) -> Result<Lexed, LexError> {
    let mut p = Lexed::default();
    let mut state = State::Initial;
    let mut backslash = false;
    let mut parm: Vec<u8> = Vec::new();
    let mut c = 0;
    loop {
        let byte = line.get(c).copied().unwrap_or(0);
        let mut out = 0;
        if !backslash && byte == b'\\' && state != State::ReadingSquoted {
            backslash = true;
        } else {
            if state == State::Initial {
                if !space(byte) {
                    if byte == b';' || byte == b'#' {
                        p.has_comment = true;
                        break;
                    }
                    if !backslash && byte == b'"' {
                        state = State::ReadingQuoted;
                    } else if !backslash && byte == b'\'' {
                        state = State::ReadingSquoted;
                    } else {
                        out = byte;
                        state = State::ReadingUnquoted;
                    }
                }
            } else if state == State::ReadingUnquoted {
                if !backslash && space(byte) {
                    state = State::Done;
                } else {
                    out = byte;
                }
            } else if state == State::ReadingQuoted {
                if !backslash && byte == b'"' {
                    state = State::Done;
                } else {
                    out = byte;
                }
            } else if state == State::ReadingSquoted {
                if byte == b'\'' {
                    state = State::Done;
                } else {
                    out = byte;
                }
            }
            if state == State::Done {
                p.words.push(std::mem::take(&mut parm));
                state = State::Initial;
            }
            if backslash && out != 0 && !(out == b'\\' || out == b'"' || space(out)) {
                return Err(LexError::Backslash);
            }
            backslash = false;
        }
        if out != 0 {
            if parm.len() >= MAX_PARAMETER {
                return Err(LexError::TooLong);
            }
            parm.push(out);
        }
        if p.words.len() >= MAX_PARAMETERS || byte == 0 {
            break;
        }
        c += 1;
    }
    match state {
        State::ReadingQuoted | State::ReadingSquoted => Err(LexError::Quotation),
        // A backslash took the end of the word away.
        State::ReadingUnquoted => Err(LexError::Backslash),
        State::Initial | State::Done => Ok(p),
    }
}

/// `space` of OpenVPN in the C locale.
fn space(byte: u8) -> bool {
    byte == 0 || byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}
