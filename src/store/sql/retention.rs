//! Sessions that have ended, in the order of their ends, and their removal.

use super::{Attempt, Cells, Connector, Row, SqlStore, Value, transaction};
use crate::{
    store::{EndedCursor, EndedSession, StoreError},
    types::{SessionId, Timestamp},
};

/// The most sessions of one call.
const MOST: u32 = 10_000;

impl<C: Connector> SqlStore<C> {
    pub async fn retentions(&self) -> Result<Vec<u32>, StoreError> {
        let rows = self.read(self.sql.retentions, Vec::new()).await?;
        let days = |row| Cells::new(row, "policies", "name").some_number("retention_days");
        rows.iter().map(days).collect()
    }

    pub async fn ended(
        &self,
        after: Option<&EndedCursor>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<EndedSession>, StoreError> {
        let from = after.map_or(Timestamp::from_millis(i64::MIN), |after| after.ended_at);
        let server = Value::from(after.map_or("", |after| after.server.as_str()));
        let id = after.map_or_else(String::new, |after| after.id.to_string());
        let args = vec![
            from.into(),
            before.into(),
            from.into(),
            server.clone(),
            server,
            id.as_str().into(),
            limit.min(MOST).into(),
        ];
        self.read(self.sql.ended, args).await?.iter().map(ended).collect()
    }

    pub async fn remove_sessions(&self, sessions: &[SessionId]) -> Result<u64, StoreError> {
        let sessions = &sessions[..sessions.len().min(MOST as usize)];
        let runs = self.sql.remove_sessions.split(sessions);
        transaction!(self, Attempt::new(true, runs.len() <= 1), |tx| {
            let mut removed = 0;
            for (sql, run) in &runs {
                let args: Vec<Value> = run.iter().map(|id| id.to_string().into()).collect();
                removed += tx.execute(sql, &args).await?.affected;
            }
            Ok(removed)
        })
        .map_err(StoreError::from)
    }
}

/// A name that MySQL takes for another (it ignores trailing spaces) has no policy of its own here: what is configured holds.
fn ended(row: &Row) -> Result<EndedSession, StoreError> {
    let cells = Cells::new(row, "sessions", "id");
    let is_own = cells.text("own_name")?.is_none_or(|own| cells.text("user_name") == Ok(Some(own)));
    Ok(EndedSession {
        cursor: EndedCursor {
            ended_at: cells.some_time("ended_at")?,
            server: cells.some_parsed("server")?,
            id: cells.some_parsed("id")?,
        },
        retention_days: cells.number("retention_days")?.filter(|_| is_own),
    })
}
