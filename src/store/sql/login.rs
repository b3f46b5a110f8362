//! What the login path reads and writes.

use super::{
    Attempt, Cells, Connector, Row, SqlError, SqlStore, Value, none_of_that_name,
    record::{self, DEFAULT_POLICY},
    transaction,
};
use crate::{
    store::{
        ClientConfig, DeviceStatus, Facts, MAX_COOLDOWN, SecondFactor, StoreError, StoredLine,
        client_config,
    },
    types::{DeviceId, DeviceKind, Fingerprint, Password, Timestamp, Username},
};

impl<C: Connector> SqlStore<C> {
    pub async fn facts(
        &self,
        user: &Username,
        device: Option<&DeviceId>,
        certificate: Option<&Fingerprint>,
        now: Timestamp,
    ) -> Result<Option<Facts>, StoreError> {
        let device = device.map(DeviceId::to_string);
        let args = vec![
            certificate.map(Fingerprint::to_string).into(),
            certificate.map(Fingerprint::to_string).into(),
            device.clone().into(),
            user.as_str().into(),
            now.saturating_sub(MAX_COOLDOWN).into(),
            user.as_str().into(),
            device.clone().into(),
            user.as_str().into(),
        ];
        let rows = none_of_that_name(self.read(self.sql.facts, args).await, user)?;
        judge(&rows, user, device.as_deref())
    }

    pub async fn upgrade_hash(
        &self,
        user: &Username,
        old: &str,
        new: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let args = [new.into(), now.into(), user.as_str().into(), user.as_str().into(), old.into()];
        // Not idempotent: a second run would say that somebody else was faster.
        transaction!(self, Attempt::new(false, true), |tx| {
            match tx.execute(self.sql.upgrade_hash, &args).await {
                Ok(done) => Ok(done.affected > 0),
                Err(SqlError::Collation(_)) if !user.as_str().is_ascii() => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .map_err(StoreError::from)
    }
}

/// Picks the rows that are the user byte for byte: trailing spaces and the collations of an
/// operator's own tables may have let others through.
fn judge(rows: &[Row], user: &Username, device: Option<&str>) -> Result<Option<Facts>, StoreError> {
    let mut found: Option<Facts> = None;
    for row in rows {
        let cells = Cells::new(row, "users", "name");
        if cells.some_text("name")? != user.as_str() {
            continue;
        }
        let facts = facts(row, device)?;
        match &mut found {
            None => found = Some(facts),
            Some(known) if known.user.id != facts.user.id => {
                return Err(cells.corrupt("name", "is there twice"));
            }
            Some(known) => match (known.device, facts.device) {
                (_, None) => {}
                (None, Some(status)) => known.device = Some(status),
                (Some(_), Some(_)) => {
                    return Err(Cells::prefixed(row, "devices", "device_", "identifier")
                        .corrupt("identifier", "is there twice for one user"));
                }
            },
        }
    }
    Ok(found)
}

fn facts(row: &Row, device: Option<&str>) -> Result<Facts, StoreError> {
    let user = record::user(row)?;
    let policy = Cells::prefixed(row, "policies", "policy_", "name");
    // Fail closed: limits that cannot be found are not the default ones.
    if policy.text("name")?.is_none() {
        let rule = if user.policy == DEFAULT_POLICY {
            "means the policy `default`, which is gone"
        } else {
            "names no policy"
        };
        return Err(Cells::new(row, "users", "name").corrupt("policy", rule));
    }
    let cells = Cells::prefixed(row, "devices", "device_", "identifier");
    let status = match cells.text("identifier")? {
        stored @ Some(_) if stored == device => Some(cells.some_parsed::<DeviceStatus>("status")?),
        Some(_) | None => None,
    };
    let own = Cells::new(row, "users", "name");
    Ok(Facts {
        policy: record::policy(policy)?,
        user,
        device: status,
        devices: own.some_number(match brings_certificate(device) {
            true => "fingerprint_count",
            false => "device_count",
        })?,
        certificate: own.parsed("certificate_status")?,
        ends: record::device_ends(own)?,
        enrolment_until: own.time("enrolment_until")?,
        expired_at: own.time("expired_at")?.max(own.time("expiring_at")?),
        second_factor: second_factor(row)?,
        config: ClientConfig {
            policy: lines(own, "policy_config")?,
            user: lines(own, "user_config")?,
        },
    })
}

/// A certificate is registered beside a device: neither counts as the other.
fn brings_certificate(device: Option<&str>) -> bool {
    let kind = device.and_then(|text| DeviceId::parse(text).ok()).map(|id| id.kind());
    kind == Some(DeviceKind::Fingerprint)
}

fn lines(cells: Cells<'_>, table: &'static str) -> Result<Vec<StoredLine>, StoreError> {
    let Some(text) = cells.text(table)? else { return Ok(Vec::new()) };
    client_config::joined(text)
        .ok_or_else(|| cells.corrupt(table, "has a row that cannot be read, or too many"))
}

fn second_factor(row: &Row) -> Result<Option<SecondFactor>, StoreError> {
    let cells = Cells::prefixed(row, "second_factors", "factor_", "created_at");
    let Some(secret) = cells.text("secret")? else { return Ok(None) };
    Ok(Some(SecondFactor {
        secret: Password::from(secret.as_bytes()),
        last_step: cells.number("last_step")?,
        enrolled_at: cells.some_time("created_at")?,
    }))
}

impl<C: Connector> SqlStore<C> {
    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read("SELECT 1 AS one", Vec::<Value>::new()).await?;
        Ok(())
    }
}
