//! The engine against a scripted server, in virtual time.

use std::time::Duration;

use super::{
    CommandOutcome, DEPARTURE_GRACE, Engine, GREETING_NOTICE, KILL_RETRY, LinkFault, Output,
    REPLY_TIMEOUT, Settings, Ticket,
};
use crate::{
    auth::request::{AuthRequest, Claimed, Decision, Denial, Grant, RequestKind},
    proto::{
        AuthEvent, AuthKind, Command, ConfigLine, Env, KillMessage, Message, Parameter, RejectKind,
        Rejected, State, StateName, StatusClient, StatusReport, Version,
    },
    store::{CommandAction, CommandId, SessionCommand, SessionRecord, SessionState},
    telemetry::events::Event,
    types::{Cause, Cid, DenyReason, ExpiryAction, Kid, Mono, Now, Password, SessionId, Timestamp},
};

const RUN: i64 = 1_795_435_003;

struct Lab {
    engine: Engine,
    now: Now,
    sent: Vec<Command>,
    asked: Vec<(Ticket, AuthRequest)>,
    cancelled: Vec<Ticket>,
    rows: Vec<SessionRecord>,
    events: Vec<Event>,
    loads: usize,
    faults: Vec<LinkFault>,
    /// The server does not answer when it is asked whether it is there.
    is_dead: bool,
}

impl Lab {
    fn new() -> Self {
        Self::with_password(None)
    }

    fn with_password(password: Option<&str>) -> Self {
        let settings = Settings {
            server: "udp".parse().unwrap(),
            address: "tcp://127.0.0.1:7505".into(),
            password: password.map(|p| Password::from(p.as_bytes())),
            auth_timeout: Duration::from_secs(8),
            device_sources: ["UV_CLIENT_MAC".parse().unwrap()].into(),
            accounting_interval: Duration::from_secs(30),
            backstop: Duration::from_secs(30),
            retry_backoff_s: 10,
        };
        Self {
            engine: Engine::new(settings),
            now: Now { mono: Mono(Duration::from_secs(100)), utc: Timestamp::from_secs(RUN + 100) },
            sent: Vec::new(),
            asked: Vec::new(),
            cancelled: Vec::new(),
            rows: Vec::new(),
            events: Vec::new(),
            loads: 0,
            faults: Vec::new(),
            is_dead: false,
        }
    }

    /// A link that is up, reconciled and without clients.
    fn up() -> Self {
        let mut lab = Self::new();
        lab.engine.handle_store_ready(true, lab.now);
        lab.attach(RUN, vec![]);
        lab.load(vec![]);
        lab.forget();
        lab
    }

    fn attach(&mut self, run: i64, clients: Vec<StatusClient>) {
        self.engine.handle_connected(self.now);
        self.say(Message::Info { management_version: Some(5) });
        self.say(Message::Version(Version {
            openvpn: "OpenVPN 2.6.14".into(),
            management: Some(5),
        }));
        self.say(Message::Success("env_filter_level=0".into()));
        self.say(Message::Success("real-time state".into()));
        self.say(Message::StateHistory(vec![state(StateName::Connected, run)]));
        self.say(Message::Status(StatusReport { clients }));
        self.say(Message::Success("bytecount".into()));
    }

    fn load(&mut self, rows: Vec<SessionRecord>) {
        self.engine.handle_open_sessions(rows, self.now);
        self.drain();
    }

    fn say(&mut self, message: Message) {
        self.engine.handle_message(message, self.now);
        self.drain();
    }

    fn success(&mut self) {
        self.say(Message::Success("client-auth command succeeded".into()));
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send(command) => self.sent.push(command),
                Output::Authenticate(ticket, request) => self.asked.push((ticket, *request)),
                Output::CancelAuth(ticket) => self.cancelled.push(ticket),
                Output::LoadOpenSessions => self.loads += 1,
                Output::Persist(record) => self.rows.push(*record),
                Output::Report(event) => self.events.push(event),
                Output::Reconnect(fault) => self.faults.push(fault),
            }
        }
    }

    fn forget(&mut self) {
        self.sent.clear();
        self.asked.clear();
        self.rows.clear();
        self.events.clear();
    }

    /// Lets time pass, waking the engine whenever it asks for it.
    fn pass(&mut self, duration: Duration) {
        let end = self.now.mono + duration;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            let step = at - self.now.mono;
            self.now = Now { mono: self.now.mono + step, utc: self.now.utc.saturating_add(step) };
            self.engine.handle_timeout(self.now);
            self.drain();
            if !self.is_dead && self.sent.last() == Some(&Command::State) {
                self.sent.pop();
                self.say(Message::StateHistory(vec![state(StateName::Connected, RUN)]));
            }
        }
        let step = end - self.now.mono;
        self.now = Now { mono: end, utc: self.now.utc.saturating_add(step) };
    }

    fn connect(&mut self, cid: u32, user: &str) -> Ticket {
        self.say(auth(AuthKind::Connect, cid, 1, user));
        self.asked.last().unwrap().0
    }

    fn decide(&mut self, ticket: Ticket, decision: Decision) {
        self.engine.handle_decision(ticket, decision, self.now);
        self.drain();
    }

    fn allow_until(&mut self, ticket: Ticket, seconds: Option<u64>) -> SessionId {
        let grant = grant(self.now, ticket.serial, seconds);
        let id = grant.session_id;
        self.decide(ticket, Decision::Allow(grant));
        self.success();
        id
    }

    /// A client with a session of so many seconds.
    fn establish(&mut self, cid: u32, user: &str, seconds: u64) -> SessionId {
        let ticket = self.connect(cid, user);
        let id = self.allow_until(ticket, Some(seconds));
        self.say(Message::Address { cid: Cid(cid), address: "10.8.0.6".into(), primary: true });
        self.say(Message::Established { cid: Cid(cid), env: Env::default() });
        id
    }

    fn last_row(&self) -> &SessionRecord {
        self.rows.last().unwrap()
    }

    fn verdicts(&self, cid: u32) -> usize {
        self.sent
            .iter()
            .filter(|command| {
                matches!(command,
                    Command::ClientAuth { cid: c, .. }
                    | Command::ClientAuthNt { cid: c, .. }
                    | Command::ClientDeny { cid: c, .. } if *c == Cid(cid))
            })
            .count()
    }

    fn kills(&self, cid: u32) -> usize {
        self.sent
            .iter()
            .filter(|c| matches!(c, Command::ClientKill { cid: c, .. } if *c == Cid(cid)))
            .count()
    }
}

fn state(name: StateName, at: i64) -> State {
    State { at: Timestamp::from_secs(at), name }
}

fn auth(kind: AuthKind, cid: u32, kid: u32, user: &str) -> Message {
    let mut env = Env::default();
    for (key, value) in [
        ("username", user),
        ("common_name", user),
        ("untrusted_ip", "192.0.2.9"),
        ("untrusted_port", "40001"),
        ("UV_CLIENT_MAC", "02:1a:2b:3c:4d:5e"),
        ("IV_PROTO", "990"),
        ("IV_VER", "2.6.14"),
        ("IV_PLAT", "linux"),
    ] {
        env.push(key.as_bytes(), value.as_bytes());
    }
    let password = Some(Password::from(&b"pw"[..]));
    Message::Auth(Box::new(AuthEvent { kind, cid: Cid(cid), kid: Kid(kid), env, password }))
}

fn grant(now: Now, serial: u64, seconds: Option<u64>) -> Grant {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&serial.to_be_bytes());
    Grant {
        session_id: SessionId::new(now.utc, random),
        deadline: seconds.map(|s| now.utc.saturating_add(Duration::from_secs(s))),
        deadline_reason: seconds.map(|_| Cause::SessionLimit),
        expiry_action: ExpiryAction::Halt,
    }
}

fn listed(cid: u32, user: &str, address: &str) -> StatusClient {
    StatusClient {
        cid: Cid(cid),
        username: Some(user.as_bytes().into()),
        common_name: user.as_bytes().into(),
        real_address: "udp4:192.0.2.9:40001".into(),
        virtual_address: address.into(),
        bytes_received: 5_000,
        bytes_sent: 6_000,
        connected_since: Timestamp::from_secs(RUN + 10),
    }
}

fn bytes_env(received: u64, sent: u64) -> Env {
    let mut env = Env::default();
    env.push(b"bytes_received", received.to_string().as_bytes());
    env.push(b"bytes_sent", sent.to_string().as_bytes());
    env
}

fn disconnect(cid: u32) -> Message {
    Message::Disconnect { cid: Cid(cid), env: bytes_env(11, 22) }
}

fn second() -> Duration {
    Duration::from_secs(1)
}

// --- attach ---

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
            Command::ByteCount(30)
        ]
    );
    assert!(matches!(&lab.events[..], [Event::LinkUp { openvpn_version, .. }]
        if &**openvpn_version == "OpenVPN 2.6.14"));
    assert_eq!(lab.loads, 1);
}

#[test]
fn the_password_is_sent_once_and_a_second_prompt_means_it_is_wrong() {
    let mut lab = Lab::with_password(Some("s3cret"));
    lab.engine.handle_connected(lab.now);
    lab.say(Message::Prompt);
    assert_eq!(lab.sent, [Command::Password(Password::from(&b"s3cret"[..]))]);
    lab.say(Message::Prompt);
    assert_eq!(lab.sent.len(), 1);
    assert_eq!(lab.faults, [LinkFault::WrongPassword]);
}

#[test]
fn a_password_without_an_answer_means_reconnect() {
    let mut lab = Lab::with_password(Some("s3cret"));
    lab.engine.handle_connected(lab.now);
    lab.say(Message::Prompt);
    lab.pass(REPLY_TIMEOUT);
    assert_eq!(lab.faults, [LinkFault::ReplyTimeout { command: "password" }]);
}

#[test]
fn a_right_password_leads_to_the_greeting() {
    let mut lab = Lab::with_password(Some("s3cret"));
    lab.engine.handle_connected(lab.now);
    lab.say(Message::Prompt);
    lab.say(Message::Success("password is correct".into()));
    lab.say(Message::Info { management_version: Some(5) });
    assert_eq!(lab.sent[1], Command::Version);
    assert!(lab.faults.is_empty());
}

#[test]
fn a_prompt_without_a_configured_password_is_a_clear_fault() {
    let mut lab = Lab::new();
    lab.engine.handle_connected(lab.now);
    lab.say(Message::Prompt);
    assert_eq!(lab.faults, [LinkFault::PasswordNeeded]);
}

#[test]
fn silence_after_connecting_is_told_once_and_waited_out() {
    let mut lab = Lab::new();
    lab.engine.handle_connected(lab.now);
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
    lab.engine.handle_connected(lab.now);
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
    lab.engine.handle_connected(lab.now);
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

// --- replies ---

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

// --- login ---

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
    lab.engine.handle_connected(lab.now);
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
    assert!(
        matches!(&lab.sent[..], [Command::ClientDeny { cid: Cid(4), kid: Kid(1), reason, client_reason: Some(text) }]
        if *reason == Parameter::new("device_unknown")
            && *text == Parameter::new("This device is not registered for you; ask your administrator to add it"))
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
fn a_rejected_block_that_names_its_client_is_denied() {
    let mut lab = Lab::up();
    lab.say(Message::Rejected(Rejected {
        kind: RejectKind::DuplicateKey,
        client: Some((Cid(30), Kid(1))),
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
    lab.say(Message::Rejected(Rejected { kind: RejectKind::BadId, client: None, offset: 12 }));
    assert!(lab.sent.is_empty());
}

#[test]
fn an_overlong_username_is_denied_without_asking_the_database() {
    let mut lab = Lab::up();
    lab.say(auth(AuthKind::Connect, 4, 1, &"x".repeat(900)));
    assert!(lab.asked.is_empty());
    assert_eq!(lab.verdicts(4), 1);
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

// --- renegotiation ---

#[test]
fn a_renegotiation_keeps_the_session_and_takes_no_configuration() {
    let mut lab = Lab::up();
    let id = lab.establish(4, "alice", 3_600);
    lab.forget();
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    assert!(matches!(lab.asked[0].1.kind, RequestKind::Reauth { .. }));
    let ticket = lab.asked[0].0;
    lab.allow_until(ticket, Some(9_999));
    assert_eq!(lab.sent, [Command::ClientAuthNt { cid: Cid(4), kid: Kid(3) }]);
    assert!(lab.rows.is_empty(), "neither a new row nor a new deadline");
    assert!(matches!(&lab.events[..], [Event::AuthAllowed { reauth: true, session_id, .. }]
        if *session_id == Some(id)));
}

#[test]
fn a_denied_renegotiation_also_kills_because_the_old_key_stays_valid() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.forget();
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    let ticket = lab.asked[0].0;
    lab.decide(ticket, DenyReason::AccountDisabled.into());
    assert_eq!((lab.verdicts(4), lab.kills(4)), (1, 1));
    assert_eq!(lab.last_row().cause, Some(Cause::AccountDisabled));
}

#[test]
fn a_renegotiation_without_the_database_leaves_the_running_client_alone() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.forget();
    lab.say(auth(AuthKind::Reauth, 4, 3, "alice"));
    let ticket = lab.asked[0].0;
    lab.decide(ticket, DenyReason::BackendUnavailable.into());
    assert_eq!(lab.sent, [Command::ClientAuthNt { cid: Cid(4), kid: Kid(3) }]);
}

#[test]
fn a_renegotiation_of_an_unknown_client_is_checked_in_full_and_then_adopted() {
    let mut lab = Lab::up();
    lab.say(auth(AuthKind::Reauth, 999, 2, "alice"));
    let ticket = lab.asked[0].0;
    lab.allow_until(ticket, Some(600));
    assert_eq!(lab.sent, [Command::ClientAuthNt { cid: Cid(999), kid: Kid(2) }]);
    assert_eq!(lab.last_row().state, SessionState::Active);
    assert!(lab.events.iter().any(|e| matches!(e, Event::SessionAdopted { .. })));
    lab.pass(Duration::from_secs(601));
    assert!(lab.kills(999) >= 1, "its deadline holds");
}

// --- sessions ---

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
fn a_late_established_does_not_bring_a_client_back() {
    let mut lab = Lab::up();
    let ticket = lab.connect(4, "alice");
    lab.allow_until(ticket, None);
    lab.say(disconnect(4));
    lab.say(Message::Established { cid: Cid(4), env: Env::default() });
    assert_eq!(lab.engine.session_count(), 0);
    assert_eq!(lab.sent.last(), Some(&Command::Status), "the list tells whether it is there");
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
    assert_eq!(lab.sent.last(), Some(&Command::Status));
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
fn byte_counts_are_stored_once_an_interval_and_never_go_back() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.pass(Duration::from_secs(30));
    lab.forget();
    for n in [100, 300, 200] {
        lab.say(Message::ByteCount { cid: Cid(4), bytes_received: n, bytes_sent: n });
    }
    assert!(lab.rows.is_empty());
    lab.pass(Duration::from_secs(30));
    assert_eq!(lab.rows.len(), 1);
    assert_eq!(lab.last_row().bytes_received, 300);
    lab.pass(Duration::from_secs(30));
    assert_eq!(lab.rows.len(), 1, "nothing new, nothing stored");
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
        id: CommandId(1),
        session: id,
        server: "udp".parse().unwrap(),
        action,
        actor: "cli:root".into(),
    };
    let deadline = lab.now.utc.saturating_add(Duration::from_secs(100));
    let extend = command(CommandAction::Extend { deadline });
    assert_eq!(lab.engine.handle_command(&extend, lab.now), CommandOutcome::Handled);
    lab.drain();
    assert_eq!(lab.last_row().deadline, Some(deadline));
    lab.pass(Duration::from_secs(99));
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

#[test]
fn stopping_stores_everything_and_ends_nobody() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.say(Message::ByteCount { cid: Cid(4), bytes_received: 7, bytes_sent: 8 });
    lab.forget();
    lab.engine.handle_shutdown(lab.now);
    lab.drain();
    assert_eq!(lab.last_row().bytes_received, 7);
    assert_eq!(lab.last_row().state, SessionState::Active);
    assert!(lab.sent.is_empty());
}

// --- reconcile ---

/// The row that `establish` leaves in the database, as another process would find it.
fn row_of(cid: u32, user: &str, seconds: u64) -> SessionRecord {
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
fn a_connect_that_comes_before_the_run_is_known_is_answered() {
    let mut lab = Lab::up();
    lab.establish(0, "alice", 3_600);
    lab.engine.handle_lost(lab.now);
    lab.forget();
    lab.engine.handle_connected(lab.now);
    lab.say(Message::Info { management_version: Some(5) });
    let bob = lab.connect(0, "bob");
    lab.say(Message::Version(Version::default()));
    lab.success();
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
    lab.engine.handle_connected(lab.now);
    lab.say(Message::Info { management_version: Some(5) });
    lab.say(Message::Version(Version::default()));
    lab.success();
    lab.success();
    lab.say(Message::StateHistory(vec![state(StateName::Connected, RUN)]));
    lab.say(Message::Rejected(Rejected { kind: RejectKind::Status, client: None, offset: 0 }));
    lab.success();
    assert!(lab.engine.is_ready());
    assert_eq!(lab.engine.session_count(), 1);
    assert_eq!(lab.loads, 1, "rows of live clients are not judged without the list");
    lab.pass(Duration::from_secs(5));
    assert_eq!(lab.sent.last(), Some(&Command::Status));
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
    let denial = Denial { reason: DenyReason::BackendUnavailable, fault: Some("bad data".into()) };
    lab.decide(ticket, Decision::Deny(denial));
    assert!(matches!(
        &lab.events[..],
        [Event::AuthError { .. }, Event::AuthDenied { reason: DenyReason::BackendUnavailable, .. }]
    ));
}

impl Lab {
    /// As `establish`, while an older command still waits for its reply.
    fn establish_without_reply(&mut self, cid: u32, user: &str) {
        let ticket = self.connect(cid, user);
        self.decide(ticket, Decision::Allow(grant(self.now, ticket.serial, None)));
    }
}
