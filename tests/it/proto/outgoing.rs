//! What we may send: the recorded cases.

use bytes::BytesMut;
use ovpn_warden::{
    proto::{Command, Parameter, limits},
    types::{Cid, Kid},
};

use super::read;

fn deny(reason: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    let reason = Parameter::new(reason);
    Command::ClientDeny { cid: Cid(3), kid: Kid(4), reason, client_reason: None }.encode(&mut out);
    out.to_vec()
}

#[test]
fn deny_reasons_have_exactly_the_recorded_bytes() {
    let cases = [
        ("e07-deny-reason-quotes", "user said \"hi\" \\ bye"),
        ("e08-deny-reason-words", "wrong username or password"),
        ("e09-deny-reason-newline", "line1\nclient-kill 0"),
    ];
    for (name, reason) in cases {
        let wanted = read(&format!("conformance/{name}.expect"));
        assert_eq!(deny(reason).trim_ascii_end(), wanted.trim_ascii_end(), "{name}");
    }
}

#[test]
fn what_openvpn_would_refuse_or_split_is_never_made() {
    for name in
        ["e02-parameter-257-bytes", "e04-command-1024-bytes", "e05-command-1100-bytes-tail-runs"]
    {
        let line = String::from_utf8(read(&format!("conformance/{name}.cmd"))).unwrap();
        let reason = line.split('"').nth(1).unwrap();
        assert!(reason.len() > limits::MAX_PARAMETER, "{name}");
        let sent = deny(reason);
        assert!(sent.len() <= limits::MAX_COMMAND_LINE);
        assert_eq!(sent.len(), "client-deny 3 4 \"\"\n".len() + limits::MAX_PARAMETER);
    }
}
