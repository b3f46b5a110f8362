//! What a server said goes into every command, and none of it becomes a command.

use bytes::BytesMut;
use ovpn_warden::{
    proto::{AuthKind, Env, ManagementCodec, Message},
    types::{Cid, Kid},
};
use tokio_util::codec::Decoder;

use super::{command::texts_are_safe, unfolded};

/// Most texts taken of one message: a real block has about a hundred variables.
const MAX_TEXTS: usize = 64;
/// Longest input with its repetitions written out.
const MAX_STREAM: usize = 32 << 10;
/// Most messages.
const MAX_MESSAGES: usize = 64;

/// Checks one input.
pub(crate) fn check(input: &[u8]) {
    let (mut codec, mut buffer) = (ManagementCodec::default(), BytesMut::new());
    buffer.extend_from_slice(&unfolded(input, MAX_STREAM));
    for _ in 0..MAX_MESSAGES {
        let Some(message) = codec.decode_eof(&mut buffer).unwrap() else { return };
        let mut found = Found { cid: Cid(0), kid: Kid(0), number: 0, texts: Vec::new() };
        found.take(&message);
        for texts in found.texts.chunks(8) {
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            texts_are_safe(found.cid, found.kid, found.number, &texts);
        }
    }
}

struct Found {
    cid: Cid,
    kid: Kid,
    number: u32,
    texts: Vec<Vec<u8>>,
}

impl Found {
    fn take(&mut self, message: &Message) {
        match message {
            Message::Auth(event) => {
                (self.cid, self.kid) = (event.cid, event.kid);
                self.env(&event.env);
                if let AuthKind::CrResponse(answer) = &event.kind {
                    self.texts.push(answer.expose().to_vec());
                }
            }
            Message::Established { cid, env } | Message::Disconnect { cid, env } => {
                self.cid = *cid;
                self.env(env);
            }
            Message::Fatal(text)
            | Message::Success(text)
            | Message::Error(text)
            | Message::Other(text) => self.texts.push(text.as_bytes().to_vec()),
            Message::Address { cid, address, .. } => {
                self.cid = *cid;
                self.texts.push(address.as_bytes().to_vec());
            }
            Message::ByteCount { cid, bytes_received, .. } => {
                (self.cid, self.number) = (*cid, *bytes_received as u32);
                self.texts.push(bytes_received.to_string().into_bytes());
            }
            Message::Version(version) => self.texts.push(version.openvpn.as_bytes().to_vec()),
            Message::Status(report) => {
                for client in report.clients.iter().take(MAX_TEXTS / 4) {
                    self.cid = client.cid;
                    self.texts.push(client.username.as_deref().unwrap_or_default().to_vec());
                    self.texts.push(client.common_name.to_vec());
                    self.texts.push(client.real_address.as_bytes().to_vec());
                    self.texts.push(client.virtual_address.as_bytes().to_vec());
                }
            }
            Message::Rejected(rejected) => {
                let none = (Cid(u32::MAX), Kid(u32::MAX));
                (self.cid, self.kid) = rejected
                    .block
                    .map_or(none, |block| (block.cid(), block.kid().unwrap_or(none.1)));
                self.texts.push(rejected.kind.as_str().into());
            }
            Message::Prompt
            | Message::Info { .. }
            | Message::Hold
            | Message::Log
            | Message::State(_)
            | Message::Notify
            | Message::StateHistory(_)
            | Message::Relayed(_)
            | Message::End => {}
        }
    }

    fn env(&mut self, env: &Env) {
        self.texts.extend(env.password().map(|password| password.expose().to_vec()));
        for (name, value) in env.iter().take(MAX_TEXTS) {
            self.texts.extend([value.to_vec(), [name, b"=", value].concat()]);
        }
    }
}
