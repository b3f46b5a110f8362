//! What an engine may say, told from what it was told: the rules written a second time, from the
//! server's and the clients' point of view.

mod heard;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use ovpn_warden::{
    auth::request::{Decision, RequestKind},
    engine::{Output, Ticket, UTC_RECHECK},
    proto::{AuthKind, Command, Message, RefusedBlock, RejectKind, StateName},
    store::{SessionRecord, SessionState},
    types::{Cid, Kid, Mono, Now, SessionId, Timestamp},
};

use super::super::command::are_read_as_meant;

/// How much later than its deadline a session may be found open: one comparison with UTC.
const TICK: Duration = Duration::from_secs(UTC_RECHECK.as_secs() + 1);

pub(super) struct Shadow {
    auth_timeout: Duration,
    challenge_timeout: Duration,
    /// Counts connections.
    connection: u32,
    is_connected: bool,
    is_greeted: bool,
    /// What earlier connections told is known to be of this run.
    is_confirmed: bool,
    /// A prompt came and is not answered.
    is_prompted: bool,
    run: Option<Timestamp>,
    /// Commands without a reply: whether each was `state`.
    commands: VecDeque<Asked>,
    /// The last question of each client on this run.
    questions: BTreeMap<Cid, Question>,
    /// Clients of this run, with the connection that told of them.
    clients: BTreeMap<Cid, u32>,
    /// Let in by us; of those, up.
    approved: BTreeSet<Cid>,
    /// When they were last told to go.
    killed: BTreeMap<Cid, Mono>,
    up: BTreeSet<Cid>,
    tickets: BTreeMap<Ticket, Verdict>,
    last_serial: u64,
    rows: BTreeMap<SessionId, SessionRecord>,
    /// Rows that this engine holds.
    held: BTreeSet<SessionId>,
    /// Since when nothing disturbed the clocks and the link.
    calm_since: Mono,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    State,
    Status,
    Relayed,
    EnvFilter,
    /// A verdict on that client.
    Verdict(Cid),
    Other,
}

#[derive(Debug, Clone)]
struct Question {
    kind: Kind,
    kid: Kid,
    user: Vec<u8>,
    at: Mono,
    connection: u32,
    ticket: Option<Ticket>,
    /// How long the answer may take from `at` on.
    patience: Duration,
    /// The client was asked for a code, or has answered.
    challenge: Option<CodeAsked>,
    is_answered: bool,
    /// It came before the reply to `env-filter 0`: not to be judged.
    is_unfiltered: bool,
    /// An answer is due in time: the list does not say that the client is gone or another.
    is_due: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CodeAsked {
    Waits,
    Answered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connect,
    Reauth,
    /// A block that was refused.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    None,
    Cancelled,
    Allowed,
    Denied,
    /// Denied, for a reason that is not the client's.
    Undecided,
    /// To be asked for a code.
    Challenged,
}

impl Shadow {
    pub(super) fn new(auth_timeout: Duration, challenge_timeout: Duration) -> Self {
        Self {
            auth_timeout,
            challenge_timeout,
            connection: 0,
            is_connected: false,
            is_greeted: false,
            is_confirmed: false,
            is_prompted: false,
            run: None,
            commands: VecDeque::new(),
            questions: BTreeMap::new(),
            clients: BTreeMap::new(),
            approved: BTreeSet::new(),
            killed: BTreeMap::new(),
            up: BTreeSet::new(),
            tickets: BTreeMap::new(),
            last_serial: 0,
            rows: BTreeMap::new(),
            held: BTreeSet::new(),
            calm_since: Mono::default(),
        }
    }

    // What happens around the engine.

    pub(super) fn connected(&mut self, now: Now) {
        self.connection += 1;
        self.is_connected = true;
        self.calm_since = now.mono;
    }

    pub(super) fn lost(&mut self) {
        self.is_connected = false;
        self.is_greeted = false;
        self.is_confirmed = false;
        self.is_prompted = false;
        // Nobody knows whether they arrived: they may be sent again.
        for asked in std::mem::take(&mut self.commands) {
            self.is_unconfirmed(Some(asked));
        }
        self.forget_who_is_up();
    }

    fn is_unconfirmed(&mut self, asked: Option<Asked>) {
        if let Some(Asked::Verdict(cid)) = asked
            && let Some(question) = self.questions.get_mut(&cid)
        {
            question.is_answered = false;
            question.is_due = false;
        }
    }

    pub(super) fn restarted(&mut self, rows: BTreeMap<SessionId, SessionRecord>) {
        self.lost();
        self.end_run();
        self.run = None;
        self.tickets.clear();
        self.last_serial = 0;
        self.held.clear();
        self.rows = rows;
    }

    pub(super) fn clock_was_set(&mut self, now: Now) {
        self.calm_since = now.mono;
    }

    pub(super) fn row_of_others(&mut self, row: SessionRecord) {
        self.rows.insert(row.id, row);
    }

    pub(super) fn decided(&mut self, ticket: Ticket, decision: &Decision) {
        let verdict = self.tickets.get_mut(&ticket).expect("a decision on nothing");
        if *verdict == Verdict::None {
            *verdict = match decision {
                Decision::Allow(_) => Verdict::Allowed,
                Decision::Deny(denial) if denial.reason.is_temporary() => Verdict::Undecided,
                Decision::Deny(_) => Verdict::Denied,
                Decision::Challenge(_) => Verdict::Challenged,
            };
        }
    }

    // What the engine says.

    pub(super) fn output(&mut self, output: &Output, now: Now) {
        match output {
            Output::Send(command) => self.sent(command, now),
            Output::Authenticate(ticket, request) => {
                assert!(self.is_connected, "a question without a connection");
                assert!(ticket.serial > self.last_serial, "a ticket comes twice");
                assert!(self.is_of_this_run(ticket.cid), "a question for nobody: {ticket:?}");
                self.last_serial = ticket.serial;
                self.tickets.insert(*ticket, Verdict::None);
                if !matches!(request.kind, RequestKind::Adopt { .. }) {
                    let question = self.questions.get_mut(&ticket.cid).expect("nobody asked");
                    if let Some(before) = question.ticket {
                        assert_eq!(self.tickets[&before], Verdict::Challenged, "asked twice");
                        assert_eq!(question.challenge.take(), Some(CodeAsked::Answered));
                        assert!(request.password.is_none() && request.response.code().is_some());
                        (question.at, question.patience) = (now.mono, self.auth_timeout);
                    }
                    if request.is_other {
                        question.patience = self.auth_timeout * 7 / 4;
                    }
                    question.ticket = Some(*ticket);
                }
            }
            Output::CancelAuth(ticket) => {
                let verdict = self.tickets.get_mut(ticket).expect("nothing to cancel");
                // An adoption that could not be decided waits to be asked again.
                let waits = matches!(verdict, Verdict::None | Verdict::Undecided);
                assert!(waits, "{ticket:?} is cancelled after {verdict:?}");
                *verdict = Verdict::Cancelled;
            }
            Output::Persist(record) => self.stored(record),
            Output::MarkServer(server) => {
                assert!(self.is_connected, "{server:?} is seen without a connection");
            }
            Output::LoadOpenSessions => {
                assert!(self.is_connected, "open sessions are asked for without a connection");
            }
            Output::Abandon(session) => {
                assert!(!self.rows.contains_key(session), "the place of {session} is given away");
            }
            Output::Report(_) => {}
            Output::Relayed(_, _, is_last) => {
                // Without a link the answer comes at once.
                if *is_last && self.is_connected && self.commands.front() == Some(&Asked::Relayed) {
                    self.commands.pop_front();
                }
            }
            Output::Reconnect(fault) => {
                assert!(self.is_connected, "{fault} without a connection");
            }
        }
    }

    fn sent(&mut self, command: &Command, now: Now) {
        assert!(self.is_connected, "{command:?} without a connection");
        if let Command::Password(_) = command {
            assert!(!self.is_greeted, "a password after the greeting");
            assert!(std::mem::take(&mut self.is_prompted), "a password without a prompt");
            return;
        }
        assert!(self.is_greeted, "{command:?} before the greeting");
        are_read_as_meant(std::slice::from_ref(command));
        self.commands.push_back(if let Command::Relayed(_) = command {
            Asked::Relayed
        } else if *command == Command::EnvFilterOff {
            Asked::EnvFilter
        } else if let Command::ClientAuth { cid, .. }
        | Command::ClientAuthNt { cid, .. }
        | Command::ClientDeny { cid, .. } = command
        {
            Asked::Verdict(*cid)
        } else if *command == Command::State {
            Asked::State
        } else if *command == Command::Status {
            Asked::Status
        } else {
            Asked::Other
        });
        match command {
            Command::ClientAuth { cid, kid, .. } => {
                self.approve(*cid, Kind::Connect, *kid, now);
                self.approved.insert(*cid);
            }
            Command::ClientAuthNt { cid, kid } => self.approve(*cid, Kind::Reauth, *kid, now),
            Command::ClientPendingAuth { cid, wait, .. } => {
                // The approval follows, or the client's answer.
                let patience = self.challenge_timeout;
                let verdict = self.open_question(*cid).ticket.map(|ticket| self.tickets[&ticket]);
                let question = self.open_question(*cid);
                assert!(wait.is_none_or(|(kid, _)| kid == question.kid), "{command:?}");
                if verdict == Some(Verdict::Challenged) {
                    assert_eq!((question.kind, question.challenge), (Kind::Connect, None));
                    question.challenge = Some(CodeAsked::Waits);
                    (question.at, question.patience) = (now.mono, patience);
                }
            }
            Command::ClientDeny { cid, kid, .. } => {
                self.answer(*cid, *kid);
            }
            Command::ClientKill { cid, .. } => {
                assert!(self.is_of_this_run(*cid), "{command:?} kills nobody of this run");
                self.killed.insert(*cid, now.mono);
                // Who is ended needs no answer.
                if let Some(question) = self.questions.get_mut(cid) {
                    question.is_due = false;
                }
            }
            Command::Password(_)
            | Command::Version
            | Command::EnvFilterOff
            | Command::StateOn
            | Command::State
            | Command::ByteCount(_)
            | Command::Status
            | Command::Log(_)
            | Command::Relayed(_)
            | Command::HoldRelease => {}
        }
    }

    /// An approval, which was decided.
    fn approve(&mut self, cid: Cid, kind: Kind, kid: Kid, now: Now) {
        let question = self.answer(cid, kid);
        assert!(kind == Kind::Reauth || !question.is_unfiltered, "{cid} is approved unfiltered");
        assert_eq!(question.kind, kind, "the approval of another question: {cid} {kid}");
        let is_late = now.mono >= question.at + self.auth_timeout;
        let verdict = question.ticket.map_or(Verdict::None, |ticket| self.tickets[&ticket]);
        let is_fine = match verdict {
            Verdict::Allowed => true,
            // A renegotiation that nobody could decide goes on as before.
            Verdict::Undecided => kind == Kind::Reauth,
            Verdict::None | Verdict::Cancelled => {
                kind == Kind::Reauth && (is_late || question.is_unfiltered)
            }
            Verdict::Denied | Verdict::Challenged => false,
        };
        assert!(is_fine, "{cid} {kid} is approved after {verdict:?}");
    }

    /// The question that this is the answer to.
    fn answer(&mut self, cid: Cid, kid: Kid) -> Question {
        let question = self.open_question(cid);
        assert_eq!(question.kid, kid, "an answer to another key");
        question.is_answered = true;
        question.clone()
    }

    /// The question of a client that can be answered: announced on this run, the client's last,
    /// and not answered before.
    fn open_question(&mut self, cid: Cid) -> &mut Question {
        assert!(self.is_of_this_run(cid), "an answer to {cid}, who is not of this run");
        let is_known = self.is_confirmed;
        let question = self.questions.get_mut(&cid).expect("an answer to no question");
        assert!(!question.is_answered, "a second answer: {question:?}");
        assert!(
            question.connection == self.connection || is_known,
            "an answer on a run that may be over: {question:?}"
        );
        question
    }

    fn is_of_this_run(&self, cid: Cid) -> bool {
        self.clients
            .get(&cid)
            .is_some_and(|connection| *connection == self.connection || self.is_confirmed)
    }

    fn stored(&mut self, record: &SessionRecord) {
        let is_closed = record.state == SessionState::Closed;
        assert_eq!(record.ended_at.is_some(), is_closed, "{record:?}");
        let needs_cause = is_closed || record.state == SessionState::Closing;
        assert!(!needs_cause || record.cause.is_some(), "{record:?}");
        assert!(record.ended_at.is_none_or(|at| at >= record.started_at), "{record:?}");
        if let Some(before) = self.rows.get(&record.id) {
            assert!(record.version > before.version, "{before:?} then {record:?}");
            assert_ne!(before.state, SessionState::Closed, "a closed row: {record:?}");
            assert!(record.bytes_received >= before.bytes_received, "{record:?}");
            assert!(record.bytes_sent >= before.bytes_sent, "{record:?}");
            assert_eq!(
                (&record.user, record.cid, record.run_started, record.started_at),
                (&before.user, before.cid, before.run_started, before.started_at)
            );
        }
        self.rows.insert(record.id, record.clone());
        self.held.insert(record.id);
    }

    // What must be done by now.

    /// A block that was refused and names its client is denied at once.
    pub(super) fn nothing_refused_waits(&self) {
        let waits = |question: &Question| {
            question.kind == Kind::Refused
                && question.connection == self.connection
                && question.is_due
                && !question.is_answered
        };
        assert!(!self.questions.values().any(waits), "a refused block is not denied");
    }

    /// Every timer that was due has run.
    pub(super) fn time_has_passed(&self, now: Now) {
        if !self.is_connected || !self.is_greeted {
            return;
        }
        for (cid, question) in &self.questions {
            // One that cannot be judged may be of a client in doubt: it waits until the run is known.
            let is_open = !question.is_answered
                && question.is_due
                && (self.is_confirmed || !question.is_unfiltered)
                && self.is_of_this_run(*cid);
            assert!(
                !is_open
                    || question.kind == Kind::Refused
                    || now.mono < question.at + question.patience,
                "{cid} got no answer in time: {question:?}"
            );
        }
        if !self.is_confirmed || now.mono - self.calm_since <= TICK {
            return;
        }
        for record in self.rows.values().filter(|record| self.held.contains(&record.id)) {
            let is_up = matches!(record.state, SessionState::Pending | SessionState::Active);
            let is_killed = self.killed.get(&record.cid).is_some_and(|at| now.mono - *at < TICK);
            let is_late = record.deadline.is_some_and(|at| now.utc.saturating_since(at) > TICK);
            assert!(
                !(is_up && is_late && !is_killed && self.is_of_this_run(record.cid)),
                "nobody ends a session whose time is over: {record:?}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use ovpn_warden::proto::{AuthEvent, Env};

    use super::*;

    const NOW: Now = Now { mono: Mono(Duration::from_secs(9)), utc: Timestamp::from_secs(9) };
    const TICKET: Ticket = Ticket { cid: Cid(0), serial: 1 };

    /// A shadow that heard CONNECT 0,1 and what was decided on it.
    fn shadow(verdict: Verdict) -> Shadow {
        let mut shadow = Shadow::new(Duration::from_secs(8), Duration::from_secs(45));
        shadow.connected(NOW);
        shadow.heard(&Message::Info { management_version: None }, NOW);
        shadow.heard(&connect(), NOW);
        shadow.tickets.insert(TICKET, verdict);
        shadow.questions.get_mut(&Cid(0)).unwrap().ticket = Some(TICKET);
        shadow
    }

    fn connect() -> Message {
        let (env, kind) = (Env::default(), AuthKind::Connect);
        Message::Auth(AuthEvent { kind, cid: Cid(0), kid: Kid(1), env })
    }

    fn approve(shadow: &mut Shadow) {
        let command = Command::ClientAuth { cid: Cid(0), kid: Kid(1), config: Vec::new() };
        shadow.output(&Output::Send(command), NOW);
    }

    #[test]
    fn one_approval_of_an_allowed_client_is_fine() {
        approve(&mut shadow(Verdict::Allowed));
    }

    #[test]
    #[should_panic = "a second answer"]
    fn a_second_answer_is_a_fault() {
        let mut shadow = shadow(Verdict::Allowed);
        approve(&mut shadow);
        approve(&mut shadow);
    }

    #[test]
    #[should_panic = "Denied"]
    fn an_approval_after_a_denial_is_a_fault() {
        approve(&mut shadow(Verdict::Denied));
    }

    #[test]
    #[should_panic = "not of this run"]
    fn an_approval_after_a_restart_is_a_fault() {
        let mut shadow = shadow(Verdict::Allowed);
        let line = b">STATE:9,RECONNECTING,SIGUSR1,,,,,\r\n";
        let mut buffer = bytes::BytesMut::from(&line[..]);
        let mut codec = ovpn_warden::proto::ManagementCodec::default();
        let state = tokio_util::codec::Decoder::decode(&mut codec, &mut buffer).unwrap().unwrap();
        shadow.heard(&state, NOW);
        approve(&mut shadow);
    }

    #[test]
    #[should_panic = "not of this run"]
    fn an_approval_on_a_new_connection_before_the_run_is_known_is_a_fault() {
        let mut shadow = shadow(Verdict::Allowed);
        shadow.lost();
        shadow.connected(NOW);
        shadow.heard(&Message::Info { management_version: None }, NOW);
        approve(&mut shadow);
    }

    #[test]
    #[should_panic = "without a connection"]
    fn a_command_without_a_connection_is_a_fault() {
        let mut shadow = shadow(Verdict::Allowed);
        shadow.lost();
        approve(&mut shadow);
    }

    #[test]
    #[should_panic = "got no answer in time"]
    fn a_client_without_an_answer_is_a_fault() {
        let late = Now { mono: NOW.mono + Duration::from_secs(8), ..NOW };
        shadow(Verdict::None).time_has_passed(late);
    }
}
