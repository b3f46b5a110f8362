//! The clients of one server, with one timer each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    auth::{
        imprint::Imprint,
        request::{Challenge, Decision, RequestKind},
    },
    proto::{Command, KillMessage},
    telemetry::events::ClientRef,
    types::{
        Cause, Cid, DeviceId, Fingerprint, Kid, Moment, Mono, Now, SessionId, ShortText, Timestamp,
    },
};

use super::{live::Session, replies::Expect};

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
    /// The server has said that it is connected: whatever it asks from now on is a renegotiation.
    pub(super) is_established: bool,
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
    armed: Option<Moment>,
}

/// A CONNECT, REAUTH or adoption without its answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) serial: u64,
    pub(super) kind: RequestKind,
    /// The key to answer; `None` for an adoption.
    pub(super) kid: Option<Kid>,
    /// When the login or the renegotiation began.
    pub(super) begun: Mono,
    /// When it was asked: at its beginning, or when the answer to a challenge came.
    pub(super) since: Mono,
    /// When it is denied as too late, or tried again (adoption).
    pub(super) due: Mono,
    /// For how long OpenVPN lets a login wait; `None`: the client was let in long ago.
    pub(super) until: Option<Mono>,
    /// It sent a token or the answer to a challenge in place of its password.
    pub(super) has_stand_in: bool,
    /// A renegotiation with another password than the one that let it in.
    pub(super) is_other: bool,
    /// What it sent as its password.
    pub(super) sent: Option<Imprint>,
    /// Whether the client understands `AUTH_FAILED,TEMP`.
    pub(super) knows_temp: bool,
    /// Whether the client understands `AUTH_PENDING`.
    pub(super) knows_pending: bool,
    /// Address in the tunnel, of an adoption.
    pub(super) vpn_ip: Option<ShortText>,
    /// `IV_VER`.
    pub(super) client_version: Option<ShortText>,
    /// `IV_PLAT`.
    pub(super) client_platform: Option<ShortText>,
    /// The device that the client named.
    pub(super) device: Option<DeviceId>,
    /// The fingerprint of its certificate.
    pub(super) certificate: Option<Box<Fingerprint>>,
    /// Whether the client can be asked for a code while it connects.
    pub(super) knows_cr_text: bool,
    /// It was asked for a code, and has not answered.
    pub(super) challenge: Option<Box<Challenge>>,
    /// The answer and when it came, while there is no link to send it on.
    pub(super) decision: Option<(Decision, Now)>,
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
            is_established: false,
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

/// All clients of one server.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Boxed: ids come in order, which leaves the nodes of the tree half empty.
    by_cid: BTreeMap<Cid, Box<Client>>,
    by_session: HashMap<SessionId, Cid>,
    due: BTreeSet<(Moment, Cid)>,
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
        let due = client.due().map(Moment::from);
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
        self.due.first().map(|(at, _)| (*at).into())
    }

    /// Takes the client whose timer has run out longest ago.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Cid> {
        let (at, cid) = *self.due.first()?;
        if Mono::from(at) > now {
            return None;
        }
        self.due.pop_first();
        if let Some(client) = self.by_cid.get_mut(&cid) {
            client.armed = None;
        }
        Some(cid)
    }

    /// Nobody sees from now on whether they are still there; until `at` they were.
    pub(super) fn leave_unseen(&mut self, at: Timestamp) {
        let seen = self.by_cid.values_mut().filter(|client| !client.is_stale);
        for session in seen.filter_map(|client| client.session.as_mut()) {
            session.record.updated_at = session.record.updated_at.max(at);
            session.is_dirty = true;
        }
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
