//! Sessions as they are shown.

use std::time::Duration;

use serde::Serialize;

use crate::{
    cli::output::{View, or_dash, rfc3339, short_time},
    store::SessionRecord,
    types::{Cause, DeviceId, Timestamp, short_bytes, short_duration},
};

/// One session, all of it.
#[derive(Serialize)]
pub struct SessionView {
    id: String,
    user: String,
    server: String,
    state: &'static str,
    cause: Option<&'static str>,
    duration_s: u64,
    bytes_received: u64,
    bytes_sent: u64,
    device: Option<String>,
    client_ip: Option<String>,
    vpn_ip: Option<String>,
    started_at: String,
    ended_at: Option<String>,
    deadline: Option<String>,
    deadline_reason: Option<&'static str>,
    common_name: Option<String>,
    client_version: Option<String>,
    client_platform: Option<String>,
    certificate: Option<String>,
    #[serde(skip)]
    started: Timestamp,
    #[serde(skip)]
    ends: Option<Timestamp>,
    #[serde(skip)]
    shown_id: String,
}

impl From<&SessionRecord> for SessionView {
    fn from(session: &SessionRecord) -> Self {
        Self {
            id: session.id.to_string(),
            user: session.user.to_string(),
            server: session.server.to_string(),
            state: session.state.as_str(),
            cause: session.cause.map(Cause::as_str),
            duration_s: session.duration_s(),
            bytes_received: session.bytes_received,
            bytes_sent: session.bytes_sent,
            device: session.device.as_ref().map(DeviceId::to_string),
            client_ip: session.client_ip.map(|ip| ip.to_string()),
            vpn_ip: session.vpn_ip.as_deref().map(Into::into),
            started_at: session.started_at.to_string(),
            ended_at: rfc3339(session.ended_at),
            deadline: rfc3339(session.deadline),
            deadline_reason: session.deadline_reason.map(Cause::as_str),
            common_name: session.common_name.as_deref().map(Into::into),
            client_version: session.client_version.as_deref().map(Into::into),
            client_platform: session.client_platform.as_deref().map(Into::into),
            certificate: session.certificate.as_ref().map(|certificate| certificate.to_string()),
            started: session.started_at,
            ends: session.deadline,
            shown_id: session.id.to_string(),
        }
    }
}

impl SessionView {
    /// Many; for people, with ids just long enough to tell these apart.
    pub fn all(sessions: &[SessionRecord], for_people: bool) -> Vec<Self> {
        let mut views: Vec<_> = sessions.iter().map(Self::from).collect();
        if for_people {
            let mut ids: Vec<&str> = views.iter().map(|view| view.id.as_str()).collect();
            ids.sort_unstable();
            let length = distinct_length(&ids);
            for view in &mut views {
                view.shown_id.truncate(length);
            }
        }
        views
    }
}

/// How many characters tell sorted ids apart; at least 13, which is all of their time.
fn distinct_length(sorted: &[&str]) -> usize {
    let common = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let longest = sorted.windows(2).map(|pair| common(pair[0], pair[1])).max();
    longest.map_or(13, |common| (common + 1).max(13))
}

fn details(view: &SessionView) -> Vec<(&'static str, String)> {
    let duration = short_duration(Duration::from_secs(view.duration_s));
    vec![
        ("id", view.id.clone()),
        ("user", view.user.clone()),
        ("server", view.server.clone()),
        ("state", view.state.into()),
        ("cause", or_dash(view.cause)),
        ("device", or_dash(view.device.as_deref())),
        ("client address", or_dash(view.client_ip.as_deref())),
        ("tunnel address", or_dash(view.vpn_ip.as_deref())),
        ("common name", or_dash(view.common_name.as_deref())),
        ("client version", or_dash(view.client_version.as_deref())),
        ("client platform", or_dash(view.client_platform.as_deref())),
        ("certificate", or_dash(view.certificate.as_deref())),
        ("started at", view.started_at.clone()),
        ("ended at", or_dash(view.ended_at.as_deref())),
        ("duration", duration),
        ("deadline", or_dash(view.deadline.as_deref())),
        ("deadline reason", or_dash(view.deadline_reason)),
        ("received", short_bytes(view.bytes_received)),
        ("sent", short_bytes(view.bytes_sent)),
    ]
}

/// A session among those that are open.
#[derive(Serialize)]
#[serde(transparent)]
pub struct OpenView(pub SessionView);

impl View for OpenView {
    const COLUMNS: &'static [&'static str] = &[
        "ID", "USER", "SERVER", "STATE", "DEVICE", "FROM", "ADDRESS", "STARTED", "DEADLINE",
        "RECEIVED", "SENT",
    ];
    const LEAST: &'static [&'static str] = &[
        "STARTED", "STATE", "FROM", "RECEIVED", "SENT", "ADDRESS", "DEVICE", "SERVER", "DEADLINE",
    ];

    fn row(&self) -> Vec<String> {
        let view = &self.0;
        vec![
            view.shown_id.clone(),
            view.user.clone(),
            view.server.clone(),
            view.state.into(),
            or_dash(view.device.as_deref()),
            or_dash(view.client_ip.as_deref()),
            or_dash(view.vpn_ip.as_deref()),
            short_time(Some(view.started)),
            short_time(view.ends),
            short_bytes(view.bytes_received),
            short_bytes(view.bytes_sent),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        details(&self.0)
    }
}

/// A session among those that were.
#[derive(Serialize)]
#[serde(transparent)]
pub struct PastView(pub SessionView);

impl View for PastView {
    const COLUMNS: &'static [&'static str] = &[
        "ID", "USER", "SERVER", "STATE", "CAUSE", "DEVICE", "FROM", "STARTED", "DURATION",
        "RECEIVED", "SENT",
    ];
    const FIELDS: &'static [&'static str] = &[
        "id",
        "user",
        "server",
        "state",
        "cause",
        "duration_s",
        "bytes_received",
        "bytes_sent",
        "device",
        "client_ip",
        "vpn_ip",
        "started_at",
        "ended_at",
        "deadline",
        "deadline_reason",
        "common_name",
        "client_version",
        "client_platform",
        "certificate",
    ];
    const LEAST: &'static [&'static str] =
        &["STATE", "FROM", "RECEIVED", "SENT", "DEVICE", "SERVER", "DURATION", "CAUSE"];

    fn row(&self) -> Vec<String> {
        let view = &self.0;
        vec![
            view.shown_id.clone(),
            view.user.clone(),
            view.server.clone(),
            view.state.into(),
            or_dash(view.cause),
            or_dash(view.device.as_deref()),
            or_dash(view.client_ip.as_deref()),
            short_time(Some(view.started)),
            short_duration(Duration::from_secs(view.duration_s)),
            short_bytes(view.bytes_received),
            short_bytes(view.bytes_sent),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        details(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_ids_differ() {
        assert_eq!(distinct_length(&[]), 13);
        assert_eq!(distinct_length(&["0190ab12-3456-7abc", "0190ab13-3456-7abc"]), 13);
        assert_eq!(distinct_length(&["0190ab12-3456-7abc", "0190ab12-3456-7abd"]), 18);
    }
}
