//! What happened in each hour, as charts show it; and what was done to somebody by whom.

use crate::types::{DenyReason, ServerName, Timestamp, words};

words! {
    /// What is counted.
    ActivityKind {
        /// Logins and renegotiations that were let in.
        Allowed = "allowed",
        /// Those that were asked for a one-time code.
        Challenged = "challenged",
        /// Those that were refused, by reason.
        Denied = "denied",
        /// Most sessions at once: the only one that is not added up within an hour.
        Sessions = "sessions",
        /// Octets from clients.
        Received = "received",
        /// Octets to clients.
        Sent = "sent",
    }
}

/// What a row of `activity` counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActivityKey {
    /// When the hour began, in UTC.
    pub hour: Timestamp,
    /// On which server.
    pub server: ServerName,
    /// What is counted.
    pub kind: ActivityKind,
    /// Of denials.
    pub reason: Option<DenyReason>,
}

/// What happened in an hour on all servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourSum {
    /// When it began, in UTC.
    pub hour: Timestamp,
    /// What was counted.
    pub kind: ActivityKind,
    /// Of denials: a word of [`DenyReason`], or one that a newer daemon knows; else empty.
    pub reason: String,
    /// How much of it; of sessions the sum of the servers' greatest numbers.
    pub amount: u64,
}

/// A row of `admin_audit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// Who did it: `cli:root`, `console:anna`, `daemon`.
    pub actor: String,
    /// What, as `user.set`.
    pub action: String,
    /// To whom or what: a user, `user/device`, a session's id.
    pub target: String,
    /// How.
    pub detail: Option<String>,
}

/// Something that a person has changed: a row of `admin_audit`, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Primary key.
    pub id: i64,
    /// What, as `user.set`.
    pub action: String,
    /// To whom or what: a user, `user/device`, a policy, a session's id.
    pub target: String,
}
