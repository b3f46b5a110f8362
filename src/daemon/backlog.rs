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
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use crate::{
    auth::request::Decision,
    store::{Journal, SessionRecord, SessionState, StoreError},
    types::{DenyReason, ServerName, SessionId},
};

/// Rows in memory from which on nobody is let in without the database: what waits is bounded, also
/// where the journal is full.
const MOST: usize = 10_000;
/// Rows in one statement.
pub(super) const BATCH: usize = 500;
/// How long a change waits for others. A client is up some milliseconds after it was let in: the row
/// is written once, not twice, and those of a storm by the hundred.
const GATHER: Duration = Duration::from_millis(100);

/// Where links put their changes. Never blocks.
#[derive(Default)]
pub(super) struct Backlog {
    waiting: Mutex<Waiting>,
    pub(super) ready: Notify,
    written: Notify,
    /// A batch is full, a session ends, or somebody waits until all is written.
    hurry: Notify,
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
}

impl Backlog {
    pub(super) fn new(journal: Option<Journal>) -> Self {
        Self { journal, ..Self::default() }
    }

    /// Keeps the newer version of a row.
    pub(super) fn push(&self, record: SessionRecord) {
        // Who was sent away comes again at once, and is judged by this row.
        let is_end = record.cause.is_some();
        let is_full = {
            let mut waiting = self.waiting();
            put(&mut waiting.rows, record);
            waiting.rows.len() >= BATCH
        };
        self.ready.notify_one();
        if is_end || is_full {
            self.hurry.notify_one();
        }
    }

    /// Waits a moment for more, if there is something and no hurry.
    pub(super) async fn gather(&self) {
        if (1..BATCH).contains(&self.len()) {
            tokio::select! {
                () = sleep(GATHER) => {}
                () = self.hurry.notified() => {}
            }
        }
    }

    /// Rows in memory that the database may not hold yet.
    pub(super) fn len(&self) -> usize {
        self.waiting().all().count()
    }

    /// The decision, unless it would begin a session in an outage of which nothing can be kept.
    pub(super) fn admit(&self, decision: Decision) -> Decision {
        let is_offline = matches!(&decision, Decision::Allow(grant) if grant.is_offline);
        match is_offline && self.len() >= MOST {
            true => DenyReason::BackendUnavailable.into(),
            false => decision,
        }
    }

    /// Waits until memory holds none of a server's rows.
    pub(super) async fn settled(&self, server: &ServerName) {
        loop {
            let written = self.written.notified();
            let is_settled = {
                let waiting = self.waiting();
                waiting.all().all(|row| row.server != *server)
            };
            if is_settled {
                return;
            }
            self.hurry.notify_one();
            written.await;
        }
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

    /// Whether rows wait on disk, so that the database is behind; the writer is told of them. A
    /// journal that cannot be read holds nobody up: the writer tells of it.
    pub(super) async fn is_journaled(&self) -> Result<bool, StoreError> {
        let Some(journal) = &self.journal else { return Ok(false) };
        let holds_rows = journal.holds_rows().await?;
        if holds_rows {
            self.wants_replay.store(true, Ordering::Relaxed);
            self.ready.notify_one();
        }
        Ok(holds_rows)
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
    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        auth::request::Grant,
        store::SessionState,
        types::{Cause, Cid, ExpiryAction, Timestamp},
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
        for number in 1..MOST as u32 {
            backlog.push(row(number, 1, SessionState::Active));
        }
        assert_eq!(backlog.admit(grant(true)), grant(true));
        backlog.push(row(0, 1, SessionState::Active));
        assert_eq!(backlog.admit(grant(true)), DenyReason::BackendUnavailable.into());
        assert_eq!(backlog.admit(grant(false)), grant(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_waits_a_moment_for_others_unless_they_are_many_or_somebody_waits_for_it() {
        let backlog = Backlog::default();
        let begun = Instant::now();
        backlog.gather().await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "there is nothing");
        backlog.push(row(1, 1, SessionState::Pending));
        let connected = async {
            sleep(GATHER / 2).await;
            backlog.push(row(1, 2, SessionState::Active));
        };
        tokio::join!(backlog.gather(), connected);
        assert_eq!(begun.elapsed(), GATHER);
        let batch = backlog.take();
        assert_eq!(batch.iter().map(|row| row.version).collect::<Vec<_>>(), [2], "one row of both");
        backlog.finish_batch();
        let begun = Instant::now();
        backlog.push(row(2, 1, SessionState::Pending));
        let server = "udp".parse().unwrap();
        let mut settled = Box::pin(backlog.settled(&server));
        assert!(settled.as_mut().now_or_never().is_none());
        backlog.gather().await;
        let ending = SessionRecord { cause: Some(Cause::Idle), ..row(2, 2, SessionState::Closing) };
        backlog.push(ending);
        backlog.gather().await;
        for number in 3..3 + BATCH as u32 {
            backlog.push(row(number, 1, SessionState::Active));
        }
        backlog.gather().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
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
