//! Who is held back after failed logins.

use serde_json::json;

use super::bench::Bench;

#[tokio::test]
async fn lockouts_are_listed_and_cleared() {
    let bench = Bench::new();
    assert_eq!(bench.json(&["lockout", "list"]), json!([]));
    bench
        .sql(
            "INSERT INTO lockouts VALUES \
             ('alice', '192.0.2.7', 5, '2026-11-24 12:00:00.000', '2999-01-01 00:00:00.000'), \
             ('', '2001:db8::', 20, '2026-11-24 12:00:00.000', '2999-01-02 00:00:00.000'), \
             ('bob', '192.0.2.7', 5, '2025-11-24 12:00:00.000', '2025-11-24 12:15:00.000')",
        )
        .await;
    assert_eq!(
        bench.json(&["lockout", "list"]),
        json!([
            {
                "user": null, "scope": "login", "network": "2001:db8::/64", "failures": 20,
                "since": "2026-11-24T12:00:00.000Z", "until": "2999-01-02T00:00:00.000Z",
            },
            {
                "user": "alice", "scope": "login", "network": "192.0.2.7", "failures": 5,
                "since": "2026-11-24T12:00:00.000Z", "until": "2999-01-01T00:00:00.000Z",
            },
        ])
    );
    let list = bench.ok(&["lockout", "list"]);
    assert!(list.contains("(everybody)") && !list.contains("bob"), "{list}");
    let args = ["explain", "alice", "--server", "udp", "--client-ip", "192.0.2.7", "--json"];
    let explained = bench.run(&args);
    let view: serde_json::Value = serde_json::from_str(&explained.out).unwrap();
    assert_eq!((explained.code, &view["reason"]), (3, &json!("unknown_user")));
    bench.add_user("alice");
    bench.ok(&["policy", "set", "default", "--device-mode", "off"]);
    let reason = |ip: &str| {
        let args = ["explain", "alice", "--server", "udp", "--client-ip", ip, "--json"];
        let view: serde_json::Value = serde_json::from_str(&bench.run(&args).out).unwrap();
        view["reason"].clone()
    };
    assert_eq!(reason("192.0.2.7"), "throttled");
    assert_eq!(reason("2001:db8::77"), "throttled");
    assert_eq!(reason("192.0.2.8"), json!(null));
    bench.run(&["lockout", "clear", "--user", "alice"]).fails(2, "--yes");
    bench.run(&["lockout", "clear", "--yes"]).fails(2, "--user");
    let said = bench.ok(&["lockout", "clear", "--user", "alice", "--yes"]);
    assert!(said.contains("of user `alice` are forgotten (1 were held back)"), "{said}");
    let typo = bench.run(&["lockout", "clear", "--user", "alcie", "--yes"]);
    assert!(typo.code == 0 && typo.err.contains("there is no user `alcie`"), "{typo:?}");
    assert_eq!(reason("192.0.2.7"), json!(null));
    let args = ["lockout", "clear", "--address", "2001:db8::99", "--yes"];
    assert_eq!(bench.json(&args), json!({"lockouts": 1}));
    assert_eq!(bench.json(&["lockout", "list"]), json!([]));
}
