//! `explain`: every reason, rule by rule.

use serde_json::Value;

use super::bench::{Bench, COLUMNS};

const MAC: &str = "02:1a:2b:3c:4d:5e";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.run_with(b"correct horse", &["user", "add", "alice", "--password-stdin"]);
    bench.ok(&["device", "add", "alice", MAC]);
    bench
}

/// The verdict of a rule.
fn verdict<'a>(view: &'a Value, rule: &str) -> &'a str {
    let rules = view["rules"].as_array().unwrap();
    let found = rules.iter().find(|view| view["rule"] == rule);
    found.unwrap_or_else(|| panic!("{rule}: {view}"))["verdict"].as_str().unwrap()
}

fn explained(bench: &Bench, stdin: &[u8], args: &[&str]) -> (i32, Value) {
    let args = [&["--json", "explain", "--server", "udp"], args].concat();
    let run = bench.run_with(stdin, &args);
    (run.code, serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{run:?}")))
}

#[test]
fn a_login_that_would_be_allowed_has_its_deadline() {
    let (code, view) = explained(&bench(), b"", &["alice", "--device", MAC]);
    assert_eq!((code, &view["allowed"], &view["reason"]), (0, &true.into(), &Value::Null));
    assert_eq!(
        (&view["policy"], &view["deadline_reason"]),
        (&"default".into(), &"session_limit".into())
    );
    assert!(view["deadline"].is_string());
    assert_eq!(verdict(&view, "password"), "not_checked");
    assert_eq!(verdict(&view, "device"), "pass");
    let bench = bench();
    let shown = bench.ok(&["explain", "alice", "--device", MAC, "--server", "udp"]);
    assert!(shown.contains("allowed") && shown.contains("account_validity"), "{shown}");
}

#[test]
fn each_reason_is_named_with_its_rule_and_what_the_client_sees() {
    let bench = bench();
    bench.ok(&["device", "add", "alice", "02:1a:2b:3c:4d:5f"]);
    bench.ok(&["device", "block", "alice", "02:1a:2b:3c:4d:5f"]);
    bench.ok(&[
        "user",
        "set",
        "alice",
        "--valid-from",
        "2020-01-01",
        "--valid-until",
        "2999-01-01",
    ]);
    for (stdin, args, rule, reason) in [
        ("", &["mallory"][..], "user", "unknown_user"),
        ("wrong", &["alice", "--device", MAC, "--password-stdin"], "password", "bad_credentials"),
        ("", &["alice"], "device", "device_missing"),
        ("", &["alice", "--device", "02:1a:2b:3c:4d:00"], "device", "device_unknown"),
        ("", &["alice", "--device", "02:1a:2b:3c:4d:5f"], "device", "device_blocked"),
        (
            "",
            &["alice", "--device", MAC, "--at", "2019-01-01"],
            "account_validity",
            "account_not_yet_valid",
        ),
        (
            "",
            &["alice", "--device", MAC, "--at", "2999-01-02"],
            "account_validity",
            "account_expired",
        ),
    ] {
        let (code, view) = explained(&bench, stdin.as_bytes(), args);
        assert_eq!((code, &view["reason"]), (3, &reason.into()), "{args:?}: {view}");
        assert_eq!(verdict(&view, rule), "deny", "{args:?}");
        assert!(!view["client_sees"].as_str().unwrap().is_empty());
    }
    bench.ok(&["user", "disable", "alice"]);
    // Every rule is asked, not only the first that refuses.
    let (_, view) = explained(&bench, b"wrong", &["alice", "--password-stdin"]);
    assert_eq!(view["reason"], "bad_credentials");
    for rule in ["password", "account_enabled", "device"] {
        assert_eq!(verdict(&view, rule), "deny", "{rule}");
    }
    let (code, view) =
        explained(&bench, b"correct horse", &["alice", "--device", MAC, "--password-stdin"]);
    assert_eq!((code, &view["reason"]), (3, &"account_disabled".into()));
    assert_eq!(verdict(&view, "password"), "pass");
}

#[test]
fn a_device_that_waits_and_a_strange_certificate_are_named() {
    let bench = bench();
    bench.ok(&["policy", "set", "default", "--device-mode", "approve"]);
    let (code, view) = explained(&bench, b"", &["alice", "--device", "02:1a:2b:3c:4d:00"]);
    assert_eq!((code, &view["reason"]), (3, &"device_pending".into()));
    assert!(view["client_sees"].as_str().unwrap().contains("approv"), "{view}");
    let url = format!("sqlite://{}", bench.path("warden.db"));
    bench.configure(&format!("[database]\nurl = \"{url}\"\n[auth]\nmatch_common_name = true\n"));
    assert_eq!(explained(&bench, b"", &["alice", "--device", MAC]).0, 0);
    let args = ["alice", "--device", MAC, "--common-name", "bob"];
    let (code, view) = explained(&bench, b"", &args);
    assert_eq!((code, &view["reason"]), (3, &"common_name_mismatch".into()));
}

/// What only a login has: the bytes that a client sent.
#[test]
fn what_a_client_sends_is_judged_as_at_a_login() {
    let bench = bench();
    let good = "UV_CLIENT_MAC=02-1A-2B-3C-4D-5E";
    let (code, view) = explained(&bench, b"", &["alice", "--sends", good]);
    assert_eq!((code, &view["device"], verdict(&view, "device")), (0, &MAC.into(), "pass"));
    // The first source with a value counts, and a variable that is no source says nothing.
    let args = ["alice", "--sends", "IV_HWADDR=0a:00:00:00:00:01", "--sends", good];
    assert_eq!(explained(&bench, b"", &args).1["device"], MAC);
    for (sent, error) in [
        (&["UV_CLIENT_MAC=02:1a:2b"][..], "UV_CLIENT_MAC: not a MAC address"),
        (&["IV_HWADDR=ff:ff:ff:ff:ff:ff"], "broadcast"),
        (&["UV_OTHER=a", "UV_OTHER=b", good], "UV_OTHER was sent several times"),
    ] {
        let sent = sent.iter().flat_map(|sent| ["--sends", *sent]);
        let args: Vec<&str> = ["alice"].into_iter().chain(sent).collect();
        let (code, view) = explained(&bench, b"", &args);
        assert_eq!((code, &view["reason"]), (3, &"device_invalid".into()), "{args:?}: {view}");
        assert_eq!((verdict(&view, "device"), &view["device"]), ("deny", &Value::Null));
        assert!(view["device_error"].as_str().unwrap().contains(error), "{view}");
        assert!(view["client_sees"].as_str().unwrap().contains("cannot be used"), "{view}");
    }
    let (code, view) = explained(&bench, b"", &["alice", "--device", MAC, "--no-password"]);
    assert_eq!((code, &view["reason"]), (3, &"missing_credentials".into()));
    assert_eq!((verdict(&view, "credentials"), verdict(&view, "device")), ("deny", "pass"));
    bench.run(&["explain", "alice", "--sends", "HOME=x"]).fails(2, "carries no device");
    bench.run(&["explain", "alice", "--sends", "UV_X"]).fails(2, "NAME=VALUE");
}

#[test]
fn a_server_has_to_be_known_or_named() {
    let bench = bench();
    bench.run(&["explain", "alice"]).fails(2, "no server is configured");
    let url = format!("sqlite://{}", bench.path("warden.db"));
    let server = |name, port| {
        format!("[[servers]]\nname = \"{name}\"\nmanagement = \"tcp://127.0.0.1:{port}\"\n")
    };
    let servers = [server("udp", 1), server("tcp", 2)].concat();
    bench.configure(&format!("[database]\nurl = \"{url}\"\n{servers}"));
    let refused = bench.run(&["explain", "alice", "--server", "nope"]);
    refused.fails(2, "server `nope` is not configured");
    assert!(refused.err.contains("help: configured are `udp`, `tcp`"), "{refused:?}");
    bench.ok(&["explain", "alice", "--device", MAC, "--server", "tcp"]);
}

#[tokio::test]
async fn a_session_too_many_is_told() {
    let bench = bench();
    bench.ok(&["policy", "set", "default", "--max-sessions", "1", "--on-limit", "deny"]);
    let args = ["alice", "--device", MAC];
    let (code, view) = explained(&bench, b"", &args);
    assert_eq!((code, verdict(&view, "max_sessions")), (0, "pass"));
    bench
        .sql(&format!(
            "INSERT INTO sessions ({COLUMNS}) SELECT '0190ab12-3456-7abc-8def-000000000001', 1, 'active', \
             'udp', '2026-11-01 00:00:00.000', 1, 'alice', NULL, NULL, NULL, NULL, NULL, NULL, \
             NULL, NULL, '2026-11-01 00:00:00.000', '2026-11-01 00:00:00.000', NULL, NULL, \
             'halt', NULL, NULL, 0, 0, 0",
        ))
        .await;
    let (code, view) = explained(&bench, b"", &args);
    assert_eq!((code, &view["reason"]), (3, &"too_many_sessions".into()));
    assert_eq!(verdict(&view, "max_sessions"), "deny");
    let holder = &view["holders"][0];
    assert_eq!(
        (&holder["session_id"], &holder["server"]),
        (&"0190ab12-3456-7abc-8def-000000000001".into(), &"udp".into())
    );
    let shown = bench.run(&["explain", "alice", "--device", MAC, "--server", "udp"]);
    assert!(shown.out.contains("session 0190ab12-3456-7abc-8def-000000000001 on server udp"));
    bench.ok(&["policy", "set", "default", "--on-limit", "replace_oldest"]);
    assert_eq!(explained(&bench, b"", &args).0, 0, "the other session would be ended");
}

#[tokio::test]
async fn codes_and_logins_that_are_held_back_are_told_but_not_where_the_user_lately_was() {
    let bench = bench();
    bench.ok(&["user", "totp", "alice"]);
    let held = async |network: &str| {
        bench
            .sql(&format!(
                "DELETE FROM lockouts; INSERT INTO lockouts (user_name, network, failures, since, held_until) \
                 VALUES ('alice', '{network}', 20, '2026-11-01 00:00:00.000', '2999-01-01 00:00:00.000')"
            ))
            .await;
    };
    let args = |more: &[&'static str]| [&["alice", "--device", MAC][..], more].concat();
    bench.open_session("0190ab12-3456-7abc-8def-000000000001", "udp", 1, "alice").await;
    bench.sql("UPDATE sessions SET started_at = strftime('%Y-%m-%d %H:%M:%S.000', 'now')").await;
    let (known, strange) = (["--client-ip", "198.51.100.207"], ["--client-ip", "192.0.2.9"]);
    for network in ["", "*"] {
        held(network).await;
        for more in [&[][..], &strange] {
            let (code, view) = explained(&bench, b"", &args(more));
            assert_eq!((code, &view["reason"]), (3, &"throttled".into()), "{network} {more:?}");
            assert_eq!(verdict(&view, "throttle"), "deny");
        }
        let (code, view) = explained(&bench, b"", &args(&known));
        assert_eq!((code, verdict(&view, "throttle")), (0, "pass"), "{network}");
    }
    // Who has no second factor shows no code.
    held("").await;
    bench.ok(&["user", "totp", "alice", "--disable"]);
    assert_eq!(explained(&bench, b"", &args(&strange)).0, 0);
    let scope = bench.json(&["lockout", "list"])[0]["scope"].clone();
    assert_eq!(scope, "code");
}

#[test]
fn who_is_refused_for_his_certificate_reads_of_it() {
    let bench = bench();
    bench.ok(&["policy", "set", "default", "--require-fingerprint", "yes"]);
    let print = format!("sha256:{}", "0a".repeat(32));
    for (more, reason) in
        [(&[][..], "device_missing"), (&["--fingerprint", &print], "device_unknown")]
    {
        let args = [&["alice", "--device", MAC][..], more].concat();
        let (code, view) = explained(&bench, b"", &args);
        assert_eq!((code, &view["reason"]), (3, &reason.into()));
        assert_eq!((verdict(&view, "device"), verdict(&view, "certificate")), ("pass", "deny"));
        assert!(view["client_sees"].as_str().unwrap().contains("certificate"), "{view}");
    }
}

#[tokio::test]
async fn a_stored_hash_that_lets_nobody_in_is_told_without_a_password_too() {
    let bench = bench();
    let args = ["alice", "--device", MAC];
    let (_, view) = explained(&bench, b"", &args);
    assert_eq!(verdict(&view, "throttle"), "not_checked");
    for (hash, reason, fault) in [
        ("NULL", "bad_credentials", None),
        (
            "'{SHA1}5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8'",
            "backend_unavailable",
            Some("does not allow"),
        ),
        ("'hunter2'", "backend_unavailable", Some("no known scheme")),
        ("'$argon2id$v=19$m=64'", "backend_unavailable", Some("damaged")),
    ] {
        bench.sql(&format!("UPDATE users SET password_hash = {hash}")).await;
        for stdin in [&[][..], &["--password-stdin"]] {
            let (code, view) = explained(&bench, b"correct horse", &[&args[..], stdin].concat());
            assert_eq!((code, &view["reason"]), (3, &reason.into()), "{hash}: {view}");
            assert_eq!(verdict(&view, "password"), "deny", "{hash}");
            assert_eq!(verdict(&view, "device"), "pass", "the other rules are asked all the same");
            match fault {
                None => assert_eq!(view["fault"], Value::Null),
                Some(words) => assert!(view["fault"].as_str().unwrap().contains(words), "{view}"),
            }
            assert!(!view.to_string().contains("hunter2"));
        }
    }
}

#[tokio::test]
async fn a_line_that_was_spoilt_in_the_database_is_told_with_its_place() {
    let bench = bench();
    bench
        .sql("INSERT INTO policy_config VALUES ('default', 'udp', 0, 'ifconfig-push 10.8.0.5 255.255.255.0')")
        .await;
    let (code, view) = explained(&bench, b"", &["alice", "--device", MAC]);
    assert_eq!((code, &view["reason"]), (3, &"backend_unavailable".into()), "{view}");
    assert_eq!(verdict(&view, "client_config"), "deny");
    let fault = view["fault"].as_str().unwrap();
    assert!(
        fault.contains("policy_config of policy `default`: line 1, for server `udp`"),
        "{fault}"
    );
    bench.ok(&[
        "policy",
        "config",
        "default",
        "--server",
        "udp",
        "--remove",
        "ifconfig-push 10.8.0.5 255.255.255.0",
    ]);
    assert_eq!(explained(&bench, b"", &["alice", "--device", MAC]).0, 0);
}
