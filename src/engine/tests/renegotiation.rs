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

/// A renegotiation with this password.
fn reauth_with(password: &[u8]) -> Message {
    let mut reauth = auth(AuthKind::Reauth, 4, 3, "alice");
    let Message::Auth(event) = &mut reauth else { unreachable!() };
    event.env.set_password(Password::from(password));
    reauth
}

#[test]
fn what_let_a_client_in_is_known_again_and_anything_else_is_not() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    for (password, proven) in
        [(&b"pw"[..], stored()), (b"pW", None), (b"", None), (b"CRV1::abc::1", None)]
    {
        lab.say(reauth_with(password));
        assert_eq!(lab.asked.last().unwrap().1.proven, proven, "{password:?}");
    }
    // A key of before it was up is a login like the first.
    lab.say(auth(AuthKind::Connect, 4, 4, "alice"));
    assert_eq!(lab.asked.last().unwrap().1.proven, None);
}

#[test]
fn a_new_password_that_was_right_is_known_from_then_on() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.say(reauth_with(b"new"));
    let ticket = lab.asked.last().unwrap().0;
    lab.allow_until(ticket, None);
    for (password, proven) in [(&b"pw"[..], None), (b"new", stored())] {
        lab.say(reauth_with(password));
        assert_eq!(lab.asked.last().unwrap().1.proven, proven, "{password:?}");
    }
}

#[test]
fn nothing_is_known_of_a_client_that_was_let_in_elsewhere() {
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    lab.load(vec![reconcile::row_of(4, "alice", 3_600)]);
    lab.say(reauth_with(b"pw"));
    let (ticket, request) = lab.asked.last().unwrap();
    assert_eq!(request.proven, None);
    // Whether it is another one cannot be told.
    lab.decide(*ticket, DenyReason::BackendUnavailable.into());
    assert_eq!(lab.kills(4), 0);
}

#[test]
fn who_sends_another_password_does_not_go_on_unchecked() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    for (password, token, goes_on) in [
        (&b"pw"[..], None, true),
        (b"SESS_ID_AT_x", Some("Authenticated"), true),
        (b"pw2", None, false),
    ] {
        let mut reauth = reauth_with(password);
        let Message::Auth(event) = &mut reauth else { unreachable!() };
        token.into_iter().for_each(|state| event.env.push(b"session_state", state.as_bytes()));
        lab.forget();
        lab.say(reauth);
        // Nobody answers in time. Who would be ended by that waits for longer, but not for OpenVPN's hand-window.
        lab.pass(Duration::from_secs(9));
        assert_eq!((lab.verdicts(4), lab.kills(4)), (usize::from(goes_on), 0), "{password:?}");
        lab.pass(Duration::from_secs(6));
        assert_eq!((lab.verdicts(4), lab.kills(4) == 0), (1, goes_on), "{password:?}");
        lab.success();
    }
    assert!(matches!(&lab.sent[..], [Command::ClientDeny { .. }, Command::ClientKill { .. }]));
}

#[test]
fn an_answer_to_a_challenge_that_counts_no_longer_has_the_client_log_in_again() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.say(reauth_with(b"CRV1::abc::123456"));
    let ticket = lab.asked.last().unwrap().0;
    lab.forget();
    lab.decide(ticket, DenyReason::BadSecondFactor.into());
    assert!(
        matches!(
            &lab.sent[..],
            [
                Command::ClientDeny { .. },
                Command::ClientKill { message: KillMessage::Restart(_), .. }
            ]
        ),
        "{:?}",
        lab.sent
    );
}

#[test]
fn an_answer_that_meets_our_own_order_to_go_is_no_fault() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 20);
    lab.pass(Duration::from_secs(19));
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    let ticket = lab.asked.last().unwrap().0;
    lab.forget();
    lab.decide(ticket, Decision::Allow(grant(lab.now, ticket.serial, None)));
    lab.pass(Duration::from_secs(2));
    assert_eq!(lab.kills(4), 1);
    lab.say(Message::Error("client-auth command failed".into()));
    assert!(!lab.events.iter().any(|event| matches!(event, Event::AuthError { .. })));
}
