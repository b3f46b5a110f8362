//! Session changes on their way to the database, in memory.
//!
//! A change is the whole row, so that only the newest of each session has to be kept. Writing a
//! row twice changes nothing. What waits for long goes on to the journal, see `writer`.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    auth::request::Decision,
    store::{Journal, ServerRecord, SessionRecord, SessionState},
    types::{DenyReason, ServerName, SessionId},
};

/// Rows in memory from which on nobody is let in without the database: what waits is bounded, also
/// where the journal is full.
const MOST_OFFLINE: usize = 10_000;
/// Rows in memory from which on nobody is let in at all, the database being readable: it takes no rows,
/// or a storm brings more than it can take.
const MOST: usize = 100_000;
/// Rows in one statement.
pub(super) const BATCH: usize = 500;

/// Where links put their changes. Never blocks.
#[derive(Default)]
pub(super) struct Backlog {
    waiting: Mutex<Waiting>,
    pub(super) ready: Notify,
    written: Notify,
    /// Where rows wait on disk, if anywhere.
    pub(super) journal: Option<Journal>,
    /// Somebody has found rows in the journal.
    wants_replay: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    rows: HashMap<SessionId, SessionRecord>,
    /// The batch that is being written.
    writing: Arc<[SessionRecord]>,
    /// Servers as they were seen last.
    servers: HashMap<ServerName, ServerRecord>,
}

impl Backlog {
    pub(super) fn new(journal: Option<Journal>) -> Self {
        Self { journal, ..Self::default() }
    }

    /// Keeps the newer version of a row.
    pub(super) fn push(&self, record: SessionRecord) {
        put(&mut self.waiting().rows, record);
        self.ready.notify_one();
    }

    /// Keeps what was last seen of a server, for when nothing else waits.
    pub(super) fn mark(&self, server: ServerRecord) {
        self.waiting().servers.insert(server.name.clone(), server);
        self.ready.notify_one();
    }

    /// What was seen of servers, unless rows of sessions are to be written before.
    pub(super) fn take_marks(&self) -> Vec<ServerRecord> {
        let mut waiting = self.waiting();
        if waiting.all().next().is_some() {
            return Vec::new();
        }
        waiting.servers.drain().map(|(_, server)| server).collect()
    }

    /// What could not be written waits again, unless more was seen meanwhile.
    pub(super) fn put_marks_back(&self, servers: Vec<ServerRecord>) {
        let mut waiting = self.waiting();
        for server in servers {
            waiting.servers.entry(server.name.clone()).or_insert(server);
        }
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.waiting();
        waiting.servers.is_empty() && waiting.all().next().is_none()
    }

    /// Rows in memory that the database may not hold yet.
    pub(super) fn len(&self) -> usize {
        self.waiting().all().count()
    }

    /// The decision, unless it would begin a session of which nothing can be kept.
    pub(super) fn admit(&self, decision: Decision) -> Decision {
        let Decision::Allow(grant) = &decision else { return decision };
        let most = if grant.is_offline { MOST_OFFLINE } else { MOST };
        match self.len() >= most {
            true => DenyReason::BackendUnavailable.into(),
            false => decision,
        }
    }

    /// Waits until memory holds no such rows: they are in the database or in the journal.
    pub(super) async fn settled(&self, wanted: impl Fn(&SessionRecord) -> bool) {
        loop {
            let written = self.written.notified();
            if !self.waiting().all().any(&wanted) {
                return;
            }
            written.await;
        }
    }

    /// Whether memory holds a row of this session.
    pub(super) fn holds(&self, session: SessionId) -> bool {
        self.waiting().all().any(|row| row.id == session)
    }

    /// A server's rows in memory that the database may not hold yet.
    pub(super) fn unwritten(&self, server: &ServerName) -> Unwritten {
        let waiting = self.waiting();
        let mut rows = HashMap::new();
        for row in waiting.all().filter(|row| row.server == *server) {
            put(&mut rows, row.clone());
        }
        Unwritten(rows)
    }

    /// A server's rows that wait on disk, because the database is behind; the writer is told of them. A
    /// journal that cannot be read holds nobody up: the writer tells of it.
    pub(super) async fn journaled(&self, server: &ServerName) -> Vec<SessionRecord> {
        let Some(journal) = &self.journal else { return Vec::new() };
        let rows = journal.of_server(server).await.unwrap_or_default();
        if !rows.is_empty() {
            self.wants_replay.store(true, Ordering::Relaxed);
            self.ready.notify_one();
        }
        rows
    }

    pub(super) fn take_wants_replay(&self) -> bool {
        self.wants_replay.swap(false, Ordering::Relaxed)
    }

    /// The next rows to write; until [`Self::finish_batch`] they count as waiting.
    pub(super) fn take(&self) -> Arc<[SessionRecord]> {
        let mut waiting = self.waiting();
        if waiting.rows.is_empty() {
            // What a storm needed is given back.
            waiting.rows.shrink_to(BATCH);
        }
        let ids: Vec<SessionId> = waiting.rows.keys().take(BATCH).copied().collect();
        waiting.writing = ids.iter().filter_map(|id| waiting.rows.remove(id)).collect();
        Arc::clone(&waiting.writing)
    }

    /// These rows of a batch wait again.
    pub(super) fn put_back(&self, batch: &[SessionRecord]) {
        let mut waiting = self.waiting();
        for record in batch {
            put(&mut waiting.rows, record.clone());
        }
    }

    /// The batch is written, or waits again.
    pub(super) fn finish_batch(&self) {
        self.waiting().writing = Arc::default();
        self.written.notify_waiters();
    }

    /// A write was broken off: its rows wait again.
    pub(super) fn reclaim(&self) {
        let writing = Arc::clone(&self.waiting().writing);
        self.put_back(&writing);
        self.finish_batch();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn all(&self) -> impl Iterator<Item = &SessionRecord> {
        self.rows.values().chain(self.writing.iter())
    }
}

/// Rows that were on their way when others were read.
pub(super) struct Unwritten(HashMap<SessionId, SessionRecord>);

impl Unwritten {
    /// Those that waited on disk, too.
    pub(super) fn with(mut self, rows: Vec<SessionRecord>) -> Self {
        for row in rows {
            put(&mut self.0, row);
        }
        self
    }

    /// Open sessions as they are once all is written, those included that the database has not heard of.
    pub(super) fn applied_to(mut self, mut open: Vec<SessionRecord>) -> Vec<SessionRecord> {
        open.retain_mut(|row| {
            if let Some(newer) = self.0.remove(&row.id).filter(|newer| newer.version > row.version)
            {
                *row = newer;
            }
            row.state != SessionState::Closed
        });
        let is_open = |row: &SessionRecord| row.state != SessionState::Closed;
        open.extend(self.0.into_values().filter(is_open));
        open
    }
}

fn put(rows: &mut HashMap<SessionId, SessionRecord>, record: SessionRecord) {
    match rows.entry(record.id) {
        Entry::Vacant(entry) => {
            entry.insert(record);
        }
        Entry::Occupied(mut entry) if entry.get().version < record.version => {
            entry.insert(record);
        }
        Entry::Occupied(_) => {}
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        auth::request::Grant,
        store::SessionState,
        types::{Cid, ExpiryAction, Timestamp},
    };

    pub(in super::super) fn row(number: u32, version: u32, state: SessionState) -> SessionRecord {
        let at = Timestamp::from_secs(1_795_435_000);
        let mut random = [0; 10];
        random[6..].copy_from_slice(&number.to_be_bytes());
        SessionRecord {
            id: SessionId::new(at, random),
            version,
            state,
            server: "udp".parse().unwrap(),
            run_started: at,
            cid: Cid(number),
            user: "alice".parse().unwrap(),
            common_name: None,
            device: None,
            client_ip: None,
            client_port: None,
            vpn_ip: None,
            client_version: None,
            client_platform: None,
            started_at: at,
            updated_at: at,
            deadline: None,
            deadline_reason: None,
            expiry_action: ExpiryAction::Halt,
            warned_at: None,
            ended_at: None,
            cause: None,
            bytes_received: 0,
            bytes_sent: 0,
            day_marks: crate::store::DayMarks::default(),
            certificate: None,
        }
    }

    #[test]
    fn a_full_backlog_admits_nobody_without_the_database() {
        let grant = |is_offline| {
            Decision::Allow(Grant {
                proven: None,
                session_id: row(1, 1, SessionState::Active).id,
                terms: crate::auth::terms::Terms::default(),
                is_offline,
                config: Vec::new(),
                second_factor: None,
            })
        };
        let backlog = Backlog::default();
        let refused = || Decision::from(DenyReason::BackendUnavailable);
        let fill = |rows: std::ops::Range<usize>| {
            for number in rows {
                backlog.push(row(number as u32, 1, SessionState::Active));
            }
        };
        fill(1..MOST_OFFLINE);
        assert_eq!(backlog.admit(grant(true)), grant(true));
        fill(0..1);
        assert_eq!(backlog.admit(grant(true)), refused());
        assert_eq!(backlog.admit(grant(false)), grant(false));
        fill(MOST_OFFLINE..MOST);
        assert_eq!(backlog.admit(grant(false)), refused(), "also one that takes no rows");
        assert_eq!(backlog.admit(DenyReason::Throttled.into()), DenyReason::Throttled.into());
    }

    #[test]
    fn a_server_is_marked_only_when_no_row_waits() {
        let backlog = Backlog::default();
        let server = |seen| ServerRecord {
            name: "udp".parse().unwrap(),
            address: "unix:///run/udp".into(),
            openvpn_version: String::new(),
            run_started: Timestamp::default(),
            seen_at: Timestamp::from_secs(seen),
            sessions: 1,
        };
        backlog.push(row(1, 1, SessionState::Active));
        backlog.mark(server(1));
        backlog.mark(server(2));
        assert_eq!(backlog.take_marks(), []);
        let _batch = backlog.take();
        assert_eq!(backlog.take_marks(), [], "it is not written yet");
        backlog.finish_batch();
        assert!(!backlog.is_empty());
        assert_eq!(backlog.take_marks(), [server(2)], "the newest");
        assert!(backlog.is_empty());
    }

    #[test]
    fn rows_that_were_read_are_brought_up_to_what_waits_and_what_is_being_written() {
        use SessionState::{Active, Closed, Pending};
        let backlog = Backlog::default();
        for waiting in [row(1, 3, Closed), row(2, 3, Closed)] {
            backlog.push(waiting);
        }
        let batch = backlog.take();
        assert_eq!((batch.len(), backlog.len()), (2, 2));
        backlog.push(row(3, 5, Active));
        backlog.push(row(5, 1, Pending));
        backlog.push(row(6, 2, Closed));
        let unwritten = backlog.unwritten(&"udp".parse().unwrap());
        let read =
            vec![row(1, 2, Active), row(2, 1_004, Active), row(3, 4, Pending), row(4, 1, Active)];
        let open: Vec<_> = unwritten
            .applied_to(read)
            .iter()
            .map(|row| (row.cid.0, row.version, row.state))
            .collect();
        assert_eq!(open, [(2, 1_004, Active), (3, 5, Active), (4, 1, Active), (5, 1, Pending)]);
        backlog.put_back(&batch);
        backlog.finish_batch();
        assert_eq!(backlog.len(), 5);
        assert!(backlog.unwritten(&"tcp".parse().unwrap()).applied_to(vec![]).is_empty());
    }
}
