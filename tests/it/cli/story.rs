//! What operators do, in the order in which they do it.

use std::process::Stdio;

use super::Desk;

#[test]
fn users_devices_and_policies_are_kept() {
    let desk = Desk::new();
    desk.ok(&["policy", "add", "short", "--session-limit-s", "60", "--expiry-action", "restart"]);
    desk.ok_with(
        &[
            "user",
            "add",
            "alice",
            "--password-stdin",
            "--policy",
            "short",
            "--valid-until",
            "2030-01-01",
        ],
        "correct horse\n",
    );
    desk.ok_with(&["user", "add", "zoë", "--password-stdin"], "pw");
    desk.ok(&["device", "add", "alice", "00-11-22-AA-BB-CC", "--label", "laptop"]);
    desk.ok(&["device", "add", "alice", "6B9FE2C1-7B1C-4C4B-9E0A-2F3D1C0B7A55"]);

    let users = desk.json(&["user", "list"]);
    let names: Vec<&str> =
        users.as_array().unwrap().iter().map(|u| u["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["alice", "zoë"]);
    let alice = desk.json(&["user", "show", "alice"]);
    assert_eq!(alice["policy"], "short");
    assert_eq!(alice["valid_until"], "2030-01-01T00:00:00.000Z");
    assert_eq!(alice["password_scheme"], "argon2id");
    assert!(!alice.to_string().contains("$argon2id$"), "never the hash");

    let devices = desk.json(&["device", "list", "alice"]);
    assert_eq!(devices[0]["id"], "00:11:22:aa:bb:cc");
    assert_eq!(devices[1]["kind"], "opaque");
    desk.ok(&["device", "block", "alice", "0011.22AA.BBCC"]);
    assert_eq!(desk.json(&["device", "list", "alice"])[0]["status"], "blocked");
    desk.ok(&["device", "remove", "alice", "001122aabbcc", "--yes"]);
    assert_eq!(desk.json(&["device", "list"]).as_array().unwrap().len(), 1);

    desk.ok(&["user", "disable", "alice"]);
    assert_eq!(desk.json(&["user", "show", "alice"])["enabled"], false);
    desk.ok(&["user", "enable", "alice"]);
    desk.ok(&["user", "set", "alice", "--policy", "default", "--valid-until", "none"]);
    assert_eq!(desk.json(&["user", "show", "alice"])["valid_until"], serde_json::Value::Null);
    desk.ok(&["policy", "set", "short", "--session-limit-s", "90"]);
    let policy = desk.json(&["policy", "show", "short"]);
    assert_eq!(
        (&policy["session_limit_s"], &policy["expiry_action"]),
        (&90.into(), &"restart".into())
    );
    desk.ok(&["policy", "remove", "short", "--yes"]);
    desk.ok(&["user", "remove", "alice", "--yes"]);
    assert_eq!(desk.json(&["user", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(desk.json(&["session", "list", "--all"]), serde_json::json!([]));
}

#[test]
fn tables_are_for_people() {
    let desk = Desk::new();
    desk.ok_with(&["user", "add", "alice", "--password-stdin"], "pw");
    let table = desk.ok(&["user", "list"]);
    assert!(
        table.contains("NAME") && table.contains("alice") && table.contains("argon2id"),
        "{table}"
    );
    assert_eq!(desk.ok(&["session", "list"]), "none\n");
    assert!(desk.ok(&["policy", "list"]).contains("as configured"));
}

#[test]
fn a_hash_is_a_phc_string_of_the_configured_cost() {
    let desk = Desk::new();
    let hash = desk.ok_with(&["hash"], "correct horse\n");
    assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
}

#[test]
fn migrations_are_shown_and_applied_once() {
    let desk = Desk::new();
    let dry = desk.json(&["migrate", "--dry-run"]);
    assert!(dry.as_array().unwrap().len() > 3);
    assert_eq!(dry[0]["applied"], false);
    assert!(!desk.path("warden.db").exists() || desk.json(&["migrate", "--dry-run"]) == dry);
    assert_eq!(desk.json(&["migrate"]).as_array().unwrap().len(), dry.as_array().unwrap().len());
    assert_eq!(desk.json(&["migrate"]), serde_json::json!([]));
    assert_eq!(desk.ok(&["migrate"]), "the schema is up to date\n");
}

#[test]
fn check_finds_what_is_wrong_and_says_the_mend() {
    let desk = Desk::new();
    desk.append("[[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:9\"\n");
    desk.ok(&["migrate"]);
    assert!(desk.ok(&["check"]).contains("ok"));
    std::fs::write(
        desk.path("server.conf"),
        "server 10.8.0.0 255.255.255.0\nmanagement 127.0.0.1 9\n",
    )
    .unwrap();
    let file = desk.path("server.conf");
    let output = desk.run(&["check", "--openvpn-conf", file.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("server.conf:2  management:"), "{text}");
    assert!(text.contains("-> add `management-client-auth`"), "{text}");
    let output = desk.run(&["--json", "check", "--connect"], "");
    assert_eq!(output.status.code(), Some(3), "nobody listens on the management port");
    let lines: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        lines
            .as_array()
            .unwrap()
            .iter()
            .any(|l| l["subject"] == "database" && l["severity"] == "ok")
    );
    assert!(lines.to_string().contains("is OpenVPN running"), "{lines}");
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/openvpn-server.conf");
    assert!(desk.ok(&["check", "--openvpn-conf", good]).contains("has what is needed"));
}

#[test]
fn decode_reads_a_file_or_stdin() {
    let desk = Desk::new();
    let bytes = ">HOLD:Waiting for hold release:0\r\nSUCCESS: pid=7\r\n";
    let wanted = "{\"event\":\"hold\"}\n{\"event\":\"success\",\"text\":\"pid=7\"}\n";
    assert_eq!(desk.ok_with(&["decode"], bytes), wanted);
    std::fs::write(desk.path("capture"), bytes).unwrap();
    assert_eq!(desk.ok(&["decode", desk.path("capture").to_str().unwrap()]), wanted);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let desk = Desk::new();
    std::fs::write(desk.path("capture"), ">HOLD:x\r\n".repeat(200_000)).unwrap();
    let file = desk.path("capture");
    let mut child = desk
        .command(&["decode", file.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
