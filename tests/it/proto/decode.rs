//! `decode` over every recorded byte.

use ovpn_warden::cli::decode::{Options, decode};
use serde_json::Value;

use super::{data, read};

fn decoded(bytes: &[u8], show_secrets: bool) -> String {
    let sources = ["UV_CLIENT_MAC", "IV_HWADDR"].iter().map(|n| n.parse().unwrap()).collect();
    let mut out = Vec::new();
    decode(&mut &bytes[..], &Options { show_secrets, sources }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn every_file_gives_one_json_object_a_line_and_no_password() {
    let mut files = 0;
    for entry in std::fs::read_dir(data("conformance")).unwrap() {
        let path = entry.unwrap().path();
        let text = decoded(&std::fs::read(&path).unwrap(), false);
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            assert!(value["event"].is_string(), "{}: {line}", path.display());
            assert!(value["env"]["password"].is_null() || value["env"]["password"] == "***");
            assert!(!line.contains("important value"), "{}", path.display());
            assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line}");
        }
        files += 1;
    }
    assert!(files > 100, "{files}");
}

#[test]
fn the_lines_are_those_of_the_interface() {
    #[rustfmt::skip]
    let cases: [(&str, &[&str]); 11] = [
        ("a01-connect-after-address", &[
            r#"{"event":"address","cid":0,"address":"127.0.1.1","primary":true}"#,
            r#"{"event":"connect","cid":0,"kid":1,"env":{"common_name":"common_name","username":"username","untrusted_ip":"127.0.0.1","untrusted_port":"12345","IV_SSO":"webauth","session_id":"K3waLcCGyUuzkdXh"},"device":null}"#,
        ]),
        ("a07-established-empty-env", &[r#"{"event":"established","cid":1,"env":{}}"#]),
        ("a09-cr-response", &[r#"{"event":"cr_response","cid":1,"kid":2,"response":"YmFzZTY0","env":{"name1":"val1"}}"#]),
        ("c21-unsolicited-empty-error", &[r#"{"event":"error","text":""}"#]),
        ("d02-status3-missing-header", &[r#"{"event":"rejected","kind":"status"}"#]),
        ("d09-status3-undef-user", &[r#"{"event":"status","clients":[{"cid":0,"username":null,"common_name":"client","real_address":"203.0.113.10:52841","virtual_address":"10.8.0.2","bytes_received":1,"bytes_sent":2,"connected_since":1784455200}]}"#]),
        ("g22-invalid-utf8-in-password", &[r#"{"event":"connect","cid":8,"kid":1,"env":{"username":"u2","password":"***"},"device":null}"#]),
        ("g27-fatal-notification", &[r#"{"event":"fatal"}"#]),
        ("h06-duplicate-username-injection", &[r#"{"event":"rejected","kind":"duplicate_key","cid":30,"kid":1}"#]),
        ("h11-hwaddr-upper-dash", &[r#"{"event":"connect","cid":31,"kid":1,"env":{"IV_PLAT":"linux","IV_HWADDR":"02-1A-2B-3C-4D-5E","untrusted_ip":"198.51.100.7","untrusted_port":"40001","common_name":"alice","username":"alice","password":"***"},"device":{"source":"IV_HWADDR","kind":"mac","value":"02:1a:2b:3c:4d:5e"}}"#]),
        ("h16-hwaddr-zero", &[r#"{"event":"connect","cid":31,"kid":1,"env":{"IV_PLAT":"linux","IV_HWADDR":"00:00:00:00:00:00","untrusted_ip":"198.51.100.7","untrusted_port":"40001","common_name":"alice","username":"alice","password":"***"},"device":null,"device_error":"IV_HWADDR: the all-zero address belongs to no device"}"#]),
    ];
    for (name, wanted) in cases {
        let text = decoded(&read(&format!("conformance/{name}.raw")), false);
        assert_eq!(text.lines().collect::<Vec<_>>(), wanted, "{name}");
    }
}

#[test]
fn secrets_are_shown_only_on_demand_and_bytes_as_base64() {
    let text = decoded(&read("conformance/g22-invalid-utf8-in-password.raw"), true);
    assert!(text.contains(r#""password":{"base64":"cP/pdw=="}"#), "{text}");
}

#[test]
fn a_repeated_peer_info_variable_stands_once_with_its_last_value() {
    let bytes = b">CLIENT:CONNECT,1,1\r\n>CLIENT:ENV,IV_HWADDR=06:00:00:00:00:01\r\n>CLIENT:ENV,IV_HWADDR=06:00:00:00:00:02\r\n>CLIENT:ENV,END\r\n";
    assert_eq!(
        decoded(bytes, false).trim_end(),
        r#"{"event":"connect","cid":1,"kid":1,"env":{"IV_HWADDR":"06:00:00:00:00:02"},"device":null,"device_error":"IV_HWADDR was sent several times with different values"}"#
    );
}
