//! What migrations a database has, against what this build knows.

use std::collections::BTreeMap;

use super::{Cells, Connector, Known, Row, SqlError, SqlStore};
use crate::store::{Migrated, Schema, StoreError};

impl<C: Connector> SqlStore<C> {
    pub async fn schema(&self) -> Result<Schema, StoreError> {
        let rows = match self.read(self.sql.applied, Vec::new()).await {
            Ok(rows) => rows,
            // No table of migrations: nothing was ever applied.
            Err(SqlError::Schema(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        compare(&rows, &self.pool.connector.migrations())
    }

    pub async fn migrate(&self, dry_run: bool) -> Result<Migrated, StoreError> {
        let known = self.pool.connector.migrations();
        let mut schema = self.schema().await?;
        if matches!(schema, Schema::Broken(_)) {
            self.pool.connector.wait_for_migration().await?;
            schema = self.schema().await?;
        }
        let missing = match schema {
            Schema::Current => 0,
            Schema::Missing => known.len(),
            Schema::Behind(missing) => missing,
            Schema::Ahead(version) => {
                return Err(StoreError::Schema(format!(
                    "migration {version} was made by a later version of ovpn-warden: \
                     use that version"
                )));
            }
            Schema::Broken(version) => {
                return Err(StoreError::Schema(format!(
                    "migration {version} failed half way or is not the one of this version: \
                     see docs/schema.md"
                )));
            }
        };
        let applied = known
            .into_iter()
            .rev()
            .take(missing)
            .rev()
            .map(|known| (known.version, known.name))
            .collect();
        if missing > 0 && !dry_run {
            self.pool.connector.migrate().await?;
        }
        Ok(Migrated { applied })
    }
}

/// Applied migrations have to be the first ones of the known, unchanged.
fn compare(rows: &[Row], known: &[Known]) -> Result<Schema, StoreError> {
    let known: BTreeMap<i64, &[u8]> =
        known.iter().map(|known| (known.version, known.checksum.as_slice())).collect();
    let last_known = known.last_key_value().map_or(0, |(version, _)| *version);
    let mut applied = Vec::with_capacity(rows.len());
    let mut broken = None;
    for row in rows {
        let cells = Cells::new(row, "_sqlx_migrations", "version");
        let version = cells.some_number::<i64>("version")?;
        applied.push(version);
        let sound = cells.flag("success")?
            && (version > last_known
                || known.get(&version).copied() == Some(cells.bytes("checksum")?));
        if !sound && broken.is_none() {
            broken = Some(version);
        }
    }
    if let Some(version) = broken {
        return Ok(Schema::Broken(version));
    }
    if let Some(version) = applied.last().filter(|last| **last > last_known) {
        return Ok(Schema::Ahead(*version));
    }
    // A gap: something was taken out of the table.
    if let Some(version) = known.keys().zip(&applied).find(|(k, a)| k != a).map(|(k, _)| *k) {
        return Ok(Schema::Broken(version));
    }
    Ok(match (rows.len(), known.len() - rows.len().min(known.len())) {
        (0, _) => Schema::Missing,
        (_, 0) => Schema::Current,
        (_, missing) => Schema::Behind(missing),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::Value;

    fn known(versions: &[i64]) -> Vec<Known> {
        versions
            .iter()
            .map(|&version| Known { version, name: String::new(), checksum: vec![version as u8] })
            .collect()
    }

    fn row(version: i64, success: bool, checksum: u8) -> Row {
        Row {
            names: ["version", "success", "checksum"].map(Box::from).into(),
            values: vec![version.into(), success.into(), Value::from_bytes(vec![checksum])],
        }
    }

    #[test]
    fn every_state_of_a_schema_is_told_apart() {
        let known = known(&[1, 2, 3]);
        let state = |rows: &[Row]| compare(rows, &known);
        assert_eq!(state(&[]), Ok(Schema::Missing));
        assert_eq!(state(&[row(1, true, 1)]), Ok(Schema::Behind(2)));
        let all = [row(1, true, 1), row(2, true, 2), row(3, true, 3)];
        assert_eq!(state(&all), Ok(Schema::Current));
        let newer = [row(1, true, 1), row(2, true, 2), row(3, true, 3), row(9, true, 0)];
        assert_eq!(state(&newer), Ok(Schema::Ahead(9)));
        assert_eq!(state(&[row(1, false, 1)]), Ok(Schema::Broken(1)));
        assert_eq!(state(&[row(1, true, 7)]), Ok(Schema::Broken(1)));
        assert_eq!(state(&[row(1, true, 1), row(3, true, 3)]), Ok(Schema::Broken(2)));
    }
}
