//! Devices of users.

use serde_json::{Value, json};

use super::bench::Bench;

#[test]
fn the_story_of_a_device() {
    let bench = Bench::new();
    bench.add_user("alice");
    bench.ok(&["device", "add", "alice", "02-1A-2B-3C-4D-5E", "--label", "Zoë's laptop"]);
    let list = bench.json(&["device", "list", "alice"]);
    let device = &list[0];
    assert_eq!(device["user"], "alice");
    assert_eq!(device["kind"], "mac");
    assert_eq!(device["id"], "02:1a:2b:3c:4d:5e");
    assert_eq!(device["label"], "Zoë's laptop");
    assert_eq!(device["status"], "approved");
    assert!(device["created_at"].as_str().unwrap().ends_with('Z'), "{device}");

    bench.ok(&["device", "block", "alice", "021a.2b3c.4d5e"]);
    assert_eq!(bench.json(&["device", "list"])[0]["status"], "blocked");
    let done = bench.ok(&["device", "approve", "alice", "021A2B3C4D5E"]);
    assert_eq!(done, "device `02:1a:2b:3c:4d:5e` of user `alice` approved\n");
    assert_eq!(bench.json(&["device", "list"])[0]["status"], "approved");

    for id in ["2:1a:2b:3c:4d:5e", "02 1a 2b 3c 4d 5e"] {
        assert_eq!(bench.ok(&["device", "approve", "alice", id]), done);
    }

    bench.ok(&["device", "remove", "alice", "021a2b-3c4d5e", "--yes"]);
    assert_eq!(bench.json(&["device", "list"]), json!([]));
}

#[test]
fn ids_of_mobile_clients_are_kept_as_they_are() {
    let bench = Bench::new();
    bench.add_user("alice");
    let id = "6B9FE2C1-7B1C-4C4B-9E0A-2F3D1C0B7A55";
    let added = bench.json(&["device", "add", "alice", id]);
    assert_eq!((&added["kind"], &added["id"]), (&json!("opaque"), &json!(id)));
    assert_eq!(added["label"], Value::Null);
}

#[test]
fn a_device_may_connect_until_then() {
    let bench = Bench::new();
    bench.add_user("alice");
    let mac = "02:1a:2b:3c:4d:5e";
    let ends = || bench.json(&["device", "list", "alice"])[0]["valid_until"].clone();
    let explained = |at: &str| {
        let args = ["explain", "alice", "--server", "udp", "--device", mac, "--at", at, "--json"];
        let out = bench.run(&args);
        serde_json::from_str::<Value>(&out.out).unwrap()
    };
    bench.ok(&["device", "add", "alice", mac, "--valid-until", "2030-01-01"]);
    assert_eq!(ends(), "2030-01-01T00:00:00.000Z");
    assert!(bench.ok(&["device", "list"]).contains("2030-01-01"));
    let before = explained("2029-12-31T23:00:00Z");
    assert_eq!(
        (&before["allowed"], &before["deadline_reason"]),
        (&json!(true), &json!("device_blocked"))
    );
    assert_eq!(before["deadline"], "2030-01-01T00:00:00.000Z");
    let after = explained("2030-01-01");
    assert_eq!((&after["allowed"], &after["reason"]), (&json!(false), &json!("device_blocked")));
    assert!(after["client_sees"].as_str().unwrap().contains("approved is over"), "{after}");
    let rule = after["rules"].as_array().unwrap().iter().find(|r| r["verdict"] == "deny").unwrap();
    assert_eq!(rule["rule"], "device_validity");
    bench.ok(&["device", "set", "alice", mac, "--valid-until", "none"]);
    assert_eq!(ends(), Value::Null);
    bench.ok(&["device", "approve", "alice", mac, "--valid-until", "2031-01-01"]);
    bench.ok(&["device", "approve", "alice", mac]);
    assert_eq!(ends(), "2031-01-01T00:00:00.000Z", "it stays");
    bench.run(&["device", "set", "alice", mac, "--valid-until", "soon"]).fails(2, "--valid-until");
    bench.run(&["device", "set", "bob", mac, "--valid-until", "none"]).fails(1, "bob");
    // A device of the same id that comes later is another one.
    bench.ok(&["device", "remove", "alice", mac, "--yes"]);
    bench.ok(&["device", "add", "alice", mac]);
    assert_eq!(ends(), Value::Null);
}

#[test]
fn what_cannot_be_is_refused_and_said() {
    let bench = Bench::new();
    bench.add_user("alice");
    let mac = "02:1a:2b:3c:4d:5e";
    bench.ok(&["device", "add", "alice", mac]);
    let refused = bench.run(&["device", "add", "alice", mac]);
    refused.fails(1, "exists already");
    assert!(refused.err.contains("help: ") && refused.err.contains("approve"), "{refused:?}");
    bench.run(&["device", "add", "nobody", mac]).fails(1, "user `nobody` not found");
    bench.run(&["device", "list", "nobody"]).fails(1, "user `nobody` not found");
    let other = "02:1a:2b:3c:4d:5f";
    bench.run(&["device", "block", "alice", other]).fails(1, other);
    bench.run(&["device", "remove", "alice", other, "--yes"]).fails(1, other);
    bench.run(&["device", "remove", "alice", mac]).fails(2, "--yes");
    for bad in ["02:1a", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "01:00:5e:00:00:01"] {
        let refused = bench.run(&["device", "add", "alice", bad]);
        refused.fails(2, "02-1A-2B-3C-4D-5E");
        assert!(refused.err.contains("021a.2b3c.4d5e"), "{refused:?}");
    }
    assert_eq!(bench.json(&["device", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn removing_a_user_removes_its_devices() {
    let bench = Bench::new();
    bench.add_user("alice");
    bench.ok(&["device", "add", "alice", "02:1a:2b:3c:4d:5e"]);
    bench.ok(&["user", "remove", "alice", "--yes"]);
    assert_eq!(bench.json(&["device", "list"]), json!([]));
}

#[test]
fn an_enrolment_is_open_for_a_while_and_shown() {
    let bench = Bench::new();
    bench.add_user("alice");
    for nothing in ["0", "0s", "0h"] {
        bench.run(&["device", "enrol", "alice", "--for", nothing]).fails(2, "over at once");
    }
    let until = || bench.json(&["user", "show", "alice"])["enrolment_until"].clone();
    assert_eq!(until(), Value::Null);
    let opened = bench.json(&["device", "enrol", "alice", "--for", "2h"]);
    assert_eq!(until(), opened["until"]);
    assert!(bench.ok(&["user", "show", "alice"]).contains("is registered until"));
    bench.ok(&["device", "enrol", "alice", "--close"]);
    assert_eq!(until(), Value::Null);
}
