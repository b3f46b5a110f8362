//! The clients of one server, with one timer each.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use crate::{
    auth::request::{Challenge, Decision, RequestKind},
    proto::{Command, KillMessage},
    store::{SessionRecord, SessionState},
    telemetry::events::ClientRef,
    types::{Cause, Cid, Kid, Mono, Now, SessionId, Timestamp},
};

use super::replies::Expect;

/// A deadline that moves by less is not announced again.
const WARNING_TOLERANCE: Duration = Duration::from_secs(2);

/// One client instance of the server.
#[derive(Debug)]
pub(super) struct Client {
    /// Who it is, for log lines.
    pub(super) who: ClientRef,
    /// When we first heard of it, among the engine's serial numbers.
    pub(super) born: u64,
    /// The highest key id seen.
    pub(super) last_kid: Option<Kid>,
    /// The server's list has shown it up.
    pub(super) is_listed: bool,
    /// From an earlier connection: may be gone or, after a restart, somebody else.
    pub(super) is_stale: bool,
    /// A question that waits for the decision, or for the link.
    pub(super) pending: Option<Box<Pending>>,
    /// The answer that was sent and has no reply yet: if the connection breaks, it may be lost.
    pub(super) unconfirmed: Option<Box<(Command, Expect)>>,
    /// Its session, once it was approved.
    pub(super) session: Option<Box<Session>>,
    /// It is being ended.
    pub(super) closing: Option<Box<Closing>>,
    /// When its timer is armed.
    armed: Option<Mono>,
}

/// A CONNECT, REAUTH or adoption without its answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) serial: u64,
    pub(super) kind: RequestKind,
    /// The key to answer; `None` for an adoption.
    pub(super) kid: Option<Kid>,
    /// When it was asked.
    pub(super) since: Mono,
    /// When it is denied as too late, or tried again (adoption).
    pub(super) due: Mono,
    /// It sent a token in place of its password.
    pub(super) has_token: bool,
    /// Whether the client understands `AUTH_FAILED,TEMP`.
    pub(super) knows_temp: bool,
    /// Whether the client understands `AUTH_PENDING`.
    pub(super) knows_pending: bool,
    /// Address in the tunnel, of an adoption.
    pub(super) vpn_ip: Option<String>,
    /// `IV_VER`.
    pub(super) client_version: Option<String>,
    /// `IV_PLAT`.
    pub(super) client_platform: Option<String>,
    /// The device that the client named.
    pub(super) device: Option<crate::types::DeviceId>,
    /// Whether the client can be asked for a code while it connects.
    pub(super) knows_cr_text: bool,
    /// It was asked for a code, and has not answered.
    pub(super) challenge: Option<Box<Challenge>>,
    /// The answer and when it came, while there is no link to send it on.
    pub(super) decision: Option<(Decision, Now)>,
}

/// A session of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) record: SessionRecord,
    /// The deadline on the monotonic clock.
    pub(super) deadline: Option<Mono>,
    /// When its end is to be announced.
    warning: Option<Mono>,
    /// How long before the deadline that is.
    warn_before: Option<Duration>,
    /// Byte counts have changed since they were stored.
    pub(super) is_dirty: bool,
}

/// The end of a client, until DISCONNECT.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) cause: Cause,
    pub(super) message: KillMessage,
    pub(super) attempts: u32,
    pub(super) retry: Mono,
}

impl Client {
    pub(super) fn new(who: ClientRef, born: u64) -> Self {
        Self {
            who,
            born,
            last_kid: None,
            is_listed: false,
            is_stale: false,
            pending: None,
            unconfirmed: None,
            session: None,
            closing: None,
            armed: None,
        }
    }

    /// The next moment at which something is to be done for it.
    fn due(&self) -> Option<Mono> {
        if self.is_stale {
            return None;
        }
        let pending = self.pending.as_ref().map(|pending| pending.due);
        let end = match &self.closing {
            Some(closing) => Some(closing.retry),
            None => self.session.as_ref().and_then(|session| session.due()),
        };
        pending.into_iter().chain(end).min()
    }
}

impl Session {
    pub(super) fn new(record: SessionRecord, warn_before: Option<Duration>, now: Now) -> Self {
        let mut session =
            Self { record, deadline: None, warning: None, warn_before, is_dirty: false };
        session.arm(now);
        session
    }

    /// Puts the stored deadline on the monotonic clock.
    pub(super) fn arm(&mut self, now: Now) {
        let left = self.record.deadline.map(|at| at.saturating_since(now.utc));
        self.deadline = left.map(|left| now.mono + left);
        let until_warning =
            left.zip(self.warn_before).map(|(left, before)| left.saturating_sub(before));
        if until_warning.is_none_or(|until| until > WARNING_TOLERANCE) {
            // A deadline that has moved away is announced anew.
            self.record.warned_at = None;
        }
        self.warning =
            until_warning.filter(|_| self.record.warned_at.is_none()).map(|until| now.mono + until);
    }

    /// When its end is to be announced, or to come.
    fn due(&self) -> Option<Mono> {
        let warning = self.warning.filter(|_| self.record.state == SessionState::Active);
        self.deadline.into_iter().chain(warning).min()
    }

    /// Whether its end is to be announced now.
    pub(super) fn is_to_be_warned_of(&self, now: Mono) -> bool {
        self.record.state == SessionState::Active && self.warning.is_some_and(|at| at <= now)
    }

    /// Its end is announced.
    pub(super) fn mark_warned(&mut self, now: Now) {
        self.warning = None;
        self.record.warned_at = Some(now.utc);
        self.touch(now.utc);
    }

    /// Marks a change; `at` is when the session was last seen.
    pub(super) fn touch(&mut self, at: Timestamp) {
        self.record.version = self.record.version.saturating_add(1);
        self.record.updated_at = self.record.updated_at.max(at);
        self.is_dirty = false;
    }

    /// Counters never go back, except for a new client instance.
    pub(super) fn count(&mut self, received: u64, sent: u64) {
        let record = &mut self.record;
        if received > record.bytes_received || sent > record.bytes_sent {
            record.bytes_received = record.bytes_received.max(received);
            record.bytes_sent = record.bytes_sent.max(sent);
            self.is_dirty = true;
        }
    }

    /// How late a deadline is met.
    pub(super) fn lateness(&self, now: Now) -> Duration {
        self.deadline.map_or(Duration::ZERO, |at| now.mono - at)
    }
}

/// All clients of one server.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Boxed: ids come in order, which leaves the nodes of the tree half empty.
    by_cid: BTreeMap<Cid, Box<Client>>,
    by_session: HashMap<SessionId, Cid>,
    due: BTreeSet<(Mono, Cid)>,
}

impl Clients {
    pub(super) fn get(&self, cid: Cid) -> Option<&Client> {
        self.by_cid.get(&cid).map(|client| &**client)
    }

    pub(super) fn get_mut(&mut self, cid: Cid) -> Option<&mut Client> {
        self.by_cid.get_mut(&cid).map(|client| &mut **client)
    }

    pub(super) fn insert(&mut self, cid: Cid, client: Client) {
        self.remove(cid);
        if let Some(session) = &client.session {
            self.by_session.insert(session.record.id, cid);
        }
        self.by_cid.insert(cid, Box::new(client));
    }

    pub(super) fn remove(&mut self, cid: Cid) -> Option<Client> {
        let mut client = *self.by_cid.remove(&cid)?;
        if let Some(at) = client.armed.take() {
            self.due.remove(&(at, cid));
        }
        if let Some(session) = &client.session {
            self.by_session.remove(&session.record.id);
        }
        Some(client)
    }

    /// Gives a client its session.
    pub(super) fn open(&mut self, cid: Cid, session: Session) {
        if let Some(client) = self.by_cid.get_mut(&cid) {
            self.by_session.insert(session.record.id, cid);
            client.session = Some(Box::new(session));
        }
    }

    /// Takes a client's session away.
    pub(super) fn close(&mut self, cid: Cid) -> Option<Box<Session>> {
        let session = self.by_cid.get_mut(&cid)?.session.take()?;
        self.by_session.remove(&session.record.id);
        Some(session)
    }

    pub(super) fn of_session(&self, id: SessionId) -> Option<Cid> {
        self.by_session.get(&id).copied()
    }

    pub(super) fn session_count(&self) -> usize {
        self.by_session.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Cid, &Client)> {
        self.by_cid.iter().map(|(cid, client)| (*cid, &**client))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Cid, &mut Client)> {
        self.by_cid.iter_mut().map(|(cid, client)| (*cid, &mut **client))
    }

    /// Sets the client's timer to its next deadline.
    pub(super) fn arm(&mut self, cid: Cid) {
        let Some(client) = self.by_cid.get_mut(&cid) else {
            return;
        };
        let due = client.due();
        if client.armed == due {
            return;
        }
        if let Some(at) = client.armed.take() {
            self.due.remove(&(at, cid));
        }
        if let Some(at) = due {
            self.due.insert((at, cid));
            client.armed = Some(at);
        }
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the client whose timer has run out longest ago.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Cid> {
        let (at, cid) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        if let Some(client) = self.by_cid.get_mut(&cid) {
            client.armed = None;
        }
        Some(cid)
    }

    /// The connection is gone: nothing is sure, no timer runs.
    pub(super) fn mark_stale(&mut self) {
        for client in self.by_cid.values_mut() {
            client.is_stale = true;
            client.armed = None;
        }
        self.due.clear();
    }

    /// Whether a client is up whose session is not known yet.
    pub(super) fn awaits_adoption(&self) -> bool {
        self.by_cid.values().any(|client| {
            let pending = client.pending.as_ref().filter(|_| client.session.is_none());
            pending.is_some_and(|pending| pending.kind != RequestKind::Connect)
        })
    }

    /// The ids of all clients that satisfy a condition.
    pub(super) fn cids(&self, wanted: impl Fn(&Client) -> bool) -> Vec<Cid> {
        self.iter().filter(|(_, client)| wanted(client)).map(|(cid, _)| cid).collect()
    }
}
