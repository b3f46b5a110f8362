//! What tells that nobody has changed anything by which running sessions are judged, or that daemons ask for.

use std::sync::Arc;

use super::{Cells, Connector, Row, SqlError, SqlStore};
use crate::store::{FactTrace, StoreError, Traces};

/// The tables of a session's standing, by [`super::Statements::fact_trace`]; and that of the sessions, which is written all
/// the time: a server that keeps no time of that keeps none of the others.
const TABLES: [&str; 5] = ["allowed_hours", "device_ends", "devices", "policies", "users"];
const WITNESS: &str = "sessions";
/// What else is asked for by the clock, by [`super::Statements::pulse`].
const GROWING: [&str; 3] = ["admin_audit", "auth_events", "session_commands"];

impl<C: Connector> SqlStore<C> {
    pub async fn fact_trace(&self) -> Result<Option<FactTrace>, StoreError> {
        if !self.pool.connector.has_single_writer() {
            let rows = self.read(self.sql.fact_trace, Vec::new()).await?;
            return Ok(of_tables(&rows, &TABLES)?.map(FactTrace));
        }
        // All that this program writes goes through one connection, to which the database tells what others write. Nobody
        // waits for it: whoever asks may be the one for whom those wait who have it.
        let pool = Arc::clone(&self.pool);
        let sql = self.sql.fact_trace;
        let asked = tokio::spawn(async move {
            let Some(mut lease) = pool.free_writer().await? else { return Ok(None) };
            let rows = lease.fetch(sql, &[]).await;
            let connection = lease.serial();
            lease.give_back();
            rows.map(|rows| Some((connection, rows)))
        });
        let asked = asked.await.map_err(|_| SqlError::Unavailable("it was cancelled".into()))?;
        let Some((connection, rows)) = asked? else { return Ok(None) };
        let Some(row) = rows.first() else { return Ok(None) };
        let cells = Cells::new(row, "data_version", "data_version");
        let version: i64 = cells.some_number("data_version")?;
        Ok(Some(FactTrace(format!("{connection}/{version}"))))
    }

    pub async fn pulse(&self) -> Result<Option<Traces>, StoreError> {
        if self.pool.connector.has_single_writer() {
            return Ok(None);
        }
        let mut tables: Vec<_> = TABLES.into_iter().chain(GROWING).collect();
        tables.sort_unstable();
        // Not as a task of its own: nobody goes away meanwhile, and it would wake another thread each second.
        let rows = self.pool.read(self.sql.pulse, &[]).await?;
        Ok(of_tables(&rows, &tables)?.map(Traces::Told))
    }
}

/// Of rows by the tables' names, if all of these are there.
fn of_tables(rows: &[Row], tables: &[&str]) -> Result<Option<String>, StoreError> {
    let mut traces = Vec::new();
    let mut is_kept = false;
    for row in rows {
        let cells = Cells::new(row, "information_schema.tables", "name");
        let (name, trace) = (cells.some_text("name")?, cells.text("trace")?);
        if name == WITNESS {
            is_kept = cells.flag("is_timed")?;
        } else if cells.flag("is_plain")? {
            traces.push((name, trace.unwrap_or_default()));
        }
    }
    traces.sort_unstable();
    let is_all = traces.iter().map(|(name, _)| *name).eq(tables.iter().copied());
    let text = |(name, trace): &(&str, &str)| format!("{name} {trace}\n");
    Ok((is_kept && is_all).then(|| traces.iter().map(text).collect()))
}
