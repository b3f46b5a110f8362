//! What another tool may ask of a server over our connection, and what it may not.
//!
//! Only what reads is passed on. What decides about clients or the server is refused, what sets
//! up the tool's own connection is answered here. `daemon::relay` is the shell.

use super::lexer;

/// A command that is passed on: words of letters, digits and dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayedCommand {
    text: Box<str>,
    is_list: bool,
}

impl RelayedCommand {
    /// The command without its line end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its reply is a list that `END` ends, or one line that begins with `ERROR:`.
    pub const fn is_list(&self) -> bool {
        self.is_list
    }

    fn list(text: String) -> Self {
        Self { text: text.into(), is_list: true }
    }

    fn line(text: &str) -> Self {
        Self { text: text.into(), is_list: false }
    }
}

/// What a tool may switch on for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// `>STATE:`.
    State,
    /// `>LOG:`.
    Log,
    /// `>ECHO:`.
    Echo,
}

/// What comes of a line that a tool says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: a blank line or a comment, which OpenVPN does not answer either.
    Nothing,
    /// It is passed on, and so is the reply.
    Pass(RelayedCommand),
    /// It is answered here.
    Answer(String),
    /// A stream is switched; then an answer and perhaps a list.
    Switch {
        /// Which.
        stream: Stream,
        /// On or off.
        is_on: bool,
        /// The list of what was before.
        history: Option<RelayedCommand>,
    },
    /// Byte counts are wanted, or not.
    ByteCount {
        /// Whether.
        is_on: bool,
    },
    /// A refused command whose lines up to `END` belong to it.
    Block(String),
    /// It leaves.
    Leave,
}

/// Reads a line of a tool.
pub fn asked(line: &[u8]) -> Asked {
    let Ok(lexed) = lexer::words(line) else {
        return Asked::Answer("ERROR: Options error: the line cannot be read".into());
    };
    let words: Vec<&str> =
        lexed.words.iter().map(|word| std::str::from_utf8(word).unwrap_or("?")).collect();
    match &words[..] {
        [] => Asked::Nothing,
        ["exit" | "quit", ..] => Asked::Leave,
        ["version"] => Asked::Pass(RelayedCommand::list("version".into())),
        ["help"] => Asked::Pass(RelayedCommand::list("help".into())),
        [word @ ("pid" | "load-stats" | "verb" | "mute")] => {
            Asked::Pass(RelayedCommand::line(word))
        }
        ["status"] => Asked::Pass(RelayedCommand::list("status".into())),
        ["status", form @ ("1" | "2" | "3")] => {
            Asked::Pass(RelayedCommand::list(format!("status {form}")))
        }
        ["state"] => Asked::Pass(RelayedCommand::list("state".into())),
        ["state", rest @ ..] => stream(Stream::State, rest),
        ["log", rest @ ..] => stream(Stream::Log, rest),
        ["echo", rest @ ..] => stream(Stream::Echo, rest),
        ["bytecount", seconds] => match seconds.parse::<u32>() {
            Ok(seconds) => Asked::ByteCount { is_on: seconds > 0 },
            Err(_) => Asked::Answer("ERROR: bytecount needs a number of seconds".into()),
        },
        [word @ ("client-auth" | "client-pf"), ..] => Asked::Block(refusal(word)),
        [word, ..] => Asked::Answer(refusal(word)),
    }
}

fn stream(stream: Stream, rest: &[&str]) -> Asked {
    let name = stream.name();
    let list = |what: &str| RelayedCommand::list(format!("{name} {what}"));
    match rest {
        ["on"] => Asked::Switch { stream, is_on: true, history: None },
        ["on", "all"] => Asked::Switch { stream, is_on: true, history: Some(list("all")) },
        ["off"] => Asked::Switch { stream, is_on: false, history: None },
        ["all"] => Asked::Pass(list("all")),
        [count]
            if (1..=6).contains(&count.len())
                && count.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            Asked::Pass(list(count))
        }
        _ => Asked::Answer(format!(
            "ERROR: {name} parameter must be 'on' or 'off' or some number n or 'all'"
        )),
    }
}

impl Stream {
    /// The command that switches it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Log => "log",
            Self::Echo => "echo",
        }
    }

    /// How its lines begin.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::State => b">STATE:",
            Self::Log => b">LOG:",
            Self::Echo => b">ECHO:",
        }
    }
}

/// Why a command is not passed on.
fn refusal(word: &str) -> String {
    let hint = match word {
        "client-kill" | "kill" => "; use: ovpn-warden session kill",
        _ => "",
    };
    // A word of the tool's own, so nothing of it can break the line.
    let word: String =
        word.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(32).collect();
    format!("ERROR: '{word}' is not available here: ovpn-warden controls this server{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(line: &str) -> Option<(String, bool)> {
        let Asked::Pass(command) = asked(line.as_bytes()) else { return None };
        Some((command.as_str().to_owned(), command.is_list()))
    }

    #[test]
    fn what_reads_is_passed_on_in_our_own_words() {
        for (line, expected, is_list) in [
            ("status", "status", true),
            ("status 2", "status 2", true),
            ("  status   \"3\" ", "status 3", true),
            ("version", "version", true),
            ("help", "help", true),
            ("pid", "pid", false),
            ("load-stats", "load-stats", false),
            ("state", "state", true),
            ("state all", "state all", true),
            ("log 20", "log 20", true),
            ("verb", "verb", false),
        ] {
            assert_eq!(passes(line), Some((expected.to_owned(), is_list)), "{line}");
        }
    }

    #[test]
    fn what_decides_is_refused() {
        for line in [
            "client-auth-nt 0 1",
            "client-deny 0 1 \"no\"",
            "client-pending-auth 0 1 x 60",
            "client-kill 0",
            "kill alice",
            "signal SIGTERM",
            "hold",
            "hold release",
            "hold off",
            "env-filter 2",
            "verb 11",
            "mute 1",
            "password Management secret",
            "username Auth alice",
            "needok x ok",
            "version 4",
            "status 4",
            "status 3 4",
            "test 3",
            "push-update-broad x",
            "net",
            "nonsense",
            "log \"\"",
            "client-kill\u{1b}[2J 0",
        ] {
            let Asked::Answer(answer) = asked(line.as_bytes()) else { panic!("{line}") };
            assert!(
                answer.starts_with("ERROR: ") && !answer.contains(['\n', '\u{1b}']),
                "{answer}"
            );
        }
    }

    #[test]
    fn the_rest_is_the_tools_own() {
        assert_eq!(asked(b""), Asked::Nothing);
        assert_eq!(asked(b"# status"), Asked::Nothing);
        assert_eq!(asked(b"exit"), Asked::Leave);
        assert_eq!(asked(b"bytecount 5"), Asked::ByteCount { is_on: true });
        assert_eq!(asked(b"bytecount 0"), Asked::ByteCount { is_on: false });
        assert!(matches!(asked(b"client-auth 0 1"), Asked::Block(_)));
        assert!(matches!(
            asked(b"log on all"),
            Asked::Switch { stream: Stream::Log, is_on: true, history: Some(_) }
        ));
        assert!(matches!(asked(b"state \"on"), Asked::Answer(_)));
    }
}
