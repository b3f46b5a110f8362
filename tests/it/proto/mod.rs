//! The management protocol: recorded and hostile bytes in, messages out, and the other way.

mod conformance;
mod decode;
mod outgoing;
mod property;
mod transcripts;

use std::path::PathBuf;

use bytes::BytesMut;
use ovpn_warden::proto::{ManagementCodec, Message};
use tokio_util::codec::Decoder;

pub fn data(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

pub fn read(path: &str) -> Vec<u8> {
    std::fs::read(data(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a codec makes of bytes that arrive in these pieces, and then the end.
pub fn messages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Message> {
    let (mut codec, mut buffer, mut messages) =
        (ManagementCodec::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(message) = codec.decode(&mut buffer).unwrap() {
            messages.push(message);
        }
        assert!(buffer.len() <= 64 << 10, "{} bytes wait", buffer.len());
    }
    while let Some(message) = codec.decode_eof(&mut buffer).unwrap() {
        messages.push(message);
    }
    messages
}

pub fn whole(bytes: &[u8]) -> Vec<Message> {
    messages([bytes])
}
