//! REAUTH.

use super::*;

#[test]
fn a_renegotiation_keeps_the_session_and_takes_no_configuration() {
    let mut lab = Lab::up();
    let id = lab.establish(4, "alice", 3_600);
    lab.forget();
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    assert!(matches!(lab.asked[0].1.kind, RequestKind::Reauth { .. }));
    let ticket = lab.asked[0].0;
    lab.allow_until(ticket, Some(9_999));
    assert_eq!(lab.sent, [Command::ClientAuthNt { cid: Cid(4), kid: Kid(3) }]);
    assert!(lab.rows.is_empty(), "neither a new row nor a new deadline");
    assert!(matches!(&lab.events[..], [Event::AuthAllowed { reauth: true, session_id, .. }]
        if *session_id == Some(id)));
}

#[test]
fn a_denied_renegotiation_also_kills_because_the_old_key_stays_valid() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.forget();
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    let ticket = lab.asked[0].0;
    lab.decide(ticket, DenyReason::AccountDisabled.into());
    assert_eq!((lab.verdicts(4), lab.kills(4)), (1, 1));
    assert_eq!(lab.last_row().cause, Some(Cause::AccountDisabled));
}

#[test]
fn a_renegotiation_without_the_database_leaves_the_running_client_alone() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.forget();
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    let ticket = lab.asked[0].0;
    lab.decide(ticket, DenyReason::BackendUnavailable.into());
    assert_eq!(lab.sent, [Command::ClientAuthNt { cid: Cid(4), kid: Kid(3) }]);
}

#[test]
fn a_renegotiation_of_an_unknown_client_is_checked_in_full_and_then_adopted() {
    let mut lab = Lab::up();
    lab.say(auth(AuthKind::Reauth, 999, 2, "alice"));
    let ticket = lab.asked[0].0;
    lab.allow_until(ticket, Some(600));
    assert_eq!(lab.sent, [Command::ClientAuthNt { cid: Cid(999), kid: Kid(2) }]);
    assert_eq!(lab.last_row().state, SessionState::Active);
    assert!(lab.events.iter().any(|e| matches!(e, Event::SessionAdopted { .. })));
    lab.pass(Duration::from_secs(601));
    assert!(lab.kills(999) >= 1, "its deadline holds");
}

#[test]
fn a_renegotiation_that_meets_an_outage_before_its_session_is_found_is_not_refused() {
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    lab.load(vec![]);
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    let ticket = lab.asked.last().unwrap().0;
    lab.sent.clear();
    lab.decide(ticket, DenyReason::BackendUnavailable.into());
    assert_eq!(
        lab.sent,
        [
            Command::ClientAuthNt { cid: Cid(4), kid: Kid(3) },
            // The list leads to its session.
            Command::Status,
            Command::State
        ]
    );
}

#[test]
fn a_renegotiation_of_nobody_that_meets_an_outage_is_to_log_in_again() {
    let mut lab = Lab::up();
    lab.say(auth(AuthKind::Reauth, 7, 3, "nobody-such"));
    let ticket = lab.asked[0].0;
    lab.decide(ticket, DenyReason::BackendUnavailable.into());
    let [Command::ClientDeny { cid: Cid(7), .. }, Command::ClientKill { cid: Cid(7), message }] =
        &lab.sent[..]
    else {
        panic!("{:?}", lab.sent)
    };
    assert!(matches!(message, KillMessage::Restart(_)));
}

#[test]
fn a_renegotiation_that_was_not_checked_is_told() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.forget();
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    let ticket = lab.asked[0].0;
    lab.decide(ticket, DenyReason::Overloaded.into());
    assert!(matches!(&lab.events[..], [Event::AuthError { error, .. }, Event::AuthAllowed { .. }]
        if error.contains("overloaded")));
}

#[test]
fn a_second_end_does_not_change_the_first() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 20);
    lab.pass(Duration::from_secs(20));
    let mut reauth = auth(AuthKind::Reauth, 4, 3, "alice");
    let Message::Auth(event) = &mut reauth else { unreachable!() };
    event.env.set_password(Password::from(&b"SESS_ID_AT_x"[..]));
    event.env.push(b"session_state", b"Expired");
    lab.say(reauth);
    let ticket = lab.asked.last().unwrap().0;
    lab.decide(ticket, DenyReason::BadCredentials.into());
    assert_eq!(lab.kills(4), 1);
    lab.say(disconnect(4));
    assert_eq!(lab.last_row().cause, Some(Cause::SessionLimit));
}

#[test]
fn a_renegotiation_brings_an_earlier_end_of_the_account() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    let ticket = lab.asked.last().unwrap().0;
    let mut sooner = grant(lab.now, 9, Some(60));
    sooner.terms.deadline_reason = Some(Cause::AccountExpiry);
    lab.decide(ticket, Decision::Allow(sooner));
    lab.success();
    assert_eq!(lab.last_row().deadline_reason, Some(Cause::AccountExpiry));
    lab.pass(Duration::from_secs(61));
    assert_eq!(lab.kills(4), 1);
}

#[test]
fn a_renegotiation_shortly_before_the_deadline_does_not_lose_it() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 20);
    lab.pass(Duration::from_secs(15));
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    let ticket = lab.asked.last().unwrap().0;
    lab.allow_until(ticket, Some(20));
    lab.pass(Duration::from_secs(6));
    assert_eq!(lab.kills(4), 1);
}

#[test]
fn a_renegotiation_of_a_client_that_is_being_ended_does_not_stop_that() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 20);
    lab.pass(Duration::from_secs(20));
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    lab.pass(KILL_RETRY);
    assert_eq!(lab.kills(4), 2);
}
