//! `ovpn-warden decode`: lines of JSON that no terminal interprets, one a message, and passwords
//! only where they are asked for.

use bytes::BytesMut;
use ovpn_warden::{
    cli::decode::{self, Options},
    proto::{ManagementCodec, Message},
};
use tokio_util::codec::Decoder;

/// Checks one input.
pub(crate) fn check(stream: &[u8]) {
    let show_secrets = stream.len().is_multiple_of(2);
    let options = Options { show_secrets, sources: vec!["UV_CLIENT_MAC".parse().unwrap()] };
    let mut out = Vec::new();
    decode::decode(&mut &*stream, &options, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.lines().all(|line| line.starts_with('{') && line.ends_with('}')));
    assert!(!text.chars().any(|c| c != '\n' && is_interpreted(c)), "{text:?}");
    let messages = messages(stream);
    assert_eq!(text.lines().count(), messages.len(), "one line each");
    for (line, message) in text.lines().zip(&messages) {
        let Message::Auth(event) = message else { continue };
        let Some(password) = event.env.password().filter(|password| password.expose().len() > 16)
        else {
            continue;
        };
        let is_plain = password.expose().iter().all(u8::is_ascii_alphanumeric);
        let plain = String::from_utf8_lossy(password.expose());
        // It may stand in another variable of the client's, too.
        let is_elsewhere = event.env.iter().any(|(name, value)| {
            [name, value].iter().any(|text| String::from_utf8_lossy(text).contains(&*plain))
        });
        assert!(!is_plain || is_elsewhere || line.contains(&*plain) == show_secrets, "{line}");
    }
}

fn messages(stream: &[u8]) -> Vec<Message> {
    let (mut codec, mut buffer) = (ManagementCodec::default(), BytesMut::from(stream));
    std::iter::from_fn(|| codec.decode_eof(&mut buffer).unwrap()).collect()
}

/// Control characters, and those that turn the direction of text.
fn is_interpreted(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
