//! Counts by the hour what happens, for charts, and stores it once a minute.
//!
//! Links only add to counters in memory. What could not be stored is added to what comes next; a daemon
//! that is killed loses its last minute. Nothing that matters depends on it.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::Carried,
    store::{ActivityKey, ActivityKind, Store},
    telemetry::events::Event,
    types::{Clock, DenyReason, ServerName, Timestamp},
};

/// Between two writes.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long the last write may take when the daemon stops.
const LAST_WRITE: Duration = Duration::from_secs(2);
/// Most counters that wait; beyond it the oldest are forgotten.
const MOST: usize = 20_000;
const HOUR_MS: i64 = 3_600_000;

/// Where links count. Never blocks.
#[derive(Default)]
pub(super) struct Activity {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    waiting: BTreeMap<ActivityKey, u64>,
    /// How many sessions each server has now.
    sessions: BTreeMap<ServerName, u64>,
    /// What was told last of those that go on, and of which hour: a daemon at which nothing happens writes nothing.
    told: BTreeMap<ServerName, (Timestamp, u64)>,
}

impl Activity {
    /// Counts an event, if it is an answer to a login.
    pub(super) fn note(&self, event: &Event, now: Timestamp) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "three of many are answers")]
        let (server, kind, reason) = match event {
            Event::AuthAllowed { server, .. } => (server, ActivityKind::Allowed, None),
            Event::AuthChallenged { server, .. } => (server, ActivityKind::Challenged, None),
            Event::AuthDenied { server, reason, .. } => {
                (server, ActivityKind::Denied, Some(*reason))
            }
            _ => return,
        };
        self.counts().add(server, kind, reason, 1, now);
    }

    /// Counts what a server's sessions have carried.
    pub(super) fn carried(&self, server: &ServerName, carried: Carried, now: Timestamp) {
        if carried == Carried::default() {
            return;
        }
        let mut counts = self.counts();
        counts.add(server, ActivityKind::Received, None, carried.received, now);
        counts.add(server, ActivityKind::Sent, None, carried.sent, now);
    }

    /// Notes how many sessions a server has.
    pub(super) fn sessions(&self, server: &ServerName, count: usize, now: Timestamp) {
        let mut counts = self.counts();
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        counts.sessions.insert(server.clone(), count);
        counts.add(server, ActivityKind::Sessions, None, count, now);
    }

    fn take(&self, now: Timestamp) -> Vec<(ActivityKey, u64)> {
        let mut counts = self.counts();
        // Sessions that go on are those of this hour, too.
        for (server, count) in counts.sessions.clone() {
            let told = (hour_of(now), count);
            if counts.told.insert(server.clone(), told) != Some(told) {
                counts.add(&server, ActivityKind::Sessions, None, count, now);
            }
        }
        mem::take(&mut counts.waiting).into_iter().collect()
    }

    fn give_back(&self, counts: Vec<(ActivityKey, u64)>) {
        let mut all = self.counts();
        for (key, amount) in counts {
            all.merge(key, amount);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn add(
        &mut self,
        server: &ServerName,
        kind: ActivityKind,
        reason: Option<DenyReason>,
        amount: u64,
        now: Timestamp,
    ) {
        let hour = hour_of(now);
        self.merge(ActivityKey { hour, server: server.clone(), kind, reason }, amount);
    }

    fn merge(&mut self, key: ActivityKey, amount: u64) {
        if amount == 0 {
            return;
        }
        let is_greatest = key.kind == ActivityKind::Sessions;
        let count = self.waiting.entry(key).or_default();
        *count = if is_greatest { amount.max(*count) } else { count.saturating_add(amount) };
        if self.waiting.len() > MOST {
            self.waiting.pop_first();
        }
    }
}

/// When the hour of a moment began.
fn hour_of(now: Timestamp) -> Timestamp {
    let millis = now.as_millis();
    Timestamp::from_millis(millis - millis.rem_euclid(HOUR_MS))
}

/// Stores what was counted.
pub(super) struct Chronicler {
    pub(super) activity: Arc<Activity>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
}

impl Chronicler {
    /// Runs until `stop`; then stores what is left.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = sleep(INTERVAL) => self.store().await,
                () = stop.cancelled() => {
                    let _ = timeout(LAST_WRITE, self.store()).await;
                    return;
                }
            }
        }
    }

    async fn store(&self) {
        let counts = self.activity.take(self.clock.now().utc);
        if counts.is_empty() {
            return;
        }
        if let Err(error) = self.store.add_activity(&counts).await {
            // That the database is away the poller tells.
            tracing::debug!(%error, "activity is stored later");
            self.activity.give_back(counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerName {
        "udp".parse().unwrap()
    }

    fn of(counts: &[(ActivityKey, u64)], kind: ActivityKind) -> Vec<(i64, u64)> {
        let of_kind = counts.iter().filter(|(key, _)| key.kind == kind);
        of_kind.map(|(key, amount)| (key.hour.as_secs() / 3_600, *amount)).collect()
    }

    #[test]
    fn what_happens_is_counted_in_its_hour_and_what_goes_on_in_each() {
        let activity = Activity::default();
        let hour = |n: i64| Timestamp::from_secs(n * 3_600 + 1_800);
        activity.carried(&server(), Carried { received: 5, sent: 7 }, hour(10));
        activity.carried(&server(), Carried { received: 1, sent: 0 }, hour(10));
        for count in [3, 9, 4] {
            activity.sessions(&server(), count, hour(10));
        }
        let counts = activity.take(hour(10));
        assert_eq!(of(&counts, ActivityKind::Received), [(10, 6)]);
        assert_eq!(of(&counts, ActivityKind::Sent), [(10, 7)]);
        assert_eq!(of(&counts, ActivityKind::Sessions), [(10, 9)]);
        // Nothing has changed, and there are sessions all the same.
        let counts = activity.take(hour(11));
        assert_eq!(of(&counts, ActivityKind::Sessions), [(11, 4)]);
        assert_eq!(counts.len(), 1);
        assert!(activity.take(hour(11)).is_empty(), "it was told of this hour");
        assert_eq!(of(&activity.take(hour(12)), ActivityKind::Sessions), [(12, 4)]);
    }

    #[test]
    fn what_could_not_be_stored_is_added_to_what_comes_next() {
        let activity = Activity::default();
        let now = Timestamp::from_secs(3_600);
        activity.carried(&server(), Carried { received: 5, sent: 0 }, now);
        activity.sessions(&server(), 9, now);
        let failed = activity.take(now);
        activity.carried(&server(), Carried { received: 2, sent: 0 }, now);
        activity.sessions(&server(), 1, now);
        activity.give_back(failed);
        let counts = activity.take(now);
        assert_eq!(of(&counts, ActivityKind::Received), [(1, 7)]);
        assert_eq!(of(&counts, ActivityKind::Sessions), [(1, 9)]);
    }

    #[test]
    fn a_long_outage_does_not_fill_the_memory() {
        let activity = Activity::default();
        for hour in 0..MOST as i64 + 500 {
            let now = Timestamp::from_secs(hour * 3_600);
            activity.carried(&server(), Carried { received: 1, sent: 0 }, now);
        }
        let counts = of(&activity.take(Timestamp::default()), ActivityKind::Received);
        assert_eq!((counts.len(), counts[0].0), (MOST, 500));
    }
}
