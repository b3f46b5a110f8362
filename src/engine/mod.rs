//! All that one OpenVPN server connection has to remember. A core: it never awaits.
//!
//! The shell calls `handle_*(…, now)`, then drains [`Engine::poll_output`] to `None` and arms a
//! timer for [`Engine::poll_timeout`]. One engine lives as long as its server is configured, over
//! every reconnect. `attach` brings a connection up, `accounting` stores what was carried, `replies` pairs answers with commands,
//! `clients` holds who is there, `login` asks about CONNECT and REAUTH and `answer` answers, `challenge` asks clients for a code, `live` is a session and its limits, `session` ends
//! sessions, `reconcile` compares with `status 3` and the database.

mod accounting;
mod answer;
mod attach;
mod challenge;
mod clients;
mod io;
mod live;
mod login;
mod reconcile;
mod relay;
mod replies;
mod review;
mod session;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    auth::{device::DeviceSource, imprint::Imprinter},
    proto::{Command, Message, StatusClient},
    store::SessionRecord,
    telemetry::events::Event,
    types::{Cid, Mono, Now, Password, ServerName, SessionId, Timestamp, Zone},
};

use attach::Phase;
use clients::Clients;
use replies::{Expect, Replies};
use review::Ended;
use session::{Departed, LeftUnknown};

pub use accounting::first_round;
pub use io::{Carried, CommandOutcome, LinkFault, Output, RelayId, Review, Ticket};

/// How long a reply may take before the connection is given up: OpenVPN answers within
/// milliseconds unless it hangs.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after connecting before operators are told that another client holds the port.
pub const GREETING_NOTICE: Duration = Duration::from_secs(3);
/// Pause between two kills. OpenVPN removes a killed instance after 5 s, and before 2.6.11 a
/// second kill in that time starts the 5 s anew.
pub const KILL_RETRY: Duration = Duration::from_secs(7);
/// How often the server tells byte counts where a session's counters have limits, in seconds.
pub const CLOSE_COUNT_S: u32 = 5;
/// A DISCONNECT this close before the end of a run belongs to it.
pub const DEPARTURE_GRACE: Duration = Duration::from_millis(300);
/// Deadlines are held against UTC at least this often, for clock steps and suspends.
pub const UTC_RECHECK: Duration = Duration::from_secs(60);
/// Pause before `status` is asked again after a list that cannot be trusted, and before an
/// adoption that the database could not answer is tried again.
pub const STATUS_RETRY: Duration = Duration::from_secs(5);
/// Room for outputs, and for clients that have just left, that an engine keeps.
const OUTPUTS_KEPT: usize = 16;
/// Clients that left unknown, of which the times are remembered.
const MOST_LEFT_UNKNOWN: usize = 65_536;
/// A username longer than this is refused unseen: it would cut `status` (protocol notes, 3.4).
pub const LONGEST_USERNAME: usize = 255;

/// What an engine is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server's name.
    pub server: ServerName,
    /// Where it is, for log lines.
    pub address: Arc<str>,
    /// The management password.
    pub password: Option<Password>,
    /// By what renegotiations are known to be of the client that was let in.
    pub imprinter: Imprinter,
    /// Longest time from CONNECT to our answer.
    pub auth_timeout: Duration,
    /// Where the device id is, in order.
    pub device_sources: Arc<[DeviceSource]>,
    /// What a session carries in so long, a crash may lose.
    pub accounting_interval: Duration,
    /// The first round of accounting after the link is up, [`first_round`]: servers take turns, so
    /// that the database has even work.
    pub accounting_first: Duration,
    /// How long before the deadline the end is announced; `None`: never.
    pub warn_before: Option<Duration>,
    /// Where days begin, until a session's policy is known.
    pub time_zone: Zone,
    /// How much later than the deadline OpenVPN itself ends a session.
    pub backstop: Duration,
    /// What a temporarily denied client is told to wait, in seconds.
    pub retry_backoff_s: u32,
    /// Whether an approval is preceded by `client-pending-auth`, which makes OpenVPN act on it at once.
    pub wake_up: bool,
    /// How long a client may take to answer a question for a code.
    pub challenge_timeout: Duration,
}

/// State of one server's link. See the module's documentation.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    phase: Phase,
    /// The server waits for `hold release`.
    is_held: bool,
    store_is_ready: bool,
    /// The last question of the connection before this one.
    last_serial: u64,
    /// From the greeting or `version`; `None` until known.
    management_version: Option<u32>,
    openvpn_version: Arc<str>,
    /// When the server's present run began; names it. `None` until known.
    run: Option<Timestamp>,
    /// `state` has not answered on this connection: nobody knows whether `run` still holds.
    awaits_run: bool,
    /// The server has said something since the last accounting.
    was_heard: bool,
    /// When it said something last.
    heard_at: Timestamp,
    /// Counts the rounds of accounting.
    round: u32,
    /// How often the server tells byte counts on this connection, in seconds.
    count_interval_s: u32,
    /// Somebody reads the server's log over our connection.
    wants_log: bool,
    /// The server said that it exits.
    is_stopping: bool,
    replies: Replies,
    clients: Clients,
    /// Clients that `status` shows and we do not know; they wait for the database's rows.
    strays: BTreeMap<Cid, StatusClient>,
    reconciled: Reconciled,
    /// `status` has answered with a whole list on this connection.
    status_is_known: bool,
    /// Sessions that were closed since the open ones were asked for.
    closed_meanwhile: HashSet<SessionId>,
    departed: VecDeque<Departed>,
    /// Clients that we did not know and that left before the comparison.
    left_unknown: HashMap<Cid, LeftUnknown>,
    /// Open rows of this server whose sessions nobody here knows, and when the comparison is to be
    /// made again for them; `None`: it was.
    unknown_rows: HashMap<SessionId, Option<Mono>>,
    /// Sessions that ended here a short while ago: their rows may be read as open.
    ended: Ended,
    outputs: VecDeque<Output>,
    /// What sessions have carried and nobody has taken note of yet.
    carried: Carried,
    serial: u64,
    timers: Timers,
    /// `utc - mono` at the last check, in milliseconds: shows clock steps.
    clock_offset_ms: Option<i64>,
}

/// How far the comparison after an attach has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reconciled {
    /// `status` has not answered.
    No,
    /// `status` is known; the database's open sessions are asked for.
    Loading,
    /// Done.
    Yes,
}

#[derive(Debug, Default)]
struct Timers {
    greeting: Option<Mono>,
    accounting: Option<Mono>,
    utc_recheck: Option<Mono>,
    status: Option<Mono>,
    unknown_rows: Option<Mono>,
}

impl Engine {
    /// An engine without a connection.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            phase: Phase::Down,
            is_held: false,
            store_is_ready: false,
            last_serial: 0,
            management_version: None,
            openvpn_version: "".into(),
            run: None,
            awaits_run: true,
            was_heard: false,
            heard_at: Timestamp::default(),
            round: 0,
            count_interval_s: 0,
            wants_log: false,
            is_stopping: false,
            replies: Replies::default(),
            clients: Clients::default(),
            strays: BTreeMap::new(),
            reconciled: Reconciled::No,
            status_is_known: false,
            closed_meanwhile: HashSet::new(),
            departed: VecDeque::new(),
            left_unknown: HashMap::new(),
            unknown_rows: HashMap::new(),
            ended: Ended::default(),
            outputs: VecDeque::new(),
            carried: Carried::default(),
            serial: 0,
            timers: Timers::default(),
            clock_offset_ms: None,
        }
    }

    /// Something the server said.
    pub fn handle_message(&mut self, message: Message, now: Now) {
        self.was_heard = true;
        self.heard_at = now.utc;
        match message {
            Message::Prompt => self.on_prompt(now),
            Message::Info { management_version } => self.on_info(management_version, now),
            Message::Hold => self.on_hold(now),
            Message::Fatal(text) => {
                self.report(Event::ServerFatal { server: self.server(), text });
            }
            // Before its greeting a server says nothing else that counts.
            Message::State(_)
            | Message::Auth(_)
            | Message::Established { .. }
            | Message::Disconnect { .. }
            | Message::Address { .. }
            | Message::ByteCount { .. }
                if !self.can_send() => {}
            Message::State(state) => self.on_state(state, now),
            Message::Auth(event) => self.on_auth_event(event, now),
            Message::Established { cid, env } => self.on_established(cid, &env, now),
            Message::Disconnect { cid, env } => self.on_disconnect(cid, &env, now),
            Message::Address { cid, address, primary } => self.on_address(cid, &address, primary),
            Message::ByteCount { cid, bytes_received, bytes_sent } => {
                self.on_byte_count(cid, bytes_received, bytes_sent, now);
            }
            Message::Rejected(rejected) => self.on_rejected(rejected, now),
            Message::Success(_)
            | Message::Error(_)
            | Message::Version(_)
            | Message::Status(_)
            | Message::StateHistory(_)
            | Message::End => self.on_reply(message, now),
            Message::Relayed(line) => self.on_relayed(line, now),
            Message::Log | Message::Notify | Message::Other(_) => {}
        }
    }

    /// The next thing for the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // What a moment with much to do needed is given back: there may be hundreds of links.
            self.outputs.shrink_to(OUTPUTS_KEPT);
        }
        output
    }

    /// When [`Self::handle_timeout`] is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Mono> {
        [
            self.timers.greeting,
            self.timers.accounting,
            self.timers.utc_recheck,
            self.timers.status,
            self.timers.unknown_rows,
            self.replies.timeout(),
            self.clients.next_due(),
            self.departed.front().map(|departed| departed.due),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        if take_due(&mut self.timers.greeting, now) {
            self.notice_silence();
        }
        if let Some(what) = self.replies.overdue(now.mono) {
            self.fail(LinkFault::ReplyTimeout { command: what });
            return;
        }
        self.check_clock(now);
        while let Some(cid) = self.clients.pop_due(now.mono) {
            self.on_client_due(cid, now);
        }
        while self.departed.front().is_some_and(|departed| departed.due <= now.mono) {
            if let Some(departed) = self.departed.pop_front() {
                self.close_departed(departed, None);
            }
        }
        if self.departed.is_empty() {
            // All clients of a server may have left at once.
            self.departed.shrink_to(OUTPUTS_KEPT);
        }
        self.ended.forget_old(now.mono);
        if take_due(&mut self.timers.status, now) {
            self.ask_status(now);
        }
        if take_due(&mut self.timers.unknown_rows, now) {
            self.compare_again(now);
        }
        if take_due(&mut self.timers.accounting, now) {
            self.account(now);
        }
    }

    /// What sessions have carried since this was asked last.
    pub fn take_carried(&mut self) -> Carried {
        std::mem::take(&mut self.carried)
    }

    /// The number of sessions that are up or being ended.
    pub fn session_count(&self) -> usize {
        self.clients.session_count()
    }

    /// Whether the connection is up and its set-up commands are answered.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// The server's version of the management protocol, once it is known.
    pub fn management_version(&self) -> Option<u32> {
        self.management_version
    }

    fn server(&self) -> ServerName {
        self.settings.server.clone()
    }

    fn report(&mut self, event: Event) {
        self.outputs.push_back(Output::Report(event));
    }

    fn persist(&mut self, record: &SessionRecord) {
        self.outputs.push_back(Output::Persist(Box::new(record.clone())));
    }

    fn send(&mut self, command: Command, expect: Expect, now: Now) {
        self.replies.push(expect, now.mono);
        self.outputs.push_back(Output::Send(command));
    }

    /// Gives the connection up; the shell connects again and everything is compared anew.
    fn fail(&mut self, fault: LinkFault) {
        if self.phase != Phase::Down {
            self.phase = Phase::Down;
            self.replies.clear();
            self.outputs.push_back(Output::Reconnect(fault));
        }
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A client that has to be looked at again when its next deadline comes.
    fn arm(&mut self, cid: Cid) {
        self.clients.arm(cid);
        if self.timers.utc_recheck.is_none() && self.clients.session_count() > 0 {
            self.timers.utc_recheck = Some(Mono::default());
        }
    }

    /// Deadlines run on the monotonic clock; a step of UTC moves them.
    fn check_clock(&mut self, now: Now) {
        if !take_due(&mut self.timers.utc_recheck, now) {
            return;
        }
        let offset = clock_offset_ms(now);
        // Slewing moves a clock by at most 30 ms a minute; more is a step.
        if self.clock_offset_ms.is_some_and(|old| (offset - old).abs() > 500) {
            self.rearm_sessions(now);
        }
        self.clock_offset_ms = Some(offset);
        if self.clients.session_count() > 0 {
            self.timers.utc_recheck = Some(now.mono + UTC_RECHECK);
        }
    }
}

/// `utc - mono`, in milliseconds.
fn clock_offset_ms(now: Now) -> i64 {
    now.utc.as_millis() - i64::try_from(now.mono.0.as_millis()).unwrap_or(0)
}

fn take_due(timer: &mut Option<Mono>, now: Now) -> bool {
    let due = timer.is_some_and(|at| at <= now.mono);
    if due {
        *timer = None;
    }
    due
}

#[cfg(test)]
mod tests;
