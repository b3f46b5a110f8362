//! Limits that are no moment: data, idle time; and where the days of a session begin.

use super::*;
use crate::{
    auth::{quota::Allowance, terms::IdleLimit},
    engine::live::note_days,
};

const DAY: u64 = 86_400;

/// A session under these terms that is up.
fn up_under(terms: Terms) -> (Lab, SessionId) {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    let grant = Grant { terms, ..grant(lab.now, ticket.serial, None) };
    let id = grant.session_id;
    lab.decide(ticket, Decision::Allow(grant));
    lab.success();
    lab.say(Message::Established { cid: Cid(4), env: Env::default() });
    (lab, id)
}

fn count(lab: &mut Lab, bytes_received: u64, bytes_sent: u64) {
    lab.say(Message::ByteCount { cid: Cid(4), bytes_received, bytes_sent });
}

fn expired(lab: &Lab) -> Vec<Cause> {
    let cause = |event: &Event| {
        let Event::SessionExpired { deadline_reason, .. } = event else { return None };
        Some(*deadline_reason)
    };
    lab.events.iter().filter_map(cause).collect()
}

fn data(counter: u64) -> Terms {
    Terms {
        allowance: Some(Allowance { counter, resets_at: None }),
        expiry_action: crate::types::ExpiryAction::Restart,
        ..Terms::default()
    }
}

#[test]
fn a_session_ends_when_its_data_is_used_up_and_not_at_the_next_login() {
    let (mut lab, _) = up_under(data(1_000));
    assert!(lab.sent.contains(&Command::ByteCount(5)), "its counters are watched closely");
    lab.success();
    count(&mut lab, 499, 500);
    assert_eq!(lab.kills(4), 0);
    count(&mut lab, 500, 500);
    let message = "Your data volume is used up for this period";
    let message = KillMessage::Restart(Parameter::new(message));
    assert_eq!(lab.sent.last(), Some(&Command::ClientKill { cid: Cid(4), message }));
    assert_eq!(expired(&lab), [Cause::DataQuota]);
    count(&mut lab, 900, 900);
    assert_eq!((expired(&lab).len(), lab.kills(4)), (1, 1), "once");
    lab.say(disconnect(4));
    assert_eq!(lab.last_row().cause, Some(Cause::DataQuota));
}

#[test]
fn data_of_a_period_that_is_over_ends_nothing() {
    let mut terms = data(1_000);
    let allowance = terms.allowance.as_mut().unwrap();
    allowance.resets_at = Some(Timestamp::from_secs(RUN + 100 + 60));
    let (mut lab, _) = up_under(terms);
    lab.pass(Duration::from_secs(61));
    count(&mut lab, 5_000, 0);
    assert_eq!(lab.kills(4), 0);
}

#[test]
fn a_review_brings_and_takes_limits_of_data() {
    let (mut lab, id) = up_under(Terms::default());
    assert!(!lab.sent.contains(&Command::ByteCount(5)));
    count(&mut lab, 5_000, 0);
    let review = |lab: &mut Lab, terms: Terms| {
        lab.engine.handle_reviews(vec![(id, Ok(Some(terms)))], lab.now);
        lab.drain();
    };
    review(&mut lab, data(6_000));
    assert!(lab.sent.contains(&Command::ByteCount(5)));
    lab.success();
    review(&mut lab, Terms::default());
    count(&mut lab, 7_000, 0);
    assert_eq!(lab.kills(4), 0);
    review(&mut lab, data(7_000));
    assert_eq!((lab.kills(4), expired(&lab)), (1, vec![Cause::DataQuota]));
}

#[test]
fn what_an_operator_grants_is_time_and_no_data() {
    let (mut lab, session) = up_under(data(1_000));
    lab.success();
    let action = CommandAction::Extend { deadline: lab.now.utc.saturating_add(second() * 600) };
    let command = SessionCommand {
        user: None,
        id: CommandId(1),
        session,
        server: "udp".parse().unwrap(),
        action,
        actor: "cli:test".into(),
    };
    lab.engine.handle_command(&command, lab.now);
    lab.drain();
    let hours_over =
        Terms { deadline: Some(lab.now.utc), deadline_reason: Some(Cause::Hours), ..data(1_000) };
    lab.engine.handle_reviews(vec![(session, Ok(Some(hours_over)))], lab.now);
    lab.pass(second());
    assert_eq!(lab.kills(4), 0, "an operator has set its end");
    lab.say(auth(AuthKind::Reauth, 4, 2, "alice"));
    let kind = lab.asked.last().unwrap().1.kind;
    assert!(matches!(kind, RequestKind::Reauth { is_extended: true, .. }), "{kind:?}");
    count(&mut lab, 1_000, 0);
    assert_eq!(expired(&lab), [Cause::DataQuota]);
}

#[test]
fn an_idle_session_ends_and_one_in_use_does_not() {
    let idle = IdleLimit { after: Duration::from_secs(60), bytes: 100 };
    let (mut lab, _) = up_under(Terms { idle: Some(idle), ..Terms::default() });
    lab.success();
    for step in 1..=10 {
        lab.pass(Duration::from_secs(30));
        count(&mut lab, step * 60, 0);
    }
    assert_eq!(lab.kills(4), 0, "100 bytes in a minute");
    // OpenVPN's own pings.
    for step in 1..=6 {
        lab.pass(Duration::from_secs(10));
        count(&mut lab, 600 + step, 0);
    }
    assert_eq!(lab.kills(4), 0, "the last count of that minute may still come");
    lab.pass(Duration::from_secs(5));
    assert_eq!((lab.kills(4), expired(&lab)), (1, vec![Cause::Idle]));
    lab.say(disconnect(4));
    assert_eq!(lab.last_row().cause, Some(Cause::Idle));
}

#[test]
fn nobody_counts_as_idle_while_nobody_watches() {
    let idle = IdleLimit { after: Duration::from_secs(60), bytes: 100 };
    let (mut lab, _) = up_under(Terms { idle: Some(idle), ..Terms::default() });
    lab.success();
    lab.engine.handle_lost(lab.now);
    lab.pass(Duration::from_secs(300));
    lab.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
    assert!(lab.sent.contains(&Command::ByteCount(5)), "also on a new connection");
    lab.pass(Duration::from_secs(64));
    assert_eq!(lab.kills(4), 0);
    lab.pass(Duration::from_secs(1));
    assert_eq!(expired(&lab), [Cause::Idle]);
}

#[test]
fn the_counters_of_each_midnight_are_kept_with_the_session() {
    let (mut lab, _) =
        up_under(Terms { zone: "Europe/Berlin".parse().unwrap(), ..Terms::default() });
    let midnight = lab.now.utc.as_secs().unsigned_abs() / DAY * DAY + 23 * 3_600;
    let until = midnight - lab.now.utc.as_secs().unsigned_abs();
    lab.pass(Duration::from_secs(until - 10));
    count(&mut lab, 100, 10);
    lab.pass(Duration::from_secs(20));
    count(&mut lab, 150, 15);
    lab.pass(Duration::from_secs(2 * DAY));
    lab.say(Message::Disconnect { cid: Cid(4), env: bytes_env(400, 40) });
    lab.pass(DEPARTURE_GRACE);
    let row = lab.last_row();
    let at = |days: u64| Timestamp::from_secs(i64::try_from(midnight + days * DAY).unwrap());
    let shares: Vec<_> = row
        .shares()
        .iter()
        .map(|share| {
            (share.starts_at, share.time.as_secs(), share.bytes_received, share.bytes_sent)
        })
        .collect();
    let first = (row.started_at, until, 100, 10);
    assert_eq!(shares, [first, (at(0), DAY, 50, 5), (at(1), DAY, 0, 0), (at(2), 10, 250, 25)]);
    let time: u64 = shares.iter().map(|share| share.1).sum();
    assert_eq!(time, row.duration_s(), "split without a rest");
}

#[test]
fn a_day_on_which_the_clock_is_changed_is_split_by_its_own_length() {
    let utc = |text: &str| text.parse::<Timestamp>().unwrap();
    let mut row = reconcile::row_of(4, "alice", 20);
    row.started_at = utc("2026-10-24T20:00:00.250Z");
    let end = utc("2026-10-26T00:00:00.750Z");
    note_days(&mut row, "Europe/Berlin".parse().unwrap(), end);
    row.ended_at = Some(end);
    let shares: Vec<_> =
        row.shares().iter().map(|share| (share.starts_at, share.time.as_millis())).collect();
    let midnights = ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"].map(utc);
    let wanted =
        [(row.started_at, 7_199_750), (midnights[0], 25 * 3_600_000), (midnights[1], 3_600_750)];
    assert_eq!(shares, wanted);
}

#[test]
fn openvpn_is_told_the_latest_moment_to_which_the_deadline_may_move() {
    let mut terms = limited(Some(Timestamp::from_secs(RUN + 100 + 60)));
    terms.latest = Some(Timestamp::from_secs(RUN + 100 + 600));
    let (lab, _) = up_under(terms);
    let config = vec![ConfigLine::session_timeout(630)];
    assert!(lab.sent.contains(&Command::ClientAuth { cid: Cid(4), kid: Kid(1), config }));
}

#[test]
fn what_openvpn_is_told_about_a_client_comes_before_its_end() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    let route = ConfigLine::parse("push \"route 10.1.0.0 255.255.0.0\"").unwrap();
    let grant = grant(lab.now, ticket.serial, Some(60));
    lab.decide(ticket, Decision::Allow(Grant { config: vec![route.clone()], ..grant }));
    let config = vec![route, ConfigLine::session_timeout(90)];
    assert_eq!(lab.sent, [Command::ClientAuth { cid: Cid(4), kid: Kid(1), config }]);
}
