//! Metrics in Prometheus' text form. Labels come from closed sets: never a user or an address.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::types::ServerName;

use super::events::Event;

const AUTH_TOTAL: &str = "ovpn_warden_auth_total";
const AUTH_SECONDS: &str = "ovpn_warden_auth_seconds";
const SESSIONS: &str = "ovpn_warden_sessions";
const SESSIONS_CLOSED: &str = "ovpn_warden_sessions_closed_total";
const LATENESS: &str = "ovpn_warden_deadline_lateness_seconds";
const LINK_UP: &str = "ovpn_warden_link_up";
const LINK_RECONNECTS: &str = "ovpn_warden_link_reconnects_total";
const REJECTED: &str = "ovpn_warden_protocol_rejected_total";
const WEBHOOK_DROPPED: &str = "ovpn_warden_webhook_dropped_total";
const STORE_UP: &str = "ovpn_warden_store_up";
const CLIENT_BYTES: &str = "ovpn_warden_client_bytes_total";
const BUILD_INFO: &str = "ovpn_warden_build_info";

/// Seconds from a login's arrival to our answer.
const AUTH_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds from a deadline to the kill.
const LATENESS_BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0];

/// Makes the recorder that the whole process counts into.
///
/// # Errors
/// When there is one already.
pub(super) fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(AUTH_SECONDS.into()), &AUTH_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(LATENESS.into()), &LATENESS_BUCKETS)?
        .install_recorder()?;
    describe_counter!(AUTH_TOTAL, "Answers to logins and renegotiations");
    describe_histogram!(AUTH_SECONDS, "Seconds from a login's arrival to its answer");
    describe_gauge!(SESSIONS, "Live sessions");
    describe_counter!(SESSIONS_CLOSED, "Ended sessions");
    describe_histogram!(LATENESS, "Seconds from a session's deadline to its kill");
    describe_gauge!(LINK_UP, "Whether the management link is up");
    describe_counter!(LINK_RECONNECTS, "Times a management link was lost");
    describe_counter!(REJECTED, "Messages from the management port that were refused");
    describe_counter!(WEBHOOK_DROPPED, "Notices that the webhook's receiver will not get");
    describe_gauge!(STORE_UP, "Whether the database answers");
    describe_counter!(CLIENT_BYTES, "Octets of ended sessions, by direction from the client");
    describe_gauge!(BUILD_INFO, "1, labelled with the version");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

fn name(server: &ServerName) -> String {
    server.as_str().to_owned()
}

fn answered(server: &ServerName, outcome: &'static str, reason: &'static str, seconds: f64) {
    counter!(AUTH_TOTAL, "server" => name(server), "outcome" => outcome, "reason" => reason)
        .increment(1);
    histogram!(AUTH_SECONDS, "server" => name(server)).record(seconds);
}

/// Counts an event.
pub(super) fn count(event: &Event) {
    match event {
        Event::AuthAllowed { server, latency, .. } => {
            answered(server, "allowed", "", latency.as_secs_f64());
        }
        Event::AuthDenied { server, latency, reason, .. } => {
            answered(server, "denied", reason.as_str(), latency.as_secs_f64());
        }
        // A denial follows it and is counted.
        Event::AuthError { .. } => {}
        Event::SessionClosed { server, cause, bytes_received, bytes_sent, .. } => {
            counter!(SESSIONS_CLOSED, "server" => name(server), "cause" => cause.as_str())
                .increment(1);
            counter!(CLIENT_BYTES, "server" => name(server), "direction" => "received")
                .increment(*bytes_received);
            counter!(CLIENT_BYTES, "server" => name(server), "direction" => "sent")
                .increment(*bytes_sent);
        }
        Event::SessionExpired { lateness, .. } => {
            histogram!(LATENESS).record(lateness.as_secs_f64());
        }
        Event::LinkLost { server, .. } => {
            counter!(LINK_RECONNECTS, "server" => name(server)).increment(1);
        }
        Event::ProtocolRejected { server, kind, .. } => {
            counter!(REJECTED, "server" => name(server), "kind" => *kind).increment(1);
        }
        Event::WebhookDropped { dropped, .. } => {
            counter!(WEBHOOK_DROPPED).increment(*dropped);
        }
        Event::DaemonStarted { .. }
        | Event::DaemonStopping { .. }
        | Event::ConfigReloaded { .. }
        | Event::ConfigRejected { .. }
        | Event::LinkUp { .. }
        | Event::LinkWaiting { .. }
        | Event::LinkRefused { .. }
        | Event::SessionOpened { .. }
        | Event::SessionAdopted { .. }
        | Event::SessionExtended { .. }
        | Event::SessionEnding { .. }
        | Event::SessionKill { .. }
        | Event::StoreDown { .. }
        | Event::StoreUp { .. }
        | Event::StoreBacklog { .. }
        | Event::StoreRefused { .. }
        | Event::StoreUnreadable { .. }
        | Event::JournalWritten { .. }
        | Event::JournalReplayed { .. }
        | Event::JournalFailed { .. }
        | Event::WebhookFailed { .. }
        | Event::RetentionRemoved { .. }
        | Event::RetentionFailed { .. }
        | Event::ProtocolUnexpected { .. }
        | Event::ServerFatal { .. }
        | Event::ServerRestarted { .. }
        | Event::HoldReleased { .. }
        | Event::LogDropped { .. }
        | Event::AdminAction { .. } => {}
    }
}

pub(super) fn set_sessions(server: &ServerName, count: usize) {
    gauge!(SESSIONS, "server" => name(server)).set(count as f64);
}

pub(super) fn set_link(server: &ServerName, is_up: bool) {
    gauge!(LINK_UP, "server" => name(server)).set(f64::from(u8::from(is_up)));
}

pub(super) fn set_store(is_up: bool) {
    gauge!(STORE_UP).set(f64::from(u8::from(is_up)));
}
