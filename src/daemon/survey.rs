//! Measures, once an hour, how long the costliest stored hashes take to compare: refusals wait as long
//! (`auth::slowest`).

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::auth::service::Authenticator;

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
                Ok(()) => INTERVAL,
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
