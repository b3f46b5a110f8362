//! From ESTABLISHED to DISCONNECT: deadlines, kills, byte counts, the closed row.

use std::time::Duration;

use crate::{
    auth::text,
    proto::{Command, Env, KillMessage, Parameter},
    store::{CommandAction, SessionCommand, SessionRecord, SessionState},
    telemetry::events::{ClientRef, Event},
    types::{Cause, Cid, ExpiryAction, Mono, Now, SessionId, Timestamp, Zone},
};

use super::{
    CommandOutcome, DEPARTURE_GRACE, Engine, KILL_RETRY, MOST_LEFT_UNKNOWN, Reconciled,
    clients::{Client, Closing},
    live::note_days,
    login::{cut, nobody},
    replies::Expect,
};

/// A session whose client has left; its cause waits for the next moment, because a server that
/// stops says DISCONNECT for each client before it says that it stops.
#[derive(Debug)]
pub(super) struct Departed {
    pub(super) due: Mono,
    who: ClientRef,
    record: SessionRecord,
}

/// The end of a client whose session is not known yet.
#[derive(Debug)]
pub(super) struct LeftUnknown {
    user: Option<Vec<u8>>,
    at: Timestamp,
    seconds_up: Option<u64>,
    bytes: (u64, u64),
}

/// For how long OpenVPN says that a client that has left was there.
fn seconds_up(env: &Env) -> Option<u64> {
    env.number(b"time_duration")
}

/// When a client left of which that is read now: not later than OpenVPN's own count of its seconds
/// allows, because this program may have stood still (SIGSTOP, a debugger) since then. That count begins
/// before the session does. A clock of OpenVPN's that went back makes it too short: what is known otherwise counts more.
fn left_at(record: &SessionRecord, seconds_up: Option<u64>, now: Timestamp) -> Timestamp {
    let Some(seconds) = seconds_up else { return now };
    let longest = Duration::from_secs(seconds.saturating_add(1));
    record.started_at.saturating_add(longest).max(record.updated_at).min(now)
}

impl LeftUnknown {
    fn read(env: &Env, at: Timestamp) -> Self {
        let number = |name: &[u8]| env.number(name).unwrap_or(0);
        let user = env.get(b"username").map(<[u8]>::to_vec);
        let bytes = (number(b"bytes_received"), number(b"bytes_sent"));
        Self { user, at, seconds_up: seconds_up(env), bytes }
    }

    /// Whether this was the end of that session.
    pub(super) fn is_of(&self, record: &SessionRecord) -> bool {
        self.user.as_deref() == Some(record.user.as_str().as_bytes())
            && record.started_at <= self.at
    }

    /// Tells the row.
    fn end(&self, record: &mut SessionRecord, zone: Zone) {
        let ended_at = left_at(record, self.seconds_up, self.at);
        note_days(record, zone, ended_at);
        record.ended_at = Some(ended_at);
        record.bytes_received = record.bytes_received.max(self.bytes.0);
        record.bytes_sent = record.bytes_sent.max(self.bytes.1);
    }
}

impl Departed {
    pub(super) const fn session_id(&self) -> SessionId {
        self.record.id
    }
}

impl Engine {
    pub(super) fn on_established(&mut self, cid: Cid, env: &Env, now: Now) {
        let Some(client) = self.clients.get_mut(cid) else {
            // A reconnect with a token that OpenVPN judged by itself, or a client that left
            // before it was up: the list tells.
            if self.reconciled == Reconciled::Yes {
                self.report(Event::ProtocolUnexpected {
                    server: self.server(),
                    what: "a client is up that nobody asked about: without `external-auth`, auth-gen-token \
                           lets clients in whose device, second factor and limits are not judged",
                    cid: Some(cid),
                });
            }
            self.ask_status(now);
            return;
        };
        client.is_established = client.session.is_some();
        let ip =
            env.text(b"ifconfig_pool_remote_ip").or_else(|| env.text(b"ifconfig_pool_remote_ip6"));
        self.mark_up(cid, ip, now);
    }

    /// An approved client is connected: ESTABLISHED says so, or, where that was missed, the list or
    /// a renegotiation.
    pub(super) fn mark_up(&mut self, cid: Cid, vpn_ip: Option<&str>, now: Now) {
        let Some(client) = self.clients.get_mut(cid) else {
            return;
        };
        let Some(session) = client.session.as_mut() else {
            return;
        };
        if session.record.state != SessionState::Pending {
            return;
        }
        session.record.state = SessionState::Active;
        if let Some(ip) = vpn_ip {
            session.record.vpn_ip.get_or_insert_with(|| cut(ip, 45));
        }
        session.touch(now.utc);
        let record = session.record.clone();
        let who = ClientRef { kid: None, ..client.who.clone() };
        self.persist(&record);
        self.report(Event::SessionOpened {
            server: self.server(),
            client: who,
            session_id: record.id,
            vpn_ip: record.vpn_ip.as_deref().map(Into::into),
            deadline: record.deadline,
            deadline_reason: record.deadline_reason,
        });
        self.arm(cid);
    }

    pub(super) fn on_address(&mut self, cid: Cid, address: &str, primary: bool) {
        let client = self.clients.get_mut(cid).filter(|_| primary);
        if let Some(session) = client.and_then(|client| client.session.as_mut()) {
            session.record.vpn_ip = Some(cut(address, 45));
            session.is_dirty = true;
        }
    }

    pub(super) fn on_byte_count(&mut self, cid: Cid, received: u64, sent: u64, now: Now) {
        let Some(session) = self.clients.get_mut(cid).and_then(|c| c.session.as_mut()) else {
            return;
        };
        self.carried += session.count(received, sent, now);
        if session.exceeded(now).is_some() {
            self.end_exceeded(cid, now);
        }
    }

    /// Ends a session whose counters have reached a limit.
    pub(super) fn end_exceeded(&mut self, cid: Cid, now: Now) {
        let client = self.clients.get(cid).filter(|client| client.closing.is_none());
        let session = client.and_then(|client| client.session.as_ref());
        if let Some(cause) = session.and_then(|session| session.exceeded(now)) {
            self.expire(cid, cause, now);
        }
    }

    pub(super) fn on_disconnect(&mut self, cid: Cid, env: &Env, now: Now) {
        self.strays.remove(&cid);
        let Some(client) = self.clients.get_mut(cid) else {
            if self.reconciled != Reconciled::Yes && self.left_unknown.len() < MOST_LEFT_UNKNOWN {
                // The comparison finds its row.
                self.left_unknown.insert(cid, LeftUnknown::read(env, now.utc));
                return;
            }
            self.report(Event::ProtocolUnexpected {
                server: self.server(),
                what: "a client left that was not known",
                cid: Some(cid),
            });
            return;
        };
        if let Some(session) = client.session.as_mut() {
            self.carried += session.count(
                env.number(b"bytes_received").unwrap_or(0),
                env.number(b"bytes_sent").unwrap_or(0),
                now,
            );
        }
        let closing = client.closing.take().map(|closing| closing.cause);
        let cause = closing.or(self.is_stopping.then_some(Cause::ServerRestarted));
        let Some(mut client) = self.clients.remove(cid) else {
            return;
        };
        let pending = client.pending.take();
        self.cancel(cid, pending.as_deref());
        let Some(session) = client.session else {
            return;
        };
        let mut record = session.record;
        record.ended_at = Some(left_at(&record, seconds_up(env), now.utc));
        let departed = Departed { due: now.mono + DEPARTURE_GRACE, who: client.who, record };
        match cause {
            Some(cause) => self.close_departed(departed, Some(cause)),
            None => self.departed.push_back(departed),
        }
    }

    /// Writes the last version of a session's row and its last line.
    pub(super) fn close_departed(&mut self, departed: Departed, cause: Option<Cause>) {
        let Departed { due, who, mut record } = departed;
        let ended_at = record.ended_at.unwrap_or(record.updated_at).max(record.started_at);
        let cause = cause.unwrap_or(Cause::Unknown);
        record.version = record.version.saturating_add(1);
        record.state = SessionState::Closed;
        record.ended_at = Some(ended_at);
        record.updated_at = ended_at;
        record.cause = Some(cause);
        self.persist(&record);
        self.ended.push(due, record.id);
        if self.reconciled == Reconciled::Loading {
            self.closed_meanwhile.insert(record.id);
        }
        self.report(Event::SessionClosed {
            server: self.server(),
            client: ClientRef { kid: None, ..who },
            session_id: record.id,
            cause,
            duration_s: record.duration_s(),
            bytes_received: record.bytes_received,
            bytes_sent: record.bytes_sent,
        });
    }

    /// The run has ended: who left just before left because of it.
    pub(super) fn close_all_departed(&mut self, now: Now) {
        while let Some(departed) = self.departed.pop_front() {
            let belongs = departed.due > now.mono;
            self.close_departed(departed, belongs.then_some(Cause::ServerRestarted));
        }
    }

    /// Forgets a client; its session ended at its last sign of life.
    pub(super) fn drop_client(&mut self, cid: Cid, cause: Cause, now: Now) {
        let Some(mut client) = self.clients.remove(cid) else {
            return;
        };
        let pending = client.pending.take();
        self.cancel(cid, pending.as_deref());
        let cause = client.closing.map_or(cause, |closing| closing.cause);
        if let Some(session) = client.session {
            let departed = Departed { due: now.mono, who: client.who, record: session.record };
            self.close_departed(departed, Some(cause));
        }
    }

    /// Closes a session that ends now; its client stays known.
    pub(super) fn close_session(&mut self, cid: Cid, cause: Cause, now: Now) {
        if let Some(session) = self.clients.get_mut(cid).and_then(|c| c.session.as_mut()) {
            session.mark_days(now.utc);
            session.record.ended_at = Some(now.utc);
        }
        self.close_stale_session(cid, cause, now);
    }

    /// Closes a session at its last sign of life; its client stays known.
    pub(super) fn close_stale_session(&mut self, cid: Cid, cause: Cause, now: Now) {
        let Some(who) = self.clients.get(cid).map(|client| client.who.clone()) else {
            return;
        };
        if let Some(session) = self.clients.close(cid) {
            let departed = Departed { due: now.mono, who, record: session.record };
            self.close_departed(departed, Some(cause));
            self.arm(cid);
        }
    }

    /// A new run of the server: every id starts again, nothing of before is valid.
    pub(super) fn end_run(&mut self, now: Now) {
        self.close_all_departed(now);
        self.strays.clear();
        self.left_unknown.clear();
        let cids = self.clients.cids(|_| true);
        if !cids.is_empty() {
            self.report(Event::ServerRestarted { server: self.server(), clients: cids.len() });
        }
        for cid in cids {
            self.drop_client(cid, Cause::ServerRestarted, now);
        }
        self.reconciled = Reconciled::No;
    }

    /// A timer of a client has run out.
    pub(super) fn on_client_due(&mut self, cid: Cid, now: Now) {
        if !self.can_send() {
            return;
        }
        let Some(client) = self.clients.get(cid) else {
            return;
        };
        if client.pending.as_ref().is_some_and(|pending| pending.due <= now.mono) {
            self.on_pending_due(cid, now);
        }
        let Some(client) = self.clients.get(cid) else {
            return;
        };
        if let Some(closing) = &client.closing {
            if closing.retry <= now.mono {
                self.send_kill(cid, now);
            }
        } else if client.session.as_ref().is_some_and(|session| session.is_over(now.mono)) {
            let session = client.session.as_ref();
            let reason = session.and_then(|session| session.record.deadline_reason);
            self.expire(cid, reason.unwrap_or(Cause::SessionLimit), now);
        } else {
            self.announce_end(cid, now);
            self.end_exceeded(cid, now);
            self.renew(cid, now);
        }
        self.arm(cid);
    }

    /// Tells, once, that the end is near.
    fn announce_end(&mut self, cid: Cid, now: Now) {
        let Some(client) = self.clients.get_mut(cid) else {
            return;
        };
        let who = client.who.clone();
        let session = client.session.as_mut().filter(|s| s.is_to_be_warned_of(now.mono));
        let Some(session) = session else {
            return;
        };
        session.mark_warned(now);
        let record = session.record.clone();
        self.persist(&record);
        if let (Some(deadline), Some(reason)) = (record.deadline, record.deadline_reason) {
            self.report(Event::SessionEnding {
                server: self.server(),
                client: ClientRef { kid: None, ..who },
                session_id: record.id,
                deadline,
                deadline_reason: reason,
                action: record.expiry_action,
                left: deadline.saturating_since(now.utc),
            });
        }
    }

    /// Makes a client connect again whose session OpenVPN would end before its new deadline.
    fn renew(&mut self, cid: Cid, now: Now) {
        let client = self.clients.get(cid).filter(|client| client.closing.is_none());
        let Some((client, session)) = client.and_then(|c| c.session.as_ref().map(|s| (c, s)))
        else {
            return;
        };
        if session.renewal_due().is_none_or(|at| at > now.mono) {
            return;
        }
        self.report(Event::SessionRenewing {
            server: self.server(),
            client: ClientRef { kid: None, ..client.who.clone() },
            session_id: session.record.id,
            deadline: session.record.deadline,
            deadline_reason: session.record.deadline_reason,
        });
        let message = KillMessage::Restart(Parameter::new(text::RENEWAL));
        self.kill(cid, Cause::Admin, message, now);
    }

    fn expire(&mut self, cid: Cid, cause: Cause, now: Now) {
        let Some(client) = self.clients.get(cid) else {
            return;
        };
        let Some(session) = &client.session else {
            return;
        };
        let record = &session.record;
        let event = Event::SessionExpired {
            server: self.server(),
            client: ClientRef { kid: None, ..client.who.clone() },
            session_id: record.id,
            deadline_reason: cause,
            action: record.expiry_action,
            // Data and idle time have no moment that could be missed.
            lateness: match record.deadline_reason == Some(cause) {
                true => session.lateness(now),
                false => Duration::ZERO,
            },
        };
        self.report(event);
        // The time to which an operator extended it is a limit like another, to its user.
        let words = (cause == Cause::Admin).then(|| text::ending(Cause::SessionLimit));
        self.end_client(cid, cause, words, now);
    }

    /// Ends a client: kills it, again and again, until DISCONNECT.
    pub(super) fn end_client(&mut self, cid: Cid, cause: Cause, words: Option<&str>, now: Now) {
        let Some(client) = self.clients.get(cid).filter(|client| client.closing.is_none()) else {
            return;
        };
        let action = client
            .session
            .as_ref()
            .filter(|session| {
                session.record.deadline_reason == Some(cause)
                    || matches!(cause, Cause::DataQuota | Cause::Idle)
            })
            .map_or(ExpiryAction::Halt, |session| session.record.expiry_action);
        let text = Parameter::new(words.unwrap_or_else(|| text::ending(cause)));
        let message = match action {
            ExpiryAction::Halt => KillMessage::Halt(text),
            ExpiryAction::Restart => KillMessage::Restart(text),
        };
        self.kill(cid, cause, message, now);
    }

    fn kill(&mut self, cid: Cid, cause: Cause, message: KillMessage, now: Now) {
        let Some(client) = self.clients.get_mut(cid) else {
            return;
        };
        let closing = Closing { cause, message, attempts: 0, retry: now.mono };
        client.closing = Some(Box::new(closing));
        let record = client.session.as_mut().map(|session| {
            session.record.state = SessionState::Closing;
            session.record.cause = Some(cause);
            session.touch(now.utc);
            session.record.clone()
        });
        if let Some(record) = record {
            self.persist(&record);
        }
        self.send_kill(cid, now);
        self.arm(cid);
    }

    /// Makes a client that nobody can answer any more connect again.
    pub(super) fn restart_client(&mut self, cid: Cid, who: ClientRef, now: Now) {
        if self.clients.get(cid).is_some_and(|client| client.closing.is_some()) {
            return;
        }
        let born = self.next_serial();
        let mut client = self.clients.remove(cid).unwrap_or_else(|| Client::new(who, born));
        client.closing = Some(Box::new(Closing {
            cause: Cause::Unknown,
            message: KillMessage::Restart(Parameter::new("Please log in again")),
            attempts: 0,
            retry: now.mono,
        }));
        self.clients.insert(cid, client);
        self.send_kill(cid, now);
        self.arm(cid);
    }

    fn send_kill(&mut self, cid: Cid, now: Now) {
        if !self.can_send() {
            return;
        }
        let Some(client) = self.clients.get_mut(cid) else {
            return;
        };
        let Some(closing) = client.closing.as_mut() else {
            return;
        };
        closing.attempts = closing.attempts.saturating_add(1);
        closing.retry = now.mono + KILL_RETRY;
        let attempt = closing.attempts;
        let message = closing.message.clone();
        let event = Event::SessionKill {
            server: self.settings.server.clone(),
            client: ClientRef { kid: None, ..client.who.clone() },
            session_id: client.session.as_ref().map(|session| session.record.id),
            attempt,
        };
        self.send(Command::ClientKill { cid, message }, Expect::Kill { cid }, now);
        self.report(event);
        if attempt > 1 {
            // No DISCONNECT: it may never come (a client that came back with a token).
            self.ask_status(now);
        }
    }

    /// `client-kill` was refused: the client has gone, which the list confirms.
    pub(super) fn on_kill_refused(&mut self, cid: Cid, now: Now) {
        if self.clients.get(cid).is_some() {
            self.ask_status(now);
        }
    }

    /// UTC was set.
    pub(super) fn rearm_sessions(&mut self, now: Now) {
        let cids = self.clients.cids(|client| client.session.is_some());
        for cid in cids {
            if let Some(session) = self.clients.get_mut(cid).and_then(|c| c.session.as_mut()) {
                session.rearm(now);
            }
            self.arm(cid);
        }
    }

    /// An operator's request for a session of this server.
    pub fn handle_command(&mut self, command: &SessionCommand, now: Now) -> CommandOutcome {
        if !self.is_ready() || self.reconciled != Reconciled::Yes {
            return CommandOutcome::Later;
        }
        let Some(cid) = self.clients.of_session(command.session) else {
            // It may belong to a client that is still to be adopted.
            let is_open = !self.strays.is_empty() || self.clients.awaits_adoption();
            return if is_open { CommandOutcome::Later } else { CommandOutcome::Handled };
        };
        match &command.action {
            CommandAction::Kill { reason } => {
                self.end_client(cid, Cause::Admin, reason.as_deref(), now);
            }
            CommandAction::Replace => self.end_client(cid, Cause::Replaced, None, now),
            CommandAction::Extend { deadline } => self.extend(cid, *deadline, now),
        }
        CommandOutcome::Handled
    }

    fn extend(&mut self, cid: Cid, deadline: Timestamp, now: Now) {
        let Some(client) = self.clients.get_mut(cid) else {
            return;
        };
        let who = client.who.clone();
        let Some(session) = client.session.as_mut() else {
            return;
        };
        if session.record.state == SessionState::Closing {
            return;
        }
        session.record.deadline = Some(deadline);
        session.record.deadline_reason = Some(Cause::Admin);
        session.arm(now);
        session.touch(now.utc);
        let record = session.record.clone();
        self.persist(&record);
        self.report(Event::SessionExtended {
            server: self.server(),
            client: ClientRef { kid: None, ..who },
            session_id: record.id,
            deadline: record.deadline,
            deadline_reason: record.deadline_reason,
        });
        self.arm(cid);
    }

    pub(super) fn report_adopted(&mut self, cid: Cid) {
        let Some(client) = self.clients.get(cid) else {
            return;
        };
        let Some(session) = &client.session else {
            return;
        };
        let record = &session.record;
        let event = Event::SessionAdopted {
            server: self.server(),
            client: ClientRef { kid: None, ..client.who.clone() },
            session_id: record.id,
            vpn_ip: record.vpn_ip.as_deref().map(Into::into),
            deadline: record.deadline,
            deadline_reason: record.deadline_reason,
        };
        self.report(event);
    }

    /// Closes the row of a client that left while nobody watched, or of which just the end was heard.
    pub(super) fn close_row(
        &mut self,
        mut record: SessionRecord,
        zone: Zone,
        left: Option<&LeftUnknown>,
        cause: Cause,
        now: Now,
    ) {
        match left {
            Some(left) => left.end(&mut record, zone),
            None => {
                let last = record.updated_at;
                note_days(&mut record, zone, last);
            }
        }
        let mut who = nobody(record.cid);
        who.user = Some(record.user.as_str().into());
        who.common_name.clone_from(&record.common_name);
        who.device.clone_from(&record.device);
        who.client_ip = record.client_ip;
        who.client_port = record.client_port;
        self.close_departed(Departed { due: now.mono, who, record }, Some(cause));
    }
}
