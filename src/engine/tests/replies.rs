//! Replies: paired, or the link is given up.

use super::*;

#[test]
fn a_reply_that_does_not_come_means_reconnect() {
    let mut lab = Lab::up();
    let ticket = lab.connect(1, "alice");
    lab.decide(ticket, Decision::Allow(grant(lab.now, 1, None)));
    lab.pass(REPLY_TIMEOUT);
    assert_eq!(lab.faults, [LinkFault::ReplyTimeout { command: "client-auth" }]);
}

#[test]
fn a_reply_of_another_shape_means_reconnect() {
    let mut lab = Lab::up();
    let ticket = lab.connect(1, "alice");
    lab.decide(ticket, Decision::Allow(grant(lab.now, 1, None)));
    lab.say(Message::Version(Version::default()));
    assert_eq!(lab.faults, [LinkFault::UnexpectedReply { command: "client-auth" }]);
}

#[test]
fn an_unsolicited_reply_is_dropped_and_not_taken_by_the_next_command() {
    let mut lab = Lab::up();
    lab.say(Message::Error("".into()));
    let ticket = lab.connect(1, "alice");
    lab.allow_until(ticket, None);
    assert!(lab.faults.is_empty());
    assert!(lab.events.iter().any(|e| matches!(e, Event::ProtocolUnexpected { .. })));
}

#[test]
fn a_server_that_falls_silent_is_asked_and_given_up_when_it_does_not_answer() {
    let mut lab = Lab::up();
    lab.is_dead = true;
    lab.pass(Duration::from_secs(30));
    assert!(lab.sent.is_empty(), "it was heard in this interval");
    lab.pass(Duration::from_secs(30));
    assert_eq!(lab.sent, [Command::State]);
    lab.pass(REPLY_TIMEOUT);
    assert_eq!(lab.faults, [LinkFault::ReplyTimeout { command: "state" }]);
}
