//! How OpenVPN's management interface reads what it is sent: `man_read` and `command_line_add`
//! (protocol notes, 3.1), written again from their rules; the words of a line by `proto::lexer`.

use ovpn_warden::proto::{
    lexer::{self, LexError},
    limits::MAX_COMMAND_LINE,
};

/// The parameters of one line; `Err` where the server refuses it.
pub(crate) type Words = Result<Vec<String>, LexError>;

/// One command as the server runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) words: Vec<String>,
    /// The lines between `client-auth` and `END`.
    pub(crate) body: Vec<String>,
}

/// The lines that the server takes out of its buffer. Every one is short enough to be safe.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut line, mut length) = (Vec::new(), Vec::new(), 0);
    for &byte in bytes {
        length += 1;
        // The buffer is emptied without a word when the next chunk may not fit.
        assert!(length <= MAX_COMMAND_LINE, "an over-long line would run its tail");
        match byte {
            b'\n' => {
                length = 0;
                lines.push(std::mem::take(&mut line));
            }
            0..32 | 127 => {}
            byte => line.push(byte),
        }
    }
    assert!(line.is_empty(), "a line without an end");
    lines
}

fn words(line: &[u8]) -> Words {
    let words = lexer::words(line)?.words;
    Ok(words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect())
}

/// The parameters of each line.
pub(crate) fn commands(bytes: &[u8]) -> Vec<Words> {
    lines(bytes).iter().map(|line| words(line)).collect()
}

/// The commands that the server runs.
pub(crate) fn runs(bytes: &[u8]) -> Result<Vec<Run>, LexError> {
    let (mut runs, mut lines) = (Vec::new(), lines(bytes).into_iter());
    while let Some(line) = lines.next() {
        let words = words(&line)?;
        let mut body = Vec::new();
        // Where an id is none, the body would run as commands.
        let has_body = words.first().is_some_and(|word| word == "client-auth")
            && words.len() >= 3
            && words[1..3].iter().all(|id| id.parse::<u32>().is_ok());
        if has_body {
            loop {
                let line = lines.next().expect("a body without END");
                if line == b"END" {
                    break;
                }
                body.push(String::from_utf8(line).unwrap());
            }
        }
        if !words.is_empty() {
            runs.push(Run { words, body });
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_at_end_and_what_follows_runs() {
        let read = runs(b"client-auth 1 2\npush \"x\"\nEND\npid\n").unwrap();
        assert_eq!((read.len(), read[0].body.len()), (2, 1));
        let read = runs(b"client-auth 1 x\nkill a\nEND\n").unwrap();
        assert_eq!(read.len(), 3);
    }

    #[test]
    #[should_panic = "over-long"]
    fn a_line_over_the_bound_is_a_fault() {
        commands(&[b'a'; MAX_COMMAND_LINE + 1]);
    }
}
