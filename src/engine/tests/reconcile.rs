//! After an outage of either side.

use super::{challenge::challenge, *};

/// The row that `establish` leaves in the database, as another process would find it.
pub(super) fn row_of(cid: u32, user: &str, seconds: u64) -> SessionRecord {
    let mut lab = Lab::up();
    lab.establish(cid, user, seconds);
    lab.last_row().clone()
}

#[test]
fn a_restarted_daemon_adopts_live_clients_with_their_deadline() {
    let row = row_of(4, "alice", 20);
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    lab.load(vec![row.clone()]);
    assert!(lab.asked.is_empty());
    assert!(matches!(lab.events.last(), Some(Event::SessionAdopted { session_id, deadline, .. })
        if *session_id == row.id && *deadline == row.deadline));
    assert!(lab.last_row().version > row.version);
    assert_eq!(lab.last_row().bytes_received, 5_000);
    lab.pass(Duration::from_secs(20));
    assert_eq!(lab.kills(4), 1);
}

/// OpenVPN's own end of it stands in its row: a daemon that was not there at the login renews it as well.
#[test]
fn who_was_extended_beyond_openvpns_own_limit_is_renewed_by_the_next_daemon_too() {
    for known in [true, false] {
        let mut row = row_of(4, "alice", 20);
        let login = row.started_at;
        assert_eq!(row.backstop(), Some(login.saturating_add(Duration::from_secs(50))));
        row.deadline = Some(login.saturating_add(Duration::from_secs(3_600)));
        row.deadline_reason = Some(Cause::Admin);
        if !known {
            // A daemon of before has written it, or OpenVPN 2.5 has no such limit.
            row.session_timeout_s = None;
        }
        let mut lab = Lab::new();
        lab.sleep(Duration::from_secs(10));
        lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
        lab.load(vec![row.clone()]);
        assert_eq!(lab.last_row().session_timeout_s, row.session_timeout_s);
        lab.pass(Duration::from_millis(37_900));
        assert_eq!(lab.kills(4), 0);
        lab.pass(Duration::from_millis(200));
        assert_eq!(lab.kills(4), usize::from(known));
        let is_renewing = |event: &Event| matches!(event, Event::SessionRenewing { session_id, .. } if *session_id == row.id);
        assert_eq!(lab.events.iter().any(is_renewing), known);
    }
}

#[test]
fn a_client_that_was_being_ended_is_ended_again() {
    let mut row = row_of(4, "alice", 3_600);
    row.state = SessionState::Closing;
    row.cause = Some(Cause::Admin);
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    lab.load(vec![row]);
    assert_eq!(lab.kills(4), 1);
    assert_eq!(lab.last_row().cause, Some(Cause::Admin));
}

#[test]
fn a_client_that_is_adopted_while_it_is_being_ended_keeps_its_cause() {
    let mut row = row_of(4, "alice", 3_600);
    row.state = SessionState::Closing;
    row.cause = Some(Cause::Admin);
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "")]);
    lab.load(vec![row]);
    assert!(lab.rows.iter().all(|row| row.cause == Some(Cause::Admin)), "{:?}", lab.rows);
    assert_eq!(lab.kills(4), 1);
}

#[test]
fn a_client_whose_deadline_passed_while_nobody_watched_is_killed_at_once() {
    let mut row = row_of(4, "alice", 20);
    row.deadline = Some(Timestamp::from_secs(RUN));
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    lab.load(vec![row]);
    lab.pass(Duration::ZERO);
    assert_eq!(lab.kills(4), 1);
}

#[test]
fn rows_of_clients_that_are_gone_are_closed_at_their_last_update() {
    let row = row_of(4, "alice", 3_600);
    let mut old = row_of(5, "bob", 3_600);
    old.run_started = Timestamp::from_secs(RUN - 1_000);
    let mut lab = Lab::new();
    lab.now.utc = lab.now.utc.saturating_add(Duration::from_secs(500));
    lab.attach(RUN, vec![]);
    lab.load(vec![row.clone(), old.clone()]);
    let closed: Vec<_> = lab.rows.iter().map(|r| (r.user.as_str(), r.cause, r.ended_at)).collect();
    assert_eq!(
        closed,
        [
            ("alice", Some(Cause::Unknown), Some(row.updated_at)),
            ("bob", Some(Cause::ServerRestarted), Some(old.updated_at))
        ]
    );
}

#[test]
fn a_reused_id_is_never_taken_for_the_old_session() {
    let mut row = row_of(4, "alice", 3_600);
    row.run_started = Timestamp::from_secs(RUN - 1_000);
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    lab.load(vec![row.clone()]);
    assert_eq!(lab.last_row().cause, Some(Cause::ServerRestarted));
    assert!(matches!(lab.asked[0].1.kind, RequestKind::Adopt { .. }), "judged by its account");
    let ticket = lab.asked[0].0;
    lab.decide(ticket, Decision::Allow(grant(lab.now, 42, Some(60))));
    assert_ne!(lab.last_row().id, row.id);
    assert_eq!(lab.last_row().started_at, Timestamp::from_secs(RUN + 10));
    assert_eq!(lab.verdicts(4), 0);
}

#[test]
fn a_live_client_that_may_no_longer_connect_is_ended_when_it_is_found() {
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    lab.load(vec![]);
    let ticket = lab.asked[0].0;
    lab.decide(ticket, DenyReason::AccountDisabled.into());
    assert_eq!((lab.verdicts(4), lab.kills(4)), (0, 1));
}

#[test]
fn an_adoption_that_the_database_cannot_answer_is_asked_again() {
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    lab.load(vec![]);
    let ticket = lab.asked[0].0;
    lab.decide(ticket, DenyReason::BackendUnavailable.into());
    assert_eq!(lab.kills(4), 0);
    lab.pass(Duration::from_secs(6));
    assert_eq!(lab.asked.len(), 2);
}

#[test]
fn a_client_that_waited_for_a_dead_daemons_answer_is_made_to_ask_again() {
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "")]);
    lab.load(vec![]);
    assert!(matches!(
        lab.sent.last(),
        Some(Command::ClientKill { cid: Cid(4), message: KillMessage::Restart(_) })
    ));
}

#[test]
fn a_client_in_its_handshake_is_left_alone() {
    let mut lab = Lab::new();
    let mut row = listed(4, "", "");
    row.username = None;
    lab.attach(RUN, vec![row]);
    lab.load(vec![]);
    assert_eq!(lab.kills(4), 0);
}

#[test]
fn after_an_outage_of_the_link_the_same_run_goes_on_and_waiting_answers_are_sent() {
    let mut lab = Lab::up();
    let id = lab.establish(4, "alice", 3_600);
    let waiting = lab.connect(5, "bob");
    lab.engine.handle_lost(lab.now);
    lab.forget();
    lab.decide(waiting, Decision::Allow(grant(lab.now, 77, None)));
    assert!(lab.sent.is_empty());
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6"), listed(5, "bob", "")]);
    assert_eq!(lab.verdicts(5), 1);
    assert_eq!(lab.engine.session_count(), 2);
    assert!(!lab.rows.iter().any(|row| row.id == id && row.state == SessionState::Closed));
}

#[test]
fn a_login_that_openvpn_no_longer_waits_for_is_let_in_by_no_answer() {
    let cases = [
        (59, "allowed", None),
        (60, "allowed", Some(DenyReason::Timeout)),
        (60, "challenged", Some(DenyReason::BadSecondFactor)),
        (60, "refused", Some(DenyReason::BadCredentials)),
    ];
    for (seconds, decision, wanted) in cases {
        let mut lab = Lab::up();
        let waiting = lab.connect(5, "bob");
        lab.engine.handle_lost(lab.now);
        let request = lab.asked.pop().unwrap().1;
        let decision = match decision {
            "allowed" => Decision::Allow(grant(lab.now, 77, None)),
            "challenged" => challenge(&request),
            _ => DenyReason::BadCredentials.into(),
        };
        let place =
            if let Decision::Allow(grant) = &decision { Some(grant.session_id) } else { None };
        lab.decide(waiting, decision);
        lab.sleep(Duration::from_secs(seconds));
        lab.forget();
        lab.attach(RUN, vec![listed(5, "bob", "")]);
        let denied = lab.events.iter().find_map(|event| {
            if let Event::AuthDenied { reason, .. } = event { Some(*reason) } else { None }
        });
        let is_allowed = lab.events.iter().any(|e| matches!(e, Event::AuthAllowed { .. }));
        assert_eq!((denied, is_allowed), (wanted, wanted.is_none()), "{seconds} s");
        assert_eq!((lab.verdicts(5), lab.rows.len()), (1, usize::from(is_allowed)));
        assert_eq!(lab.engine.session_count(), usize::from(is_allowed));
        if !is_allowed {
            assert_eq!(lab.abandoned, Vec::from_iter(place));
            // It has gone: nothing of it is left.
            lab.say(Message::Error("client-deny command failed".into()));
            lab.load(vec![]);
            assert_eq!((lab.kills(5), lab.rows.len()), (0, 0));
        }
    }
}

#[test]
fn after_an_outage_with_a_restart_old_answers_are_void_and_old_sessions_closed() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    let waiting = lab.connect(5, "bob");
    lab.engine.handle_lost(lab.now);
    lab.forget();
    lab.decide(waiting, Decision::Allow(grant(lab.now, 77, None)));
    lab.attach(RUN + 500, vec![]);
    assert_eq!(lab.verdicts(5), 0);
    assert_eq!(lab.last_row().cause, Some(Cause::ServerRestarted));
    assert_eq!(lab.engine.session_count(), 0);
}

#[test]
fn who_leaves_while_a_new_daemon_compares_has_left_then() {
    let leaves = |user: &str| {
        let mut lab = Lab::new();
        lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
        lab.pass(Duration::from_secs(3));
        let left = lab.now.utc;
        let mut env = bytes_env(9_000, 8_000);
        env.push(b"username", user.as_bytes());
        lab.say(Message::Disconnect { cid: Cid(4), env });
        lab.pass(Duration::from_secs(3));
        lab.load(vec![row_of(4, "alice", 3_600)]);
        assert_eq!(lab.last_row().state, SessionState::Closed);
        let row = lab.last_row();
        (row.ended_at == Some(left), row.bytes_received, row.bytes_sent)
    };
    assert_eq!(leaves("alice"), (true, 9_000, 8_000));
    // Of another user: of another run.
    assert!(!leaves("bob").0);
}

#[test]
fn sessions_of_a_run_that_ended_with_the_connection_end_when_that_broke() {
    let mut lab = Lab::up();
    let alice = lab.establish(4, "alice", 3_600);
    lab.pass(Duration::from_secs(17));
    let broken = lab.now.utc;
    lab.engine.handle_lost(lab.now);
    // Byte counts that wait to be stored do not prolong it.
    lab.pass(Duration::from_secs(40));
    let row = lab.last_row();
    assert_eq!((row.id, row.updated_at), (alice, broken), "stored, for the next daemon");
    lab.attach(RUN + 500, vec![]);
    let row = lab.last_row();
    assert_eq!((row.cause, row.ended_at), (Some(Cause::ServerRestarted), Some(broken)));
    assert_eq!(row.duration_s(), 17);
}

#[test]
fn a_server_that_was_given_up_was_seen_until_it_last_said_something() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.pass(Duration::from_secs(3));
    lab.say(Message::ByteCount { cid: Cid(4), bytes_received: 7, bytes_sent: 7 });
    let heard = lab.now.utc;
    lab.is_dead = true;
    while lab.faults.is_empty() {
        lab.pass(second());
    }
    lab.engine.handle_lost(lab.now);
    lab.is_dead = false;
    lab.attach(RUN + 500, vec![]);
    let row = lab.rows.iter().rfind(|row| row.user.as_str() == "alice").unwrap();
    assert_eq!(row.ended_at, Some(heard));
}

#[test]
fn a_connect_that_comes_before_the_run_is_known_is_answered() {
    let mut lab = Lab::up();
    lab.establish(0, "alice", 3_600);
    lab.engine.handle_lost(lab.now);
    lab.forget();
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Info { management_version: Some(5) });
    lab.say(Message::Version(Version::default()));
    lab.success();
    let bob = lab.connect(0, "bob");
    lab.success();
    lab.say(Message::StateHistory(vec![state(StateName::Connected, RUN + 500)]));
    lab.decide(bob, DenyReason::BadCredentials.into());
    assert_eq!(lab.verdicts(0), 1);
}

#[test]
fn a_list_that_cannot_be_trusted_removes_nobody_and_is_asked_for_again() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.engine.handle_lost(lab.now);
    lab.forget();
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Info { management_version: Some(5) });
    lab.say(Message::Version(Version::default()));
    lab.success();
    lab.success();
    lab.say(Message::StateHistory(vec![state(StateName::Connected, RUN)]));
    lab.say(Message::Rejected(Rejected { kind: RejectKind::Status, block: None, offset: 0 }));
    lab.success();
    assert!(lab.engine.is_ready());
    assert_eq!(lab.engine.session_count(), 1);
    assert_eq!(lab.loads, 1, "rows of live clients are not judged without the list");
    lab.sent.clear();
    lab.pass(Duration::from_secs(5));
    assert_eq!(lab.sent, [Command::Status, Command::State]);
    lab.say(Message::Status(StatusReport { clients: vec![listed(4, "alice", "10.8.0.6")] }));
    assert_eq!(lab.loads, 2);
}

#[test]
fn a_client_that_came_after_the_list_was_asked_for_is_not_missed_in_it() {
    let mut lab = Lab::up();
    let first = lab.establish(4, "alice", 20);
    lab.pass(Duration::from_secs(20));
    lab.say(Message::Error("client-kill command failed".into()));
    lab.pass(Duration::from_millis(10));
    lab.establish_without_reply(9, "bob");
    lab.say(Message::Status(StatusReport::default()));
    assert!(lab.rows.iter().any(|r| r.id == first && r.state == SessionState::Closed));
    assert_eq!(lab.engine.session_count(), 1);
}

#[test]
fn a_token_reconnect_that_openvpn_judged_by_itself_is_found_and_judged() {
    let mut lab = Lab::up();
    lab.say(Message::Established { cid: Cid(7), env: Env::default() });
    lab.say(Message::Status(StatusReport { clients: vec![listed(7, "alice", "10.8.0.6")] }));
    assert_eq!(lab.loads, 2);
    lab.load(vec![]);
    assert!(matches!(lab.asked[0].1.kind, RequestKind::Adopt { .. }));
}

#[test]
fn a_renegotiation_during_the_comparison_keeps_the_stored_session_and_deadline() {
    let row = row_of(4, "alice", 20);
    let mut lab = Lab::new();
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    let ticket = lab.asked[0].0;
    lab.decide(ticket, Decision::Allow(grant(lab.now, 7, Some(3_600))));
    assert_eq!(lab.verdicts(4), 1);
    lab.success();
    lab.load(vec![row.clone()]);
    assert_eq!(lab.last_row().id, row.id);
    lab.pass(Duration::from_secs(20));
    assert_eq!(lab.kills(4), 1);
}

#[test]
fn an_internal_fault_is_an_error_line_and_a_temporary_denial() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    let fault = Some("bad data".into());
    let denial = Denial { fault, ..Denial::new(DenyReason::BackendUnavailable) };
    lab.decide(ticket, Decision::Deny(denial));
    assert!(matches!(
        &lab.events[..],
        [Event::AuthError { .. }, Event::AuthDenied { reason: DenyReason::BackendUnavailable, .. }]
    ));
}

#[test]
fn an_answer_that_broke_off_with_the_connection_is_sent_again() {
    for (decision, is_denial) in [
        (Decision::Allow(grant(Lab::up().now, 1, None)), false),
        (DenyReason::DeviceUnknown.into(), true),
    ] {
        let mut lab = Lab::up();
        let ticket = lab.connect(4, "alice");
        lab.decide(ticket, decision);
        assert_eq!(lab.verdicts(4), 1);
        lab.engine.handle_lost(lab.now);
        lab.sent.clear();
        lab.attach(RUN, vec![listed(4, "alice", "")]);
        assert_eq!(lab.verdicts(4), 1, "the same run: once more");
        assert_eq!(lab.sent.iter().any(|c| matches!(c, Command::ClientDeny { .. })), is_denial);
        lab.success();
        lab.engine.handle_lost(lab.now);
        lab.sent.clear();
        lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
        assert_eq!(lab.verdicts(4), 0, "its reply has come");
    }
}

#[test]
fn an_answer_that_broke_off_is_void_in_another_run() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    lab.decide(ticket, Decision::Allow(grant(lab.now, 1, None)));
    lab.engine.handle_lost(lab.now);
    lab.sent.clear();
    lab.attach(RUN + 50, vec![listed(4, "bob", "")]);
    assert_eq!(lab.verdicts(4), 0);
}

#[test]
fn a_session_that_another_daemon_held_meanwhile_goes_on_under_its_terms() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    let mut theirs = lab.last_row().clone();
    lab.engine.handle_lost(lab.now);
    theirs.version = 1_004;
    theirs.deadline = Some(lab.now.utc.saturating_add(Duration::from_secs(30)));
    theirs.bytes_received = 9_000;
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    lab.load(vec![theirs]);
    assert!(lab.last_row().version > 1_004, "or the database would keep theirs");
    assert_eq!(lab.last_row().bytes_received, 9_000);
    lab.pass(Duration::from_secs(30));
    assert_eq!(lab.kills(4), 1);
}

#[test]
fn an_approval_that_never_arrived_before_a_crash_ends_in_a_new_login() {
    let mut row = row_of(4, "alice", 3_600);
    row.state = SessionState::Pending;
    let waiting = |lab: &Lab, age| {
        let connected_since = lab.now.utc.saturating_sub(Duration::from_secs(age));
        StatusClient { connected_since, ..listed(4, "alice", "") }
    };
    let mut lab = Lab::new();
    let young = waiting(&lab, 1);
    lab.attach(RUN, vec![young.clone()]);
    lab.load(vec![row.clone()]);
    assert!(lab.rows.is_empty() && lab.kills(4) == 0, "it may be about to come up");
    lab.pass(Duration::from_secs(5));
    lab.say(Message::Status(StatusReport { clients: vec![young] }));
    lab.load(vec![row]);
    assert!(lab.sent.iter().any(|c| matches!(
        c,
        Command::ClientKill { cid: Cid(4), message: KillMessage::Restart(_) }
    )));
}

#[test]
fn a_client_with_an_ipv6_address_only_is_up() {
    let mut lab = Lab::new();
    let row = StatusClient { virtual_ipv6: "fd00::6".into(), ..listed(4, "alice", "") };
    lab.attach(RUN, vec![row]);
    lab.load(vec![]);
    assert!(matches!(lab.asked[0].1.kind, RequestKind::Adopt { .. }));
}
