//! The engine against a scripted server, in virtual time.

mod accounting;
mod attach;
mod challenge;
mod limits;
mod login;
mod memory;
mod reconcile;
mod relay;
mod renegotiation;
mod replies;
mod review;
mod sessions;
mod simulation;
mod wake_up;
mod warning;

use std::time::Duration;

use super::{
    CommandOutcome, DEPARTURE_GRACE, Engine, GREETING_NOTICE, KILL_RETRY, LinkFault, Output,
    REPLY_TIMEOUT, Settings, Ticket,
};
use crate::{
    auth::{
        imprint::{Imprint, Imprinter},
        request::{AuthRequest, Claimed, Decision, Denial, Grant, RequestKind},
        terms::Terms,
    },
    proto::{
        AuthEvent, AuthKind, Command, ConfigLine, Env, KillMessage, Message, Parameter,
        RefusedBlock, RejectKind, Rejected, State, StateName, StatusClient, StatusReport, Version,
    },
    store::{
        CommandAction, CommandId, OpenSession, ServerRecord, SessionCommand, SessionRecord,
        SessionState,
    },
    telemetry::events::Event,
    types::{Cause, Cid, DenyReason, Kid, Mono, Now, Password, SessionId, Timestamp, Zone},
};

const RUN: i64 = 1_795_435_003;

struct Lab {
    engine: Engine,
    now: Now,
    sent: Vec<Command>,
    asked: Vec<(Ticket, AuthRequest)>,
    cancelled: Vec<Ticket>,
    abandoned: Vec<SessionId>,
    rows: Vec<SessionRecord>,
    marks: Vec<ServerRecord>,
    events: Vec<Event>,
    loads: usize,
    faults: Vec<LinkFault>,
    relayed: Vec<(u64, String, bool)>,
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
            imprinter: Imprinter::new(Password::new(vec![7; 32])),
            auth_timeout: Duration::from_secs(8),
            device_sources: ["UV_CLIENT_MAC".parse().unwrap()].into(),
            accounting_interval: Duration::from_secs(30),
            accounting_first: Duration::from_millis(7_500),
            warn_before: None,
            time_zone: Zone::default(),
            backstop: Duration::from_secs(30),
            retry_backoff_s: 10,
            wake_up: false,
            challenge_timeout: Duration::from_secs(45),
        };
        Self {
            engine: Engine::new(settings),
            now: Now { mono: Mono(Duration::from_secs(100)), utc: Timestamp::from_secs(RUN + 100) },
            sent: Vec::new(),
            asked: Vec::new(),
            cancelled: Vec::new(),
            abandoned: Vec::new(),
            rows: Vec::new(),
            marks: Vec::new(),
            events: Vec::new(),
            loads: 0,
            faults: Vec::new(),
            relayed: Vec::new(),
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
        self.engine.handle_connected(false, self.now);
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
        let rows = rows.into_iter().map(OpenSession::from).collect();
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
                Output::Abandon(session) => self.abandoned.push(session),
                Output::LoadOpenSessions => self.loads += 1,
                Output::Persist(record) => self.rows.push(*record),
                Output::MarkServer(server) => self.marks.push(*server),
                Output::Report(event) => self.events.push(event),
                Output::Reconnect(fault) => self.faults.push(fault),
                Output::Relayed(id, line, is_last) => {
                    self.relayed.push((id.0, String::from_utf8(line.into()).unwrap(), is_last));
                }
            }
        }
    }

    fn forget(&mut self) {
        self.sent.clear();
        self.asked.clear();
        self.rows.clear();
        self.marks.clear();
        self.events.clear();
    }

    /// Time goes by while this program does not run.
    fn sleep(&mut self, duration: Duration) {
        let Now { mono, utc } = self.now;
        self.now = Now { mono: mono + duration, utc: utc.saturating_add(duration) };
    }

    /// Lets time pass, waking the engine whenever it asks for it.
    fn pass(&mut self, duration: Duration) {
        let end = self.now.mono + duration;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            let step = at - self.now.mono;
            self.now = Now { mono: self.now.mono + step, utc: self.now.utc.saturating_add(step) };
            self.engine.handle_timeout(self.now);
            self.drain();
            // Behind `status` it waits for that reply.
            let is_alone = !self.sent.ends_with(&[Command::Status, Command::State]);
            if !self.is_dead && is_alone && self.sent.last() == Some(&Command::State) {
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
    env.set_password(Password::from(&b"pw"[..]));
    Message::Auth(AuthEvent { kind, cid: Cid(cid), kid: Kid(kid), env })
}

fn limited(deadline: Option<Timestamp>) -> Terms {
    Terms {
        deadline,
        deadline_reason: deadline.map(|_| Cause::SessionLimit),
        latest: deadline,
        ..Terms::default()
    }
}

fn grant(now: Now, serial: u64, seconds: Option<u64>) -> Grant {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&serial.to_be_bytes());
    Grant {
        proven: stored(),
        has_place: true,
        session_id: SessionId::new(now.utc, random),
        terms: limited(seconds.map(|s| now.utc.saturating_add(Duration::from_secs(s)))),
        is_offline: false,
        config: Vec::new(),
        second_factor: None,
    }
}

/// The hash that passwords are compared with.
fn stored() -> Option<Imprint> {
    Imprinter::new(Password::new(vec![9; 32])).of(b"$argon2id$")
}

fn listed(cid: u32, user: &str, address: &str) -> StatusClient {
    StatusClient {
        cid: Cid(cid),
        username: Some(user.as_bytes().into()),
        common_name: user.as_bytes().into(),
        real_address: "udp4:192.0.2.9:40001".into(),
        virtual_address: address.into(),
        virtual_ipv6: "".into(),
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

impl Lab {
    /// As `establish`, while an older command still waits for its reply.
    fn establish_without_reply(&mut self, cid: u32, user: &str) {
        let ticket = self.connect(cid, user);
        self.decide(ticket, Decision::Allow(grant(self.now, ticket.serial, None)));
    }
}
