//! `check`: findings with line and mend, and exit code 3 for a fault.

use serde_json::Value;

use super::Bed;

const SERVER: &str = "[[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:9\"\n";

#[test]
fn check_finds_what_is_wrong_and_says_the_mend() {
    let bed = Bed::new();
    bed.append(SERVER);
    bed.run(&["migrate"]).good();
    assert!(bed.run(&["check"]).good().contains("ok"));
    let file = bed.folder.path().join("server.conf");
    std::fs::write(&file, "server 10.8.0.0 255.255.255.0\nmanagement 127.0.0.1 9\n").unwrap();
    let ran = bed.run(&["check", "--openvpn-conf", file.to_str().unwrap()]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("server.conf:2  management:"), "{}", ran.out);
    assert!(ran.out.contains("-> add `management-client-auth`"), "{}", ran.out);
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/openvpn-server.conf");
    let found = bed.run(&["check", "--openvpn-conf", good]).good();
    assert!(found.contains("has what is needed"), "{found}");
}

#[test]
fn check_connect_visits_the_database_and_the_ports() {
    let bed = Bed::new();
    bed.append(SERVER);
    bed.run(&["migrate"]).good();
    let ran = bed.run(&["--json", "check", "--connect"]);
    assert_eq!(ran.code, 3, "nobody listens on the management port: {ran:?}");
    let lines: Value = serde_json::from_str(&ran.out).unwrap();
    let is_good = |line: &Value| line["subject"] == "database" && line["severity"] == "ok";
    assert!(lines.as_array().unwrap().iter().any(is_good), "{lines}");
    assert!(lines.to_string().contains("is OpenVPN running"), "{lines}");

    bed.configure(&format!("[database]\nurl = \"mysql://u:canary@127.0.0.1:9/d\"\n{SERVER}"));
    let ran = bed.run(&["check", "--connect"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(!ran.out.contains("canary") && !ran.err.contains("canary"), "{ran:?}");
}
