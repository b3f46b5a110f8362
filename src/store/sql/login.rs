//! What the login path writes, and whether the database answers.

use super::{Attempt, Connector, SqlError, SqlStore, Value, transaction};
use crate::{
    store::StoreError,
    types::{Timestamp, Username},
};

impl<C: Connector> SqlStore<C> {
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

impl<C: Connector> SqlStore<C> {
    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read("SELECT 1 AS one", Vec::<Value>::new()).await?;
        Ok(())
    }
}
