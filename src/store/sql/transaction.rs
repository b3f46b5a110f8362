//! Transactions that are run again when the database asks for it: shell.

use std::{sync::Arc, time::Duration};

use super::{Connector, Done, Failure, Lease, Pool, Row, SqlError, Value};
use crate::store::StoreError;

/// How often a transaction is run at most when others are in its way.
const RUNS: u32 = 4;
/// The pause before the second run; it doubles, with as much again at random.
const PAUSE: Duration = Duration::from_millis(15);

/// An open transaction. Dropping it closes its connection, which rolls it back.
pub struct Tx<C: Connector> {
    lease: Lease<C>,
    /// Each statement commits by itself.
    autocommit: bool,
}

impl<C: Connector> Tx<C> {
    pub async fn execute(&mut self, sql: &'static str, args: &[Value]) -> Result<Done, SqlError> {
        self.lease.execute(sql, args).await
    }

    pub async fn fetch(&mut self, sql: &'static str, args: &[Value]) -> Result<Vec<Row>, SqlError> {
        self.lease.fetch(sql, args).await
    }
}

/// How a transaction may be repeated, and how often it was.
pub struct Attempt {
    /// Doing it twice is the same as once, so that a lost COMMIT can be repeated.
    pub idempotent: bool,
    /// One statement only: no BEGIN and COMMIT.
    pub autocommit: bool,
    runs: u32,
    fresh: bool,
}

impl Attempt {
    pub const fn new(idempotent: bool, autocommit: bool) -> Self {
        Self { idempotent, autocommit, runs: 0, fresh: false }
    }

    /// Nobody in its way is waited for a second time.
    #[must_use]
    pub const fn impatient(self) -> Self {
        Self { runs: RUNS, ..self }
    }
}

impl<C: Connector> Pool<C> {
    pub async fn begin(self: &Arc<Self>, attempt: &Attempt) -> Result<Tx<C>, Failure> {
        let mut lease = self.writer(attempt.fresh).await?;
        if !attempt.autocommit
            && let Err(error) = lease.command(self.connector.statements().begin).await
        {
            lease.give_back();
            return Err(error.into());
        }
        Ok(Tx { lease, autocommit: attempt.autocommit })
    }

    /// Commits what went well, rolls back what did not.
    pub async fn finish<T>(
        &self,
        mut tx: Tx<C>,
        result: Result<T, Failure>,
        attempt: &Attempt,
    ) -> Result<T, Failure> {
        if let Err(Failure::Sql(SqlError::ReadOnly(_))) = &result
            && self.connector.abandon(tx.lease.generation())
        {
            // The next run connects anew, to a server that takes writes if there is one.
            return result;
        }
        if tx.autocommit {
            tx.lease.give_back();
            return result;
        }
        match result {
            Ok(value) => match tx.lease.command("COMMIT").await {
                Ok(()) => {
                    tx.lease.give_back();
                    Ok(value)
                }
                Err(error @ SqlError::Lost(_)) if attempt.idempotent => Err(error.into()),
                Err(SqlError::Lost(text) | SqlError::Unavailable(text)) => {
                    Err(StoreError::Unavailable(format!("{text}; the change may have been made"))
                        .into())
                }
                Err(error) => Err(error.into()),
            },
            Err(failure) => {
                // A lost connection needs none, and one that fails here is closed.
                if tx.lease.command("ROLLBACK").await.is_ok() {
                    tx.lease.give_back();
                }
                Err(failure)
            }
        }
    }

    /// Whether to run again; waits before it says yes.
    pub async fn again<T>(&self, result: &Result<T, Failure>, attempt: &mut Attempt) -> bool {
        let Err(Failure::Sql(error)) = result else {
            return false;
        };
        attempt.runs += 1;
        match error {
            SqlError::Conflict(_) if attempt.runs < RUNS => {
                let pause = PAUSE * (1 << attempt.runs);
                tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
                true
            }
            // Of a single statement nobody knows whether it was done.
            SqlError::Lost(_) if attempt.autocommit && !attempt.idempotent => false,
            SqlError::Lost(_) | SqlError::ReadOnly(_) if !attempt.fresh => {
                attempt.fresh = true;
                true
            }
            SqlError::Unique
            | SqlError::ForeignKey
            | SqlError::Null
            | SqlError::Conflict(_)
            | SqlError::Lost(_)
            | SqlError::ReadOnly(_)
            | SqlError::Unavailable(_)
            | SqlError::Schema(_)
            | SqlError::Corrupt(_)
            | SqlError::Collation(_)
            | SqlError::NotUpdatable(_)
            | SqlError::Refused(_) => false,
        }
    }
}

/// Runs a block as one transaction on a pool, again while [`Pool::again`] says so. A macro, because a
/// closure whose future borrows both the transaction and its surroundings cannot be `Send`.
macro_rules! transaction {
    ($owner:expr, $attempt:expr, |$tx:ident| $body:block) => {{
        let mut attempt: $crate::store::sql::Attempt = $attempt;
        loop {
            let result = match $owner.pool.begin(&attempt).await {
                Ok(mut tx) => {
                    let $tx = &mut tx;
                    let result: Result<_, $crate::store::sql::Failure> = async { $body }.await;
                    $owner.pool.finish(tx, result, &attempt).await
                }
                Err(failure) => Err(failure),
            };
            if !$owner.pool.again(&result, &mut attempt).await {
                break result;
            }
        }
    }};
}
pub(super) use transaction;
