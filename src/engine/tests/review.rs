//! Sessions that run, judged again.

use super::*;

fn terms(lab: &Lab, seconds: u64) -> Terms {
    limited(Some(lab.now.utc.saturating_add(Duration::from_secs(seconds))))
}

fn reviewed(lab: &mut Lab, session: SessionId, verdict: Result<Terms, Cause>) {
    lab.engine.handle_reviews(vec![(session, verdict.map(Some))], lab.now);
    lab.drain();
}

#[test]
fn a_change_of_the_rules_moves_the_deadline_of_a_live_session() {
    let mut lab = Lab::up();
    let session = lab.establish(4, "alice", 3_600);
    let rows = lab.rows.len();
    let same = terms(&lab, 3_601);
    reviewed(&mut lab, session, Ok(same));
    assert_eq!(lab.rows.len(), rows, "nothing has changed");
    let shorter = terms(&lab, 30);
    reviewed(&mut lab, session, Ok(shorter));
    assert_eq!(lab.last_row().deadline, shorter.deadline);
    assert!(matches!(lab.events.last(), Some(Event::SessionExtended { .. })));
    lab.pass(Duration::from_secs(29));
    assert_eq!(lab.kills(4), 0);
    lab.pass(Duration::from_secs(1));
    assert_eq!(lab.kills(4), 1);
    let longer = terms(&lab, 9_999);
    reviewed(&mut lab, session, Ok(longer));
    assert_eq!(lab.last_row().state, SessionState::Closing, "it is being ended already");
}

#[test]
fn who_may_no_longer_connect_is_ended_at_once_and_with_that_cause() {
    let mut lab = Lab::up();
    let session = lab.establish(4, "alice", 3_600);
    reviewed(&mut lab, session, Err(Cause::AccountDisabled));
    assert_eq!(lab.kills(4), 1);
    reviewed(&mut lab, session, Err(Cause::AccountDisabled));
    assert_eq!(lab.kills(4), 1, "once is enough");
    lab.say(disconnect(4));
    lab.pass(second());
    assert_eq!(lab.last_row().cause, Some(Cause::AccountDisabled));
    reviewed(&mut lab, session, Err(Cause::AccountDisabled));
}

#[test]
fn what_an_operator_granted_stands() {
    let mut lab = Lab::up();
    let session = lab.establish(4, "alice", 20);
    let deadline = lab.now.utc.saturating_add(Duration::from_secs(45));
    let extend = SessionCommand {
        user: None,
        id: CommandId(1),
        session,
        server: "udp".parse().unwrap(),
        action: CommandAction::Extend { deadline },
        actor: "cli:root".into(),
    };
    lab.engine.handle_command(&extend, lab.now);
    lab.drain();
    let by_policy = terms(&lab, 20);
    reviewed(&mut lab, session, Ok(by_policy));
    assert_eq!(lab.last_row().deadline, Some(deadline));
    lab.pass(Duration::from_secs(45));
    assert!(lab.sent.iter().any(|command| matches!(
        command,
        Command::ClientKill { message: KillMessage::Halt(text), .. }
            if *text == Parameter::new("Your session time is over")
    )));
}

#[test]
fn nothing_is_judged_before_the_comparison_with_the_database() {
    let mut lab = Lab::up();
    let session = lab.establish(4, "alice", 3_600);
    lab.engine.handle_lost(lab.now);
    reviewed(&mut lab, session, Err(Cause::AccountDisabled));
    assert_eq!(lab.kills(4), 0);
}

#[test]
fn a_row_that_stays_open_without_a_session_is_compared_once_more() {
    let mut lab = Lab::up();
    let session = lab.establish(4, "alice", 3_600);
    let mut late = lab.last_row().clone();
    late.id = SessionId::new(lab.now.utc, [7; 10]);
    late.version = 1;
    let loads = lab.loads;
    let review = |lab: &mut Lab| {
        let terms = terms(lab, 3_600);
        let both = vec![(session, Ok(Some(terms))), (late.id, Ok(Some(terms)))];
        lab.engine.handle_reviews(both, lab.now);
        lab.drain();
    };
    for _ in 0..10 {
        review(&mut lab);
        lab.pass(second());
    }
    assert_eq!(lab.loads, loads, "it may be on its way");
    review(&mut lab);
    lab.say(Message::Status(StatusReport { clients: vec![listed(4, "alice", "10.8.0.6")] }));
    lab.say(Message::StateHistory(vec![state(StateName::Connected, RUN)]));
    assert_eq!(lab.loads, loads + 1);
    let known = lab.last_row().clone();
    lab.load(vec![known, late.clone()]);
    let closed = lab.last_row();
    assert_eq!((closed.id, closed.state), (late.id, SessionState::Closed));
    assert_eq!(lab.kills(4), 0, "the client's own session goes on");
    for _ in 0..60 {
        review(&mut lab);
        lab.pass(second());
    }
    assert_eq!(lab.loads, loads + 1, "a row that cannot be closed is asked for once");
}

/// Sessions of whom nothing changes are read rarely.
#[test]
fn a_row_that_was_open_without_a_session_is_compared_although_nothing_is_read_again() {
    let all = || Message::Status(StatusReport { clients: vec![listed(4, "alice", "10.8.0.6")] });
    let run = || Message::StateHistory(vec![state(StateName::Connected, RUN)]);
    for is_mended in [false, true] {
        let mut lab = Lab::up();
        let session = lab.establish(4, "alice", 3_600);
        let late = SessionId::new(lab.now.utc, [7; 10]);
        let loads = lab.loads;
        let mut ids = vec![session, late];
        for _ in 0..2 {
            let reviews = ids.iter().map(|id| (*id, Ok(None))).collect();
            lab.engine.handle_reviews(reviews, lab.now);
            lab.drain();
            if !is_mended {
                break;
            }
            // Its end was on its way.
            lab.pass(second());
            ids.pop();
        }
        lab.pass(Duration::from_millis(9_900));
        assert!(!lab.sent.contains(&Command::Status), "mended: {is_mended}");
        lab.pass(second() * 2);
        assert_eq!(lab.sent.contains(&Command::Status), !is_mended);
        if is_mended {
            continue;
        }
        lab.say(all());
        lab.say(run());
        assert_eq!(lab.loads, loads + 1);
        let known = lab.last_row().clone();
        lab.load(vec![known.clone(), SessionRecord { id: late, version: 1, ..known }]);
        let closed = lab.last_row();
        assert_eq!((closed.id, closed.state), (late, SessionState::Closed));
        lab.forget();
        lab.pass(second() * 40);
        assert!(!lab.sent.contains(&Command::Status), "once is enough");
    }
}

/// On a busy site such a row is found by every reading.
#[test]
fn the_end_of_a_session_that_is_being_written_makes_no_comparison() {
    let ms = Duration::from_millis;
    // Its cause waits; it is on its way to the database; its client was ended, and not by itself.
    for (wait, is_killed) in [(100, false), (400, false), (100, true)] {
        let mut lab = Lab::up();
        let session = lab.establish(4, "alice", 3_600);
        lab.establish(5, "bob", 3_600);
        let review = |lab: &mut Lab| {
            lab.engine.handle_reviews(vec![(session, Ok(None))], lab.now);
            lab.drain();
        };
        if is_killed {
            reviewed(&mut lab, session, Err(Cause::AccountDisabled));
            lab.success();
        }
        lab.say(disconnect(4));
        lab.pass(ms(wait));
        review(&mut lab);
        lab.forget();
        lab.pass(second() * 20);
        assert!(!lab.sent.contains(&Command::Status), "{wait} ms, killed: {is_killed}");
        // It never came.
        review(&mut lab);
        assert!(lab.sent.contains(&Command::Status), "{wait} ms, killed: {is_killed}");
    }
}

#[test]
fn a_row_that_is_open_long_after_its_end_is_one_that_was_written_late() {
    let mut lab = Lab::up();
    let session = lab.establish(4, "alice", 3_600);
    lab.say(disconnect(4));
    lab.pass(second() * 70);
    lab.engine.handle_reviews(vec![(session, Ok(None))], lab.now);
    lab.forget();
    lab.pass(second() * 9);
    assert!(!lab.sent.contains(&Command::Status));
    lab.pass(second());
    assert!(lab.sent.contains(&Command::Status));
}

#[test]
fn what_was_unknown_before_the_link_broke_is_compared_with_everything_else() {
    let mut lab = Lab::up();
    let late = SessionId::new(lab.now.utc, [7; 10]);
    lab.engine.handle_reviews(vec![(late, Ok(None))], lab.now);
    lab.pass(second());
    lab.engine.handle_lost(lab.now);
    lab.attach(RUN, vec![]);
    let loads = lab.loads;
    lab.load(vec![]);
    lab.forget();
    lab.pass(second() * 9);
    assert!(!lab.sent.contains(&Command::Status) && lab.loads == loads);
}
