//! Removes sessions that ended longer ago than their users' policy, or the configuration, keeps them, and puts
//! the days of quotas together that no period needs any more: a batch a statement, with pauses, so that
//! neither logins nor other daemons wait. Any number of daemons may do it.
//!
//! For each number of days that somebody keeps sessions, all sessions are looked at once when they have become
//! so old, in the order of their ends: what stays is not read again and again. Once a day it begins anew, for
//! rows that came late and users whose policy has become another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    store::{EndedCursor, EndedSession, Store, StoreError},
    telemetry::events::Event,
    types::{Clock, Mono, SessionId, Timestamp},
};

/// Rows of one statement.
const BATCH: u32 = 500;
/// Between two statements.
const PAUSE: Duration = Duration::from_millis(500);
/// For how long the days of quotas stay apart: more than a month, and the days of one session.
const DAYS_APART: Duration = Duration::from_secs(41 * 86_400);
/// For how long failed logins stay: longer than they can count.
const FAILURES_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// For how long hours of activity stay: charts show a month.
const ACTIVITY_KEPT: Duration = Duration::from_secs(41 * 86_400);
/// Between two sweeps.
const INTERVAL: Duration = Duration::from_secs(3_600);
/// After how long all ended sessions are looked at anew.
const ANEW: Duration = Duration::from_secs(86_400);

/// What is done in batches.
#[derive(Debug, Clone, Copy)]
enum Chore {
    /// Days before are put together.
    Fold(Timestamp),
    /// Failed logins before are forgotten.
    Forget(Timestamp),
    /// Hours of activity before are removed.
    Clear(Timestamp),
}

/// What the task needs.
pub(super) struct Retention {
    /// How long sessions are kept of whom no policy says it; `None`: for ever.
    pub(super) keep: Option<Duration>,
    pub(super) store: Arc<dyn Store>,
    pub(super) store_ready: watch::Receiver<bool>,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
}

impl Retention {
    /// Runs until the daemon stops.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut walk = Walk::default();
        loop {
            tokio::select! {
                // The poller has gone when this fails.
                ready = self.store_ready.wait_for(|ready| *ready) => if ready.is_err() { return },
                () = stop.cancelled() => return,
            }
            let now = self.clock.now().utc;
            tell(self.remove(&mut walk).await);
            let (_, result) = self.sweep(Chore::Forget(now.saturating_sub(FAILURES_KEPT))).await;
            tell(result);
            let (_, result) = self.sweep(Chore::Clear(now.saturating_sub(ACTIVITY_KEPT))).await;
            tell(result);
            let before = now.saturating_sub(DAYS_APART);
            let (_, result) = self.sweep(Chore::Fold(before)).await;
            tell(result);
            tokio::select! {
                () = sleep(INTERVAL) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Removes the sessions that have become too old since the last time.
    async fn remove(&self, walk: &mut Walk) -> Result<(), StoreError> {
        let own = self.store.retentions().await?;
        let keeps: BTreeSet<Duration> = own.into_iter().map(days).chain(self.keep).collect();
        let now = self.clock.now();
        if walk.began.is_none_or(|began| now.mono - began >= ANEW) {
            *walk = Walk { began: Some(now.mono), come_to: BTreeMap::new() };
        }
        for keep in keeps {
            let before = now.utc.saturating_sub(keep);
            let mut rows = 0;
            let done = self.remove_before(before, walk.come_to.entry(keep).or_default(), &mut rows);
            let done = done.await;
            if rows > 0 {
                Event::RetentionRemoved { rows, before }.emit();
            }
            done?;
        }
        Ok(())
    }

    /// Goes on among those that ended before, and counts what is removed.
    async fn remove_before(
        &self,
        before: Timestamp,
        come_to: &mut Option<EndedCursor>,
        rows: &mut u64,
    ) -> Result<(), StoreError> {
        let now = self.clock.now().utc;
        loop {
            let page = self.store.ended(come_to.as_ref(), before, BATCH).await?;
            let old = page.iter().filter(|session| self.is_too_old(session, now));
            let old: Vec<SessionId> = old.map(|session| session.cursor.id).collect();
            if !old.is_empty() {
                *rows += self.store.remove_sessions(&old).await?;
            }
            let is_last = page.len() < BATCH as usize;
            if let Some(last) = page.into_iter().next_back() {
                *come_to = Some(last.cursor);
            }
            if is_last {
                return Ok(());
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    fn is_too_old(&self, session: &EndedSession, now: Timestamp) -> bool {
        let keep = match session.retention_days {
            None => self.keep,
            Some(0) => None,
            Some(number) => Some(days(number)),
        };
        keep.is_some_and(|keep| session.cursor.ended_at < now.saturating_sub(keep))
    }

    /// Repeats a batch until nothing is left; how many rows, also when it was cut short.
    async fn sweep(&self, chore: Chore) -> (u64, Result<(), StoreError>) {
        let mut rows = 0;
        loop {
            let done = match chore {
                Chore::Forget(before) => self.store.remove_auth_events(before, BATCH).await,
                Chore::Clear(before) => self.store.remove_activity(before, BATCH).await,
                Chore::Fold(before) => self.store.fold_usage(before, BATCH).await,
            };
            match done {
                Ok(removed) => {
                    rows += removed;
                    if removed < u64::from(BATCH) {
                        return (rows, Ok(()));
                    }
                }
                Err(error) => return (rows, Err(error)),
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = self.stop.cancelled() => return (rows, Ok(())),
            }
        }
    }
}

/// How far the sessions that have ended were looked at.
#[derive(Debug, Default)]
struct Walk {
    began: Option<Mono>,
    /// For each time that somebody keeps sessions, the last one.
    come_to: BTreeMap<Duration, Option<EndedCursor>>,
}

fn days(number: u32) -> Duration {
    Duration::from_secs(u64::from(number) * 86_400)
}

fn tell(result: Result<(), StoreError>) {
    if let Err(error) = result {
        Event::RetentionFailed { error: error.to_string() }.emit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{
            Actor, NewUser, Options, PolicyRecord, SessionFilter, SessionRecord, SessionState, open,
        },
        types::{Cause, Password},
    };

    fn session(
        number: u32,
        user: &str,
        started: Timestamp,
        ended: Option<Timestamp>,
    ) -> SessionRecord {
        let state = if ended.is_some() { SessionState::Closed } else { SessionState::Active };
        let mut random = [0; 10];
        random[6..].copy_from_slice(&number.to_be_bytes());
        SessionRecord {
            id: SessionId::new(started, random),
            user: user.parse().unwrap(),
            run_started: started,
            started_at: started,
            updated_at: started,
            ended_at: ended,
            cause: ended.map(|_| Cause::UserRequest),
            ..crate::store::tests::session(number, 1, state)
        }
    }

    struct Bed {
        _folder: tempfile::TempDir,
        store: Arc<dyn Store>,
        clock: Clock,
    }

    impl Bed {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}/warden.db", folder.path().display());
            let store = open(&Options::new(Password::from(url.as_bytes()))).unwrap();
            store.migrate(false).await.unwrap();
            Self { _folder: folder, store, clock: Clock::new() }
        }

        fn ago(&self, number: u32) -> Timestamp {
            self.clock.now().utc.saturating_sub(days(number))
        }

        fn retention(&self, keep: Option<u32>) -> Retention {
            Retention {
                keep: keep.map(days),
                store: Arc::clone(&self.store),
                store_ready: watch::channel(true).1,
                clock: self.clock,
                stop: CancellationToken::new(),
            }
        }

        async fn left(&self) -> Vec<u32> {
            let all = SessionFilter { ended: true, limit: 10_000, ..Default::default() };
            let rows = self.store.sessions(&all).await.unwrap();
            let mut left: Vec<_> = rows.iter().map(|row| row.cid.0).collect();
            left.sort_unstable();
            left
        }
    }

    #[tokio::test]
    async fn each_policy_keeps_the_sessions_of_its_users_for_as_long_as_it_says() {
        let bed = Bed::new().await;
        let by = Actor { name: "test".into(), at: bed.ago(0) };
        for (user, kept) in
            [("short", Some(2)), ("long", Some(400)), ("always", Some(0)), ("other", None)]
        {
            let policy =
                PolicyRecord { name: user.into(), retention_days: kept, ..Default::default() };
            bed.store.put_policy(&policy, false, &by).await.unwrap();
            let user = NewUser {
                name: user.parse().unwrap(),
                password_hash: None,
                policy: Some(user.into()),
                valid_from: None,
                valid_until: None,
            };
            bed.store.add_user(&user, &by).await.unwrap();
        }
        // Of each, and of a user who is gone: ended yesterday, long ago, very long ago.
        let mut rows = Vec::new();
        for (hundreds, user) in (1..).zip(["short", "long", "always", "other", "gone"]) {
            for (number, age) in (0..).zip([1, 31, 500]) {
                let ended = bed.ago(age);
                rows.push(session(hundreds * 100 + number, user, ended, Some(ended)));
            }
        }
        // More than one batch that stays.
        rows.extend((1_000..2_100).map(|n| session(n, "always", bed.ago(600), Some(bed.ago(600)))));
        bed.store.persist(&rows).await.unwrap();
        let stays: Vec<u32> = (1_000..2_100).collect();
        let mut walk = Walk::default();
        let expect = async |kept: &[u32]| {
            let wanted: Vec<u32> = kept.iter().chain(&stays).copied().collect();
            assert_eq!(bed.left().await, wanted);
        };
        bed.retention(Some(30)).remove(&mut walk).await.unwrap();
        expect(&[100, 200, 201, 300, 301, 302, 400, 500]).await;
        // What has been looked at is not looked at again before the next day.
        let policy =
            PolicyRecord { name: "always".into(), retention_days: Some(30), ..Default::default() };
        bed.store.put_policy(&policy, true, &by).await.unwrap();
        bed.retention(Some(30)).remove(&mut walk).await.unwrap();
        expect(&[100, 200, 201, 300, 301, 302, 400, 500]).await;
        bed.retention(None).remove(&mut Walk::default()).await.unwrap();
        assert_eq!(bed.left().await, [100, 200, 201, 300, 400, 500]);
        // Without a number for all, those stay of whom no policy says it.
        let old = session(600, "other", bed.ago(900), Some(bed.ago(900)));
        bed.store.persist(&[old]).await.unwrap();
        bed.retention(None).remove(&mut Walk::default()).await.unwrap();
        assert!(bed.left().await.contains(&600));
    }

    #[tokio::test]
    async fn two_daemons_remove_all_that_is_old_and_nothing_that_is_open() {
        let bed = Bed::new().await;
        let old = bed.ago(31);
        let mut rows: Vec<_> = (0..1_200).map(|n| session(n, "alice", old, Some(old))).collect();
        rows.push(session(2_000, "alice", old, None));
        rows.push(session(2_001, "alice", old, Some(bed.ago(29))));
        bed.store.persist(&rows).await.unwrap();
        let (ready, store_ready) = watch::channel(false);
        let stop = CancellationToken::new();
        let tasks: Vec<_> = (0..2)
            .map(|_| {
                let retention = Retention {
                    store_ready: store_ready.clone(),
                    stop: stop.clone(),
                    ..bed.retention(Some(30))
                };
                tokio::spawn(retention.run())
            })
            .collect();
        sleep(Duration::from_millis(50)).await;
        assert_eq!(bed.left().await.len(), 1_202, "not before the schema was looked at");
        ready.send_replace(true);
        let mut rest = Vec::new();
        for _ in 0..200 {
            rest = bed.left().await;
            if rest.len() <= 2 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(rest, [2_000, 2_001]);
        stop.cancel();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
