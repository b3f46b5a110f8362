//! Second factors: what logins use up, and what operators change.

use super::{Attempt, Cells, Connector, Failure, SqlStore, Statements, Value, audit_row};
use super::{none_of_that_name, transaction, transaction::Tx};
use crate::{
    store::{Actor, NewSecondFactor, SecondFactorStatus, StoreError, UsedCode},
    types::Username,
};

impl<C: Connector> SqlStore<C> {
    /// One statement that can be done once. Not idempotent: a second run would find it done.
    pub async fn take_code(&self, user: i64, code: &UsedCode) -> Result<bool, StoreError> {
        transaction!(self, Attempt::new(false, true), |tx| {
            use_code(self.sql, tx, user, code).await
        })
        .map_err(StoreError::from)
    }

    pub async fn has_recovery_code(&self, user: i64, digest: &str) -> Result<bool, StoreError> {
        let args = vec![user.into(), digest.into()];
        Ok(!self.read(self.sql.recovery_code, args).await?.is_empty())
    }

    pub async fn put_second_factor(
        &self,
        user: &Username,
        factor: &NewSecondFactor,
        by: &Actor,
    ) -> Result<(), StoreError> {
        let audit = audit_row(by, "user.totp", user.as_str(), Some("enrolled"));
        transaction!(self, Attempt::new(false, false), |tx| {
            let id = self.lock_user(tx, user).await?;
            tx.execute(self.sql.mark_user, &[id.into()]).await?;
            let had_one =
                tx.execute(self.sql.remove_second_factor, &[id.into()]).await?.affected > 0;
            if had_one && !factor.replace {
                return Err(StoreError::Exists(format!("second factor of user `{user}`")).into());
            }
            let secret = Value::from_bytes(factor.secret.expose().to_vec());
            let args = [id.into(), secret, by.at.into()];
            tx.execute(self.sql.add_second_factor, &args).await?;
            self.replace_codes(tx, id, &factor.recovery_codes, by).await?;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn put_recovery_codes(
        &self,
        user: &Username,
        digests: &[String],
        by: &Actor,
    ) -> Result<(), StoreError> {
        let audit = audit_row(by, "user.totp", user.as_str(), Some("recovery_codes"));
        transaction!(self, Attempt::new(false, false), |tx| {
            let id = self.lock_user(tx, user).await?;
            tx.execute(self.sql.mark_user, &[id.into()]).await?;
            if tx.fetch(self.sql.second_factor, &[id.into()]).await?.is_empty() {
                return Err(no_factor(user).into());
            }
            self.replace_codes(tx, id, digests, by).await?;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn remove_second_factor(
        &self,
        user: &Username,
        by: &Actor,
    ) -> Result<(), StoreError> {
        let audit = audit_row(by, "user.totp", user.as_str(), Some("disabled"));
        transaction!(self, Attempt::new(false, false), |tx| {
            let id = self.lock_user(tx, user).await?;
            if self.remove_factor(tx, id).await? == 0 {
                return Err(no_factor(user).into());
            }
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn second_factor(
        &self,
        user: &Username,
    ) -> Result<Option<SecondFactorStatus>, StoreError> {
        let args = vec![user.as_str().into()];
        let rows = none_of_that_name(self.read(self.sql.second_factor_of, args).await, user)?;
        for row in &rows {
            let cells = Cells::new(row, "second_factors", "user_id");
            if cells.some_text("name")? == user.as_str() {
                return Ok(Some(SecondFactorStatus {
                    enrolled_at: cells.some_time("created_at")?,
                    last_step: cells.number("last_step")?,
                    recovery_codes: cells.some_number("recovery_codes")?,
                }));
            }
        }
        Ok(None)
    }

    /// Takes away all of a user's second factor; how many there were.
    pub async fn remove_factor(&self, tx: &mut Tx<C>, user: i64) -> Result<u64, Failure> {
        tx.execute(self.sql.remove_recovery_codes, &[user.into()]).await?;
        Ok(tx.execute(self.sql.remove_second_factor, &[user.into()]).await?.affected)
    }

    async fn replace_codes(
        &self,
        tx: &mut Tx<C>,
        user: i64,
        digests: &[String],
        by: &Actor,
    ) -> Result<(), Failure> {
        tx.execute(self.sql.remove_recovery_codes, &[user.into()]).await?;
        for digest in digests {
            let args = [user.into(), digest.as_str().into(), by.at.into()];
            tx.execute(self.sql.add_recovery_code, &args).await?;
        }
        Ok(())
    }
}

/// Whether a code is used up by this.
pub async fn use_code<C: Connector>(
    sql: &Statements,
    tx: &mut Tx<C>,
    user: i64,
    code: &UsedCode,
) -> Result<bool, Failure> {
    let done = match code {
        UsedCode::Step { secret, step } => {
            let secret = Value::from_bytes(secret.expose().to_vec());
            let args = [(*step).into(), user.into(), secret, (*step).into()];
            tx.execute(sql.take_step, &args).await?
        }
        UsedCode::Recovery(digest) => {
            let args = [user.into(), digest.as_str().into()];
            tx.execute(sql.take_recovery_code, &args).await?
        }
    };
    Ok(done.affected > 0)
}

fn no_factor(user: &Username) -> StoreError {
    StoreError::NotFound(format!("second factor of user `{user}`"))
}
