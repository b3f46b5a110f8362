//! Accounts from their first day to their last.

use serde_json::{Value, json};

use super::bench::Bench;

#[test]
fn the_story_of_a_user() {
    let bench = Bench::new();
    bench.ok(&["policy", "add", "staff", "--session-limit-s", "3600"]);
    let added = bench.run_with(
        b"correct horse\n",
        &[
            "user",
            "add",
            "alice",
            "--policy",
            "staff",
            "--password-stdin",
            "--valid-until",
            "2999-12-31",
        ],
    );
    assert_eq!(
        added.out, "user `alice` added, valid until 2999-12-31T00:00:00.000Z\n",
        "{added:?}"
    );

    let alice = bench.json(&["user", "show", "alice"]);
    assert_eq!(alice["name"], "alice");
    assert_eq!(alice["policy"], "staff");
    assert_eq!(alice["enabled"], true);
    assert_eq!(alice["password_scheme"], "argon2id");
    assert_eq!(alice["valid_from"], Value::Null);
    assert_eq!(alice["valid_until"], "2999-12-31T00:00:00.000Z");

    bench.ok(&["user", "disable", "alice"]);
    assert_eq!(bench.json(&["user", "show", "alice"])["enabled"], false);
    bench.ok(&["user", "enable", "alice"]);
    assert_eq!(bench.json(&["user", "show", "alice"])["enabled"], true);

    bench.ok(&[
        "user",
        "set",
        "alice",
        "--policy",
        "none",
        "--valid-from",
        "2000-01-01T06:00:00+01:00",
        "--valid-until",
        "none",
    ]);
    let alice = bench.json(&["user", "show", "alice"]);
    assert_eq!(alice["policy"], "default");
    assert_eq!(alice["valid_from"], "2000-01-01T05:00:00.000Z");
    assert_eq!(alice["valid_until"], Value::Null);

    assert_eq!(bench.ok(&["user", "remove", "alice", "--yes"]), "user `alice` removed\n");
    bench.run(&["user", "show", "alice"]).fails(1, "user `alice` not found");
    assert_eq!(bench.json(&["user", "list"]), json!([]));
}

#[tokio::test]
async fn a_new_password_is_a_new_hash_that_nobody_is_shown() {
    let bench = Bench::new();
    bench.add_user("alice");
    let before = bench.ask("SELECT password_hash FROM users").await.unwrap();
    assert!(before.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{before}");
    let args = ["user", "set-password", "alice", "--password-stdin"];
    bench.run_with(b"other", &args).ok(&args);
    let after = bench.ask("SELECT password_hash FROM users").await.unwrap();
    assert_ne!(before, after);
    for args in [&["user", "show", "alice"][..], &["user", "list"], &["user", "list", "--json"]] {
        let shown = bench.ok(args);
        assert!(shown.contains("argon2id"), "{shown}");
        assert!(!shown.contains('$') && !shown.contains(&after[40..]), "{shown}");
    }
}

#[test]
fn users_are_listed_by_name() {
    let bench = Bench::new();
    for name in ["zoë", "bob", "Ann"] {
        bench.add_user(name);
    }
    let list = bench.json(&["user", "list"]);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|user| &user["name"]).collect();
    assert_eq!(names, ["Ann", "bob", "zoë"]);
    let table = bench.ok(&["user", "list"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.lines().next().unwrap().contains("NAME"), "{table}");
}

#[test]
fn what_cannot_be_is_refused_and_said() {
    let bench = Bench::new();
    bench.add_user("alice");
    let add = |args: &[&str]| {
        bench.run_with(b"x", &[&["user", "add", "--password-stdin"], args].concat())
    };
    add(&["alice"]).fails(1, "user `alice` exists already");
    add(&["bob", "--policy", "nope"]).fails(1, "policy `nope` not found");
    add(&["bob", "--valid-until", "tomorrow"]).fails(2, "--valid-until: `tomorrow` is not a time");
    add(&["bob", "--valid-from", "2030-01-02", "--valid-until", "2030-01-01"])
        .fails(2, "never be valid");
    add(&[""]).fails(2, "NAME");
    add(&["a\nb"]).fails(2, "not permitted");
    for name in [" sp", "sp ", "\u{a0}sp"] {
        add(&[name]).fails(2, "begins or ends with a space");
    }
    bench.run(&["user", "set", "alice"]).fails(2, "--policy");
    bench.run(&["user", "set", "nobody", "--policy", "none"]).fails(1, "user `nobody` not found");
    bench.run(&["user", "disable", "nobody"]).fails(1, "user `nobody` not found");
    bench.run(&["user", "remove", "nobody", "--yes"]).fails(1, "user `nobody` not found");
    bench.run(&["user", "remove", "alice"]).fails(2, "not confirmed");
    assert_eq!(bench.json(&["user", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn validity_can_be_relative() {
    let bench = Bench::new();
    bench.add_user("alice");
    bench.ok(&["user", "set", "alice", "--valid-from", "+1h", "--valid-until", "+2h"]);
    let alice = bench.json(&["user", "show", "alice"]);
    assert!(alice["valid_from"].as_str() < alice["valid_until"].as_str(), "{alice}");
    bench.run(&["user", "set", "alice", "--valid-until", "+30m"]).fails(2, "never be valid");
}

#[tokio::test]
async fn every_change_is_on_record_with_its_author() {
    let bench = Bench::new();
    bench.add_user("alice");
    let args = ["user", "disable", "alice"];
    let mut command = bench.command(&args);
    command.env("SUDO_USER", "carol");
    super::bench::finish(command, b"").ok(&args);
    let actor = |id| bench.ask(id);
    let first = actor("SELECT actor FROM admin_audit ORDER BY id LIMIT 1").await;
    let last = actor("SELECT actor FROM admin_audit ORDER BY id DESC LIMIT 1").await;
    assert_eq!(first.as_deref(), Some("cli:tester"));
    assert_eq!(last.as_deref(), Some("cli:carol"));
}

#[test]
fn quiet_says_nothing_of_what_was_done_and_json_shows_it() {
    let bench = Bench::new();
    bench.add_user("alice");
    assert_eq!(bench.ok(&["-q", "user", "disable", "alice"]), "");
    assert_eq!(bench.json(&["user", "enable", "alice"])["enabled"], true);
}
