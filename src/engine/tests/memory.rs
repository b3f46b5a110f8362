//! What a live session and a quiet link hold: a daemon may have a hundred thousand of the one and
//! hundreds of the other.

use super::*;
use crate::engine::{OUTPUTS_KEPT, clients::Client, live::Session, review::MOST_ENDED};

#[test]
fn a_session_and_its_client_stay_small() {
    assert!(size_of::<Session>() <= 384, "{}", size_of::<Session>());
    assert!(size_of::<Client>() <= 168, "{}", size_of::<Client>());
}

#[test]
fn the_row_of_a_login_and_its_log_lines_share_one_name() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    let client = lab.engine.clients.get(Cid(4)).unwrap();
    let row = &client.session.as_ref().unwrap().record;
    let shown = client.who.user.as_ref().unwrap();
    assert_eq!(row.user.as_str().as_ptr(), shown.as_ptr());
    assert!(row.vpn_ip.as_ref().is_some_and(|ip| !ip.is_heap_allocated()));
    assert!(client.who.common_name.as_ref().is_some_and(|name| !name.is_heap_allocated()));
}

#[test]
fn what_a_busy_moment_needed_is_given_back() {
    let mut lab = Lab::up();
    for _ in 0..1_000 {
        lab.engine.outputs.push_back(Output::LoadOpenSessions);
    }
    assert!(lab.engine.outputs.capacity() >= 1_000);
    while lab.engine.poll_output().is_some() {}
    assert!(lab.engine.outputs.capacity() <= 2 * OUTPUTS_KEPT);
}

#[test]
fn what_the_departure_of_all_needed_is_given_back() {
    let mut lab = Lab::up();
    for cid in 1..=200 {
        lab.establish(cid, "alice", 3_600);
    }
    for cid in 1..=200 {
        lab.say(disconnect(cid));
    }
    assert!(lab.engine.departed.capacity() >= 200);
    lab.pass(second());
    assert!(lab.engine.departed.is_empty());
    assert!(lab.engine.departed.capacity() <= 2 * OUTPUTS_KEPT);
    assert_eq!(lab.engine.ended.0.len(), 200);
    lab.pass(second() * 70);
    assert!(lab.engine.ended.0.is_empty());
    assert!(lab.engine.ended.0.capacity() <= 2 * OUTPUTS_KEPT);
}

#[test]
fn of_the_sessions_that_ended_only_the_last_are_known() {
    let mut lab = Lab::up();
    for number in 0..=MOST_ENDED {
        let at = Mono(Duration::from_nanos(u64::try_from(number).unwrap()));
        lab.engine.ended.push(at, SessionId::new(lab.now.utc, [0; 10]));
    }
    assert_eq!(lab.engine.ended.0.len(), MOST_ENDED);
    assert_eq!(lab.engine.ended.0[0].0, Mono(Duration::from_nanos(1)));
}
