//! From rows to what a login is decided by.

use std::collections::HashMap;

use super::{
    Cells, Row,
    asking::Question,
    record::{self, DEFAULT_POLICY},
};
use crate::{
    store::{
        ClientConfig, DeviceEnds, DeviceStatus, Facts, SecondFactor, StoreError, StoredLine,
        client_config,
    },
    types::{DeviceId, DeviceKind, Fingerprint, Password, Timestamp, Username},
};

/// Rows of several users, each of one of the devices that any of them was asked with.
pub struct ByName<'a>(HashMap<&'a str, Vec<&'a Row>>);

impl<'a> ByName<'a> {
    /// `None` when nobody can say whose a row is.
    pub fn new(rows: &'a [Row]) -> Option<Self> {
        let mut found: HashMap<&str, Vec<&Row>> = HashMap::new();
        for row in rows {
            let name = Cells::new(row, "users", "name").some_text("name").ok()?;
            found.entry(name).or_default().push(row);
        }
        Some(Self(found))
    }

    /// What one of them would have been answered alone.
    pub fn facts(&self, question: &Question) -> Result<Option<Facts>, StoreError> {
        let Some(rows) = self.0.get(question.user.as_str()) else { return Ok(None) };
        let device = question.device.as_ref().map(DeviceId::to_string);
        let found = judge(rows.iter().copied(), &question.user, device.as_deref())?;
        let Some(facts) = found else { return Ok(None) };
        let (certificate, end) = certificate(rows, question.certificate.as_ref())?;
        let ends = DeviceEnds { certificate: end, ..facts.ends };
        Ok(Some(Facts { certificate, ends, ..facts }))
    }
}

/// As the statement for one login does it: of several, the last word in the alphabet.
fn certificate(
    rows: &[&Row],
    fingerprint: Option<&Fingerprint>,
) -> Result<(Option<DeviceStatus>, Option<Timestamp>), StoreError> {
    let Some(fingerprint) = fingerprint.map(Fingerprint::to_string) else {
        return Ok((None, None));
    };
    let mut last: Option<(&str, Cells<'_>)> = None;
    for row in rows {
        let cells = Cells::prefixed(row, "devices", "device_", "identifier");
        let is_it =
            cells.text("identifier")?.is_some_and(|id| id.eq_ignore_ascii_case(&fingerprint));
        if is_it
            && let Some(word) = cells.text("status")?
            && last.is_none_or(|(other, _)| other < word)
        {
            last = Some((word, cells));
        }
    }
    let Some((_, cells)) = last else { return Ok((None, None)) };
    Ok((Some(cells.some_parsed("status")?), cells.time("end")?))
}

/// Picks the rows that are the user byte for byte: trailing spaces and the collations of an
/// operator's own tables may have let others through.
pub fn judge<'a>(
    rows: impl IntoIterator<Item = &'a Row>,
    user: &Username,
    device: Option<&str>,
) -> Result<Option<Facts>, StoreError> {
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
                (None, Some(status)) => {
                    known.device = Some(status);
                    known.ends = facts.ends;
                }
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
    let ends = record::device_ends(own)?;
    Ok(Facts {
        policy: record::policy(policy)?,
        user,
        device: status,
        devices: own.some_number(match brings_certificate(device) {
            true => "fingerprint_count",
            false => "device_count",
        })?,
        certificate: own.parsed("certificate_status")?,
        // The row may be of another device.
        ends: DeviceEnds { device: ends.device.filter(|_| status.is_some()), ..ends },
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
