//! What can go wrong with a database, by what the caller can do about it.

use thiserror::Error;

/// Failure of a [`super::Store`] call. Texts never hold a password or a whole URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// `database.url` is not one we can use.
    #[error("database.url: {0}")]
    Url(String),
    /// It does not answer, refuses us, or is full or read-only: try again later.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// A statement was refused in a way that trying again does not mend.
    #[error("database refused a statement: {0}")]
    Refused(String),
    /// The schema is not what this build needs.
    #[error("database schema: {0}")]
    Schema(String),
    /// A stored value breaks a rule; names table, column and row, not the value.
    #[error("bad data in the database: {0}")]
    Corrupt(String),
    /// What was named is not there.
    #[error("{0} not found")]
    NotFound(String),
    /// What was to be made is there already.
    #[error("{0} exists already")]
    Exists(String),
    /// What was to be removed is in use.
    #[error("{0} is in use")]
    InUse(String),
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
}

impl StoreError {
    /// Whether the same call may succeed later without anybody's doing.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
