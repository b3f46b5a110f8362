//! Metrics in Prometheus' text form. Labels come from closed sets: never a user or an address.

use std::time::Duration;

use metrics::{
    SharedString, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::types::{DenyReason, ServerName};

use super::events::Event;

const AUTH_TOTAL: &str = "ovpn_warden_auth_total";
const AUTH_SECONDS: &str = "ovpn_warden_auth_seconds";
const SESSIONS: &str = "ovpn_warden_sessions";
const SESSIONS_CLOSED: &str = "ovpn_warden_sessions_closed_total";
const LATENESS: &str = "ovpn_warden_deadline_lateness_seconds";
const LINK_UP: &str = "ovpn_warden_link_up";
const LINK_RECONNECTS: &str = "ovpn_warden_link_reconnects_total";
const REJECTED: &str = "ovpn_warden_protocol_rejected_total";
const HASH_QUEUE: &str = "ovpn_warden_hash_queue";
const WEBHOOK_DROPPED: &str = "ovpn_warden_webhook_dropped_total";
const STORE_UP: &str = "ovpn_warden_store_up";
const STORE_SECONDS: &str = "ovpn_warden_store_seconds";
const STORE_BACKLOG: &str = "ovpn_warden_store_backlog";
const CLIENT_BYTES: &str = "ovpn_warden_client_bytes_total";
const BUILD_INFO: &str = "ovpn_warden_build_info";

/// Seconds from a login's arrival to our answer.
const AUTH_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds from a deadline to the kill.
const LATENESS_BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0];

/// Seconds that one call of the store takes.
const STORE_BUCKETS: [f64; 9] = [0.0005, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];

/// Makes the recorder that the whole process counts into.
///
/// # Errors
/// When there is one already.
pub(super) fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(AUTH_SECONDS.into()), &AUTH_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(LATENESS.into()), &LATENESS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(STORE_SECONDS.into()), &STORE_BUCKETS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

/// Between two times that what was measured is put into its buckets.
const UPKEEP: Duration = Duration::from_secs(30);

/// Until that each measurement is kept by itself. `/metrics` does it, too, but nobody may ever ask there.
pub async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = sleep(UPKEEP) => handle.run_upkeep(),
            () = stop.cancelled() => return,
        }
    }
}

/// Says what each is, and begins those without labels.
fn describe() {
    describe_counter!(AUTH_TOTAL, "Answers to logins and renegotiations");
    describe_histogram!(AUTH_SECONDS, "Seconds from a login's arrival to its answer");
    describe_gauge!(SESSIONS, "Live sessions");
    describe_counter!(SESSIONS_CLOSED, "Ended sessions");
    describe_histogram!(LATENESS, "Seconds from a session's deadline to its kill");
    describe_gauge!(LINK_UP, "Whether the management link is up");
    describe_counter!(LINK_RECONNECTS, "Times a management link was lost");
    describe_counter!(REJECTED, "Messages from the management port that were refused");
    describe_gauge!(HASH_QUEUE, "Passwords that wait for a hashing thread");
    describe_counter!(WEBHOOK_DROPPED, "Notices that the webhook's receiver will not get");
    describe_gauge!(STORE_UP, "Whether the database answers");
    describe_histogram!(STORE_SECONDS, "Seconds that a call of the store took, by its name");
    describe_gauge!(STORE_BACKLOG, "Session rows that wait for the database");
    describe_counter!(CLIENT_BYTES, "Octets of ended sessions, by direction from the client");
    describe_gauge!(BUILD_INFO, "1, labelled with the version");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    // A series that begins at nought shows its first event as a step.
    let _ = histogram!(LATENESS);
    counter!(WEBHOOK_DROPPED).increment(0);
}

/// Kinds of `protocol.rejected`: those of the protocol's own list.
const REJECT_KINDS: [&str; 9] = [
    "bad_id",
    "unknown_event",
    "line_too_long",
    "block_too_large",
    "interrupted_block",
    "duplicate_key",
    "malformed",
    "truncated",
    "status",
];

/// Begins the series of a server, those that alerts wait for: the first event counts for them only as a step.
fn begin(server: &ServerName) {
    counter!(LINK_RECONNECTS, "server" => name(server)).increment(0);
    for kind in REJECT_KINDS {
        counter!(REJECTED, "server" => name(server), "kind" => kind).increment(0);
    }
    for reason in DenyReason::ALL.iter().filter(|reason| reason.is_temporary()) {
        let reason = reason.as_str();
        counter!(AUTH_TOTAL, "server" => name(server), "outcome" => "denied", "reason" => reason)
            .increment(0);
    }
}

fn name(server: &ServerName) -> SharedString {
    server.shared().into()
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
        Event::AuthChallenged { server, latency, .. } => {
            answered(server, "challenged", "", latency.as_secs_f64());
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
        Event::DaemonStarted { servers } => servers.iter().for_each(begin),
        Event::DaemonStopping { .. }
        | Event::ConfigReloaded { .. }
        | Event::ConfigRejected { .. }
        | Event::LinkUp { .. }
        | Event::LinkWaiting { .. }
        | Event::LinkRefused { .. }
        | Event::SessionOpened { .. }
        | Event::SessionAdopted { .. }
        | Event::SessionExtended { .. }
        | Event::SessionRenewing { .. }
        | Event::SessionEnding { .. }
        | Event::SessionKill { .. }
        | Event::StoreDown { .. }
        | Event::StoreUp { .. }
        | Event::StoreBacklog { .. }
        | Event::ThrottleHeld { .. }
        | Event::StoreRefused { .. }
        | Event::StoreUnreadable { .. }
        | Event::JournalWritten { .. }
        | Event::JournalReplayed { .. }
        | Event::JournalFailed { .. }
        | Event::JournalUsable { .. }
        | Event::WebhookFailed { .. }
        | Event::RetentionRemoved { .. }
        | Event::RetentionFailed { .. }
        | Event::ProtocolUnexpected { .. }
        | Event::ServerFatal { .. }
        | Event::ServerRestarted { .. }
        | Event::HoldReleased { .. }
        | Event::LogDropped { .. }
        | Event::ConsoleDenied { .. }
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

pub(super) fn set_queues(queues: Queues) {
    gauge!(HASH_QUEUE).set(queues.hash as f64);
    gauge!(STORE_BACKLOG).set(queues.store as f64);
}

/// How much waits, counted when somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queues {
    /// Passwords that wait for a hashing thread.
    pub hash: usize,
    /// Session rows that wait for the database.
    pub store: usize,
}

/// Counts one call of the store; `name` is of a closed set.
pub fn store_took(name: &'static str, duration: Duration) {
    histogram!(STORE_SECONDS, "op" => name).record(duration.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    #[test]
    fn series_of_rare_events_begin_at_nought() {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(LATENESS.into()), &LATENESS_BUCKETS)
            .unwrap()
            .build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            let servers = ["udp", "tcp"].map(|name| name.parse().unwrap());
            count(&Event::DaemonStarted { servers: servers.clone().into() });
            let text = handle.render();
            for line in [
                "ovpn_warden_deadline_lateness_seconds_count 0",
                "ovpn_warden_link_reconnects_total{server=\"udp\"} 0",
                "ovpn_warden_link_reconnects_total{server=\"tcp\"} 0",
                "ovpn_warden_webhook_dropped_total 0",
                "ovpn_warden_protocol_rejected_total{server=\"udp\",kind=\"truncated\"} 0",
                "ovpn_warden_auth_total{server=\"udp\",outcome=\"denied\",reason=\"timeout\"} 0",
            ] {
                assert!(text.lines().any(|found| found == line), "{line}\n{text}");
            }
            let [server, _] = servers;
            let (address, retry_in) = ("a".into(), Duration::ZERO);
            count(&Event::LinkLost { server, address, retry_in, error: String::new() });
            let line = "ovpn_warden_link_reconnects_total{server=\"udp\"} 1";
            assert!(handle.render().contains(line));
        });
    }

    /// The metrics that a text names, without what a histogram's series have behind it.
    fn named(text: &str) -> BTreeSet<&str> {
        const MARK: &str = "ovpn_warden_";
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        text.match_indices(MARK)
            .map(|(at, _)| {
                let name = &text[at..];
                let name = name.find(|c| !is_name(c)).map_or(name, |end| &name[..end]);
                ["_bucket", "_count", "_sum"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .unwrap_or(name)
            })
            .collect()
    }

    #[test]
    fn dashboard_and_alerts_name_what_there_is() {
        let dashboard = named(include_str!("../../conf/grafana/ovpn-warden.json"));
        let rules = named(include_str!("../../conf/prometheus/ovpn-warden.rules.yml"));
        let all: BTreeSet<&str> =
            named(include_str!("metrics.rs").split_once("/// Seconds").unwrap().0);
        assert_eq!(all.len(), 15);
        assert_eq!(dashboard, all, "everything is shown");
        assert!(rules.is_subset(&all), "{:?}", rules.difference(&all));
    }

    #[test]
    fn what_waits_and_how_long_the_store_takes_are_told() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            set_queues(Queues { hash: 3, store: 7 });
            store_took("facts", Duration::from_millis(2));
        });
        let text = recorder.handle().render();
        for line in [
            "ovpn_warden_hash_queue 3",
            "ovpn_warden_store_backlog 7",
            "ovpn_warden_store_seconds_count{op=\"facts\"} 1",
        ] {
            assert!(text.contains(line), "{line} in:\n{text}");
        }
    }
}
