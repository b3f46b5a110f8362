//! Writes session changes to the database, and to the journal while it is away: shell.
//!
//! What waits goes to the journal when it is much or has waited for a moment, and all of it when
//! the daemon stops. Rows of the journal are written when the database answers, and removed from
//! it only then: a crash in between writes a row twice, which changes nothing.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    fail_point::fail_point,
    store::{Journal, SessionRecord, Store, StoreError},
    telemetry::events::Event,
    types::{Clock, Mono},
};

use super::{
    backlog::{BATCH, Backlog},
    backoff::Backoff,
};
use persist::{is_passing, persist};

mod persist;

/// Rows in memory from which on they go to the journal, or, without one, operators are told.
const MANY: usize = 1_000;
/// How long the database may be away before any row goes to the journal.
const LONG: Duration = Duration::from_millis(250);
/// Between two attempts while the database is away. The comparison with a server waits for what is
/// in the journal, and with it the end of those whose time is over.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Pause before a journal that could not be read is tried again.
const JOURNAL_RETRY: Duration = Duration::from_secs(60);
/// How long the last rows may take when the daemon stops: those that are on their way, the others to the database, what is
/// left to the journal, and its end.
const LAST_TURN: Duration = Duration::from_secs(1);
const LAST_WRITE: Duration = Duration::from_secs(3);
const LAST_SPILL: Duration = Duration::from_secs(3);
const LAST_CLOSE: Duration = Duration::from_secs(1);

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There was nothing to write.
    Nothing,
    /// Written.
    Written,
    /// The database is away; the rows wait.
    Away,
}

pub(super) struct Writer {
    backlog: Arc<Backlog>,
    store: Arc<dyn Store>,
    clock: Clock,
    backoff: Backoff,
    /// Why the database did not take the last rows that it did not take.
    why: String,
    /// Since when the database has been away.
    away_since: Option<Mono>,
    /// Operators were told that rows wait in memory.
    is_told: bool,
    /// Operators were told what is wrong with the journal.
    is_fault_told: bool,
    /// There may be rows in the journal.
    may_replay: bool,
    /// When a journal that could not be read is tried again.
    read_again: Option<Mono>,
    /// Rows that went to the journal since the database was there.
    journaled: usize,
    /// Rows that came out of it since then.
    replayed: usize,
}

impl Writer {
    pub(super) fn new(backlog: Arc<Backlog>, store: Arc<dyn Store>, clock: Clock) -> Self {
        Self {
            may_replay: backlog.journal.is_some(),
            backlog,
            store,
            clock,
            backoff: Backoff::new(Duration::from_millis(200), LONGEST_PAUSE),
            why: String::new(),
            away_since: None,
            is_told: false,
            is_fault_told: false,
            read_again: None,
            journaled: 0,
            replayed: 0,
        }
    }

    /// Writes the backlog until `stop`, then what is left.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let backlog = Arc::clone(&self.backlog);
        if let Some(journal) = &backlog.journal {
            let opened = journal.open(self.clock.now().utc).await;
            self.judge(opened);
        }
        while !stop.is_cancelled() {
            self.may_replay |= backlog.take_wants_replay();
            let now = self.clock.now().mono;
            self.may_replay |= self.read_again.take_if(|at| *at <= now).is_some();
            if backlog.is_empty() && !self.may_replay {
                tokio::select! {
                    () = backlog.ready.notified() => {}
                    () = sleep(self.read_again.map_or(JOURNAL_RETRY, |at| at - now)),
                        if self.read_again.is_some() => {}
                    () = stop.cancelled() => break,
                }
                continue;
            }
            // What an outage has left waits for nothing more.
            if self.away_since.is_none() && !self.may_replay {
                tokio::select! {
                    () = backlog.gather() => {}
                    () = stop.cancelled() => break,
                }
            }
            let step = {
                let turn = self.turn();
                tokio::pin!(turn);
                tokio::select! {
                    step = &mut turn => step,
                    () = stop.cancelled() => {
                        // A database that hangs is not waited for. What it takes nevertheless is written twice.
                        let _ = timeout(LAST_TURN, turn).await;
                        break;
                    }
                }
            };
            if step != Step::Away {
                continue;
            }
            let pause = sleep(self.backoff.pause());
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = stop.cancelled() => break,
                    // In a long outage a change is on disk at once.
                    () = backlog.ready.notified(), if !self.is_fault_told => tokio::select! {
                        () = self.relieve() => {}
                        () = stop.cancelled() => break,
                    },
                }
            }
        }
        self.finish().await;
    }

    /// One batch of new rows and one of the journal's, so that neither waits for the other.
    async fn turn(&mut self) -> Step {
        self.relieve().await;
        // A database that hangs has been away since it was asked, not since that was given up.
        let asked = self.clock.now().mono;
        let mut step = self.write_batch().await;
        let mut is_replayed = false;
        if step != Step::Away && self.may_replay {
            step = self.replay().await;
            is_replayed = step == Step::Written;
        }
        if step == Step::Nothing {
            step = self.mark_servers().await;
        }
        match step {
            Step::Nothing | Step::Written => {
                if self.away_since.is_some() || is_replayed {
                    self.backlog.doubt.raise();
                }
                self.backoff.reset();
                self.away_since = None;
                self.is_told = false;
            }
            Step::Away => {
                self.away_since.get_or_insert(asked);
                self.relieve().await;
                let pending = self.backlog.len();
                if pending >= MANY && !self.is_told {
                    self.is_told = true;
                    Event::StoreBacklog { pending, error: self.why.clone() }.emit();
                }
            }
        }
        step
    }

    /// In an outage, moves what waits from memory to the journal if it is time for that.
    async fn relieve(&mut self) {
        let Some(since) = self.away_since else { return };
        if is_for_the_journal(self.backlog.len(), self.clock.now().mono - since) {
            self.spill().await;
        }
    }

    async fn write_batch(&mut self) -> Step {
        let batch = self.backlog.take();
        if batch.is_empty() {
            return Step::Nothing;
        }
        fail_point("writer.taken");
        let left = persist(&*self.store, &batch, &mut self.why).await;
        fail_point("writer.written");
        self.backlog.put_back(&left);
        self.backlog.finish_batch();
        if left.is_empty() { Step::Written } else { Step::Away }
    }

    /// Notes what was seen of servers: nothing else waits.
    async fn mark_servers(&mut self) -> Step {
        let servers = self.backlog.take_marks();
        if servers.is_empty() {
            return Step::Nothing;
        }
        match self.store.mark_servers(&servers).await {
            Ok(()) => {
                self.backlog.marked();
                Step::Written
            }
            Err(error) if is_passing(&error) => {
                self.why = error.to_string();
                self.backlog.put_marks_back();
                Step::Away
            }
            Err(error) => {
                self.backlog.marked();
                // The next one comes in an accounting interval.
                tracing::debug!(%error, "what was seen of servers was not taken");
                Step::Nothing
            }
        }
    }

    /// Writes some of the journal's rows to the database.
    async fn replay(&mut self) -> Step {
        let backlog = Arc::clone(&self.backlog);
        let Some(journal) = &backlog.journal else {
            self.may_replay = false;
            return Step::Nothing;
        };
        match self.replay_some(journal).await {
            Ok(step) => {
                self.read_again = None;
                self.judge(Ok(()));
                step
            }
            Err(error) => {
                self.may_replay = false;
                self.read_again = Some(self.clock.now().mono + JOURNAL_RETRY);
                self.judge(Err(error));
                Step::Nothing
            }
        }
    }

    async fn replay_some(&mut self, journal: &Journal) -> Result<Step, StoreError> {
        let rows = journal.first(BATCH.try_into().unwrap_or(u32::MAX)).await?;
        if let (true, Some(error)) = (rows.sessions.is_empty(), rows.unreadable.first()) {
            return Err(journal.set_aside(&error.to_string(), self.clock.now().utc).await);
        }
        if rows.sessions.is_empty() {
            self.may_replay = false;
            if self.replayed > 0 {
                Event::JournalReplayed { rows: self.replayed }.emit();
            }
            (self.journaled, self.replayed) = (0, 0);
            return Ok(Step::Nothing);
        }
        let left = persist(&*self.store, &rows.sessions, &mut self.why).await;
        let is_left = |row: &SessionRecord| left.iter().any(|left| left.id == row.id);
        let written: Vec<_> = rows.sessions.into_iter().filter(|row| !is_left(row)).collect();
        fail_point("journal.replayed");
        if !written.is_empty() {
            journal.remove(&written).await?;
            fail_point("journal.removed");
            self.replayed += written.len();
        }
        Ok(if left.is_empty() { Step::Written } else { Step::Away })
    }

    /// Moves what waits from memory to the journal.
    async fn spill(&mut self) {
        let backlog = Arc::clone(&self.backlog);
        let Some(journal) = &backlog.journal else { return };
        loop {
            let batch = backlog.take();
            if batch.is_empty() {
                return;
            }
            fail_point("journal.appending");
            let appended = journal.append(&batch).await;
            fail_point("journal.appended");
            let is_appended = appended.is_ok();
            if is_appended {
                self.may_replay = true;
                if self.journaled == 0 {
                    let error = self.why.clone();
                    Event::JournalWritten { rows: batch.len(), error }.emit();
                }
                self.journaled += batch.len();
            } else {
                backlog.put_back(&batch);
            }
            backlog.finish_batch();
            self.judge(appended);
            if !is_appended {
                return;
            }
        }
    }

    /// Tells once what is wrong with the journal, and when it is right again.
    fn judge(&mut self, result: Result<(), StoreError>) {
        let Err(error) = result else {
            if std::mem::take(&mut self.is_fault_told) {
                Event::JournalUsable { file: "journal" }.emit();
            }
            return;
        };
        if !std::mem::replace(&mut self.is_fault_told, true) {
            Event::JournalFailed { error: error.to_string() }.emit();
        }
    }

    /// The daemon stops: what is left goes to the database, or else to the journal.
    async fn finish(&mut self) {
        // A turn may have been broken off.
        self.backlog.reclaim();
        let last = async {
            while self.write_batch().await == Step::Written {}
            self.mark_servers().await
        };
        // Broken off or not, what is not written waits again.
        let _ = timeout(LAST_WRITE, last).await;
        self.backlog.reclaim();
        let _ = timeout(LAST_SPILL, self.spill()).await;
        self.backlog.reclaim();
        let pending = self.backlog.len();
        if pending > 0 {
            // These sessions stay as they are in the database; the next start compares them.
            Event::StoreBacklog { pending, error: self.why.clone() }.emit();
        }
        self.backlog.forget_approvals();
        if let Some(journal) = &self.backlog.journal {
            let _ = timeout(LAST_CLOSE, journal.close()).await;
        }
    }
}

/// Whether so many rows that have waited for so long leave memory.
fn is_for_the_journal(rows: usize, away: Duration) -> bool {
    rows >= MANY || (rows > 0 && away >= LONG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemon::backlog::tests::row,
        store::{Options, SessionState, open},
        types::{Password, ServerName, SessionId},
    };
    use sqlx::Connection as _;
    use std::path::Path;

    fn store_at(folder: &Path) -> Arc<dyn Store> {
        let url = format!("sqlite://{}/db/warden.db", folder.display());
        open(&Options::new(Password::from(url.as_bytes()))).unwrap()
    }

    /// A database that is away until its folder is made.
    struct Bed {
        folder: tempfile::TempDir,
        store: Arc<dyn Store>,
        backlog: Arc<Backlog>,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    impl Bed {
        fn new() -> Self {
            Self::of(tempfile::tempdir().unwrap(), 64 << 20)
        }

        fn of(folder: tempfile::TempDir, max_bytes: u64) -> Self {
            let store = store_at(folder.path());
            let journal = Journal::new(folder.path().join("journal.db"), max_bytes);
            let backlog =
                Arc::new(Backlog::new(Some(journal), row(0, 1, SessionState::Pending).id));
            let stop = CancellationToken::new();
            let writer = Writer::new(Arc::clone(&backlog), Arc::clone(&store), Clock::new());
            let task = tokio::spawn(writer.run(stop.clone()));
            Self { folder, store, backlog, stop, task }
        }

        async fn stop(self) -> tempfile::TempDir {
            self.stop.cancel();
            self.task.await.unwrap();
            self.folder
        }

        async fn is_journaled(&self) -> bool {
            !self.backlog.journaled(&"udp".parse().unwrap()).await.is_empty()
        }

        async fn make_database(&self) {
            std::fs::create_dir(self.folder.path().join("db")).unwrap();
            self.store.migrate(false).await.unwrap();
        }

        async fn stored(&self, id: SessionId) -> Option<(u32, SessionState)> {
            let row = self.store.session(id).await.unwrap()?;
            Some((row.version, row.state))
        }
    }

    async fn until(mut is_so: impl AsyncFnMut() -> bool) {
        for _ in 0..400 {
            if is_so().await {
                return;
            }
            sleep(Duration::from_millis(25)).await;
        }
        panic!("it has not come to that");
    }

    #[test]
    fn little_waits_in_memory_for_a_moment_and_much_or_long_waiting_goes_to_disk() {
        for (rows, away, goes) in [
            (0, Duration::from_secs(3_600), false),
            (1, Duration::ZERO, false),
            (MANY - 1, LONG - Duration::from_millis(1), false),
            (1, LONG, true),
            (MANY, Duration::ZERO, true),
        ] {
            assert_eq!(is_for_the_journal(rows, away), goes, "{rows} {away:?}");
        }
    }

    #[tokio::test]
    async fn what_waits_goes_to_disk_leaves_memory_and_reaches_the_database_once_it_is_back() {
        let bed = Bed::new();
        let server: ServerName = "udp".parse().unwrap();
        bed.backlog.push(vec![row(1, 3, SessionState::Active)]);
        until(async || bed.is_journaled().await).await;
        assert_eq!(bed.backlog.len(), 0);
        timeout(Duration::from_secs(1), bed.backlog.settled(|row| row.server == server))
            .await
            .unwrap();
        // Newer versions after it: one on disk, one in memory when the database comes.
        bed.backlog.push(vec![row(1, 4, SessionState::Closed)]);
        bed.backlog.push(vec![row(2, 1, SessionState::Active)]);
        until(async || bed.backlog.is_empty()).await;
        bed.backlog.push(vec![row(2, 2, SessionState::Active)]);
        bed.make_database().await;
        until(async || !bed.is_journaled().await && bed.backlog.is_empty()).await;
        let ids = [row(1, 1, SessionState::Active).id, row(2, 1, SessionState::Active).id];
        assert_eq!(bed.stored(ids[0]).await, Some((4, SessionState::Closed)));
        assert_eq!(bed.stored(ids[1]).await, Some((2, SessionState::Active)));
        bed.stop().await;
    }

    #[tokio::test]
    async fn what_is_left_at_the_end_is_on_disk_and_the_next_start_writes_it() {
        let bed = Bed::new();
        bed.backlog.push(vec![row(1, 3, SessionState::Closed)]);
        let folder = bed.stop().await;
        let bed = Bed::of(folder, 64 << 20);
        assert!(bed.is_journaled().await);
        bed.make_database().await;
        let id = row(1, 3, SessionState::Closed).id;
        until(async || bed.stored(id).await == Some((3, SessionState::Closed))).await;
        until(async || !bed.is_journaled().await).await;
        // Once more changes nothing, also not a row that has gone on since.
        bed.backlog.push(vec![row(1, 3, SessionState::Closed)]);
        until(async || bed.backlog.is_empty()).await;
        assert_eq!(bed.stored(id).await, Some((3, SessionState::Closed)));
        bed.stop().await;
    }

    #[tokio::test]
    async fn a_journal_that_is_full_keeps_the_rest_in_memory_and_nothing_is_lost() {
        let bed = Bed::of(tempfile::tempdir().unwrap(), 1 << 20);
        let rows: Vec<_> = (0..5_000).map(|n| row(n, 1, SessionState::Active)).collect();
        for row in &rows {
            bed.backlog.push(vec![row.clone()]);
        }
        until(async || bed.is_journaled().await).await;
        sleep(Duration::from_millis(500)).await;
        let left = bed.backlog.len();
        assert!((1..5_000).contains(&left), "{left} in memory");
        bed.make_database().await;
        until(async || !bed.is_journaled().await && bed.backlog.is_empty()).await;
        for row in &rows {
            assert_eq!(bed.stored(row.id).await, Some((1, SessionState::Active)));
        }
        bed.stop().await;
    }

    #[tokio::test]
    async fn a_database_that_hangs_keeps_rows_in_memory_for_one_attempt_and_not_for_two() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("db")).unwrap();
        let first = store_at(folder.path());
        first.migrate(false).await.unwrap();
        let url = format!("sqlite://{}/db/warden.db", folder.path().display());
        let mut holder = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
        let options = Options {
            statement_timeout: Duration::from_secs(3),
            ..Options::new(Password::from(url.as_bytes()))
        };
        let journal = Journal::new(folder.path().join("journal.db"), 64 << 20);
        let known = row(1, 1, SessionState::Active);
        let backlog = Arc::new(Backlog::new(Some(journal), known.id));
        let stop = CancellationToken::new();
        let writer = Writer::new(Arc::clone(&backlog), open(&options).unwrap(), Clock::new());
        let task = tokio::spawn(writer.run(stop.clone()));
        backlog.push(vec![known.clone()]);
        let clock = Clock::new();
        let begun = clock.now().mono;
        until(async || !backlog.journaled(&known.server).await.is_empty()).await;
        // Of two attempts it would be more than six.
        let took = clock.now().mono - begun;
        assert!(took < Duration::from_millis(5_500), "{took:?}");
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_journal_that_cannot_be_made_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("journal.db")).unwrap();
        let bed = Bed::of(folder, 64 << 20);
        bed.backlog.push(vec![row(1, 1, SessionState::Active)]);
        sleep(Duration::from_millis(300)).await;
        assert!(!bed.is_journaled().await);
        bed.make_database().await;
        let id = row(1, 1, SessionState::Active).id;
        until(async || bed.stored(id).await.is_some()).await;
        bed.stop().await;
    }
}
