//! Users, as operators change them.

use super::{
    Attempt, Connector, Failure, SqlError, SqlStore, Value, audit_row, none_of_that_name, record,
    transaction,
};
use crate::{
    store::{Actor, NewUser, StoreError, UserPatch, UserRecord, sql::transaction::Tx},
    types::{Timestamp, Username},
};

/// The most users or devices one call returns.
pub const MOST: u32 = 10_000;

pub fn no_user(name: &Username) -> StoreError {
    StoreError::NotFound(format!("user `{name}`"))
}

pub fn no_policy(name: &str) -> StoreError {
    let name = crate::types::Printable(name.as_bytes());
    StoreError::NotFound(format!("policy `{name}`"))
}

/// The arguments of the statement that adds a user.
pub fn user_args(user: &NewUser, enabled: bool, by: &Actor) -> [Value; 9] {
    [
        user.name.as_str().into(),
        user.password_hash.as_deref().into(),
        user.policy.as_deref().into(),
        enabled.into(),
        user.valid_from.into(),
        user.valid_until.into(),
        user.password_hash.as_ref().map(|_| by.at).into(),
        by.at.into(),
        by.at.into(),
    ]
}

impl<C: Connector> SqlStore<C> {
    pub async fn add_user(&self, user: &NewUser, by: &Actor) -> Result<(), StoreError> {
        let args = user_args(user, true, by);
        let detail = user.policy.as_ref().map(|policy| format!("policy={policy}"));
        let audit = audit_row(by, "user.add", user.name.as_str(), detail.as_deref());
        transaction!(self, Attempt::new(false, false), |tx| {
            self.need_policy(tx, user.policy.as_deref()).await?;
            match tx.execute(self.sql.add_user, &args).await {
                Ok(_) => {}
                Err(SqlError::Unique) => {
                    return Err(StoreError::Exists(format!("user `{}`", user.name)).into());
                }
                Err(error) => return Err(error.into()),
            }
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn user(&self, name: &Username) -> Result<Option<UserRecord>, StoreError> {
        let rows = self.read(self.sql.user, vec![name.as_str().into()]).await;
        let rows = none_of_that_name(rows, name)?;
        for row in &rows {
            let user = record::user(row)?;
            if user.name == *name {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    pub async fn enrolment(
        &self,
        user: &Username,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.read(self.sql.enrolment, vec![user.as_str().into(), now.into()]).await;
        for row in &none_of_that_name(rows, user)? {
            let cells = super::Cells::new(row, "device_enrolments", "name");
            if cells.some_text("name")? == user.as_str() {
                return cells.some_time("open_until").map(Some);
            }
        }
        Ok(None)
    }

    pub async fn users(
        &self,
        after: Option<&Username>,
        limit: u32,
    ) -> Result<Vec<UserRecord>, StoreError> {
        let after = after.map_or("", Username::as_str);
        let args = vec![after.into(), limit.min(MOST).into()];
        let rows = self.read(self.sql.users, args).await?;
        rows.iter().map(record::user).collect()
    }

    pub async fn password_hashes(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Result<Option<String>, StoreError>)>, StoreError> {
        let args = vec![after.into(), limit.min(MOST).into()];
        let rows = self.read(self.sql.password_hashes, args).await?;
        let hash = |row| {
            let cells = super::Cells::new(row, "users", "name");
            match (cells.some_number("id"), cells.owned("password_hash")) {
                (Err(error @ StoreError::Schema(_)), _)
                | (_, Err(error @ StoreError::Schema(_))) => Err(error),
                (Ok(id), hash) => Ok((id, hash)),
                (Err(error), _) => Ok((after, Err(error))),
            }
        };
        rows.iter().map(hash).collect()
    }

    pub async fn nobodys_rows(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let rows = self.read(self.sql.nobodys_rows, Vec::new()).await?;
        let count = |row: &super::Row| {
            let cells = super::Cells::new(row, "users", "place");
            Ok((cells.some_text("place")?.to_owned(), cells.some_number("amount")?))
        };
        let counts: Result<Vec<_>, StoreError> = rows.iter().map(count).collect();
        Ok(counts?.into_iter().filter(|(_, amount)| *amount > 0).collect())
    }

    pub async fn patch_user(
        &self,
        name: &Username,
        patch: &UserPatch,
        by: &Actor,
    ) -> Result<(), StoreError> {
        let audit = audit_row(by, "user.set", name.as_str(), Some(&describe(patch)));
        transaction!(self, Attempt::new(false, false), |tx| {
            let id = self.lock_user(tx, name).await?;
            self.need_policy(tx, patch.policy.as_deref()).await?;
            let sql = self.sql;
            let wanted = [
                (sql.set_password_hash, patch.password_hash.as_deref().map(Value::from)),
                (sql.set_user_policy, patch.policy.as_deref().map(Value::from)),
                (sql.set_enabled, patch.enabled.map(Value::from)),
                (sql.set_valid_from, patch.valid_from.map(Value::from)),
                (sql.set_valid_until, patch.valid_until.map(Value::from)),
            ];
            for (sql, value) in wanted {
                if let Some(value) = value {
                    tx.execute(sql, &[value, id.into()]).await?;
                }
            }
            let password = patch.password_hash.as_ref().map(|_| sql.password_changed);
            for sql in password.into_iter().chain([sql.touch_user]) {
                match tx.execute(sql, &[by.at.into(), id.into()]).await {
                    // Nobody asked for it, and an operator's own table may have no place for it.
                    Ok(_) | Err(SqlError::NotUpdatable(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn remove_user(&self, name: &Username, by: &Actor) -> Result<(), StoreError> {
        let audit = audit_row(by, "user.remove", name.as_str(), None);
        transaction!(self, Attempt::new(false, false), |tx| {
            let user = self.lock_user(tx, name).await?;
            let id = Value::from(user);
            // The foreign key would do it, but an operator's own tables may have none.
            tx.execute(self.sql.remove_devices, std::slice::from_ref(&id)).await?;
            tx.execute(self.sql.remove_device_ends, std::slice::from_ref(&id)).await?;
            tx.execute(self.sql.close_enrolment, std::slice::from_ref(&id)).await?;
            tx.execute(self.sql.remove_grants, &[name.as_str().into()]).await?;
            tx.execute(self.sql.remove_user_config, std::slice::from_ref(&id)).await?;
            self.remove_factor(tx, user).await?;
            if tx.execute(self.sql.remove_user, &[id]).await?.affected == 0 {
                return Err(no_user(name).into());
            }
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    /// Finds a user byte for byte and keeps others from changing it until the end.
    pub async fn lock_user(&self, tx: &mut Tx<C>, name: &Username) -> Result<i64, Failure> {
        let rows = tx.fetch(self.sql.lock_user, &[name.as_str().into()]).await;
        let rows = none_of_that_name(rows, name)?;
        for row in &rows {
            let cells = super::Cells::new(row, "users", "name");
            if cells.some_text("name")? == name.as_str() {
                return Ok(cells.some_number("id")?);
            }
        }
        Err(no_user(name).into())
    }

    pub async fn need_policy(&self, tx: &mut Tx<C>, name: Option<&str>) -> Result<(), Failure> {
        let Some(name) = name else { return Ok(()) };
        let rows = tx.fetch(self.sql.policy, &[name.into()]).await?;
        for row in &rows {
            if super::Cells::new(row, "policies", "name").some_text("name")? == name {
                return Ok(());
            }
        }
        Err(no_policy(name).into())
    }
}

/// What changed, for the audit; of a password only that it did.
fn describe(patch: &UserPatch) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "none".to_owned(), |at| at.to_string());
    [
        patch.password_hash.as_ref().map(|_| "password".to_owned()),
        patch.policy.as_ref().map(|policy| format!("policy={policy}")),
        patch.enabled.map(|enabled| format!("enabled={enabled}")),
        patch.valid_from.map(|at| format!("valid_from={}", time(at))),
        patch.valid_until.map(|at| format!("valid_until={}", time(at))),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" ")
}
