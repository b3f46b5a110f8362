//! What `top` knows and shows. Core: looks, keys and the time in, actions out.

use std::{cmp::Ordering, collections::HashMap, time::Duration};

use super::{
    dialog::Dialog,
    history::History,
    metrics::Scrape,
    traffic::{Flow, Rate},
};
use crate::{
    store::{CommandAction, SessionRecord},
    types::{DeviceId, Now, Printable, ServerName, SessionId, Timestamp},
};

/// How it may look on this terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub color: bool,
    /// Beyond ASCII.
    pub unicode: bool,
}

/// What does not change while it runs.
#[derive(Debug, Clone)]
pub struct Setup {
    pub look: Look,
    /// Only this server.
    pub server: Option<ServerName>,
    /// Those that are configured.
    pub servers: Vec<ServerName>,
    /// How often the daemon stores byte counts.
    pub accounting: Duration,
}

/// What the database holds.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub sessions: Vec<SessionRecord>,
    /// Why others are not among them.
    pub unreadable: Option<String>,
}

impl Found {
    /// The first of them, and a word about the others.
    pub fn of_at_most(mut self, most: usize) -> Self {
        if self.sessions.len() > most {
            self.sessions.truncate(most);
            let text = format!("there are more than {most}; --server shows one server's");
            self.unreadable =
                Some(self.unreadable.map_or(text.clone(), |e| format!("{text}; {e}")));
        }
        self
    }
}

/// One of the two sources.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Source {
    /// The last time that it answered.
    pub at: Option<Now>,
    /// Why it does not answer.
    pub error: Option<String>,
}

impl Source {
    fn heard<T>(&mut self, heard: &Result<T, String>, now: Now) {
        self.error = heard.as_ref().err().map(|error| plain(error));
        if heard.is_ok() {
            self.at = Some(now);
        }
    }
}

/// A session with what it carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub session: SessionRecord,
    pub rate: Option<Rate>,
}

impl Row {
    pub fn device(&self) -> String {
        self.session.device.as_ref().map_or_else(|| "-".into(), DeviceId::to_string)
    }

    pub const fn bytes(&self) -> u64 {
        self.session.bytes_received.saturating_add(self.session.bytes_sent)
    }

    /// Time that is left; `None` without a deadline.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        self.session.deadline.map(|deadline| deadline.saturating_since(now))
    }
}

/// By what sessions are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Left,
    User,
    Device,
    Server,
    Rate,
    Bytes,
    Started,
}

impl Sort {
    const ALL: [Self; 7] = [
        Self::Left,
        Self::User,
        Self::Device,
        Self::Server,
        Self::Rate,
        Self::Bytes,
        Self::Started,
    ];

    fn step(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or_default();
        Self::ALL[(at + by) % Self::ALL.len()]
    }

    pub fn next(self) -> Self {
        self.step(1)
    }

    pub fn previous(self) -> Self {
        self.step(Self::ALL.len() - 1)
    }

    /// Whether a person wants the greatest first.
    const fn begins_at_the_top(self) -> bool {
        matches!(self, Self::Rate | Self::Bytes | Self::Started)
    }

    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let (x, y) = (&a.session, &b.session);
        let by = match self {
            // Without a deadline: last.
            Self::Left => {
                x.deadline.is_none().cmp(&y.deadline.is_none()).then(x.deadline.cmp(&y.deadline))
            }
            Self::User => x.user.cmp(&y.user),
            Self::Device => a.device().cmp(&b.device()),
            Self::Server => x.server.cmp(&y.server),
            Self::Rate => rate(a).total_cmp(&rate(b)),
            Self::Bytes => a.bytes().cmp(&b.bytes()),
            Self::Started => x.started_at.cmp(&y.started_at),
        };
        if self.begins_at_the_top() { by.reverse() } else { by }
    }
}

fn rate(row: &Row) -> f64 {
    row.rate.map_or(-1.0, Rate::both)
}

/// What the keys do.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    List,
    /// The filter is being typed.
    Filter,
    Help,
    /// Everything about one session.
    Details,
    Dialog(Dialog),
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Quit,
    /// Ask the daemon that holds a session.
    Request(Request),
}

/// A confirmed request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub session: SessionId,
    pub server: ServerName,
    pub user: String,
    pub action: CommandAction,
}

/// A word to the operator, for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    pub text: String,
    pub is_bad: bool,
    until: crate::types::Mono,
}

const NOTE: Duration = Duration::from_secs(15);

/// All of it.
pub struct State {
    pub setup: Setup,
    pub now: Now,
    pub database: Source,
    pub metrics: Source,
    pub scrape: Scrape,
    pub history: History,
    pub rows: Vec<Row>,
    /// Why other sessions are not among them.
    pub unreadable: Option<String>,
    flows: HashMap<SessionId, Flow>,
    /// Indices of the rows that the filter lets through, in order.
    shown: Vec<usize>,
    pub cursor: usize,
    pub sort: Sort,
    pub is_reversed: bool,
    pub filter: String,
    pub mode: Mode,
    pub note: Option<Note>,
}

impl State {
    pub fn new(setup: Setup, now: Now) -> Self {
        Self {
            setup,
            now,
            database: Source::default(),
            metrics: Source::default(),
            scrape: Scrape::default(),
            history: History::default(),
            rows: Vec::new(),
            unreadable: None,
            flows: HashMap::new(),
            shown: Vec::new(),
            cursor: 0,
            sort: Sort::Left,
            is_reversed: false,
            filter: String::new(),
            mode: Mode::List,
            note: None,
        }
    }

    pub fn handle_time(&mut self, now: Now) {
        self.now = now;
        self.note.take_if(|note| note.until <= now.mono);
    }

    /// The database was asked for the open sessions. What was known stays when it does not answer.
    pub fn handle_sessions(&mut self, heard: Result<Found, String>, now: Now) {
        self.handle_time(now);
        self.database.heard(&heard, now);
        let Ok(Found { sessions, unreadable }) = heard else { return };
        self.unreadable = unreadable.as_deref().map(plain);
        // Who has not moved looks at the first, whoever that is.
        let selected = self.selected().filter(|_| self.cursor > 0).map(|row| row.session.id);
        let mut flows = HashMap::with_capacity(sessions.len());
        self.rows = sessions
            .into_iter()
            .map(|session| {
                let flow = Flow::next(self.flows.get(&session.id), &session, self.setup.accounting);
                let rate = flow.rate(now.utc, self.setup.accounting);
                flows.insert(session.id, flow);
                Row { session, rate }
            })
            .collect();
        self.flows = flows;
        self.arrange(selected);
    }

    /// The daemon was asked for its metrics.
    pub fn handle_scrape(&mut self, heard: Result<Scrape, String>, now: Now) {
        self.handle_time(now);
        self.metrics.heard(&heard, now);
        match heard {
            Ok(scrape) => {
                self.history.look(now.mono, scrape.answers.clone());
                self.scrape = scrape;
            }
            Err(_) => self.history.miss(),
        }
    }

    /// What became of a request.
    pub fn handle_done(&mut self, done: Result<String, String>, now: Now) {
        self.handle_time(now);
        match done {
            Ok(text) => self.say(&text, false),
            Err(text) => self.say(&text, true),
        }
    }

    pub(super) fn say(&mut self, text: &str, is_bad: bool) {
        self.note = Some(Note { text: plain(text), is_bad, until: self.now.mono + NOTE });
    }

    /// What is listed, in order.
    pub fn listed(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.shown.iter().map(|index| &self.rows[*index])
    }

    pub fn selected(&self) -> Option<&Row> {
        self.shown.get(self.cursor).map(|index| &self.rows[*index])
    }

    /// Filters and sorts anew; the cursor stays on its session, or else where it is.
    pub(super) fn arrange(&mut self, selected: Option<SessionId>) {
        let wanted = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let is_wanted = |row: &Row| {
            wanted.is_empty()
                || has(row.session.user.as_str())
                || has(row.session.server.as_str())
                || has(&row.device())
        };
        let (rows, sort, is_reversed) = (&self.rows, self.sort, self.is_reversed);
        self.shown = (0..rows.len()).filter(|index| is_wanted(&rows[*index])).collect();
        self.shown.sort_by(|a, b| {
            let by = sort.compare(&rows[*a], &rows[*b]);
            let by = if is_reversed { by.reverse() } else { by };
            by.then_with(|| rows[*a].session.id.cmp(&rows[*b].session.id))
        });
        let at = selected.and_then(|id| self.listed().position(|row| row.session.id == id));
        self.cursor = at.unwrap_or(self.cursor).min(self.shown.len().saturating_sub(1));
    }

    /// What all listed sessions carry.
    pub fn total_rate(&self) -> Rate {
        self.listed().filter_map(|row| row.rate).fold(Rate::default(), |sum, rate| Rate {
            received: sum.received + rate.received,
            sent: sum.sent + rate.sent,
        })
    }

    /// How long ago a source last answered.
    pub fn age(&self, source: &Source) -> Option<Duration> {
        source.at.map(|at| self.now.mono - at.mono)
    }
}

/// One line that no terminal obeys.
pub fn plain(text: &str) -> String {
    Printable(text.as_bytes()).to_string()
}
