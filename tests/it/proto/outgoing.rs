//! What we send.

use bytes::BytesMut;
use ovpn_warden::{
    proto::{Command, KillMessage, ManagementCodec, Parameter, limits},
    types::{Cid, Kid, Password},
};
use tokio_util::codec::Encoder;

use super::{data, lexer};

fn bytes(command: Command) -> Vec<u8> {
    let mut out = BytesMut::new();
    ManagementCodec::default().encode(command, &mut out).unwrap();
    out.to_vec()
}

fn deny(cid: u32, kid: u32, reason: &str) -> Vec<u8> {
    let (cid, kid, reason) = (Cid(cid), Kid(kid), Parameter::new(reason));
    bytes(Command::ClientDeny { cid, kid, reason, client_reason: None })
}

#[test]
fn a_reason_is_one_quoted_parameter_on_one_line() {
    for (file, reason) in [
        ("e07-deny-reason-quotes", "user said \"hi\" \\ bye"),
        ("e08-deny-reason-words", "wrong username or password"),
        ("e09-deny-reason-newline", "line1\nclient-kill 0"),
    ] {
        let mut expected = data(&format!("conformance/{file}.expect"));
        if expected.last() != Some(&b'\n') {
            expected.push(b'\n');
        }
        let sent = deny(3, 4, reason);
        assert_eq!(String::from_utf8_lossy(&sent), String::from_utf8_lossy(&expected), "{file}");
    }
}

/// The reason inside of a recorded `client-deny 1 0 "…"`.
fn reason_of(file: &str) -> String {
    let line = String::from_utf8(data(&format!("conformance/{file}"))).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn commands_that_openvpn_would_cut_or_refuse_are_never_sent() {
    for (file, length) in [
        ("e02-parameter-257-bytes.cmd", 257),
        ("e04-command-1024-bytes.cmd", 1_006),
        ("e05-command-1100-bytes-tail-runs.cmd", 1_082),
    ] {
        let reason = reason_of(file);
        assert_eq!(reason.len(), length, "{file}");
        let sent = deny(1, 0, &reason);
        assert_eq!(sent, format!("client-deny 1 0 \"{}\"\n", "a".repeat(256)).as_bytes(), "{file}");
        assert!(lexer::commands(&sent).iter().all(Result::is_ok));
    }
}

#[test]
fn the_commands_of_a_pass_through_have_ids_and_a_quoted_reason() {
    // e11 and e12 lack a key id and quotes; the types leave no way to say that.
    assert_eq!(
        data("conformance/e11-passthrough-client-auth-nt.cmd").trim_ascii(),
        b"client-auth-nt 1"
    );
    assert_eq!(bytes(Command::ClientAuthNt { cid: Cid(1), kid: Kid(0) }), b"client-auth-nt 1 0\n");
    assert_eq!(deny(1, 2, "reason"), b"client-deny 1 2 \"reason\"\n");
}

#[test]
fn the_longest_commands_stay_under_the_safe_line_length() {
    for c in ["a", "\"", "\\", "é", "€", "😀", "\u{9b}", " "] {
        let text = Parameter::new(&c.repeat(1_000));
        let (cid, kid) = (Cid(u32::MAX), Kid(u32::MAX));
        let commands = [
            Command::ClientDeny {
                cid,
                kid,
                reason: text.clone(),
                client_reason: Some(text.clone()),
            },
            Command::ClientKill { cid, message: KillMessage::Halt(text.clone()) },
            Command::ClientKill { cid, message: KillMessage::Restart(text) },
        ];
        for command in commands {
            let sent = bytes(command);
            assert!(sent.len() <= limits::MAX_COMMAND_LINE, "{c:?}: {}", sent.len());
            let read = lexer::commands(&sent);
            assert!(matches!(read.as_slice(), [Ok(_)]), "{c:?}: {read:?}");
        }
    }
}

#[test]
fn a_password_is_one_line_whatever_its_file_holds() {
    for (password, expected) in [
        ("secret", "secret\n"),
        ("secret\n", "secret\n"),
        ("secret\r\nkill 0\r\n", "secret\n"),
        ("a b \"#;\\", "a b \"#;\\\n"),
        ("", "\n"),
    ] {
        let sent = bytes(Command::Password(Password::from(password.as_bytes())));
        assert_eq!(String::from_utf8_lossy(&sent), expected);
    }
    let long = bytes(Command::Password(Password::new(vec![b'x'; 5_000])));
    assert_eq!(long.len(), limits::MAX_COMMAND_LINE);
}
