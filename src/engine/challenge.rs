//! A question for a one-time code: how a client is asked, and its answer.
//!
//! A client that says so in `IV_SSO` is asked while it connects, by `client-pending-auth`, and
//! answers by CR_RESPONSE. Any other is denied with the question, and comes again with the answer
//! in place of its password. Either answer is a new question to the decision.

use std::time::Duration;

use crate::{
    auth::{
        request::{AuthRequest, Challenge, Denial, RequestKind},
        second_factor::response::{self, Response},
    },
    proto::{Command, Parameter},
    telemetry::events::Event,
    types::{Cid, DenyReason, Now, Password, wiped},
};

use super::{
    Engine, Output, Ticket,
    answer::{MANAGEMENT_2_5, MANAGEMENT_2_6},
    clients::Pending,
    replies::Expect,
};

/// For OpenVPN's log, beside the question.
const LOGGED: &str = "second_factor";
/// A late answer's approval is not hurried: OpenVPN sees it when the client asks for its options again.
const PUSH_REQUEST_INTERVAL: Duration = Duration::from_secs(5);

impl Engine {
    /// Asks for a code.
    pub(super) fn challenge(
        &mut self,
        cid: Cid,
        mut pending: Pending,
        challenge: Box<Challenge>,
        now: Now,
    ) {
        let Some(client) = self.clients.get_mut(cid) else { return };
        let (Some(kid), RequestKind::Connect) = (pending.kid, pending.kind) else {
            // Who has to show a code at a renegotiation shows it at a login.
            let denial = Denial::new(DenyReason::SecondFactorRequired);
            self.deny(cid, pending, &denial, now);
            return;
        };
        let (who, latency) = (client.who.clone(), now.mono - pending.since);
        let wait = match self.management_version {
            Some(MANAGEMENT_2_5) if pending.knows_cr_text => Some(None),
            Some(MANAGEMENT_2_6..) if pending.knows_cr_text => {
                // The server's own time-out has to leave room for what follows the answer.
                let all = self.settings.challenge_timeout + self.settings.auth_timeout;
                // From the end of the TLS handshake, as without it.
                pending.until = Some(pending.since + all);
                let named = (all + PUSH_REQUEST_INTERVAL).as_secs();
                Some(Some((kid, u32::try_from(named).unwrap_or(u32::MAX))))
            }
            _ => None,
        };
        let way = if let Some(wait) = wait {
            pending.challenge = Some(challenge);
            pending.due = now.mono + self.settings.challenge_timeout;
            client.pending = Some(Box::new(pending));
            let text = Parameter::new(&response::cr_text());
            self.send(Command::ClientPendingAuth { cid, wait, text }, Expect::PendingAuth, now);
            "cr_text"
        } else {
            let text = response::dynamic_challenge(&challenge.state, &challenge.user);
            let command = Command::ClientDeny {
                cid,
                kid,
                reason: Parameter::new(LOGGED),
                client_reason: Some(Parameter::new(&text)),
            };
            self.send_answer(command, Expect::Deny { cid, kid }, now);
            "crv1"
        };
        self.report(Event::AuthChallenged { server: self.server(), client: who, latency, way });
    }

    /// The answer of a client that was asked while it connects. The key in it is wrong before
    /// OpenVPN 2.6.6; the client has only one that waits.
    pub(super) fn on_challenge_answer(&mut self, cid: Cid, answer: &Password, now: Now) {
        let serial = self.next_serial();
        let asked =
            self.clients.get_mut(cid).filter(|client| !client.is_stale).and_then(|client| {
                let pending = client.pending.as_mut()?;
                let challenge = pending.challenge.take()?;
                pending.serial = serial;
                pending.since = now.mono;
                pending.due = now.mono + self.settings.auth_timeout;
                Some(challenge)
            });
        let Some(challenge) = asked else {
            self.report(Event::ProtocolUnexpected {
                server: self.server(),
                what: "an answer to a challenge that was never asked, or is over",
                cid: Some(cid),
            });
            return;
        };
        self.arm(cid);
        let Challenge { state, request, .. } = *challenge;
        let response = Response::Challenge { state, code: wiped(|| response::cr_response(answer)) };
        let request = AuthRequest { response, ..request };
        self.outputs.push_back(Output::Authenticate(Ticket { cid, serial }, Box::new(request)));
    }
}
