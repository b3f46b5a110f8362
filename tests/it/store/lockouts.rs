//! Failed logins that daemons share, and who is held back.

use std::{net::IpAddr, sync::Arc};

use ovpn_warden::{
    store::{AuthEventKind, Lockout, NewAuthEvent},
    types::LockoutScope,
};

use super::bed::{Bed, at, by, name};

fn here() -> Option<IpAddr> {
    Some([192, 0, 2, 7].into())
}

fn failed(user: Option<&str>, millis: i64) -> NewAuthEvent {
    let user = user.map(name);
    NewAuthEvent {
        kind: AuthEventKind::Failed,
        user,
        network: here(),
        at: at(millis),
        serial: None,
    }
}

fn lockout(user: Option<&str>, until: i64) -> Lockout {
    let (user, network) = (user.map(name), here());
    let scope = LockoutScope::Login;
    Lockout { user, scope, network, failures: 5, since: at(0), until: at(until) }
}

pub async fn failures_of_others_are_read_oldest_first(bed: Arc<Bed>) {
    let events: Vec<_> =
        (0..70).map(|n| failed(if n % 2 == 0 { Some("alice") } else { None }, n)).collect();
    bed.store.add_auth_events(&events, "one").await.unwrap();
    let v6 = NewAuthEvent {
        network: Some("2001:db8::".parse().unwrap()),
        kind: AuthEventKind::Forgiven,
        ..failed(Some("bob "), 70)
    };
    let nowhere = NewAuthEvent { network: None, ..failed(Some("ålice"), 71) };
    bed.store.add_auth_events(&[v6.clone(), nowhere.clone()], "two").await.unwrap();
    let read = bed.store.auth_events(at(60), "other").await.unwrap();
    let read: Vec<_> = read
        .into_iter()
        .map(|e| NewAuthEvent {
            kind: e.kind,
            user: e.user,
            network: e.network,
            at: e.at,
            serial: None,
        })
        .collect();
    let expected: Vec<_> = events[60..].iter().cloned().chain([v6, nowhere]).collect();
    assert_eq!(read, expected);
    assert_eq!(bed.store.auth_events(at(0), "one").await.unwrap().len(), 2);
    // A row of somebody else's making hides no other.
    bed.sql(
        "INSERT INTO auth_events (kind, user_name, network, origin, created_at) \
         VALUES ('odd', 'x', 'y', 'z', '2026-11-23 11:56:40.000')",
    )
    .await;
    assert_eq!(bed.store.auth_events(at(0), "two").await.unwrap().len(), 70);
    bed.store.add_lockouts(&[lockout(None, 10), lockout(Some("alice"), 99)]).await.unwrap();
    assert_eq!(bed.store.remove_auth_events(at(60), 50).await, Ok(50));
    assert_eq!(bed.store.remove_auth_events(at(60), 50).await, Ok(11), "the odd one, too");
    assert_eq!(bed.store.remove_auth_events(at(60), 50).await, Ok(0));
    assert_eq!(bed.store.auth_events(at(0), "two").await.unwrap().len(), 10);
    assert_eq!(bed.store.lockouts(at(0)).await.unwrap(), [lockout(Some("alice"), 99)]);
}

pub async fn lockouts_are_listed_until_they_end_or_are_cleared(bed: Arc<Bed>) {
    let store = &bed.store;
    let (alice, all) = (lockout(Some("alice"), 900), lockout(None, 800));
    store.add_lockouts(&[alice.clone(), all.clone()]).await.unwrap();
    store.add_lockouts(std::slice::from_ref(&alice)).await.unwrap();
    assert_eq!(store.lockouts(at(0)).await.unwrap(), [alice.clone(), all.clone()]);
    assert_eq!(store.lockouts(at(800)).await.unwrap(), std::slice::from_ref(&alice));
    let longer = Lockout { failures: 9, until: at(1_000), ..alice.clone() };
    store.add_lockouts(std::slice::from_ref(&longer)).await.unwrap();
    assert_eq!(store.lockouts(at(900)).await.unwrap(), [longer]);
    assert_eq!(store.clear_lockouts(Some(&name("bob")), None, &by()).await, Ok(0));
    assert_eq!(store.clear_lockouts(Some(&name("alice")), here(), &by()).await, Ok(1));
    assert_eq!(store.lockouts(at(0)).await.unwrap(), std::slice::from_ref(&all));
    store.add_lockouts(&[alice]).await.unwrap();
    assert_eq!(store.clear_lockouts(None, here(), &by()).await, Ok(2));
    let heard = store.auth_events(at(-1_000_000), "any").await.unwrap();
    let heard: Vec<_> = heard.iter().map(|e| (e.kind, e.user.clone(), e.network)).collect();
    assert_eq!(
        heard,
        [
            (AuthEventKind::Cleared, Some(name("bob")), None),
            (AuthEventKind::Cleared, Some(name("alice")), here()),
            (AuthEventKind::Cleared, None, here()),
        ]
    );
    let audit = bed.texts("SELECT target FROM admin_audit ORDER BY id").await;
    assert_eq!(audit, ["bob", "alice at 192.0.2.7", "192.0.2.7"]);
}

pub async fn an_event_that_is_written_again_is_there_once(bed: Arc<Bed>) {
    let store = &bed.store;
    let event = |serial| NewAuthEvent { serial: Some(serial), ..failed(Some("alice"), 0) };
    store.add_auth_events(&[event(1), event(2)], "one").await.unwrap();
    // Nobody knows whether that was done: once more, with what has come since.
    store.add_auth_events(&[event(1), event(2), event(3)], "one").await.unwrap();
    store.add_auth_events(&[event(1)], "two").await.unwrap();
    let unnumbered = failed(Some("bob"), 0);
    store.add_auth_events(&[unnumbered.clone(), unnumbered], "one").await.unwrap();
    let texts =
        bed.texts("SELECT CONCAT(origin, ' ', user_name) FROM auth_events ORDER BY id").await;
    assert_eq!(texts, ["one alice", "one alice", "one alice", "two alice", "one bob", "one bob"]);
}

pub async fn what_somebody_is_held_back_from_comes_back_as_it_was(bed: Arc<Bed>) {
    let of = |scope| Lockout { scope, network: None, ..lockout(Some("alice"), 900) };
    let all = [of(LockoutScope::Code), of(LockoutScope::Elsewhere), lockout(Some("alice"), 900)];
    bed.store.add_lockouts(&all).await.unwrap();
    let mut found = bed.store.lockouts(at(0)).await.unwrap();
    found.sort_by_key(|lockout| (lockout.network, lockout.scope.as_str()));
    assert_eq!(found, all);
    assert_eq!(bed.store.clear_lockouts(Some(&name("alice")), None, &by()).await, Ok(3));
}
