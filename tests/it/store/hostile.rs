//! Logins under names that are made to harm, on every backend: whole decisions, as a daemon makes them.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc, time::Duration};

use futures_util::future::join_all;
use ovpn_warden::{
    auth::{
        decide::Defaults,
        password::{self, HashParams, pool::HashPool},
        request::{AuthRequest, Claimed, Decision, RequestKind},
        second_factor::response::Response,
        service::{Authenticator, Reserved},
        throttle::Limits,
    },
    store::{DeviceMode, NewUser, OnLimit, PolicyRecord, SecondFactorMode},
    types::{Clock, DenyReason, ExpiryAction, Password, Zone},
};

use super::bed::{Bed, MAC, by, id, name, new_user};

/// None of them is a user's. What a statement would make of one that it held as text: everybody, a table less, another
/// user by a pattern, by a blank, by its case, by an escape.
const NAMES: [&str; 32] = [
    "' OR 1=1 -- ",
    "' OR '1'='1",
    "\" OR \"\"=\"",
    "alice' -- ",
    "alice'#",
    "alice'/*",
    "*/alice",
    "'; DROP TABLE users; --",
    "\"; DROP TABLE users; --",
    "`; DROP TABLE users; --",
    "'); DELETE FROM devices; --",
    "' UNION SELECT * FROM users -- ",
    "\\' OR 1=1 -- ",
    "alice\\",
    "alice\\'",
    "alice\\0",
    "\\",
    "'",
    "''",
    "?",
    "$1",
    ":name",
    "%",
    "ali%",
    "al_ce",
    "_____",
    "ALICE",
    "alice ",
    " alice",
    "al\u{ed}ce",
    "alice\u{200b}",
    "NULL",
];
const PARAMS: HashParams = HashParams { m_kib: 8, t: 1, p: 1 };
const PASSWORD: &[u8] = b"correct horse";

fn authenticator(bed: &Bed) -> Authenticator {
    let (limits, clock) =
        (Limits { window: Duration::from_secs(900), ..Limits::default() }, Clock::new());
    let defaults = Defaults {
        device_mode: DeviceMode::Enforce,
        session_limit: None,
        expiry_action: ExpiryAction::Halt,
        match_common_name: false,
        require_fingerprint: false,
        time_zone: Zone::default(),
        idle: None,
        second_factor: SecondFactorMode::Optional,
    };
    let pool = Arc::new(HashPool::new(NonZeroUsize::MIN, 256).unwrap());
    Authenticator::new(Arc::clone(&bed.store), pool, limits, defaults, PARAMS, clock).unwrap()
}

/// With alice's password and device.
async fn login(authenticator: &Authenticator, user: &str) -> Decision {
    let request = AuthRequest {
        server: "udp".parse().unwrap(),
        kind: RequestKind::Connect,
        holds: None,
        user: Claimed::Valid(name(user)),
        password: Some(Password::from(PASSWORD)),
        token: None,
        response: Response::None,
        proven: None,
        is_other: false,
        common_name: Some(user.into()),
        device: Ok(Some(id(MAC))),
        certificate: None,
        client_ip: Some([192, 0, 2, 7].into()),
    };
    let answer = authenticator.authenticate(request).await;
    answer.reserved.into_iter().for_each(Reserved::keep);
    answer.decision
}

fn is_unknown(decision: &Decision) -> bool {
    matches!(decision, Decision::Deny(denial) if denial.reason == DenyReason::UnknownUser && denial.fault.is_none())
}

pub async fn a_name_that_is_made_to_harm_is_nobodys_and_every_table_stays(bed: Arc<Bed>) {
    let store = &bed.store;
    let password_hash = Some(password::hash(&Password::from(PASSWORD), &PARAMS).unwrap());
    for user in ["alice", "bob"] {
        let user = NewUser { password_hash: password_hash.clone(), ..new_user(user) };
        store.add_user(&user, &by()).await.unwrap();
        bed.add_device(user.name.as_str(), MAC).await;
    }
    // Places are claimed, by name too.
    let policy = PolicyRecord {
        name: "default".into(),
        max_sessions: Some(1),
        on_limit: Some(OnLimit::Deny),
        ..PolicyRecord::default()
    };
    store.put_policy(&policy, true, &by()).await.unwrap();
    let tables = async || {
        let (users, devices) = (store.users(None, 100).await, store.devices(None, 100).await);
        (users.unwrap(), devices.unwrap(), store.policies().await.unwrap())
    };
    let before = tables().await;
    let authenticator = authenticator(&bed);
    for name in NAMES {
        let decision = login(&authenticator, name).await;
        assert!(is_unknown(&decision), "{name}: {decision:?}");
    }
    // Many in one statement, with somebody who is let in.
    let together = NAMES.iter().chain(&["alice"]);
    let decisions = join_all(together.clone().map(|name| login(&authenticator, name))).await;
    for (name, decision) in together.zip(decisions) {
        let is_right = match *name {
            "alice" => matches!(decision, Decision::Allow(_)),
            _ => is_unknown(&decision),
        };
        assert!(is_right, "{name}: {decision:?}");
    }
    assert_eq!(tables().await, before);
    // The others are told of the names as they were.
    authenticator.exchange_failures().await.unwrap();
    let told = store
        .auth_events(Clock::new().now().utc.saturating_sub(Duration::from_secs(600)), "")
        .await
        .unwrap();
    assert_eq!(told.len(), 2 * NAMES.len());
    let told: BTreeSet<_> =
        told.iter().filter_map(|event| event.user.as_ref()).map(|user| user.as_str()).collect();
    assert_eq!(told, BTreeSet::from(NAMES));
    for one in NAMES {
        let events = store.auth_events_of(&name(one), 100).await.unwrap();
        assert_eq!(events.len(), 2, "{one}");
    }
    // Who has such a name is himself and nobody else. (Beside alice, MySQL takes no `alice ` into the table.)
    for (number, one) in NAMES.iter().enumerate().step_by(4) {
        let user = NewUser { password_hash: password_hash.clone(), ..new_user(one) };
        store.add_user(&user, &by()).await.unwrap();
        bed.add_device(one, MAC).await;
        let decision = login(&authenticator, one).await;
        assert!(matches!(decision, Decision::Allow(_)), "{one}: {decision:?}");
        let next = NAMES[number + 1];
        assert!(is_unknown(&login(&authenticator, next).await), "{next}");
    }
    let users = store.users(None, 100).await.unwrap().len();
    assert_eq!(users, 2 + NAMES.iter().step_by(4).count());
}
