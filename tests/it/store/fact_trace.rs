//! What the database tells of changes to what sessions are judged by.

use std::{sync::Arc, time::Duration};

use ovpn_warden::store::{CommandAction, FactTrace, Traces};
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

pub async fn a_server_tells_in_one_answer_of_all_that_is_asked_for_by_the_clock(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    bed.add_device("alice", MAC).await;
    if bed.backend == Backend::Sqlite {
        assert_eq!(bed.store.pulse().await, Ok(None), "its file tells of it");
        return;
    }
    assert_eq!(bed.store.pulse().await, Ok(None), "until it is known that it keeps times");
    bed.store.persist(&[session(1)]).await.unwrap();
    sleep(SECOND).await;
    let mut before = bed.store.pulse().await.unwrap();
    assert_ne!(before, None);
    // What daemons write all the time is none of it.
    bed.store.persist(&[session(2)]).await.unwrap();
    assert_eq!(bed.store.pulse().await.unwrap(), before);
    let told = async |before: &mut Option<Traces>, what: &str| {
        let after = bed.store.pulse().await.unwrap();
        assert!(after.is_some() && after != *before, "{what}: {after:?}");
        *before = after;
    };
    let kill = CommandAction::Kill { reason: None };
    let request = bed.store.request(session(1).id, &kill, &by()).await.unwrap();
    told(&mut before, "a request").await;
    bed.store.complete_commands(&[request], by().at).await.unwrap();
    told(&mut before, "that it is done").await;
    bed.store.clear_lockouts(None, None, &by()).await.unwrap();
    told(&mut before, "what an operator forgives").await;
    let add = async |id: i64| {
        let columns = "(id, created_at, actor, action, target)";
        let values = format!("({id}, '2026-01-01', 'x', 'user.set', 'alice')");
        bed.sql(&format!("INSERT INTO admin_audit {columns} VALUES {values}")).await;
    };
    add(90).await;
    told(&mut before, "a change").await;
    add(80).await;
    told(&mut before, "one that comes to light late").await;
    let failed = "(kind, user_name, network, origin, created_at)";
    bed.sql(&format!(
        "INSERT INTO auth_events {failed} VALUES ('failed', 'alice', '', 'x', '2026-01-01')"
    ))
    .await;
    told(&mut before, "a failed login").await;
    bed.sql("UPDATE users SET enabled = 0").await;
    told(&mut before, "a change by SQL").await;
}
