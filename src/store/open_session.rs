//! Servers as daemons see them, what is open on them, and what has ended.

use std::collections::HashMap;

use super::{SessionRecord, StoreError};
use crate::types::{ServerName, SessionId, Timestamp, Username, Zone};

/// The open sessions of one server.
#[derive(Debug, Default)]
pub struct OpenSessions {
    /// Those that can be read.
    pub sessions: Vec<SessionRecord>,
    /// Why others cannot: [`StoreError::Corrupt`], with table, column and id.
    pub unreadable: Vec<StoreError>,
    /// By whose clocks the days of these users begin; of others, by the configuration's.
    pub zones: HashMap<Username, Zone>,
    /// The server as it was before the sessions were read.
    pub server: Option<ServerRecord>,
}

/// A row of `servers`: an OpenVPN server as a daemon saw it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRecord {
    /// Its name in the configuration.
    pub name: ServerName,
    /// Its management port, at most 255 bytes.
    pub address: String,
    /// What it says it is, at most 64 bytes.
    pub openvpn_version: String,
    /// When its run began, to the second.
    pub run_started: Timestamp,
    /// When it was heard last. Whatever session of this run is open was up then.
    pub seen_at: Timestamp,
    /// Sessions at that moment.
    pub sessions: u32,
}

/// An open session as the engine takes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Its row, with the last sign of life of it or of its server.
    pub record: SessionRecord,
    /// By whose clocks its days begin; `None`: by the configuration's.
    pub time_zone: Option<Zone>,
}

impl From<SessionRecord> for OpenSession {
    fn from(record: SessionRecord) -> Self {
        Self { record, time_zone: None }
    }
}

/// A session that is over, and for how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSession {
    /// Where it stands among those that have ended.
    pub cursor: EndedCursor,
    /// By its user's policy, or by `default` where the user is gone: days, 0 for ever. `None`: as configured.
    pub retention_days: Option<u32>,
}

/// The order of sessions that have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedCursor {
    /// When it ended.
    pub ended_at: Timestamp,
    /// Its server.
    pub server: ServerName,
    /// Primary key.
    pub id: SessionId,
}
