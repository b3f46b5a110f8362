//! Lines of reports as they are shown.

use std::time::Duration;

use serde::Serialize;

use super::usage::{Amount, By, Period};
use crate::{
    cli::output::{View, or_dash, short_time},
    store::{DeviceRecord, DeviceUse, SessionRecord, UserRecord},
    types::{Cause, DenyReason, Timestamp, Username, short_bytes, short_duration},
};

/// Who would be refused, and why.
#[derive(Serialize)]
pub struct LockoutView {
    user: String,
    device: Option<String>,
    reason: &'static str,
    sessions: u64,
    last: String,
    #[serde(skip)]
    last_at: Timestamp,
}

impl LockoutView {
    pub fn new(used: &DeviceUse, reason: DenyReason) -> Self {
        Self {
            user: used.user.to_string(),
            device: used.device.clone(),
            reason: reason.as_str(),
            sessions: used.sessions,
            last: used.last.to_string(),
            last_at: used.last,
        }
    }
}

impl View for LockoutView {
    const COLUMNS: &'static [&'static str] = &["USER", "DEVICE", "REASON", "SESSIONS", "LAST"];
    const FIELDS: &'static [&'static str] = &["user", "device", "reason", "sessions", "last"];

    fn row(&self) -> Vec<String> {
        vec![
            self.user.clone(),
            or_dash(self.device.as_deref()),
            self.reason.into(),
            self.sessions.to_string(),
            short_time(Some(self.last_at)),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}

/// What a user did in a period.
#[derive(Serialize)]
pub struct UsageView {
    user: String,
    period: String,
    from: String,
    until: String,
    sessions: u64,
    duration_s: u64,
    bytes_received: u64,
    bytes_sent: u64,
}

impl UsageView {
    pub fn new(user: &Username, by: By, period: Period, amount: Amount) -> Self {
        Self {
            user: user.to_string(),
            period: by.label(period),
            from: period.from.to_string(),
            until: period.until.to_string(),
            sessions: amount.sessions,
            duration_s: amount.millis / 1000,
            bytes_received: amount.received,
            bytes_sent: amount.sent,
        }
    }
}

impl View for UsageView {
    const COLUMNS: &'static [&'static str] =
        &["USER", "PERIOD", "SESSIONS", "TIME", "RECEIVED", "SENT"];
    const FIELDS: &'static [&'static str] = &[
        "user",
        "period",
        "from",
        "until",
        "sessions",
        "duration_s",
        "bytes_received",
        "bytes_sent",
    ];

    fn row(&self) -> Vec<String> {
        vec![
            self.user.clone(),
            self.period.clone(),
            self.sessions.to_string(),
            short_duration(Duration::from_secs(self.duration_s)),
            short_bytes(self.bytes_received),
            short_bytes(self.bytes_sent),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}

/// A session, an account or a device that is about to end.
#[derive(Serialize)]
pub struct EndView {
    kind: &'static str,
    user: String,
    ends_at: String,
    left_s: u64,
    reason: Option<&'static str>,
    server: Option<String>,
    session_id: Option<String>,
    device: Option<String>,
    #[serde(skip)]
    ends: Timestamp,
}

impl EndView {
    /// `None` for a session without a deadline.
    pub fn session(session: &SessionRecord, now: Timestamp) -> Option<Self> {
        let ends = session.deadline?;
        Some(Self {
            kind: "session",
            user: session.user.to_string(),
            ends_at: ends.to_string(),
            left_s: ends.saturating_since(now).as_secs(),
            reason: session.deadline_reason.map(Cause::as_str),
            server: Some(session.server.to_string()),
            session_id: Some(session.id.to_string()),
            device: session.device.as_ref().map(ToString::to_string),
            ends,
        })
    }

    pub fn account(user: &UserRecord, ends: Timestamp, now: Timestamp) -> Self {
        Self {
            kind: "account",
            user: user.name.to_string(),
            ends_at: ends.to_string(),
            left_s: ends.saturating_since(now).as_secs(),
            reason: Some(Cause::AccountExpiry.as_str()),
            server: None,
            session_id: None,
            device: None,
            ends,
        }
    }

    pub fn device(device: &DeviceRecord, ends: Timestamp, now: Timestamp) -> Self {
        Self {
            kind: "device",
            user: device.user.to_string(),
            ends_at: ends.to_string(),
            left_s: ends.saturating_since(now).as_secs(),
            reason: Some(Cause::DeviceBlocked.as_str()),
            server: None,
            session_id: None,
            device: Some(device.identifier.clone()),
            ends,
        }
    }

    pub const fn ends(&self) -> Timestamp {
        self.ends
    }
}

impl View for EndView {
    const COLUMNS: &'static [&'static str] =
        &["KIND", "USER", "ENDS", "LEFT", "REASON", "SERVER", "SESSION", "DEVICE"];
    const LEAST: &'static [&'static str] = &["SERVER", "SESSION", "DEVICE", "REASON", "KIND"];
    const FIELDS: &'static [&'static str] =
        &["kind", "user", "ends_at", "left_s", "reason", "server", "session_id", "device"];

    fn row(&self) -> Vec<String> {
        vec![
            self.kind.into(),
            self.user.clone(),
            short_time(Some(self.ends)),
            short_duration(Duration::from_secs(self.left_s)),
            or_dash(self.reason),
            or_dash(self.server.as_deref()),
            or_dash(self.session_id.as_deref()),
            or_dash(self.device.as_deref()),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}
