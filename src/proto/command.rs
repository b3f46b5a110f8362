//! What we say to the server. A [`Command`] cannot hold a second command.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

use crate::types::{Cid, Kid, Password};

use super::{
    config_line::ConfigLine,
    limits::{MAX_COMMAND_LINE, MAX_ESCAPED, MAX_PARAMETER},
    relay::RelayedCommand,
};

/// One quoted parameter of free text: at most [`MAX_PARAMETER`] bytes, at most [`MAX_ESCAPED`]
/// once escaped, and no control character. Longer text is cut between two characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter(Box<str>);

impl Parameter {
    /// From any text; control characters become spaces.
    pub fn new(text: &str) -> Self {
        Self::joined("", text)
    }

    /// `prefix` and `text` as one parameter.
    fn joined(prefix: &str, text: &str) -> Self {
        let mut out = String::with_capacity((prefix.len() + text.len()).min(MAX_PARAMETER));
        let mut escaped = 0;
        for c in prefix.chars().chain(text.chars()) {
            let c = if c.is_control() { ' ' } else { c };
            escaped += c.len_utf8() + usize::from(needs_escape(c));
            if out.len() + c.len_utf8() > MAX_PARAMETER || escaped > MAX_ESCAPED {
                break;
            }
            out.push(c);
        }
        Self(out.into())
    }

    /// The text as the server's lexer will read it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(b'"');
        for byte in self.0.bytes() {
            if needs_escape(char::from(byte)) {
                out.put_u8(b'\\');
            }
            out.put_u8(byte);
        }
        out.put_u8(b'"');
    }
}

const fn needs_escape(c: char) -> bool {
    matches!(c, '"' | '\\')
}

/// The message of a `client-kill`, sent to the client as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KillMessage {
    /// `HALT,reason`: the client exits.
    Halt(Parameter),
    /// `RESTART,reason`: the client connects again.
    Restart(Parameter),
}

/// A command to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The answer to the prompt; not a command, has no reply when it is right.
    Password(Password),
    /// `version`.
    Version,
    /// `env-filter 0`.
    EnvFilterOff,
    /// `state on`.
    StateOn,
    /// `state`: the present state.
    State,
    /// `bytecount N`, seconds.
    ByteCount(u32),
    /// `status 3`.
    Status,
    /// `hold release`.
    HoldRelease,
    /// `log on`, `log off`.
    Log(bool),
    /// What another tool asks.
    Relayed(RelayedCommand),
    /// `client-auth CID KID`, the lines, `END`.
    ClientAuth {
        /// The client.
        cid: Cid,
        /// The key.
        kid: Kid,
        /// Options for this client.
        config: Vec<ConfigLine>,
    },
    /// `client-auth-nt CID KID`.
    ClientAuthNt {
        /// The client.
        cid: Cid,
        /// The key.
        kid: Kid,
    },
    /// `client-pending-auth CID KID "text" TIMEOUT`, and before 2.6 `client-pending-auth CID "text"`.
    ClientPendingAuth {
        /// The client.
        cid: Cid,
        /// The key and for how many seconds the client may wait; `None` for the form before 2.6.
        wait: Option<(Kid, u32)>,
        /// For the client.
        text: Parameter,
    },
    /// `client-deny CID KID "reason" ["client reason"]`.
    ClientDeny {
        /// The client.
        cid: Cid,
        /// The key.
        kid: Kid,
        /// For OpenVPN's log.
        reason: Parameter,
        /// For the client, behind `AUTH_FAILED,`.
        client_reason: Option<Parameter>,
    },
    /// `client-kill CID "message"`.
    ClientKill {
        /// The client.
        cid: Cid,
        /// What the client is told.
        message: KillMessage,
    },
}

impl Command {
    /// Appends the command's bytes, each line ended by LF. Every line is shorter than
    /// [`super::limits::MAX_COMMAND_LINE`].
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Password(password) => {
                // A line end inside would begin a command.
                let line = password.expose().split(|b| matches!(b, b'\n' | b'\r'));
                let line = line.take(1).flatten().take(MAX_COMMAND_LINE - 1);
                out.extend(line);
            }
            Self::Version => out.put_slice(b"version"),
            Self::EnvFilterOff => out.put_slice(b"env-filter 0"),
            Self::StateOn => out.put_slice(b"state on"),
            Self::State => out.put_slice(b"state"),
            Self::ByteCount(seconds) => put(out, format_args!("bytecount {seconds}")),
            Self::Status => out.put_slice(b"status 3"),
            Self::HoldRelease => out.put_slice(b"hold release"),
            Self::Log(is_on) => out.put_slice(if *is_on { b"log on" } else { b"log off" }),
            Self::Relayed(command) => out.put_slice(command.as_str().as_bytes()),
            Self::ClientAuth { cid, kid, config } => {
                put(out, format_args!("client-auth {cid} {kid}\n"));
                for line in config {
                    put(out, format_args!("{}\n", line.as_str()));
                }
                out.put_slice(b"END");
            }
            Self::ClientAuthNt { cid, kid } => put(out, format_args!("client-auth-nt {cid} {kid}")),
            Self::ClientPendingAuth { cid, wait, text } => {
                put(out, format_args!("client-pending-auth {cid} "));
                if let Some((kid, _)) = wait {
                    put(out, format_args!("{kid} "));
                }
                text.encode(out);
                if let Some((_, seconds)) = wait {
                    put(out, format_args!(" {seconds}"));
                }
            }
            Self::ClientDeny { cid, kid, reason, client_reason } => {
                put(out, format_args!("client-deny {cid} {kid} "));
                reason.encode(out);
                if let Some(client_reason) = client_reason {
                    out.put_u8(b' ');
                    client_reason.encode(out);
                }
            }
            Self::ClientKill { cid, message } => {
                put(out, format_args!("client-kill {cid} "));
                match message {
                    KillMessage::Halt(text) => Parameter::joined("HALT,", &text.0).encode(out),
                    KillMessage::Restart(text) => {
                        Parameter::joined("RESTART,", &text.0).encode(out);
                    }
                }
            }
        }
        out.put_u8(b'\n');
    }
}

fn put(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::limits::MAX_COMMAND_LINE;

    fn bytes(command: &Command) -> Vec<u8> {
        let mut out = BytesMut::new();
        command.encode(&mut out);
        out.to_vec()
    }

    fn deny(reason: &str) -> String {
        let command = Command::ClientDeny {
            cid: Cid(3),
            kid: Kid(4),
            reason: Parameter::new(reason),
            client_reason: None,
        };
        String::from_utf8(bytes(&command)).unwrap()
    }

    #[test]
    fn free_text_is_one_quoted_parameter() {
        assert_eq!(
            deny("user said \"hi\" \\ bye"),
            "client-deny 3 4 \"user said \\\"hi\\\" \\\\ bye\"\n"
        );
        assert_eq!(deny("line1\nclient-kill 0"), "client-deny 3 4 \"line1 client-kill 0\"\n");
        assert_eq!(deny("# ; a\tb\u{9b}c"), "client-deny 3 4 \"# ; a b c\"\n");
    }

    #[test]
    fn a_parameter_is_cut_between_characters() {
        assert_eq!(Parameter::new(&"€".repeat(300)).as_str().len(), 255);
        assert_eq!(Parameter::new(&"é".repeat(300)).as_str().len(), MAX_PARAMETER);
        assert_eq!(Parameter::new(&"a".repeat(300)).as_str().len(), MAX_PARAMETER);
        assert_eq!(Parameter::new(&"\"".repeat(300)).as_str().len(), MAX_ESCAPED / 2);
    }

    #[test]
    fn no_line_is_ever_too_long() {
        for text in ["\"".repeat(999), "\\".repeat(999), "x".repeat(999), "€".repeat(999)] {
            let parameter = Parameter::new(&text);
            let commands = [
                Command::ClientDeny {
                    cid: Cid(u32::MAX),
                    kid: Kid(u32::MAX),
                    reason: parameter.clone(),
                    client_reason: Some(parameter.clone()),
                },
                Command::ClientKill {
                    cid: Cid(u32::MAX),
                    message: KillMessage::Restart(parameter),
                },
            ];
            for command in &commands {
                let bytes = bytes(command);
                assert!(bytes.len() <= MAX_COMMAND_LINE, "{}", bytes.len());
                assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
            }
        }
    }

    #[test]
    fn every_command_has_its_words() {
        let table: [(Command, &str); 12] = [
            (Command::Version, "version\n"),
            (Command::EnvFilterOff, "env-filter 0\n"),
            (Command::StateOn, "state on\n"),
            (Command::State, "state\n"),
            (Command::ByteCount(30), "bytecount 30\n"),
            (Command::Status, "status 3\n"),
            (Command::HoldRelease, "hold release\n"),
            (
                Command::ClientAuth {
                    cid: Cid(1),
                    kid: Kid(2),
                    config: vec![ConfigLine::session_timeout(60)],
                },
                "client-auth 1 2\nsession-timeout 60\nEND\n",
            ),
            (Command::ClientAuthNt { cid: Cid(1), kid: Kid(2) }, "client-auth-nt 1 2\n"),
            (
                Command::ClientPendingAuth {
                    cid: Cid(1),
                    wait: Some((Kid(2), 60)),
                    text: Parameter::new("one moment"),
                },
                "client-pending-auth 1 2 \"one moment\" 60\n",
            ),
            (
                Command::ClientPendingAuth {
                    cid: Cid(1),
                    wait: None,
                    text: Parameter::new("one moment"),
                },
                "client-pending-auth 1 \"one moment\"\n",
            ),
            (
                Command::ClientKill {
                    cid: Cid(7),
                    message: KillMessage::Halt(Parameter::new("time is over")),
                },
                "client-kill 7 \"HALT,time is over\"\n",
            ),
        ];
        for (command, expected) in table {
            assert_eq!(String::from_utf8(bytes(&command)).unwrap(), expected);
        }
    }
}
