//! From ESTABLISHED to DISCONNECT.

use super::*;
use crate::auth::text;

#[test]
fn a_session_is_opened_on_established_and_closed_on_disconnect_with_its_bytes() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    assert_eq!(lab.last_row().state, SessionState::Active);
    assert_eq!(lab.last_row().vpn_ip.as_deref(), Some("10.8.0.6"));
    assert!(matches!(lab.events.last(), Some(Event::SessionOpened { .. })));
    lab.pass(Duration::from_secs(5));
    lab.say(Message::Disconnect { cid: Cid(4), env: bytes_env(15_485_760, u64::MAX) });
    lab.pass(DEPARTURE_GRACE);
    let row = lab.last_row();
    assert_eq!(row.state, SessionState::Closed);
    assert_eq!((row.bytes_received, row.bytes_sent), (15_485_760, u64::MAX));
    assert_eq!((row.duration_s(), row.cause), (5, Some(Cause::Unknown)));
    assert!(matches!(lab.events.last(), Some(Event::SessionClosed { duration_s: 5, .. })));
    assert_eq!(lab.engine.session_count(), 0);
}

#[test]
fn a_client_that_left_while_this_program_stood_still_left_then() {
    for (seconds, ended) in [
        // OpenVPN counts from before the login.
        (Some("7"), 8),
        (Some("0"), 1),
        (Some("400"), 100),
        (Some("18446744073709551615"), 100),
        (Some("-3"), 100),
        (None, 100),
    ] {
        let mut lab = Lab::up();
        lab.establish(4, "alice", 3_600);
        // Stopped: no timer, no line.
        lab.sleep(Duration::from_secs(100));
        let mut env = bytes_env(5, 5);
        if let Some(seconds) = seconds {
            env.push(b"time_duration", seconds.as_bytes());
        }
        lab.say(Message::Disconnect { cid: Cid(4), env });
        lab.pass(DEPARTURE_GRACE);
        assert_eq!(lab.last_row().duration_s(), ended, "{seconds:?}");
    }
}

#[test]
fn a_late_established_does_not_bring_a_client_back() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    lab.allow_until(ticket, None);
    lab.say(disconnect(4));
    lab.say(Message::Established { cid: Cid(4), env: Env::default() });
    assert_eq!(lab.engine.session_count(), 0);
    assert!(
        lab.sent.ends_with(&[Command::Status, Command::State]),
        "the list tells whether it is there"
    );
    lab.say(Message::Status(StatusReport::default()));
    lab.pass(second());
    assert_eq!(lab.engine.session_count(), 0);
    assert!(!lab.events.iter().any(|e| matches!(e, Event::SessionOpened { .. })));
}

#[test]
fn a_second_disconnect_changes_nothing() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 60);
    lab.say(disconnect(4));
    lab.pass(second());
    let rows = lab.rows.len();
    lab.say(disconnect(4));
    lab.pass(second());
    assert_eq!(lab.rows.len(), rows);
}

#[test]
fn the_deadline_kills_with_halt_and_again_until_the_client_is_gone() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 20);
    lab.forget();
    lab.pass(Duration::from_millis(19_999));
    assert_eq!(lab.kills(4), 0);
    lab.pass(Duration::from_millis(1));
    assert_eq!(
        lab.sent,
        [Command::ClientKill {
            cid: Cid(4),
            message: KillMessage::Halt(Parameter::new("Your session time is over"))
        }]
    );
    lab.success();
    assert_eq!(lab.last_row().state, SessionState::Closing);
    lab.pass(KILL_RETRY);
    assert_eq!(lab.kills(4), 2);
    lab.success();
    lab.say(Message::Status(StatusReport { clients: vec![listed(4, "alice", "10.8.0.6")] }));
    lab.say(disconnect(4));
    let row = lab.last_row();
    assert_eq!((row.state, row.cause), (SessionState::Closed, Some(Cause::SessionLimit)));
    lab.pass(Duration::from_secs(60));
    assert_eq!(lab.kills(4), 2);
}

#[test]
fn a_kill_of_a_client_that_left_without_a_word_is_settled_by_the_list() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 20);
    lab.pass(Duration::from_secs(20));
    lab.say(Message::Error("client-kill command failed".into()));
    assert_eq!(lab.engine.session_count(), 1, "an ERROR alone is no departure");
    assert!(lab.sent.ends_with(&[Command::Status, Command::State]));
    lab.say(Message::Status(StatusReport::default()));
    assert_eq!(lab.engine.session_count(), 0);
    assert_eq!(lab.last_row().cause, Some(Cause::SessionLimit));
}

#[test]
fn a_step_of_the_clock_never_lengthens_a_session() {
    for step in [3_600_000i64, -3_600_000] {
        let mut lab = Lab::up();
        lab.establish(4, "alice", 1_800);
        lab.pass(Duration::from_secs(61));
        lab.now.utc = Timestamp::from_millis(lab.now.utc.as_millis() + step);
        lab.pass(Duration::from_secs(61));
        if step > 0 {
            assert!(lab.kills(4) >= 1, "an hour forward is past the deadline");
        } else {
            assert_eq!(lab.kills(4), 0);
            lab.pass(Duration::from_secs(1_800 - 122));
            assert_eq!(lab.kills(4), 1, "an hour back changes nothing");
        }
    }
}

#[test]
fn who_is_extended_beyond_openvpns_own_limit_connects_again_just_before_it() {
    // The backstop of 20 s is 30 s later.
    for (extended, renewed) in [(49, false), (100, true)] {
        let mut lab = Lab::up();
        let id = lab.establish(4, "alice", 20);
        let deadline = lab.now.utc.saturating_add(Duration::from_secs(extended));
        let extend = SessionCommand {
            user: None,
            id: CommandId(1),
            session: id,
            server: "udp".parse().unwrap(),
            action: CommandAction::Extend { deadline },
            actor: "cli:root".into(),
        };
        lab.engine.handle_command(&extend, lab.now);
        lab.pass(Duration::from_millis(47_900));
        assert_eq!(lab.kills(4), 0);
        lab.pass(Duration::from_millis(200));
        assert_eq!(lab.kills(4), usize::from(renewed));
        if renewed {
            let told = Command::ClientKill {
                cid: Cid(4),
                message: KillMessage::Restart(Parameter::new(text::RENEWAL)),
            };
            assert_eq!(lab.sent.last(), Some(&told));
            lab.success();
            lab.say(disconnect(4));
            assert_eq!(lab.last_row().cause, Some(Cause::Admin));
        }
    }
}

#[test]
fn ten_thousand_sessions_that_end_in_one_moment_are_told_at_once_and_closed_once() {
    const MANY: u32 = 10_000;
    let mut lab = Lab::up();
    for cid in 0..MANY {
        lab.establish(cid, "alice", 50);
    }
    lab.pass(Duration::from_millis(49_999));
    lab.forget();
    lab.pass(Duration::from_millis(1));
    let mut told = Vec::new();
    for command in &lab.sent {
        if let Command::ClientKill { cid, .. } = command {
            told.push(cid.0);
        }
    }
    assert!(told.iter().copied().eq(0..MANY), "each of them once, in the moment of its deadline");
    for cid in told {
        lab.success();
        lab.say(disconnect(cid));
    }
    let closed: Vec<_> = lab.rows.iter().filter(|row| row.ended_at.is_some()).collect();
    assert!(closed.iter().map(|row| row.cid.0).eq(0..MANY), "{}", closed.len());
    for row in closed {
        assert_eq!((row.cause, row.duration_s()), (Some(Cause::SessionLimit), 50));
    }
}

/// OpenVPN's seconds go on as they did when its clock is put back.
#[test]
fn a_clock_that_is_put_back_moves_no_renewal() {
    let mut lab = Lab::up();
    let id = lab.establish(4, "alice", 200);
    lab.pass(Duration::from_secs(61));
    lab.now.utc = lab.now.utc.saturating_sub(Duration::from_secs(3_600));
    lab.pass(Duration::from_secs(61));
    let extend = SessionCommand {
        user: None,
        id: CommandId(1),
        session: id,
        server: "udp".parse().unwrap(),
        action: CommandAction::Extend {
            deadline: lab.now.utc.saturating_add(Duration::from_secs(7_200)),
        },
        actor: "cli:root".into(),
    };
    lab.engine.handle_command(&extend, lab.now);
    lab.pass(Duration::from_millis(227_900 - 122_000));
    assert_eq!(lab.kills(4), 0);
    lab.pass(Duration::from_millis(200));
    assert_eq!(lab.kills(4), 1);
}

#[test]
fn a_step_of_the_clock_that_is_taken_back_shortens_no_session() {
    for steps in [[1_200_000i64, -1_200_000], [-3_600_000, 3_600_000]] {
        let mut lab = Lab::up();
        lab.establish(4, "alice", 1_800);
        for step in steps {
            lab.pass(Duration::from_secs(61));
            lab.now.utc = Timestamp::from_millis(lab.now.utc.as_millis() + step);
        }
        lab.pass(Duration::from_secs(1_800 - 122 - 1));
        assert_eq!(lab.kills(4), 0, "{steps:?}");
        lab.pass(Duration::from_secs(1));
        assert_eq!(lab.kills(4), 1, "{steps:?}");
    }
}

#[test]
fn a_server_that_stops_takes_its_clients_along_with_that_cause() {
    let mut lab = Lab::up();
    lab.establish(0, "alice", 3_600);
    lab.establish(1, "bob", 3_600);
    lab.say(disconnect(0));
    lab.say(disconnect(1));
    lab.say(Message::State(state(StateName::Reconnecting, RUN + 200)));
    let causes: Vec<_> = lab.rows.iter().filter_map(|row| row.cause).collect();
    assert_eq!(causes, [Cause::ServerRestarted, Cause::ServerRestarted]);
}

#[test]
fn an_operator_can_end_and_extend_a_session() {
    let mut lab = Lab::up();
    let id = lab.establish(4, "alice", 20);
    let command = |action| SessionCommand {
        user: None,
        id: CommandId(1),
        session: id,
        server: "udp".parse().unwrap(),
        action,
        actor: "cli:root".into(),
    };
    let deadline = lab.now.utc.saturating_add(Duration::from_secs(45));
    let extend = command(CommandAction::Extend { deadline });
    assert_eq!(lab.engine.handle_command(&extend, lab.now), CommandOutcome::Handled);
    lab.drain();
    assert_eq!(lab.last_row().deadline, Some(deadline));
    lab.pass(Duration::from_secs(44));
    assert_eq!(lab.kills(4), 0);
    let kill = command(CommandAction::Kill { reason: Some("maintenance".into()) });
    assert_eq!(lab.engine.handle_command(&kill, lab.now), CommandOutcome::Handled);
    lab.drain();
    assert_eq!(
        lab.sent.last(),
        Some(&Command::ClientKill {
            cid: Cid(4),
            message: KillMessage::Halt(Parameter::new("maintenance"))
        })
    );
    lab.success();
    lab.say(disconnect(4));
    assert_eq!(lab.last_row().cause, Some(Cause::Admin));
}
