//! Every event, as it could come.

use std::{sync::Arc, time::Duration};

use ovpn_warden::{
    telemetry::events::{ClientRef, Event},
    types::{
        Cause, Cid, DenyReason, DeviceId, ExpiryAction, Factor, Kid, LockoutScope, SessionId,
        Timestamp,
    },
};

fn client(has_kid: bool) -> ClientRef {
    ClientRef {
        cid: Cid(7),
        kid: has_kid.then_some(Kid(1)),
        user: Some("alice".into()),
        common_name: Some("alice".into()),
        device: Some(DeviceId::parse("00:11:22:33:44:55").unwrap()),
        client_ip: Some("192.0.2.7".parse().unwrap()),
        client_port: Some(40_000),
    }
}

/// Every event, with every field that it can have.
pub fn samples() -> Vec<Event> {
    let server = || "udp-1194".parse().unwrap();
    let address = || Arc::<str>::from("tcp://127.0.0.1:7505");
    let at = Timestamp::from_millis(1_795_435_003_007);
    let session_id = SessionId::new(at, [7; 10]);
    let deadline = Some(at.saturating_add(Duration::from_secs(28_800)));
    let (latency, lateness) = (Duration::from_millis(41), Duration::from_millis(2));
    let retry_in = Duration::from_millis(1_500);
    let vpn_ip = || Some(Arc::<str>::from("10.8.0.6"));
    let deadline_reason = Some(Cause::SessionLimit);
    let killed = |attempt| Event::SessionKill {
        server: server(),
        client: client(false),
        session_id: Some(session_id),
        attempt,
    };
    vec![
        Event::DaemonStarted { servers: vec![server(), "tcp-443".parse().unwrap()] },
        Event::DaemonStopping { servers: vec![server()], signal: "SIGTERM" },
        Event::ConfigReloaded { servers: vec!["udp-1194".parse().unwrap()] },
        Event::ConfigRejected { error: "config.toml: there is no key `log.levle`".into() },
        Event::LinkUp {
            server: server(),
            address: address(),
            openvpn_version: "OpenVPN 2.6.14".into(),
        },
        Event::LinkLost {
            server: server(),
            address: address(),
            retry_in,
            error: "connection refused: is OpenVPN running?".into(),
        },
        Event::LinkWaiting {
            server: server(),
            address: address(),
            retry_in: Duration::ZERO,
            error: "another management client is served".into(),
        },
        Event::LinkRefused {
            address: "192.0.2.66:40001".into(),
            error: "it accepts the password of no server".into(),
        },
        Event::AuthAllowed {
            server: server(),
            client: client(true),
            reauth: false,
            latency,
            session_id: Some(session_id),
            deadline,
            offline: true,
            second_factor: Some(Factor::Totp),
        },
        Event::AuthChallenged { server: server(), client: client(true), latency, way: "crv1" },
        Event::AuthDenied {
            server: server(),
            client: client(true),
            reauth: true,
            latency,
            session_id: Some(session_id),
            deadline,
            reason: DenyReason::DeviceUnknown,
        },
        Event::AuthError {
            server: server(),
            client: client(true),
            reauth: false,
            latency,
            session_id: None,
            deadline: None,
            reason: Some(DenyReason::BackendUnavailable),
            error: "the stored password hash is of no known scheme".into(),
        },
        Event::SessionOpened {
            server: server(),
            client: client(false),
            session_id,
            vpn_ip: vpn_ip(),
            deadline,
            deadline_reason,
        },
        Event::SessionAdopted {
            server: server(),
            client: client(false),
            session_id,
            vpn_ip: vpn_ip(),
            deadline,
            deadline_reason,
        },
        Event::SessionExtended {
            server: server(),
            client: client(false),
            session_id,
            deadline,
            deadline_reason,
        },
        Event::SessionRenewing {
            server: server(),
            client: client(false),
            session_id,
            deadline,
            deadline_reason: Some(Cause::Admin),
        },
        Event::SessionEnding {
            server: server(),
            client: client(false),
            session_id,
            deadline: at.saturating_add(Duration::from_secs(28_800)),
            deadline_reason: Cause::SessionLimit,
            action: ExpiryAction::Halt,
            left: Duration::from_secs(300),
        },
        Event::SessionExpired {
            server: server(),
            client: client(false),
            session_id,
            deadline_reason: Cause::SessionLimit,
            action: ExpiryAction::Halt,
            lateness,
        },
        killed(1),
        killed(2),
        Event::SessionClosed {
            server: server(),
            client: client(false),
            session_id,
            cause: Cause::SessionLimit,
            duration_s: 28_800,
            bytes_received: 1_234_567,
            bytes_sent: 7_654_321,
        },
        Event::ThrottleHeld {
            user: Some("alice".into()),
            scope: LockoutScope::Login,
            network: Some([192, 0, 2, 7].into()),
            failures: 5,
            until: Timestamp::from_secs(1_795_435_903),
        },
        Event::StoreDown { error: "database unavailable: connection refused".into() },
        Event::StoreUp { pending: 3 },
        Event::StoreBacklog { pending: 1_000, error: "database unavailable: timed out".into() },
        Event::StoreRefused {
            session_id,
            server: server(),
            user: "alice".into(),
            state: "closed",
            started_at: Timestamp::from_secs(1_795_435_003),
            bytes_received: 1_234_567,
            bytes_sent: 7_654_321,
            error: "database refused a statement: data too long".into(),
        },
        Event::StoreUnreadable {
            server: Some(server()),
            error:
                "sessions.state where id is `019ab0c5-46bf-7707-8707-070707070707`: unknown word"
                    .into(),
        },
        Event::JournalWritten { rows: 500, error: "database unavailable: timed out".into() },
        Event::JournalReplayed { rows: 12_345 },
        Event::JournalFailed {
            error: "database unavailable: /var/lib/ovpn-warden/journal.db: database or disk is full (13)"
                .into(),
        },
        Event::JournalUsable { file: "approvals" },
        Event::WebhookFailed { error: "connection refused".into(), pending: 3 },
        Event::WebhookDropped { dropped: 17, error: "more wait than webhook.queue holds".into() },
        Event::RetentionRemoved { rows: 12_345, before: at },
        Event::RetentionFailed {
            error: "database refused a statement: DELETE command denied".into(),
        },
        Event::ProtocolRejected { server: server(), kind: "malformed", offset: 4_711 },
        Event::ProtocolUnexpected {
            server: server(),
            what: "DISCONNECT of an unknown client",
            cid: Some(Cid(7)),
        },
        Event::ServerFatal { server: server(), text: "Cannot open TUN/TAP dev".into() },
        Event::ServerRestarted { server: server(), clients: 12 },
        Event::HoldReleased { server: server() },
        Event::AdminAction {
            actor: "cli:root".into(),
            action: "session.kill",
            target: session_id.to_string(),
            user: Some("alice".into()),
        },
        Event::ConsoleDenied { reason: "wrong token" },
        Event::LogDropped { lines: 17 },
    ]
}
