//! How OpenVPN's management interface reads what it is sent: `man_read`, `command_line_add` and
//! `parse_line` (protocol notes, 3.1), written again from their rules for the tests.

/// Longest parameter; one more is refused (measured on 2.6.14).
const MAX_PARAMETER: usize = 256;
/// Most parameters; further ones are ignored.
const MAX_PARAMETERS: usize = 16;
/// The buffer for one line, and how much is read at once.
const BUFFER: usize = 1_024;
const CHUNK: usize = 256;

/// The parameters of each command that the server would run; `Err` where it refuses the line.
pub(super) fn commands(bytes: &[u8]) -> Vec<Result<Vec<String>, &'static str>> {
    let (mut commands, mut line) = (Vec::new(), Vec::new());
    for &byte in bytes {
        match byte {
            b'\n' => commands.push(words(&std::mem::take(&mut line))),
            0..32 | 127 => {}
            byte => line.push(byte),
        }
        // The buffer is emptied without a word when the next chunk may not fit.
        assert!(line.len() <= BUFFER - CHUNK, "an over-long line would run its tail");
    }
    assert!(line.is_empty(), "a line without an end");
    commands
}

/// `parse_line`.
fn words(line: &[u8]) -> Result<Vec<String>, &'static str> {
    let (mut words, mut at) = (Vec::new(), 0);
    while at < line.len() && words.len() < MAX_PARAMETERS {
        match line[at] {
            b' ' => at += 1,
            b'#' | b';' => break,
            b'\'' => {
                let end = line[at + 1..].iter().position(|b| *b == b'\'');
                let end = at + 1 + end.ok_or("no closing quotation")?;
                words.push(word(line[at + 1..end].to_vec())?);
                at = end + 1;
            }
            b'"' => {
                let (text, next) = escaped(line, at + 1, b'"').ok_or("bad quotation")?;
                words.push(word(text)?);
                at = next + 1;
            }
            _ => {
                let (text, next) = escaped(line, at, b' ').ok_or("bad backslash")?;
                words.push(word(text)?);
                at = next;
            }
        }
    }
    Ok(words)
}

/// Text up to `end` (or, for a space, to the line's end), with `\\`, `\"` and `\ ` resolved.
fn escaped(line: &[u8], mut at: usize, end: u8) -> Option<(Vec<u8>, usize)> {
    let mut text = Vec::new();
    loop {
        match line.get(at) {
            None if end == b' ' => return Some((text, at)),
            None => return None,
            Some(byte) if *byte == end => return Some((text, at)),
            Some(b'\\') => {
                let escape = line.get(at + 1).filter(|b| matches!(b, b'\\' | b'"' | b' '))?;
                text.push(*escape);
                at += 2;
            }
            Some(byte) => {
                text.push(*byte);
                at += 1;
            }
        }
    }
}

fn word(text: Vec<u8>) -> Result<String, &'static str> {
    if text.len() > MAX_PARAMETER {
        return Err("parameter too long");
    }
    String::from_utf8(text).map_err(|_| "not UTF-8")
}

#[test]
fn the_lexer_follows_the_rules_of_the_notes() {
    let read = |text: &str| commands(text.as_bytes()).remove(0);
    assert_eq!(
        read("a \"b \\\"c\\\\\" d\\ e 'f\\g'\n"),
        Ok(["a", "b \"c\\", "d e", "f\\g"].map(String::from).into())
    );
    assert_eq!(read("verb\t3 # note\n"), Ok(vec!["verb3".into()]));
    assert_eq!(read("a \"# b\" ; c\n"), Ok(vec!["a".into(), "# b".into()]));
    assert!(read("a \"b\n").is_err() && read("a \\n\n").is_err());
    assert!(read(&format!("{}\n", "a".repeat(256))).is_ok());
    assert!(read(&format!("{}\n", "a".repeat(257))).is_err());
    assert_eq!(read(&format!("{}\n", "a ".repeat(20))).map(|words| words.len()), Ok(16));
}
