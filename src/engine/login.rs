//! CONNECT and REAUTH: the question, its ticket, the answer.

use std::{net::IpAddr, sync::Arc};

use crate::{
    auth::{
        device,
        request::{AuthRequest, Claimed, Decision, Denial, Grant, RequestKind},
        text,
    },
    proto::{AuthEvent, AuthKind, Command, ConfigLine, Env, Parameter, RejectKind, Rejected},
    store::{SessionRecord, SessionState},
    telemetry::events::{ClientRef, Event},
    types::{Cause, Cid, DenyReason, Kid, Now, Timestamp, Username, truncate_on_char},
};

use super::{
    Engine, LONGEST_USERNAME, Output, STATUS_RETRY, Ticket,
    clients::{Client, Pending, Session},
    replies::Expect,
};

/// Management version of OpenVPN 2.6, the first with `session-timeout`.
const MANAGEMENT_2_6: u32 = 5;
/// Bit of `IV_PROTO`: the client understands `AUTH_FAILED,TEMP` (OpenVPN 2.6, ssl.h).
const IV_PROTO_AUTH_FAIL_TEMP: u64 = 1 << 8;

impl Engine {
    pub(super) fn on_auth_event(&mut self, event: AuthEvent, now: Now) {
        let AuthEvent { kind, cid, kid, env, password } = event;
        let kind = match kind {
            AuthKind::Connect => RequestKind::Connect,
            AuthKind::Reauth => RequestKind::Reauth {
                connected_since: env
                    .number(b"time_unix")
                    .and_then(|seconds| i64::try_from(seconds).ok())
                    .map_or(now.utc, Timestamp::from_secs)
                    .min(now.utc),
            },
            AuthKind::CrResponse(_) => {
                self.report(Event::ProtocolUnexpected {
                    server: self.server(),
                    what: "an answer to a challenge that was never asked",
                    cid: Some(cid),
                });
                return;
            }
        };
        let device = device::claim(&env, &self.settings.device_sources);
        let who = client_ref(cid, Some(kid), &env, device.as_ref().ok().and_then(Option::as_ref));
        if kind == RequestKind::Connect {
            self.strays.remove(&cid);
            self.on_connect_of_known(cid, kid, &who, now);
        }
        let mut client = match self.clients.remove(cid) {
            Some(mut known) => {
                self.cancel(cid, known.pending.take().as_deref());
                known
            }
            None => Client::new(who.clone(), now),
        };
        client.who = who;
        client.is_stale = false;
        client.last_kid = Some(kid);
        let serial = self.next_serial();
        let pending = Pending {
            serial,
            kind,
            kid: Some(kid),
            since: now.mono,
            due: now.mono + self.settings.auth_timeout,
            knows_temp: env
                .number(b"IV_PROTO")
                .is_some_and(|bits| bits & IV_PROTO_AUTH_FAIL_TEMP != 0),
            vpn_ip: env.text(b"ifconfig_pool_remote_ip").map(|ip| cut(ip, 45)),
            client_version: env.text(b"IV_VER").map(|v| cut(v, 64)),
            client_platform: env.text(b"IV_PLAT").map(|v| cut(v, 64)),
            device: device.as_ref().ok().and_then(Option::as_ref).map(|claim| claim.id.clone()),
            decision: None,
        };
        client.pending = Some(Box::new(pending));
        self.clients.insert(cid, client);
        self.arm(cid);

        let username = env.get(b"username").unwrap_or_default();
        if username.len() > LONGEST_USERNAME {
            // Refused at once: while it is there, `status` is cut short.
            let ticket = Ticket { cid, serial };
            self.handle_decision(ticket, DenyReason::Protocol.into(), now);
            return;
        }
        let request = AuthRequest {
            server: self.server(),
            kind,
            user: match username {
                [] => Claimed::Missing,
                bytes => Username::from_bytes(bytes).map_or(Claimed::Invalid, Claimed::Valid),
            },
            password: password.filter(|password| !password.is_empty()),
            common_name: env.text(b"common_name").map(|cn| cut(cn, 255).into()),
            device: device.map(|claim| claim.map(|claim| claim.id)),
            client_ip: self.clients.get(cid).and_then(|client| client.who.client_ip),
        };
        self.outputs.push_back(Output::Authenticate(Ticket { cid, serial }, Box::new(request)));
    }

    /// A CONNECT for a client that has a session: another run of the server has begun, unless it
    /// is a further key of the same client before it was up.
    fn on_connect_of_known(&mut self, cid: Cid, kid: Kid, who: &ClientRef, now: Now) {
        let Some(known) = self.clients.get(cid) else {
            return;
        };
        if known.is_stale {
            self.drop_client(cid, Cause::ServerRestarted, now);
            return;
        }
        let Some(session) = &known.session else {
            return;
        };
        let further_key = session.record.state == SessionState::Pending
            && known.last_kid.is_some_and(|last| kid > last)
            && known.who.user == who.user;
        if !further_key {
            self.end_run(now);
            self.ask_status(now);
        }
    }

    /// The decision on a ticket. One that is no longer waited for is ignored.
    pub fn handle_decision(&mut self, ticket: Ticket, decision: Decision, now: Now) {
        let can_send = self.can_send();
        let Some(client) = self.clients.get_mut(ticket.cid) else {
            return;
        };
        let Some(pending) = client.pending.as_mut().filter(|p| p.serial == ticket.serial) else {
            return;
        };
        if client.is_stale || !can_send {
            pending.decision = Some(decision);
            return;
        }
        let Some(pending) = client.pending.take() else {
            return;
        };
        match decision {
            Decision::Allow(grant) => self.allow(ticket.cid, *pending, grant, now),
            Decision::Deny(denial) => self.deny(ticket.cid, *pending, &denial, now),
        }
        self.arm(ticket.cid);
    }

    fn allow(&mut self, cid: Cid, pending: Pending, grant: Grant, now: Now) {
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
        let record = known.as_ref().or(new.as_ref());
        let deadline = record.and_then(|record| record.deadline);
        let session_id = record.map(|record| record.id);
        match (pending.kind, pending.kid) {
            (RequestKind::Connect, Some(kid)) => {
                let config = self.backstop(deadline, now);
                let command = Command::ClientAuth { cid, kid, config };
                self.send(command, Expect::Auth { cid, kid }, now);
            }
            (RequestKind::Reauth { .. }, Some(kid)) => {
                self.send(Command::ClientAuthNt { cid, kid }, Expect::Auth { cid, kid }, now);
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
            });
        }
        if let Some(record) = new {
            self.persist(&record);
            let adopted = record.state == SessionState::Active;
            self.clients.open(cid, Session::new(record, now));
            if adopted {
                self.report_adopted(cid);
            }
        }
    }

    /// Our second line of defence, which works with this program dead: OpenVPN ends the session
    /// itself, a little after the deadline.
    fn backstop(&self, deadline: Option<Timestamp>, now: Now) -> Vec<ConfigLine> {
        let Some(deadline) = deadline else {
            return Vec::new();
        };
        if self.management_version.is_none_or(|version| version < MANAGEMENT_2_6) {
            return Vec::new();
        }
        let left = deadline.saturating_since(now.utc) + self.settings.backstop;
        let seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX).max(1);
        vec![ConfigLine::session_timeout(seconds)]
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
            RequestKind::Reauth { connected_since } | RequestKind::Adopt { connected_since } => {
                (SessionState::Active, connected_since)
            }
        };
        Some(SessionRecord {
            id: grant.session_id,
            version: 1,
            state,
            server: self.server(),
            run_started: self.run.unwrap_or(Timestamp::from_secs(now.utc.as_secs())),
            cid,
            user: who.user.as_deref()?.parse().ok()?,
            common_name: who.common_name.as_deref().map(|cn| cut(cn, 255)),
            device: pending.device.clone(),
            client_ip: who.client_ip,
            client_port: who.client_port,
            vpn_ip: pending.vpn_ip.clone(),
            client_version: pending.client_version.clone(),
            client_platform: pending.client_platform.clone(),
            started_at,
            updated_at: now.utc,
            deadline: grant.deadline,
            deadline_reason: grant.deadline_reason,
            expiry_action: grant.expiry_action,
            ended_at: None,
            cause: None,
            bytes_received: 0,
            bytes_sent: 0,
        })
    }

    pub(super) fn deny(&mut self, cid: Cid, pending: Pending, denial: &Denial, now: Now) {
        let Some(client) = self.clients.get_mut(cid) else {
            return;
        };
        let reason = denial.reason;
        let who = client.who.clone();
        let session_id = client.session.as_ref().map(|session| session.record.id);
        let latency = now.mono - pending.since;
        let reauth = matches!(pending.kind, RequestKind::Reauth { .. });
        if let Some(fault) = &denial.fault {
            self.report(Event::AuthError {
                server: self.server(),
                client: who.clone(),
                reauth,
                latency,
                error: fault.clone(),
            });
        }
        let Some(kid) = pending.kid else {
            self.deny_adoption(cid, pending, reason, now);
            return;
        };
        if reauth && reason.is_temporary() && (session_id.is_some() || self.is_stray(cid)) {
            self.tolerate(cid, kid, &pending, now);
            return;
        }
        let text = text::denial(reason);
        let client_reason = if reason.is_temporary() && pending.knows_temp {
            Parameter::new(&format!("TEMP[backoff {}]:{text}", self.settings.retry_backoff_s))
        } else {
            Parameter::new(text)
        };
        let command = Command::ClientDeny {
            cid,
            kid,
            reason: Parameter::new(reason.as_str()),
            client_reason: Some(client_reason),
        };
        self.send(command, Expect::Deny { cid }, now);
        self.report(Event::AuthDenied {
            server: self.server(),
            client: who,
            reauth,
            latency,
            session_id,
            reason,
        });
        if reauth && !reason.is_temporary() {
            // The old key stays valid for the transition window: a denial alone is no end.
            self.end_client(cid, cause_of(reason), None, now);
        }
    }

    /// A renegotiation of a client that is connected, while the database or the hashing threads
    /// cannot answer: it goes on under its old terms. Left unanswered, OpenVPN 2.6 would evict it.
    fn tolerate(&mut self, cid: Cid, kid: Kid, pending: &Pending, now: Now) {
        let Some(client) = self.clients.get(cid) else { return };
        let record = client.session.as_ref().map(|session| &session.record);
        let event = Event::AuthAllowed {
            server: self.server(),
            client: client.who.clone(),
            reauth: true,
            latency: now.mono - pending.since,
            session_id: record.map(|record| record.id),
            deadline: record.and_then(|record| record.deadline),
        };
        self.send(Command::ClientAuthNt { cid, kid }, Expect::Auth { cid, kid }, now);
        self.report(event);
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

    /// The time for a decision is over.
    pub(super) fn on_pending_due(&mut self, cid: Cid, now: Now) {
        let Some(client) = self.clients.get_mut(cid) else {
            return;
        };
        let Some(pending) = client.pending.take() else {
            return;
        };
        if let RequestKind::Adopt { connected_since } = pending.kind {
            let who = client.who.clone();
            self.cancel(cid, Some(&*pending));
            self.ask_adoption(cid, who, connected_since, pending.vpn_ip, now);
            return;
        }
        self.cancel(cid, Some(&*pending));
        self.deny(cid, *pending, &Denial::new(DenyReason::Timeout), now);
    }

    /// Asks whether a client that is already connected may stay.
    pub(super) fn ask_adoption(
        &mut self,
        cid: Cid,
        who: ClientRef,
        connected_since: Timestamp,
        vpn_ip: Option<String>,
        now: Now,
    ) {
        let serial = self.next_serial();
        let kind = RequestKind::Adopt { connected_since };
        let request = AuthRequest {
            server: self.server(),
            kind,
            user: match who.user.as_deref() {
                None => Claimed::Missing,
                Some(name) => name.parse().map_or(Claimed::Invalid, Claimed::Valid),
            },
            password: None,
            common_name: who.common_name.clone(),
            device: Ok(None),
            client_ip: who.client_ip,
        };
        let mut client = self.clients.remove(cid).unwrap_or_else(|| Client::new(who, now));
        client.pending = Some(Box::new(Pending {
            serial,
            kind,
            kid: None,
            since: now.mono,
            due: now.mono + self.settings.auth_timeout,
            knows_temp: false,
            vpn_ip,
            client_version: None,
            client_platform: None,
            device: None,
            decision: None,
        }));
        self.clients.insert(cid, client);
        self.arm(cid);
        self.outputs.push_back(Output::Authenticate(Ticket { cid, serial }, Box::new(request)));
    }

    /// `client-auth` was refused: the client or the key is gone.
    pub(super) fn on_auth_refused(&mut self, cid: Cid, kid: Kid, now: Now) {
        let Some(client) = self.clients.get(cid) else {
            return;
        };
        self.report(Event::AuthError {
            server: self.server(),
            client: ClientRef { kid: Some(kid), ..client.who.clone() },
            reauth: false,
            latency: std::time::Duration::ZERO,
            error: "the server refused client-auth: the client or its key is gone".into(),
        });
        let never_up = self.clients.get(cid).is_some_and(|client| {
            client.last_kid == Some(kid)
                && client
                    .session
                    .as_ref()
                    .is_some_and(|session| session.record.state == SessionState::Pending)
        });
        if never_up {
            self.close_session(cid, Cause::Unknown, now);
        }
    }

    /// Something that cannot be trusted; one that names a client and a key is denied.
    pub(super) fn on_rejected(&mut self, rejected: Rejected, now: Now) {
        self.report(Event::ProtocolRejected {
            server: self.server(),
            kind: rejected.kind.as_str(),
            offset: rejected.offset,
        });
        if rejected.kind == RejectKind::Status
            && matches!(self.replies.front(), Some(Expect::Status { .. }))
        {
            self.replies.pop(now.mono);
            self.timers.status = Some(now.mono + STATUS_RETRY);
        }
        let Some((cid, kid)) = rejected.client else {
            return;
        };
        if !self.can_send() {
            return;
        }
        let reason = DenyReason::Protocol;
        let known = self.clients.get(cid);
        let session_id =
            known.and_then(|client| client.session.as_ref()).map(|session| session.record.id);
        let who = known.map_or_else(|| nobody(cid), |client| client.who.clone());
        let pending = self.clients.get_mut(cid).and_then(|client| client.pending.take());
        self.cancel(cid, pending.as_deref());
        let command = Command::ClientDeny {
            cid,
            kid,
            reason: Parameter::new(reason.as_str()),
            client_reason: Some(Parameter::new(text::denial(reason))),
        };
        self.send(command, Expect::Deny { cid }, now);
        self.report(Event::AuthDenied {
            server: self.server(),
            client: ClientRef { kid: Some(kid), ..who },
            reauth: session_id.is_some(),
            latency: std::time::Duration::ZERO,
            session_id,
            reason,
        });
        if session_id.is_some() {
            self.end_client(cid, Cause::Unknown, None, now);
        }
    }

    pub(super) fn cancel(&mut self, cid: Cid, pending: Option<&Pending>) {
        if let Some(pending) = pending.filter(|pending| pending.decision.is_none()) {
            self.outputs.push_back(Output::CancelAuth(Ticket { cid, serial: pending.serial }));
        }
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

pub(super) fn cut(text: &str, max: usize) -> String {
    truncate_on_char(text, max).to_owned()
}

/// A client of which only the id is known.
pub(super) fn nobody(cid: Cid) -> ClientRef {
    ClientRef {
        cid,
        kid: None,
        user: None,
        common_name: None,
        device: None,
        client_ip: None,
        client_port: None,
    }
}

fn lossy(bytes: Option<&[u8]>) -> Option<Arc<str>> {
    let bytes = bytes.filter(|bytes| !bytes.is_empty())?;
    let text = String::from_utf8_lossy(bytes);
    Some(truncate_on_char(&text, 256).into())
}

fn client_ref(
    cid: Cid,
    kid: Option<Kid>,
    env: &Env,
    device: Option<&device::DeviceClaim>,
) -> ClientRef {
    let ip = |name: &[u8]| env.text(name)?.parse::<IpAddr>().ok();
    let port = |name: &[u8]| env.text(name)?.parse().ok();
    ClientRef {
        cid,
        kid,
        user: lossy(env.get(b"username")),
        common_name: lossy(env.get(b"common_name")),
        device: device.map(|claim| claim.id.to_string().into()),
        client_ip: ip(b"untrusted_ip")
            .or_else(|| ip(b"untrusted_ip6"))
            .or_else(|| ip(b"trusted_ip"))
            .or_else(|| ip(b"trusted_ip6")),
        client_port: port(b"untrusted_port").or_else(|| port(b"trusted_port")),
    }
}
