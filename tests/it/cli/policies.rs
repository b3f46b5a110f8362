//! Named limits.

use serde_json::json;

use super::bench::Bench;

#[test]
fn the_story_of_a_policy() {
    let bench = Bench::new();
    let default = json!({
        "name": "default", "session_limit_s": null, "expiry_action": null, "device_mode": null,
    });
    assert_eq!(bench.json(&["policy", "list"]), json!([default]));

    bench.ok(&["policy", "add", "staff", "--session-limit-s", "3600", "--device-mode", "log"]);
    bench.ok(&["policy", "set", "staff", "--expiry-action", "restart"]);
    assert_eq!(
        bench.json(&["policy", "show", "staff"]),
        json!({
            "name": "staff", "session_limit_s": 3600, "expiry_action": "restart",
            "device_mode": "log",
        })
    );
    bench.ok(&["policy", "set", "staff", "--session-limit-s", "none", "--device-mode", "enforce"]);
    assert_eq!(
        bench.json(&["policy", "show", "staff"]),
        json!({
            "name": "staff", "session_limit_s": null, "expiry_action": "restart",
            "device_mode": "enforce",
        })
    );
    bench.ok(&["policy", "set", "default", "--session-limit-s", "0"]);
    assert!(bench.ok(&["policy", "show", "default"]).contains("none"));

    bench.ok(&["policy", "remove", "staff", "--yes"]);
    assert_eq!(bench.json(&["policy", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_is_refused_and_said() {
    let bench = Bench::new();
    bench.ok(&["policy", "add", "staff"]);
    bench.run(&["policy", "add", "staff"]).fails(1, "policy `staff` exists already");
    bench.run(&["policy", "add", "a b"]).fails(2, "1 to 64 of");
    bench.run(&["policy", "add", "none"]).fails(2, "none");
    bench.run(&["policy", "add", "x", "--device-mode", "learn"]).fails(2, "enforce");
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
