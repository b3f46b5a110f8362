//! CONNECT and its one answer.

use super::*;

#[test]
fn an_allowed_client_gets_one_answer_a_backstop_and_a_row() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    let (_, request) = &lab.asked[0];
    assert_eq!(request.user, Claimed::Valid("alice".parse().unwrap()));
    assert_eq!(request.device.as_ref().unwrap().as_ref().unwrap().to_string(), "02:1a:2b:3c:4d:5e");
    lab.allow_until(ticket, Some(3_600));
    assert_eq!(
        lab.sent,
        [Command::ClientAuth {
            cid: Cid(4),
            kid: Kid(1),
            config: vec![ConfigLine::session_timeout(3_630)]
        }]
    );
    let row = lab.last_row();
    assert_eq!((row.state, row.cid, row.user.as_str()), (SessionState::Pending, Cid(4), "alice"));
    assert_eq!(row.run_started, Timestamp::from_secs(RUN));
    assert_eq!(row.client_version.as_deref(), Some("2.6.14"));
    assert!(matches!(&lab.events[..], [Event::AuthAllowed { reauth: false, .. }]));
}

#[test]
fn an_older_server_gets_no_session_timeout() {
    let mut lab = Lab::new();
    lab.engine.handle_store_ready(true, lab.now);
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Info { management_version: Some(3) });
    lab.say(Message::Version(Version { openvpn: "OpenVPN 2.5.11".into(), management: Some(3) }));
    lab.success();
    lab.success();
    lab.say(Message::StateHistory(vec![state(StateName::Connected, RUN)]));
    lab.say(Message::Status(StatusReport::default()));
    lab.success();
    let ticket = lab.connect(0, "alice");
    lab.allow_until(ticket, Some(60));
    assert_eq!(
        lab.sent.last(),
        Some(&Command::ClientAuth { cid: Cid(0), kid: Kid(1), config: vec![] })
    );
}

#[test]
fn a_denied_client_is_told_why_and_leaves_no_row() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    lab.decide(ticket, DenyReason::DeviceUnknown.into());
    // Her address is a locally administered one.
    let random = "This device is not registered for you; its address is random: switch off random (private) hardware addresses or ask your administrator to add it";
    assert!(
        matches!(&lab.sent[..], [Command::ClientDeny { cid: Cid(4), kid: Kid(1), reason, client_reason: Some(text) }]
        if *reason == Parameter::new("device_unknown")
            && *text == Parameter::new(random))
    );
    assert!(lab.rows.is_empty());
    lab.success();
    lab.say(Message::Disconnect { cid: Cid(4), env: Env::default() });
    assert!(matches!(
        &lab.events[..],
        [Event::AuthDenied { reason: DenyReason::DeviceUnknown, .. }]
    ));
}

#[test]
fn a_temporary_denial_asks_clients_that_understand_it_to_come_back() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    lab.decide(ticket, DenyReason::BackendUnavailable.into());
    assert!(matches!(&lab.sent[..], [Command::ClientDeny { client_reason: Some(text), .. }]
        if *text == Parameter::new("TEMP[backoff 10]:Logins are not possible right now; try again in a moment")));
}

#[test]
fn a_decision_that_takes_too_long_is_a_temporary_denial_and_its_late_answer_is_ignored() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    lab.pass(Duration::from_secs(8));
    assert!(matches!(
        lab.events.last(),
        Some(Event::AuthDenied { reason: DenyReason::Timeout, .. })
    ));
    assert_eq!(lab.cancelled, [ticket]);
    lab.decide(ticket, Decision::Allow(grant(lab.now, 1, None)));
    assert_eq!(lab.verdicts(4), 1);
}

#[test]
fn a_newer_key_replaces_the_older_question() {
    let mut lab = Lab::up();
    let first = lab.connect(4, "alice");
    lab.say(auth(AuthKind::Connect, 4, 2, "alice"));
    let second = lab.asked[1].0;
    assert_eq!(lab.cancelled, [first]);
    lab.decide(first, Decision::Allow(grant(lab.now, 1, None)));
    assert_eq!(lab.verdicts(4), 0);
    lab.allow_until(second, None);
    assert!(matches!(lab.sent.last(), Some(Command::ClientAuth { kid: Kid(2), .. })));
}

#[test]
fn a_further_key_of_a_client_that_is_not_up_is_asked_about_with_the_session_that_it_has() {
    let mut lab = Lab::up();
    let first = lab.connect(4, "alice");
    assert_eq!(lab.asked[0].1.holds, None);
    let id = lab.allow_until(first, Some(60));
    lab.say(auth(AuthKind::Connect, 4, 2, "alice"));
    let (second, request) = lab.asked.pop().unwrap();
    assert_eq!(request.holds, Some(id));
    lab.forget();
    let grant = Grant { has_place: false, ..grant(lab.now, 9, Some(60)) };
    lab.decide(second, Decision::Allow(grant));
    assert_eq!((lab.verdicts(4), lab.engine.session_count()), (1, 1));
    assert!(lab.rows.is_empty() && lab.abandoned.is_empty(), "{:?}", lab.rows);
    // Another client, and a renegotiation, have none of their own to keep.
    lab.connect(5, "alice");
    assert_eq!(lab.asked.pop().unwrap().1.holds, None);
    lab.success();
    lab.say(Message::Established { cid: Cid(4), env: Env::default() });
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    assert_eq!(lab.asked.pop().unwrap().1.holds, None);
    // Nor has who comes after a restart of the server.
    lab.say(auth(AuthKind::Connect, 4, 4, "alice"));
    assert_eq!(lab.asked.pop().unwrap().1.holds, None);
}

/// What it asked for as another session could make a third one leave.
#[test]
fn a_further_key_of_a_client_that_is_being_ended_is_denied_unasked() {
    let mut lab = Lab::up();
    let first = lab.connect(4, "alice");
    let session = lab.allow_until(first, Some(60));
    let kill = SessionCommand {
        user: None,
        id: CommandId(1),
        session,
        server: "udp".parse().unwrap(),
        action: CommandAction::Kill { reason: None },
        actor: "cli:root".into(),
    };
    lab.engine.handle_command(&kill, lab.now);
    lab.drain();
    lab.forget();
    lab.say(auth(AuthKind::Connect, 4, 2, "alice"));
    assert!(lab.asked.is_empty() && lab.rows.is_empty());
    let [Command::ClientDeny { cid: Cid(4), kid: Kid(2), client_reason: Some(text), .. }] =
        &lab.sent[..]
    else {
        panic!("{:?}", lab.sent);
    };
    assert!(text.as_str().starts_with("TEMP[backoff 10]:"), "{text:?}");
    lab.success();
    lab.success();
    lab.say(disconnect(4));
    let row = lab.last_row();
    assert_eq!((row.id, row.state), (session, SessionState::Closed));
    assert_eq!(row.cause, Some(Cause::Admin));
    lab.connect(5, "alice");
    assert_eq!(lab.asked.len(), 1, "its next login is judged");
}

#[test]
fn a_late_approval_after_a_restart_never_admits_the_client_that_got_the_same_id() {
    let mut lab = Lab::up();
    let alice = lab.connect(0, "alice");
    lab.say(Message::Disconnect { cid: Cid(0), env: Env::default() });
    lab.say(Message::State(state(StateName::Reconnecting, RUN + 200)));
    lab.say(Message::State(state(StateName::Connected, RUN + 201)));
    let bob = lab.connect(0, "bob");
    lab.decide(alice, Decision::Allow(grant(lab.now, 1, None)));
    assert_eq!(lab.verdicts(0), 0, "alice's approval is void");
    lab.decide(bob, DenyReason::BadCredentials.into());
    assert!(matches!(lab.sent.last(), Some(Command::ClientDeny { cid: Cid(0), .. })));
}

#[test]
fn the_same_holds_without_any_sign_of_the_restart_but_the_connect_itself() {
    let mut lab = Lab::up();
    let alice = lab.connect(0, "alice");
    let bob = lab.connect(0, "bob");
    lab.decide(alice, Decision::Allow(grant(lab.now, 1, None)));
    assert_eq!(lab.verdicts(0), 0);
    lab.decide(bob, DenyReason::BadCredentials.into());
    assert_eq!(lab.verdicts(0), 1);
}

#[test]
fn who_is_let_in_and_never_hears_of_it_gives_his_place_back() {
    let mut lab = Lab::up();
    let allowed = |lab: &Lab, number| Decision::Allow(grant(lab.now, number, None));
    let ids: Vec<_> = (1..4).map(|number| grant(lab.now, number, None).session_id).collect();
    let gone = lab.connect(0, "alice");
    lab.say(Message::Disconnect { cid: Cid(0), env: Env::default() });
    lab.decide(gone, allowed(&lab, 1));
    assert_eq!(lab.abandoned, ids[..1], "the client has left");
    // The answer waits for the link to come back; the client does not.
    let asked = lab.connect(1, "alice");
    lab.engine.handle_lost(lab.now);
    lab.decide(asked, allowed(&lab, 2));
    assert_eq!(lab.abandoned.len(), 1);
    lab.attach(RUN + 500, vec![]);
    assert_eq!(lab.abandoned, ids[..2]);
    let mut lab = Lab::up();
    let asked = lab.connect(2, "alice");
    lab.decide(asked, allowed(&lab, 3));
    assert_eq!((lab.verdicts(2), lab.rows[0].id, lab.abandoned.len()), (1, ids[2], 0));
}

#[test]
fn a_connect_on_the_id_of_a_live_session_ends_the_old_run() {
    let mut lab = Lab::up();
    lab.establish(0, "alice", 3_600);
    lab.establish(1, "carol", 3_600);
    lab.forget();
    let bob = lab.connect(0, "bob");
    let closed: Vec<_> = lab.rows.iter().map(|row| (row.cid, row.cause)).collect();
    assert_eq!(
        closed,
        [(Cid(0), Some(Cause::ServerRestarted)), (Cid(1), Some(Cause::ServerRestarted))]
    );
    assert!(lab.sent.contains(&Command::Status), "the list tells who is still there");
    lab.allow_until(bob, None);
}

#[test]
fn whatever_its_key_a_connect_of_a_client_that_is_up_is_of_another_run() {
    let mut lab = Lab::up();
    lab.establish(0, "alice", 3_600);
    let old = lab.connect(1, "bob");
    lab.forget();
    lab.say(auth(AuthKind::Connect, 0, 5, "carol"));
    assert_eq!(lab.last_row().cause, Some(Cause::ServerRestarted));
    lab.allow_until(old, None);
    assert_eq!(lab.verdicts(1), 0, "who has that id by now is another");
}

#[test]
fn a_rejected_block_that_names_its_client_is_denied() {
    let mut lab = Lab::up();
    lab.say(Message::Rejected(Rejected {
        kind: RejectKind::DuplicateKey,
        block: Some(RefusedBlock::Login(Cid(30), Kid(1))),
        offset: 12,
    }));
    assert_eq!(lab.verdicts(30), 1);
    assert!(matches!(
        &lab.events[..],
        [
            Event::ProtocolRejected { kind: "duplicate_key", .. },
            Event::AuthDenied { reason: DenyReason::Protocol, .. }
        ]
    ));
    lab.forget();
    lab.say(Message::Rejected(Rejected { kind: RejectKind::BadId, block: None, offset: 12 }));
    assert!(lab.sent.is_empty());
}

#[test]
fn a_rejected_block_that_nobody_waits_for_is_only_reported() {
    let mut lab = Lab::up();
    lab.establish(30, "alice", 3_600);
    for block in [RefusedBlock::Response(Cid(30), Kid(1)), RefusedBlock::Notice(Cid(30))].map(Some)
    {
        lab.forget();
        lab.say(Message::Rejected(Rejected { kind: RejectKind::Truncated, block, offset: 12 }));
        assert!(lab.sent.is_empty() && lab.rows.is_empty(), "{block:?}: {:?}", lab.sent);
        assert!(matches!(&lab.events[..], [Event::ProtocolRejected { kind: "truncated", .. }]));
    }
}

#[test]
fn a_rejected_block_voids_an_approval_that_may_not_have_arrived() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    lab.decide(ticket, Decision::Allow(grant(lab.now, 1, None)));
    lab.engine.handle_lost(lab.now);
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Info { management_version: Some(5) });
    let block = Some(RefusedBlock::Login(Cid(4), Kid(1)));
    lab.say(Message::Rejected(Rejected { kind: RejectKind::DuplicateKey, block, offset: 12 }));
    lab.engine.handle_lost(lab.now);
    lab.sent.clear();
    lab.attach(RUN, vec![listed(4, "alice", "")]);
    assert_eq!(lab.verdicts(4), 0);
}

#[test]
fn an_overlong_username_is_denied_without_asking_the_database() {
    let mut lab = Lab::up();
    lab.say(auth(AuthKind::Connect, 4, 1, &"x".repeat(900)));
    assert!(lab.asked.is_empty());
    assert_eq!((lab.verdicts(4), lab.kills(4)), (1, 1));
}

#[test]
fn a_refused_approval_closes_the_session_and_is_not_repeated() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    lab.decide(ticket, Decision::Allow(grant(lab.now, 1, None)));
    lab.say(Message::Error("client-auth command failed".into()));
    assert_eq!(lab.last_row().state, SessionState::Closed);
    assert!(lab.events.iter().any(|e| matches!(e, Event::AuthError { .. })));
    assert_eq!(lab.verdicts(4), 1);
}

#[test]
fn a_second_key_that_names_another_user_ends_that_client_and_nobody_else() {
    let mut lab = Lab::up();
    lab.establish(0, "carol", 3_600);
    let alice = lab.connect(7, "alice");
    lab.allow_until(alice, None);
    lab.forget();
    lab.say(auth(AuthKind::Connect, 7, 2, "mallory"));
    assert!(lab.asked.is_empty());
    assert_eq!((lab.verdicts(7), lab.kills(7)), (1, 1));
    assert!(matches!(&lab.sent[0], Command::ClientDeny { kid: Kid(2), .. }));
    assert_eq!((lab.kills(0), lab.engine.session_count()), (0, 2));
    assert!(!lab.events.iter().any(|e| matches!(e, Event::ServerRestarted { .. })));
}

#[test]
fn a_second_key_of_an_adopted_client_is_no_restart() {
    let mut lab = Lab::up();
    let ticket = lab.connect(7, "alice");
    lab.allow_until(ticket, None);
    let row = lab.last_row().clone();
    let mut next = Lab::new();
    next.attach(RUN, vec![listed(7, "alice", "10.8.0.6")]);
    next.load(vec![row]);
    next.forget();
    next.connect(7, "alice");
    assert!(!next.events.iter().any(|e| matches!(e, Event::ServerRestarted { .. })));
}

#[test]
fn an_answer_to_a_challenge_that_nobody_asked_decides_nothing() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    lab.say(auth(AuthKind::CrResponse(b"123456"[..].into()), 4, 1, "alice"));
    assert!(matches!(lab.events.last(), Some(Event::ProtocolUnexpected { .. })));
    assert!(lab.sent.is_empty() && lab.cancelled.is_empty() && lab.asked.len() == 1);
    lab.allow_until(ticket, None);
    assert_eq!(lab.verdicts(4), 1);
}
