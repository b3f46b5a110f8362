//! `client-pending-auth` before an approval.

use super::*;

const TEXT: &str = "Your login is accepted; the connection is being set up";
/// Above every `hand-window`, in seconds.
const DAY: u32 = 86_400;

/// Up, with the nudge switched on, on a server of this management version.
fn lab(version: u32) -> Lab {
    let mut lab = Lab::new();
    lab.engine.settings.wake_up = true;
    lab.engine.handle_store_ready(true, lab.now);
    lab.attach(RUN, vec![]);
    lab.load(vec![]);
    lab.engine.management_version = Some(version);
    lab.forget();
    lab
}

fn client(kind: AuthKind, peer_info: &[(&str, &str)]) -> Message {
    let mut env = Env::default();
    let login = [("username", "alice"), ("time_unix", "1795435020")];
    for (key, value) in login.iter().chain(peer_info) {
        env.push(key.as_bytes(), value.as_bytes());
    }
    env.set_password(Password::from(&b"pw"[..]));
    Message::Auth(AuthEvent { kind, cid: Cid(4), kid: Kid(1), env })
}

/// The words of the commands that approve such a client.
fn approval(lab: &mut Lab, kind: AuthKind, peer_info: &[(&str, &str)]) -> Vec<Command> {
    lab.say(client(kind, peer_info));
    let ticket = lab.asked.last().unwrap().0;
    lab.sent.clear();
    lab.decide(ticket, Decision::Allow(grant(lab.now, ticket.serial, None)));
    std::mem::take(&mut lab.sent)
}

#[test]
fn a_server_of_2_6_is_nudged_with_key_and_time_before_the_approval() {
    let mut lab = lab(5);
    let sent = approval(&mut lab, AuthKind::Connect, &[("IV_VER", "2.6.14"), ("IV_PROTO", "990")]);
    let text = Parameter::new(TEXT);
    assert_eq!(
        sent,
        [
            Command::ClientPendingAuth { cid: Cid(4), wait: Some((Kid(1), DAY)), text },
            Command::ClientAuth { cid: Cid(4), kid: Kid(1), config: vec![] },
        ]
    );
    lab.success();
    lab.success();
    lab.say(Message::Established { cid: Cid(4), env: Env::default() });
    assert!(lab.faults.is_empty());
    assert_eq!(lab.last_row().state, SessionState::Active);
}

#[test]
fn a_server_of_2_5_is_nudged_in_its_own_form() {
    let sent = approval(&mut lab(3), AuthKind::Connect, &[("IV_VER", "2.5.1")]);
    let text = Parameter::new(TEXT);
    assert_eq!(sent[0], Command::ClientPendingAuth { cid: Cid(4), wait: None, text });
    assert_eq!(sent.len(), 2);
}

#[test]
fn a_renegotiation_is_nudged_as_well() {
    let mut lab = lab(5);
    let peer_info = [("IV_VER", "2.6.14"), ("IV_PROTO", "990")];
    approval(&mut lab, AuthKind::Connect, &peer_info);
    lab.success();
    lab.success();
    lab.say(Message::Established { cid: Cid(4), env: Env::default() });
    let sent = approval(&mut lab, AuthKind::Reauth, &peer_info);
    assert!(
        matches!(sent[..], [Command::ClientPendingAuth { .. }, Command::ClientAuthNt { .. }]),
        "{sent:?}"
    );
}

#[test]
fn nobody_is_nudged_who_does_not_understand_it() {
    let new: &[(&str, &str)] = &[("IV_VER", "2.6.14"), ("IV_PROTO", "990")];
    for (version, peer_info) in [
        (1, new),
        (2, new),
        (4, new),
        (5, &[]),
        (5, &[("IV_VER", "2.4.12"), ("IV_PROTO", "2")]),
        (5, &[("IV_VER", "mihomo")]),
        (5, &[("IV_VER", "2")]),
    ] {
        let sent = approval(&mut lab(version), AuthKind::Connect, peer_info);
        assert_eq!(sent.len(), 1, "{version} {peer_info:?}: {sent:?}");
    }
    for version in ["2.5", "2.5.1", "2.7_rc1", "2.10.0", "3.git:released:ab12", "3.11.1"] {
        let sent = approval(&mut lab(5), AuthKind::Connect, &[("IV_VER", version)]);
        assert_eq!(sent.len(), 2, "{version}");
    }
}

/// The words that approve a client that was asked for a code and answered after so long; it may take `timeout`.
fn approval_of_code(version: u32, timeout: u64, answered: u64) -> Vec<Command> {
    let mut lab = lab(version);
    lab.engine.settings.challenge_timeout = Duration::from_secs(timeout);
    let peer_info = [("IV_VER", "2.6.14"), ("IV_PROTO", "990"), ("IV_SSO", "crtext")];
    lab.say(client(AuthKind::Connect, &peer_info));
    let (ticket, request) = lab.asked.pop().unwrap();
    lab.decide(ticket, challenge::challenge(&request));
    lab.success();
    lab.pass(Duration::from_secs(answered));
    approval(&mut lab, AuthKind::CrResponse(Password::from(&b"MTIzNDU2"[..])), &[])
}

#[test]
fn after_a_code_the_nudge_names_no_moment_that_is_past() {
    let wait = |sent: &[Command]| match sent {
        [Command::ClientPendingAuth { wait, .. }, Command::ClientAuth { .. }] => Some(*wait),
        [Command::ClientAuth { .. }] => None,
        _ => panic!("{sent:?}"),
    };
    // A server that gives no more than was asked for subtracts what is over: half is left after a third. The
    // question asked for 240 s and 8 s, or for 45 s and 8 s.
    for (timeout, answered, is_nudged) in
        [(240, 70, true), (240, 82, true), (240, 83, false), (240, 239, false), (45, 17, true)]
    {
        let named = wait(&approval_of_code(5, timeout, answered));
        let wanted = is_nudged.then_some(Some((Kid(1), DAY)));
        assert_eq!(named, wanted, "{answered} s of {timeout}");
    }
    assert_eq!(wait(&approval_of_code(5, 45, 18)), None);
    // 2.5 was asked for nothing: its client waits for its own hand-window.
    assert_eq!(wait(&approval_of_code(3, 240, 19)), Some(None));
    assert_eq!(wait(&approval_of_code(3, 240, 20)), None);
}

#[test]
fn a_decision_that_waited_for_the_link_is_not_nudged_late() {
    for (back, is_nudged) in [(19, true), (20, false)] {
        let mut lab = lab(5);
        lab.say(client(AuthKind::Connect, &[("IV_VER", "2.6.14")]));
        let ticket = lab.asked.pop().unwrap().0;
        lab.engine.handle_lost(lab.now);
        lab.decide(ticket, Decision::Allow(grant(lab.now, ticket.serial, None)));
        lab.sleep(Duration::from_secs(back));
        lab.forget();
        lab.attach(RUN, vec![listed(4, "alice", "")]);
        let nudges = lab.sent.iter().filter(|c| matches!(c, Command::ClientPendingAuth { .. }));
        assert_eq!(nudges.count(), usize::from(is_nudged), "{back} s");
        assert_eq!(lab.verdicts(4), 1);
    }
}

#[test]
fn it_can_be_switched_off() {
    let mut lab = lab(5);
    lab.engine.settings.wake_up = false;
    let sent = approval(&mut lab, AuthKind::Connect, &[("IV_VER", "2.6.14"), ("IV_PROTO", "990")]);
    assert_eq!(sent.len(), 1);
}

#[test]
fn a_refused_nudge_changes_nothing() {
    let mut lab = lab(5);
    approval(&mut lab, AuthKind::Connect, &[("IV_VER", "2.6.14")]);
    lab.say(Message::Error("client-pending-auth command failed".into()));
    lab.success();
    lab.say(Message::Established { cid: Cid(4), env: Env::default() });
    assert!(lab.faults.is_empty());
    assert_eq!(lab.last_row().state, SessionState::Active);
}
