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
    approved: Approved,
    /// What processes that are gone have approved; its rows are among those that wait. With how many have to be
    /// taken before none of them waits any more.
    left: Vec<(u64, Left)>,
}

impl Backlog {
    /// `own` names this process beside the journal.
    pub(super) fn new(journal: Option<Journal>, own: SessionId) -> Self {
        let approved = Approved::new(journal.as_ref().map(Journal::path), own);
        let waiting = Mutex::new(Waiting { approved, ..Waiting::default() });
        Self { journal, waiting, ..Self::default() }
    }

    /// Keeps the newer version of each row. Those that begin are on disk when this returns: this process may
    /// be killed before the database has them.
    pub(super) fn push(&self, records: Vec<SessionRecord>) {
        if records.is_empty() {
            return;
        }
        // Who was sent away comes again at once, and is judged by this row.
        let is_urgent = records.iter().any(|record| record.cause.is_some());
        let mut waiting = self.waiting();
        waiting.approved.note(&records);
        for record in records {
            waiting.rows.put(record);
        }
        let end = waiting.rows.end();
        waiting.approved.turn(end);
        waiting.is_urgent |= is_urgent;
        let is_full = waiting.rows.len() >= BATCH;
        drop(waiting);
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
        let mut waiting = self.waiting();
        if waiting.all().next().is_some() {
            return;
        }
        waiting.release();
        waiting.approved.end();
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
        loop {
            let written = self.written.notified();
            if !self.waiting().all().any(&wanted) {
                return;
            }
            self.hurry.notify_one();
            written.await;
        }
    }

    /// Whether memory holds a row of this session.
    pub(super) fn holds(&self, session: SessionId) -> bool {
        self.waiting().all().any(|row| row.id == session)
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
        let mut waiting = self.waiting();
        waiting.writing = Arc::default();
        waiting.release();
        drop(waiting);
        self.written.notify_waiters();
    }

    /// A write was broken off: its rows wait again.
    pub(super) fn reclaim(&self) {
        let writing = Arc::clone(&self.waiting().writing);
        self.put_back(&writing);
        self.put_marks_back();
        self.finish_batch();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Removes the files of which nothing waits any more, nor is being written.
    fn release(&mut self) {
        if !self.writing.is_empty() {
            return;
        }
        let taken = self.rows.taken();
        self.approved.release(taken);
        if self.rows.is_empty() {
            self.approved.empty();
        }
        for (_, left) in self.left.extract_if(.., |(end, _)| *end <= taken) {
            match left.remove() {
                Ok(Some(kept)) => {
                    let error = format!("approvals that cannot be read are in {}", kept.display());
                    Event::JournalFailed { error }.emit();
                }
                removed => told(removed.map(drop)),
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &SessionRecord> {
        self.rows.iter().chain(self.writing.iter())
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
pub(super) mod tests {
    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        auth::request::Grant,
        store::SessionState,
        types::{Cause, Timestamp},
    };

    pub(in super::super) use crate::store::tests::session as row;

    #[test]
    fn a_full_backlog_admits_nobody_without_the_database() {
        let grant = |is_offline| {
            Decision::Allow(Grant {
                proven: None,
                has_place: false,
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
                backlog.push(vec![row(number as u32, 1, SessionState::Active)]);
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

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_killed_process_had_approved_is_taken_over_and_goes_when_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let backlog = |number: u8| {
            let own = SessionId::new(Timestamp::default(), [number; 10]);
            Backlog::new(Some(Journal::new(path.clone(), 1 << 20)), own)
        };
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let killed = backlog(1);
        killed.push(vec![row(1, 1, SessionState::Pending)]);
        killed.push(vec![row(1, 2, SessionState::Active)]);
        killed.push(vec![row(2, 7, SessionState::Active)]);
        drop(killed);
        let next = backlog(2);
        next.push(vec![row(1, 9, SessionState::Closed)]);
        next.take_over_left().await;
        let (known, taken_over) = next.unwritten(&row(1, 1, SessionState::Pending).server);
        assert!(known.applied_to(vec![]).is_empty() && taken_over.is_empty(), "it has ended");
        let rows = next.take();
        let rows: Vec<_> = rows.iter().map(|row| (row.cid.0, row.version)).collect();
        assert_eq!(rows, [(1, 9)], "a newer version stays, and one that was known is not noted");
        assert_eq!(files(), 1, "it is not written yet");
        next.finish_batch();
        assert_eq!(files(), 0);
        next.push(vec![row(2, 1, SessionState::Pending)]);
        next.take();
        next.finish_batch();
        assert_eq!(files(), 1, "the file of a process stays with it");
        next.forget_approvals();
        assert_eq!(files(), 0);
        // Two servers of one daemon are compared at the same time.
        let killed = backlog(6);
        killed.push(vec![row(6, 1, SessionState::Pending)]);
        drop(killed);
        let both = Arc::new(backlog(7));
        let pending = row(6, 1, SessionState::Pending);
        let compared = |both: Arc<Backlog>, server: ServerName| async move {
            both.take_over_left().await;
            both.unwritten(&server).1.len()
        };
        let tasks: Vec<_> = (0..8)
            .map(|_| tokio::spawn(compared(Arc::clone(&both), pending.server.clone())))
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 1, "each finds it in memory");
        }
        both.take();
        both.finish_batch();
        both.forget_approvals();
        // One that is killed again before it has written them leaves them to the next.
        let killed = backlog(3);
        killed.push(vec![row(3, 1, SessionState::Pending)]);
        drop(killed);
        let killed = backlog(4);
        killed.take_over_left().await;
        drop(killed);
        let last = backlog(5);
        last.take_over_left().await;
        let pending = row(3, 1, SessionState::Pending);
        let (known, taken_over) = last.unwritten(&pending.server);
        assert!(known.applied_to(vec![]).is_empty(), "only the database knows");
        assert_eq!(taken_over, [pending]);
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
        backlog.push(vec![row(1, 1, SessionState::Active)]);
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

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "virtual time is tokio's own")]
    async fn a_change_waits_a_moment_for_others_unless_they_are_many_or_somebody_waits_for_it() {
        let backlog = Backlog::default();
        let begun = Instant::now();
        backlog.gather().await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "there is nothing");
        backlog.push(vec![row(1, 1, SessionState::Pending)]);
        let connected = async {
            sleep(GATHER / 2).await;
            backlog.push(vec![row(1, 2, SessionState::Active)]);
        };
        tokio::join!(backlog.gather(), connected);
        assert_eq!(begun.elapsed(), GATHER);
        let batch = backlog.take();
        assert_eq!(batch.iter().map(|row| row.version).collect::<Vec<_>>(), [2], "one row of both");
        backlog.finish_batch();
        let begun = Instant::now();
        backlog.push(vec![row(2, 1, SessionState::Pending)]);
        let mut settled = Box::pin(backlog.settled(|row| row.cid.0 == 2));
        assert!(settled.as_mut().now_or_never().is_none());
        backlog.gather().await;
        let ending = SessionRecord { cause: Some(Cause::Idle), ..row(2, 2, SessionState::Closing) };
        backlog.push(vec![ending]);
        backlog.gather().await;
        for number in 3..3 + BATCH as u32 {
            backlog.push(vec![row(number, 1, SessionState::Active)]);
        }
        backlog.take();
        backlog.finish_batch();
        backlog.gather().await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "it may be among the rest");
        backlog.take();
        backlog.finish_batch();
        backlog.gather().await;
        for number in 3..3 + BATCH as u32 {
            backlog.push(vec![row(number, 1, SessionState::Active)]);
        }
        backlog.gather().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[test]
    fn rows_that_were_read_are_brought_up_to_what_waits_and_what_is_being_written() {
        use SessionState::{Active, Closed, Pending};
        let backlog = Backlog::default();
        for waiting in [row(1, 3, Closed), row(2, 3, Closed)] {
            backlog.push(vec![waiting]);
        }
        let batch = backlog.take();
        assert_eq!((batch.len(), backlog.len()), (2, 2));
        backlog.push(vec![row(3, 5, Active)]);
        backlog.push(vec![row(5, 1, Pending)]);
        backlog.push(vec![row(6, 2, Closed)]);
        let (unwritten, _) = backlog.unwritten(&"udp".parse().unwrap());
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
        assert!(backlog.unwritten(&"tcp".parse().unwrap()).0.applied_to(vec![]).is_empty());
    }
}
