//! What the daemon's log says, as a stranger reads it: each line by its fields, nothing from the program under test.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use ovpn_warden::types::{SessionId, Timestamp};
use serde::Deserialize;

use super::record::Millis;
use crate::population::number;

/// What a line says of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// `auth.allowed` of a login; not of a renegotiation.
    Allowed { deadline: Option<Millis> },
    /// `auth.denied` of a login.
    Denied { is_temporary: bool },
    /// `session.opened`, or `session.adopted` by another daemon.
    Known,
    /// `session.expired`.
    Expired,
    /// `session.kill_sent` and `session.kill_retried`.
    Killed,
    /// `session.closed`.
    Closed { cause: String, seconds: i64, bytes: (u64, u64) },
}

/// A line about a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub at: Millis,
    pub server: u32,
    pub cid: u32,
    /// Which user.
    pub number: usize,
    pub session: Option<SessionId>,
    pub what: What,
}

/// A line about something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `daemon.started`.
    Started,
    /// `daemon.stopping`.
    Stopping,
    /// `link.up`, of a server.
    Linked(u32),
    /// `link.lost` and `link.waiting`.
    Unlinked(u32),
    /// `store.down`.
    StoreDown,
    /// `store.up`.
    StoreUp,
}

/// The log of all daemons of a run, one after the other.
#[derive(Debug, Default)]
pub struct Log {
    pub lines: Vec<Line>,
    pub changes: Vec<(Millis, Change)>,
    /// Errors that no fault explains: rows that the database refused, a journal that failed, a panic.
    pub complaints: Vec<String>,
    /// Lines that are none: a killed daemon may leave half a one.
    pub broken: usize,
    /// How many lines are missing, as `log.dropped` says.
    pub dropped: u64,
    /// Of any kind.
    pub count: usize,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    level: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    server: Option<Cow<'a, str>>,
    cid: Option<u32>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    deadline: Option<Cow<'a, str>>,
    reauth: Option<bool>,
    temporary: Option<bool>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cause: Option<Cow<'a, str>>,
    duration_s: Option<i64>,
    bytes_received: Option<u64>,
    bytes_sent: Option<u64>,
    lines: Option<u64>,
}

impl Log {
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let mut log = Self::default();
        let (mut reader, mut line) = (BufReader::new(File::open(path)?), Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            log.take(&String::from_utf8_lossy(&line));
            line.clear();
        }
        Ok(log)
    }

    pub fn take(&mut self, text: &str) {
        self.count += 1;
        let Some(raw) = serde_json::from_str::<Raw<'_>>(text).ok() else {
            self.broken += 1;
            if text.contains("panicked") {
                self.complaints.push(text.trim_end().into());
            }
            return;
        };
        let Some(at) = millis(&raw.timestamp) else {
            self.broken += 1;
            return;
        };
        let event = raw.event.as_deref().unwrap_or_default();
        let server = raw.server.as_deref().and_then(|name| name.strip_prefix('s')?.parse().ok());
        let change = match (event, server) {
            ("daemon.started", _) => Some(Change::Started),
            ("daemon.stopping", _) => Some(Change::Stopping),
            ("link.up", Some(server)) => Some(Change::Linked(server)),
            ("link.lost" | "link.waiting", Some(server)) => Some(Change::Unlinked(server)),
            ("store.down", _) => Some(Change::StoreDown),
            ("store.up", _) => Some(Change::StoreUp),
            ("log.dropped", _) => {
                self.dropped += raw.lines.unwrap_or(0);
                None
            }
            _ => None,
        };
        if raw.level == "error" && !raw.is_of_a_fault(event) {
            self.complaints.push(text.trim_end().into());
        }
        self.changes.extend(change.map(|change| (at, change)));
        let Some(what) = raw.what(event) else { return };
        let who = (server, raw.cid, raw.user.as_deref().and_then(number));
        let (Some(server), Some(cid), Some(number)) = who else {
            self.complaints.push(format!("names nobody of the fleet: {}", text.trim_end()));
            return;
        };
        let session = raw.session_id.and_then(|id| id.parse().ok());
        self.lines.push(Line { at, server, cid, number, session, what });
    }
}

impl Raw<'_> {
    /// Whether an error is what a database that is away brings: it is told, and what could not be asked is denied for
    /// a moment.
    fn is_of_a_fault(&self, event: &str) -> bool {
        let is_away = matches!(self.reason.as_deref(), Some("backend_unavailable" | "timeout"));
        event == "store.down" || (event == "auth.error" && is_away)
    }

    fn what(&self, event: &str) -> Option<What> {
        let is_login = self.reauth != Some(true);
        Some(match event {
            "auth.allowed" if is_login => {
                What::Allowed { deadline: self.deadline.as_deref().and_then(millis) }
            }
            "auth.denied" if is_login => {
                What::Denied { is_temporary: self.temporary.unwrap_or(false) }
            }
            "session.opened" | "session.adopted" => What::Known,
            "session.expired" => What::Expired,
            "session.kill_sent" | "session.kill_retried" => What::Killed,
            "session.closed" => What::Closed {
                cause: self.cause.as_deref().unwrap_or_default().into(),
                seconds: self.duration_s.unwrap_or(-1),
                bytes: (self.bytes_received.unwrap_or(0), self.bytes_sent.unwrap_or(0)),
            },
            _ => return None,
        })
    }
}

fn millis(text: &str) -> Option<Millis> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_by_its_fields_and_what_no_fault_explains_is_kept() {
        let mut log = Log::default();
        let at = "2026-11-29T10:00:00.250Z";
        let id = "01937a3c-9a4b-7000-8000-0123456789ab";
        let who = r#""server":"s3","cid":7,"user":"user000012""#;
        for line in [
            format!(
                r#"{{"timestamp":"{at}","level":"info","event":"session.closed","message":"x",{who},"session_id":"{id}","cause":"idle","duration_s":9,"bytes_received":1,"bytes_sent":2}}"#
            ),
            format!(
                r#"{{"timestamp":"{at}","level":"info","event":"auth.allowed",{who},"reauth":true}}"#
            ),
            format!(
                r#"{{"timestamp":"{at}","level":"info","event":"auth.allowed",{who},"reauth":false,"deadline":"{at}"}}"#
            ),
            format!(
                r#"{{"timestamp":"{at}","level":"info","event":"auth.denied","server":"s3","cid":7,"user":"ma\"x","temporary":true}}"#
            ),
            format!(
                r#"{{"timestamp":"{at}","level":"error","event":"auth.error",{who},"reason":"timeout"}}"#
            ),
            format!(
                r#"{{"timestamp":"{at}","level":"error","event":"auth.error",{who},"reason":"protocol"}}"#
            ),
            format!(r#"{{"timestamp":"{at}","level":"info","event":"log.dropped","lines":4}}"#),
            format!(r#"{{"timestamp":"{at}","level":"info","event":"link.lost","server":"s3"}}"#),
            format!(r#"{{"timestamp":"{at}","level":"error","event":"store.down","error":"x"}}"#),
            format!(
                r#"{{"timestamp":"{at}","level":"error","event":"log","at":"src/x.rs:1:1","message":"a fault of ovpn-warden itself"}}"#
            ),
            "{\"timestamp\":\"2026-11".into(),
            "thread 'hash-0' panicked at src/x.rs:1:1:".into(),
        ] {
            log.take(&line);
        }
        let at = millis(at).unwrap();
        let of = |what, session: Option<&str>| Line {
            at,
            server: 3,
            cid: 7,
            number: 12,
            session: session.map(|id| id.parse().unwrap()),
            what,
        };
        let closed = What::Closed { cause: "idle".into(), seconds: 9, bytes: (1, 2) };
        let allowed = What::Allowed { deadline: Some(at) };
        assert_eq!(log.lines, [of(closed, Some(id)), of(allowed, None)]);
        assert_eq!(log.changes, [(at, Change::Unlinked(3)), (at, Change::StoreDown)]);
        assert_eq!((log.broken, log.dropped, log.count), (2, 4, 12));
        let wanted = ["names nobody", "protocol", "of ovpn-warden itself", "panicked"];
        assert_eq!(log.complaints.len(), wanted.len(), "{:?}", log.complaints);
        for (complaint, words) in log.complaints.iter().zip(wanted) {
            assert!(complaint.contains(words), "{complaint}");
        }
    }
}
