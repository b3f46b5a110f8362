//! What is told: an event as JSON, with the names that log lines have. Never a password.

use serde_json::{Map, Value};
use uuid::Builder;

use crate::{
    telemetry::events::{ClientRef, Event},
    types::{Mono, Now},
};

/// One event to tell.
pub(in crate::daemon) struct Notice {
    pub(super) event: &'static str,
    /// When it happened.
    pub(super) since: Mono,
    /// JSON.
    pub(super) body: Vec<u8>,
}

impl Notice {
    /// `None` for an event that is never told.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are not told")]
    pub(super) fn of(event: &Event, now: Now) -> Option<Self> {
        let (name, client, server, own) = match event {
            Event::SessionOpened {
                server,
                client,
                session_id,
                vpn_ip,
                deadline,
                deadline_reason,
            } => (
                "session.opened",
                client,
                server,
                vec![
                    ("session_id", text(session_id)),
                    ("vpn_ip", vpn_ip.as_deref().into()),
                    ("deadline", deadline.map_or(Value::Null, text)),
                    ("deadline_reason", deadline_reason.map(|cause| cause.as_str()).into()),
                ],
            ),
            Event::SessionEnding {
                server,
                client,
                session_id,
                deadline,
                deadline_reason,
                action,
                left,
            } => (
                "session.ending",
                client,
                server,
                vec![
                    ("session_id", text(session_id)),
                    ("deadline", text(deadline)),
                    ("deadline_reason", deadline_reason.as_str().into()),
                    ("action", action.as_str().into()),
                    ("left_s", left.as_secs().into()),
                ],
            ),
            Event::SessionClosed {
                server,
                client,
                session_id,
                cause,
                duration_s,
                bytes_received,
                bytes_sent,
            } => (
                "session.closed",
                client,
                server,
                vec![
                    ("session_id", text(session_id)),
                    ("cause", cause.as_str().into()),
                    ("duration_s", (*duration_s).into()),
                    ("bytes_received", (*bytes_received).into()),
                    ("bytes_sent", (*bytes_sent).into()),
                ],
            ),
            Event::AuthDenied { server, client, reauth, session_id, reason, .. } => (
                "auth.denied",
                client,
                server,
                vec![
                    ("reauth", (*reauth).into()),
                    ("session_id", session_id.map_or(Value::Null, text)),
                    ("reason", reason.as_str().into()),
                    ("temporary", reason.is_temporary().into()),
                ],
            ),
            _ => return None,
        };
        let millis = u64::try_from(now.utc.as_millis()).unwrap_or(0);
        let id = Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid();
        let mut fields = Map::new();
        let common = [
            ("id", text(id)),
            ("event", name.into()),
            ("timestamp", text(now.utc)),
            ("server", server.as_str().into()),
        ];
        for (name, value) in common.into_iter().chain(who(client)).chain(own) {
            if !value.is_null() {
                fields.insert(name.into(), value);
            }
        }
        Some(Self {
            event: name,
            since: now.mono,
            body: Value::Object(fields).to_string().into_bytes(),
        })
    }
}

fn who(client: &ClientRef) -> [(&'static str, Value); 6] {
    [
        ("cid", client.cid.0.into()),
        ("user", client.user.as_deref().into()),
        ("common_name", client.common_name.as_deref().into()),
        ("device", client.device.as_ref().map(ToString::to_string).into()),
        ("client_ip", client.client_ip.map_or(Value::Null, text)),
        ("client_port", client.client_port.into()),
    ]
}

fn text(value: impl std::fmt::Display) -> Value {
    Value::String(value.to_string())
}
