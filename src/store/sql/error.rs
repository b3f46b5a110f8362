//! What a driver reports, by what is to be done about it; the drivers do the sorting.

use crate::store::StoreError;

/// Failure of one statement or connection attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlError {
    /// A unique key is taken.
    Unique,
    /// A foreign key points nowhere, or is pointed at.
    ForeignKey,
    /// NULL for a column that has none.
    Null,
    /// Deadlock or lock wait: the same transaction may go through when it is run again.
    Conflict(String),
    /// The connection is of no use any more.
    Lost(String),
    /// The server takes no writes.
    ReadOnly(String),
    /// It refuses us or is out of something; trying again later may help.
    Unavailable(String),
    /// A table or column is missing.
    Schema(String),
    /// What is stored cannot be read at all.
    Corrupt(String),
    /// A bound text has no equal in the character set of a column.
    Collation(String),
    /// A column of a view that cannot be written to.
    NotUpdatable(String),
    /// Refused for good.
    Refused(String),
}

impl From<SqlError> for StoreError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Unique => Self::Refused("a unique key is taken".into()),
            SqlError::ForeignKey => Self::Refused("a foreign key does not hold".into()),
            SqlError::Null => Self::Refused("NULL for a column that must have a value".into()),
            SqlError::Conflict(text)
            | SqlError::Lost(text)
            | SqlError::ReadOnly(text)
            | SqlError::Unavailable(text) => Self::Unavailable(text),
            SqlError::Schema(text) => Self::Schema(text),
            SqlError::Corrupt(text) => Self::Corrupt(text),
            SqlError::Collation(text) | SqlError::NotUpdatable(text) | SqlError::Refused(text) => {
                Self::Refused(text)
            }
        }
    }
}

/// Why a transaction did not happen: the database's doing, or a rule of ours.
#[derive(Debug)]
pub enum Failure {
    Sql(SqlError),
    Store(StoreError),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) => error.into(),
            Failure::Store(error) => error,
        }
    }
}
