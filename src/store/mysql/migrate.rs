//! Migrations on MySQL, which commits every DDL statement by itself.
//!
//! One daemon at a time holds a named lock. sqlx marks a migration as begun before its
//! statement; when the server refuses that statement the mark is taken away again, because one
//! DDL statement happens wholly or not at all. Only a crash in between leaves it.

use sqlx::{
    MySqlConnection,
    migrate::{Migrate, MigrateError, Migrator},
};

use super::error::classify;
use crate::store::sql::{Connection, Known, SqlError, Value};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/mysql");

const TABLE: &str = "_sqlx_migrations";

const LOCK: &str = "SELECT GET_LOCK(CONCAT('warden ', SHA2(DATABASE(), 224)), 30) AS taken";

/// A change of a table waits for all transactions that have read it, and whoever comes to the table later waits behind the change:
/// no login for so long. So it waits for less time than a login has, and is run again.
const SHORT_WAIT: &str = "SET SESSION lock_wait_timeout = 2";

pub fn known() -> Vec<Known> {
    MIGRATIONS
        .iter()
        .map(|migration| Known {
            version: migration.version,
            name: migration.description.to_string(),
            checksum: migration.checksum.to_vec(),
        })
        .collect()
}

/// Until nobody applies any.
pub async fn wait(mut connection: MySqlConnection) -> Result<(), SqlError> {
    let locked = lock(&mut connection).await;
    connection.close().await;
    locked
}

/// It goes with the connection.
async fn lock(connection: &mut MySqlConnection) -> Result<(), SqlError> {
    let taken = connection.fetch(LOCK, &[]).await?;
    if taken.iter().any(|row| row.values != [Value::Int(1)]) {
        return Err(SqlError::Unavailable(
            "another migration of this database is under way".into(),
        ));
    }
    Ok(())
}

/// Applies what is missing.
pub async fn run(mut connection: MySqlConnection) -> Result<(), SqlError> {
    lock(&mut connection).await?;
    connection.execute(SHORT_WAIT, &[]).await?;
    let result = match apply_missing(&mut connection).await {
        Ok(()) => Ok(()),
        Err(MigrateError::ExecuteMigration(error, version)) => {
            let error = classify(error);
            if !matches!(error, SqlError::Lost(_)) {
                connection
                    .execute(
                        "DELETE FROM _sqlx_migrations WHERE version = ? AND success = FALSE",
                        &[version.into()],
                    )
                    .await?;
            }
            let is_held = matches!(error, SqlError::Conflict(_));
            let text = crate::store::StoreError::from(error);
            let next = if is_held {
                ". It has changed nothing: a transaction holds its table, perhaps for long (a backup, a report; SHOW PROCESSLIST); \
                 wait for its end or end it, and run `ovpn-warden migrate` again"
            } else {
                ""
            };
            Err(SqlError::Schema(format!("migration {version}: {text}{next}")))
        }
        Err(MigrateError::Execute(error)) => Err(classify(error)),
        Err(error) => Err(SqlError::Schema(error.to_string())),
    };
    connection.close().await;
    result
}

/// What [`Migrator::run`] does, but for its lock, which waits for ever.
async fn apply_missing(connection: &mut MySqlConnection) -> Result<(), MigrateError> {
    connection.ensure_migrations_table(TABLE).await?;
    if let Some(version) = connection.dirty_version(TABLE).await? {
        return Err(MigrateError::Dirty(version));
    }
    let applied = connection.list_applied_migrations(TABLE).await?;
    for migration in MIGRATIONS.iter() {
        if applied.iter().all(|applied| applied.version != migration.version) {
            connection.apply(TABLE, migration).await?;
        }
    }
    Ok(())
}
