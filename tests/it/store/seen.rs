//! Servers as they were seen last, what is open on them, and what people have changed.

use std::sync::Arc;

use ovpn_warden::{
    store::{PolicyRecord, ServerRecord, SessionRecord, SessionState, StoreError, UserPatch},
    types::{Period, Periods, ServerName},
};

use super::bed::{Bed, at, by, name, session};

fn server(run: i64, seen: i64) -> ServerRecord {
    ServerRecord {
        name: session(0).server,
        address: "tcp://127.0.0.1:7505".into(),
        openvpn_version: "OpenVPN 2.6.14".into(),
        run_started: at(run),
        seen_at: at(seen),
        sessions: 2,
    }
}

async fn stored(bed: &Bed) -> Option<ServerRecord> {
    bed.store.open_sessions(&session(0).server).await.unwrap().server
}

pub async fn a_server_is_seen_later_and_never_earlier_in_a_run(bed: Arc<Bed>) {
    assert_eq!(stored(&bed).await, None);
    for (marked, kept) in [
        ((-1_000, 5_000), (-1_000, 5_000)),
        ((-1_000, 4_000), (-1_000, 5_000)),
        ((-1_000, 6_000), (-1_000, 6_000)),
        // The clock of the server's machine may have been set back between two runs.
        ((-3_000, 2_000), (-3_000, 2_000)),
    ] {
        bed.store.mark_servers(&[server(marked.0, marked.1)]).await.unwrap();
        assert_eq!(stored(&bed).await, Some(server(kept.0, kept.1)));
    }
    let other = |number: u32| ServerRecord {
        name: format!("tcp-{number}").parse().unwrap(),
        address: "x".repeat(1_000),
        ..server(0, i64::from(number))
    };
    let many: Vec<_> = (0..40).map(other).collect();
    bed.store.mark_servers(&many).await.unwrap();
    bed.store.mark_servers(&[]).await.unwrap();
    let one = bed.store.open_sessions(&many[39].name).await.unwrap().server.unwrap();
    assert_eq!((one.seen_at, one.address.len()), (at(39), 255));
}

pub async fn open_sessions_come_with_the_zones_of_their_users(bed: Arc<Bed>) {
    for user in ["alice", "bob", "carol"] {
        bed.add_user(user).await;
    }
    let zone = "Europe/Berlin".parse().unwrap();
    let policy =
        PolicyRecord { name: "berlin".into(), time_zone: Some(zone), ..PolicyRecord::default() };
    bed.store.put_policy(&policy, false, &by()).await.unwrap();
    let patch = UserPatch { policy: Some("berlin".into()), ..UserPatch::default() };
    for user in ["alice", "carol"] {
        bed.store.patch_user(&name(user), &patch, &by()).await.unwrap();
    }
    let bobs = SessionRecord { user: name("bob"), ..session(2) };
    let elsewhere = SessionRecord { user: name("carol"), server: tcp(), ..session(3) };
    bed.store.persist(&[session(1), bobs, elsewhere]).await.unwrap();
    let open = bed.store.open_sessions(&session(0).server).await.unwrap();
    assert_eq!(open.sessions.len(), 2);
    assert_eq!(open.zones.into_iter().collect::<Vec<_>>(), [(name("alice"), zone)]);
}

fn tcp() -> ServerName {
    "tcp-443".parse().unwrap()
}

pub async fn who_carries_nothing_is_as_long_there_as_the_server_is_seen(bed: Arc<Bed>) {
    let idle = SessionRecord { bytes_sent: 7, ..session(1) };
    bed.store.persist(std::slice::from_ref(&idle)).await.unwrap();
    let periods = Periods { day: at(0), week: at(0), month: at(0) };
    let seen = async || {
        let usage = bed.store.usage(&[(idle.user.clone(), periods)], at(0)).await.unwrap();
        (usage[0].open[0].updated_at, usage[0].open[0].seen_at)
    };
    assert_eq!(seen().await, (idle.updated_at, idle.updated_at));
    // Another run of the server is no sign of life.
    bed.store.mark_servers(&[server(9_000, 90_000)]).await.unwrap();
    assert_eq!(seen().await, (idle.updated_at, idle.updated_at));
    bed.store.mark_servers(&[server(-1_000, 60_000)]).await.unwrap();
    assert_eq!(seen().await, (idle.updated_at, at(60_000)));
    // Nor is it closed by hand while its server is seen.
    let close = async |before| bed.store.close_session(idle.id, before, &by()).await;
    assert!(matches!(close(at(60_000)).await, Err(StoreError::InUse(_))));
    let closed = close(at(60_001)).await.unwrap();
    assert_eq!((closed.state, closed.ended_at), (SessionState::Closed, Some(at(60_000))));
    let usage = bed.store.usage(&[(idle.user.clone(), periods)], at(0)).await.unwrap();
    let lasted = at(60_000).saturating_since(idle.started_at);
    assert_eq!(usage[0].time[Period::Total as usize], lasted);
}

pub async fn standings_of_users_are_those_on_all_servers(bed: Arc<Bed>) {
    for user in ["alice", "bob"] {
        bed.add_user(user).await;
    }
    let rows = [
        session(1),
        SessionRecord { server: tcp(), ..session(2) },
        SessionRecord { user: name("bob"), ..session(3) },
        SessionRecord { state: SessionState::Closed, ended_at: Some(at(9)), ..session(4) },
    ];
    bed.store.persist(&rows).await.unwrap();
    let mut found = bed.store.standings_of(&[name("alice"), name("nobody")]).await.unwrap();
    found.sort_by_key(|standing| standing.session);
    let found: Vec<_> = found.iter().map(|s| (s.session, s.server.clone())).collect();
    assert_eq!(found, [(rows[0].id, rows[0].server.clone()), (rows[1].id, tcp())]);
    assert_eq!(bed.store.standings_of(&[]).await, Ok(vec![]));
}

pub async fn changes_are_told_after_the_last_that_is_known(bed: Arc<Bed>) {
    assert_eq!(bed.store.changes(None).await, Ok(vec![]));
    bed.add_user("alice").await;
    let last = bed.store.changes(None).await.unwrap().pop().unwrap();
    assert_eq!((last.action.as_str(), last.target.as_str()), ("user.add", "alice"));
    assert_eq!(bed.store.changes(Some(last.id)).await, Ok(vec![]));
    bed.add_device("alice", super::bed::MAC).await;
    let patch = UserPatch { enabled: Some(false), ..UserPatch::default() };
    bed.store.patch_user(&name("alice"), &patch, &by()).await.unwrap();
    let told = bed.store.changes(Some(last.id)).await.unwrap();
    let told: Vec<_> = told.iter().map(|c| (c.action.as_str(), c.target.as_str())).collect();
    let device = format!("alice/{}", super::bed::MAC);
    assert_eq!(told, [("device.add", device.as_str()), ("user.set", "alice")]);
}
