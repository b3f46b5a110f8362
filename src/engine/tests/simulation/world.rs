//! Chance, faults, and the shadow model.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::super::*;
use super::openvpn::{Deed, OpenVpn};
use crate::store::CommandAction;

/// From the question to the answer at the latest, with what the model adds.
const ANSWER: Duration = Duration::from_secs(10);

/// What a client deserves and what became of it.
#[derive(Debug, Default)]
struct Truth {
    /// Its password and device are right.
    is_good: bool,
    is_disabled: bool,
    /// The oracle said yes, no, or could not say.
    was_allowed: bool,
    was_denied: bool,
    /// The longest its question has waited.
    asked: Option<Mono>,
    limit: Option<Duration>,
    /// When its session has to end, by each clock.
    deadline: Option<Timestamp>,
    deadline_mono: Option<Mono>,
    earliest_end: Option<Mono>,
    was_admitted: bool,
    is_killed_by_admin: bool,
    /// Its answer or its row may be lost: the daemon was killed, or the link, at the wrong moment.
    is_in_doubt: bool,
}

/// How much has happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub admitted: u64,
    pub renewed: u64,
    pub denied: u64,
    pub killed: u64,
    pub adopted: u64,
    pub restarts: u64,
    pub crashes: u64,
}

impl Tally {
    pub fn counts(&self) -> [u64; 7] {
        let Self { admitted, renewed, denied, killed, adopted, restarts, crashes } = *self;
        [admitted, renewed, denied, killed, adopted, restarts, crashes]
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            admitted: self.admitted + other.admitted,
            renewed: self.renewed + other.renewed,
            denied: self.denied + other.denied,
            killed: self.killed + other.killed,
            adopted: self.adopted + other.adopted,
            restarts: self.restarts + other.restarts,
            crashes: self.crashes + other.crashes,
        }
    }
}

pub struct World {
    pub tally: Tally,
    rng: StdRng,
    engine: Engine,
    openvpn: OpenVpn,
    now: Now,
    questions: Vec<(Ticket, AuthRequest)>,
    is_loading: bool,
    /// Read from the database, on the way to the engine.
    loaded: Option<Vec<SessionRecord>>,
    rows: BTreeMap<SessionId, SessionRecord>,
    backlog: BTreeMap<SessionId, SessionRecord>,
    database_is_up: bool,
    truths: HashMap<String, Truth>,
    serial: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let lab = Lab::new();
        let mut engine = lab.engine;
        // A policy may lengthen sessions beyond it: `sessions` has the renewal that follows.
        engine.settings.backstop = Duration::from_secs(86_400);
        engine.settings.wake_up = rng.random();
        engine.handle_store_ready(true, lab.now);
        Self {
            tally: Tally::default(),
            rng,
            engine,
            openvpn: OpenVpn::default(),
            now: lab.now,
            questions: Vec::new(),
            is_loading: false,
            loaded: None,
            rows: BTreeMap::new(),
            backlog: BTreeMap::new(),
            database_is_up: true,
            truths: HashMap::new(),
            serial: 0,
        }
    }

    /// One thing happens.
    pub fn step(&mut self) {
        match self.rng.random_range(0..1_000) {
            0..100 => self.client_connects(),
            100..150 => self.client_renegotiates(),
            150..180 => self.client_leaves(),
            180..190 => self.disable_somebody(),
            190..200 => self.command_somebody(),
            200..450 => self.repeat(8, Self::deliver_message),
            450..600 => self.repeat(8, Self::deliver_command),
            600..730 => self.repeat(4, Self::deliver_decision),
            730..800 => self.deliver_rows(),
            800..850 => self.flush(),
            850..920 => {
                let millis = self.rng.random_range(1..3_000);
                self.pass(Duration::from_millis(millis));
            }
            920..925 => {
                let seconds = self.rng.random_range(1..90);
                self.pass(Duration::from_secs(seconds));
            }
            925..975 => self.link(),
            975..982 => self.unlink(),
            982..986 => self.restart_openvpn(),
            986..989 => self.kill_daemon(),
            989..993 => {
                self.database_is_up = false;
                self.engine.handle_store_ready(false, self.now);
            }
            993..998 => self.database_comes_up(),
            _ => self.step_clock(),
        }
        self.drain();
    }

    /// Up to so many times.
    fn repeat(&mut self, times: usize, what: impl Fn(&mut Self)) {
        for _ in 0..self.rng.random_range(1..=times) {
            what(self);
        }
    }

    /// No new fault; after a while everything is as it should be.
    pub fn rest_and_audit(&mut self) {
        self.database_comes_up();
        let start = self.now.mono;
        for round in 0..240 {
            if round == 40 {
                self.audit_waiting(start);
            }
            self.link();
            while !self.openvpn.said.is_empty() || !self.openvpn.heard.is_empty() {
                self.deliver_message();
                self.deliver_command();
            }
            while !self.questions.is_empty() {
                self.deliver_decision();
            }
            self.deliver_rows();
            self.flush();
            self.pass(Duration::from_millis(500));
        }
        self.audit();
    }

    /// Everybody who waited before `start` has been answered, or is made to log in again.
    fn audit_waiting(&self, start: Mono) {
        for instance in self.openvpn.instances.values() {
            // A renegotiation that was asked while nobody listened is not asked again.
            let waits = matches!(instance.asked, Some((RequestKind::Connect, at)) if at < start);
            let leaves = instance.ends.is_some_and(|at| at <= self.now.mono + KILL_RETRY);
            assert!(!waits || leaves, "20 s after the last fault: {instance:?}");
        }
    }

    fn audit(&self) {
        assert!(self.engine.is_ready(), "the link is up");
        assert_eq!(self.engine.reconciled, crate::engine::Reconciled::Yes, "reconciled");
        let run = self.openvpn.run.expect("the server was released");
        let mut open: HashMap<&str, &SessionRecord> = HashMap::new();
        let mut users = BTreeSet::new();
        for row in self.rows.values() {
            assert!(users.insert(row.user.as_str()), "one row for one session: {row:?}");
            if row.state == SessionState::Closed {
                assert!(row.ended_at.is_some_and(|end| end >= row.started_at), "{row:?}");
                assert!(row.cause.is_some(), "{row:?}");
            } else {
                open.insert(row.user.as_str(), row);
            }
            if let Some((_, bytes)) = self.openvpn.gone.get(row.user.as_str()) {
                assert!(row.bytes_received <= *bytes, "{row:?}");
            }
        }
        for (cid, instance) in &self.openvpn.instances {
            let truth = &self.truths[&instance.user];
            let row = open.remove(instance.user.as_str());
            if !instance.is_up {
                let waits = instance.asked.map(|(_, since)| self.now.mono - since);
                assert!(waits.is_none_or(|time| time < ANSWER), "{instance:?} waits for {waits:?}");
                continue;
            }
            let row = row.unwrap_or_else(|| panic!("no open row for {instance:?}"));
            assert_eq!((row.run_started, row.cid), (run, Cid(*cid)), "{row:?}");
            // A daemon that was killed has only UTC to go by, and that may have been set back.
            let over = match truth.is_in_doubt {
                false => truth.deadline_mono.map(|at| self.now.mono - at),
                true => row.deadline.map(|at| self.now.utc.saturating_since(at)),
            };
            assert!(over.is_none_or(|over| over < Duration::from_secs(10)), "overstays: {row:?}");
        }
        // One that left a moment ago is still on its way.
        open.retain(|user, _| {
            let gone = self.openvpn.gone.get(*user);
            gone.is_none_or(|(at, _)| self.now.utc.saturating_since(*at) > Duration::from_secs(2))
        });
        assert!(open.is_empty(), "left open: {open:?}");
    }

    /// The shadow model's judgement on what a command did.
    fn judge(&mut self, deed: Deed) {
        match deed {
            Deed::Admitted(user) => {
                self.tally.admitted += 1;
                let now = self.now;
                assert!(!self.openvpn.unheard.contains(&user), "{user} was admitted unfiltered");
                let truth = self.truth(&user);
                assert!(truth.is_good && truth.was_allowed, "{user} was admitted: {truth:?}");
                truth.was_admitted = true;
                truth
                    .deadline_mono
                    .get_or_insert(now.mono + truth.limit.unwrap_or(Duration::MAX / 4));
            }
            Deed::Renewed(user) => {
                self.tally.renewed += 1;
                let truth = self.truth(&user);
                assert!(truth.was_admitted, "{user} was renewed: {truth:?}");
            }
            Deed::Denied(user) => {
                self.tally.denied += 1;
                let now = self.now.mono;
                let is_unheard = self.openvpn.unheard.contains(&user);
                let truth = self.truth(&user);
                let was_late =
                    truth.asked.is_some_and(|since| since + Duration::from_secs(8) <= now);
                assert!(truth.was_denied || was_late || is_unheard, "{user} was denied: {truth:?}");
            }
            Deed::Killed(user) => {
                self.tally.killed += 1;
                let now = self.now;
                let truth = self.truth(&user);
                let is_over = truth.earliest_end.is_some_and(|at| at <= now.mono)
                    || truth.deadline.is_some_and(|at| at <= now.utc)
                    || truth.deadline_mono.is_some_and(|at| at <= now.mono);
                let may = is_over
                    || truth.is_killed_by_admin
                    || truth.is_disabled
                    || truth.was_denied
                    || !truth.was_admitted
                    || truth.is_in_doubt;
                assert!(may, "{user} was killed at {now:?}: {truth:?}");
            }
        }
    }

    fn truth(&mut self, user: &str) -> &mut Truth {
        self.truths.get_mut(user).expect("a user of this world")
    }

    fn client_connects(&mut self) {
        if self.openvpn.run.is_none() {
            return;
        }
        self.serial += 1;
        let user = format!("u{}", self.serial);
        let limit = self.rng.random_bool(0.7).then(|| self.rng.random_range(5..600));
        let truth = Truth {
            is_good: self.rng.random_bool(0.75),
            limit: limit.map(Duration::from_secs),
            asked: Some(self.now.mono),
            ..Truth::default()
        };
        self.truths.insert(user.clone(), truth);
        self.openvpn.connect(user, self.now);
    }

    fn somebody(&mut self, wanted: impl Fn(&super::openvpn::Instance) -> bool) -> Option<u32> {
        let found: Vec<u32> = self
            .openvpn
            .instances
            .iter()
            .filter(|(_, instance)| wanted(instance))
            .map(|(cid, _)| *cid)
            .collect();
        (!found.is_empty()).then(|| found[self.rng.random_range(0..found.len())])
    }

    fn client_renegotiates(&mut self) {
        let Some(cid) = self.somebody(|i| i.is_up && i.ends.is_none()) else { return };
        let instance = &self.openvpn.instances[&cid];
        let (user, connected_since) = (instance.user.clone(), instance.since);
        let now = self.now;
        self.truth(&user).asked = Some(now.mono);
        self.openvpn.ask(cid, RequestKind::Reauth { connected_since, is_extended: false }, now);
    }

    fn client_leaves(&mut self) {
        if let Some(cid) = self.somebody(|_| true) {
            self.openvpn.remove(cid, true, self.now);
        }
    }

    fn disable_somebody(&mut self) {
        if let Some(cid) = self.somebody(|_| true) {
            let user = self.openvpn.instances[&cid].user.clone();
            self.truth(&user).is_disabled = true;
        }
    }

    fn command_somebody(&mut self) {
        let rows: Vec<_> = self.rows.values().filter(|row| row.ended_at.is_none()).collect();
        if rows.is_empty() {
            return;
        }
        let row = rows[self.rng.random_range(0..rows.len())];
        let (session, user) = (row.id, row.user.as_str().to_owned());
        let deadline = self.now.utc.saturating_add(Duration::from_secs(300));
        let is_kill = self.rng.random();
        let action = if is_kill {
            CommandAction::Kill { reason: None }
        } else {
            CommandAction::Extend { deadline }
        };
        let command = SessionCommand {
            user: None,
            id: CommandId(1),
            session,
            server: row.server.clone(),
            actor: "test".into(),
            action,
        };
        // One that is being ended is not extended.
        let is_known = self.engine.clients.of_session(session).is_some_and(|cid| {
            self.engine.clients.get(cid).is_some_and(|client| client.closing.is_none())
        });
        let outcome = self.engine.handle_command(&command, self.now);
        if outcome == CommandOutcome::Handled && is_known {
            let mono = self.now.mono + Duration::from_secs(300);
            let truth = self.truth(&user);
            if is_kill {
                truth.is_killed_by_admin = true;
            } else {
                truth.deadline = Some(deadline);
                truth.deadline_mono = Some(mono);
                truth.earliest_end = None;
            }
        }
    }

    fn deliver_message(&mut self) {
        if let Some(message) = self.openvpn.said.pop_front() {
            self.engine.handle_message(message, self.now);
            self.drain();
        }
    }

    fn deliver_command(&mut self) {
        if let Some(deed) = self.openvpn.execute(self.now) {
            self.judge(deed);
        }
    }

    fn deliver_decision(&mut self) {
        if self.questions.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..self.questions.len());
        let (ticket, request) = self.questions.swap_remove(index);
        let decision = self.decide(&request);
        self.engine.handle_decision(ticket, decision, self.now);
        self.drain();
    }

    fn decide(&mut self, request: &AuthRequest) -> Decision {
        let Claimed::Valid(user) = &request.user else { panic!("{request:?}") };
        let (now, database_is_up) = (self.now, self.database_is_up);
        self.serial += 1;
        let serial = self.serial;
        let truth = self.truth(user.as_str());
        let reason = if !database_is_up {
            Some(DenyReason::BackendUnavailable)
        } else if truth.is_disabled {
            Some(DenyReason::AccountDisabled)
        } else if !truth.is_good && !matches!(request.kind, RequestKind::Adopt { .. }) {
            Some(DenyReason::BadCredentials)
        } else {
            None
        };
        if let Some(reason) = reason {
            truth.was_denied = true;
            return reason.into();
        }
        truth.was_allowed = true;
        let from = match request.kind {
            RequestKind::Connect => now.utc,
            RequestKind::Reauth { connected_since, .. }
            | RequestKind::Adopt { connected_since } => connected_since,
        };
        let mut grant = grant(now, serial, None);
        grant.terms = limited(truth.limit.map(|limit| from.saturating_add(limit)));
        if truth.deadline.is_none() || !truth.was_admitted {
            truth.deadline = grant.terms.deadline;
            truth.deadline_mono = truth.limit.map(|limit| now.mono + limit);
        }
        Decision::Allow(grant)
    }

    fn deliver_rows(&mut self) {
        if let Some(rows) = self.loaded.take() {
            let rows = rows.into_iter().map(OpenSession::from).collect();
            self.engine.handle_open_sessions(rows, self.now);
            self.drain();
        } else if self.is_loading && self.database_is_up && self.backlog.is_empty() {
            self.is_loading = false;
            let open = self.rows.values().filter(|row| row.state != SessionState::Closed);
            self.loaded = Some(open.cloned().collect());
        }
    }

    fn forget_load(&mut self) {
        self.is_loading = false;
        self.loaded = None;
    }

    /// The writer's rule: a lower version never overwrites, a closed row is final.
    fn flush(&mut self) {
        if !self.database_is_up {
            return;
        }
        for (id, row) in std::mem::take(&mut self.backlog) {
            let stored = self.rows.get(&id);
            if stored.is_none_or(|old| old.version < row.version && old.ended_at.is_none()) {
                self.rows.insert(id, row);
            }
        }
    }

    fn link(&mut self) {
        if !self.openvpn.is_linked {
            self.openvpn.link();
            self.engine.handle_connected(false, self.now);
            self.drain();
        }
    }

    fn unlink(&mut self) {
        if self.openvpn.is_linked {
            self.openvpn.unlink();
            self.forget_load();
            self.engine.handle_lost(self.now);
            self.drain();
        }
    }

    fn restart_openvpn(&mut self) {
        self.tally.restarts += 1;
        self.pass(Duration::from_secs(2));
        if self.rng.random_bool(0.3) {
            self.unlink(); // a crash
        }
        // Commands are read within milliseconds; what the engine says to events of the old run that
        // it reads later meets a held server.
        while !self.openvpn.heard.is_empty() {
            self.deliver_command();
        }
        let with_disconnects = self.rng.random();
        self.openvpn.restart(with_disconnects, self.now);
    }

    fn kill_daemon(&mut self) {
        self.tally.crashes += 1;
        self.openvpn.unlink();
        self.questions.clear();
        self.forget_load();
        self.backlog.clear();
        self.truths.values_mut().for_each(|truth| truth.is_in_doubt = true);
        let settings = self.engine.settings.clone();
        self.engine = Engine::new(settings);
        self.engine.handle_store_ready(self.database_is_up, self.now);
    }

    fn database_comes_up(&mut self) {
        self.database_is_up = true;
        self.engine.handle_store_ready(true, self.now);
        self.drain();
    }

    fn step_clock(&mut self) {
        for truth in self.truths.values_mut() {
            // A clock that is set back does not lengthen a session.
            let end = truth.deadline.map(|at| self.now.mono + at.saturating_since(self.now.utc));
            truth.earliest_end = truth.earliest_end.into_iter().chain(end).min();
        }
        let step = Duration::from_secs(self.rng.random_range(1..7_200));
        self.now.utc = if self.rng.random() {
            self.now.utc.saturating_add(step)
        } else {
            self.now.utc.saturating_sub(step)
        };
    }

    /// Lets time pass, waking the engine whenever it asks for it.
    fn pass(&mut self, duration: Duration) {
        let end = self.now.mono + duration;
        while self.now.mono < end {
            let slice = (self.now.mono + Duration::from_secs(1)).min(end);
            let until = self.engine.poll_timeout().map_or(slice, |at| at.min(slice));
            let step = until - self.now.mono;
            self.now = Now { mono: self.now.mono + step, utc: self.now.utc.saturating_add(step) };
            self.openvpn.pass(self.now);
            self.engine.handle_timeout(self.now);
            self.drain();
            for _ in 0..3 {
                if self.engine.poll_timeout().is_some_and(|at| at <= self.now.mono) {
                    self.engine.handle_timeout(self.now);
                    self.drain();
                }
            }
            let next = self.engine.poll_timeout();
            assert!(next.is_none_or(|at| at > self.now.mono), "a timer that never ends: {next:?}");
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send(command) => {
                    assert!(self.openvpn.is_linked, "{command:?} without a link");
                    self.openvpn.heard.push_back(command);
                }
                Output::Authenticate(ticket, request) => self.questions.push((ticket, *request)),
                Output::CancelAuth(ticket) => self.questions.retain(|(t, _)| *t != ticket),
                Output::Abandon(_) => {}
                Output::Persist(row) => {
                    let old = self.backlog.get(&row.id).map_or(0, |old| old.version);
                    assert!(row.version > old, "versions grow: {row:?}");
                    self.backlog.insert(row.id, *row);
                }
                Output::MarkServer(server) => {
                    assert!(self.openvpn.is_linked, "{server:?} is seen without a link");
                }
                Output::Relayed(..) => panic!("nobody has asked"),
                Output::LoadOpenSessions => {
                    self.is_loading = true;
                    self.loaded = None;
                }
                Output::Report(event) => {
                    self.tally.adopted += u64::from(matches!(event, Event::SessionAdopted { .. }));
                }
                Output::Reconnect(_) => {
                    self.openvpn.unlink();
                    self.forget_load();
                    self.engine.handle_lost(self.now);
                }
            }
        }
    }
}
