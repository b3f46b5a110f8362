//! Policies, as operators change them.

use super::{
    Attempt, Cells, Connector, Failure, SqlError, SqlStore, Value, audit_row,
    record::{self, DEFAULT_POLICY},
    transaction,
    transaction::Tx,
    user::no_policy,
};
use crate::{
    store::{Actor, Policies, PolicyChange, PolicyRecord, StoreError},
    types::{Hours, Period, Printable, Quotas},
};

/// The bound on a policy's name, in bytes.
const MAX_NAME: usize = 64;

impl<C: Connector> SqlStore<C> {
    pub async fn put_policy(
        &self,
        policy: &PolicyRecord,
        replace: bool,
        by: &Actor,
    ) -> Result<(), StoreError> {
        if replace {
            let apply = |old: &mut PolicyRecord| *old = policy.clone();
            let change = PolicyChange { apply: &apply, sets_hours: true };
            return self.change_policy(&policy.name, change, by).await.map(|_| ());
        }
        check_name(&policy.name)?;
        let mut args = values(policy, by);
        args.push(by.at.into());
        let audit = audit_row(by, "policy.add", &policy.name, Some(&describe(policy)));
        transaction!(self, Attempt::new(false, false), |tx| {
            match tx.execute(self.sql.add_policy, &args).await {
                Ok(_) => {}
                Err(SqlError::Unique) => {
                    return Err(StoreError::Exists(format!("policy `{}`", policy.name)).into());
                }
                Err(error) => return Err(error.into()),
            }
            self.put_hours(tx, policy).await?;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn change_policy(
        &self,
        name: &str,
        change: PolicyChange<'_>,
        by: &Actor,
    ) -> Result<PolicyRecord, StoreError> {
        check_name(name)?;
        transaction!(self, Attempt::new(false, false), |tx| {
            // Keeps others from changing it until the end, so that no change of theirs is lost.
            let touched = tx.execute(self.sql.touch_policy, &[by.at.into(), name.into()]).await?;
            let rows = tx.fetch(self.sql.policy, &[name.into()]).await?;
            let Some(row) = rows.first().filter(|_| touched.affected > 0) else {
                return Err(no_policy(name).into());
            };
            let cells = Cells::new(row, "policies", "name");
            let hours = if change.sets_hours { Hours::default() } else { record::hours(cells)? };
            let mut policy = PolicyRecord { hours, ..record::policy_without_hours(cells)? };
            (change.apply)(&mut policy);
            tx.execute(self.sql.replace_policy, &values(&policy, by)).await?;
            tx.execute(self.sql.remove_hours, &[name.into()]).await?;
            self.put_hours(tx, &policy).await?;
            let audit = audit_row(by, "policy.set", name, Some(&describe(&policy)));
            tx.execute(self.sql.audit, &audit).await?;
            Ok(policy)
        })
        .map_err(StoreError::from)
    }

    async fn put_hours(&self, tx: &mut Tx<C>, policy: &PolicyRecord) -> Result<(), Failure> {
        for range in policy.hours.ranges() {
            let args = [
                policy.name.as_str().into(),
                u32::from(range.weekday()).into(),
                range.opens().into(),
                range.closes().into(),
            ];
            tx.execute(self.sql.add_hours, &args).await?;
        }
        Ok(())
    }

    pub async fn policy(&self, name: &str) -> Result<Option<PolicyRecord>, StoreError> {
        let rows = self.read(self.sql.policy, vec![name.into()]).await?;
        for row in &rows {
            let policy = record::policy(Cells::new(row, "policies", "name"))?;
            if policy.name == name {
                return Ok(Some(policy));
            }
        }
        Ok(None)
    }

    pub async fn policies(&self) -> Result<Policies, StoreError> {
        let rows = self.read(self.sql.policies, Vec::new()).await?;
        let mut all = Policies::default();
        for row in &rows {
            let cells = Cells::new(row, "policies", "name");
            match record::policy(cells) {
                Ok(policy) => all.policies.push(policy),
                Err(error) => all.unreadable.push((cells.some_text("name")?.to_owned(), error)),
            }
        }
        Ok(all)
    }

    pub async fn remove_policy(&self, name: &str, by: &Actor) -> Result<(), StoreError> {
        let in_use = || StoreError::InUse(format!("policy `{}`", Printable(name.as_bytes())));
        if name == DEFAULT_POLICY {
            return Err(in_use());
        }
        // Also keeps `name ` from meaning `name`.
        check_name(name).map_err(|_| no_policy(name))?;
        let audit = audit_row(by, "policy.remove", name, None);
        transaction!(self, Attempt::new(false, false), |tx| {
            if !tx.fetch(self.sql.policy_in_use, &[name.into()]).await?.is_empty() {
                return Err(in_use().into());
            }
            match tx.execute(self.sql.remove_policy, &[name.into()]).await {
                Ok(done) if done.affected == 0 => return Err(no_policy(name).into()),
                Ok(_) => {}
                Err(SqlError::ForeignKey) => return Err(in_use().into()),
                Err(error) => return Err(error.into()),
            }
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }
}

/// In the order of the columns.
fn values(policy: &PolicyRecord, by: &Actor) -> Vec<Value> {
    let mut args = vec![
        policy.session_limit_s.into(),
        policy.expiry_action.map(|action| action.as_str()).into(),
        policy.device_mode.map(|mode| mode.as_str()).into(),
        policy.max_devices.into(),
        policy.max_sessions.into(),
        policy.on_limit.map(|word| word.as_str()).into(),
        policy.cooldown_s.into(),
        policy.time_zone.map(|zone| zone.to_string()).into(),
    ];
    for quotas in [policy.time_quota, policy.data_quota] {
        args.extend(Period::ALL.iter().map(|period| quotas.of(*period).into()));
    }
    args.extend([
        policy.idle_s.into(),
        policy.idle_bytes.into(),
        policy.require_fingerprint.into(),
        policy.second_factor.map(|mode| mode.as_str()).into(),
        policy.retention_days.into(),
        by.at.into(),
        policy.name.as_str().into(),
    ]);
    args
}

fn check_name(name: &str) -> Result<(), StoreError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(StoreError::Refused(
        "a policy's name is 1 to 64 of letters, digits, `.`, `_` and `-`".into(),
    ))
}

fn describe(policy: &PolicyRecord) -> String {
    [
        policy.session_limit_s.map(|s| format!("session_limit_s={s}")),
        policy.expiry_action.map(|a| format!("expiry_action={a}")),
        policy.device_mode.map(|m| format!("device_mode={m}")),
        policy.max_devices.map(|n| format!("max_devices={n}")),
        policy.max_sessions.map(|n| format!("max_sessions={n}")),
        policy.on_limit.map(|word| format!("on_limit={word}")),
        policy.cooldown_s.map(|s| format!("cooldown_s={s}")),
        policy.time_zone.map(|zone| format!("time_zone={zone}")),
        Some(format!("hours={}", policy.hours)).filter(|_| !policy.hours.ranges().is_empty()),
        quotas("time_quota_s", policy.time_quota),
        quotas("data_quota_bytes", policy.data_quota),
        policy.idle_s.map(|s| format!("idle_s={s}")),
        policy.idle_bytes.map(|n| format!("idle_bytes={n}")),
        policy.require_fingerprint.map(|is_set| format!("require_fingerprint={is_set}")),
        policy.second_factor.map(|mode| format!("second_factor={mode}")),
        policy.retention_days.map(|days| format!("retention_days={days}")),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" ")
}

fn quotas(name: &str, quotas: Quotas) -> Option<String> {
    let each: Vec<_> = quotas.iter().map(|(period, limit)| format!("{limit}/{period}")).collect();
    (!each.is_empty()).then(|| format!("{name}={}", each.join(",")))
}
