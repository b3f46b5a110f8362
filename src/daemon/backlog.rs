//! Session changes on their way to the database, in memory.
//!
//! A change is the whole row, so that only the newest of each session has to be kept. Writing a
//! row twice changes nothing. What waits for long goes on to the journal, see `writer`.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use crate::{
    auth::request::Decision,
    store::{Approvals, Journal, Left, ServerRecord, SessionRecord, SessionState},
    telemetry::events::Event,
    types::{DenyReason, ServerName, SessionId},
};

use super::doubt::Doubt;
use approved::{Approved, told};
use queue::Queue;

mod approved;
mod queue;

/// Rows in memory from which on nobody is let in without the database: what waits is bounded, also
/// where the journal is full.
const MOST_OFFLINE: usize = 10_000;
/// Rows in memory from which on nobody is let in at all, the database being readable: it takes no rows,
/// or a storm brings more than it can take.
const MOST: usize = 100_000;
/// Rows in one statement.
pub(super) const BATCH: usize = 500;
/// How long a change waits for others. A client is up some milliseconds after it was let in: the row
/// is written once, not twice, and those of a storm by the dozen. What the row of a login would tell the next
/// one, its claim tells meanwhile; and it outlives this process in the file of approvals.
const GATHER: Duration = Duration::from_millis(100);

/// Where links put their changes. Never blocks.
#[derive(Default)]
pub(super) struct Backlog {
    /// Locked before `waiting` where both are. Whoever writes there holds up nobody but those who begin sessions, too.
    approved: Mutex<Approved>,
    waiting: Mutex<Waiting>,
    pub(super) ready: Notify,
    written: Notify,
    /// A batch is full, a session ends, or somebody waits until all is written.
    hurry: Notify,
    /// Where rows wait on disk, if anywhere.
    pub(super) journal: Option<Journal>,
    /// Somebody reads what is left.
    taking_over: tokio::sync::Mutex<()>,
    /// Somebody has found rows in the journal.
    wants_replay: AtomicBool,
    /// Sessions whose rows come late, or that were let in by what may no longer be so.
    pub(super) doubt: Doubt,
}

#[derive(Default)]
struct Waiting {
    rows: Queue,
    /// Among them are ends.
    is_urgent: bool,
    /// The batch that is being written.
    writing: Arc<[SessionRecord]>,
    /// Servers as they were seen last.
    servers: HashMap<ServerName, ServerRecord>,
    /// Those that are being noted.
    marking: Vec<ServerRecord>,
    /// What processes that are gone have approved; its rows are among those that wait. With how many have to be
    /// taken before none of them waits any more.
    left: Vec<(u64, Left)>,
}

impl Backlog {
    /// `own` names this process beside the journal.
    pub(super) fn new(journal: Option<Journal>, own: SessionId) -> Self {
        let approved = Mutex::new(Approved::new(journal.as_ref().map(Journal::path), own));
        Self { journal, approved, ..Self::default() }
    }

    /// Keeps the newer version of each row. Those that begin are on disk when this returns: this process may
    /// be killed before the database has them.
    pub(super) fn push(&self, records: Vec<SessionRecord>) {
        if records.is_empty() {
            return;
        }
        // Who was sent away comes again at once, and is judged by this row.
        let is_urgent = records.iter().any(|record| record.cause.is_some());
        let lines = Approved::lines(&records);
        // Held until they wait: before that, nothing waits of what stands in the file, and it would be emptied.
        let mut approved = (!lines.is_empty()).then(|| self.approved());
        if let Some(approved) = &mut approved {
            approved.note(&lines);
        }
        let mut waiting = self.waiting();
        for record in records {
            waiting.rows.put(record);
        }
        let end = waiting.rows.end();
        waiting.is_urgent |= is_urgent;
        let is_full = waiting.rows.len() >= BATCH;
        drop(waiting);
        if let Some(mut approved) = approved {
            approved.turn(end);
        }
        self.ready.notify_one();
        if is_urgent || is_full {
            self.hurry.notify_one();
        }
    }

    /// Waits a moment for more, if there is something and no hurry.
    pub(super) async fn gather(&self) {
        let is_urgent = self.waiting().is_urgent;
        if !is_urgent && (1..BATCH).contains(&self.len()) {
            tokio::select! {
                () = sleep(GATHER) => {}
                () = self.hurry.notified() => {}
            }
        }
    }

    /// Takes over what processes that are gone had approved just before. Whoever calls this while another
    /// does waits for that: what one reads is not to be found by the other, nor missing in memory.
    pub(super) async fn take_over_left(&self) {
        let Some(path) = self.journal.as_ref().map(|journal| journal.path().to_owned()) else {
            return;
        };
        let _turn = self.taking_over.lock().await;
        let left = tokio::task::spawn_blocking(move || Approvals::left(&path)).await;
        let left = match left {
            Ok(Ok(left)) => left,
            Ok(Err(error)) => return tracing::debug!(%error, "approvals are not read"),
            Err(_) => return,
        };
        if left.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        for left in left {
            for session in &left.sessions {
                waiting.rows.put(session.clone());
            }
            let end = waiting.rows.end();
            waiting.left.push((end, left));
        }
        drop(waiting);
        self.ready.notify_one();
    }

    /// The process ends: nothing of what was approved is needed any more, if nothing waits.
    pub(super) fn forget_approvals(&self) {
        let mut approved = self.approved();
        let mut waiting = self.waiting();
        if waiting.all().next().is_some() {
            return;
        }
        let left = waiting.stored_left();
        drop(waiting);
        approved.end();
        drop(approved);
        remove(left);
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
        waiting.marking = waiting.servers.drain().map(|(_, server)| server).collect();
        waiting.marking.clone()
    }

    /// What was taken is noted.
    pub(super) fn marked(&self) {
        self.waiting().marking = Vec::new();
    }

    /// What could not be written waits again, unless more was seen meanwhile.
    pub(super) fn put_marks_back(&self) {
        let mut waiting = self.waiting();
        for server in std::mem::take(&mut waiting.marking) {
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
        let waiting = self.waiting();
        waiting.rows.len() + waiting.writing.len()
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
        self.written_until(|waiting| !waiting.all().any(&wanted)).await;
    }

    /// The same of the rows of these sessions.
    pub(super) async fn settled_of(&self, sessions: &[SessionId]) {
        self.written_until(|waiting| !sessions.iter().any(|id| waiting.holds(*id))).await;
    }

    async fn written_until(&self, is_done: impl Fn(&Waiting) -> bool) {
        loop {
            let written = self.written.notified();
            if is_done(&self.waiting()) {
                return;
            }
            self.hurry.notify_one();
            written.await;
        }
    }

    /// Whether memory holds a row of this session.
    pub(super) fn holds(&self, session: SessionId) -> bool {
        self.waiting().holds(session)
    }

    /// A server's rows in memory that the database may not hold yet; and those of them that were taken
    /// over, of which only the database can tell whether they are new to it.
    pub(super) fn unwritten(&self, server: &ServerName) -> (Unwritten, Vec<SessionRecord>) {
        let waiting = self.waiting();
        let left = waiting.left.iter().flat_map(|(_, left)| &left.sessions);
        let left: HashSet<SessionId> = left.map(|session| session.id).collect();
        let (mut rows, mut taken_over) = (HashMap::new(), Vec::new());
        for row in waiting.all().filter(|row| row.server == *server) {
            if row.version == 1 && left.contains(&row.id) {
                taken_over.push(row.clone());
            } else {
                put(&mut rows, row.clone());
            }
        }
        (Unwritten(rows), taken_over)
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
        waiting.writing = waiting.rows.take(BATCH, BATCH).into();
        waiting.is_urgent &= !waiting.rows.is_empty();
        Arc::clone(&waiting.writing)
    }

    /// These rows of a batch wait again.
    pub(super) fn put_back(&self, batch: &[SessionRecord]) {
        self.waiting().rows.put_back(batch);
    }

    /// The batch is written, or waits again.
    pub(super) fn finish_batch(&self) {
        let mut approved = self.approved();
        let mut waiting = self.waiting();
        waiting.writing = Arc::default();
        let (taken, is_empty) = (waiting.rows.taken(), waiting.rows.is_empty());
        let left = waiting.stored_left();
        drop(waiting);
        approved.release(taken);
        if is_empty {
            approved.empty();
        }
        drop(approved);
        remove(left);
        self.written.notify_waiters();
    }

    /// A write was broken off: its rows wait again.
    pub(super) fn reclaim(&self) {
        let writing = Arc::clone(&self.waiting().writing);
        self.put_back(&writing);
        self.put_marks_back();
        self.finish_batch();
    }

    fn approved(&self) -> MutexGuard<'_, Approved> {
        self.approved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// What others have left of which nothing waits any more, nothing being written.
    fn stored_left(&mut self) -> Vec<Left> {
        let taken = self.rows.taken();
        self.left.extract_if(.., |(end, _)| *end <= taken).map(|(_, left)| left).collect()
    }

    fn holds(&self, session: SessionId) -> bool {
        self.rows.holds(session) || self.writing.iter().any(|row| row.id == session)
    }

    fn all(&self) -> impl Iterator<Item = &SessionRecord> {
        self.rows.iter().chain(self.writing.iter())
    }
}

/// Removes files of which everything is stored; nobody takes them over meanwhile, as they are held until they are gone.
fn remove(left: Vec<Left>) {
    for left in left {
        match left.remove() {
            Ok(Some(kept)) => {
                let error = format!("approvals that cannot be read are in {}", kept.display());
                Event::JournalFailed { error }.emit();
            }
            removed => told(removed.map(drop)),
        }
    }
}

/// Rows that were on their way when others were read.
pub(super) struct Unwritten(HashMap<SessionId, SessionRecord>);

impl Unwritten {
    /// Open sessions as they are once all is written, those included that the database has not heard of.
    pub(super) fn applied_to(mut self, open: Vec<SessionRecord>) -> Vec<SessionRecord> {
        let mut newest = HashMap::with_capacity(open.len());
        open.into_iter().for_each(|row| put(&mut newest, row));
        let mut open: Vec<SessionRecord> = newest.into_values().collect();
        open.sort_by_key(|row| (row.started_at, row.id));
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
pub(super) mod tests;
