//! The one answer to a CONNECT or REAUTH: approval, denial, and what follows from each.

use std::{mem, num::NonZeroU32, time::Duration};

use crate::{
    auth::{
        imprint::LetIn,
        request::{Decision, Denial, Grant, RequestKind},
        text,
    },
    proto::{Command, ConfigLine, Parameter},
    store::{DayMarks, SessionRecord, SessionState},
    telemetry::events::{ClientRef, Event},
    types::{Cause, Cid, DenyReason, Kid, Now, Timestamp},
};

use super::{
    Engine, Output, STATUS_RETRY, Ticket,
    clients::Pending,
    live::Session,
    login::{cut, nobody},
    replies::Expect,
};

/// Management version of OpenVPN 2.5, whose `client-pending-auth` names no key.
pub(super) const MANAGEMENT_2_5: u32 = 3;
/// Management version of OpenVPN 2.6, the first with `session-timeout`.
pub(super) const MANAGEMENT_2_6: u32 = 5;
/// For how long OpenVPN lets a client wait for its answer from the end of its TLS handshake, unless somebody has
/// set `hand-window`.
pub(super) const HAND_WINDOW_S: u32 = 60;
/// More than either end allows: OpenVPN's server and client each cut it down to the greater of half their
/// `reneg-sec` and their `hand-window`, so it shortens nothing that we cannot see. A server that falls silent is
/// given up after the client's own `hand-window` whatever this says.
const LONGEST_WAIT_S: u32 = 24 * 60 * 60;

impl Engine {
    /// The decision on a ticket. One that is no longer waited for is ignored.
    pub fn handle_decision(&mut self, ticket: Ticket, decision: Decision, now: Now) {
        self.answer(ticket, decision, now, now);
    }

    /// `decided`: what the clocks said at the decision, by which its deadline counts.
    pub(super) fn answer(&mut self, ticket: Ticket, decision: Decision, decided: Now, now: Now) {
        let knows_run = self.can_send() && !self.awaits_run;
        let asked = self.clients.get_mut(ticket.cid).and_then(|client| {
            let is_stale = client.is_stale;
            let pending = client.pending.as_mut().filter(|p| p.serial == ticket.serial);
            Some((is_stale, pending?))
        });
        let Some((is_stale, pending)) = asked else {
            self.abandon(&decision);
            return;
        };
        if is_stale || !knows_run {
            pending.decision = Some((decision, decided));
            return;
        }
        if pending.is_out_of_time(now) {
            // Nobody would come of an approval: the client begins anew, if it has not by now.
            pending.decision = Some((decision, decided));
            self.on_pending_due(ticket.cid, now);
            self.arm(ticket.cid);
            return;
        }
        let Some(pending) = self.clients.get_mut(ticket.cid).and_then(|c| c.pending.take()) else {
            return;
        };
        match decision {
            Decision::Allow(grant) => self.allow(ticket.cid, *pending, grant, decided, now),
            Decision::Deny(denial) => self.deny(ticket.cid, *pending, &denial, now),
            Decision::Challenge(challenge) => self.challenge(ticket.cid, *pending, challenge, now),
        }
        self.arm(ticket.cid);
    }

    /// A denial does not wait until the run is known: its question came on this connection.
    pub(super) fn deny_at_once(&mut self, ticket: Ticket, reason: DenyReason, now: Now) {
        let can_send = self.can_send();
        let pending = self
            .clients
            .get_mut(ticket.cid)
            .and_then(|client| client.pending.take_if(|p| p.serial == ticket.serial && can_send));
        match pending {
            Some(pending) => self.deny(ticket.cid, *pending, &Denial::new(reason), now),
            None => self.handle_decision(ticket, reason.into(), now),
        }
    }

    /// Nobody hears of this decision.
    pub(super) fn abandon(&mut self, decision: &Decision) {
        if let Decision::Allow(grant) = decision
            && grant.has_place
        {
            self.outputs.push_back(Output::Abandon(grant.session_id));
        }
    }

    fn allow(&mut self, cid: Cid, pending: Pending, mut grant: Grant, decided: Now, now: Now) {
        let Some(client) = self.clients.get(cid) else {
            return;
        };
        let who = client.who.clone();
        let reauth = matches!(pending.kind, RequestKind::Reauth { .. });
        let known = client.session.as_ref().map(|session| session.record.clone());
        let new = match &known {
            // Its session may be in the database: the comparison finds it.
            None if reauth && self.is_stray(cid) => None,
            None => match self.new_record(cid, &who, &pending, &grant, now) {
                Some(record) => Some(record),
                None => {
                    let denial = Denial::new(DenyReason::MissingCredentials);
                    self.deny(cid, pending, &denial, now);
                    return;
                }
            },
            Some(_) => None,
        };
        if new.is_none() && grant.has_place {
            self.outputs.push_back(Output::Abandon(grant.session_id));
        }
        let record = known.as_ref().or(new.as_ref());
        let deadline = record.and_then(|record| record.deadline);
        let session_id = record.map(|record| record.id);
        self.wake_up(cid, &pending, now);
        let mut backstop = None;
        match (pending.kind, pending.kid) {
            (RequestKind::Connect, Some(kid)) => {
                let latest = if known.is_some() { deadline } else { grant.terms.latest };
                let mut config = mem::take(&mut grant.config);
                // Last, so that it counts.
                backstop = self.backstop(latest, now);
                config.extend(backstop.map(ConfigLine::session_timeout));
                let command = Command::ClientAuth { cid, kid, config };
                self.send_answer(command, Expect::Auth { cid, kid, reauth }, now);
            }
            (RequestKind::Reauth { .. }, Some(kid)) => {
                let command = Command::ClientAuthNt { cid, kid };
                self.send_answer(command, Expect::Auth { cid, kid, reauth }, now);
                self.shorten(cid, &grant, now);
            }
            (RequestKind::Adopt { .. }, _) | (_, None) => {}
        }
        if pending.kid.is_some() {
            self.report(Event::AuthAllowed {
                server: self.server(),
                client: who,
                reauth,
                latency: now.mono - pending.since,
                session_id,
                deadline,
                offline: grant.is_offline,
                second_factor: grant.second_factor,
            });
        }
        if let Some(mut record) = new {
            record.session_timeout_s = backstop.and_then(NonZeroU32::new);
            self.persist(&record);
            let adopted = record.state == SessionState::Active;
            let (zone, warn_before) = (grant.terms.zone, self.settings.warn_before);
            let mut session = Session::new(record, zone, warn_before, decided);
            if session.limit(&grant.terms, now) {
                self.watch_closely(now);
            }
            self.clients.open(cid, session);
            if adopted {
                self.report_adopted(cid);
            }
        }
        if let Some((sent, stored)) = pending.sent.zip(grant.proven)
            && let Some(session) = self.clients.get_mut(cid).and_then(|c| c.session.as_mut())
        {
            session.let_in = Some(LetIn { sent, stored });
        }
    }

    /// Before an approval: OpenVPN acts on one only at its next TLS pass, up to some seconds later.
    /// `client-pending-auth` makes a control packet flow, whose acknowledgement is such a pass.
    fn wake_up(&mut self, cid: Cid, pending: &Pending, now: Now) {
        let (Some(kid), Some(version)) = (pending.kid, self.management_version) else {
            return;
        };
        if !self.settings.wake_up || !pending.knows_pending || pending.is_late(now) {
            return;
        }
        let wait = match version {
            MANAGEMENT_2_5 => None,
            MANAGEMENT_2_6.. => Some((kid, LONGEST_WAIT_S)),
            _ => return,
        };
        let text = Parameter::new(text::WAKE_UP);
        let command = Command::ClientPendingAuth { cid, wait, text };
        self.send(command, Expect::PendingAuth, now);
    }

    /// Our second line of defence, which works with this program dead: OpenVPN ends the session
    /// itself, a little after the deadline. After how many seconds.
    fn backstop(&self, deadline: Option<Timestamp>, now: Now) -> Option<u32> {
        if self.management_version.is_none_or(|version| version < MANAGEMENT_2_6) {
            return None;
        }
        let left = deadline?.saturating_since(now.utc) + self.settings.backstop;
        Some(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).max(1))
    }

    fn new_record(
        &self,
        cid: Cid,
        who: &ClientRef,
        pending: &Pending,
        grant: &Grant,
        now: Now,
    ) -> Option<SessionRecord> {
        let (state, started_at) = match pending.kind {
            RequestKind::Connect => (SessionState::Pending, now.utc),
            RequestKind::Reauth { connected_since, .. }
            | RequestKind::Adopt { connected_since } => (SessionState::Active, connected_since),
        };
        Some(SessionRecord {
            id: grant.session_id,
            version: 1,
            state,
            server: self.server(),
            run_started: self.run.unwrap_or(Timestamp::from_secs(now.utc.as_secs())),
            cid,
            user: who.user.clone()?.try_into().ok()?,
            common_name: who.common_name.as_deref().map(|cn| cut(cn, 255)),
            device: pending.device.clone(),
            certificate: pending.certificate.clone(),
            client_ip: who.client_ip,
            client_port: who.client_port,
            vpn_ip: pending.vpn_ip.clone(),
            client_version: pending.client_version.clone(),
            client_platform: pending.client_platform.clone(),
            started_at,
            updated_at: now.utc,
            deadline: grant.terms.deadline,
            deadline_reason: grant.terms.deadline_reason,
            expiry_action: grant.terms.expiry_action,
            warned_at: None,
            ended_at: None,
            cause: None,
            bytes_received: 0,
            bytes_sent: 0,
            day_marks: DayMarks::default(),
            session_timeout_s: None,
        })
    }

    pub(super) fn deny(&mut self, cid: Cid, pending: Pending, denial: &Denial, now: Now) {
        let Some(client) = self.clients.get_mut(cid) else {
            return;
        };
        let reason = denial.reason;
        let who = client.who.clone();
        let session = client.session.as_ref();
        let session_id = session.map(|session| session.record.id);
        let deadline = session.and_then(|session| session.record.deadline);
        let is_known = session_id.is_some() || client.is_listed;
        let latency = now.mono - pending.since;
        let reauth = matches!(pending.kind, RequestKind::Reauth { .. });
        if let Some(fault) = &denial.fault {
            self.report(Event::AuthError {
                server: self.server(),
                client: who.clone(),
                reauth,
                latency,
                session_id,
                deadline,
                reason: Some(reason),
                error: fault.clone(),
            });
        }
        let Some(kid) = pending.kid else {
            self.deny_adoption(cid, pending, reason, now);
            return;
        };
        let is_known = is_known || self.is_stray(cid);
        if reauth && reason.is_temporary() && is_known && !pending.is_other {
            self.tolerate(cid, kid, &pending, denial, now);
            return;
        }
        let platform = pending.client_platform.as_deref();
        let text = text::denial_of(denial, pending.device.as_ref(), platform);
        let client_reason = if reason.is_temporary() && pending.knows_temp {
            Parameter::new(&format!("TEMP[backoff {}]:{text}", self.settings.retry_backoff_s))
        } else {
            Parameter::new(&text)
        };
        let command = Command::ClientDeny {
            cid,
            kid,
            reason: Parameter::new(reason.as_str()),
            client_reason: Some(client_reason),
        };
        self.send_answer(command, Expect::Deny { cid, kid }, now);
        self.report(Event::AuthDenied {
            server: self.server(),
            client: who,
            reauth,
            latency,
            session_id,
            deadline,
            reason,
        });
        let is_void = matches!(reason, DenyReason::BadCredentials | DenyReason::BadSecondFactor);
        let may_return = reason.is_temporary()
            || pending.has_stand_in && is_void
            || reason == DenyReason::SecondFactorRequired;
        if reauth && may_return {
            // Nobody knows it, or what it sent stands for its password no longer, or lacks a code: it may come
            // back with that.
            let who = nobody(cid);
            self.restart_client(cid, who, now);
        } else if reauth {
            // The old key stays valid for the transition window: a denial alone is no end.
            self.end_client(cid, cause_of(reason), None, now);
        }
    }

    /// A renegotiation of a client that is connected, while the database or the hashing threads
    /// cannot answer: it goes on under its old terms. Left unanswered, OpenVPN 2.6 would evict it.
    fn tolerate(&mut self, cid: Cid, kid: Kid, pending: &Pending, denial: &Denial, now: Now) {
        let Some(client) = self.clients.get(cid) else { return };
        let who = client.who.clone();
        let record = client.session.as_ref().map(|session| &session.record);
        let session_id = record.map(|record| record.id);
        let deadline = record.and_then(|record| record.deadline);
        let event = Event::AuthAllowed {
            server: self.server(),
            client: who.clone(),
            reauth: true,
            latency: now.mono - pending.since,
            session_id,
            deadline,
            offline: false,
            second_factor: None,
        };
        let has_session = session_id.is_some();
        if denial.fault.is_none() {
            self.report(Event::AuthError {
                server: self.server(),
                client: who,
                reauth: true,
                latency: now.mono - pending.since,
                session_id,
                deadline,
                reason: Some(denial.reason),
                error: format!("not checked ({}): the client goes on as it was", denial.reason),
            });
        }
        self.wake_up(cid, pending, now);
        let command = Command::ClientAuthNt { cid, kid };
        self.send_answer(command, Expect::Auth { cid, kid, reauth: true }, now);
        self.report(event);
        if !has_session {
            // The list leads to its session, and to its deadline.
            self.ask_status(now);
        }
    }

    /// Sends an answer and keeps it until its reply has come.
    pub(super) fn send_answer(&mut self, command: Command, expect: Expect, now: Now) {
        if let Expect::Auth { cid, .. } | Expect::Deny { cid, .. } = expect
            && let Some(client) = self.clients.get_mut(cid)
        {
            client.unconfirmed = Some(Box::new((command.clone(), expect)));
        }
        self.send(command, expect, now);
    }

    /// OpenVPN has read an answer.
    pub(super) fn confirm_answer(&mut self, cid: Cid, kid: Kid) {
        if let Some(client) = self.clients.get_mut(cid).filter(|c| c.last_kid == Some(kid)) {
            client.unconfirmed = None;
        }
    }

    /// An answer that broke off with the connection is sent once more. It names the same client
    /// of the same run; to answer twice is no harm.
    pub(super) fn answer_again(&mut self, cid: Cid, now: Now) {
        let unconfirmed = self.clients.get_mut(cid).and_then(|client| client.unconfirmed.take());
        if let Some((command, expect)) = unconfirmed.map(|answer| *answer) {
            self.send_answer(command, expect, now);
        }
    }

    /// The end of an account holds for a session that runs; an operator's extension of the
    /// session's own limit stays.
    fn shorten(&mut self, cid: Cid, grant: &Grant, now: Now) {
        let Some(at) = grant
            .terms
            .deadline
            .filter(|_| grant.terms.deadline_reason == Some(Cause::AccountExpiry))
        else {
            return;
        };
        let Some(session) = self.clients.get_mut(cid).and_then(|c| c.session.as_mut()) else {
            return;
        };
        if session.record.deadline.is_some_and(|old| old <= at) {
            return;
        }
        session.record.deadline = Some(at);
        session.record.deadline_reason = Some(Cause::AccountExpiry);
        session.arm(now);
        session.touch(now.utc);
        let record = session.record.clone();
        self.persist(&record);
        self.arm(cid);
    }

    /// Connected as far as the server says, but its session is not found yet.
    fn is_stray(&self, cid: Cid) -> bool {
        !self.status_is_known || self.strays.contains_key(&cid)
    }

    /// An adoption that was refused ends the client; one that could not be decided comes again.
    fn deny_adoption(&mut self, cid: Cid, mut pending: Pending, reason: DenyReason, now: Now) {
        if !reason.is_temporary() {
            self.end_client(cid, cause_of(reason), None, now);
            return;
        }
        pending.due = now.mono + STATUS_RETRY;
        if let Some(client) = self.clients.get_mut(cid) {
            client.pending = Some(Box::new(pending));
        }
        self.arm(cid);
    }

    /// `client-auth` was refused: the client or the key is gone.
    pub(super) fn on_auth_refused(&mut self, cid: Cid, kid: Kid, reauth: bool, now: Now) {
        // One that is being ended is gone by our own order.
        let Some(client) = self.clients.get(cid).filter(|client| client.closing.is_none()) else {
            return;
        };
        let record = client.session.as_ref().map(|session| &session.record);
        let session_id = record.map(|record| record.id);
        let deadline = record.and_then(|record| record.deadline);
        let is_pending = record.is_some_and(|record| record.state == SessionState::Pending);
        let never_up = !reauth && is_pending && client.last_kid == Some(kid);
        self.report(Event::AuthError {
            server: self.server(),
            client: ClientRef { kid: Some(kid), ..client.who.clone() },
            reauth,
            latency: Duration::ZERO,
            session_id,
            deadline,
            reason: None,
            error: "the server refused client-auth: the client or its key is gone".into(),
        });
        if never_up {
            self.close_session(cid, Cause::Unknown, now);
        }
    }
}

impl Pending {
    /// Whether OpenVPN has given the client up, whose login waited for the link.
    fn is_out_of_time(&self, now: Now) -> bool {
        self.until.is_some_and(|until| now.mono >= self.due.max(until))
    }

    /// Whether a third of the time is over for which OpenVPN lets the login wait. A server whose `reneg-sec` is short
    /// or 0 gives the client what is left of that time, and the client counts it from its handshake, not from now: past
    /// the half of it, that is a moment that is over.
    fn is_late(&self, now: Now) -> bool {
        let waited = now.mono - self.begun;
        self.until.is_some_and(|until| waited >= (until - self.begun) / 3)
    }
}

/// Why a session ends whose renegotiation was denied.
const fn cause_of(reason: DenyReason) -> Cause {
    match reason {
        DenyReason::AccountExpired => Cause::AccountExpiry,
        DenyReason::OutsideHours => Cause::Hours,
        DenyReason::TimeQuotaUsed => Cause::TimeQuota,
        DenyReason::DataQuotaUsed => Cause::DataQuota,
        DenyReason::DeviceMissing
        | DenyReason::DeviceInvalid
        | DenyReason::DeviceUnknown
        | DenyReason::DevicePending
        | DenyReason::DeviceBlocked => Cause::DeviceBlocked,
        DenyReason::BadCredentials
        | DenyReason::UnknownUser
        | DenyReason::AccountDisabled
        | DenyReason::AccountNotYetValid
        | DenyReason::CommonNameMismatch => Cause::AccountDisabled,
        DenyReason::Throttled
        | DenyReason::TooManySessions
        | DenyReason::Cooldown
        | DenyReason::SecondFactorRequired
        | DenyReason::BadSecondFactor
        | DenyReason::MissingCredentials
        | DenyReason::Protocol
        | DenyReason::BackendUnavailable
        | DenyReason::Overloaded
        | DenyReason::Timeout => Cause::Unknown,
    }
}
