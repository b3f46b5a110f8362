//! Second factors, on every backend.

use std::sync::Arc;

use ovpn_warden::{
    store::{
        Claim, NewSecondFactor, OnLimit, Place, PolicyRecord, SecondFactor, SecondFactorMode,
        SessionRecord, StoreError, UsedCode,
    },
    types::Password,
};

use super::bed::{Bed, at, by, name, session};

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";

fn digest(number: u32) -> String {
    format!("{number:064x}")
}

fn factor(secret: &str, replace: bool) -> NewSecondFactor {
    NewSecondFactor {
        secret: Password::from(secret.as_bytes()),
        recovery_codes: (0..3).map(digest).collect(),
        replace,
    }
}

fn used(secret: &Password, step: u64) -> UsedCode {
    UsedCode::Step { secret: secret.clone(), step }
}

fn recovery(digest: &str) -> UsedCode {
    UsedCode::Recovery(digest.to_owned())
}

/// Alice, with a second factor; her id.
async fn enrolled(bed: &Bed) -> i64 {
    bed.add_user("alice").await;
    bed.store.put_second_factor(&name("alice"), &factor(SECRET, false), &by()).await.unwrap();
    bed.store.user(&name("alice")).await.unwrap().unwrap().id
}

async fn found(bed: &Bed) -> Option<SecondFactor> {
    bed.store.facts(&name("alice"), None, None, at(0)).await.unwrap().unwrap().second_factor
}

pub async fn facts_hold_the_second_factor_and_its_policy(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    assert_eq!(found(&bed).await, None);
    bed.store.remove_user(&name("alice"), &by()).await.unwrap();
    let id = enrolled(&bed).await;
    let secret = Password::from(SECRET.as_bytes());
    let fresh = SecondFactor { secret: secret.clone(), last_step: None, enrolled_at: by().at };
    assert_eq!(found(&bed).await, Some(fresh.clone()));
    assert_eq!(bed.store.take_code(id, &used(&secret, u64::MAX >> 1)).await, Ok(true));
    let used = SecondFactor { last_step: Some(u64::MAX >> 1), ..fresh };
    assert_eq!(found(&bed).await, Some(used));
    let mode = Some(SecondFactorMode::Required);
    let policy =
        PolicyRecord { name: "default".into(), second_factor: mode, ..PolicyRecord::default() };
    bed.store.put_policy(&policy, true, &by()).await.unwrap();
    let facts = bed.store.facts(&name("alice"), None, None, at(0)).await.unwrap().unwrap();
    assert_eq!(facts.policy, policy);
    bed.sql("UPDATE policies SET second_factor = 'always'").await;
    let spoilt = bed.store.facts(&name("alice"), None, None, at(0)).await;
    assert!(matches!(spoilt, Err(StoreError::Corrupt(text)) if text.contains("second_factor")));
}

pub async fn of_two_daemons_one_takes_a_code(bed: Arc<Bed>) {
    let id = enrolled(&bed).await;
    let secret = Password::from(SECRET.as_bytes());
    for step in [100, 101, 105] {
        let daemons = [bed.second(), bed.second(), bed.second(), bed.second()];
        let tries = daemons.into_iter().map(|daemon| {
            let secret = secret.clone();
            tokio::spawn(async move { daemon.take_code(id, &used(&secret, step)).await.unwrap() })
        });
        let mut taken = 0;
        for done in tries.collect::<Vec<_>>() {
            taken += u32::from(done.await.unwrap());
        }
        assert_eq!(taken, 1, "step {step}");
    }
    for step in [0, 100, 104, 105] {
        assert_eq!(bed.store.take_code(id, &used(&secret, step)).await, Ok(false), "step {step}");
    }
    assert_eq!(found(&bed).await.unwrap().last_step, Some(105));
}

pub async fn a_code_is_taken_only_with_the_key_it_is_of(bed: Arc<Bed>) {
    let id = enrolled(&bed).await;
    let (own, other) = (Password::from(SECRET.as_bytes()), Password::from(OTHER.as_bytes()));
    assert_eq!(bed.store.take_code(id, &used(&other, 7)).await, Ok(false));
    assert_eq!(bed.store.take_code(id + 1, &used(&own, 7)).await, Ok(false));
    bed.store.put_second_factor(&name("alice"), &factor(OTHER, true), &by()).await.unwrap();
    assert_eq!(
        bed.store.take_code(id, &used(&own, 7)).await,
        Ok(false),
        "it was replaced meanwhile"
    );
    assert_eq!(bed.store.take_code(id, &used(&other, 7)).await, Ok(true));
}

pub async fn a_recovery_code_is_used_once(bed: Arc<Bed>) {
    let id = enrolled(&bed).await;
    let (one, two) = (bed.second(), bed.second());
    let (code, other) = (recovery(&digest(0)), recovery(&digest(1)));
    let (one, two) = tokio::join!(one.take_code(id, &code), two.take_code(id, &code),);
    assert_eq!([one.unwrap(), two.unwrap()].iter().filter(|taken| **taken).count(), 1);
    assert_eq!(bed.store.take_code(id, &code).await, Ok(false));
    assert_eq!(bed.store.take_code(id, &recovery(&digest(9))).await, Ok(false));
    let has =
        async |user, number| bed.store.has_recovery_code(user, &digest(number)).await.unwrap();
    assert!(has(id, 1).await && !has(id, 0).await && !has(id, 9).await && !has(id + 1, 1).await);
    assert_eq!(bed.store.take_code(id + 1, &other).await, Ok(false), "somebody else's");
    let left = async || bed.store.second_factor(&name("alice")).await.unwrap().unwrap();
    assert_eq!(left().await.recovery_codes, 2);
    let fresh = [digest(20)];
    bed.store.put_recovery_codes(&name("alice"), &fresh, &by()).await.unwrap();
    assert_eq!(left().await.recovery_codes, 1);
    assert_eq!(bed.store.take_code(id, &other).await, Ok(false), "the old ones are void");
    assert_eq!(bed.store.take_code(id, &recovery(&fresh[0])).await, Ok(true));
}

pub async fn a_code_is_used_up_with_its_place_or_neither_is_taken(bed: Arc<Bed>) {
    let id = enrolled(&bed).await;
    let (user, server) = (name("alice"), "udp-1194".parse().unwrap());
    let secret = Password::from(SECRET.as_bytes());
    let open = SessionRecord { device: None, ..session(1) };
    bed.store.persist(std::slice::from_ref(&open)).await.unwrap();
    let claim = async |code: &UsedCode, on_limit| {
        let session = session(2).id;
        let (device, max, code) = (None, 1, Some(code));
        let claim = Claim { session, server: &server, user: &user, device, max, on_limit, code };
        bed.store.claim(&claim, at(0)).await.unwrap()
    };
    let asked = async || {
        bed.store.pending_commands(std::slice::from_ref(&server)).await.unwrap().commands.len()
    };
    for code in [used(&secret, 7), recovery(&digest(0))] {
        assert_eq!(claim(&code, OnLimit::Deny).await, Place::Full);
    }
    for unknown in [used(&Password::from(OTHER.as_bytes()), 7), recovery(&digest(9))] {
        assert_eq!(claim(&unknown, OnLimit::ReplaceOldest).await, Place::CodeUsed);
    }
    assert_eq!(asked().await, 0, "nobody is asked to leave for it");
    assert_eq!(found(&bed).await.unwrap().last_step, None);
    assert_eq!(claim(&used(&secret, 7), OnLimit::ReplaceOldest).await, Place::Taken);
    assert_eq!(asked().await, 1);
    assert_eq!(found(&bed).await.unwrap().last_step, Some(7));
    assert_eq!(bed.store.take_code(id, &used(&secret, 7)).await, Ok(false));
    assert_eq!(bed.store.take_code(id, &recovery(&digest(0))).await, Ok(true), "it was left");
}

pub async fn a_second_factor_is_set_up_replaced_and_removed(bed: Arc<Bed>) {
    let alice = name("alice");
    let put =
        async |factor: &NewSecondFactor| bed.store.put_second_factor(&alice, factor, &by()).await;
    let missing = StoreError::NotFound("user `alice`".into());
    assert_eq!(put(&factor(SECRET, false)).await, Err(missing.clone()));
    assert_eq!(bed.store.second_factor(&alice).await, Ok(None));
    let id = enrolled(&bed).await;
    let exists = StoreError::Exists("second factor of user `alice`".into());
    assert_eq!(put(&factor(OTHER, false)).await, Err(exists));
    assert_eq!(found(&bed).await.unwrap().secret.expose(), SECRET.as_bytes(), "nothing happened");
    assert_eq!(bed.store.second_factor(&alice).await.unwrap().unwrap().recovery_codes, 3);
    let secret = Password::from(SECRET.as_bytes());
    assert_eq!(bed.store.take_code(id, &used(&secret, 9)).await, Ok(true));
    let status = bed.store.second_factor(&alice).await.unwrap().unwrap();
    assert_eq!((status.enrolled_at, status.last_step), (by().at, Some(9)));
    put(&factor(OTHER, true)).await.unwrap();
    assert_eq!(found(&bed).await.unwrap().last_step, None, "another key counts anew");
    bed.store.remove_second_factor(&alice, &by()).await.unwrap();
    assert_eq!(found(&bed).await, None);
    let none = StoreError::NotFound("second factor of user `alice`".into());
    assert_eq!(bed.store.remove_second_factor(&alice, &by()).await, Err(none.clone()));
    assert_eq!(bed.store.put_recovery_codes(&alice, &[], &by()).await, Err(none));
    assert_eq!(bed.texts("SELECT code_hash FROM recovery_codes").await, [""; 0]);
    put(&factor(SECRET, false)).await.unwrap();
    bed.store.remove_user(&alice, &by()).await.unwrap();
    for table in ["second_factors", "recovery_codes"] {
        let left = bed.texts(&format!("SELECT 'left' FROM {table}")).await;
        assert_eq!(left, [""; 0], "{table}");
    }
}

pub async fn what_is_changed_is_audited_without_secrets(bed: Arc<Bed>) {
    enrolled(&bed).await;
    bed.store.put_recovery_codes(&name("alice"), &[digest(7)], &by()).await.unwrap();
    bed.store.remove_second_factor(&name("alice"), &by()).await.unwrap();
    let query = "SELECT detail FROM admin_audit WHERE action = 'user.totp' ORDER BY id";
    assert_eq!(bed.texts(query).await, ["enrolled", "recovery_codes", "disabled"]);
}
