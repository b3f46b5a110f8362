//! Sessions: looking at them, ending and extending them.

use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, COLUMNS};

const OPEN: &str = "0190ab12-3456-7abc-8def-000000000001";
const ENDED: &str = "0190ab12-3456-7abc-8def-000000000002";
const OTHER: &str = "0190cd12-3456-7abc-8def-000000000003";

/// Two sessions of alice, one ended, and one of bob on another server.
async fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok(&["session", "list"]);
    let row = |id: &str, server: &str, cid: u32, user: &str, start: &str, rest: &str| {
        format!(
            "INSERT INTO sessions ({COLUMNS}) VALUES ('{id}', 1, {rest_state}, '{server}', \
             '2026-11-01 00:00:00.000', {cid}, '{user}', 'cn', '02:1a:2b:3c:4d:5e', 'mac', \
             '192.0.2.7', 40000, '10.8.0.2', '2.6.12' || char(27) || '[2J', 'linux', \
             '{start}', '{start}', {rest});",
            rest_state = if id == ENDED { "'closed'" } else { "'active'" },
        )
    };
    let open = "'2999-01-01 00:00:00.000', 'session_limit', 'halt', NULL, NULL, 0, 1536, 10";
    let past = "NULL, NULL, 'halt', '2026-11-02 01:00:00.000', 'user_request', 3600, 5, 6";
    let other = "NULL, NULL, 'halt', NULL, NULL, 0, 0, 0";
    bench.sql(&row(ENDED, "udp", 1, "alice", "2026-11-02 00:00:00.000", past)).await;
    bench.sql(&row(OPEN, "udp", 2, "alice", "2026-11-03 00:00:00.000", open)).await;
    bench.sql(&row(OTHER, "tcp", 1, "bob", "2026-11-04 00:00:00.000", other)).await;
    bench
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_session_has_all_its_fields() {
    let bench = bench().await;
    assert_eq!(
        bench.json(&["session", "show", OPEN]),
        json!({
            "id": OPEN, "user": "alice", "server": "udp", "state": "active", "cause": null,
            "duration_s": 0, "bytes_received": 1536, "bytes_sent": 10,
            "device": "02:1a:2b:3c:4d:5e", "client_ip": "192.0.2.7", "vpn_ip": "10.8.0.2",
            "started_at": "2026-11-03T00:00:00.000Z", "ended_at": null,
            "deadline": "2999-01-01T00:00:00.000Z", "deadline_reason": "session_limit",
            "common_name": "cn", "client_version": "2.6.12\u{1b}[2J", "client_platform": "linux",
            "certificate": null,
        })
    );
    let ended = bench.json(&["session", "show", ENDED]);
    assert_eq!(ended["cause"], "user_request");
    assert_eq!(ended["duration_s"], 3600);
    assert_eq!(ended["ended_at"], "2026-11-02T01:00:00.000Z");
    let shown = bench.ok(&["session", "show", OPEN]);
    assert!(shown.contains("1.5 KiB") && shown.contains("2.6.12\\u{1b}[2J"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[tokio::test]
async fn lists_are_narrowed() {
    let bench = bench().await;
    let list = |args: &[&str]| bench.json(&[&["session"], args].concat());
    assert_eq!(ids(&list(&["list"])), [OTHER, OPEN]);
    assert_eq!(ids(&list(&["list", "--all"])), [OTHER, OPEN, ENDED]);
    assert_eq!(ids(&list(&["list", "--user", "alice"])), [OPEN]);
    assert_eq!(ids(&list(&["list", "--server", "tcp"])), [OTHER]);
    assert_eq!(ids(&list(&["history"])), [OTHER, OPEN, ENDED]);
    assert_eq!(ids(&list(&["history", "--cause", "user_request"])), [ENDED]);
    assert_eq!(ids(&list(&["history", "--device", "02-1A-2B-3C-4D-5E", "--limit", "1"])), [OTHER]);
    assert_eq!(ids(&list(&["history", "--user", "bob", "--server", "udp"])), [""; 0]);
    assert_eq!(ids(&list(&["history", "--since", "2026-11-03", "--until", "2026-11-04"])), [OPEN]);
    assert_eq!(ids(&list(&["history", "--until", "-1000000d"])), [""; 0]);
    let table = bench.ok(&["session", "history"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains(ENDED) && table.contains("1h00m"), "{table}");
}

#[tokio::test]
async fn an_id_may_be_shortened_while_it_is_clear() {
    let bench = bench().await;
    assert_eq!(bench.json(&["session", "show", "0190CD"])["id"], OTHER);
    bench.run(&["session", "show", "0190ab12"]).fails(1, "more than one session");
    bench.run(&["session", "show", "0190c"]).fails(2, "at least 6");
    bench.run(&["session", "show", "%%%%%%"]).fails(2, "not a session id");
    bench.run(&["session", "show", "ffffff"]).fails(1, "not found");
    bench.run(&["session", "kill", &OPEN.replace('1', "9")]).fails(1, "not found");
}

/// Handles the first request that comes, as a daemon does.
async fn handle_one(bench: &Bench) {
    for _ in 0..50 {
        if bench.ask("SELECT action FROM session_commands").await.is_some() {
            return bench
                .sql("UPDATE session_commands SET handled_at = '2026-11-05 00:00:00.000'")
                .await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no request came");
}

#[tokio::test]
async fn a_request_that_nobody_takes_stays_queued() {
    let bench = bench().await;
    bench.run(&KILL).fails(1, "no daemon has taken it yet; it stays queued");
    let stored = bench.ask("SELECT action || ' ' || reason || ' ' || actor FROM session_commands");
    assert_eq!(stored.await.as_deref(), Some("kill see you cli:tester"));
}

const KILL: [&str; 5] = ["session", "kill", OTHER, "--reason", "see you"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_handled_is_done() {
    let bench = std::sync::Arc::new(bench().await);
    let daemon = tokio::spawn({
        let bench = std::sync::Arc::clone(&bench);
        async move { handle_one(&bench).await }
    });
    let killed = tokio::task::block_in_place(|| bench.ok(&KILL));
    assert_eq!(killed, "done\n");
    daemon.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_adds_to_the_deadline() {
    let bench = std::sync::Arc::new(bench().await);
    let daemon = tokio::spawn({
        let bench = std::sync::Arc::clone(&bench);
        async move { handle_one(&bench).await }
    });
    let args = ["session", "extend", OPEN, "1h30m"];
    let done = tokio::task::block_in_place(|| bench.json(&args));
    daemon.await.unwrap();
    assert_eq!(done["deadline"], "2999-01-01T01:30:00.000Z");
    assert_eq!(done["handled_at"], "2026-11-05T00:00:00.000Z");
    let stored = bench.ask("SELECT action || ' ' || deadline FROM session_commands").await;
    assert_eq!(stored.as_deref(), Some("extend 2999-01-01 01:30:00.000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_may_name_the_moment() {
    let bench = std::sync::Arc::new(bench().await);
    let daemon = tokio::spawn({
        let bench = std::sync::Arc::clone(&bench);
        async move { handle_one(&bench).await }
    });
    let args = ["session", "extend", OPEN, "2998-01-01T00:00:00Z"];
    let done = tokio::task::block_in_place(|| bench.json(&args));
    daemon.await.unwrap();
    assert_eq!(done["deadline"], "2998-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn an_ended_session_stays_ended() {
    let bench = bench().await;
    bench.run(&["session", "kill", ENDED]).fails(1, "has ended");
    bench.run(&["session", "extend", ENDED, "1h"]).fails(1, "has ended");
    bench.run(&["session", "extend", OPEN, "2020-01-01"]).fails(2, "is past");
    bench.run(&["session", "extend", OPEN, "soon"]).fails(2, "not a duration");
    bench.run(&["session", "extend", OPEN, "0"]).fails(2, "not a duration");
    bench.run(&["session", "kill", OPEN, "--reason", &"x".repeat(201)]).fails(2, "200 bytes");
}

#[tokio::test]
async fn a_session_of_a_server_that_is_gone_can_be_closed() {
    let bench = bench().await;
    bench.run(&["session", "close", OPEN]).fails(2, "--yes");
    bench.run(&["session", "close", ENDED, "--yes"]).fails(1, "has ended");
    let now = "strftime('%Y-%m-%d %H:%M:%f', 'now')";
    bench.sql(&format!("UPDATE sessions SET updated_at = {now} WHERE id = '{OTHER}'")).await;
    bench.run(&["session", "close", OTHER, "--yes"]).fails(1, "is in use");
    let closed = bench.json(&["session", "close", OPEN, "--yes"]);
    assert_eq!((&closed["state"], &closed["cause"]), (&json!("closed"), &json!("unknown")));
    assert_eq!(closed["ended_at"], "2026-11-03T00:00:00.000Z");
    let open = bench.json(&["session", "list", "--user", "alice"]);
    assert_eq!(open, json!([]));
}
