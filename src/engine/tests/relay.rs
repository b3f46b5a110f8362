//! Commands of other tools between our own.

use super::*;
use crate::{
    engine::RelayId,
    proto::{Asked, asked},
};

impl Lab {
    fn ask(&mut self, id: u64, line: &str) {
        let Asked::Pass(command) = asked(line.as_bytes()) else { panic!("{line}") };
        self.engine.handle_relay(RelayId(id), command, self.now);
        self.drain();
    }

    fn relay(&mut self, line: &str) {
        assert!(self.engine.is_relaying(), "{line}");
        self.say(Message::Relayed(line.as_bytes().into()));
    }
}

#[test]
fn replies_go_to_whom_they_belong_in_the_order_of_the_commands() {
    let mut lab = Lab::up();
    let alice = lab.connect(4, "alice");
    lab.ask(1, "status 2");
    lab.decide(alice, Decision::Allow(grant(lab.now, 1, None)));
    lab.ask(2, "pid");
    for line in ["TITLE,x", "CLIENT_LIST,ERROR: y", "END"] {
        lab.relay(line);
    }
    assert!(!lab.engine.is_relaying(), "the next replies are our own");
    lab.success();
    lab.success();
    lab.relay("SUCCESS: pid=7");
    let expected = [
        (1, "TITLE,x", false),
        (1, "CLIENT_LIST,ERROR: y", false),
        (1, "END", true),
        (2, "SUCCESS: pid=7", true),
    ];
    assert_eq!(lab.relayed, expected.map(|(id, line, last)| (id, line.to_owned(), last)));
    assert!(lab.faults.is_empty());
}

#[test]
fn a_list_without_an_end_does_not_put_the_replies_out_of_step() {
    let mut lab = Lab::up();
    lab.ask(1, "status");
    let alice = lab.connect(4, "alice");
    lab.decide(alice, Decision::Allow(grant(lab.now, 1, None)));
    // A row that looks like a refusal, and one too long, at which OpenVPN breaks off.
    for line in
        ["OpenVPN CLIENT LIST", "ERROR: x,192.0.2.9:4", "SUCCESS: bytecount interval changed"]
    {
        lab.relay(line);
    }
    assert!(!lab.engine.is_relaying(), "the next reply is our own");
    let told: Vec<_> = lab.relayed.iter().map(|(_, line, last)| (line.as_str(), *last)).collect();
    let rows = [("OpenVPN CLIENT LIST", false), ("ERROR: x,192.0.2.9:4", false), ("END", true)];
    assert_eq!(told, rows);
    lab.success();
    assert!(lab.faults.is_empty());
    lab.pass(REPLY_TIMEOUT * 2);
    assert!(lab.faults.is_empty(), "every reply has come");
}

#[test]
fn a_list_may_take_a_minute_in_all() {
    let mut lab = Lab::up();
    lab.ask(1, "log all");
    for _ in 0..12 {
        lab.relay("1795435003,I,slow");
        lab.pass(Duration::from_secs(5));
    }
    assert!(matches!(&lab.faults[..], [LinkFault::ReplyTimeout { .. }]));
}

#[test]
fn a_list_that_is_refused_is_one_line() {
    let mut lab = Lab::up();
    lab.ask(1, "status");
    lab.relay("ERROR: not now");
    assert!(lab.relayed[0].2 && !lab.engine.is_relaying());
}

#[test]
fn without_a_link_the_answer_comes_at_once() {
    let mut lab = Lab::new();
    lab.ask(1, "pid");
    assert_eq!(lab.relayed, [(1, "ERROR: there is no connection to OpenVPN".to_owned(), true)]);
    assert!(lab.sent.is_empty());
}

#[test]
fn a_tools_reply_that_does_not_come_means_reconnect_as_for_our_own() {
    let mut lab = Lab::up();
    lab.ask(1, "pid");
    lab.pass(REPLY_TIMEOUT);
    assert!(matches!(&lab.faults[..], [LinkFault::ReplyTimeout { .. }]));
}

#[test]
fn the_log_is_switched_on_as_long_as_somebody_reads_it_and_after_every_reconnect() {
    let mut lab = Lab::up();
    lab.engine.handle_log_wanted(true, lab.now);
    lab.engine.handle_log_wanted(true, lab.now);
    lab.drain();
    assert_eq!(lab.sent, [Command::Log(true)]);
    lab.success();
    lab.engine.handle_lost(lab.now);
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Info { management_version: Some(5) });
    assert_eq!(lab.sent.last(), Some(&Command::Log(true)));
    lab.engine.handle_log_wanted(false, lab.now);
    lab.drain();
    assert_eq!(lab.sent.last(), Some(&Command::Log(false)));
}
