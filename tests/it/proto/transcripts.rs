//! Recordings of real servers, 2.4 to 2.7.

use std::collections::BTreeMap;

use ovpn_warden::{
    auth::device::claim,
    proto::{AuthKind, Message, StateName},
};

use super::{data, messages, messages_however_cut, options};

const VERSIONS: [&str; 4] = ["2.4.12", "2.5.11", "2.6.22", "2.7.6"];

/// The bytes that the server sent.
fn server_bytes(version: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in data(&format!("transcripts/openvpn-{version}.txt")).split(|b| *b == b'\n') {
        if let Some(text) = line.strip_prefix(b"S! ") {
            bytes.extend(text);
        } else if let Some(text) = line.strip_prefix(b"S: ") {
            bytes.extend(text);
            bytes.extend(b"\r\n");
        }
    }
    bytes
}

const fn name(message: &Message) -> &'static str {
    match message {
        Message::Prompt => "prompt",
        Message::Info { .. } => "info",
        Message::Hold => "hold",
        Message::Fatal(_) => "fatal",
        Message::Log => "log",
        Message::State(_) => "state",
        Message::Notify => "notify",
        Message::Relayed(_) => "relayed",
        Message::Other(_) => "other",
        Message::Auth(event) => match event.kind {
            AuthKind::Connect => "connect",
            AuthKind::Reauth => "reauth",
            AuthKind::CrResponse(_) => "cr_response",
        },
        Message::Established { .. } => "established",
        Message::Disconnect { .. } => "disconnect",
        Message::Address { .. } => "address",
        Message::ByteCount { .. } => "bytecount",
        Message::Success(_) => "success",
        Message::Error(_) => "error",
        Message::Version(_) => "version",
        Message::Status(_) => "status",
        Message::StateHistory(_) => "state_history",
        Message::End => "end",
        Message::Rejected(_) => "rejected",
    }
}

/// What each recording holds, as counted in the files with `grep`.
fn expected(version: &str) -> BTreeMap<&'static str, usize> {
    let (bytecount, state, disconnect, success, error) = match version {
        "2.4.12" => (5, 6, 3, 11, 5),
        "2.7.6" => (6, 5, 2, 11, 6),
        _ => (5, 6, 3, 12, 5),
    };
    BTreeMap::from([
        ("prompt", 1),
        ("info", 1),
        ("hold", 2),
        ("version", 1),
        ("connect", 3),
        ("reauth", 1),
        ("established", 2),
        ("address", 2),
        ("status", 2),
        ("bytecount", bytecount),
        ("state", state),
        ("disconnect", disconnect),
        ("success", success),
        ("error", error),
    ])
}

#[test]
fn every_recording_is_understood_whole() {
    for version in VERSIONS {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for message in messages_however_cut(&server_bytes(version)) {
            *counts.entry(name(&message)).or_default() += 1;
        }
        assert_eq!(counts, expected(version), "{version}");
    }
}

#[test]
fn the_first_connect_has_its_password_names_and_device() {
    for version in VERSIONS {
        let found = messages([server_bytes(version).as_slice()]);
        let event = found
            .iter()
            .find_map(|message| {
                let Message::Auth(event) = message else { return None };
                Some(event)
            })
            .unwrap();
        // KIDs begin at 0 before 2.6.
        let first_kid = if version < "2.6" { 0 } else { 1 };
        assert_eq!((event.cid.0, event.kid.0), (0, first_kid), "{version}");
        let password = event.env.password().unwrap();
        assert_eq!(password.expose(), "pass \"w\\ord é".as_bytes(), "{version}");
        assert_eq!(event.env.text(b"username"), Some("alice"));
        assert_eq!(event.env.text(b"common_name"), Some("alice"));
        let device = claim(&event.env, &options(false).sources).unwrap().unwrap();
        assert_eq!(device.source.as_str(), "UV_CLIENT_MAC");
        assert_eq!(device.id.to_string(), "00:11:22:33:44:55");
    }
}

#[test]
fn versions_restarts_and_lists_are_read() {
    for (version, number) in VERSIONS.iter().zip([1, 3, 5, 6]) {
        let found = messages([server_bytes(version).as_slice()]);
        assert!(found.contains(&Message::Info { management_version: Some(number) }), "{version}");
        assert!(
            found.iter().any(|message| matches!(message, Message::Version(v)
                if v.management == Some(number)
                    && v.openvpn.starts_with(&format!("OpenVPN {version} ")))),
            "{version}"
        );
        let restarts = found
            .iter()
            .filter(
                |message| matches!(message, Message::State(s) if s.name == StateName::Reconnecting),
            )
            .count();
        assert_eq!(restarts, 1, "{version}");
        let lists = found.iter().filter_map(|message| {
            let Message::Status(report) = message else { return None };
            Some(report)
        });
        for (cid, report) in lists.enumerate() {
            let [client] = report.clients.as_slice() else { panic!("{version}: {report:?}") };
            assert_eq!(
                (client.username.as_deref(), client.cid.0 as usize),
                (Some(&b"alice"[..]), cid)
            );
            assert_eq!(&*client.common_name, b"alice");
            assert_eq!(&*client.virtual_address, "10.99.0.2");
            assert_eq!(client.real_address.starts_with("udp4:"), *version == "2.7.6", "{version}");
            assert!(client.bytes_received > 0 && client.bytes_sent > 0);
        }
    }
}

#[test]
fn a_denied_client_disconnects_without_variables() {
    for version in VERSIONS {
        let found = messages([server_bytes(version).as_slice()]);
        let bare = found
            .iter()
            .filter(|m| matches!(m, Message::Disconnect { env, .. } if env.is_empty()))
            .count();
        assert_eq!(bare, 1, "{version}");
    }
}
