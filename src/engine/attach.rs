//! From a fresh connection to a link that is up: password, greeting, set-up commands, hold.

use std::time::Duration;

use crate::{
    proto::{Command, Message, State, StateName, StatusReport},
    telemetry::events::Event,
    types::Now,
};

use super::{
    Engine, GREETING_NOTICE, LinkFault, Output, REPLY_TIMEOUT, Reconciled, clock_offset_ms,
    replies::Expect,
};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// There is none.
    Down,
    /// Connected; not a byte yet.
    Greeting,
    /// The password is sent.
    PasswordSent,
    /// Greeted; the set-up commands are sent. Clients can be answered from here on.
    Attaching,
    /// The set-up commands are answered.
    Ready,
}

impl Engine {
    /// A transport is connected; where OpenVPN dialled in, the password may be sent already.
    pub fn handle_connected(&mut self, is_password_sent: bool, now: Now) {
        self.phase = if is_password_sent { Phase::PasswordSent } else { Phase::Greeting };
        self.last_serial = self.serial;
        self.clock_offset_ms.get_or_insert(clock_offset_ms(now));
        self.awaits_run = true;
        self.is_held = false;
        self.is_stopping = false;
        self.replies.clear();
        self.reconciled = Reconciled::No;
        self.status_is_known = false;
        self.timers.greeting = Some(now.mono + GREETING_NOTICE);
    }

    /// Somebody else says that he is the server: a question shows whether this connection is alive.
    pub fn handle_doubt(&mut self, now: Now) {
        if self.can_send() && self.replies.front().is_none() {
            self.send(Command::State, Expect::State, now);
        }
    }

    /// The transport is gone. Clients stay known: they live on in OpenVPN. Until then they were
    /// seen; of a server that was given up, until it last said something.
    pub fn handle_lost(&mut self, now: Now) {
        let is_given_up = self.phase == Phase::Down;
        self.clients.leave_unseen(if is_given_up { self.heard_at } else { now.utc });
        self.phase = Phase::Down;
        self.replies.clear();
        self.strays.clear();
        self.left_unknown.clear();
        self.reconciled = Reconciled::No;
        self.timers.greeting = None;
        self.timers.status = None;
        self.timers.unknown_rows = None;
        self.clients.mark_stale();
        self.close_all_departed(now);
    }

    /// Whether the database can be asked. The first time it can, a held server is released.
    pub fn handle_store_ready(&mut self, is_ready: bool, now: Now) {
        self.store_is_ready = is_ready;
        self.release_hold(now);
    }

    pub(super) fn can_send(&self) -> bool {
        self.phase >= Phase::Attaching
    }

    /// Whether what comes now was written after `env-filter 0`: the previous controller may have
    /// left a level at which clients forge variables.
    pub(super) fn is_env_filtered(&self) -> bool {
        !self.replies.contains(|expect| expect == Expect::EnvFilter)
    }

    /// Nothing came in the time that a greeting takes.
    ///
    /// No byte after connecting: OpenVPN serves one management client at a time, and the next
    /// one waits in the kernel's queue without a word.
    pub(super) fn notice_silence(&mut self) {
        if self.phase == Phase::PasswordSent {
            self.fail(LinkFault::ReplyTimeout { command: "password" });
        }
        if self.phase == Phase::Greeting {
            self.report(Event::LinkWaiting {
                server: self.server(),
                address: self.settings.address.clone(),
                retry_in: Duration::ZERO,
                error: "connected, but the server says nothing: another management client holds \
                        the port; waiting for it to leave"
                    .into(),
            });
        }
    }

    pub(super) fn on_prompt(&mut self, now: Now) {
        match (self.phase, &self.settings.password) {
            (Phase::Greeting, Some(password)) => {
                self.outputs.push_back(Output::Send(Command::Password(password.clone())));
                self.phase = Phase::PasswordSent;
                self.timers.greeting = Some(now.mono + REPLY_TIMEOUT);
            }
            (Phase::Greeting, None) => self.fail(LinkFault::PasswordNeeded),
            (Phase::PasswordSent, _) => self.fail(LinkFault::WrongPassword),
            (Phase::Down | Phase::Attaching | Phase::Ready, _) => {}
        }
    }

    pub(super) fn on_info(&mut self, management_version: Option<u32>, now: Now) {
        if !matches!(self.phase, Phase::Greeting | Phase::PasswordSent) {
            return;
        }
        self.timers.greeting = None;
        self.phase = Phase::Attaching;
        self.management_version = management_version;
        self.send(Command::Version, Expect::Version, now);
        // The level survives the previous controller, and above 0 a client can forge variables.
        self.send(Command::EnvFilterOff, Expect::EnvFilter, now);
        self.send(Command::StateOn, Expect::StateOn, now);
        self.send(Command::State, Expect::State, now);
        self.send_status(now);
        // Last, because its one-line reply shows when the list before it had no end.
        self.send_byte_count(now);
        if self.wants_log {
            self.send(Command::Log(true), Expect::Log, now);
        }
        self.begin_rounds(now);
    }

    pub(super) fn on_hold(&mut self, now: Now) {
        self.is_held = true;
        self.release_hold(now);
    }

    /// A held server is let go only once the link is set up and logins can be answered.
    fn release_hold(&mut self, now: Now) {
        if self.is_held && self.store_is_ready && self.phase == Phase::Ready {
            self.is_held = false;
            self.send(Command::HoldRelease, Expect::HoldRelease, now);
        }
    }

    /// The answer to `state`. Before it serves, a server has no clients.
    fn on_present_state(&mut self, state: State, now: Now) {
        match state.name {
            StateName::Connected => self.on_run(state, now),
            StateName::Reconnecting
            | StateName::Connecting
            | StateName::AssignIp
            | StateName::AddRoutes => {
                self.end_run(now);
                self.run = None;
            }
            StateName::Exiting | StateName::Other => self.answer_waiting(now),
        }
    }

    pub(super) fn on_state(&mut self, state: State, now: Now) {
        match state.name {
            StateName::Connected => self.on_run(state, now),
            StateName::Reconnecting => {
                self.end_run(now);
                self.run = None;
            }
            StateName::Exiting => self.is_stopping = true,
            StateName::Connecting
            | StateName::AssignIp
            | StateName::AddRoutes
            | StateName::Other => {}
        }
    }

    /// The server serves since this moment, which names its run.
    fn on_run(&mut self, state: State, now: Now) {
        if self.run != Some(state.at) {
            self.end_stale_run(now);
        }
        self.run = Some(state.at);
        self.confirm_stale(now);
        self.load_open_sessions();
    }

    pub(super) fn on_reply(&mut self, message: Message, now: Now) {
        if self.phase == Phase::PasswordSent {
            // `SUCCESS: password is correct`; the greeting follows.
            return;
        }
        let Some(expect) = self.replies.front() else {
            self.report(Event::ProtocolUnexpected {
                server: self.server(),
                what: "a reply to nothing that was sent",
                cid: None,
            });
            return;
        };
        let fits = matches!(
            (&message, expect),
            (Message::Error(_), _)
                | (
                    Message::Success(_),
                    Expect::EnvFilter
                        | Expect::StateOn
                        | Expect::ByteCount
                        | Expect::HoldRelease
                        | Expect::Auth { .. }
                        | Expect::PendingAuth
                        | Expect::Log
                        | Expect::Deny { .. }
                        | Expect::Kill { .. },
                )
                | (Message::Version(_) | Message::End, Expect::Version)
                | (Message::StateHistory(_) | Message::End, Expect::State)
                | (Message::Status(_), Expect::Status { .. })
        );
        if !fits {
            self.fail(LinkFault::UnexpectedReply { command: expect.command() });
            return;
        }
        self.replies.pop(now.mono);
        if let Expect::Auth { cid, kid, .. } | Expect::Deny { cid, kid } = expect {
            self.confirm_answer(cid, kid);
        }
        let succeeded = !matches!(message, Message::Error(_));
        match (expect, message) {
            (Expect::Version, Message::Version(version)) => {
                self.openvpn_version = version.openvpn.into();
                self.management_version = version.management.or(self.management_version);
            }
            (Expect::State, message) => {
                self.awaits_run = false;
                if let Message::StateHistory(history) = message
                    && let Some(state) = history.last()
                {
                    self.on_present_state(*state, now);
                } else {
                    self.answer_waiting(now);
                }
            }
            (Expect::Status { asked }, Message::Status(report)) => {
                self.on_status(report, asked, now);
            }
            (Expect::ByteCount, _) if self.phase == Phase::Attaching => self.on_attached(now),
            (Expect::HoldRelease, _) if succeeded => {
                self.report(Event::HoldReleased { server: self.server() });
            }
            (Expect::Auth { cid, kid, reauth }, _) if !succeeded => {
                self.on_auth_refused(cid, kid, reauth, now);
            }
            (Expect::Kill { cid }, _) if !succeeded => self.on_kill_refused(cid, now),
            (Expect::Deny { cid, .. }, _) if !succeeded => {
                self.report(Event::ProtocolUnexpected {
                    server: self.server(),
                    what: "client-deny was refused; the client has gone",
                    cid: Some(cid),
                });
            }
            (Expect::EnvFilter, _) if !succeeded => {
                self.report(Event::ProtocolUnexpected {
                    server: self.server(),
                    what: "env-filter 0 was refused: this OpenVPN is older than 2.4",
                    cid: None,
                });
            }
            // Refused while the server is held: there are no clients then.
            (Expect::Status { asked }, _) if !succeeded && self.is_held => {
                self.on_status(StatusReport::default(), asked, now);
            }
            (Expect::Status { .. }, _) if !succeeded => {
                self.timers.status = Some(now.mono + super::STATUS_RETRY);
            }
            _ => {}
        }
    }

    fn on_attached(&mut self, now: Now) {
        self.phase = Phase::Ready;
        if self.management_version.is_none() {
            self.report(Event::ProtocolUnexpected {
                server: self.server(),
                what: "the server did not tell its management version",
                cid: None,
            });
        }
        self.report(Event::LinkUp {
            server: self.server(),
            address: self.settings.address.clone(),
            openvpn_version: self.openvpn_version.clone(),
        });
        self.release_hold(now);
    }
}
