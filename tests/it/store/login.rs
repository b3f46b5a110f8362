//! The facts of a login, on every backend.

use std::sync::Arc;

use futures_util::future::join_all;
use ovpn_warden::{
    store::{
        ConfigOwner, DeviceStatus, PolicyRecord, SessionRecord, SessionState, StoreError, UserPatch,
    },
    types::{Cause, DeviceId, Fingerprint},
};

use super::bed::{Backend, Bed, MAC, UUID, at, by, id, name};

pub async fn an_unknown_user_has_no_facts(bed: Arc<Bed>) {
    assert_eq!(bed.store.facts(&name("nobody"), Some(&id(MAC)), None, at(0)).await, Ok(None));
}

pub async fn facts_are_the_user_its_policy_and_the_presented_device(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    bed.add_device("alice", MAC).await;
    bed.add_device("alice", UUID).await;
    let facts =
        async |device| bed.store.facts(&name("alice"), device, None, at(0)).await.unwrap().unwrap();
    let (mac, other) = (id(MAC), id("02:1a:2b:3c:4d:5f"));
    let known = facts(Some(&mac)).await;
    assert_eq!(known.user, bed.store.user(&name("alice")).await.unwrap().unwrap());
    assert_eq!(known.policy.name, "default");
    assert_eq!(known.device, Some(DeviceStatus::Approved));
    assert_eq!(facts(None).await.device, None);
    assert_eq!(facts(Some(&other)).await.device, None);
}

pub async fn a_disabled_user_has_facts(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let off = UserPatch { enabled: Some(false), ..UserPatch::default() };
    bed.store.patch_user(&name("alice"), &off, &by()).await.unwrap();
    let facts = bed.store.facts(&name("alice"), None, None, at(0)).await.unwrap().unwrap();
    assert!(!facts.user.enabled);
}

/// Runs a statement that the foreign keys would refuse.
async fn force(bed: &Bed, statement: &str) {
    let off = if bed.backend == Backend::Sqlite {
        "PRAGMA foreign_keys = OFF"
    } else {
        "SET FOREIGN_KEY_CHECKS = 0"
    };
    bed.sql(&format!("{off}; {statement}")).await;
}

pub async fn a_policy_that_is_gone_is_bad_data_and_not_the_default(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    force(&bed, "UPDATE users SET policy = 'gone'").await;
    let facts = async || bed.store.facts(&name("alice"), None, None, at(0)).await;
    let at = "users.policy where name is `alice`: ";
    let named = StoreError::Corrupt(format!("{at}names no policy"));
    assert_eq!(facts().await, Err(named));
    force(&bed, "UPDATE users SET policy = NULL; DELETE FROM policies").await;
    let default = StoreError::Corrupt(format!("{at}means the policy `default`, which is gone"));
    assert_eq!(facts().await, Err(default));
}

pub async fn bad_data_is_named_by_place(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    bed.add_device("alice", MAC).await;
    let device = id(MAC);
    for (spoil, mend, place) in [
        (
            "UPDATE users SET enabled = 7",
            "UPDATE users SET enabled = 1",
            "users.enabled where name is `alice`: is neither 0 nor 1".to_owned(),
        ),
        (
            "UPDATE policies SET device_mode = 'canary'",
            "UPDATE policies SET device_mode = NULL",
            "policies.device_mode where name is `default`: is not a known value".to_owned(),
        ),
        (
            "UPDATE devices SET status = ''",
            "UPDATE devices SET status = 'approved'",
            format!("devices.status where identifier is `{MAC}`: is not a known value"),
        ),
    ] {
        bed.sql(spoil).await;
        let facts = bed.store.facts(&name("alice"), Some(&device), None, at(0)).await;
        assert_eq!(facts, Err(StoreError::Corrupt(place)));
        bed.sql(mend).await;
    }
    if bed.backend == Backend::Sqlite {
        bed.sql("UPDATE users SET valid_until = 'next week'").await;
        let facts = bed.store.facts(&name("alice"), None, None, at(0)).await;
        assert!(matches!(facts, Err(StoreError::Corrupt(text)) if text.contains("valid_until")));
        bed.sql("UPDATE users SET valid_until = NULL; UPDATE policies SET session_limit_s = -1")
            .await;
        let facts = bed.store.facts(&name("alice"), None, None, at(0)).await;
        assert!(matches!(facts, Err(StoreError::Corrupt(text)) if text.contains("out of range")));
        bed.sql("UPDATE policies SET session_limit_s = NULL").await;
    }
    let facts = bed.store.facts(&name("alice"), Some(&device), None, at(0)).await.unwrap().unwrap();
    let default = PolicyRecord { name: "default".into(), ..PolicyRecord::default() };
    assert_eq!(facts.policy, default);
}

pub async fn a_certificate_is_found_by_its_fingerprint_for_its_user_only(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    bed.add_user("bob").await;
    let shown = format!("sha256:{}", "0a".repeat(32));
    bed.add_device("alice", &shown).await;
    let fingerprint: Fingerprint = shown.parse().unwrap();
    let standing = async |user: &str, certificate| {
        store.facts(&name(user), None, certificate, at(0)).await.unwrap().unwrap().certificate
    };
    assert_eq!(standing("alice", Some(&fingerprint)).await, Some(DeviceStatus::Approved));
    assert_eq!(standing("alice", None).await, None);
    assert_eq!(standing("bob", Some(&fingerprint)).await, None);
    let listed = store.devices(Some(&name("alice")), 10).await.unwrap();
    assert_eq!(listed[0].kind, ovpn_warden::types::DeviceKind::Fingerprint);
    let device = id(&shown);
    store.set_device_status(&name("alice"), &device, DeviceStatus::Blocked, &by()).await.unwrap();
    assert_eq!(standing("alice", Some(&fingerprint)).await, Some(DeviceStatus::Blocked));
    // A session shows with which certificate it came, and is judged by it again.
    let held = |number, certificate| SessionRecord { certificate, ..super::bed::session(number) };
    let with = held(1, Some(Box::new(fingerprint)));
    store.persist(&[with.clone(), held(2, None)]).await.unwrap();
    assert_eq!(store.session(with.id).await.unwrap().unwrap(), with);
    let mut standings = store.standings(std::slice::from_ref(&with.server)).await.unwrap();
    standings.sort_by_key(|standing| standing.started_at);
    let certificates: Vec<_> = standings.iter().map(|standing| standing.certificate).collect();
    assert_eq!(certificates, [Some(Some(DeviceStatus::Blocked)), None]);
}

/// Devices and certificates of one are others', too, with another standing; names differ in their
/// case; one has bad data, one a session that its limit has ended, one that is being ended by it.
pub async fn logins_at_the_same_moment_get_what_each_would_get_alone(bed: Arc<Bed>) {
    let store = &bed.store;
    let cert: Fingerprint = format!("sha256:{}", "0a".repeat(32)).parse().unwrap();
    let other_cert: Fingerprint = format!("sha256:{}", "0b".repeat(32)).parse().unwrap();
    for user in ["alice", "bob", "carol", "dave", "Alice"] {
        bed.add_user(user).await;
    }
    for (user, device) in [
        ("alice", MAC.to_owned()),
        ("alice", cert.to_string()),
        ("bob", MAC.to_owned()),
        ("bob", UUID.to_owned()),
        ("bob", cert.to_string()),
        ("bob", other_cert.to_string()),
    ] {
        bed.add_device(user, &device).await;
    }
    for device in [MAC.to_owned(), cert.to_string()] {
        let blocked = DeviceStatus::Blocked;
        store.set_device_status(&name("bob"), &id(&device), blocked, &by()).await.unwrap();
    }
    let owner = ConfigOwner::User(name("bob"));
    let line = super::client_config::new("", "push-reset", "");
    store.put_client_config(&owner, &[], &[line], &by()).await.unwrap();
    force(&bed, "UPDATE users SET policy = 'gone' WHERE name = 'carol'").await;
    let of = |number, user: &str| SessionRecord {
        user: name(user),
        cause: Some(Cause::SessionLimit),
        ..super::bed::session(number)
    };
    let ended =
        SessionRecord { state: SessionState::Closed, ended_at: Some(at(50)), ..of(1, "dave") };
    let ending = SessionRecord { state: SessionState::Closing, ..of(2, "alice") };
    store.persist(&[ended, ending]).await.unwrap();

    let mut questions: Vec<(&str, Option<DeviceId>, Option<Fingerprint>)> = Vec::new();
    for user in ["alice", "bob", "carol", "dave", "Alice", "nobody", "al\u{ef}ce"] {
        for device in [None, Some(MAC), Some(UUID)] {
            for certificate in [None, Some(cert), Some(other_cert)] {
                questions.push((user, device.map(id), certificate));
            }
        }
    }
    let ask =
        async |(user, device, certificate): &(&str, Option<DeviceId>, Option<Fingerprint>)| {
            store.facts(&name(user), device.as_ref(), certificate.as_ref(), at(60)).await
        };
    let mut alone = Vec::new();
    for question in &questions {
        alone.push(ask(question).await);
    }
    let bob = alone[9 + 3 + 2].as_ref().unwrap().as_ref().unwrap();
    assert_eq!(
        (bob.device, bob.certificate),
        (Some(DeviceStatus::Blocked), Some(DeviceStatus::Approved))
    );
    assert_eq!(bob.config.user.len(), 1);
    assert!(alone[18].is_err(), "carol's policy is gone");
    assert!(alone[0].as_ref().unwrap().as_ref().unwrap().expired_at.is_some());
    assert_eq!(alone[27].as_ref().unwrap().as_ref().unwrap().expired_at, Some(at(50)));
    for _ in 0..3 {
        for (question, (alone, together)) in
            questions.iter().zip(alone.iter().zip(join_all(questions.iter().map(&ask)).await))
        {
            assert_eq!(&together, alone, "{question:?}");
        }
    }
}
