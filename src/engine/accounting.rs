//! When byte counts are asked for and stored.
//!
//! A crash may lose what was carried in one accounting interval. Between a byte and its row are the
//! server's next count and our next round: the server counts every three quarters of the interval, and
//! each quarter is a round. Servers take turns within a quarter.

use std::time::Duration;

use crate::{proto::Command, store::ServerRecord, types::Now};

use super::{CLOSE_COUNT_S, Engine, Output, Reconciled, clients::Client, replies::Expect};

/// Rounds in one accounting interval.
pub const ROUNDS: u32 = 4;
/// So many rounds lie between two rows of a session at least: where the server counts more often,
/// because of somebody's limits, not each count is stored.
const ROUNDS_APART: u32 = 2;

impl Engine {
    /// The first round of a connection.
    pub(super) fn begin_rounds(&mut self, now: Now) {
        self.timers.accounting = Some(now.mono + self.settings.accounting_first);
    }

    /// How often the server tells byte counts.
    pub(super) fn send_byte_count(&mut self, now: Now) {
        let interval = self.settings.accounting_interval * (ROUNDS - 1) / ROUNDS;
        let seconds = u32::try_from(interval.as_secs()).unwrap_or(60);
        let is_watched = |client: &Client| client.session.as_ref().is_some_and(|s| s.is_watched());
        let is_close = self.clients.iter().any(|(_, client)| is_watched(client));
        self.count_every(if is_close { seconds.min(CLOSE_COUNT_S) } else { seconds }, now);
    }

    /// A session whose counters have limits: the server has to tell them often.
    pub(super) fn watch_closely(&mut self, now: Now) {
        if self.is_ready() && self.count_interval_s > CLOSE_COUNT_S {
            self.count_every(CLOSE_COUNT_S, now);
        }
    }

    fn count_every(&mut self, seconds: u32, now: Now) {
        self.count_interval_s = seconds.max(1);
        self.send(Command::ByteCount(self.count_interval_s), Expect::ByteCount, now);
    }

    /// Stores the byte counts that have changed.
    pub(super) fn account(&mut self, now: Now) {
        self.timers.accounting = Some(now.mono + self.settings.accounting_interval / ROUNDS);
        self.round = self.round.wrapping_add(1);
        match self.round % ROUNDS {
            0 if !std::mem::take(&mut self.was_heard) && self.is_ready() => {
                // A half-open connection looks like a quiet server until it is asked something.
                self.send(Command::State, Expect::State, now);
            }
            // It has answered by now.
            1 => self.mark_server(),
            _ => {}
        }
        self.checkpoint(ROUNDS_APART);
    }

    /// The program stops: everything is stored, every client stays connected.
    pub fn handle_shutdown(&mut self) {
        while let Some(departed) = self.departed.pop_front() {
            self.close_departed(departed, None);
        }
        self.checkpoint(0);
        self.mark_server();
        self.timers.accounting = None;
    }

    fn checkpoint(&mut self, apart: u32) {
        let (round, heard_at) = (self.round, self.heard_at);
        for (_, client) in self.clients.iter_mut() {
            let is_stale = client.is_stale;
            let is_due = |last: u32| round.wrapping_sub(last) >= apart;
            let session = client.session.as_mut();
            let Some(session) = session.filter(|s| s.is_dirty && is_due(s.stored_in)) else {
                continue;
            };
            session.stored_in = round;
            // Nobody knows whether a stale one, or one of a silent server, is still there.
            session.touch(if is_stale { session.record.updated_at } else { heard_at });
            self.outputs.push_back(Output::Persist(Box::new(session.record.clone())));
        }
    }

    /// Notes that the server, and with it whoever is connected, was there when it was heard last.
    pub(super) fn mark_server(&mut self) {
        let Some(run) = self.run.filter(|_| self.is_ready() && !self.awaits_run) else {
            return;
        };
        if self.reconciled != Reconciled::Yes {
            return;
        }
        self.outputs.push_back(Output::MarkServer(Box::new(ServerRecord {
            name: self.server(),
            address: self.settings.address.as_ref().to_owned(),
            openvpn_version: self.openvpn_version.as_ref().to_owned(),
            run_started: run,
            seen_at: self.heard_at,
            sessions: u32::try_from(self.clients.session_count()).unwrap_or(u32::MAX),
        })));
    }
}

/// When a server's first round is, the servers being so many and this one the `turn`th, from 0.
pub fn first_round(interval: Duration, turn: u32, servers: u32) -> Duration {
    let quarter = interval / ROUNDS;
    quarter.mul_f64(f64::from(turn + 1) / f64::from(servers.max(1)))
}
