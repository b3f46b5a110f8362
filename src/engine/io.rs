//! What passes between an engine and its shell.

use thiserror::Error;

use crate::{
    auth::{request::AuthRequest, terms::Terms},
    proto::Command,
    store::{ServerRecord, SessionRecord},
    telemetry::events::Event,
    types::{Cause, Cid, SessionId},
};

/// Names one question to the decision. An answer to an older ticket is ignored, so that a late
/// approval never admits another client that got the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The client.
    pub cid: Cid,
    /// Never repeats in one engine.
    pub serial: u64,
}

/// Names what another tool has asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub u64);

/// What sessions have carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// Octets from clients.
    pub received: u64,
    /// Octets to clients.
    pub sent: u64,
}

impl std::ops::AddAssign for Carried {
    fn add_assign(&mut self, more: Self) {
        self.received = self.received.saturating_add(more.received);
        self.sent = self.sent.saturating_add(more.sent);
    }
}

/// Something for the shell to do.
#[derive(Debug)]
pub enum Output {
    /// Send this command.
    Send(Command),
    /// Decide; answer with `handle_decision`.
    Authenticate(Ticket, Box<AuthRequest>),
    /// Nobody waits for this answer any more.
    CancelAuth(Ticket),
    /// No session comes of a login that was let in with this id: its place among its user's sessions is free.
    Abandon(SessionId),
    /// Store this session as it is now.
    Persist(Box<SessionRecord>),
    /// Note the server as it is, once all sessions are stored that are known to have changed.
    MarkServer(Box<ServerRecord>),
    /// Read the server's open sessions; answer with `handle_open_sessions`.
    LoadOpenSessions,
    /// A line for the tool that asked, and whether it is the last.
    Relayed(RelayId, Box<[u8]>, bool),
    /// Log and count this.
    Report(Event),
    /// Close the connection and make a new one.
    Reconnect(LinkFault),
}

/// Why a connection is given up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinkFault {
    /// The prompt came a second time.
    #[error(
        "the management password is wrong; compare password_file with the file that OpenVPN's `management` line names"
    )]
    WrongPassword,
    /// The prompt came and there is no password.
    #[error("the server asks for a management password; set password_file for it")]
    PasswordNeeded,
    /// A reply did not come in time.
    #[error("no reply to `{command}` in time")]
    ReplyTimeout {
        /// The command.
        command: &'static str,
    },
    /// A reply came that does not fit the oldest unanswered command.
    #[error("an unexpected reply to `{command}`")]
    UnexpectedReply {
        /// The command.
        command: &'static str,
    },
}

/// A session, and its terms by what the database says now (`None`: they stay), or why it has to end.
pub type Review = (SessionId, Result<Option<Terms>, Cause>);

/// What became of an operator's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// Done, or there is nothing to do any more.
    Handled,
    /// The link is not in a state to do it: ask again.
    Later,
}
