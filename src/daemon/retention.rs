//! Removes sessions that ended longer ago than the configuration keeps them, and puts the days of
//! quotas together that no period needs any more: a batch a statement, with pauses, so that neither logins nor other daemons wait. Any number of daemons may do it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    store::{Store, StoreError},
    telemetry::events::Event,
    types::{Clock, Timestamp},
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

/// What is done in batches.
#[derive(Debug, Clone, Copy)]
enum Chore {
    /// Sessions that ended before are removed.
    Remove(Timestamp),
    /// Days before are put together.
    Fold(Timestamp),
    /// Failed logins before are forgotten.
    Forget(Timestamp),
    /// Hours of activity before are removed.
    Clear(Timestamp),
}

/// What the task needs.
pub(super) struct Retention {
    /// How long sessions are kept; `None`: for ever.
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
        loop {
            tokio::select! {
                // The poller has gone when this fails.
                ready = self.store_ready.wait_for(|ready| *ready) => if ready.is_err() { return },
                () = stop.cancelled() => return,
            }
            let now = self.clock.now().utc;
            if let Some(keep) = self.keep {
                let before = now.saturating_sub(keep);
                let (rows, result) = self.sweep(Chore::Remove(before)).await;
                if rows > 0 {
                    Event::RetentionRemoved { rows, before }.emit();
                }
                tell(result);
            }
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

    /// Repeats a batch until nothing is left; how many rows, also when it was cut short.
    async fn sweep(&self, chore: Chore) -> (u64, Result<(), StoreError>) {
        let mut rows = 0;
        loop {
            let done = match chore {
                Chore::Remove(before) => self.store.remove_ended(before, BATCH).await,
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

fn tell(result: Result<(), StoreError>) {
    if let Err(error) = result {
        Event::RetentionFailed { error: error.to_string() }.emit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{Options, SessionRecord, SessionState, open},
        types::{Cause, Cid, ExpiryAction, Password, SessionId},
    };

    fn session(number: u32, started: Timestamp, ended: Option<Timestamp>) -> SessionRecord {
        let mut random = [0; 10];
        random[6..].copy_from_slice(&number.to_be_bytes());
        SessionRecord {
            id: SessionId::new(started, random),
            version: 1,
            state: if ended.is_some() { SessionState::Closed } else { SessionState::Active },
            server: "udp".parse().unwrap(),
            run_started: started,
            cid: Cid(number),
            user: "alice".parse().unwrap(),
            common_name: None,
            device: None,
            client_ip: None,
            client_port: None,
            vpn_ip: None,
            client_version: None,
            client_platform: None,
            started_at: started,
            updated_at: started,
            deadline: None,
            deadline_reason: None,
            expiry_action: ExpiryAction::Halt,
            warned_at: None,
            ended_at: ended,
            cause: ended.map(|_| Cause::UserRequest),
            bytes_received: 0,
            bytes_sent: 0,
            day_marks: crate::store::DayMarks::default(),
            certificate: None,
        }
    }

    #[tokio::test]
    async fn two_daemons_remove_all_that_is_old_and_nothing_that_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/warden.db", folder.path().display());
        let store = open(&Options::new(Password::from(url.as_bytes()))).unwrap();
        store.migrate(false).await.unwrap();
        let clock = Clock::new();
        let now = clock.now().utc;
        let day = Duration::from_secs(86_400);
        let old = now.saturating_sub(day * 31);
        let mut rows: Vec<_> = (0..1_200).map(|n| session(n, old, Some(old))).collect();
        rows.push(session(2_000, old, None));
        rows.push(session(2_001, old, Some(now.saturating_sub(day * 29))));
        store.persist(&rows).await.unwrap();
        let (ready, store_ready) = watch::channel(false);
        let stop = CancellationToken::new();
        let tasks: Vec<_> = (0..2)
            .map(|_| {
                let retention = Retention {
                    keep: Some(day * 30),
                    store: Arc::clone(&store),
                    store_ready: store_ready.clone(),
                    clock,
                    stop: stop.clone(),
                };
                tokio::spawn(retention.run())
            })
            .collect();
        let left = async || {
            let all =
                crate::store::SessionFilter { ended: true, limit: 10_000, ..Default::default() };
            let mut left: Vec<_> =
                store.sessions(&all).await.unwrap().iter().map(|row| row.cid.0).collect();
            left.sort_unstable();
            left
        };
        sleep(Duration::from_millis(50)).await;
        assert_eq!(left().await.len(), 1_202, "not before the schema was looked at");
        ready.send_replace(true);
        let mut rest = Vec::new();
        for _ in 0..200 {
            rest = left().await;
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
