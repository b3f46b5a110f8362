//! Session changes on their way to the database.
//!
//! A change is the whole row, so that only the newest of each session has to be kept: what waits
//! is bounded by the number of sessions, however long the database is away. Writing a row twice
//! changes nothing. New sessions need the database to be admitted, so an outage adds none.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    store::{SessionRecord, SessionState, Store, StoreError},
    telemetry::events::Event,
    types::{ServerName, SessionId},
};

use super::backoff::Backoff;

/// Rows in one statement.
const BATCH: usize = 500;
/// Rows that wait before operators are told.
const NOTICE: usize = 1_000;
/// How long the last rows may take when the daemon stops.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Where links put their changes. Never blocks.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: Mutex<Waiting>,
    ready: Notify,
    written: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    rows: HashMap<SessionId, SessionRecord>,
    /// The batch that is being written.
    writing: Arc<[SessionRecord]>,
}

impl Backlog {
    /// Keeps the newer version of a row.
    pub(super) fn push(&self, record: SessionRecord) {
        put(&mut self.waiting().rows, record);
        self.ready.notify_one();
    }

    /// Rows that the database may not hold yet.
    pub(super) fn len(&self) -> usize {
        self.waiting().all().count()
    }

    /// Waits until the database holds all of a server's rows: what is read before that is older
    /// than what the link knows.
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
            written.await;
        }
    }

    /// A server's rows that the database may not hold yet.
    pub(super) fn unwritten(&self, server: &ServerName) -> Unwritten {
        let waiting = self.waiting();
        let mut rows = HashMap::new();
        for row in waiting.all().filter(|row| row.server == *server) {
            put(&mut rows, row.clone());
        }
        Unwritten(rows)
    }

    fn take(&self) -> Arc<[SessionRecord]> {
        let mut waiting = self.waiting();
        if waiting.rows.is_empty() {
            // What a storm needed is given back.
            waiting.rows.shrink_to(BATCH);
        }
        let ids: Vec<SessionId> = waiting.rows.keys().take(BATCH).copied().collect();
        waiting.writing = ids.iter().filter_map(|id| waiting.rows.remove(id)).collect();
        Arc::clone(&waiting.writing)
    }

    fn put_back(&self, batch: &[SessionRecord]) {
        let mut waiting = self.waiting();
        for record in batch {
            put(&mut waiting.rows, record.clone());
        }
    }

    /// The batch is written, or waits again.
    fn finish_batch(&self) {
        self.waiting().writing = Arc::default();
        self.written.notify_waiters();
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
    /// Open sessions as they are once all is written.
    pub(super) fn applied_to(mut self, mut open: Vec<SessionRecord>) -> Vec<SessionRecord> {
        open.retain_mut(|row| {
            if let Some(newer) = self.0.remove(&row.id).filter(|newer| newer.version > row.version)
            {
                *row = newer;
            }
            row.state != SessionState::Closed
        });
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

/// Writes the backlog until `stop`, then once more.
pub(super) async fn run(backlog: Arc<Backlog>, store: Arc<dyn Store>, stop: CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut noticed = false;
    while !stop.is_cancelled() {
        tokio::select! {
            () = backlog.ready.notified() => {}
            () = stop.cancelled() => break,
        }
        loop {
            let batch = backlog.take();
            if batch.is_empty() {
                break;
            }
            if write(&backlog, &*store, &batch).await {
                backoff.reset();
                noticed = false;
                continue;
            }
            let pending = backlog.len();
            if pending >= NOTICE && !noticed {
                noticed = true;
                Event::StoreBacklog { pending }.emit();
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.pause()) => {}
                () = stop.cancelled() => break,
            }
        }
    }
    let last = async {
        loop {
            let batch = backlog.take();
            if batch.is_empty() || !write(&backlog, &*store, &batch).await {
                break;
            }
        }
    };
    let in_time = tokio::time::timeout(LAST_WRITE, last).await.is_ok();
    let pending = backlog.len();
    if !in_time || pending > 0 {
        // The rows stay open in the database; the next start compares and closes them.
        Event::StoreBacklog { pending }.emit();
    }
}

/// Writes one batch; false when the database is away and the batch waits again.
async fn write(backlog: &Backlog, store: &dyn Store, batch: &[SessionRecord]) -> bool {
    let is_written = try_write(backlog, store, batch).await;
    backlog.finish_batch();
    is_written
}

async fn try_write(backlog: &Backlog, store: &dyn Store, batch: &[SessionRecord]) -> bool {
    match store.persist(batch).await {
        Ok(()) => true,
        Err(error) if is_passing(&error) => {
            tracing::debug!(%error, rows = batch.len(), "session rows wait for the database");
            backlog.put_back(batch);
            false
        }
        Err(_) => {
            // One bad row must not hold the others up.
            for record in batch {
                write_one(backlog, store, record).await;
            }
            true
        }
    }
}

async fn write_one(backlog: &Backlog, store: &dyn Store, record: &SessionRecord) {
    match store.persist(std::slice::from_ref(record)).await {
        Ok(()) => {}
        Err(error) if is_passing(&error) => backlog.put_back(std::slice::from_ref(record)),
        Err(error) => log_lost(record, &error),
    }
}

/// Whether a row may be taken later: also when a table is missing, as while a backup is put back.
const fn is_passing(error: &StoreError) -> bool {
    error.is_transient() || matches!(error, StoreError::Schema(_))
}

/// A row that the database will never take is at least in the log.
fn log_lost(record: &SessionRecord, error: &StoreError) {
    Event::StoreRefused {
        session_id: record.id,
        server: record.server.clone(),
        user: record.user.as_str().into(),
        state: record.state.as_str(),
        started_at: record.started_at,
        bytes_received: record.bytes_received,
        bytes_sent: record.bytes_sent,
        error: error.to_string(),
    }
    .emit();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::SessionState,
        types::{Cid, ExpiryAction, Timestamp},
    };

    fn row(number: u8, version: u32, state: SessionState) -> SessionRecord {
        let at = Timestamp::from_secs(1_795_435_000);
        SessionRecord {
            id: SessionId::new(at, [number; 10]),
            version,
            state,
            server: "udp".parse().unwrap(),
            run_started: at,
            cid: Cid(number.into()),
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
            ended_at: None,
            cause: None,
            bytes_received: 0,
            bytes_sent: 0,
        }
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
        let unwritten = backlog.unwritten(&"udp".parse().unwrap());
        let read =
            vec![row(1, 2, Active), row(2, 1_004, Active), row(3, 4, Pending), row(4, 1, Active)];
        let open: Vec<_> = unwritten
            .applied_to(read)
            .iter()
            .map(|row| (row.cid.0, row.version, row.state))
            .collect();
        assert_eq!(open, [(2, 1_004, Active), (3, 5, Active), (4, 1, Active)]);
        backlog.put_back(&batch);
        backlog.finish_batch();
        assert_eq!(backlog.len(), 3);
        assert!(backlog.unwritten(&"tcp".parse().unwrap()).applied_to(vec![]).is_empty());
    }
}
