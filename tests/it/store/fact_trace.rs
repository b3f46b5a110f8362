//! What the database tells of changes to what sessions are judged by.

use std::{sync::Arc, time::Duration};

use ovpn_warden::store::FactTrace;
use tokio::time::sleep;

use super::bed::{Backend, Bed, MAC, by, id, name, session};

/// Changes by SQL, to each table of a session's standing.
const CHANGES: [&str; 6] = [
    "UPDATE users SET enabled = 1 - enabled",
    "UPDATE policies SET session_limit_s = 60",
    "UPDATE devices SET status = 'blocked'",
    "INSERT INTO allowed_hours (policy, weekday, opens, closes) VALUES ('default', 1, '08:00', '12:00')",
    "UPDATE allowed_hours SET opens = '09:00'",
    "UPDATE device_ends SET valid_until = '2030-01-01 00:00:00'",
];

/// Two changes within a second may look like one.
const SECOND: Duration = Duration::from_millis(1_100);

async fn trace(bed: &Bed) -> Option<FactTrace> {
    bed.store.fact_trace().await.unwrap()
}

async fn assert_seen(bed: &Bed, change: &str) {
    let before = trace(bed).await;
    assert_ne!(before, None, "{change}");
    sleep(SECOND).await;
    bed.sql(change).await;
    let after = trace(bed).await;
    assert_ne!(after, None, "{change}");
    assert_ne!(after, before, "{change}");
}

pub async fn whatever_others_change_of_a_standing_leaves_a_trace(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    bed.add_device("alice", MAC).await;
    let end = Some(session(1).started_at);
    bed.store.set_device_end(&name("alice"), &id(MAC), end, &by()).await.unwrap();
    bed.store.persist(&[session(1)]).await.unwrap();
    let all = match bed.backend {
        Backend::Sqlite => "DELETE FROM device_ends",
        Backend::MariaDb | Backend::MySql => "TRUNCATE device_ends",
    };
    for change in CHANGES.into_iter().chain([all, "DELETE FROM users"]) {
        assert_seen(&bed, change).await;
    }
}

pub async fn what_a_daemon_writes_all_the_time_leaves_none(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    bed.store.persist(&[session(1)]).await.unwrap();
    // Within the second of these.
    sleep(SECOND).await;
    let before = trace(&bed).await;
    assert_ne!(before, None);
    for number in 2..60 {
        bed.store.persist(&[session(number)]).await.unwrap();
        // Readers have connections of their own.
        bed.store.standings(&[session(1).server]).await.unwrap();
    }
    assert_eq!(trace(&bed).await, before);
}

pub async fn a_server_that_keeps_no_times_is_not_believed(bed: Arc<Bed>) {
    // Until a row of a session is written nobody knows whether it does.
    let is_told = trace(&bed).await.is_some();
    assert_eq!(is_told, bed.backend == Backend::Sqlite);
    bed.store.persist(&[session(1)]).await.unwrap();
    assert_ne!(trace(&bed).await, None);
}
