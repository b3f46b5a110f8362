//! What happened in each hour, and what was done by whom.

use super::{Attempt, Cells, Connector, Row, SqlStore, transaction};
use crate::{
    store::{ActivityKey, AuditRecord, AuthEvent, Change, HourSum, StoreError},
    types::{DenyReason, Timestamp, Username},
};

/// Most rows that one call returns or removes.
const MOST: u32 = 10_000;
/// Most changes of one call.
const MOST_CHANGES: u32 = 1_000;
/// Most of one amount; more is a damaged counter, and sums have to fit.
const MOST_AMOUNT: u64 = 1 << 50;

impl<C: Connector> SqlStore<C> {
    pub async fn add_activity(&self, counts: &[(ActivityKey, u64)]) -> Result<(), StoreError> {
        let runs = self.sql.add_activity.split(counts);
        // A repeated COMMIT would count twice; the caller tries a failed one again and says so.
        transaction!(self, Attempt::new(false, runs.len() <= 1), |tx| {
            for (sql, run) in &runs {
                let mut args = Vec::with_capacity(run.len() * 5);
                for (key, amount) in *run {
                    args.extend([
                        key.hour.into(),
                        key.server.as_str().into(),
                        key.kind.as_str().into(),
                        key.reason.map_or("", DenyReason::as_str).into(),
                        (*amount).min(MOST_AMOUNT).into(),
                    ]);
                }
                tx.execute(sql, &args).await?;
            }
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn activity(&self, since: Timestamp) -> Result<Vec<HourSum>, StoreError> {
        let rows = self.read(self.sql.activity, vec![since.into(), (4 * MOST).into()]).await?;
        // What a newer daemon counts is no reason to hide the rest.
        Ok(rows.iter().filter_map(|row| hour_sum(row).ok()).collect())
    }

    pub async fn remove_activity(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let args = [before.into(), limit.min(MOST).into()];
        transaction!(self, Attempt::new(true, true), |tx| {
            Ok(tx.execute(self.sql.remove_activity, &args).await?.affected)
        })
        .map_err(StoreError::from)
    }

    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let rows = self.read(self.sql.audited, vec![limit.min(MOST).into()]).await?;
        rows.iter().map(audited).collect()
    }

    pub async fn changes(&self, after: Option<i64>) -> Result<Vec<Change>, StoreError> {
        let rows = match after {
            Some(after) => self.read(self.sql.changes, vec![after.into(), MOST_CHANGES.into()]),
            None => self.read(self.sql.last_change, Vec::new()),
        };
        let change = |row| {
            let cells = Cells::new(row, "admin_audit", "id");
            Ok(Change {
                id: cells.some_number("id")?,
                action: cells.some_text("action")?.to_owned(),
                target: cells.some_text("target")?.to_owned(),
            })
        };
        rows.await?.iter().map(change).collect()
    }

    pub async fn audit_of(&self, target: &str, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        // `/` comes before `0`: what is between are the devices of that user.
        let (from, to) = (format!("{target}/"), format!("{target}0"));
        let args = vec![target.into(), from.as_str().into(), to.into(), limit.min(MOST).into()];
        let rows = self.read(self.sql.audited_target, args).await?;
        let is_meant =
            |found: &AuditRecord| found.target == target || found.target.starts_with(&from);
        rows.iter().map(audited).filter(|found| found.as_ref().map_or(true, is_meant)).collect()
    }

    pub async fn auth_events_of(
        &self,
        user: &Username,
        limit: u32,
    ) -> Result<Vec<AuthEvent>, StoreError> {
        let args = vec![user.as_str().into(), limit.min(MOST).into()];
        let rows = self.read(self.sql.auth_events_of, args).await?;
        let events = rows.iter().filter_map(|row| super::failure::event(row).ok());
        Ok(events.filter(|event| event.user.as_ref() == Some(user)).collect())
    }
}

fn hour_sum(row: &Row) -> Result<HourSum, StoreError> {
    let cells = Cells::new(row, "activity", "kind");
    Ok(HourSum {
        hour: cells.some_time("starts_at")?,
        kind: cells.some_parsed("kind")?,
        reason: cells.some_text("reason")?.to_owned(),
        amount: cells.some_number("amount")?,
    })
}

fn audited(row: &Row) -> Result<AuditRecord, StoreError> {
    let cells = Cells::new(row, "admin_audit", "id");
    Ok(AuditRecord {
        at: cells.some_time("created_at")?,
        actor: cells.some_text("actor")?.to_owned(),
        action: cells.some_text("action")?.to_owned(),
        target: cells.some_text("target")?.to_owned(),
        detail: cells.owned("detail")?,
    })
}
