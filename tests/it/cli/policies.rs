//! Named limits.

use serde_json::json;

use super::bench::Bench;

#[test]
fn the_story_of_a_policy() {
    let bench = Bench::new();
    let policy = |name: &str, limit: Option<u32>, action: Option<&str>, mode: Option<&str>| {
        json!({
            "name": name, "session_limit_s": limit, "expiry_action": action, "device_mode": mode,
            "max_devices": null, "max_sessions": null, "on_limit": null, "cooldown_s": null,
            "second_factor": null,
        })
    };
    assert_eq!(bench.json(&["policy", "list"]), json!([policy("default", None, None, None)]));

    bench.ok(&["policy", "add", "staff", "--session-limit-s", "3600", "--device-mode", "log"]);
    bench.ok(&["policy", "set", "staff", "--expiry-action", "restart"]);
    let shown = || bench.json(&["policy", "show", "staff"]);
    assert_eq!(shown(), policy("staff", Some(3_600), Some("restart"), Some("log")));
    bench.ok(&["policy", "set", "staff", "--session-limit-s", "none", "--device-mode", "learn"]);
    assert_eq!(shown(), policy("staff", None, Some("restart"), Some("learn")));
    let limits = ["--max-devices", "2", "--max-sessions", "1", "--cooldown-s", "60"];
    bench.ok(&[&["policy", "set", "staff"][..], &limits].concat());
    bench.ok(&["policy", "set", "staff", "--on-limit", "replace_oldest"]);
    let staff = shown();
    assert_eq!((&staff["max_devices"], &staff["max_sessions"]), (&json!(2), &json!(1)));
    assert_eq!((&staff["on_limit"], &staff["cooldown_s"]), (&json!("replace_oldest"), &json!(60)));
    bench.ok(&["policy", "set", "staff", "--second-factor", "required"]);
    assert_eq!(shown()["second_factor"], "required");
    assert!(bench.ok(&["policy", "show", "staff"]).contains("required"));
    bench.ok(&["policy", "set", "default", "--session-limit-s", "0"]);
    assert!(bench.ok(&["policy", "show", "default"]).contains("none"));

    bench.ok(&["policy", "remove", "staff", "--yes"]);
    assert_eq!(bench.json(&["policy", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn the_list_shows_every_limit_within_100_columns() {
    let bench = Bench::new();
    let limits = [
        ["--session-limit-s", "31536000"],
        ["--expiry-action", "restart"],
        ["--device-mode", "approve"],
        ["--max-devices", "12"],
        ["--max-sessions", "3"],
        ["--on-limit", "replace_same_device"],
        ["--cooldown-s", "86400"],
    ];
    bench.ok(&[&["policy", "add", "contractors"], &limits.concat()[..]].concat());
    let list = bench.ok(&["policy", "list"]);
    let staff = list.lines().find(|line| line.contains("contractors")).unwrap();
    for word in ["31536000 s", "restart", "approve", "12", "3, then replace_same_device", "86400 s"]
    {
        assert!(staff.contains(word), "{word}: {list}");
    }
    assert!(list.lines().all(|line| line.len() <= 100), "{list}");
}

#[test]
fn what_cannot_be_is_refused_and_said() {
    let bench = Bench::new();
    bench.ok(&["policy", "add", "staff"]);
    bench.run(&["policy", "add", "staff"]).fails(1, "policy `staff` exists already");
    bench.run(&["policy", "add", "a b"]).fails(2, "1 to 64 of");
    bench.run(&["policy", "add", "none"]).fails(2, "none");
    bench.run(&["policy", "add", "x", "--device-mode", "strict"]).fails(2, "enforce");
    bench.run(&["policy", "add", "x", "--cooldown-s", "86401"]).fails(2, "at most 86400");
    bench.run(&["policy", "add", "x", "--on-limit", "kick"]).fails(2, "replace_oldest");
    bench.run(&["policy", "add", "x", "--expiry-action", "stop"]).fails(2, "restart");
    bench.run(&["policy", "add", "x", "--session-limit-s", "-5"]).fails(2, "");
    bench.run(&["policy", "set", "staff"]).fails(2, "nothing to change");
    bench.run(&["policy", "set", "nope", "--device-mode", "log"]).fails(1, "`nope` not found");
    bench.run(&["policy", "show", "nope"]).fails(1, "`nope` not found");
    bench.run(&["policy", "remove", "nope", "--yes"]).fails(1, "`nope` not found");
    bench.run(&["policy", "remove", "staff"]).fails(2, "--yes");
    bench.run(&["policy", "remove", "default", "--yes"]).fails(1, "in use");
    bench.add_user("alice");
    bench.ok(&["user", "set", "alice", "--policy", "staff"]);
    bench.run(&["policy", "remove", "staff", "--yes"]).fails(1, "in use");
}
