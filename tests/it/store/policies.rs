//! Policies, on every backend.

use std::sync::Arc;

use ovpn_warden::{
    store::{
        DeviceMode, NewUser, OnLimit, PolicyChange, PolicyRecord, SecondFactorMode, StoreError,
    },
    types::{ExpiryAction, Quotas},
};

use super::bed::{Bed, at, by, name, new_user};

fn staff() -> PolicyRecord {
    PolicyRecord {
        time_zone: "Europe/Berlin".parse().ok(),
        hours: "mon-fri 08:00-18:00, sat 22:00-02:00".parse().unwrap(),
        time_quota: Quotas::new([Some(0), None, Some(72_000), Some(u64::MAX >> 1)]),
        data_quota: Quotas::new([None, Some(1), Some(5 << 30), None]),
        idle_s: Some(600),
        require_fingerprint: Some(false),
        idle_bytes: Some(u64::MAX >> 1),
        name: "staff".into(),
        session_limit_s: Some(u32::MAX),
        expiry_action: Some(ExpiryAction::Restart),
        device_mode: Some(DeviceMode::Learn),
        max_devices: Some(3),
        max_sessions: Some(0),
        on_limit: Some(OnLimit::ReplaceOldest),
        cooldown_s: Some(60),
        second_factor: Some(SecondFactorMode::Required),
        retention_days: Some(30),
    }
}

pub async fn the_default_policy_is_there_from_the_start(bed: Arc<Bed>) {
    let default = PolicyRecord { name: "default".into(), ..PolicyRecord::default() };
    assert_eq!(bed.store.policies().await.unwrap().policies, std::slice::from_ref(&default));
    let in_use = StoreError::InUse("policy `default`".into());
    assert_eq!(bed.store.remove_policy("default", &by()).await, Err(in_use));
    let tighter = PolicyRecord { session_limit_s: Some(0), ..default };
    bed.store.put_policy(&tighter, true, &by()).await.unwrap();
    assert_eq!(bed.store.policy("default").await.unwrap(), Some(tighter));
}

pub async fn a_policy_is_added_replaced_and_removed(bed: Arc<Bed>) {
    let store = &bed.store;
    let missing = StoreError::NotFound("policy `staff`".into());
    assert_eq!(store.put_policy(&staff(), true, &by()).await, Err(missing.clone()));
    store.put_policy(&staff(), false, &by()).await.unwrap();
    let exists = StoreError::Exists("policy `staff`".into());
    assert_eq!(store.put_policy(&staff(), false, &by()).await, Err(exists));
    assert_eq!(store.policy("staff").await.unwrap(), Some(staff()));
    let bare = PolicyRecord { name: "staff".into(), ..PolicyRecord::default() };
    // The second time nothing changes, which is no reason to say that it is not there.
    for _ in 0..2 {
        store.put_policy(&bare, true, &by()).await.unwrap();
    }
    assert_eq!(store.policy("staff").await.unwrap(), Some(bare));
    for near in ["Staff", "staff ", "staf"] {
        assert_eq!(store.policy(near).await.unwrap(), None);
        let missing = StoreError::NotFound(format!("policy `{near}`"));
        assert_eq!(store.remove_policy(near, &by()).await, Err(missing));
    }
    store.remove_policy("staff", &by()).await.unwrap();
    assert_eq!(store.remove_policy("staff", &by()).await, Err(missing));
}

pub async fn a_policy_in_use_is_kept(bed: Arc<Bed>) {
    bed.store.put_policy(&staff(), false, &by()).await.unwrap();
    let user = NewUser { policy: Some("staff".into()), ..new_user("alice") };
    bed.store.add_user(&user, &by()).await.unwrap();
    let in_use = StoreError::InUse("policy `staff`".into());
    assert_eq!(bed.store.remove_policy("staff", &by()).await, Err(in_use));
    let facts = bed.store.facts(&name("alice"), None, None, at(0)).await.unwrap().unwrap();
    assert_eq!(facts.policy, staff());
    bed.store.remove_user(&name("alice"), &by()).await.unwrap();
    bed.store.remove_policy("staff", &by()).await.unwrap();
}

pub async fn changes_of_two_operators_at_once_are_both_there(bed: Arc<Bed>) {
    for round in 0..6_u32 {
        let (one, two) = (bed.second(), bed.second());
        let sessions = move |policy: &mut PolicyRecord| policy.max_sessions = Some(round);
        let devices = move |policy: &mut PolicyRecord| policy.max_devices = Some(round);
        let change = |apply| PolicyChange { apply, sets_hours: false };
        let (a, b) = (by(), by());
        let (a, b) = tokio::join!(
            one.change_policy("default", change(&sessions), &a),
            two.change_policy("default", change(&devices), &b),
        );
        assert_eq!((a.is_ok(), b.is_ok()), (true, true), "{a:?} {b:?}");
        let found = bed.store.policy("default").await.unwrap().unwrap();
        assert_eq!((found.max_sessions, found.max_devices), (Some(round), Some(round)));
    }
    let missing = PolicyChange { apply: &|_| {}, sets_hours: false };
    let missing = bed.store.change_policy("nope", missing, &by()).await;
    assert_eq!(missing, Err(StoreError::NotFound("policy `nope`".into())));
}

pub async fn hours_that_cannot_be_read_hide_no_other_policy_and_can_be_mended(bed: Arc<Bed>) {
    let hours = "mon 08:00-18:00".parse().unwrap();
    let staff = PolicyRecord { hours, max_sessions: Some(2), ..staff() };
    bed.store.put_policy(&staff, false, &by()).await.unwrap();
    bed.sql("INSERT INTO allowed_hours (policy, weekday, opens, closes) VALUES ('staff', 6, '9:00', '18:00')")
        .await;
    let all = bed.store.policies().await.unwrap();
    assert_eq!((all.policies.len(), all.policies[0].name.as_str()), (1, "default"));
    let [(name, error)] = &all.unreadable[..] else { panic!("{all:?}") };
    let text =
        "policies.hours where name is `staff`: `6 9:00-18:00` of `allowed_hours` is no range";
    assert!(error.to_string().contains(text) && name == "staff", "{error}");
    let limit = |policy: &mut PolicyRecord| policy.max_sessions = Some(3);
    let change = PolicyChange { apply: &limit, sets_hours: false };
    let refused = bed.store.change_policy("staff", change, &by()).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    let hours = |policy: &mut PolicyRecord| policy.hours = "tue 08:00-18:00".parse().unwrap();
    let change = PolicyChange { apply: &hours, sets_hours: true };
    let mended = bed.store.change_policy("staff", change, &by()).await.unwrap();
    assert_eq!(
        (mended.max_sessions, mended.hours.to_string()),
        (Some(2), "tue 08:00-18:00".into())
    );
    assert_eq!(bed.store.policy("staff").await, Ok(Some(mended)));
}

pub async fn a_bad_name_of_a_policy_is_refused(bed: Arc<Bed>) {
    for name in ["", "a b", "zo\u{eb}", &"x".repeat(65)] {
        let policy = PolicyRecord { name: name.into(), ..PolicyRecord::default() };
        let put = bed.store.put_policy(&policy, false, &by()).await;
        assert!(matches!(put, Err(StoreError::Refused(_))), "{name}: {put:?}");
    }
}
