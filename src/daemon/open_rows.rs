//! Reads the open sessions of a server for the comparison after an attach.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    store::{OpenSession, ServerRecord, SessionRecord, Store},
    telemetry::events::Event,
    types::{ServerName, Username, Zone},
};

use super::backlog::Backlog;

/// How long our own changes may take to reach the database before its open sessions are read; what
/// is not there then is added to them.
const SETTLE: Duration = Duration::from_millis(250);
/// Pause after the database could not tell the open sessions, unless it is known to be away.
const RETRY: Duration = Duration::from_millis(250);

/// Tries as often as it takes.
pub(super) async fn load(
    server: ServerName,
    store: Arc<dyn Store>,
    backlog: Arc<Backlog>,
    mut ready: watch::Receiver<bool>,
) -> Vec<OpenSession> {
    loop {
        // Bounded: while everybody logs in there may always be something to write.
        let _ = timeout(SETTLE, backlog.settled(|row| row.server == server)).await;
        // In this order: rows only leave memory for the journal or the database, and the journal for
        // the database.
        let unwritten = backlog.unwritten(&server);
        let unwritten = unwritten.with(backlog.journaled(&server).await);
        match store.open_sessions(&server).await {
            Ok(open) => {
                for error in open.unreadable {
                    let (server, error) = (server.clone(), error.to_string());
                    Event::StoreUnreadable { server, error }.emit();
                }
                let sessions = unwritten.applied_to(open.sessions);
                return sessions
                    .into_iter()
                    .map(|row| taken_over(row, &open.server, &open.zones))
                    .collect();
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

/// A session was there as long as its server was seen in its run, whether it carried anything or not.
fn taken_over(
    mut record: SessionRecord,
    server: &Option<ServerRecord>,
    zones: &HashMap<Username, Zone>,
) -> OpenSession {
    if let Some(server) = server.as_ref().filter(|s| s.run_started == record.run_started) {
        record.updated_at = record.updated_at.max(server.seen_at);
    }
    let time_zone = zones.get(&record.user).copied();
    OpenSession { record, time_zone }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{daemon::backlog::tests::row, store::SessionState, types::Timestamp};

    #[test]
    fn who_was_silent_was_there_as_long_as_the_server_was_seen_in_that_run() {
        let record = row(1, 1, SessionState::Active);
        let seen = |run_started, seconds| {
            Some(ServerRecord {
                name: record.server.clone(),
                address: String::new(),
                openvpn_version: String::new(),
                run_started,
                seen_at: record.updated_at.saturating_add(Duration::from_secs(seconds)),
                sessions: 1,
            })
        };
        let zones = HashMap::from([(record.user.clone(), "Europe/Berlin".parse().unwrap())]);
        let last = |server| taken_over(record.clone(), &server, &zones).record.updated_at;
        assert_eq!(last(None), record.updated_at);
        assert_eq!(last(seen(Timestamp::default(), 60)), record.updated_at, "another run");
        let later = record.updated_at.saturating_add(Duration::from_secs(60));
        assert_eq!(last(seen(record.run_started, 60)), later);
        assert_eq!(
            taken_over(record.clone(), &None, &zones).time_zone,
            zones.get(&record.user).copied()
        );
    }
}
