//! A one-time code is asked for.

use crate::auth::{
    request::{AuthRequest, Challenge},
    second_factor::response::Response,
};

use super::*;

/// What the service answers to a right password where a code is missing.
pub(super) fn challenge(request: &AuthRequest) -> Decision {
    let request = AuthRequest { password: None, token: None, ..request.clone() };
    let challenge = Challenge { state: "abc".into(), user: "alice".parse().unwrap(), request };
    Decision::Challenge(Box::new(challenge))
}

fn connect(kind: AuthKind, password: &[u8], iv_sso: Option<&str>) -> Message {
    let Message::Auth(mut event) = auth(kind, 0, 1, "alice") else { unreachable!() };
    event.env.set_password(Password::from(password));
    if let Some(methods) = iv_sso {
        event.env.push(b"IV_SSO", methods.as_bytes());
    }
    Message::Auth(event)
}

fn answer(text: &str) -> Message {
    // Its key is wrong before OpenVPN 2.6.6.
    let mut message = auth(AuthKind::CrResponse(Password::from(text.as_bytes())), 0, 77, "alice");
    if let Message::Auth(event) = &mut message {
        event.env.take_password();
    }
    message
}

/// A client that was asked for a code, on a server of this management version.
fn asked(iv_sso: Option<&str>, version: u32) -> Lab {
    let mut lab = Lab::up();
    lab.say(Message::Info { management_version: Some(version) });
    lab.engine.management_version = Some(version);
    lab.say(connect(AuthKind::Connect, b"pw", iv_sso));
    let (ticket, request) = lab.asked.pop().unwrap();
    lab.decide(ticket, challenge(&request));
    lab
}

const SSO: Option<&str> = Some("webauth,crtext");
const QUESTION: &str = "CR_TEXT:R,E:Enter your one-time code";

fn question(wait: Option<(Kid, u32)>) -> Command {
    Command::ClientPendingAuth { cid: Cid(0), wait, text: Parameter::new(QUESTION) }
}

#[test]
fn a_client_that_can_is_asked_while_it_connects_and_its_answer_is_judged() {
    let mut lab = asked(SSO, 5);
    // 45 s, 8 s, and 5 s until OpenVPN looks.
    assert_eq!(lab.sent, [question(Some((Kid(1), 58)))]);
    assert!(matches!(&lab.events[..], [Event::AuthChallenged { way: "cr_text", .. }]));
    lab.success();
    lab.pass(Duration::from_secs(40));
    lab.forget();
    lab.say(answer("MTIzNDU2"));
    let (ticket, request) = lab.asked.pop().unwrap();
    let code = Password::from(&b"123456"[..]);
    assert_eq!(request.response, Response::Challenge { state: "abc".into(), code });
    assert_eq!((request.password, request.kind), (None, RequestKind::Connect));
    lab.decide(ticket, Decision::Allow(grant(lab.now, 1, None)));
    assert!(matches!(&lab.sent[..], [Command::ClientAuth { cid: Cid(0), kid: Kid(1), .. }]));
    assert!(matches!(&lab.events[..], [Event::AuthAllowed { latency, .. }] if latency.is_zero()));
}

#[test]
fn before_2_6_the_question_names_no_key_and_2_4_cannot_ask() {
    assert_eq!(asked(SSO, 3).sent, [question(None)]);
    assert!(matches!(&asked(SSO, 1).sent[..], [Command::ClientDeny { .. }]));
}

#[test]
fn any_other_client_is_denied_with_the_question_and_comes_again_with_the_answer() {
    let mut lab = asked(None, 5);
    let [Command::ClientDeny { cid: Cid(0), kid: Kid(1), client_reason: Some(text), .. }] =
        &lab.sent[..]
    else {
        panic!("{:?}", lab.sent);
    };
    assert_eq!(text.as_str(), "CRV1:R,E:abc:YWxpY2U=:Enter your one-time code");
    assert!(matches!(&lab.events[..], [Event::AuthChallenged { way: "crv1", .. }]));
    lab.success();
    lab.say(disconnect(0));
    lab.forget();
    lab.say(connect(AuthKind::Connect, b"CRV1::abc::123456", None));
    let (_, request) = lab.asked.pop().unwrap();
    let code = Password::from(&b"123456"[..]);
    assert_eq!(request.response, Response::Challenge { state: "abc".into(), code });
    assert_eq!(request.password, None);
}

#[test]
fn a_static_response_is_taken_apart() {
    let mut lab = Lab::up();
    lab.say(connect(AuthKind::Connect, b"SCRV1:cHc=:MTIzNDU2", SSO));
    let (_, request) = lab.asked.pop().unwrap();
    assert_eq!(request.password, Some(Password::from(&b"pw"[..])));
    assert_eq!(request.response, Response::Static(Password::from(&b"123456"[..])));
}

#[test]
fn who_does_not_answer_is_denied_in_time_and_answers_in_vain_then() {
    let mut lab = asked(SSO, 5);
    lab.success();
    lab.forget();
    lab.pass(Duration::from_secs(44));
    assert_eq!(lab.verdicts(0), 0);
    lab.pass(Duration::from_secs(2));
    assert_eq!(lab.verdicts(0), 1);
    assert!(matches!(
        &lab.events[..],
        [Event::AuthDenied { reason: DenyReason::BadSecondFactor, .. }]
    ));
    lab.success();
    lab.say(answer("MTIzNDU2"));
    assert!(lab.asked.is_empty());
    assert!(matches!(lab.events.last(), Some(Event::ProtocolUnexpected { .. })));
}

#[test]
fn one_question_has_one_answer() {
    let mut lab = asked(SSO, 5);
    lab.success();
    lab.say(answer("MTIzNDU2"));
    lab.say(answer("MTIzNDU3"));
    assert_eq!(lab.asked.len(), 1);
    let (ticket, _) = lab.asked.pop().unwrap();
    lab.decide(ticket, DenyReason::BadSecondFactor.into());
    assert_eq!(lab.verdicts(0), 1);
}

#[test]
fn an_answer_that_nobody_judges_in_time_is_denied_as_every_login() {
    let mut lab = asked(SSO, 5);
    lab.success();
    lab.say(answer("MTIzNDU2"));
    let (ticket, _) = *lab.asked.last().unwrap();
    lab.pass(Duration::from_secs(9));
    assert_eq!(lab.verdicts(0), 1);
    assert_eq!(lab.cancelled, [ticket]);
}

#[test]
fn who_leaves_instead_of_answering_is_forgotten() {
    let mut lab = asked(SSO, 5);
    lab.success();
    lab.say(disconnect(0));
    lab.pass(Duration::from_secs(60));
    assert_eq!(lab.verdicts(0), 0);
    assert!(lab.cancelled.is_empty(), "nothing was being decided");
    lab.say(answer("MTIzNDU2"));
    assert!(lab.asked.is_empty());
}

#[test]
fn another_key_of_the_client_is_another_question() {
    let mut lab = asked(SSO, 5);
    lab.success();
    lab.say(auth(AuthKind::Connect, 0, 2, "alice"));
    assert_eq!(lab.asked.len(), 1);
    lab.say(answer("MTIzNDU2"));
    assert_eq!(lab.asked.len(), 1, "the first question is over");
}

#[test]
fn a_session_that_runs_is_not_asked() {
    let mut lab = Lab::up();
    lab.establish(0, "alice", 3_600);
    lab.say(connect(AuthKind::Reauth, b"CRV1::abc::123456", SSO));
    let (ticket, request) = lab.asked.pop().unwrap();
    assert!(matches!(request.kind, RequestKind::Reauth { .. }));
    assert_eq!(request.response.state(), Some("abc"));
    lab.forget();
    // Should it be asked for all the same, the answer is no.
    lab.decide(ticket, challenge(&request));
    assert!(matches!(&lab.sent[..], [Command::ClientDeny { .. }, Command::ClientKill { .. }]));
}

#[test]
fn the_answer_of_another_run_is_not_taken() {
    let mut lab = asked(SSO, 5);
    lab.success();
    lab.engine.handle_lost(lab.now);
    lab.drain();
    lab.asked.clear();
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Info { management_version: Some(5) });
    lab.say(answer("MTIzNDU2"));
    assert!(lab.asked.is_empty());
}

/// It lets a client wait from its handshake on for as long as the question said, and not for a minute from the answer on.
#[test]
fn who_was_asked_for_a_code_is_let_in_for_as_long_as_openvpn_waits_for_it() {
    // 45 s, or 120 s, and 8 s.
    for (wait, answered, back, is_allowed) in
        [(45, 40, 52, true), (45, 40, 53, false), (120, 100, 127, true), (120, 100, 128, false)]
    {
        let mut lab = Lab::up();
        lab.engine.settings.challenge_timeout = Duration::from_secs(wait);
        lab.say(connect(AuthKind::Connect, b"pw", SSO));
        let (ticket, request) = lab.asked.pop().unwrap();
        lab.decide(ticket, challenge(&request));
        lab.success();
        lab.pass(Duration::from_secs(answered));
        lab.say(answer("MTIzNDU2"));
        let (ticket, _) = lab.asked.pop().unwrap();
        lab.engine.handle_lost(lab.now);
        lab.decide(ticket, Decision::Allow(grant(lab.now, 1, None)));
        lab.sleep(Duration::from_secs(back - answered));
        lab.forget();
        lab.attach(RUN, vec![listed(0, "alice", "")]);
        let is_let_in = lab.events.iter().any(|e| matches!(e, Event::AuthAllowed { .. }));
        assert_eq!(is_let_in, is_allowed, "{wait} s, back after {back} s");
        assert_eq!((lab.verdicts(0), lab.abandoned.len()), (1, usize::from(!is_allowed)));
    }
}
