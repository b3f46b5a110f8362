//! The codec: never a panic, never an error, and nothing is kept or said beyond the bounds.

use bytes::BytesMut;
use ovpn_warden::{
    proto::{AuthKind, Env, ManagementCodec, Message, limits},
    types::{Cid, Kid},
};
use tokio_util::codec::Decoder;

use super::unfolded;

/// Longest input with its repetitions written out: a block over the bound, and more.
const MAX_STREAM: usize = limits::MAX_BLOCK_BYTES * 3 / 2;
/// What the daemon reads at once.
const CHUNK: usize = 16 << 10;
/// Ends whatever is open: a line, a block, a reply.
const ENDS: &[u8] = b"\n>CLIENT:ENV,END\r\nEND\r\n";
const AFTER: &[u8] = b">CLIENT:CONNECT,4000000077,9\r\n>CLIENT:ENV,z=1\r\n>CLIENT:ENV,END\r\n";

/// Checks one input.
pub(crate) fn check(input: &[u8]) {
    let stream = unfolded(input, MAX_STREAM);
    let mut reader = Reader::default();
    for chunk in stream.chunks(CHUNK) {
        reader.read(chunk);
    }
    // What was kept comes out now, and is within the bounds like all else.
    reader.read(ENDS);
    let lines = stream.iter().filter(|byte| **byte == b'\n').count() + 3;
    let prompts = stream.windows(15).filter(|window| window == b"ENTER PASSWORD:").count();
    assert!(reader.count <= 2 * lines + prompts, "{} messages of {lines} lines", reader.count);
    // And nothing of it is left.
    let after = reader.read(AFTER);
    let [Message::Auth(event)] = after.as_slice() else { panic!("a block became {after:?}") };
    assert_eq!(
        (event.kind.clone(), event.cid, event.kid),
        (AuthKind::Connect, Cid(4_000_000_077), Kid(9))
    );
    assert_eq!(event.env.iter().collect::<Vec<_>>(), [(&b"z"[..], &b"1"[..])]);
    assert_eq!(event.env.password(), None);
    assert_eq!(reader.codec.decode_eof(&mut reader.buffer).unwrap(), None);

    at_the_end_of_the_connection(&stream);
}

#[derive(Default)]
struct Reader {
    codec: ManagementCodec,
    buffer: BytesMut,
    count: usize,
}

impl Reader {
    fn read(&mut self, chunk: &[u8]) -> Vec<Message> {
        self.buffer.extend_from_slice(chunk);
        let mut found = Vec::new();
        while let Some(message) = self.codec.decode(&mut self.buffer).unwrap() {
            bounded(&message);
            found.push(message);
        }
        assert!(self.buffer.len() <= limits::MAX_LINE, "{} bytes wait", self.buffer.len());
        self.count += found.len();
        found
    }
}

fn at_the_end_of_the_connection(stream: &[u8]) {
    let mut reader = Reader::default();
    for chunk in stream.chunks(CHUNK) {
        reader.read(chunk);
    }
    let mut count = 0;
    while let Some(message) = reader.codec.decode_eof(&mut reader.buffer).unwrap() {
        assert!(matches!(message, Message::Rejected(_)), "{message:?}");
        count += 1;
        assert!(count <= 3, "the end of the connection has no end");
    }
    assert!(reader.buffer.is_empty());
}

fn bounded(message: &Message) {
    match message {
        Message::Auth(event) => {
            env(&event.env);
            let answer = match &event.kind {
                AuthKind::CrResponse(answer) => answer.expose().len(),
                AuthKind::Connect | AuthKind::Reauth => 0,
            };
            let password = event.env.password().map_or(0, |password| password.expose().len());
            assert!(answer.max(password) <= limits::MAX_LINE);
            assert_eq!(event.env.get(b"password"), None);
        }
        Message::Established { env: variables, .. }
        | Message::Disconnect { env: variables, .. } => {
            env(variables);
        }
        Message::Fatal(text) | Message::Success(text) | Message::Error(text) => {
            assert!(text.len() <= 1_024);
        }
        Message::Address { address, .. } => assert!(address.len() <= 1_024),
        Message::Other(source) => assert!(source.len() <= 32),
        Message::Version(version) => assert!(version.openvpn.len() <= 256),
        Message::Status(report) => {
            assert!(report.clients.len() <= limits::MAX_STATUS_CLIENTS);
            let cids: std::collections::BTreeSet<Cid> =
                report.clients.iter().map(|client| client.cid).collect();
            assert_eq!(cids.len(), report.clients.len(), "one entry for each client");
        }
        Message::StateHistory(states) => {
            assert!(!states.is_empty() && states.len() <= limits::MAX_STATES);
        }
        Message::Prompt
        | Message::Info { .. }
        | Message::Hold
        | Message::Log
        | Message::State(_)
        | Message::Notify
        | Message::ByteCount { .. }
        | Message::End
        | Message::Relayed(_)
        | Message::Rejected(_) => {}
    }
}

fn env(env: &Env) {
    assert!(env.len() <= limits::MAX_VARIABLES, "{} variables", env.len());
    assert!(env.byte_len() <= limits::MAX_BLOCK_BYTES, "{} bytes", env.byte_len());
    assert!(env.password_index() <= env.len());
}
