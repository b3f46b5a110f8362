//! Writes each event's one log line, with the names that dashboards and scripts rely on, and
//! counts it once.

use crate::types::{Factor, ServerName};

use super::{
    events::{ClientRef, Event},
    metrics, repeat,
};

/// A line about a client: the common fields, then the event's own.
macro_rules! of_client {
    ($level:ident, $event:literal, $server:expr, $client:expr, $message:literal
     $(, $field:ident = $value:expr)* $(,)?) => {{
        let client: &ClientRef = $client;
        tracing::$level!(
            event = $event,
            server = $server.as_str(),
            cid = client.cid.0,
            kid = client.kid.map(|kid| kid.0),
            user = client.user.as_deref(),
            common_name = client.common_name.as_deref(),
            device = client.device.as_ref().map(display),
            client_ip = client.client_ip.map(display),
            client_port = client.client_port,
            $($field = $value,)*
            $message
        );
    }};
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn joined(servers: &[ServerName]) -> String {
    servers.iter().map(ServerName::as_str).collect::<Vec<_>>().join(",")
}

impl Event {
    /// Logs and counts this event.
    pub fn emit(&self) {
        metrics::count(self);
        match self {
            Self::DaemonStarted { .. }
            | Self::DaemonStopping { .. }
            | Self::ConfigReloaded { .. }
            | Self::ConfigRejected { .. }
            | Self::LinkUp { .. }
            | Self::LinkLost { .. }
            | Self::LinkWaiting { .. }
            | Self::LinkRefused { .. }
            | Self::StoreDown { .. }
            | Self::StoreUp { .. }
            | Self::StoreBacklog { .. }
            | Self::ThrottleHeld { .. }
            | Self::StoreRefused { .. }
            | Self::StoreUnreadable { .. }
            | Self::JournalWritten { .. }
            | Self::JournalReplayed { .. }
            | Self::JournalFailed { .. }
            | Self::JournalUsable { .. }
            | Self::WebhookFailed { .. }
            | Self::WebhookDropped { .. }
            | Self::RetentionRemoved { .. }
            | Self::RetentionFailed { .. }
            | Self::ServerFatal { .. }
            | Self::ServerRestarted { .. }
            | Self::HoldReleased { .. }
            | Self::LogDropped { .. }
            | Self::ConsoleDenied { .. }
            | Self::AdminAction { .. } => self.emit_general(),
            Self::ProtocolRejected { .. } | Self::ProtocolUnexpected { .. } => {
                self.emit_protocol();
            }
            Self::AuthAllowed { .. }
            | Self::AuthChallenged { .. }
            | Self::AuthDenied { .. }
            | Self::AuthError { .. } => self.emit_auth(),
            Self::SessionOpened { .. }
            | Self::SessionAdopted { .. }
            | Self::SessionExtended { .. }
            | Self::SessionRenewing { .. }
            | Self::SessionEnding { .. }
            | Self::SessionExpired { .. }
            | Self::SessionKill { .. }
            | Self::SessionClosed { .. } => self.emit_session(),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "emit() has sorted the events")]
    fn emit_general(&self) {
        match self {
            Self::DaemonStarted { servers } => tracing::info!(
                event = "daemon.started",
                version = env!("CARGO_PKG_VERSION"),
                servers = joined(servers),
                "the daemon has started"
            ),
            Self::DaemonStopping { servers, signal } => tracing::info!(
                event = "daemon.stopping",
                version = env!("CARGO_PKG_VERSION"),
                servers = joined(servers),
                signal,
                "the daemon stops; VPN clients stay connected"
            ),
            Self::ConfigReloaded { servers } => tracing::info!(
                event = "config.reloaded",
                version = env!("CARGO_PKG_VERSION"),
                servers = joined(servers),
                "the log's level is as configured now; other keys count from the next start"
            ),
            Self::ConfigRejected { error } => tracing::error!(
                event = "config.rejected",
                error,
                "the configuration is invalid; everything stays as it was"
            ),
            Self::LinkUp { server, address, openvpn_version } => tracing::info!(
                event = "link.up",
                server = server.as_str(),
                address = &**address,
                openvpn_version = &**openvpn_version,
                "attached to the management port"
            ),
            Self::LinkLost { server, address, retry_in, error } => tracing::warn!(
                event = "link.lost",
                server = server.as_str(),
                address = &**address,
                retry_in_ms = millis(*retry_in),
                error,
                "the management port is not reached"
            ),
            Self::LinkWaiting { server, address, retry_in, error } => tracing::warn!(
                event = "link.waiting",
                server = server.as_str(),
                address = &**address,
                retry_in_ms = millis(*retry_in),
                error,
                "the management port is not ours yet"
            ),
            Self::LinkRefused { address, error } => tracing::warn!(
                event = "link.refused",
                address = &**address,
                error,
                "what dialled in is no server of ours"
            ),
            Self::RetentionRemoved { rows, before } => tracing::info!(
                event = "retention.removed",
                rows,
                before = display(before),
                "sessions that ended long ago were removed"
            ),
            Self::RetentionFailed { error } => tracing::warn!(
                event = "retention.failed",
                error,
                "old sessions could not be removed; tried again later"
            ),
            Self::ThrottleHeld { user, scope, network, failures, until } => tracing::warn!(
                event = "throttle.held",
                user = user.as_deref(),
                scope = scope.as_str(),
                network = network.map(display),
                failures,
                until = display(until),
                "too many failed logins: further ones have to wait"
            ),
            Self::StoreDown { error } => {
                tracing::error!(event = "store.down", error, "the database does not answer");
            }
            Self::StoreUp { pending } => {
                tracing::info!(event = "store.up", pending, "the database answers again");
            }
            Self::StoreBacklog { pending, error } => tracing::warn!(
                event = "store.backlog",
                pending,
                error,
                "session changes wait for the database"
            ),
            Self::StoreRefused {
                session_id,
                server,
                user,
                state,
                started_at,
                bytes_received,
                bytes_sent,
                error,
            } => tracing::error!(
                event = "store.refused",
                %session_id,
                server = server.as_str(),
                user = &**user,
                state,
                %started_at,
                bytes_received,
                bytes_sent,
                error,
                "the database refuses a session row"
            ),
            Self::StoreUnreadable { server, error } => tracing::error!(
                event = "store.unreadable",
                server = server.as_ref().map(ServerName::as_str),
                error,
                "a row cannot be read; it is passed over"
            ),
            Self::JournalWritten { rows, error } => tracing::warn!(
                event = "journal.written",
                rows,
                error,
                "session changes wait on disk for the database"
            ),
            Self::JournalReplayed { rows } => tracing::info!(
                event = "journal.replayed",
                rows,
                "the database has the session changes that waited on disk"
            ),
            Self::JournalFailed { error } => tracing::error!(
                event = "journal.failed",
                error,
                "the journal cannot be used; session changes wait in memory"
            ),
            Self::JournalUsable { file } => {
                tracing::info!(event = "journal.usable", file, "the journal can be used again");
            }
            Self::WebhookFailed { error, pending } => tracing::warn!(
                event = "webhook.failed",
                error,
                pending,
                "the webhook's receiver does not take notices; tried again"
            ),
            Self::WebhookDropped { dropped, error } => tracing::warn!(
                event = "webhook.dropped",
                dropped,
                error,
                "the webhook's receiver will not get some notices"
            ),
            Self::ServerFatal { server, text } => tracing::error!(
                event = "server.fatal",
                server = server.as_str(),
                error = &**text,
                "OpenVPN says that it cannot go on"
            ),
            Self::ServerRestarted { server, clients } => tracing::warn!(
                event = "server.restarted",
                server = server.as_str(),
                clients,
                "OpenVPN has restarted; its clients come back by themselves"
            ),
            Self::HoldReleased { server } => tracing::info!(
                event = "hold.released",
                server = server.as_str(),
                "OpenVPN may serve clients"
            ),
            Self::LogDropped { lines } => tracing::warn!(
                event = "log.dropped",
                lines,
                "log lines were lost: nobody read them"
            ),
            Self::ConsoleDenied { reason } => tracing::warn!(
                event = "console.denied",
                reason,
                "nobody was let in to the web console"
            ),
            Self::AdminAction { actor, action, target, user } => tracing::info!(
                event = "admin.action",
                actor,
                action,
                target_name = target,
                user,
                "an operator's request was carried out"
            ),
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "emit() has sorted the events")]
    fn emit_protocol(&self) {
        match self {
            Self::ProtocolRejected { server, kind, offset } => {
                let Some(suppressed) = repeat::allow(server, kind) else { return };
                tracing::warn!(
                    event = "protocol.rejected",
                    server = server.as_str(),
                    kind,
                    offset,
                    suppressed = (suppressed > 0).then_some(suppressed),
                    "something from the management port was refused"
                );
            }
            Self::ProtocolUnexpected { server, what, cid } => {
                let Some(suppressed) = repeat::allow(server, what) else { return };
                tracing::warn!(
                    event = "protocol.unexpected",
                    server = server.as_str(),
                    cid = cid.map(|cid| cid.0),
                    error = what,
                    suppressed = (suppressed > 0).then_some(suppressed),
                    "something from the management port was ignored"
                );
            }
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "emit() has sorted the events")]
    fn emit_auth(&self) {
        match self {
            Self::AuthAllowed {
                server,
                client,
                reauth,
                latency,
                session_id,
                deadline,
                offline,
                second_factor,
            } => {
                of_client!(
                    info,
                    "auth.allowed",
                    server,
                    client,
                    "login allowed",
                    reauth = reauth,
                    latency_ms = millis(*latency),
                    session_id = session_id.map(display),
                    deadline = deadline.map(display),
                    offline = offline.then_some(true),
                    second_factor = second_factor.map(Factor::as_str),
                );
            }
            Self::AuthChallenged { server, client, latency, way } => {
                of_client!(
                    info,
                    "auth.challenged",
                    server,
                    client,
                    "the password is right; a one-time code is asked for",
                    latency_ms = millis(*latency),
                    way = way,
                );
            }
            Self::AuthDenied { server, client, reauth, latency, session_id, deadline, reason } => {
                of_client!(
                    warn,
                    "auth.denied",
                    server,
                    client,
                    "login denied",
                    reauth = reauth,
                    latency_ms = millis(*latency),
                    session_id = session_id.map(display),
                    deadline = deadline.map(display),
                    reason = reason.as_str(),
                    temporary = reason.is_temporary(),
                );
            }
            Self::AuthError {
                server,
                client,
                reauth,
                latency,
                session_id,
                deadline,
                reason,
                error,
            } => {
                of_client!(
                    error,
                    "auth.error",
                    server,
                    client,
                    "login not decided: an internal fault",
                    reauth = reauth,
                    latency_ms = millis(*latency),
                    session_id = session_id.map(display),
                    deadline = deadline.map(display),
                    reason = reason.map(|reason| reason.as_str()),
                    temporary = reason.map(|reason| reason.is_temporary()),
                    error = error,
                );
            }
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "emit() has sorted the events")]
    fn emit_session(&self) {
        match self {
            Self::SessionOpened {
                server,
                client,
                session_id,
                vpn_ip,
                deadline,
                deadline_reason,
            } => {
                of_client!(
                    info,
                    "session.opened",
                    server,
                    client,
                    "session up",
                    vpn_ip = vpn_ip.as_deref(),
                    session_id = display(session_id),
                    deadline = deadline.map(display),
                    deadline_reason = deadline_reason.map(|cause| cause.as_str()),
                );
            }
            Self::SessionAdopted {
                server,
                client,
                session_id,
                vpn_ip,
                deadline,
                deadline_reason,
            } => {
                of_client!(
                    info,
                    "session.adopted",
                    server,
                    client,
                    "session taken over",
                    vpn_ip = vpn_ip.as_deref(),
                    session_id = display(session_id),
                    deadline = deadline.map(display),
                    deadline_reason = deadline_reason.map(|cause| cause.as_str()),
                );
            }
            Self::SessionExtended { server, client, session_id, deadline, deadline_reason } => {
                of_client!(
                    info,
                    "session.extended",
                    server,
                    client,
                    "session's deadline moved",
                    session_id = display(session_id),
                    deadline = deadline.map(display),
                    deadline_reason = deadline_reason.map(|cause| cause.as_str()),
                );
            }
            Self::SessionRenewing { server, client, session_id, deadline, deadline_reason } => {
                of_client!(
                    info,
                    "session.renewing",
                    server,
                    client,
                    "client told to connect again: OpenVPN would end the session before its new deadline",
                    session_id = display(session_id),
                    deadline = deadline.map(display),
                    deadline_reason = deadline_reason.map(|cause| cause.as_str()),
                );
            }
            Self::SessionEnding {
                server,
                client,
                session_id,
                deadline,
                deadline_reason,
                action,
                left,
            } => {
                of_client!(
                    info,
                    "session.ending",
                    server,
                    client,
                    "session ends soon",
                    session_id = display(session_id),
                    deadline = display(deadline),
                    deadline_reason = deadline_reason.as_str(),
                    action = action.as_str(),
                    left_s = left.as_secs(),
                );
            }
            Self::SessionExpired {
                server,
                client,
                session_id,
                deadline_reason,
                action,
                lateness,
            } => {
                of_client!(
                    info,
                    "session.expired",
                    server,
                    client,
                    "session's time is up",
                    session_id = display(session_id),
                    deadline_reason = deadline_reason.as_str(),
                    action = action.as_str(),
                    late_ms = millis(*lateness),
                );
            }
            Self::SessionKill { server, client, session_id, attempt } if *attempt <= 1 => {
                of_client!(
                    info,
                    "session.kill_sent",
                    server,
                    client,
                    "client told to leave",
                    session_id = session_id.map(display),
                    attempt = attempt,
                );
            }
            Self::SessionKill { server, client, session_id, attempt } => {
                of_client!(
                    warn,
                    "session.kill_retried",
                    server,
                    client,
                    "client told to leave again",
                    session_id = session_id.map(display),
                    attempt = attempt,
                );
            }
            Self::SessionClosed {
                server,
                client,
                session_id,
                cause,
                duration_s,
                bytes_received,
                bytes_sent,
            } => {
                of_client!(
                    info,
                    "session.closed",
                    server,
                    client,
                    "session closed",
                    session_id = display(session_id),
                    cause = cause.as_str(),
                    duration_s = duration_s,
                    bytes_received = bytes_received,
                    bytes_sent = bytes_sent,
                );
            }
            _ => {}
        }
    }
}
