//! The management protocol against recorded, hostile and random bytes.

#![cfg(test)]

mod cases;
mod conformance;
mod decode;
mod dialog;
mod lexer;
mod outgoing;
mod property;
mod transcripts;

use std::path::PathBuf;

use bytes::BytesMut;
use ovpn_warden::{
    auth::device::DeviceSource,
    cli::decode::{self as decoder, Options},
    proto::{ManagementCodec, Message, limits},
};
use tokio_util::codec::Decoder;

fn data(path: &str) -> Vec<u8> {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path);
    std::fs::read(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()))
}

/// The files in a folder of the test data whose names end so.
fn files(folder: &str, end: &str) -> Vec<String> {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
    let mut names: Vec<String> = std::fs::read_dir(full)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(end))
        .collect();
    names.sort();
    names
}

/// Everything one codec says to these pieces and the end of the connection after them. Bytes
/// that are waiting in the buffer never exceed a line.
fn messages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Message> {
    let (mut codec, mut buffer, mut found) = (ManagementCodec::default(), BytesMut::new(), vec![]);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(message) = codec.decode(&mut buffer).unwrap() {
            found.push(message);
        }
        assert!(buffer.len() <= limits::MAX_LINE, "{} bytes wait", buffer.len());
    }
    let mut at_end = 0;
    while let Some(message) = codec.decode_eof(&mut buffer).unwrap() {
        at_end += 1;
        assert!(at_end <= 3, "the end of the connection has no end: {message:?}");
        found.push(message);
    }
    assert!(buffer.is_empty());
    found
}

/// The same messages however the bytes are cut.
fn messages_however_cut(input: &[u8]) -> Vec<Message> {
    let whole = messages([input]);
    assert_eq!(messages(input.chunks(1)), whole, "byte by byte");
    // At every point of a small input; the time stays bounded for a large one.
    let step = (input.len() * input.len() / (4 << 20)).max(1);
    for at in (0..input.len()).step_by(step) {
        assert_eq!(messages([&input[..at], &input[at..]]), whole, "cut at {at}");
    }
    whole
}

fn options(show_secrets: bool) -> Options {
    let sources: Vec<DeviceSource> =
        ["UV_CLIENT_MAC", "IV_HWADDR"].iter().map(|name| name.parse().unwrap()).collect();
    Options { show_secrets, sources }
}

/// What `decode` prints.
fn decode_to(input: &[u8], show_secrets: bool) -> String {
    let mut out = Vec::new();
    decoder::decode(&mut &*input, &options(show_secrets), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What `decode` prints, line by line.
fn decoded(input: &[u8]) -> Vec<String> {
    let text = decode_to(input, false);
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}
