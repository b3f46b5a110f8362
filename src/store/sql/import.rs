//! Users of other programs: their tables are read, and what is taken over is written at once or
//! not at all.

use std::collections::BTreeSet;

use super::{
    Attempt, Cells, Connector, Failure, SqlError, SqlStore, Value, audit_row, transaction,
    transaction::Tx,
    user::{no_user, user_args},
};
use crate::store::{
    Actor, DeviceStatus, ForeignRow, ForeignTable, ImportNote, Imported, ImportedUser, StoreError,
    foreign::too_many,
};

/// `SUBSTR` makes text of whatever type a column has, zero dates too, and bounds it; one character
/// and one row more than permitted, so that what is cut can be told.
macro_rules! foreign {
    ($table:literal, $order:literal: $($column:literal $width:literal)+) => {
        foreign!(@ $table, $order: $($column $width)+ ;)
    };
    (@ $table:literal, $order:literal:
     $column:literal $width:literal $($more:literal $widths:literal)* ;) => {
        concat!(
            "SELECT SUBSTR(t.", $column, ", 1, ", $width, ") AS ", $column,
            $(", SUBSTR(t.", $more, ", 1, ", $widths, ") AS ", $more,)*
            " FROM ", $table, " t ORDER BY ", $order, " LIMIT ?"
        )
    };
}

const fn statement(table: ForeignTable) -> &'static str {
    match table {
        ForeignTable::OpenvpnAdmin => foreign!("user", "t.user_id":
            "user_id" 257 "user_pass" 1025 "user_enable" 17 "user_start_date" 65
            "user_end_date" 65),
        ForeignTable::RadCheck => foreign!("radcheck", "t.username, t.id":
            "username" 257 "attribute" 257 "op" 17 "value" 1025),
        ForeignTable::RadUserGroup => foreign!("radusergroup", "t.username, t.priority":
            "username" 257 "groupname" 257 "priority" 33),
        ForeignTable::View => foreign!("import_users", "t.name":
            "name" 257 "password_hash" 1025 "policy" 257 "enabled" 17 "valid_from" 65
            "valid_until" 65 "devices" 16385),
    }
}

impl<C: Connector> SqlStore<C> {
    pub async fn foreign(&self, table: ForeignTable) -> Result<Vec<ForeignRow>, StoreError> {
        let limit = Value::Int(ForeignTable::MOST as i64 + 1);
        let rows = self.read(statement(table), vec![limit]).await?;
        if rows.len() > ForeignTable::MOST {
            return Err(too_many(table));
        }
        rows.iter()
            .map(|row| {
                let cells = Cells::new(row, table.name(), table.columns()[0]);
                let mut foreign = ForeignRow { cells: Vec::new(), unreadable: Vec::new() };
                for column in table.columns() {
                    foreign.cells.push(match cells.owned(column) {
                        Ok(text) => text,
                        Err(StoreError::Corrupt(_)) => {
                            foreign.unreadable.push(*column);
                            None
                        }
                        Err(error) => return Err(error),
                    });
                }
                Ok(foreign)
            })
            .collect()
    }

    pub async fn import_users(
        &self,
        users: &[ImportedUser],
        note: ImportNote<'_>,
        by: &Actor,
        progress: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Imported, StoreError> {
        let policies: BTreeSet<_> =
            users.iter().filter_map(|import| import.user.policy.as_deref()).collect();
        transaction!(self, Attempt::new(false, false), |tx| {
            let mut imported = Imported { existing: note.existing, ..Imported::default() };
            for policy in &policies {
                self.need_policy(tx, Some(policy)).await?;
            }
            for (index, import) in users.iter().enumerate() {
                match self.import_user(tx, import, by).await? {
                    Some(devices) => {
                        imported.users += 1;
                        imported.devices += devices;
                    }
                    None => imported.existing += 1,
                }
                progress(index + 1);
            }
            let detail = format!(
                "users={} devices={} existing={} refused={}",
                imported.users, imported.devices, imported.existing, note.refused
            );
            let audit = audit_row(by, "import", note.source, Some(&detail));
            tx.execute(self.sql.audit, &audit).await?;
            Ok(imported)
        })
        .map_err(StoreError::from)
    }

    /// Adds one with its devices; how many. `None`: it is there already, and stays as it is.
    async fn import_user(
        &self,
        tx: &mut Tx<C>,
        import: &ImportedUser,
        by: &Actor,
    ) -> Result<Option<u64>, Failure> {
        let name = &import.user.name;
        match tx.execute(self.sql.add_user, &user_args(&import.user, import.enabled, by)).await {
            Ok(_) => {}
            Err(SqlError::Unique) => {
                return match self.lock_user(tx, name).await {
                    Ok(_) => Ok(None),
                    // MySQL's index takes it for another name, with spaces at its end.
                    Err(Failure::Store(error)) if error == no_user(name) => {
                        Err(StoreError::Exists(format!("user `{name}`, but for spaces,")).into())
                    }
                    Err(failure) => Err(failure),
                };
            }
            Err(error) => return Err(error.into()),
        }
        if import.devices.is_empty() {
            return Ok(Some(0));
        }
        let user = self.lock_user(tx, name).await?;
        for device in &import.devices {
            let args = [
                user.into(),
                device.kind().as_str().into(),
                device.to_string().into(),
                Value::Null,
                DeviceStatus::Approved.as_str().into(),
                by.at.into(),
                by.at.into(),
            ];
            tx.execute(self.sql.add_device, &args).await?;
        }
        Ok(Some(import.devices.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_read_and_bounded() {
        for table in [
            ForeignTable::OpenvpnAdmin,
            ForeignTable::RadCheck,
            ForeignTable::RadUserGroup,
            ForeignTable::View,
        ] {
            let sql = statement(table);
            assert!(sql.contains(&format!("FROM {} t ", table.name())), "{sql}");
            assert_eq!(sql.matches("SUBSTR(t.").count(), table.columns().len(), "{sql}");
            for column in table.columns() {
                assert!(sql.contains(&format!("SUBSTR(t.{column}, 1, ")), "{sql}");
            }
            assert!(sql.ends_with("LIMIT ?"), "{sql}");
        }
    }
}
