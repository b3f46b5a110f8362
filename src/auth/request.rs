//! What is asked of the decision, and what it answers.

use std::{net::IpAddr, sync::Arc};

use crate::{
    proto::ConfigLine,
    types::{
        DenyReason, DeviceId, Factor, Fingerprint, Password, ServerName, SessionId, Timestamp,
        Username,
    },
};

use super::{
    device::DeviceError, imprint::Imprint, second_factor::response::Response, terms::Terms,
    token::Token,
};

/// What kind of answer is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// A new client: every rule.
    Connect,
    /// A renegotiation: every rule. Terms count from when the client connected.
    Reauth {
        /// When it connected.
        connected_since: Timestamp,
        /// An operator has set its end: hours and time do not end it before.
        is_extended: bool,
    },
    /// A client found connected after an outage, without its password and device: the rules of
    /// the account only.
    Adopt {
        /// When it connected.
        connected_since: Timestamp,
    },
}

/// A username as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed<T> {
    /// Sound.
    Valid(T),
    /// Sent, but not one that can exist here.
    Invalid,
    /// Not sent, or empty.
    Missing,
}

/// One client that asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// On which server.
    pub server: ServerName,
    /// What for.
    pub kind: RequestKind,
    /// At a further key of a client that was let in and is not up yet: its session, whose place is its own.
    pub holds: Option<SessionId>,
    /// Who it says it is.
    pub user: Claimed<Username>,
    /// Its password; `None` when absent or empty, or when it sent a token.
    pub password: Option<Password>,
    /// OpenVPN's token in place of the password.
    pub token: Option<Token>,
    /// What it brings for a second factor.
    pub response: Response,
    /// At a renegotiation: it sent what let it in, which was compared with this stored hash.
    pub proven: Option<Imprint>,
    /// At a renegotiation: it sent something else than what let it in, and no token.
    pub is_other: bool,
    /// From its certificate, verified by OpenVPN.
    pub common_name: Option<Arc<str>>,
    /// The device it says it is.
    pub device: Result<Option<DeviceId>, DeviceError>,
    /// The fingerprint of its certificate, verified by OpenVPN.
    pub certificate: Option<Box<Fingerprint>>,
    /// Where it connects from.
    pub client_ip: Option<IpAddr>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may connect.
    Allow(Grant),
    /// It may not.
    Deny(Denial),
    /// Its password is right, and it is to be asked for a code.
    Challenge(Box<Challenge>),
}

/// A question for a second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// What has to come back with the answer.
    pub state: Box<str>,
    /// Who is asked.
    pub user: Username,
    /// What was asked, without password and token: to be asked again, with the answer.
    pub request: AuthRequest,
}

/// Terms under which a client may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Id for a new session; a renegotiation keeps its own.
    pub session_id: SessionId,
    /// That id holds a place among its user's sessions, which is given back if no session comes of it.
    pub has_place: bool,
    /// When the session has to end, and what else limits it.
    pub terms: Terms,
    /// The database was away: by a recent login and the rules of then.
    pub is_offline: bool,
    /// The second factor that was shown.
    pub second_factor: Option<Factor>,
    /// What OpenVPN is told about a new client.
    pub config: Vec<ConfigLine>,
    /// The stored hash that what it sent stands for; `None` for a token, or without a question.
    pub proven: Option<Imprint>,
}

/// Why a client may not connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The reason.
    pub reason: DenyReason,
    /// The rule that refuses, where one does ([`super::decide::RULES`]).
    pub rule: Option<&'static str>,
    /// An internal fault behind it, for `auth.error`; never a user's mistake.
    pub fault: Option<String>,
}

impl Denial {
    /// A denial without an internal fault.
    pub const fn new(reason: DenyReason) -> Self {
        Self { reason, rule: None, fault: None }
    }
}

impl From<DenyReason> for Decision {
    fn from(reason: DenyReason) -> Self {
        Self::Deny(Denial::new(reason))
    }
}
