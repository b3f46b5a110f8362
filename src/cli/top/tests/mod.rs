//! The core of `top`: keys, frames, and the picture in the documentation.

mod frames;
mod keys;
mod picture;

use std::{collections::BTreeMap, time::Duration};

use super::{
    metrics::{Answers, Scrape},
    state::{Found, Look, Setup, State},
};
use crate::{
    store::{DayMarks, SessionRecord, SessionState},
    types::{Cause, Cid, DeviceId, ExpiryAction, Mono, Now, SessionId, Timestamp},
};

/// 2026-11-24 12:00:00 UTC.
const NOON: i64 = 1_795_521_600;
const MIB: u64 = 1 << 20;

/// So many seconds after noon.
fn now(seconds: u64) -> Now {
    let utc = Timestamp::from_secs(NOON).saturating_add(Duration::from_secs(seconds));
    Now { mono: Mono(Duration::from_secs(1_000 + seconds)), utc }
}

fn session(number: u8, user: &str, server: &str, left: Option<u64>) -> SessionRecord {
    let at = now(0).utc;
    let started_at = at.saturating_sub(Duration::from_secs(600 * u64::from(number)));
    SessionRecord {
        id: SessionId::new(started_at, [number; 10]),
        version: 1,
        state: SessionState::Active,
        server: server.parse().unwrap(),
        run_started: at,
        cid: Cid(number.into()),
        user: user.parse().unwrap(),
        common_name: Some(user.into()),
        device: DeviceId::parse(&format!("02:1a:2b:3c:4d:{number:02x}")).ok(),
        client_ip: Some(format!("198.51.100.{number}").parse().unwrap()),
        client_port: Some(40_000),
        vpn_ip: Some(format!("10.8.0.{number}").into()),
        client_version: Some("2.6.14".into()),
        client_platform: Some("linux".into()),
        started_at,
        updated_at: at,
        deadline: left.map(|left| at.saturating_add(Duration::from_secs(left))),
        deadline_reason: left.map(|_| Cause::SessionLimit),
        expiry_action: ExpiryAction::Halt,
        warned_at: None,
        ended_at: None,
        cause: None,
        bytes_received: u64::from(number) * MIB,
        bytes_sent: 10 * u64::from(number) * MIB,
        day_marks: DayMarks::default(),
        session_timeout_s: None,
        certificate: None,
    }
}

/// The same after so many seconds, in which it carried so much.
fn later(session: &SessionRecord, seconds: u64, received: u64, sent: u64) -> SessionRecord {
    SessionRecord {
        updated_at: session.updated_at.saturating_add(Duration::from_secs(seconds)),
        bytes_received: session.bytes_received + received,
        bytes_sent: session.bytes_sent + sent,
        ..session.clone()
    }
}

fn scrape(allowed: f64, denied: &[(&'static str, f64)]) -> Scrape {
    let links = [("tcp-443", false), ("udp-1194", true)];
    Scrape {
        version: Some("0.1.0".into()),
        links: links.map(|(name, up)| (name.parse().unwrap(), up)).into(),
        answers: Answers { allowed, denied: denied.iter().copied().collect::<BTreeMap<_, _>>() },
        database_up: Some(true),
        backlog: Some(0.0),
        hash_queue: Some(2.0),
    }
}

fn found(sessions: Vec<SessionRecord>) -> Result<Found, String> {
    Ok(Found { sessions, unreadable: None })
}

const COLOR: Look = Look { color: true, unicode: true };

fn empty(look: Look) -> State {
    let servers = ["tcp-443", "udp-1194"].map(|name| name.parse().unwrap()).into();
    let setup = Setup { look, server: None, servers, accounting: Duration::from_secs(30) };
    State::new(setup, now(0))
}

fn four() -> Vec<SessionRecord> {
    vec![
        session(1, "alice", "udp-1194", Some(12_000)),
        session(2, "bob", "tcp-443", Some(90)),
        session(3, "carol", "udp-1194", None),
        session(4, "dave@example.org", "udp-1194", Some(28_000)),
    ]
}

/// Four sessions, and some minutes of logins.
fn watched(look: Look) -> State {
    let mut state = empty(look);
    let sessions = four();
    state.handle_sessions(found(sessions.clone()), now(0));
    let (mut allowed, mut bad, mut unknown) = (100.0, 12.0, 3.0);
    for second in 0..60u64 {
        let wave = second % 12;
        allowed += 2.0 * wave.min(12 - wave) as f64;
        bad += f64::from(u8::from(second % 7 == 0));
        unknown += f64::from(u8::from(second % 20 == 19)) * 3.0;
        let denied = [("bad_credentials", bad), ("device_unknown", unknown), ("throttled", 4.0)];
        state.handle_scrape(Ok(scrape(allowed, &denied)), now(2 * second));
    }
    let carried = [(3 * MIB, 40 * MIB), (0, 0), (100_000, 900_000), (1, MIB)];
    let sessions = sessions
        .iter()
        .zip(carried)
        .map(|(session, (received, sent))| later(session, 100, received, sent));
    state.handle_sessions(found(sessions.collect()), now(120));
    state
}
