//! Measures, once an hour, how long the costliest stored hashes take to compare: refusals wait as long
//! (`auth::slowest`).

use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{auth::service::Authenticator, telemetry::events::Event};

/// Between two surveys, and until another try after one that failed.
const INTERVAL: Duration = Duration::from_secs(3_600);
const RETRY: Duration = Duration::from_secs(60);

/// What the task needs.
pub(super) struct Survey {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) store_ready: watch::Receiver<bool>,
    pub(super) stop: CancellationToken,
}

impl Survey {
    /// Runs until the daemon stops.
    pub(super) async fn run(mut self) {
        let mut passed_over = BTreeSet::new();
        loop {
            tokio::select! {
                // The poller has gone when this fails.
                ready = self.store_ready.wait_for(|ready| *ready) => if ready.is_err() { return },
                () = self.stop.cancelled() => return,
            }
            let surveyed = tokio::select! {
                surveyed = self.authenticator.survey() => surveyed,
                () = self.stop.cancelled() => return,
            };
            let pause = match surveyed {
                Ok(unreadable) => {
                    let unreadable = unreadable.iter().map(ToString::to_string).collect();
                    for error in new_ones(&mut passed_over, unreadable) {
                        Event::StoreUnreadable { server: None, error }.emit();
                    }
                    INTERVAL
                }
                Err(error) => {
                    // The poller tells of a database that is away.
                    tracing::debug!(%error, "the stored hashes were not surveyed");
                    RETRY
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }
}

/// Those that were not there the last time; they are told.
fn new_ones(passed_over: &mut BTreeSet<String>, now: BTreeSet<String>) -> Vec<String> {
    let before = mem::replace(passed_over, now);
    passed_over.difference(&before).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_once_and_again_after_it_was_mended() {
        let mut passed_over = BTreeSet::new();
        let mut told = |rows: &[&str]| {
            new_ones(&mut passed_over, rows.iter().map(ToString::to_string).collect())
        };
        assert_eq!(told(&["a", "b"]), ["a", "b"]);
        assert_eq!(told(&["a", "c"]), ["c"]);
        assert_eq!(told(&["c"]), [""; 0]);
        assert_eq!(told(&["a", "c"]), ["a"]);
    }
}
