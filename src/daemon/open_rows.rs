//! Reads the open sessions of a server for the comparison after an attach.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    store::{OpenSession, ServerRecord, SessionRecord, SessionState, Store, StoreError},
    telemetry::events::Event,
    types::{Clock, ServerName, SessionId, Username, Zone},
};

use super::backlog::Backlog;

/// How long our own changes may take to reach the database before its open sessions are read; what
/// is not there then is added to them.
const SETTLE: Duration = Duration::from_millis(250);
/// Pause while the database is behind the journal.
const JOURNAL_POLL: Duration = Duration::from_millis(100);
/// For how long the journal may take to be emptied; who is past a deadline does not wait longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after the database could not tell the open sessions, unless it is known to be away.
const RETRY: Duration = Duration::from_millis(250);

/// Tries as often as it takes.
pub(super) async fn load(
    server: ServerName,
    store: Arc<dyn Store>,
    backlog: Arc<Backlog>,
    mut ready: watch::Receiver<bool>,
    clock: Clock,
) -> Vec<OpenSession> {
    let patient_until = clock.now().mono + PATIENCE;
    loop {
        backlog.take_over_left().await;
        // Bounded: while everybody logs in there may always be something to write.
        let _ = timeout(SETTLE, backlog.settled(|row| row.server == server)).await;
        // In this order: rows only leave memory for the journal or the database, and the journal for
        // the database.
        let (unwritten, left) = backlog.unwritten(&server);
        let journaled = backlog.journaled(&server).await;
        if !journaled.is_empty() && clock.now().mono < patient_until {
            sleep(JOURNAL_POLL).await;
            continue;
        }
        match store.open_sessions(&server).await {
            Ok(open) => {
                for error in open.unreadable {
                    let (server, error) = (Some(server.clone()), error.to_string());
                    Event::StoreUnreadable { server, error }.emit();
                }
                let mut sessions = open.sessions;
                let waiting = left.into_iter().chain(journaled).collect();
                match newer(&*store, &sessions, waiting).await {
                    Ok(newer) => sessions.extend(newer),
                    Err(error) => {
                        tracing::debug!(%server, %error, "what the journal holds is not compared yet");
                        sleep(RETRY).await;
                        continue;
                    }
                }
                let sessions = unwritten.applied_to(sessions);
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

/// Of rows that wait for the database, those that are new to it or newer than its own, which was read a moment
/// before.
async fn newer(
    store: &dyn Store,
    open: &[SessionRecord],
    waiting: Vec<SessionRecord>,
) -> Result<Vec<SessionRecord>, StoreError> {
    let mut newer = Vec::new();
    let open: HashMap<SessionId, u32> = open.iter().map(|row| (row.id, row.version)).collect();
    for row in waiting {
        if let Some(known) = open.get(&row.id) {
            newer.extend((*known < row.version).then_some(row));
            continue;
        }
        match store.session(row.id).await? {
            // It has ended there since.
            Some(known) if known.state == SessionState::Closed => {}
            // It was written since the others were read.
            Some(known) if known.version >= row.version => newer.push(known),
            Some(_) | None => newer.push(row),
        }
    }
    Ok(newer)
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
    use crate::{
        daemon::backlog::tests::row,
        store::{Options, open},
        types::{Password, Timestamp},
    };

    #[tokio::test]
    async fn of_a_journal_that_cannot_be_emptied_the_newer_rows_count() {
        use SessionState::{Active, Closed};
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/warden.db", folder.path().display());
        let store = open(&Options::new(Password::from(url.as_bytes()))).unwrap();
        store.migrate(false).await.unwrap();
        let known = [row(2, 5, Closed), row(3, 4, Active), row(4, 9, Active)];
        // Written since `known` was read.
        let since = [row(5, 7, Active), row(6, 8, Active)];
        store.persist(&known).await.unwrap();
        store.persist(&since).await.unwrap();
        let waiting = [1, 2, 3, 4, 5, 6].map(|number| row(number, 7, Active));
        let found = newer(&*store, &known[1..], waiting.to_vec()).await.unwrap();
        let [five, six] = since;
        assert_eq!(found, [row(1, 7, Active), row(3, 7, Active), five, six]);
        let open = Backlog::default()
            .unwritten(&row(1, 1, Active).server)
            .0
            .applied_to(known[1..].iter().cloned().chain(found).collect());
        let open: Vec<_> = open.iter().map(|row| (row.cid.0, row.version)).collect();
        assert_eq!(open, [(1, 7), (3, 7), (4, 9), (5, 7), (6, 8)]);
    }

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
