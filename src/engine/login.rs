//! CONNECT and REAUTH: the question, its ticket, the answer.

use std::{net::IpAddr, time::Duration};

use crate::{
    auth::{
        device,
        imprint::Imprint,
        request::{AuthRequest, Claimed, Decision, Denial, RequestKind},
        second_factor::response::{Response, knows_cr_text},
        text,
        token::Token,
    },
    proto::{AuthEvent, AuthKind, Command, Env, Parameter, RejectKind, Rejected},
    telemetry::events::{ClientRef, Event},
    types::{
        Cause, Cid, DenyReason, Kid, Now, Password, ShortText, Timestamp, Username,
        truncate_on_char, wiped,
    },
};

use super::{
    Engine, LONGEST_USERNAME, Output, STATUS_RETRY, Ticket,
    answer::HAND_WINDOW_S,
    clients::{Client, Pending},
    replies::Expect,
};

/// Bit of `IV_PROTO`: the client understands `AUTH_PENDING` with a timeout (OpenVPN 2.6, ssl.h).
const IV_PROTO_AUTH_PENDING_KW: u64 = 1 << 4;
/// Bit of `IV_PROTO`: the client understands `AUTH_FAILED,TEMP` (OpenVPN 2.6, ssl.h).
const IV_PROTO_AUTH_FAIL_TEMP: u64 = 1 << 8;

/// What was sent as the password, taken apart.
struct Sent {
    token: Option<Token>,
    sent: Option<Imprint>,
    password: Option<Password>,
    response: Response,
}

impl Engine {
    fn read_sent(&self, password: Option<Password>, session_state: Option<&[u8]>) -> Sent {
        let token = password.as_ref().and_then(|sent| Token::read(sent.expose(), session_state));
        let sent = password.as_ref().filter(|sent| token.is_none() && !sent.is_empty());
        let sent = sent.and_then(|sent| self.settings.imprinter.of(sent.expose()));
        let (password, response) = match password {
            Some(sent) if token.is_none() => Response::read(sent),
            Some(_) | None => (None, Response::None),
        };
        Sent { token, sent, password, response }
    }

    pub(super) fn on_auth_event(&mut self, event: AuthEvent, now: Now) {
        let AuthEvent { kind, cid, kid, mut env } = event;
        let password = env.take_password();
        let session = self.clients.get(cid).and_then(|client| client.session.as_ref());
        let is_extended =
            session.is_some_and(|session| session.record.deadline_reason == Some(Cause::Admin));
        let kind = match kind {
            AuthKind::Connect => RequestKind::Connect,
            AuthKind::Reauth => RequestKind::Reauth {
                connected_since: env
                    .number(b"time_unix")
                    .and_then(|seconds| i64::try_from(seconds).ok())
                    .map_or(now.utc, Timestamp::from_secs)
                    .min(now.utc),
                is_extended,
            },
            AuthKind::CrResponse(answer) => {
                self.on_challenge_answer(cid, &answer, now);
                return;
            }
        };
        let device = device::claim(&env, &self.settings.device_sources);
        let certificate = device::fingerprint(&env);
        let who = client_ref(cid, Some(kid), &env, device.as_ref().ok().and_then(Option::as_ref));
        let state = env.get(b"session_state");
        let Sent { token, sent, password, response } = wiped(|| self.read_sent(password, state));
        let let_in = session.and_then(|session| session.let_in);
        let proven = let_in.filter(|let_in| sent == Some(let_in.sent)).map(|let_in| let_in.stored);
        let is_other = let_in.is_some() && proven.is_none() && token.is_none();
        let (mut is_impostor, mut holds) = (false, None);
        if kind == RequestKind::Connect {
            self.strays.remove(&cid);
            is_impostor = self.on_connect_of_known(cid, kid, &who, now);
            // What is still known is of this very client, whose first key came to nothing.
            let session = self.clients.get(cid).and_then(|client| client.session.as_ref());
            holds = session.map(|session| session.record.id);
        } else {
            self.on_reauth_of_known(cid, &who, now);
        }
        let mut client = match self.clients.remove(cid) {
            Some(mut known) => {
                self.cancel(cid, known.pending.take().as_deref());
                known
            }
            None => Client::new(who.clone(), self.next_serial()),
        };
        client.who = who;
        client.last_kid = Some(kid);
        client.is_established |= kind != RequestKind::Connect;
        client.unconfirmed = None;
        let serial = self.next_serial();
        let iv_proto = env.number(b"IV_PROTO").unwrap_or(0);
        // To give up would end a client that sends another password than before, and let any other go on as it was.
        let patience = match kind != RequestKind::Connect && is_other {
            true => self.settings.auth_timeout * 7 / 4,
            false => self.settings.auth_timeout,
        };
        let pending = Pending {
            serial,
            kind,
            kid: Some(kid),
            begun: now.mono,
            since: now.mono,
            due: now.mono + patience,
            until: (kind == RequestKind::Connect)
                .then(|| now.mono + Duration::from_secs(HAND_WINDOW_S.into())),
            has_stand_in: token.is_some() || response.state().is_some(),
            is_other,
            sent,
            knows_temp: iv_proto & IV_PROTO_AUTH_FAIL_TEMP != 0,
            knows_pending: iv_proto & IV_PROTO_AUTH_PENDING_KW != 0
                || env.text(b"IV_VER").is_some_and(is_2_5_or_later),
            vpn_ip: env.text(b"ifconfig_pool_remote_ip").map(|ip| cut(ip, 45)),
            client_version: env.text(b"IV_VER").map(|v| cut(v, 64)),
            client_platform: env.text(b"IV_PLAT").map(|v| cut(v, 64)),
            device: device.as_ref().ok().and_then(Option::as_ref).map(|claim| claim.id.clone()),
            certificate: certificate.map(Box::new),
            knows_cr_text: knows_cr_text(env.text(b"IV_SSO")),
            challenge: None,
            decision: None,
        };
        client.pending = Some(Box::new(pending));
        self.clients.insert(cid, client);
        self.arm(cid);

        // OpenVPN wrote it before it read our `env-filter 0`: what it says may be forged. A new
        // client is to come again, one that is known goes on as it was.
        if !self.is_env_filtered() {
            self.report(Event::ProtocolUnexpected {
                server: self.server(),
                what: "a login from before `env-filter 0`, which cannot be judged",
                cid: Some(cid),
            });
            let ticket = Ticket { cid, serial };
            if self.clients.get(cid).is_some_and(|client| client.is_stale) {
                // Whether it is the client that we know shows with the run.
                self.handle_decision(ticket, DenyReason::BackendUnavailable.into(), now);
            } else {
                self.deny_at_once(ticket, DenyReason::BackendUnavailable, now);
            }
            return;
        }
        let username = env.get(b"username").unwrap_or_default();
        // While so long a name is there, `status` is cut short.
        if is_impostor || username.len() > LONGEST_USERNAME {
            self.deny_at_once(Ticket { cid, serial }, DenyReason::Protocol, now);
            self.end_client(cid, Cause::Unknown, None, now);
            return;
        }
        // The place that it would take could cost another session its own. Whoever comes of the kill asks anew.
        let is_ending = self.clients.get(cid).is_some_and(|client| client.closing.is_some());
        if is_ending && kind == RequestKind::Connect {
            self.deny_at_once(Ticket { cid, serial }, DenyReason::Timeout, now);
            return;
        }
        let request = AuthRequest {
            server: self.server(),
            kind,
            holds,
            user: match username {
                [] => Claimed::Missing,
                bytes => Username::from_bytes(bytes).map_or(Claimed::Invalid, Claimed::Valid),
            },
            password: password.filter(|password| !password.is_empty()),
            token,
            response,
            proven: proven.filter(|_| kind != RequestKind::Connect),
            is_other: is_other && kind != RequestKind::Connect,
            common_name: env.text(b"common_name").map(|cn| truncate_on_char(cn, 255).into()),
            device: device.map(|claim| claim.map(|claim| claim.id)),
            certificate: certificate.map(Box::new),
            client_ip: self.clients.get(cid).and_then(|client| client.who.client_ip),
        };
        self.outputs.push_back(Output::Authenticate(Ticket { cid, serial }, Box::new(request)));
    }

    /// A renegotiation shows that a client is up, if it is the one that we know. One from an earlier
    /// connection stays in doubt until the run is known.
    fn on_reauth_of_known(&mut self, cid: Cid, who: &ClientRef, now: Now) {
        let Some(known) = self.clients.get(cid) else {
            return;
        };
        if known.who.user.is_some() && known.who.user != who.user {
            self.drop_client(cid, Cause::ServerRestarted, now);
        } else if !known.is_stale {
            self.mark_up(cid, None, now);
        }
    }

    /// A CONNECT for a client that is up or has a session: before it was up, a higher key is a further one of the same
    /// client, and may not name another user (true: it does; OpenVPN itself looks at that
    /// only later). Otherwise ids start again: another run of the server has begun.
    fn on_connect_of_known(&mut self, cid: Cid, kid: Kid, who: &ClientRef, now: Now) -> bool {
        let Some(known) = self.clients.get(cid) else {
            return false;
        };
        if known.is_stale {
            self.drop_client(cid, Cause::ServerRestarted, now);
            return false;
        }
        if known.session.is_none() && !known.is_established {
            return false;
        }
        if !known.is_established && known.last_kid.is_none_or(|last| kid > last) {
            return known.who.user.is_some() && known.who.user != who.user;
        }
        self.end_run(now);
        self.run = None;
        self.awaits_run = true;
        self.send(Command::State, Expect::State, now);
        self.ask_status(now);
        false
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
        // An approval may be decided, and wait for the run to be known.
        let denial = match &pending.decision {
            Some((Decision::Deny(denial), _)) => denial.clone(),
            // Nobody is there to type a code: to ask again and again would be no use.
            Some((Decision::Challenge(_), _)) => Denial::new(DenyReason::BadSecondFactor),
            None if pending.challenge.is_some() => Denial::new(DenyReason::BadSecondFactor),
            Some((Decision::Allow(_), _)) | None => Denial::new(DenyReason::Timeout),
        };
        self.deny(cid, *pending, &denial, now);
    }

    /// Asks whether a client that is already connected may stay.
    pub(super) fn ask_adoption(
        &mut self,
        cid: Cid,
        who: ClientRef,
        connected_since: Timestamp,
        vpn_ip: Option<ShortText>,
        now: Now,
    ) {
        let serial = self.next_serial();
        let kind = RequestKind::Adopt { connected_since };
        let request = AuthRequest {
            server: self.server(),
            kind,
            holds: None,
            user: match who.user.as_deref() {
                None => Claimed::Missing,
                Some(name) => name.parse().map_or(Claimed::Invalid, Claimed::Valid),
            },
            password: None,
            token: None,
            response: Response::None,
            proven: None,
            is_other: false,
            common_name: who.common_name.as_deref().map(Into::into),
            device: Ok(None),
            certificate: None,
            client_ip: who.client_ip,
        };
        let mut client = self.clients.remove(cid).unwrap_or_else(|| Client::new(who, serial));
        client.is_listed = true;
        client.pending = Some(Box::new(Pending {
            serial,
            kind,
            kid: None,
            begun: now.mono,
            since: now.mono,
            due: now.mono + self.settings.auth_timeout,
            until: None,
            has_stand_in: false,
            is_other: false,
            sent: None,
            knows_temp: false,
            knows_pending: false,
            vpn_ip,
            client_version: None,
            client_platform: None,
            device: None,
            certificate: None,
            knows_cr_text: false,
            challenge: None,
            decision: None,
        }));
        self.clients.insert(cid, client);
        self.arm(cid);
        self.outputs.push_back(Output::Authenticate(Ticket { cid, serial }, Box::new(request)));
    }

    /// Something that cannot be trusted; a login is denied, and nothing else.
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
        let Some((cid, kid)) = rejected.due() else {
            return;
        };
        if !self.can_send() {
            return;
        }
        let reason = DenyReason::Protocol;
        let known = self.clients.get(cid);
        let session = known.and_then(|client| client.session.as_ref());
        let session_id = session.map(|session| session.record.id);
        let deadline = session.and_then(|session| session.record.deadline);
        let who = known.map_or_else(|| nobody(cid), |client| client.who.clone());
        let pending = self.clients.get_mut(cid).and_then(|client| {
            // This is the newest question: an answer to an older one is void.
            client.unconfirmed = None;
            client.pending.take()
        });
        self.cancel(cid, pending.as_deref());
        let command = Command::ClientDeny {
            cid,
            kid,
            reason: Parameter::new(reason.as_str()),
            client_reason: Some(Parameter::new(text::denial(reason))),
        };
        self.send(command, Expect::Deny { cid, kid }, now);
        self.report(Event::AuthDenied {
            server: self.server(),
            client: ClientRef { kid: Some(kid), ..who },
            reauth: session_id.is_some(),
            latency: Duration::ZERO,
            session_id,
            deadline,
            reason,
        });
        if session_id.is_some() {
            self.end_client(cid, Cause::Unknown, None, now);
        }
    }

    pub(super) fn cancel(&mut self, cid: Cid, pending: Option<&Pending>) {
        let is_asked = |p: &&Pending| p.decision.is_none() && p.challenge.is_none();
        if let Some(pending) = pending.filter(is_asked) {
            self.outputs.push_back(Output::CancelAuth(Ticket { cid, serial: pending.serial }));
        }
        if let Some((decision, _)) = pending.and_then(|pending| pending.decision.as_ref()) {
            self.abandon(decision);
        }
    }
}

pub(super) fn cut(text: &str, max: usize) -> ShortText {
    truncate_on_char(text, max).into()
}

/// Whether `IV_VER` names an OpenVPN that knows `AUTH_PENDING`.
fn is_2_5_or_later(version: &str) -> bool {
    let mut numbers = version.split(['.', '_', '-']).map_while(|part| part.parse::<u16>().ok());
    let numbers = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    numbers >= (2, 5)
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

fn lossy<T: for<'a> From<&'a str>>(bytes: Option<&[u8]>) -> Option<T> {
    bytes.filter(|bytes| !bytes.is_empty()).map(shown)
}

/// A name from the network, for log lines.
pub(super) fn shown<T: for<'a> From<&'a str>>(bytes: &[u8]) -> T {
    truncate_on_char(&String::from_utf8_lossy(bytes), 256).into()
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
        device: device.map(|claim| claim.id.clone()),
        client_ip: ip(b"untrusted_ip")
            .or_else(|| ip(b"untrusted_ip6"))
            .or_else(|| ip(b"trusted_ip"))
            .or_else(|| ip(b"trusted_ip6")),
        client_port: port(b"untrusted_port").or_else(|| port(b"trusted_port")),
    }
}
