//! Failed logins and who is held back, as daemons and operators share them.

use std::net::IpAddr;

use crate::types::{LockoutScope, Timestamp, Username, words};

words! {
    /// What happened.
    AuthEventKind {
        /// Wrong credentials.
        Failed = "failed",
        /// The right password, and a device that is not registered: another than before.
        FailedDevice = "failed_device",
        /// The right password and a wrong one-time code.
        FailedCode = "failed_code",
        /// Right ones after wrong ones: the user's failures at the address are forgotten.
        Forgiven = "forgiven",
        /// An operator forgets failures.
        Cleared = "cleared",
    }
}

/// A row of `auth_events` to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuthEvent {
    /// What happened.
    pub kind: AuthEventKind,
    /// Whose; `None`: no name that can exist here, or everybody.
    pub user: Option<Username>,
    /// Where: an IPv4 address, or the first of an IPv6 /64; `None`: not known, or everywhere.
    pub network: Option<IpAddr>,
    /// When.
    pub at: Timestamp,
    /// Its number among those of one process: written twice it is there once. `None`: of an operator.
    pub serial: Option<u64>,
}

/// A row of `auth_events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthEvent {
    /// Primary key.
    pub id: i64,
    /// What happened.
    pub kind: AuthEventKind,
    /// Whose.
    pub user: Option<Username>,
    /// Where.
    pub network: Option<IpAddr>,
    /// When.
    pub at: Timestamp,
}

/// A row of `lockouts`: somebody who is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockout {
    /// Who is held back; `None`: everybody at the address.
    pub user: Option<Username>,
    /// From what.
    pub scope: LockoutScope,
    /// Where, of [`LockoutScope::Login`]: an IPv4 address, or the first of an IPv6 /64.
    pub network: Option<IpAddr>,
    /// After so many failures.
    pub failures: u32,
    /// From the first one on.
    pub since: Timestamp,
    /// Until then.
    pub until: Timestamp,
}
