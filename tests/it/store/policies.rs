//! Policies, on every backend.

use std::sync::Arc;

use ovpn_warden::{
    store::{DeviceMode, NewUser, OnLimit, PolicyRecord, SecondFactorMode, StoreError},
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
    assert_eq!(bed.store.policies().await.unwrap(), std::slice::from_ref(&default));
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

pub async fn a_bad_name_of_a_policy_is_refused(bed: Arc<Bed>) {
    for name in ["", "a b", "zo\u{eb}", &"x".repeat(65)] {
        let policy = PolicyRecord { name: name.into(), ..PolicyRecord::default() };
        let put = bed.store.put_policy(&policy, false, &by()).await;
        assert!(matches!(put, Err(StoreError::Refused(_))), "{name}: {put:?}");
    }
}
