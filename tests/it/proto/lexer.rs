//! How OpenVPN's management interface reads what it is sent: `man_read` and `command_line_add`
//! (protocol notes, 3.1), written again from their rules for the tests; the words of a line by
//! `proto::lexer`.

use ovpn_warden::proto::lexer::{self, LexError};

/// The buffer for one line, and how much is read at once.
const BUFFER: usize = 1_024;
const CHUNK: usize = 256;

/// The parameters of each command that the server would run; `Err` where it refuses the line.
pub(super) fn commands(bytes: &[u8]) -> Vec<Result<Vec<String>, LexError>> {
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

fn words(line: &[u8]) -> Result<Vec<String>, LexError> {
    let words = lexer::words(line)?.words;
    Ok(words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect())
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
