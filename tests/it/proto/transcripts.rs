//! Recordings of real servers, 2.4 to 2.7, replayed.

use ovpn_warden::{
    auth::device,
    proto::{AuthKind, Message, StateName},
};

use super::{messages, read};

/// The server's bytes of a recording.
fn server(name: &str) -> Vec<u8> {
    let text = String::from_utf8(read(&format!("transcripts/{name}"))).unwrap();
    let mut bytes = Vec::new();
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("S: ") {
            bytes.extend_from_slice(said.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        } else if let Some(said) = line.strip_prefix("S! ") {
            bytes.extend_from_slice(said.as_bytes());
        }
    }
    bytes
}

struct Counts {
    file: &'static str,
    version: &'static str,
    management: u32,
    /// connect, reauth, established, disconnect, address, status
    events: [usize; 6],
}

const RECORDINGS: [Counts; 4] = [
    Counts {
        file: "openvpn-2.4.12.txt",
        version: "OpenVPN 2.4.12",
        management: 1,
        events: [3, 1, 2, 3, 2, 2],
    },
    Counts {
        file: "openvpn-2.5.11.txt",
        version: "OpenVPN 2.5.11",
        management: 3,
        events: [3, 1, 2, 3, 2, 2],
    },
    Counts {
        file: "openvpn-2.6.22.txt",
        version: "OpenVPN 2.6.22",
        management: 5,
        events: [3, 1, 2, 3, 2, 2],
    },
    Counts {
        file: "openvpn-2.7.6.txt",
        version: "OpenVPN 2.7.6",
        management: 6,
        events: [3, 1, 2, 2, 2, 2],
    },
];

#[test]
fn every_recorded_version_is_understood_without_a_rest() {
    for recording in &RECORDINGS {
        let bytes = server(recording.file);
        let said = messages(bytes.chunks(97));
        let count = |wanted: fn(&Message) -> bool| said.iter().filter(|m| wanted(m)).count();
        assert_eq!(
            count(|m| matches!(m, Message::Rejected(_) | Message::Other(_))),
            0,
            "{}",
            recording.file
        );
        let kind = |kind: AuthKind| {
            said.iter().filter(|m| matches!(m, Message::Auth(auth) if auth.kind == kind)).count()
        };
        let events = [
            kind(AuthKind::Connect),
            kind(AuthKind::Reauth),
            count(|m| matches!(m, Message::Established { .. })),
            count(|m| matches!(m, Message::Disconnect { .. })),
            count(|m| matches!(m, Message::Address { .. })),
            count(|m| matches!(m, Message::Status(_))),
        ];
        assert_eq!(events, recording.events, "{}", recording.file);
        assert!(said.iter().any(|m| matches!(m, Message::Version(v)
            if v.openvpn.starts_with(recording.version) && v.management == Some(recording.management))));
        assert!(
            said.iter()
                .any(|m| matches!(m, Message::State(s) if s.name == StateName::Reconnecting))
        );
        assert_eq!(said[0], Message::Prompt);
    }
}

#[test]
fn a_real_connect_carries_password_and_device_byte_for_byte() {
    for recording in &RECORDINGS {
        let said = messages([&server(recording.file)[..]]);
        let Some(Message::Auth(auth)) = said.iter().find(|m| matches!(m, Message::Auth(_))) else {
            panic!("{}: no CONNECT", recording.file)
        };
        assert_eq!(auth.password.as_ref().unwrap().expose(), "pass \"w\\ord é".as_bytes());
        let sources = ["UV_CLIENT_MAC".parse().unwrap(), "IV_HWADDR".parse().unwrap()];
        let claim = device::claim(&auth.env, &sources).unwrap().unwrap();
        assert_eq!(claim.id.to_string(), "00:11:22:33:44:55");
        assert_eq!(auth.env.text(b"common_name"), Some("alice"));
    }
}
