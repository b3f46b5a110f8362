//! After an attach: what the server says is there, what we remember, what the database holds.
//!
//! A complete `status 3` is the truth about who is connected; an incomplete one says nothing.
//! Clients that we do not know wait as strays until the database's open rows tell their session.

use std::collections::{BTreeSet, HashSet};

use crate::{
    proto::{StatusClient, StatusReport},
    store::{SessionRecord, SessionState},
    telemetry::events::ClientRef,
    types::{Cause, Cid, Mono, Now, SessionId, truncate_on_char},
};

use super::{
    Engine, Output, Reconciled, Ticket,
    clients::{Client, Session},
    login::{cut, nobody},
    replies::Expect,
    session::Departed,
};

/// By how much an adopted row's version jumps ahead of its last holder's.
const ADOPTION_LEAD: u32 = 1_000;

impl Engine {
    /// Asks for the list, unless it is asked for already.
    pub(super) fn ask_status(&mut self, now: Now) {
        if self.can_send() && !self.replies.contains(|e| matches!(e, Expect::Status { .. })) {
            self.timers.status = None;
            self.send(crate::proto::Command::Status, Expect::Status { asked: now.mono }, now);
        }
    }

    /// The complete list of the server's clients, asked for at `asked`.
    pub(super) fn on_status(&mut self, report: StatusReport, asked: Mono, now: Now) {
        self.status_is_known = true;
        let listed: BTreeSet<Cid> = report.clients.iter().map(|row| row.cid).collect();
        let gone =
            self.clients.cids(|client| client.since < asked && !listed.contains(&client.who.cid));
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
            if let Some(session) = client.session.as_mut() {
                session.count(row.bytes_received, row.bytes_sent);
                session.is_dirty = true;
            } else if client.closing.is_none() && !row.virtual_address.is_empty() {
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
        if row.username.is_some() || !row.virtual_address.is_empty() {
            self.strays.insert(row.cid, row);
        }
    }

    /// Asks for the database's rows once both the run and the list are known.
    pub(super) fn load_open_sessions(&mut self) {
        if self.reconciled == Reconciled::No && self.run.is_some() && self.status_is_known {
            self.reconciled = Reconciled::Loading;
            self.outputs.push_back(Output::LoadOpenSessions);
        }
    }

    /// The database's open sessions of this server.
    pub fn handle_open_sessions(&mut self, rows: Vec<SessionRecord>, now: Now) {
        let Some(run) = self.run.filter(|_| self.reconciled == Reconciled::Loading) else {
            return;
        };
        self.reconciled = Reconciled::Yes;
        // The database may be behind: what is ended here is not ended once more.
        let ended: HashSet<SessionId> = self
            .departed
            .iter()
            .map(Departed::session_id)
            .chain(self.closed.iter().copied())
            .collect();
        for row in rows {
            if self.clients.of_session(row.id).is_some() || ended.contains(&row.id) {
                continue;
            }
            let same_run = row.run_started == run;
            let stray = self.strays.get(&row.cid).filter(|stray| {
                same_run && stray.username.as_deref() == Some(row.user.as_str().as_bytes())
            });
            if stray.is_some() {
                if let Some(stray) = self.strays.remove(&row.cid) {
                    self.adopt(row, &stray, now);
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
            self.close_row(row, cause, now);
        }
        for (cid, stray) in std::mem::take(&mut self.strays) {
            if self.clients.get(cid).is_some_and(|client| client.pending.is_some()) {
                // It is renegotiating: the answer to that decides.
                continue;
            }
            let who = stray_ref(&stray);
            if stray.virtual_address.is_empty() {
                // It waits for an answer to a question that nobody remembers.
                self.restart_client(cid, who, now);
            } else {
                let vpn_ip = Some(cut(&stray.virtual_address, 45));
                self.ask_adoption(cid, who, stray.connected_since, vpn_ip, now);
            }
        }
    }

    /// Takes a session over that another process, or an earlier connection, had opened.
    fn adopt(&mut self, mut record: SessionRecord, stray: &StatusClient, now: Now) {
        let cid = record.cid;
        let mut who = stray_ref(stray);
        who.device = record.device.as_ref().map(|device| device.to_string().into());
        who.client_ip = record.client_ip;
        who.client_port = record.client_port;
        // Its end was begun and is not confirmed: it goes on.
        let ending =
            (record.state == SessionState::Closing).then(|| record.cause.unwrap_or(Cause::Unknown));
        if !stray.virtual_address.is_empty() {
            record.state = SessionState::Active;
            record.vpn_ip = Some(cut(&stray.virtual_address, 45));
            record.cause = None;
        }
        // Ahead of whatever its last holder may still have to write.
        record.version = record.version.saturating_add(ADOPTION_LEAD);
        let mut session = Session::new(record, now);
        session.count(stray.bytes_received, stray.bytes_sent);
        session.touch(now.utc);
        let record = session.record.clone();
        let mut client = self.clients.remove(cid).unwrap_or_else(|| Client::new(who, now));
        client.session = Some(Box::new(session));
        self.clients.insert(cid, client);
        self.persist(&record);
        self.report_adopted(cid);
        self.arm(cid);
        if let Some(cause) = ending {
            self.end_client(cid, cause, None, now);
        }
    }

    /// The server's run is another than the one before: what we remember of that is over.
    pub(super) fn end_stale_run(&mut self, now: Now) {
        for cid in self.clients.cids(|client| client.is_stale) {
            self.drop_client(cid, Cause::ServerRestarted, now);
        }
        self.reconciled = Reconciled::No;
    }

    /// The run is the one we remember: its clients and their deadlines are valid again, and
    /// answers that came meanwhile are sent.
    pub(super) fn confirm_stale(&mut self, now: Now) {
        for cid in self.clients.cids(|client| client.is_stale) {
            let Some(client) = self.clients.get_mut(cid) else {
                continue;
            };
            client.is_stale = false;
            let answer = client.pending.as_mut().and_then(|pending| {
                let ticket = Ticket { cid, serial: pending.serial };
                pending.decision.take().map(|decision| (ticket, decision))
            });
            self.arm(cid);
            if let Some((ticket, decision)) = answer {
                self.handle_decision(ticket, decision, now);
            }
        }
    }
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
    let text = |bytes: &[u8]| truncate_on_char(&String::from_utf8_lossy(bytes), 256).into();
    let mut who = nobody(stray.cid);
    who.user = stray.username.as_deref().map(text);
    who.common_name = Some(&*stray.common_name).filter(|cn| !cn.is_empty()).map(text);
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
