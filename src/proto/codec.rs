//! The protocol as a tokio-util codec. Content never makes it fail; memory is bounded.

use std::{collections::VecDeque, io};

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};
use zeroize::{Zeroize, Zeroizing};

use crate::types::{truncate_on_char, wiped_if};

use super::{
    assembler::Assembler,
    command::Command,
    framer::{Cut, Framer},
    grammar::{self, Line},
    message::{Message, RejectKind, Rejected},
    reply::Replies,
    tap::Tap,
};

/// Longest free text that is kept of a line, in bytes.
const MAX_TEXT: usize = 1_024;
/// How lines begin that hold a secret: the password, and the answer to a challenge.
const SECRET_LINES: [&[u8]; 2] = [b">CLIENT:ENV,password=", b">CLIENT:CR_RESPONSE,"];

/// Reads what a server says and writes what we say.
#[derive(Debug, Default)]
pub struct ManagementCodec {
    framer: Framer,
    assembler: Assembler,
    replies: Replies,
    /// Octets consumed since the connection began.
    offset: u64,
    /// The next reply is another tool's.
    is_relaying: bool,
    tap: Option<Tap>,
    /// Something that may be a secret was in what was read.
    has_read_secret: bool,
    /// What one line gave beside its first message: at most two.
    more: VecDeque<Message>,
}

impl ManagementCodec {
    /// Whether the reply that comes next is another tool's: its lines are given out as they are.
    pub fn set_relaying(&mut self, is_relaying: bool) {
        self.is_relaying = is_relaying;
    }

    /// From here on keeps what is read, without secrets, for [`Self::take_tapped`].
    pub fn open_tap(&mut self) {
        self.tap.get_or_insert_default();
    }

    /// The lines that were read since the last call.
    pub fn take_tapped(&mut self) -> Bytes {
        self.tap.as_mut().map(Tap::take).unwrap_or_default()
    }

    /// Room for a read of so many bytes. What waits for the rest of its line may be half a password: nothing of it stays where
    /// it was, as it would if the buffer moved it by itself.
    pub fn make_room(buffer: &mut BytesMut, wanted: usize) {
        if buffer.capacity() - buffer.len() >= wanted {
            return;
        }
        let waiting = Zeroizing::new(buffer.to_vec());
        buffer.zeroize();
        buffer.clear();
        buffer.reserve(waiting.len() + wanted);
        buffer.extend_from_slice(&waiting);
    }

    /// The next message of what has arrived. `at_end`: nothing more comes. A password in it stays nowhere else, not on the
    /// stack either; where none was, nothing is overwritten.
    ///
    /// # Errors
    /// None: content never makes it fail.
    pub fn decode_wiped(
        &mut self,
        buffer: &mut BytesMut,
        at_end: bool,
    ) -> io::Result<Option<Message>> {
        let decode = || {
            let got = if at_end { self.decode_eof(buffer) } else { self.decode(buffer) };
            (got, std::mem::take(&mut self.has_read_secret))
        };
        let (got, _) = wiped_if(decode, |(got, has_read_secret)| {
            *has_read_secret || matches!(got, Ok(Some(Message::Auth(_) | Message::Rejected(_))))
        });
        got
    }

    fn on_line(&mut self, line: &[u8], offset: u64) -> Option<Message> {
        if let Some(tap) = &mut self.tap {
            tap.line(line);
        }
        if self.is_relaying && !line.starts_with(b">") {
            return Some(Message::Relayed(line.into()));
        }
        match grammar::line(line) {
            Line::Empty => None,
            Line::Env(key, value) => self.assembler.variable(key, value, offset),
            Line::EnvEnd => self.assembler.end(),
            Line::Head(head) => self.assembler.head(head, offset),
            Line::BadId => self.bad_head(offset),
            Line::UnknownEvent => {
                self.assembler.unknown_event();
                Some(rejected(RejectKind::UnknownEvent, offset))
            }
            Line::Address(cid, address, primary) => {
                Some(Message::Address { cid, address: text(address), primary })
            }
            Line::ByteCount(cid, bytes_received, bytes_sent) => {
                Some(Message::ByteCount { cid, bytes_received, bytes_sent })
            }
            Line::State(state) => Some(Message::State(state)),
            Line::Notification(source, rest) => Some(match source {
                b"INFO" => Message::Info { management_version: grammar::greeting_version(rest) },
                b"HOLD" => Message::Hold,
                b"FATAL" => Message::Fatal(text(rest)),
                b"LOG" => Message::Log,
                b"NOTIFY" => Message::Notify,
                other => Message::Other(truncate_on_char(&text(other), 32).into()),
            }),
            Line::Success(rest) => self.reply(Message::Success(text(rest)), offset),
            Line::Error(rest) => self.reply(Message::Error(text(rest)), offset),
            Line::End => Some(self.replies.end(offset)),
            Line::Text(line) => self.replies.text(line, offset),
            Line::Malformed => Some(rejected(RejectKind::Malformed, offset)),
        }
    }

    /// A one-line reply; a list without an end before it is refused first.
    fn reply(&mut self, message: Message, offset: u64) -> Option<Message> {
        match self.replies.interrupt(offset) {
            Some(refusal) => {
                self.more.push_back(message);
                Some(refusal)
            }
            None => Some(message),
        }
    }

    fn bad_head(&mut self, offset: u64) -> Option<Message> {
        let kind = RejectKind::BadId;
        match self.assembler.bad_head(offset) {
            Some(interrupted) => {
                self.more.push_back(rejected(kind, offset));
                Some(interrupted)
            }
            None => Some(rejected(kind, offset)),
        }
    }

    /// A line over the bound: the block or list around it cannot be trusted.
    fn too_long(&mut self, offset: u64) -> Message {
        if let Some(tap) = &mut self.tap {
            tap.too_long();
        }
        self.replies.spoil();
        let kind = RejectKind::LineTooLong;
        self.assembler.reject(kind, offset).unwrap_or_else(|| rejected(kind, offset))
    }
}

/// Whether a line that begins so may hold a secret.
fn may_be_secret(begun: &[u8]) -> bool {
    let is_of = |start: &&[u8]| begun.starts_with(start) || start.starts_with(begun);
    !begun.is_empty() && SECRET_LINES.iter().any(is_of)
}

fn rejected(kind: RejectKind, offset: u64) -> Message {
    Message::Rejected(Rejected { kind, block: None, offset })
}

fn text(bytes: &[u8]) -> Box<str> {
    truncate_on_char(&String::from_utf8_lossy(bytes), MAX_TEXT).into()
}

impl Decoder for ManagementCodec {
    type Item = Message;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Message>> {
        if let Some(message) = self.more.pop_front() {
            return Ok(Some(message));
        }
        // Where the next line begins. The buffer is moved on once for each message, not each line.
        let mut at = 0;
        loop {
            if self.framer.is_at_start() {
                let (consumed, refusal) = self.assembler.take(&buffer[at..], self.offset);
                if let Some(tap) = &mut self.tap {
                    tap.lines(&buffer[at..at + consumed]);
                }
                at += consumed;
                self.offset += consumed as u64;
                if refusal.is_some() {
                    buffer.advance(at);
                    return Ok(refusal);
                }
            }
            let (message, consumed, secret) = match self.framer.cut(&buffer[at..]) {
                None => {
                    self.has_read_secret |= may_be_secret(&buffer[at..]);
                    buffer.advance(at);
                    return Ok(None);
                }
                Some((Cut::Line(line), consumed)) => {
                    let secret = SECRET_LINES.iter().any(|start| line.starts_with(start));
                    (self.on_line(line, self.offset), consumed, secret)
                }
                Some((Cut::Prompt, consumed)) => {
                    if let Some(tap) = &mut self.tap {
                        tap.prompt();
                    }
                    (Some(Message::Prompt), consumed, false)
                }
                Some((Cut::TooLong, consumed)) => {
                    (Some(self.too_long(self.offset)), consumed, true)
                }
                Some((Cut::Skipped, consumed)) => (None, consumed, true),
            };
            if secret {
                self.has_read_secret = true;
                buffer[at..at + consumed].zeroize();
            }
            at += consumed;
            self.offset += consumed as u64;
            if message.is_some() {
                buffer.advance(at);
                return Ok(message);
            }
        }
    }

    /// At the end of the connection: what is unfinished is refused.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Message>> {
        if let Some(message) = self.decode(buffer)? {
            return Ok(Some(message));
        }
        self.has_read_secret |= !buffer.is_empty();
        let partial = !buffer.is_empty() && !self.framer.is_discarding();
        buffer.zeroize();
        buffer.clear();
        let kind = RejectKind::Truncated;
        self.more.extend(self.assembler.reject(kind, self.offset));
        self.more.extend(self.replies.interrupt(self.offset));
        if partial && self.more.is_empty() {
            self.more.push_back(rejected(kind, self.offset));
        }
        Ok(self.more.pop_front())
    }
}

impl Encoder<Command> for ManagementCodec {
    type Error = io::Error;

    fn encode(&mut self, command: Command, out: &mut BytesMut) -> io::Result<()> {
        command.encode(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_a_secret_may_have_been_read_is_anything_overwritten() {
        for (read, wanted) in [
            (">BYTECOUNT_CLI:1,2,3\n", false),
            (">BYTECOUNT_CLI:1,2,3\n>BYTEC", false),
            (">CLIENT:CONNECT,1,2\n>CLIENT:ENV,password=x\n", true),
            // The rest is yet to come.
            (">CLIENT:CONNECT,1,2\n>CLIENT:ENV,password=x", true),
            (">CLIENT:CONNECT,1,2\n>CLIENT:ENV,pass", true),
            (">CLIENT:CONNECT,1,2\n>CLIENT:ENV,username=", false),
            (">CLIENT:CR_RESPONSE,1,2,x\n", true),
        ] {
            let mut codec = ManagementCodec::default();
            let mut buffer = BytesMut::from(read);
            while codec.decode(&mut buffer).unwrap().is_some() {}
            assert_eq!(codec.has_read_secret, wanted, "{read}");
            // It is asked once.
            assert_eq!(codec.decode_wiped(&mut BytesMut::new(), false).unwrap(), None);
            assert!(!codec.has_read_secret);
        }
    }
}
