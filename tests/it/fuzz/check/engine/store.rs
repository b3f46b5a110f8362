//! The database as far as an engine knows it: the last version of every row.

use std::{collections::BTreeMap, time::Duration};

use ovpn_warden::{
    store::{DayMarks, SessionRecord, SessionState},
    types::{Cause, Cid, ExpiryAction, Now, SessionId, Timestamp},
};

/// Rows that are written, and such that wait for a slow database.
#[derive(Default)]
pub(super) struct Store {
    rows: BTreeMap<SessionId, SessionRecord>,
    unwritten: Vec<SessionRecord>,
    is_slow: bool,
    planted: u8,
}

impl Store {
    pub(super) fn write(&mut self, record: SessionRecord) {
        if self.is_slow {
            self.unwritten.push(record);
            return;
        }
        let version = self.rows.get(&record.id).map_or(0, |row| row.version);
        if record.version > version {
            self.rows.insert(record.id, record);
        }
    }

    pub(super) fn set_slow(&mut self, is_slow: bool) {
        self.is_slow = is_slow;
        if !is_slow {
            for record in std::mem::take(&mut self.unwritten) {
                self.write(record);
            }
        }
    }

    pub(super) fn lose_unwritten(&mut self) {
        self.unwritten.clear();
    }

    pub(super) fn rows(&self) -> BTreeMap<SessionId, SessionRecord> {
        self.rows.clone()
    }

    /// Every open row, as the daemon tells them: with what waits to be written.
    pub(super) fn open(&self) -> Vec<SessionRecord> {
        let mut rows = self.rows.clone();
        for record in &self.unwritten {
            rows.entry(record.id).and_modify(|row| {
                if record.version > row.version {
                    *row = record.clone();
                }
            });
        }
        rows.into_values().filter(|row| row.state != SessionState::Closed).collect()
    }

    pub(super) fn nth(&self, which: usize) -> Option<SessionId> {
        self.rows.keys().nth(which.checked_rem(self.rows.len())?).copied()
    }

    /// A row that another process left open.
    pub(super) fn plant(&mut self, how: u8, run: i64, now: Now) -> Option<SessionRecord> {
        if self.planted >= 8 {
            return None;
        }
        self.planted += 1;
        let run = if how & 16 == 0 { run } else { run - 50 };
        let deadline = (how & 32 == 0).then(|| now.utc.saturating_add(Duration::from_secs(60)));
        let is_closing = how & 64 != 0;
        let record = SessionRecord {
            id: SessionId::new(now.utc, [self.planted; 10]),
            version: 3,
            state: if is_closing { SessionState::Closing } else { SessionState::Active },
            server: "udp".parse().unwrap(),
            run_started: Timestamp::from_secs(run),
            cid: Cid(u32::from(how & 7)),
            user: if how & 8 == 0 { "alice" } else { "bob" }.parse().unwrap(),
            common_name: None,
            device: None,
            client_ip: None,
            client_port: None,
            vpn_ip: None,
            client_version: None,
            client_platform: None,
            started_at: now.utc.saturating_sub(Duration::from_secs(60)),
            updated_at: now.utc,
            deadline: if how & 128 == 0 { deadline } else { Some(now.utc) },
            deadline_reason: deadline.map(|_| Cause::SessionLimit),
            expiry_action: ExpiryAction::Halt,
            warned_at: None,
            ended_at: None,
            cause: is_closing.then_some(Cause::Admin),
            bytes_received: 7,
            bytes_sent: 9,
            day_marks: DayMarks::default(),
            session_timeout_s: None,
            certificate: None,
        };
        self.rows.insert(record.id, record.clone());
        Some(record)
    }
}
