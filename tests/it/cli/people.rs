//! `user`, `device` and `policy`.

use super::{Bed, is_short};

const PASSWORD: &str = "canary horse";

#[test]
fn a_user_from_beginning_to_end() {
    let bed = Bed::new();
    let add = ["user", "add", "alice", "--password-stdin", "--valid-until", "2030-01-02"];
    assert!(bed.run_with(&add, PASSWORD).good().contains("alice"));
    let user = bed.json(&["user", "show", "alice"]);
    assert_eq!(user["name"], "alice");
    assert_eq!(user["enabled"], true);
    assert_eq!(user["policy"], "default");
    assert_eq!(user["valid_until"], "2030-01-02T00:00:00.000Z");
    assert_eq!(user["valid_from"], serde_json::Value::Null);
    assert_eq!(user["password_scheme"], "argon2id");

    bed.run(&["user", "disable", "alice"]).good();
    assert_eq!(bed.json(&["user", "list"])[0]["enabled"], false);
    bed.run(&["user", "enable", "alice"]).good();
    bed.run(&["user", "set", "alice", "--valid-until", "none", "--valid-from", "+2h"]).good();
    let user = bed.json(&["user", "show", "alice"]);
    assert_eq!((&user["enabled"], &user["valid_until"]), (&true.into(), &serde_json::Value::Null));
    assert!(user["valid_from"].is_string(), "{user}");
    bed.run_with(&["user", "set-password", "alice", "--password-stdin"], "other").good();
    bed.run(&["user", "remove", "alice", "--yes"]).good();
    assert_eq!(bed.json(&["user", "list"]), serde_json::json!([]));
    assert_eq!(bed.run(&["user", "list"]).good(), "none\n");
}

#[test]
fn no_output_holds_a_password_or_its_hash() {
    let bed = Bed::new();
    bed.run_with(&["user", "add", "alice", "--password-stdin"], PASSWORD).good();
    for arguments in [
        &["user", "list"][..],
        &["user", "show", "alice"],
        &["--json", "user", "list"],
        &["--json", "user", "show", "alice"],
        &["-vv", "user", "show", "alice"],
    ] {
        let ran = bed.run(arguments);
        for secret in ["canary", "$argon2id$", "$v=19"] {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{ran:?}");
        }
    }
}

#[test]
fn a_password_is_never_taken_from_a_pipe_unasked() {
    let bed = Bed::new();
    bed.add_user("bob");
    for arguments in [["user", "add", "alice"], ["user", "set-password", "bob"]] {
        let error = bed.run_with(&arguments, "next line of a list\n").failed(2);
        assert!(error.contains("--password-stdin"), "{error}");
        is_short(&error);
    }
    assert_eq!(bed.json(&["user", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn mistakes_with_users_say_the_next_step() {
    let bed = Bed::new();
    bed.add_user("alice");
    let exists = bed.run_with(&["user", "add", "alice", "--password-stdin"], "x").failed(1);
    assert!(exists.contains("user `alice` exists") && exists.contains("user set"), "{exists}");
    for command in [
        &["user", "show", "bob"][..],
        &["user", "enable", "bob"],
        &["user", "remove", "bob", "--yes"],
    ] {
        let error = bed.run(command).failed(1);
        assert!(error.contains("`bob` not found") && error.contains("user list"), "{error}");
        is_short(&error);
    }
    let error = bed.run(&["user", "set", "alice"]).failed(2);
    assert!(error.contains("--policy"), "{error}");
    let error = bed.run(&["user", "set", "alice", "--policy", "nope"]).failed(1);
    assert!(error.contains("policy `nope` not found") && error.contains("policy list"), "{error}");
    let error = bed.run(&["user", "set", "alice", "--valid-until", "tomorrow"]).failed(2);
    assert!(error.contains("2026-12-31") && error.contains("+2h"), "{error}");
    // Names differ letter by letter.
    assert_eq!(bed.run(&["user", "show", "Alice"]).code, 1);
}

#[test]
fn what_destroys_asks_first_and_without_a_terminal_needs_yes() {
    let bed = Bed::new();
    bed.add_user("alice");
    bed.run(&["device", "add", "alice", "02:00:00:00:00:01"]).good();
    bed.run(&["policy", "add", "night"]).good();
    for command in [
        &["user", "remove", "alice"][..],
        &["device", "remove", "alice", "02:00:00:00:00:01"],
        &["policy", "remove", "night"],
    ] {
        let error = bed.run_with(command, "y\n").failed(2);
        assert!(error.contains("--yes"), "{error}");
    }
    assert_eq!(bed.json(&["device", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(bed.json(&["policy", "list"]).as_array().unwrap().len(), 2);
}

#[test]
fn devices_are_known_by_any_notation() {
    let bed = Bed::new();
    bed.add_user("alice");
    bed.run(&["device", "add", "alice", "00-11-22-AA-BB-CC", "--label", "la\u{202e}ptop"]).good();
    let devices = bed.json(&["device", "list", "alice"]);
    assert_eq!(devices[0]["id"], "00:11:22:aa:bb:cc");
    assert_eq!(devices[0]["kind"], "mac");
    assert_eq!(devices[0]["status"], "approved");
    assert_eq!(devices[0]["user"], "alice");
    let table = bed.run(&["device", "list"]).good();
    assert!(table.contains("la\\u{202e}ptop"), "{table}");

    let again = bed.run(&["device", "add", "alice", "0011.22aa.bbcc"]).failed(1);
    assert!(again.contains("exists") && again.contains("device approve"), "{again}");
    bed.run(&["device", "block", "alice", "001122aabbcc"]).good();
    assert_eq!(bed.json(&["device", "list"])[0]["status"], "blocked");
    bed.run(&["device", "approve", "alice", "00:11:22:AA:BB:CC"]).good();
    assert_eq!(bed.json(&["device", "list"])[0]["status"], "approved");
    bed.run(&["device", "remove", "alice", "001122aabbcc", "--yes"]).good();
    assert_eq!(bed.json(&["device", "list"]), serde_json::json!([]));

    let uuid = "6B9FE2C1-7B1C-4C4B-9E0A-2F3D1C0B7A55";
    bed.run(&["device", "add", "alice", uuid]).good();
    assert_eq!(bed.json(&["device", "list"])[0]["kind"], "opaque");
}

#[test]
fn a_mac_that_is_none_and_a_user_that_is_none_are_told() {
    let bed = Bed::new();
    bed.add_user("alice");
    for (id, part) in [
        ("ff:ff:ff:ff:ff:ff", "broadcast"),
        ("00:00:00:00:00:00", "all-zero"),
        ("01:00:5e:00:00:01", "multicast"),
        ("laptop", "not a MAC address"),
    ] {
        let error = bed.run(&["device", "add", "alice", id]).failed(2);
        assert!(error.contains(part) && error.contains("00:11:22:33:44:55"), "{error}");
        is_short(&error);
    }
    for command in [
        &["device", "add", "bob", "02:00:00:00:00:01"][..],
        &["device", "list", "bob"],
        &["device", "block", "alice", "02:00:00:00:00:01"],
    ] {
        let error = bed.run(command).failed(1);
        assert!(error.contains("not found"), "{error}");
        assert_eq!(error.lines().count(), 2, "{error}");
    }
}

#[test]
fn a_policy_keeps_what_is_not_said_and_gives_back_what_is_inherited() {
    let bed = Bed::new();
    bed.run(&["policy", "add", "night", "--session-limit-s", "60", "--device-mode", "log"]).good();
    bed.run(&["policy", "set", "night", "--expiry-action", "restart"]).good();
    let policy = bed.json(&["policy", "show", "night"]);
    assert_eq!(
        policy,
        serde_json::json!({"name": "night", "session_limit_s": 60, "expiry_action": "restart", "device_mode": "log"})
    );
    bed.run(&["policy", "set", "night", "--session-limit-s", "inherit", "--device-mode", "off"])
        .good();
    let policy = bed.json(&["policy", "show", "night"]);
    assert_eq!(policy["session_limit_s"], serde_json::Value::Null);
    assert_eq!(
        (&policy["expiry_action"], &policy["device_mode"]),
        (&"restart".into(), &"off".into())
    );

    let names = |list: serde_json::Value| {
        list.as_array()
            .unwrap()
            .iter()
            .map(|p| p["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(bed.json(&["policy", "list"])), ["default", "night"]);
    bed.add_user("alice");
    bed.run(&["user", "set", "alice", "--policy", "night"]).good();
    for policy in ["night", "default"] {
        let error = bed.run(&["policy", "remove", policy, "--yes"]).failed(1);
        assert!(error.contains("in use") && error.contains("user set"), "{error}");
    }
    bed.run(&["user", "set", "alice", "--policy", "default"]).good();
    bed.run(&["policy", "remove", "night", "--yes"]).good();
    assert!(bed.run(&["policy", "show", "night"]).failed(1).contains("policy list"));
    assert!(bed.run(&["policy", "add", "default"]).failed(1).contains("policy set"));
}

#[test]
fn words_and_numbers_of_a_policy_are_checked_and_the_permitted_ones_listed() {
    let bed = Bed::new();
    for (arguments, part) in [
        (["--session-limit-s", ""], "0 to 315360000"),
        (["--session-limit-s", "1h"], "0 to 315360000"),
        (["--session-limit-s", "999999999"], "0 to 315360000"),
        (["--expiry-action", "kill"], "halt, restart or inherit"),
        (["--device-mode", "strict"], "off, log, enforce or inherit"),
    ] {
        let ran = bed.run(&[&["policy", "add", "p"][..], &arguments].concat());
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains(part), "{}", ran.err);
    }
    assert!(bed.run(&["policy", "add", "a b"]).err.contains("A-Z a-z 0-9"));
    assert_eq!(bed.run(&["policy", "set", "default"]).code, 2, "nothing to change");
}

#[tokio::test]
async fn the_audit_names_the_account_at_the_keyboard() {
    use sqlx::{Connection, Row};

    let bed = Bed::new();
    bed.add_user("alice");
    let mut database = sqlx::SqliteConnection::connect(&bed.url()).await.unwrap();
    let row = sqlx::query("SELECT actor FROM admin_audit").fetch_one(&mut database).await.unwrap();
    let actor: String = row.get(0);
    assert!(actor.starts_with("cli:") && actor.len() > 4, "{actor}");
}
