//! The whole codec against its rules written a second time, for a stream that is there as a whole:
//! the same messages, with the same offsets. The rules stand in `model/`, without any care for
//! speed. `model` reads an input as it stands, `bounds` with its repetitions written out.

mod block;
mod line;
mod reply;

use bytes::BytesMut;
use ovpn_warden::proto::{
    ManagementCodec, Message, RejectKind, Rejected,
    limits::{MAX_BLOCK_BYTES, MAX_LINE},
};
use tokio_util::codec::Decoder;

use self::{
    block::Assembly,
    line::{Meaning, cut_text, meaning},
    reply::Reply,
};
use super::{tap, unfolded};

/// Longest input with its repetitions written out: a line and a block over the bound.
const MAX_STREAM: usize = MAX_BLOCK_BYTES * 3 / 2;
/// What an input begins with where the replies are another tool's.
const RELAYING: &[u8] = b"\xFD";
const PROMPT: &[u8] = b"ENTER PASSWORD:";

/// Checks one input as it stands.
pub(crate) fn check(input: &[u8]) {
    match input.strip_prefix(RELAYING) {
        Some(rest) => agree(rest, true),
        None => agree(input, false),
    }
}

/// Checks one input that is longer than it looks.
pub(crate) fn check_bounds(input: &[u8]) {
    let stream = unfolded(input, MAX_STREAM);
    agree(&stream, false);
    tap::check(&stream);
}

fn agree(stream: &[u8], is_relaying: bool) {
    let mut model = Model { is_relaying, ..Model::default() };
    model.read(stream);
    assert_eq!(decoded(stream, is_relaying), model.said, "{}", String::from_utf8_lossy(stream));
}

fn decoded(stream: &[u8], is_relaying: bool) -> Vec<Message> {
    let (mut codec, mut buffer) = (ManagementCodec::default(), BytesMut::from(stream));
    codec.set_relaying(is_relaying);
    let mut found = Vec::new();
    while let Some(message) = codec.decode_eof(&mut buffer).unwrap() {
        found.push(message);
    }
    found
}

fn refusal(kind: RejectKind, offset: u64) -> Message {
    Message::Rejected(Rejected { kind, block: None, offset })
}

/// A connection, as it was told so far.
#[derive(Default)]
struct Model {
    is_relaying: bool,
    assembly: Assembly,
    reply: Option<Reply>,
    said: Vec<Message>,
}

impl Model {
    fn read(&mut self, stream: &[u8]) {
        let mut rest = stream;
        let mut is_cut = false;
        while !rest.is_empty() {
            let offset = (stream.len() - rest.len()) as u64;
            if let Some(after) = rest.strip_prefix(PROMPT) {
                self.said.push(Message::Prompt);
                rest = after;
                continue;
            }
            let (line, after) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None if rest.len() > MAX_LINE => (rest, &[][..]),
                None => {
                    is_cut = true;
                    break;
                }
            };
            rest = after;
            if line.len() > MAX_LINE {
                self.too_long(offset);
            } else {
                self.line(line.strip_suffix(b"\r").unwrap_or(line), offset);
            }
        }
        self.end((stream.len() - rest.len()) as u64, is_cut);
    }

    /// The connection is over.
    fn end(&mut self, offset: u64, is_cut: bool) {
        let before = self.said.len();
        self.said.extend(self.assembly.refuse(RejectKind::Truncated, offset));
        self.said.extend(reply::left_open(&mut self.reply, offset));
        if is_cut && self.said.len() == before {
            self.said.push(refusal(RejectKind::Truncated, offset));
        }
    }

    fn too_long(&mut self, offset: u64) {
        if let Some(Reply::Status(status)) = &mut self.reply {
            status.spoil();
        }
        let kind = RejectKind::LineTooLong;
        let message = self.assembly.refuse(kind, offset);
        self.said.push(message.unwrap_or_else(|| refusal(kind, offset)));
    }

    fn line(&mut self, line: &[u8], offset: u64) {
        if self.is_relaying && line.first() != Some(&b'>') {
            self.said.push(Message::Relayed(line.into()));
            return;
        }
        match meaning(line) {
            Meaning::Nothing => {}
            Meaning::Said(message) => self.said.push(message),
            Meaning::Malformed => self.said.push(refusal(RejectKind::Malformed, offset)),
            Meaning::Head(head) => self.said.extend(self.assembly.begin(head, offset)),
            Meaning::BadId => {
                self.said.extend(self.assembly.refuse(RejectKind::InterruptedBlock, offset));
                self.assembly = Assembly::Skipped;
                self.said.push(refusal(RejectKind::BadId, offset));
            }
            Meaning::UnknownEvent => {
                if !self.assembly.is_open() {
                    self.assembly = Assembly::Skipped;
                }
                self.said.push(refusal(RejectKind::UnknownEvent, offset));
            }
            Meaning::Variable(name, value) => {
                self.said.extend(self.assembly.variable(name, value, offset));
            }
            Meaning::EndOfBlock => self.said.extend(self.assembly.end()),
            Meaning::Reply(message) => {
                self.said.extend(reply::left_open(&mut self.reply, offset));
                self.said.push(message);
            }
            Meaning::End => self.said.push(reply::end(&mut self.reply, offset)),
            Meaning::Text => self.said.extend(reply::text(&mut self.reply, line, offset)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(stream: &[u8]) -> Vec<Message> {
        let mut model = Model::default();
        model.read(stream);
        model.said
    }

    #[test]
    fn the_model_has_an_opinion() {
        assert_eq!(model(b"\r\n"), []);
        assert_eq!(model(b"ENTER PASSWORD:>HOLD:x\n"), [Message::Prompt, Message::Hold]);
        assert_eq!(model(b">x\n"), [refusal(RejectKind::Malformed, 0)]);
        assert_eq!(model(b"END\nEN"), [Message::End, refusal(RejectKind::Truncated, 4)]);
        let Message::Auth(event) = &model(b">CLIENT:CONNECT,1,2\n>CLIENT:ENV,END\n")[0] else {
            panic!("no block")
        };
        assert_eq!((event.cid.0, event.kid.0), (1, 2));
    }
}
