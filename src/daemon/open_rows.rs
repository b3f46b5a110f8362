//! Reads the open sessions of a server for the comparison after an attach.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    store::{SessionRecord, Store},
    telemetry::events::Event,
    types::ServerName,
};

use super::backlog::Backlog;

/// How long our own changes may take to reach the database before its open sessions are read; what
/// is not there then is added to them.
const SETTLE: Duration = Duration::from_millis(250);
/// Pause while the database is behind the journal.
const JOURNAL_POLL: Duration = Duration::from_millis(100);
/// Pause after the database could not tell the open sessions, unless it is known to be away.
const RETRY: Duration = Duration::from_millis(250);

/// Tries as often as it takes.
pub(super) async fn load(
    server: ServerName,
    store: Arc<dyn Store>,
    backlog: Arc<Backlog>,
    mut ready: watch::Receiver<bool>,
) -> Vec<SessionRecord> {
    loop {
        // Bounded: while everybody logs in there may always be something to write.
        let _ = timeout(SETTLE, backlog.settled(&server)).await;
        let unwritten = backlog.unwritten(&server);
        // After the look at memory: rows only leave it for the journal or the database.
        if let Ok(true) = backlog.is_journaled().await {
            sleep(JOURNAL_POLL).await;
            continue;
        }
        match store.open_sessions(&server).await {
            Ok(open) => {
                for error in open.unreadable {
                    let (server, error) = (server.clone(), error.to_string());
                    Event::StoreUnreadable { server, error }.emit();
                }
                return unwritten.applied_to(open.sessions);
            }
            Err(error) => {
                tracing::debug!(%server, %error, "open sessions are not known yet");
                sleep(RETRY).await;
                // An error means that nobody tells any more: the daemon stops.
                let _ = ready.wait_for(|is_ready| *is_ready).await;
            }
        }
    }
}
