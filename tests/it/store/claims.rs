//! Places that are given away at once, by one daemon or by two; on every backend.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{future::join_all, poll};
use ovpn_warden::{
    store::{Claim, OnLimit, Place, SessionRecord, StoreError},
    types::{DeviceId, ServerName, Username},
};

use super::bed::{Backend, Bed, MAC, Raw, at, id, name, session};
use super::servers::on_servers;

on_servers! {
    one_whose_place_somebody_holds_up_keeps_nobody_else_waiting_for_long
    however_many_are_held_up_others_have_their_places
}

/// What was asked to leave: numbers of sessions, each once.
async fn asked_to_leave(bed: &Bed, of: std::ops::Range<u32>) -> BTreeSet<u32> {
    let commands = bed.store.pending_commands(&[session(1).server]).await.unwrap().commands;
    let number = |id| of.clone().find(|number| session(*number).id == id);
    commands.into_iter().filter_map(|command| number(command.session)).collect()
}

/// In each round two daemons let the same user in at the same moment, `devices` apart or not.
async fn rounds(bed: Arc<Bed>, on_limit: OnLimit, max: u32, devices: [&str; 2]) {
    bed.add_user("alice").await;
    let (alice, server) = (name("alice"), session(1).server);
    let stores = [bed.second(), bed.second()];
    for round in 0..8_u32 {
        let first = round * 10 + 1;
        let live = SessionRecord { device: Some(id(devices[0])), ..session(first) };
        bed.store.persist(&[live]).await.unwrap();
        let devices: [DeviceId; 2] = devices.map(id);
        let claim = |number: usize| Claim {
            session: session(first + 1 + number as u32).id,
            server: &server,
            user: &alice,
            device: Some(&devices[number]),
            max,
            on_limit,
            code: None,
        };
        let now = at(i64::from(first));
        let claims = [claim(0), claim(1)];
        let (one, two) =
            tokio::join!(stores[0].claim(&claims[0], now), stores[1].claim(&claims[1], now));
        assert_eq!((one, two), (Ok(Place::Taken), Ok(Place::Taken)), "round {round}");
        let left = asked_to_leave(&bed, first..first + 3).await;
        assert!(left.contains(&first), "the session of before, in round {round}: {left:?}");
        assert_eq!(left.len() as u32, 3 - max, "as many stay as may, in round {round}: {left:?}");
        let claims = bed.texts("SELECT session_id FROM session_claims").await;
        assert_eq!(claims.len() as u32, max, "in round {round}: {claims:?}");
        bed.sql("DELETE FROM session_claims; DELETE FROM sessions").await;
    }
}

pub async fn of_two_that_replace_the_oldest_at_once_one_stays(bed: Arc<Bed>) {
    rounds(bed, OnLimit::ReplaceOldest, 1, [MAC, "0a:1a:2b:3c:4d:5e"]).await;
}

pub async fn two_that_replace_the_oldest_at_once_share_two_places(bed: Arc<Bed>) {
    rounds(bed, OnLimit::ReplaceOldest, 2, [MAC, "0a:1a:2b:3c:4d:5e"]).await;
}

pub async fn of_two_of_one_device_at_once_one_stays(bed: Arc<Bed>) {
    rounds(bed, OnLimit::ReplaceSameDevice, 1, [MAC, MAC]).await;
}

fn claim<'a>(
    number: u32,
    user: &'a Username,
    server: &'a ServerName,
    on_limit: OnLimit,
) -> Claim<'a> {
    Claim { session: session(number).id, server, user, device: None, max: 1, on_limit, code: None }
}

pub async fn logins_at_the_same_moment_get_the_places_that_each_would_get_alone(bed: Arc<Bed>) {
    const USERS: u32 = 40;
    let server = session(1).server;
    let user = |number: u32| match number % 5 {
        4 if number.is_multiple_of(2) => name(&format!("nobody{number}")),
        4 => name(&format!("n\u{ef}mand{number}")),
        _ => name(&format!("user{number}")),
    };
    let on_limit = |number| if number % 2 == 0 { OnLimit::Deny } else { OnLimit::ReplaceOldest };
    let users: Vec<_> = (0..USERS).map(user).collect();
    for (number, user) in (0..USERS).zip(&users).filter(|(number, _)| number % 5 < 4) {
        bed.add_user(user.as_str()).await;
        // Every second one has a session; and somebody else's is of no account, whose name is longer by a space.
        let (of, longer) = (user.clone(), name(&format!("{user} ")));
        let open = [
            SessionRecord { user: of, ..session(1_000 + number) },
            SessionRecord { user: longer, ..session(2_000 + number) },
        ];
        bed.store.persist(if number % 5 < 2 { &open } else { &open[1..] }).await.unwrap();
    }
    let wanted = |number: u32, user: &Username| match (number % 5, on_limit(number)) {
        (4, _) => Err(StoreError::NotFound(format!("user `{user}`"))),
        (0 | 1, OnLimit::Deny) => Ok(Place::Full),
        _ => Ok(Place::Taken),
    };
    let claims: Vec<_> = (0..USERS)
        .zip(&users)
        .map(|(number, user)| claim(number, user, &server, on_limit(number)))
        .collect();
    let answers = join_all(claims.iter().map(|claim| bed.store.claim(claim, at(1)))).await;
    for (number, answer) in (0..USERS).zip(answers) {
        assert_eq!(answer, wanted(number, &users[number as usize]), "{number}");
    }
    let is_taken = |number: &u32| wanted(*number, &users[*number as usize]) == Ok(Place::Taken);
    let taken: BTreeSet<String> =
        (0..USERS).filter(is_taken).map(|number| session(number).id.to_string()).collect();
    let claims = bed.texts("SELECT session_id FROM session_claims").await;
    assert_eq!(claims.into_iter().collect::<BTreeSet<_>>(), taken);
    let left: BTreeSet<u32> =
        (0..USERS).filter(|n| n % 5 < 2 && n % 2 == 1).map(|n| 1_000 + n).collect();
    assert_eq!(asked_to_leave(&bed, 0..3_000).await, left);
}

/// Keeps everybody from taking a place for these users, or for anybody, until it is dropped or rolled back.
async fn hold_up_all(bed: &Bed, names: &str) -> Raw {
    let mut holder = bed.raw().await;
    let begin = match bed.backend {
        Backend::Sqlite => "BEGIN IMMEDIATE",
        Backend::MariaDb | Backend::MySql => &format!(
            "BEGIN; INSERT INTO user_marks (user_id, serial) SELECT id, 1 FROM users WHERE name LIKE '{names}'"
        ),
    };
    holder.run(begin).await;
    holder
}

async fn hold_up(bed: &Bed) -> Raw {
    hold_up_all(bed, "alice").await
}

pub async fn a_place_that_is_given_back_before_it_is_taken_is_free(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let (alice, server) = (name("alice"), session(1).server);
    let mut holder = hold_up(&bed).await;
    let first = claim(1, &alice, &server, OnLimit::Deny);
    let mut first = bed.store.claim(&first, at(1));
    assert!(poll!(&mut first).is_pending());
    bed.store.forget_claim(session(1).id).await.unwrap();
    holder.run("ROLLBACK").await;
    assert_eq!(first.await, Ok(Place::Taken));
    claims_become(&bed, 0).await;
    let second = claim(2, &alice, &server, OnLimit::Deny);
    assert_eq!(bed.store.claim(&second, at(2)).await, Ok(Place::Taken));
}

pub async fn who_has_gone_takes_no_place(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let (alice, server) = (name("alice"), session(1).server);
    let mut holder = hold_up(&bed).await;
    let first = claim(1, &alice, &server, OnLimit::Deny);
    let mut gone = bed.store.claim(&first, at(1));
    assert!(poll!(&mut gone).is_pending());
    // Its transaction waits by now.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(gone);
    let second = claim(2, &alice, &server, OnLimit::Deny);
    let mut next = bed.store.claim(&second, at(2));
    assert!(poll!(&mut next).is_pending());
    holder.run("ROLLBACK").await;
    assert_eq!(next.await, Ok(Place::Taken));
    let claims = bed.texts("SELECT session_id FROM session_claims").await;
    assert_eq!(claims, [session(2).id.to_string()]);
}

async fn one_whose_place_somebody_holds_up_keeps_nobody_else_waiting_for_long(bed: Arc<Bed>) {
    let users = ["alice", "bob", "carol", "dave"].map(name);
    let server = session(1).server;
    for user in &users {
        bed.add_user(user.as_str()).await;
    }
    let mut holder = hold_up(&bed).await;
    let claims: Vec<_> = (1..)
        .zip(&users)
        .map(|(number, user)| claim(number, user, &server, OnLimit::Deny))
        .collect();
    let mut held_up = bed.store.claim(&claims[0], at(1));
    // Whoever comes first is asked for alone, and the others together: with her, and with what she waits for.
    let bob = bed.store.claim(&claims[1], at(1));
    let others = claims[2..].iter().map(|claim| bed.store.claim(claim, at(1)));
    let others = async { tokio::join!(bob, join_all(others)) };
    let mut others = std::pin::pin!(others);
    assert!(poll!(&mut others).is_pending() && poll!(&mut held_up).is_pending());
    // The server lets nobody wait for a lock for more than 3 s.
    let (one, more) = tokio::time::timeout(Duration::from_secs(6), others).await.unwrap();
    assert!(more.into_iter().chain([one]).all(|place| place == Ok(Place::Taken)));
    assert!(poll!(&mut held_up).is_pending(), "she waits for her lock");
    holder.run("ROLLBACK").await;
    assert_eq!(held_up.await, Ok(Place::Taken));
}

async fn however_many_are_held_up_others_have_their_places(bed: Arc<Bed>) {
    const HELD: u32 = 8;
    let server = session(1).server;
    let held: Vec<_> = (0..HELD).map(|number| name(&format!("held{number}"))).collect();
    for user in held.iter().map(Username::as_str).chain(["bob"]) {
        bed.add_user(user).await;
    }
    let _holder = hold_up_all(&bed, "held%").await;
    let claims: Vec<_> = (1..)
        .zip(&held)
        .map(|(number, user)| claim(number, user, &server, OnLimit::Deny))
        .collect();
    // More than may be under way side by side, one after the other.
    let mut waiting = Vec::new();
    for claim in &claims {
        let mut one = Box::pin(bed.store.claim(claim, at(1)));
        assert!(poll!(&mut one).is_pending());
        waiting.push(one);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let bob = name("bob");
    let bob = claim(100, &bob, &server, OnLimit::Deny);
    // Two locks are waited for, of 3 s each: by those before, and by those with him.
    let answer = tokio::time::timeout(Duration::from_secs(7), bed.store.claim(&bob, at(1))).await;
    assert_eq!(answer, Ok(Ok(Place::Taken)));
    // From then on they are known.
    drop(waiting);
    bed.store.forget_claim(bob.session).await.unwrap();
    for held in &claims {
        assert!(poll!(&mut Box::pin(bed.store.claim(held, at(2)))).is_pending());
    }
    let answer = tokio::time::timeout(Duration::from_secs(2), bed.store.claim(&bob, at(2))).await;
    assert_eq!(answer, Ok(Ok(Place::Taken)));
}

/// Within some seconds there are so many claims.
pub async fn claims_become(bed: &Bed, count: usize) {
    let mut claims = Vec::new();
    for _ in 0..500 {
        claims = bed.texts("SELECT session_id FROM session_claims").await;
        if claims.len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{claims:?}");
}
