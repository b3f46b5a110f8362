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
            "hours": null, "time_zone": null, "time_quota_s": {}, "data_quota_bytes": {},
            "idle_s": null, "idle_bytes": null, "require_fingerprint": null,
            "second_factor": null,
            "retention_days": null,
        })
    };
    assert_eq!(bench.json(&["policy", "list"]), json!([policy("default", None, None, None)]));

    bench.ok(&["policy", "add", "staff", "--session-limit-s", "3600", "--device-mode", "log"]);
    bench.ok(&["policy", "set", "staff", "--expiry-action", "restart"]);
    let shown = || {
        let mut view = bench.json(&["policy", "show", "staff"]);
        assert_eq!(view.as_object_mut().unwrap().remove("config"), Some(json!([])));
        view
    };
    assert_eq!(shown(), policy("staff", Some(3_600), Some("restart"), Some("log")));
    bench.ok(&["policy", "set", "staff", "--session-limit-s", "none", "--device-mode", "learn"]);
    assert_eq!(shown(), policy("staff", None, Some("restart"), Some("learn")));
    let limits = ["--max-devices", "2", "--max-sessions", "1", "--cooldown-s", "1m"];
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
    bench.run(&["policy", "add", "x", "--max-sessions", "1001"]).fails(2, "at most 1000");
    bench.run(&["policy", "add", "x", "--max-sessions", "-1"]).fails(2, "");
    bench.run(&["policy", "add", "x", "--on-limit", "kick"]).fails(2, "replace_oldest");
    bench.run(&["policy", "add", "x", "--expiry-action", "stop"]).fails(2, "restart");
    bench.run(&["policy", "add", "x", "--session-limit-s", "-5"]).fails(2, "");
    bench.run(&["policy", "add", "x", "--session-limit-s", "soon"]).fails(2, "28800 or 8h");
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

#[test]
fn a_policy_that_cannot_be_read_is_told_and_mended() {
    let bench = Bench::new();
    bench.ok(&["policy", "add", "staff", "--hours", "mon 08:00-18:00"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bench.sql(
        "INSERT INTO allowed_hours (policy, weekday, opens, closes) \
         VALUES ('staff', 6, '9:00', '18:00')",
    ));
    let listed = bench.run(&["policy", "list"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(listed.out.contains("default") && !listed.out.contains("staff"), "{listed:?}");
    assert!(listed.err.contains("policy `staff` is not listed"), "{listed:?}");
    assert!(listed.err.contains("`6 9:00-18:00` of `allowed_hours`"), "{listed:?}");
    bench.run(&["policy", "show", "staff"]).fails(1, "--hours");
    bench.run(&["policy", "set", "staff", "--max-sessions", "2"]).fails(1, "--hours");
    let file = bench.path("people.csv");
    std::fs::write(&file, "name,policy\nalice,staff\n").unwrap();
    let imported = bench.run(&["import", "csv", &file]);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert!(imported.err.contains("policy `staff`"), "{imported:?}");
    bench.ok(&["policy", "set", "staff", "--hours", "sat 09:00-18:00"]);
    assert_eq!(bench.json(&["policy", "show", "staff"])["hours"], "sat 09:00-18:00");
}

#[test]
fn hours_quotas_and_idle_time_are_set_shown_used_and_granted() {
    let bench = Bench::new();
    let limits = [
        ["--hours", "mon-fri 08:00-18:00, sat 22:00-02:00"],
        ["--time-zone", "Europe/Berlin"],
        ["--time-quota", "2h/day, 20h/month"],
        ["--data-quota", "5GiB/week"],
        ["--idle-s", "600"],
        ["--idle-bytes", "20KiB"],
    ];
    bench.ok(&[&["policy", "add", "staff"], &limits.concat()[..]].concat());
    let staff = bench.json(&["policy", "show", "staff"]);
    assert_eq!(staff["hours"], "mon-fri 08:00-18:00, sat 22:00-02:00");
    assert_eq!(staff["time_zone"], "Europe/Berlin");
    assert_eq!(staff["time_quota_s"], json!({"day": 7_200, "month": 72_000}));
    assert_eq!(staff["data_quota_bytes"], json!({"week": 5_368_709_120_u64}));
    assert_eq!((&staff["idle_s"], &staff["idle_bytes"]), (&json!(600), &json!(20_480)));
    let shown = bench.ok(&["policy", "show", "staff"]);
    for text in ["sat 22:00-02:00", "7200 s/day, 72000 s/month", "5GiB/week", "less than 20KiB"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let list = bench.ok(&["policy", "list"]);
    assert!(list.contains("hours time data idle"), "{list}");

    bench.add_user("alice");
    bench.ok(&["user", "set", "alice", "--policy", "staff"]);
    let rows = bench.json(&["user", "usage", "alice"]);
    assert_eq!(rows[0]["time_left_s"], 7_200);
    assert_eq!(rows[1]["data_left_bytes"], 5_368_709_120_u64);
    assert_eq!(
        rows[3],
        json!({
            "period": "total", "time_used_s": 0, "time_quota_s": null, "time_left_s": null,
            "data_used_bytes": 0, "data_quota_bytes": null, "data_left_bytes": null,
        })
    );
    let said = bench.ok(&["user", "grant", "alice", "--time", "30m"]);
    assert!(said.contains("may use 1800 s more until"), "{said}");
    bench.ok(&["user", "grant", "alice", "--data", "1GiB", "--until", "+2h"]);
    let rows = bench.json(&["user", "usage", "alice"]);
    assert_eq!((&rows[0]["time_left_s"], &rows[2]["time_left_s"]), (&json!(9_000), &json!(73_800)));
    assert_eq!(rows[1]["data_left_bytes"], 6_442_450_944_u64);

    let grants = bench.json(&["user", "grants", "alice"]);
    let data = grants.as_array().unwrap().iter().find(|grant| grant["kind"] == "data").unwrap();
    assert_eq!((&data["amount"], grants.as_array().unwrap().len()), (&json!(1 << 30), 2));
    assert!(bench.ok(&["user", "grants", "alice"]).contains("1GiB"));
    let id = data["id"].to_string();
    let said = bench.ok(&["user", "grants", "alice", "--revoke", &id]);
    assert_eq!(said, format!("grant {id} of user `alice` is taken back\n"));
    bench.run(&["user", "grants", "alice", "--revoke", &id]).fails(1, "not found");
    assert_eq!(bench.json(&["user", "usage", "alice"])[1]["data_left_bytes"], 5_368_709_120_u64);
    let said = bench.ok(&["user", "grant", "alice", "--time", "1m", "--until", "+3d"]);
    assert!(said.contains("may use 60 s more each day until"), "{said}");
    let most = "9223372036854775807";
    bench.run(&["user", "grant", "alice", "--time", most]).fails(2, "more than ten years");

    let explained = |at: &str| {
        let ended = bench.run(&["explain", "alice", "--server", "udp", "--at", at, "--json"]);
        let code = ended.code;
        let view: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let rule = |name: &str| {
            let rules = view["rules"].as_array().unwrap();
            rules.iter().find(|rule| rule["rule"] == name).unwrap()["reason"].clone()
        };
        (code, rule("allowed_hours"), rule("time_quota"), rule("data_quota"))
    };
    bench.ok(&["policy", "set", "staff", "--device-mode", "off"]);
    let null = json!(null);
    assert_eq!(explained("2026-11-24T12:00:00Z"), (0, null.clone(), null.clone(), null));
    assert_eq!(explained("2026-11-24T17:00:00Z").1, "outside_hours", "18:00 in Berlin");
    bench.ok(&["policy", "set", "staff", "--time-quota", "0/day", "--data-quota", "0/total"]);
    let (code, _, time, data) = explained("2036-11-24T12:00:00Z");
    assert_eq!((code, time, data), (3, json!("time_quota_used"), json!("data_quota_used")));

    let none =
        ["--hours", "--time-zone", "--time-quota", "--data-quota", "--idle-s", "--idle-bytes"];
    let none: Vec<_> = none.iter().flat_map(|flag| [*flag, "none"]).collect();
    bench.ok(&[&["policy", "set", "staff"], &none[..]].concat());
    let staff = bench.json(&["policy", "show", "staff"]);
    assert_eq!((&staff["hours"], &staff["time_quota_s"]), (&json!(null), &json!({})));
    bench.run(&["user", "grant", "alice", "--time", "1h"]).fails(1, "has no such quota");
    bench.run(&["user", "grant", "bob", "--time", "1h"]).fails(1, "`bob` not found");
    for (flag, value, hint) in [
        ("--hours", "mon 08:00-08:00", "00:00-24:00"),
        ("--hours", "8-18", "mon-fri 08:00-18:00"),
        ("--time-zone", "Berlin", "Europe/Berlin"),
        ("--time-quota", "2h", "2h/day"),
        ("--data-quota", "5XB/day", "500MiB/day"),
        ("--idle-bytes", "much", "20KiB"),
    ] {
        bench.run(&["policy", "set", "staff", flag, value]).fails(2, hint);
    }
}
