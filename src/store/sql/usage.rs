//! What users have used of their quotas, and what they were granted beside them.

use std::{collections::BTreeMap, time::Duration};

use super::{Attempt, Cells, Connector, Row, SqlStore, Value, audit_row, transaction};
use crate::{
    store::{
        Actor, DayShare, GrantRecord, Granted, OpenUse, QuotaGrant, SessionRecord, StoreError,
        USERS_OF_USAGE, Usage,
    },
    types::{Periods, Timestamp, Username},
};

/// Most rows that are put together in one transaction.
const MOST_ROWS: u32 = 10_000;
/// Most bytes, and milliseconds, of one session and day; more is a damaged counter, and sums have to fit.
const MOST: u64 = 1 << 50;
/// Most grants of a user that are in force at once.
const MOST_GRANTS: u32 = 1_000;
/// The day of what was put together.
const FOLDED: Timestamp = Timestamp::from_secs(0);

impl<C: Connector> SqlStore<C> {
    pub async fn usage(
        &self,
        users: &[(Username, Periods)],
        now: Timestamp,
    ) -> Result<Vec<Usage>, StoreError> {
        if users.len() > USERS_OF_USAGE {
            let what = format!("what more than {USERS_OF_USAGE} users have used at once");
            return Err(StoreError::Refused(what));
        }
        let mut found = vec![Usage::default(); users.len()];
        let numbered: Vec<_> = (0_u32..).zip(users).collect();
        for (sql, run) in self.sql.usage.split(&numbered) {
            let mut args = Vec::with_capacity(run.len() * 13);
            for (number, (user, began)) in run {
                let (number, user) = (Value::from(*number), Value::from(user.as_str()));
                let began = [began.day, began.week, began.month].map(Value::from);
                args.push(number.clone());
                args.extend(began.clone());
                args.extend(began);
                args.extend([user.clone(), number.clone(), user.clone(), number, user]);
                args.push(now.into());
            }
            for row in &self.read(sql, args).await? {
                let who: u32 = Cells::new(row, "usage_periods", "who").some_number("who")?;
                if let Some(usage) = found.get_mut(who as usize) {
                    add(usage, row)?;
                }
            }
        }
        Ok(found)
    }

    pub async fn fold_usage(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let args = [before.into(), FOLDED.into(), limit.min(MOST_ROWS).into()];
        transaction!(self, Attempt::new(false, false), |tx| {
            let rows = tx.fetch(self.sql.old_usage, &args).await?;
            let mut sums: BTreeMap<String, [u64; 3]> = BTreeMap::new();
            let mut folded = 0;
            for row in &rows {
                let cells = Cells::new(row, "usage_periods", "session_id");
                let user = cells.some_text("user_name")?;
                let key = [
                    user.into(),
                    cells.some_time("starts_at")?.into(),
                    cells.some_text("session_id")?.into(),
                ];
                // Another daemon may have taken it.
                if tx.execute(self.sql.remove_usage, &key).await?.affected == 0 {
                    continue;
                }
                folded += 1;
                let sum = sums.entry(user.to_owned()).or_default();
                for (sum, column) in
                    sum.iter_mut().zip(["duration_ms", "bytes_received", "bytes_sent"])
                {
                    *sum = sum.saturating_add(cells.some_number(column)?);
                }
            }
            for (user, [millis, received, sent]) in sums {
                let args =
                    [user.into(), FOLDED.into(), millis.into(), received.into(), sent.into()];
                tx.execute(self.sql.add_old_usage, &args).await?;
            }
            Ok(folded)
        })
        .map_err(StoreError::from)
    }

    pub async fn grant_quota(&self, grant: &QuotaGrant, by: &Actor) -> Result<(), StoreError> {
        let (kind, amount) = match grant.amount {
            Granted::Time(seconds) => ("time", seconds),
            Granted::Data(bytes) => ("data", bytes),
        };
        let detail = format!("{kind}={amount} until={}", grant.valid_until);
        let audit = audit_row(by, "user.grant", grant.user.as_str(), Some(&detail));
        transaction!(self, Attempt::new(false, false), |tx| {
            self.lock_user(tx, &grant.user).await?;
            let held = [grant.user.as_str().into(), by.at.into(), MOST_GRANTS.into()];
            if tx.fetch(self.sql.grants, &held).await?.len() >= MOST_GRANTS as usize {
                let what = format!("user `{}` has {MOST_GRANTS} grants already", grant.user);
                return Err(StoreError::Refused(what).into());
            }
            let args = [
                grant.user.as_str().into(),
                kind.into(),
                amount.into(),
                grant.valid_until.into(),
                by.at.into(),
                Value::cut(&by.name, 128),
            ];
            tx.execute(self.sql.add_grant, &args).await?;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn grants(
        &self,
        user: &Username,
        now: Timestamp,
    ) -> Result<Vec<GrantRecord>, StoreError> {
        let args = vec![user.as_str().into(), now.into(), MOST_GRANTS.into()];
        let rows = self.read(self.sql.grants, args).await?;
        let grant = |row: &Row| {
            let cells = Cells::new(row, "quota_grants", "id");
            let amount = cells.some_number("amount")?;
            Ok(GrantRecord {
                id: cells.some_number("id")?,
                amount: match cells.some_text("kind")? {
                    "data" => Granted::Data(amount),
                    _ => Granted::Time(amount),
                },
                valid_until: cells.some_time("valid_until")?,
                created_at: cells.some_time("created_at")?,
                actor: cells.some_text("actor")?.to_owned(),
            })
        };
        rows.iter().map(grant).collect()
    }

    pub async fn revoke_grant(
        &self,
        user: &Username,
        id: i64,
        by: &Actor,
    ) -> Result<(), StoreError> {
        let audit = audit_row(by, "user.revoke", user.as_str(), Some(&format!("grant={id}")));
        transaction!(self, Attempt::new(false, false), |tx| {
            let key = [user.as_str().into(), id.into()];
            if tx.execute(self.sql.remove_grant, &key).await?.affected == 0 {
                return Err(StoreError::NotFound(format!("grant {id} of user `{user}`")).into());
            }
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }
}

fn add(usage: &mut Usage, row: &Row) -> Result<(), StoreError> {
    let cells = Cells::new(row, "sessions", "id");
    let millis = |column| cells.some_number(column).map(Duration::from_millis);
    match cells.some_text("kind")? {
        "ended" => {
            usage.time =
                [millis("day_ms")?, millis("week_ms")?, millis("month_ms")?, millis("total_ms")?];
            let total = cells
                .some_number::<u64>("bytes_received")?
                .saturating_add(cells.some_number("bytes_sent")?);
            let bytes = |column| cells.some_number(column);
            usage.bytes = [bytes("day_bytes")?, bytes("week_bytes")?, bytes("month_bytes")?, total];
        }
        kind @ ("time" | "data") => {
            let cells = Cells::new(row, "quota_grants", "id");
            let amount = cells.some_number("total_ms");
            let amount = amount.map_err(|_| cells.corrupt("amount", "is no amount"))?;
            let amount = if kind == "time" { Granted::Time(amount) } else { Granted::Data(amount) };
            let until = cells.some_time("updated_at");
            let until = until.map_err(|_| cells.corrupt("valid_until", "is not a time"))?;
            usage.grants.push((amount, until));
        }
        _ => usage.open.push(OpenUse {
            session: cells.some_parsed("id")?,
            started_at: cells.some_time("started_at")?,
            updated_at: cells.some_time("updated_at")?,
            seen_at: cells.some_time("updated_at")?.max(cells.time("seen_at")?.unwrap_or_default()),
            bytes_received: cells.some_number("bytes_received")?,
            bytes_sent: cells.some_number("bytes_sent")?,
            marks: cells.parsed("day_marks")?.unwrap_or_default(),
        }),
    }
    Ok(())
}

/// Appends what a session used on one day in the order of the parameters of `add_usage`.
pub fn push_share(args: &mut Vec<Value>, session: &SessionRecord, share: &DayShare) {
    args.extend([
        share.starts_at.into(),
        u64::try_from(share.time.as_millis()).unwrap_or(MOST).min(MOST).into(),
        share.bytes_received.min(MOST).into(),
        share.bytes_sent.min(MOST).into(),
        session.id.to_string().into(),
        session.version.into(),
        session.ended_at.into(),
        session.bytes_received.into(),
        session.bytes_sent.into(),
        session.day_marks.to_string().into(),
    ]);
}
