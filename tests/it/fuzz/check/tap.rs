//! What is kept of a connection for captures and other tools: every line, and no secret.

use bytes::BytesMut;
use ovpn_warden::proto::{ManagementCodec, limits::MAX_LINE};
use tokio_util::codec::Decoder;

const PROMPT: &[u8] = b"ENTER PASSWORD:";

/// Checks one input.
pub(crate) fn check(stream: &[u8]) {
    let (mut codec, mut buffer) = (ManagementCodec::default(), BytesMut::from(stream));
    codec.open_tap();
    while codec.decode(&mut buffer).unwrap().is_some() {}
    let tapped = codec.take_tapped();
    assert_eq!(tapped, expected(stream), "{:?}", String::from_utf8_lossy(stream));
    assert!(codec.take_tapped().is_empty(), "what was taken comes again");
}

fn expected(stream: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), stream);
    loop {
        if let Some(after) = rest.strip_prefix(PROMPT) {
            out.extend(PROMPT);
            rest = after;
            continue;
        }
        let end = rest.iter().position(|byte| *byte == b'\n');
        match end {
            None if rest.len() <= MAX_LINE => return out,
            Some(end) if end <= MAX_LINE => {
                let line = &rest[..end];
                out.extend(public(line.strip_suffix(b"\r").unwrap_or(line)));
            }
            None | Some(_) => out.extend([b'x'; MAX_LINE + 1]),
        }
        out.push(b'\n');
        rest = end.map_or(&[][..], |end| &rest[end + 1..]);
    }
}

/// A line with stars for what only its client and OpenVPN may know.
fn public(line: &[u8]) -> Vec<u8> {
    let kept = match line {
        [b'>', b'P', b'A', b'S', b'S', b'W', b'O', b'R', b'D', b':', ..] => 10,
        _ if line.starts_with(b">CLIENT:ENV,password=") => 21,
        _ if line.starts_with(b">CLIENT:CR_RESPONSE,") => {
            let commas = line.iter().enumerate().filter(|(_, byte)| **byte == b',');
            commas.map(|(at, _)| at + 1).nth(2).unwrap_or(line.len())
        }
        _ => line.len(),
    };
    let stars: &[u8] = if kept < line.len() { b"***" } else { b"" };
    [&line[..kept], stars].concat()
}
