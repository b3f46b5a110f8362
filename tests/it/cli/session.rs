//! `session`: what is shown, and requests to the daemon.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ovpn_warden::{
    store::{CommandAction, SessionRecord, SessionState, Store},
    types::{Cause, Cid, Clock, ExpiryAction, SessionId, Timestamp},
};
use serde_json::Value;

use super::{Bed, is_short};

fn record(number: u8, state: SessionState, now: Timestamp) -> SessionRecord {
    let started_at = now.saturating_sub(Duration::from_secs(100));
    let is_closed = state == SessionState::Closed;
    SessionRecord {
        // Ids that differ early, so that their beginnings name them.
        id: SessionId::new(Timestamp::from_secs(i64::from(number) << 24), [number; 10]),
        version: 1,
        state,
        server: "udp-1194".parse().unwrap(),
        run_started: started_at,
        cid: Cid(number.into()),
        user: if number == 3 { "bob" } else { "alice" }.parse().unwrap(),
        common_name: Some("a\u{202e}lice".into()),
        device: Some(ovpn_warden::types::DeviceId::parse("02:00:00:00:00:01").unwrap()),
        client_ip: Some("192.0.2.7".parse().unwrap()),
        client_port: Some(40_000),
        vpn_ip: Some("10.8.0.6".into()),
        client_version: Some("2.6.14".into()),
        client_platform: Some("linux".into()),
        started_at,
        updated_at: started_at.saturating_add(Duration::from_secs(40)),
        deadline: (number == 1).then(|| now.saturating_add(Duration::from_secs(1_000))),
        deadline_reason: (number == 1).then_some(Cause::SessionLimit),
        expiry_action: ExpiryAction::Halt,
        ended_at: is_closed.then(|| started_at.saturating_add(Duration::from_secs(40))),
        cause: is_closed.then_some(Cause::UserRequest),
        bytes_received: 1_234,
        bytes_sent: 5_678,
    }
}

/// alice is connected (1), was (2); bob is connected without a limit (3).
async fn site() -> (Bed, Arc<dyn Store>, [SessionRecord; 3], Timestamp) {
    let bed = Bed::new();
    bed.run(&["migrate"]).good();
    bed.add_user("alice");
    bed.add_user("bob");
    let now = Clock::new().now().utc;
    let sessions = [
        record(1, SessionState::Active, now),
        record(2, SessionState::Closed, now),
        record(3, SessionState::Active, now),
    ];
    let store = bed.store();
    store.persist(&sessions).await.unwrap();
    (bed, store, sessions, now)
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lists_show_live_sessions_and_with_all_ended_ones_too() {
    let (bed, _store, sessions, _) = site().await;
    let [live, ended, bobs] = sessions.map(|session| session.id.to_string());
    let mut listed = bed.json(&["session", "list"]);
    assert_eq!(ids(&listed).len(), 2, "{listed}");
    assert!(!ids(&listed).contains(&ended.as_str()));
    listed = bed.json(&["session", "list", "--all", "--user", "alice"]);
    assert_eq!(ids(&listed).len(), 2);
    assert!(!ids(&listed).contains(&bobs.as_str()));
    assert_eq!(bed.json(&["session", "list", "--server", "tcp-443"]), serde_json::json!([]));
    let history = bed.json(&[
        "session",
        "history",
        "--cause",
        "user_request",
        "--device",
        "02-00-00-00-00-01",
    ]);
    assert_eq!(ids(&history), [ended.as_str()]);
    let recent = bed.json(&["session", "history", "--since", "+1h"]);
    assert_eq!(recent, serde_json::json!([]));
    let table = bed.run(&["session", "list", "--all"]).good();
    for part in [&live, &ended, &bobs, "alice", "udp-1194", "user_request", "10.8.0.6"] {
        assert!(table.contains(part), "{part}\n{table}");
    }
}

#[tokio::test]
async fn json_has_the_fields_that_scripts_rely_on() {
    let (bed, _store, [live, ended, _], now) = site().await;
    let row = bed.json(&["session", "show", &ended.id.to_string()]);
    for (field, value) in [
        ("id", Value::from(ended.id.to_string())),
        ("user", "alice".into()),
        ("server", "udp-1194".into()),
        ("state", "closed".into()),
        ("cause", "user_request".into()),
        ("duration_s", 40.into()),
        ("bytes_received", 1_234.into()),
        ("bytes_sent", 5_678.into()),
        ("device", "02:00:00:00:00:01".into()),
        ("client_ip", "192.0.2.7".into()),
        ("vpn_ip", "10.8.0.6".into()),
        ("started_at", ended.started_at.to_string().into()),
        ("ended_at", ended.ended_at.unwrap().to_string().into()),
        ("deadline", Value::Null),
        ("deadline_reason", Value::Null),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    let row = bed.json(&["session", "show", &live.id.to_string()]);
    assert_eq!(row["deadline"], now.saturating_add(Duration::from_secs(1_000)).to_string());
    assert_eq!(row["deadline_reason"], "session_limit");
    assert_eq!((&row["ended_at"], &row["cause"]), (&Value::Null, &Value::Null));
    assert!(row["duration_s"].as_u64().unwrap() >= 100, "until now: {row}");
    let text = bed.run(&["session", "show", &live.id.to_string()]).good();
    assert!(text.contains("a\\u{202e}lice"), "{text}");
}

#[tokio::test]
async fn ids_may_be_given_by_their_beginning() {
    let (bed, _store, [live, ..], _) = site().await;
    let id = live.id.to_string();
    for beginning in [&id[..], &id[..8], &id[..6], &id[..14].to_uppercase()] {
        assert_eq!(bed.json(&["session", "show", beginning])["id"], id, "{beginning}");
    }
    for (text, code, part) in [
        ("0000", 2, "first 6 or more"),
        ("%00000", 2, "first 6 or more"),
        ("abcdef", 1, "session list --all"),
        ("00000000-0000-7000-8000-000000000000", 1, "not found"),
    ] {
        let error = bed.run(&["session", "show", text]).failed(code);
        assert!(error.contains(part), "{text}: {error}");
        is_short(&error);
    }
}

/// Plays the daemon: takes the first request and marks it as handled.
async fn handle_one(store: &dyn Store) -> CommandAction {
    let servers = ["udp-1194".parse().unwrap()];
    let started = Clock::new();
    let patience = Duration::from_secs(10);
    while started.now().mono.0 < patience {
        if let Some(command) = store.pending_commands(&servers).await.unwrap().pop() {
            store.complete_commands(&[command.id], Clock::new().now().utc).await.unwrap();
            assert!(command.actor.starts_with("cli:"), "{}", command.actor);
            return command.action;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no request came");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_until_a_daemon_has_taken_them() {
    let (bed, store, [live, _, bobs], now) = site().await;
    let bed = Arc::new(bed);
    let run = |arguments: Vec<String>| {
        let bed = Arc::clone(&bed);
        tokio::task::spawn_blocking(move || {
            bed.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        })
    };
    let words = |line: &str| line.split(' ').map(|word| word.replace('_', " ")).collect::<Vec<_>>();

    let ran = run(words(&format!("session kill {} --reason maintenance_tonight", live.id)));
    let action = handle_one(&*store).await;
    assert_eq!(action, CommandAction::Kill { reason: Some("maintenance tonight".into()) });
    assert!(ran.await.unwrap().good().contains("alice"));

    // Added to the deadline that it has …
    let ran = run(words(&format!("session extend {} 2h", live.id)));
    let deadline = now.saturating_add(Duration::from_secs(1_000 + 7_200));
    assert_eq!(handle_one(&*store).await, CommandAction::Extend { deadline });
    assert!(ran.await.unwrap().good().contains(&deadline.to_string()));

    // … or to now where it has none.
    let ran = run(words(&format!("session extend {} 60", bobs.id)));
    let CommandAction::Extend { deadline } = handle_one(&*store).await else {
        panic!("no extension")
    };
    let ahead = deadline.saturating_since(now);
    assert!(ahead >= Duration::from_secs(60) && ahead < Duration::from_secs(90), "{ahead:?}");
    ran.await.unwrap().good();
}

#[tokio::test]
async fn without_a_daemon_a_request_stays_queued_and_that_is_said() {
    let (bed, store, [live, ..], _) = site().await;
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a command takes is not the program's time"
    )]
    let started = Instant::now();
    let error = bed.run(&["session", "kill", &live.id.to_string()]).failed(1);
    let took = started.elapsed();
    assert!(error.contains("no daemon has taken the request yet"), "{error}");
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(10), "{took:?}");
    let pending = store.pending_commands(&["udp-1194".parse().unwrap()]).await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].action, CommandAction::Kill { reason: None });
}

#[tokio::test]
async fn what_cannot_be_ended_or_extended_is_told() {
    let (bed, store, [live, ended, _], _) = site().await;
    for command in [
        ["session", "kill", &ended.id.to_string()].to_vec(),
        ["session", "extend", &ended.id.to_string(), "1h"].to_vec(),
    ] {
        let error = bed.run(&command).failed(1);
        assert!(error.contains("has ended") && error.contains("session list"), "{error}");
    }
    let id = live.id.to_string();
    for duration in ["5x", "0", "", "1h 30m", "-5"] {
        let ran = bed.run(&["session", "extend", &id, "--", duration]);
        assert_eq!(ran.code, 2, "{duration}: {ran:?}");
        assert!(ran.err.contains("30m"), "{}", ran.err);
    }
    let long = "x".repeat(201);
    assert!(bed.run(&["session", "kill", &id, "--reason", &long]).failed(2).contains("200 bytes"));
    assert!(store.pending_commands(&["udp-1194".parse().unwrap()]).await.unwrap().is_empty());
}
