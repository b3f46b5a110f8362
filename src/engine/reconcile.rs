//! After an attach: what the server says is there, what we remember, what the database holds.
//!
//! A complete `status 3` is the truth about who is connected; an incomplete one says nothing.
//! Clients that we do not know wait as strays until the database's open rows tell their session.

use std::collections::BTreeSet;

use crate::{
    proto::{Command, StatusClient, StatusReport},
    store::{OpenSession, SessionRecord, SessionState},
    telemetry::events::ClientRef,
    types::{Cause, Cid, Now, Zone, truncate_on_char},
};

use super::{
    Engine, Output, Reconciled, STATUS_RETRY, Ticket,
    clients::Client,
    live::Session,
    login::{cut, nobody, shown},
    replies::Expect,
    session::Departed,
};

/// By how much an adopted row's version jumps ahead of its last holder's: by more than that one can store while it is cut off.
const ADOPTION_LEAD: u32 = 100_000;

impl Engine {
    /// Asks for the list, unless it is asked for already.
    pub(super) fn ask_status(&mut self, now: Now) {
        if self.can_send() && !self.replies.contains(|e| matches!(e, Expect::Status { .. })) {
            self.timers.status = None;
            self.send_status(now);
            // Its reply shows when the list before it had no end.
            self.send(Command::State, Expect::State, now);
        }
    }

    pub(super) fn send_status(&mut self, now: Now) {
        let asked = self.next_serial();
        self.send(Command::Status, Expect::Status { asked }, now);
    }

    /// The complete list of the server's clients, asked for at `asked`.
    pub(super) fn on_status(&mut self, report: StatusReport, asked: u64, now: Now) {
        self.status_is_known = true;
        let listed: BTreeSet<Cid> = report.clients.iter().map(|row| row.cid).collect();
        let gone =
            self.clients.cids(|client| client.born < asked && !listed.contains(&client.who.cid));
        self.strays.retain(|cid, _| listed.contains(cid));
        for row in report.clients {
            let cid = row.cid;
            let Some(client) = self.clients.get_mut(cid) else {
                self.on_stray(row);
                continue;
            };
            if !is_same_user(&client.who, &row) {
                // Another client got the id of one whose end was missed.
                self.drop_client(cid, Cause::ServerRestarted, now);
                self.on_stray(row);
                continue;
            }
            client.is_listed |= row.vpn_ip().is_some();
            if let Some(session) = client.session.as_mut() {
                self.carried += session.count(row.bytes_received, row.bytes_sent, now);
                session.is_dirty = true;
                if let Some(ip) = row.vpn_ip() {
                    self.mark_up(cid, Some(ip), now);
                }
            } else if client.closing.is_none() && row.vpn_ip().is_some() {
                self.on_stray(row);
            }
        }
        for cid in gone {
            self.drop_client(cid, Cause::Unknown, now);
        }
        if !self.strays.is_empty() && self.reconciled == Reconciled::Yes {
            self.reconciled = Reconciled::No;
        }
        self.load_open_sessions();
    }

    /// A client that we do not know. One without a username has not asked yet.
    fn on_stray(&mut self, row: StatusClient) {
        if row.username.is_some() || row.vpn_ip().is_some() {
            self.strays.insert(row.cid, row);
        }
    }

    /// Asks for the database's rows once both the run and the list are known.
    pub(super) fn load_open_sessions(&mut self) {
        if self.reconciled == Reconciled::No && self.run.is_some() && self.status_is_known {
            self.reconciled = Reconciled::Loading;
            self.closed_meanwhile.clear();
            self.outputs.push_back(Output::LoadOpenSessions);
        }
    }

    /// The database's open sessions of this server.
    pub fn handle_open_sessions(&mut self, rows: Vec<OpenSession>, now: Now) {
        let Some(run) = self.run.filter(|_| self.reconciled == Reconciled::Loading) else {
            return;
        };
        self.reconciled = Reconciled::Yes;
        self.settle_unknown();
        // The rows were read while these still stood open.
        let mut ended = std::mem::take(&mut self.closed_meanwhile);
        ended.extend(self.departed.iter().map(Departed::session_id));
        let left = std::mem::take(&mut self.left_unknown);
        for OpenSession { record: row, time_zone } in rows {
            let zone = time_zone.unwrap_or(self.settings.time_zone);
            if let Some(cid) = self.clients.of_session(row.id) {
                self.catch_up(cid, &row, now);
                continue;
            }
            if ended.contains(&row.id) {
                continue;
            }
            let same_run = row.run_started == run;
            let stray = self.strays.get(&row.cid).filter(|stray| {
                same_run && stray.username.as_deref() == Some(row.user.as_str().as_bytes())
            });
            if let Some(stray) = stray {
                if !may_come_up(stray, now) {
                    let stray = stray.clone();
                    self.strays.remove(&row.cid);
                    self.adopt(row, zone, &stray, now);
                }
                continue;
            }
            let cause = match (row.state, row.cause) {
                (SessionState::Closing, Some(cause)) => cause,
                _ if !same_run => Cause::ServerRestarted,
                _ if row.deadline.is_some_and(|deadline| deadline <= now.utc) => {
                    row.deadline_reason.unwrap_or(Cause::SessionLimit)
                }
                _ => Cause::Unknown,
            };
            let left = left.get(&row.cid).filter(|left| same_run && left.is_of(&row));
            self.close_row(row, zone, left, cause, now);
        }
        for (cid, stray) in std::mem::take(&mut self.strays) {
            if self.clients.get(cid).is_some_and(|client| client.pending.is_some()) {
                // It is renegotiating: the answer to that decides.
                continue;
            }
            let who = stray_ref(&stray);
            if let Some(ip) = stray.vpn_ip() {
                let vpn_ip = Some(cut(ip, 45));
                self.ask_adoption(cid, who, stray.connected_since, vpn_ip, now);
            } else if may_come_up(&stray, now) {
                self.strays.insert(cid, stray);
                self.timers.status = Some(now.mono + STATUS_RETRY);
            } else {
                self.restart_client(cid, who, now);
            }
        }
        self.mark_server();
    }

    /// Takes a session over that another process, or an earlier connection, had opened.
    fn adopt(&mut self, mut record: SessionRecord, zone: Zone, stray: &StatusClient, now: Now) {
        let cid = record.cid;
        let mut who = stray_ref(stray);
        who.device.clone_from(&record.device);
        who.client_ip = record.client_ip;
        who.client_port = record.client_port;
        // Its end was begun and is not confirmed: it goes on.
        let ending =
            (record.state == SessionState::Closing).then(|| record.cause.unwrap_or(Cause::Unknown));
        if let Some(ip) = stray.vpn_ip() {
            record.state = SessionState::Active;
            record.vpn_ip = Some(cut(ip, 45));
            record.cause = None;
        }
        // Ahead of whatever its last holder may still have to write.
        record.version = record.version.saturating_add(ADOPTION_LEAD);
        let mut session = Session::new(record, zone, self.settings.warn_before, now);
        self.carried += session.count(stray.bytes_received, stray.bytes_sent, now);
        session.touch(now.utc);
        let record = session.record.clone();
        let born = self.next_serial();
        let mut client = self.clients.remove(cid).unwrap_or_else(|| Client::new(who.clone(), born));
        client.session = Some(Box::new(session));
        self.clients.insert(cid, client);
        self.persist(&record);
        self.report_adopted(cid);
        self.arm(cid);
        if let Some(cause) = ending {
            self.end_client(cid, cause, None, now);
        } else if stray.vpn_ip().is_none() {
            // Approved, but the answer never arrived.
            self.restart_client(cid, who, now);
        }
    }

    /// Another daemon held a session of ours meanwhile: what it wrote is newer.
    fn catch_up(&mut self, cid: Cid, row: &SessionRecord, now: Now) {
        let Some(client) = self.clients.get_mut(cid) else {
            return;
        };
        let Some(session) = client.session.as_mut().filter(|s| s.record.version < row.version)
        else {
            return;
        };
        session.record.deadline = row.deadline;
        session.record.deadline_reason = row.deadline_reason;
        session.record.warned_at = row.warned_at;
        session.follow_days(row.day_marks.clone());
        session.record.expiry_action = row.expiry_action;
        session.record.version = row.version.saturating_add(ADOPTION_LEAD);
        // What that one has seen it has told.
        let _ = session.count(row.bytes_received, row.bytes_sent, now);
        session.arm(now);
        session.touch(now.utc);
        let record = session.record.clone();
        self.persist(&record);
        self.arm(cid);
        if row.state == SessionState::Closing {
            self.end_client(cid, row.cause.unwrap_or(Cause::Unknown), None, now);
        }
    }

    /// The server's run is another than the one before: what we remember of that is over. Who has
    /// asked on this connection is of the new run and is still to be answered.
    pub(super) fn end_stale_run(&mut self, now: Now) {
        let last_serial = self.last_serial;
        for cid in self.clients.cids(|client| client.is_stale) {
            let has_asked = |client: &Client| {
                client.pending.as_ref().is_some_and(|pending| pending.serial > last_serial)
            };
            if self.clients.get(cid).is_some_and(has_asked) {
                self.close_stale_session(cid, Cause::ServerRestarted, now);
            } else {
                self.drop_client(cid, Cause::ServerRestarted, now);
            }
        }
        self.reconciled = Reconciled::No;
    }

    /// The run is the one we remember: its clients and their deadlines are valid again.
    pub(super) fn confirm_stale(&mut self, now: Now) {
        for cid in self.clients.cids(|client| client.is_stale) {
            if let Some(client) = self.clients.get_mut(cid) {
                client.is_stale = false;
                if let Some(session) = client.session.as_mut() {
                    session.begin_quiet(now);
                }
            }
            self.arm(cid);
            self.answer_again(cid, now);
        }
        self.answer_waiting(now);
    }

    /// Answers that came while there was no link, or while the run was not known, are sent.
    pub(super) fn answer_waiting(&mut self, now: Now) {
        let is_answered = |client: &Client| {
            !client.is_stale && client.pending.as_ref().is_some_and(|p| p.decision.is_some())
        };
        for cid in self.clients.cids(is_answered) {
            let pending = self.clients.get_mut(cid).and_then(|client| client.pending.as_mut());
            let answer = pending.and_then(|pending| {
                let ticket = Ticket { cid, serial: pending.serial };
                pending.decision.take().map(|(decision, decided)| (ticket, decision, decided))
            });
            if let Some((ticket, decision, decided)) = answer {
                self.answer(ticket, decision, decided, now);
            }
        }
    }
}

/// Not up, but so new that an approval may be on its way to it. Later it waits for an answer that
/// nobody remembers.
fn may_come_up(stray: &StatusClient, now: Now) -> bool {
    let is_young = now.utc < stray.connected_since.saturating_add(STATUS_RETRY)
        && stray.connected_since <= now.utc;
    stray.vpn_ip().is_none() && is_young
}

fn is_same_user(who: &ClientRef, row: &StatusClient) -> bool {
    match (&who.user, &row.username) {
        (Some(user), Some(name)) => {
            truncate_on_char(&String::from_utf8_lossy(name), 256) == &**user
        }
        _ => true,
    }
}

fn stray_ref(stray: &StatusClient) -> ClientRef {
    let mut who = nobody(stray.cid);
    who.user = stray.username.as_deref().map(shown);
    who.common_name = Some(&*stray.common_name).filter(|cn| !cn.is_empty()).map(shown);
    // `ip:port`, or `proto:ip:port` from 2.7 on; an IPv6 address stands in brackets or bare.
    if let Some((host, port)) = stray.real_address.rsplit_once(':') {
        let host = ["udp4:", "udp6:", "tcp4:", "tcp6:", "tcp4-server:", "tcp6-server:"]
            .iter()
            .find_map(|prefix| host.strip_prefix(prefix))
            .unwrap_or(host);
        who.client_ip = host.trim_matches(['[', ']']).parse().ok();
        who.client_port = port.parse().ok();
    }
    who
}
