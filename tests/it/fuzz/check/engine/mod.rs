//! The engine, driven by a script of bytes: what the server says goes through the codec, and
//! decisions, time, losses, the database and operators come in between in any order. `shadow`
//! holds what may be sent.
//!
//! A script is lines that the server says as they stand, and orders: a small letter with its
//! bytes (see [`Lab::obey`]). It starts with a link that is up and reconciled, so that a
//! recording is a script. It ends with a server that has started again: whatever happened, the
//! link comes up and every session is closed.

mod server;
mod shadow;
mod store;

use std::{collections::BTreeMap, time::Duration};

use bytes::BytesMut;
use ovpn_warden::{
    auth::{
        device::DeviceSource,
        imprint::Imprinter,
        request::{AuthRequest, Challenge, Claimed, Decision, Denial, Grant, RequestKind},
        second_factor::response::Response,
        terms::Terms,
    },
    engine::{Engine, Output, RelayId, Settings, Ticket},
    proto::{Asked, Command, ManagementCodec, asked},
    store::{CommandAction, CommandId, OpenSession, SessionCommand},
    types::{Cause, DenyReason, ExpiryAction, Mono, Now, Password, SessionId, Timestamp, Zone},
};
use tokio_util::codec::Decoder;

use self::{server::Server, shadow::Shadow, store::Store};

/// When the first run of the server began.
const RUN: i64 = 1_795_435_003;
const AUTH_TIMEOUT: Duration = Duration::from_secs(8);
const CHALLENGE_TIMEOUT: Duration = Duration::from_secs(45);
/// Most orders and lines of a script.
const MAX_STEPS: usize = 400;
/// Most wakes of one script; after them time stands still.
const MAX_WAKES: usize = 1_000;
/// Most wakes in a row without time passing: each must get something done.
const MAX_STILL_WAKES: usize = 8;
/// Most answers at once: a script may have that many holds, each of which is released.
const MAX_ANSWERS: usize = MAX_STEPS + 256;
/// Most questions that wait for a decision.
const MAX_QUESTIONS: usize = 16;

/// Checks one input.
pub(crate) fn check(input: &[u8]) {
    let mut lab = Lab::up();
    let mut script = Script(input);
    for _ in 0..MAX_STEPS {
        match script.0 {
            [] => break,
            [b'a'..=b'z', ..] => lab.obey(&mut script),
            _ => {
                let line = script.line();
                lab.say(line);
            }
        }
    }
    lab.finish();
}

/// What is left of a script. At its end it gives zeros.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Up to and with the next LF.
    fn line(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == b'\n').map_or(self.0.len(), |at| at + 1);
        self.take(end)
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The shell around the engine, in virtual time.
struct Lab {
    settings: Settings,
    engine: Engine,
    codec: ManagementCodec,
    unread: BytesMut,
    now: Now,
    is_connected: bool,
    /// What was asked and not decided.
    questions: BTreeMap<u64, Ticket>,
    loads: usize,
    wakes: usize,
    grants: u64,
    server: Server,
    store: Store,
    shadow: Shadow,
}

impl Lab {
    fn new() -> Self {
        let sources: [DeviceSource; 1] = ["UV_CLIENT_MAC".parse().unwrap()];
        let settings = Settings {
            server: "udp".parse().unwrap(),
            address: "tcp://127.0.0.1:7505".into(),
            password: Some(Password::from(&b"secret"[..])),
            auth_timeout: AUTH_TIMEOUT,
            device_sources: sources.into(),
            accounting_interval: Duration::from_secs(30),
            accounting_first: Duration::from_secs(30),
            warn_before: Some(Duration::from_secs(300)),
            time_zone: Zone::default(),
            backstop: Duration::from_secs(30),
            retry_backoff_s: 10,
            wake_up: true,
            challenge_timeout: CHALLENGE_TIMEOUT,
            imprinter: Imprinter::new(Password::new(vec![7; 32])),
        };
        Self {
            engine: Engine::new(settings.clone()),
            settings,
            codec: ManagementCodec::default(),
            unread: BytesMut::new(),
            now: Now { mono: Mono(Duration::from_secs(100)), utc: Timestamp::from_secs(RUN + 100) },
            is_connected: false,
            questions: BTreeMap::new(),
            loads: 0,
            wakes: 0,
            grants: 0,
            server: Server::new(RUN),
            store: Store::default(),
            shadow: Shadow::new(AUTH_TIMEOUT, CHALLENGE_TIMEOUT),
        }
    }

    fn up() -> Self {
        let mut lab = Self::new();
        lab.engine.handle_store_ready(true, lab.now);
        lab.connect(false);
        lab.cooperate();
        lab.pass(Duration::from_millis(1), false);
        assert!(lab.engine.is_ready());
        lab
    }

    /// Does what one order says.
    fn obey(&mut self, script: &mut Script<'_>) {
        match script.byte() {
            // The server answers: everything, or the oldest command.
            b'a' => self.cooperate(),
            b'b' => self.answer(),
            // A client: CONNECT, REAUTH, ESTABLISHED, DISCONNECT, ADDRESS, byte counts.
            b'c' => {
                let said = self.server.connect(script.byte(), script.byte());
                self.say(&said);
            }
            b'r' => {
                let said = self.server.reauth(script.byte(), script.byte());
                self.say(&said);
            }
            b'e' => {
                let said = self.server.established(script.byte());
                self.say(&said);
            }
            b'd' => {
                let said = self.server.disconnect(script.byte());
                self.say(&said);
            }
            b'i' => {
                let said = Server::address(script.byte());
                self.say(&said);
            }
            b'n' => {
                let said = Server::byte_count(script.byte(), script.byte());
                self.say(&said);
            }
            // The server starts again; held; exits; asks for a password.
            b's' => {
                let said = self.server.restart(script.byte());
                self.say(&said);
            }
            b'j' => self.say(b">HOLD:Waiting for hold release:0\r\n"),
            b'g' => self.say(b">STATE:1795435009,EXITING,SIGTERM,,,,,\r\n"),
            b'y' => self.say(b"ENTER PASSWORD:"),
            // Bytes that end no line.
            b'w' => {
                let length = script.byte();
                let piece = script.take(length.into());
                self.say(piece);
            }
            b'v' => self.decide(script.byte(), script.byte()),
            // Time: alone, or with a server that answers.
            b't' => self.pass(duration(script.byte()), false),
            b'x' => self.pass(duration(script.byte()), true),
            // UTC is set.
            b'k' => {
                self.pass(Duration::ZERO, false);
                let seconds = i64::from(script.byte() as i8) * 30;
                self.now.utc = Timestamp::from_secs(self.now.utc.as_secs().saturating_add(seconds));
                self.shadow.clock_was_set(self.now);
            }
            b'l' => self.lose(),
            b'o' => {
                let how = script.byte();
                self.server.set_version(how >> 1);
                self.connect(how & 1 == 1);
            }
            // The database: there, not there, slow, rows of other processes, its answer.
            b'p' => {
                self.engine.handle_store_ready(script.byte() & 1 == 0, self.now);
                self.drain();
            }
            b'q' => self.store.set_slow(script.byte() & 1 == 0),
            b'f' => {
                if let Some(row) = self.store.plant(script.byte(), self.server.run, self.now) {
                    self.shadow.row_of_others(row);
                }
            }
            b'h' => self.load(),
            b'm' => self.command(script.byte(), script.byte()),
            // Another tool: asks, wants to read the log or no longer.
            b'u' => {
                let lines = [&b"status 2"[..], b"version", b"state all", b"load-stats", b"pid"];
                let how = usize::from(script.byte());
                if let Asked::Pass(command) = asked(lines[how % lines.len()]) {
                    self.engine.handle_relay(RelayId(self.grants), command, self.now);
                } else {
                    self.engine.handle_log_wanted(how.is_multiple_of(2), self.now);
                }
                self.drain();
            }
            // The daemon stops, or dies, and another begins.
            b'z' => self.restart(script.byte() & 1 == 0),
            _ => {}
        }
    }

    fn connect(&mut self, with_password: bool) {
        if self.is_connected {
            return;
        }
        self.is_connected = true;
        self.codec = ManagementCodec::default();
        self.unread.clear();
        self.shadow.connected(self.now);
        self.engine.handle_connected(false, self.now);
        self.drain();
        let said = self.server.greeting(with_password);
        self.say(&said);
    }

    fn lose(&mut self) {
        if !self.is_connected {
            return;
        }
        self.is_connected = false;
        // As the daemon: nobody waits for rows any more.
        self.loads = 0;
        self.server.forget_commands();
        self.shadow.lost();
        self.engine.handle_lost(self.now);
        self.drain();
    }

    fn say(&mut self, bytes: &[u8]) {
        if !self.is_connected {
            return;
        }
        self.unread.extend_from_slice(bytes);
        loop {
            self.codec.set_relaying(self.engine.is_relaying());
            let Some(message) = self.codec.decode(&mut self.unread).unwrap() else { return };
            self.shadow.heard(&message, self.now);
            self.engine.handle_message(message, self.now);
            self.drain();
            if !self.is_connected {
                return;
            }
            self.shadow.nothing_refused_waits();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            self.shadow.output(&output, self.now);
            match output {
                Output::Send(Command::Password(_)) => {
                    let said = self.server.greeting(false);
                    self.server.say_later(said);
                }
                Output::Send(command) => self.server.asked(command),
                Output::Authenticate(ticket, _) => {
                    self.questions.insert(ticket.serial, ticket);
                    while self.questions.len() > MAX_QUESTIONS {
                        self.questions.pop_first();
                    }
                }
                Output::CancelAuth(_)
                | Output::Abandon(_)
                | Output::Report(_)
                | Output::Relayed(..) => {}
                Output::Persist(record) => self.store.write(*record),
                Output::MarkServer(_) => {}
                Output::LoadOpenSessions => self.loads += 1,
                Output::Reconnect(_) => self.lose(),
            }
        }
    }

    /// The server's answer to the oldest command.
    fn answer(&mut self) {
        if let Some(said) = self.server.answer() {
            self.say(&said);
        }
    }

    /// Everything that was asked is answered, by the server and by the database.
    fn cooperate(&mut self) {
        let mut answers = 0;
        while self.is_connected && (self.server.owes_an_answer() || self.loads > 0) {
            answers += 1;
            assert!(answers <= MAX_ANSWERS, "answers raise questions without end");
            self.answer();
            self.load();
        }
    }

    /// Decides one of the questions that were ever asked, however late.
    fn decide(&mut self, which: u8, how: u8) {
        let which = usize::from(which).checked_rem(self.questions.len()).unwrap_or(0);
        let Some((serial, ticket)) = self.questions.iter().rev().nth(which).map(|(s, t)| (*s, *t))
        else {
            return;
        };
        self.questions.remove(&serial);
        let decision = match how {
            0..96 => Decision::Allow(self.grant(how)),
            96..104 => Decision::Challenge(Box::new(Self::challenge())),
            _ => {
                let all = DenyReason::ALL;
                Decision::Deny(Denial::new(all[usize::from(how) % all.len()]))
            }
        };
        self.shadow.decided(ticket, &decision);
        self.engine.handle_decision(ticket, decision, self.now);
        self.drain();
    }

    /// Its request is of a client that may be another than the ticket's: the engine asks it again
    /// as it is.
    fn challenge() -> Challenge {
        let user = Claimed::Valid("alice".parse().unwrap());
        let request = AuthRequest {
            holds: None,
            proven: None,
            is_other: false,
            server: "udp".parse().unwrap(),
            kind: RequestKind::Connect,
            user,
            password: None,
            token: None,
            response: Response::None,
            common_name: None,
            device: Ok(None),
            certificate: None,
            client_ip: None,
        };
        Challenge { state: "state".into(), user: "alice".parse().unwrap(), request }
    }

    fn grant(&mut self, how: u8) -> Grant {
        self.grants += 1;
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.grants.to_be_bytes());
        let limit = (!how.is_multiple_of(4)).then(|| duration(how));
        Grant {
            proven: None,
            has_place: true,
            session_id: SessionId::new(self.now.utc, random),
            terms: Terms {
                deadline: limit.map(|limit| self.now.utc.saturating_add(limit)),
                deadline_reason: limit.map(|_| Cause::SessionLimit),
                expiry_action: if how % 8 < 4 { ExpiryAction::Halt } else { ExpiryAction::Restart },
                ..Terms::default()
            },
            is_offline: false,
            config: Vec::new(),
            second_factor: None,
        }
    }

    /// Lets time pass, waking the engine whenever it asks for it.
    fn pass(&mut self, duration: Duration, with_answers: bool) {
        let end = self.now.mono + duration;
        let mut still = 0;
        while self.wakes < MAX_WAKES {
            self.wakes += 1;
            let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) else {
                self.advance(end);
                self.shadow.time_has_passed(self.now);
                return;
            };
            still = if at > self.now.mono { 0 } else { still + 1 };
            assert!(still <= MAX_STILL_WAKES, "a timer that is due comes again and again");
            self.advance(at);
            self.engine.handle_timeout(self.now);
            self.drain();
            if with_answers {
                self.cooperate();
            }
        }
    }

    fn advance(&mut self, to: Mono) {
        let step = to - self.now.mono;
        self.now = Now { mono: self.now.mono + step, utc: self.now.utc.saturating_add(step) };
    }

    /// The database's answer to the question for open sessions.
    fn load(&mut self) {
        if self.loads > 0 {
            self.loads -= 1;
            let open = self.store.open().into_iter().map(OpenSession::from).collect();
            self.engine.handle_open_sessions(open, self.now);
            self.drain();
        }
    }

    fn command(&mut self, which: u8, what: u8) {
        let Some(session) = self.store.nth(which.into()) else { return };
        if what.is_multiple_of(16) {
            self.review(session, what / 16);
            return;
        }
        let action = if what < 128 {
            CommandAction::Kill {
                reason: what.is_multiple_of(2).then(|| "x\"\\\n".repeat(what.into())),
            }
        } else {
            let seconds = i64::from(what) - 160;
            CommandAction::Extend {
                deadline: Timestamp::from_secs(self.now.utc.as_secs() + seconds),
            }
        };
        let (server, actor) = (self.settings.server.clone(), "cli:root".into());
        let command =
            SessionCommand { user: None, id: CommandId(1), session, server, action, actor };
        let _ = self.engine.handle_command(&command, self.now);
        self.drain();
    }

    /// The database says something else of a session now.
    fn review(&mut self, session: SessionId, how: u8) {
        let seconds = u64::from(how) * 20;
        let verdict = match how {
            0 => Err(Cause::AccountDisabled),
            1 => Err(Cause::DeviceBlocked),
            _ => Ok(Terms {
                deadline: (how < 15)
                    .then(|| self.now.utc.saturating_add(Duration::from_secs(seconds))),
                deadline_reason: Some(Cause::SessionLimit),
                ..Terms::default()
            }),
        };
        self.engine.handle_reviews(vec![(session, verdict.map(Some))], self.now);
        self.drain();
    }

    fn restart(&mut self, in_order: bool) {
        if in_order {
            self.engine.handle_shutdown();
            self.drain();
            self.store.set_slow(false);
        }
        self.is_connected = false;
        self.loads = 0;
        self.questions.clear();
        self.server.forget_commands();
        self.store.lose_unwritten();
        self.shadow.restarted(self.store.rows());
        self.engine = Engine::new(self.settings.clone());
        self.engine.handle_store_ready(true, self.now);
        self.drain();
    }

    /// A sane server, started again, sets everything right.
    fn finish(&mut self) {
        self.lose();
        self.wakes = 0;
        self.pass(Duration::from_millis(1), false);
        self.store.set_slow(false);
        self.engine.handle_store_ready(true, self.now);
        self.drain();
        self.server = Server::new(self.server.run + 1_000_000);
        self.connect(false);
        self.cooperate();
        self.pass(Duration::from_secs(1), true);
        assert!(self.engine.is_ready(), "the link does not come up again");
        assert_eq!(self.engine.session_count(), 0, "sessions of a run that is over");
        assert_eq!(self.store.open(), [], "rows of a run that is over");
        self.engine.handle_shutdown();
        self.drain();
    }
}

/// From nothing to ten minutes, with the engine's own times among them.
fn duration(byte: u8) -> Duration {
    const MILLIS: [u64; 16] = [
        0, 1, 299, 300, 1_000, 3_000, 5_000, 7_000, 8_000, 9_999, 10_000, 30_000, 61_000, 130_000,
        180_000, 600_000,
    ];
    Duration::from_millis(MILLIS[usize::from(byte % 16)])
}
