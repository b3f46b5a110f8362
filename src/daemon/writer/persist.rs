//! Rows on their way to the database: which of them have to wait, and which it will never take.

use futures_util::future::BoxFuture;

use crate::{
    store::{SessionRecord, Store, StoreError},
    telemetry::events::Event,
};

/// Writes rows; those that have to wait because the database is away.
pub(super) async fn persist(
    store: &dyn Store,
    rows: &[SessionRecord],
    why: &mut String,
) -> Vec<SessionRecord> {
    match store.persist(rows).await {
        Ok(()) => Vec::new(),
        Err(error) if is_passing(&error) => {
            tracing::debug!(%error, rows = rows.len(), "session rows wait for the database");
            *why = error.to_string();
            rows.to_vec()
        }
        // One bad row must not hold the others up.
        Err(_) => one_by_one(rows, why, |row| store.persist(row)).await,
    }
}

/// Writes each row alone; those that have to wait.
async fn one_by_one<'a>(
    rows: &'a [SessionRecord],
    why: &mut String,
    mut write: impl FnMut(&'a [SessionRecord]) -> BoxFuture<'a, Result<(), StoreError>>,
) -> Vec<SessionRecord> {
    for (number, record) in rows.iter().enumerate() {
        match write(std::slice::from_ref(record)).await {
            Ok(()) => {}
            Err(error) if is_passing(&error) => {
                *why = error.to_string();
                // Each of the others would wait as long.
                return rows[number..].to_vec();
            }
            Err(error) => log_lost(record, &error),
        }
    }
    Vec::new()
}

/// Whether a row may be taken later: also when a table is missing, as while a backup is put back.
pub(super) const fn is_passing(error: &StoreError) -> bool {
    error.is_transient() || matches!(error, StoreError::Schema(_))
}

/// A row that the database will never take is at least in the log.
fn log_lost(record: &SessionRecord, error: &StoreError) {
    Event::StoreRefused {
        session_id: record.id,
        server: record.server.clone(),
        user: record.user.as_str().into(),
        state: record.state.as_str(),
        started_at: record.started_at,
        bytes_received: record.bytes_received,
        bytes_sent: record.bytes_sent,
        error: error.to_string(),
    }
    .emit();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{daemon::backlog::tests::row, store::SessionState};

    #[tokio::test]
    async fn a_bad_row_holds_no_other_up_and_a_database_that_has_gone_is_asked_once() {
        let rows: Vec<_> = (1..=9).map(|n| row(n, 1, SessionState::Active)).collect();
        let (mut why, mut asked) = (String::new(), Vec::new());
        let left = one_by_one(&rows, &mut why, |row| {
            asked.push(row[0].cid.0);
            let result = match row[0].cid.0 {
                2 => Err(StoreError::Refused("too long".into())),
                5.. => Err(StoreError::Unavailable("gone".into())),
                _ => Ok(()),
            };
            Box::pin(std::future::ready(result))
        });
        let left: Vec<_> = left.await.iter().map(|row| row.cid.0).collect();
        assert_eq!((asked, left), (vec![1, 2, 3, 4, 5], vec![5, 6, 7, 8, 9]));
        assert!(why.contains("gone"));
    }
}
