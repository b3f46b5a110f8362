//! Attaching: password, greeting, set-up, hold.

use super::*;
use crate::auth::text;

#[test]
fn a_new_connection_is_set_up_with_env_filter_0_and_realtime_state() {
    let mut lab = Lab::new();
    lab.engine.handle_store_ready(true, lab.now);
    lab.attach(RUN, vec![]);
    assert_eq!(
        lab.sent,
        [
            Command::Version,
            Command::EnvFilterOff,
            Command::StateOn,
            Command::State,
            Command::Status,
            Command::ByteCount(22)
        ]
    );
    assert!(matches!(&lab.events[..], [Event::LinkUp { openvpn_version, .. }]
        if &**openvpn_version == "OpenVPN 2.6.14"));
    assert_eq!(lab.loads, 1);
}

#[test]
fn a_login_from_before_env_filter_0_is_to_come_again_unheard() {
    let mut lab = Lab::up();
    lab.engine.handle_lost(lab.now);
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Info { management_version: Some(5) });
    lab.say(auth(AuthKind::Connect, 0, 1, "alice"));
    assert!(lab.asked.is_empty());
    let text = text::denial(DenyReason::BackendUnavailable);
    let again = Parameter::new(&format!("TEMP[backoff 10]:{text}"));
    assert!(matches!(lab.sent.last(), Some(Command::ClientDeny { cid: Cid(0), client_reason, .. })
        if *client_reason == Some(again)));
    lab.say(Message::Version(Version { openvpn: "OpenVPN 2.6.14".into(), management: Some(5) }));
    lab.say(Message::Success("env_filter_level=0".into()));
    lab.say(auth(AuthKind::Connect, 1, 1, "alice"));
    assert_eq!(lab.asked.len(), 1);
}

#[test]
fn the_password_is_sent_once_and_a_second_prompt_means_it_is_wrong() {
    let mut lab = Lab::with_password(Some("s3cret"));
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Prompt);
    assert_eq!(lab.sent, [Command::Password(Password::from(&b"s3cret"[..]))]);
    lab.say(Message::Prompt);
    assert_eq!(lab.sent.len(), 1);
    assert_eq!(lab.faults, [LinkFault::WrongPassword]);
}

#[test]
fn a_password_without_an_answer_means_reconnect() {
    let mut lab = Lab::with_password(Some("s3cret"));
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Prompt);
    lab.pass(REPLY_TIMEOUT);
    assert_eq!(lab.faults, [LinkFault::ReplyTimeout { command: "password" }]);
}

#[test]
fn a_right_password_leads_to_the_greeting() {
    let mut lab = Lab::with_password(Some("s3cret"));
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Prompt);
    lab.say(Message::Success("password is correct".into()));
    lab.say(Message::Info { management_version: Some(5) });
    assert_eq!(lab.sent[1], Command::Version);
    assert!(lab.faults.is_empty());
}

#[test]
fn a_prompt_without_a_configured_password_is_a_clear_fault() {
    let mut lab = Lab::new();
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Prompt);
    assert_eq!(lab.faults, [LinkFault::PasswordNeeded]);
}

#[test]
fn silence_after_connecting_is_told_once_and_waited_out() {
    let mut lab = Lab::new();
    lab.engine.handle_connected(false, lab.now);
    lab.pass(GREETING_NOTICE + second());
    assert!(matches!(&lab.events[..], [Event::LinkWaiting { .. }]));
    lab.pass(Duration::from_secs(3_600));
    assert_eq!(lab.events.len(), 1);
    assert!(lab.faults.is_empty());
    lab.say(Message::Info { management_version: Some(5) });
    assert_eq!(lab.sent[0], Command::Version);
}

#[test]
fn a_held_server_is_released_only_once_the_link_is_set_up_and_the_database_answers() {
    let mut lab = Lab::new();
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Info { management_version: Some(5) });
    lab.say(Message::Hold);
    lab.say(Message::Version(Version::default()));
    lab.success();
    lab.success();
    lab.say(Message::End);
    lab.say(Message::Error("The 'status' command is not supported".into()));
    lab.success();
    assert!(lab.engine.is_ready());
    assert!(!lab.sent.contains(&Command::HoldRelease));
    lab.engine.handle_store_ready(true, lab.now);
    lab.drain();
    assert_eq!(lab.sent.last(), Some(&Command::HoldRelease));
    lab.success();
    assert!(matches!(lab.events.last(), Some(Event::HoldReleased { .. })));
}

#[test]
fn every_hold_is_released_and_late_replies_pair_up() {
    let mut lab = Lab::up();
    lab.say(Message::Hold);
    lab.say(Message::Hold);
    lab.say(Message::Success("hold release succeeded".into()));
    lab.say(Message::Success("hold release succeeded".into()));
    assert_eq!(lab.sent, [Command::HoldRelease, Command::HoldRelease]);
    assert!(lab.faults.is_empty());
    assert_eq!(lab.events.len(), 2);
}

#[test]
fn a_held_server_refuses_status_and_is_attached_all_the_same() {
    let mut lab = Lab::new();
    lab.engine.handle_store_ready(true, lab.now);
    lab.engine.handle_connected(false, lab.now);
    lab.say(Message::Info { management_version: Some(5) });
    lab.say(Message::Hold);
    lab.say(Message::Version(Version::default()));
    lab.success();
    lab.success();
    lab.say(Message::End);
    lab.say(Message::Error("The 'status' command is not supported".into()));
    lab.success();
    lab.success();
    assert!(lab.engine.is_ready());
    lab.say(Message::State(state(StateName::Connected, RUN)));
    assert_eq!(lab.loads, 1, "rows of an earlier run are closed as soon as the run is known");
    assert!(lab.faults.is_empty());
}
