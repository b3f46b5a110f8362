//! What happened in each hour, what was done by whom, and the failed logins of one user.

use std::sync::Arc;

use ovpn_warden::{
    store::{
        ActivityKey, ActivityKind, AuthEventKind, DeviceStatus, HourSum, NewAuthEvent, NewDevice,
    },
    types::{DenyReason, Timestamp},
};

use super::bed::{Bed, MAC, at, by, id, name, new_user};

fn hour(number: i64) -> Timestamp {
    at(0).saturating_add(std::time::Duration::from_secs(number as u64 * 3_600))
}

fn key(number: i64, server: &str, kind: ActivityKind) -> ActivityKey {
    let reason = (kind == ActivityKind::Denied).then_some(DenyReason::BadCredentials);
    ActivityKey { hour: hour(number), server: server.parse().unwrap(), kind, reason }
}

fn sum(number: i64, kind: ActivityKind, amount: u64) -> HourSum {
    let reason = if kind == ActivityKind::Denied { "bad_credentials" } else { "" };
    HourSum { hour: hour(number), kind, reason: reason.into(), amount }
}

pub async fn activity_is_added_up_but_for_sessions(bed: Arc<Bed>) {
    use ActivityKind::{Denied, Received, Sessions};

    let store = &bed.store;
    // Two daemons, each for a server of its own and one after the other for the same.
    for (sessions, denied) in [(7, 2), (5, 3)] {
        let counts = [
            (key(1, "udp", Sessions), sessions),
            (key(1, "udp", Denied), denied),
            (key(1, "tcp", Sessions), 1),
            (key(1, "tcp", Received), u64::MAX),
        ];
        store.add_activity(&counts).await.unwrap();
    }
    let many: Vec<_> = (0..70).map(|n| (key(2, &format!("s{n}"), Received), 10)).collect();
    store.add_activity(&many).await.unwrap();
    store.add_activity(&[]).await.unwrap();
    let mut found = store.activity(hour(1)).await.unwrap();
    found.sort_by_key(|sum| (sum.hour, sum.kind));
    assert_eq!(
        found,
        [
            sum(1, Denied, 5),
            sum(1, Sessions, 8),
            // A damaged counter is cut, so that sums fit.
            sum(1, Received, 1 << 51),
            sum(2, Received, 700),
        ]
    );
    assert_eq!(store.activity(hour(2)).await.unwrap(), [sum(2, Received, 700)]);
    assert_eq!(store.remove_activity(hour(2), 3).await, Ok(3));
    assert_eq!(store.remove_activity(hour(2), 3).await, Ok(1));
    assert_eq!(store.remove_activity(hour(2), 3).await, Ok(0));
    assert_eq!(store.activity(hour(0)).await.unwrap(), [sum(2, Received, 700)]);
    // What a newer daemon counts hides nothing.
    bed.sql(
        "INSERT INTO activity (starts_at, server, kind, reason, amount) \
         VALUES ('2026-11-23 11:00:00.000', 'udp', 'odd', '', 1)",
    )
    .await;
    assert_eq!(store.activity(Timestamp::default()).await.unwrap(), [sum(2, Received, 700)]);
}

pub async fn the_audit_of_a_user_has_his_devices_and_nobody_elses(bed: Arc<Bed>) {
    let store = &bed.store;
    for user in ["alice", "alice0", "alic"] {
        store.add_user(&new_user(user), &by()).await.unwrap();
    }
    for user in ["alice", "alic"] {
        let (user, status) = (name(user), DeviceStatus::Pending);
        let device = NewDevice { user, id: id(MAC), label: None, status, valid_until: None };
        store.add_device(&device, &by()).await.unwrap();
    }
    let actions = |records: Vec<ovpn_warden::store::AuditRecord>| {
        records.into_iter().map(|found| (found.action, found.target)).collect::<Vec<_>>()
    };
    let device = format!("alice/{MAC}");
    assert_eq!(
        actions(store.audit_of("alice", 10).await.unwrap()),
        [("device.add".to_owned(), device), ("user.add".into(), "alice".into())]
    );
    assert_eq!(store.audit_of("alice", 1).await.unwrap().len(), 1);
    assert_eq!(store.audit_of("ali", 10).await.unwrap(), []);
    let all = store.audit(3).await.unwrap();
    assert_eq!(all.len(), 3);
    assert!(all[0].target.starts_with("alic/"), "{all:?}");
    assert_eq!((all[0].actor.as_str(), all[0].at), (by().name.as_str(), by().at));
}

pub async fn failed_logins_of_a_user_are_listed_newest_first(bed: Arc<Bed>) {
    let event = |user: &str, millis| NewAuthEvent {
        kind: AuthEventKind::Failed,
        user: Some(name(user)),
        network: None,
        at: at(millis),
        serial: None,
    };
    let events = [event("alice", 1), event("bob", 2), event("alice", 3), event("alice ", 4)];
    bed.store.add_auth_events(&events, "one").await.unwrap();
    let found = bed.store.auth_events_of(&name("alice"), 10).await.unwrap();
    assert_eq!(found.iter().map(|event| event.at).collect::<Vec<_>>(), [at(3), at(1)]);
    assert_eq!(bed.store.auth_events_of(&name("carol"), 10).await.unwrap(), []);
}
