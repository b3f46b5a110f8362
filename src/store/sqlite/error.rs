//! SQLite's result codes, sorted by what is to be done.

use crate::store::sql::SqlError;

/// Sorts an error of a statement or of opening the file.
#[expect(clippy::wildcard_enum_match_arm, reason = "the driver's errors may grow")]
pub fn classify(error: sqlx::Error) -> SqlError {
    match error {
        sqlx::Error::Database(error) => {
            by_code(error.code().and_then(|code| code.parse().ok()).unwrap_or(0), error.message())
        }
        sqlx::Error::Io(error) => SqlError::Unavailable(error.to_string()),
        sqlx::Error::WorkerCrashed => SqlError::Lost("the database's thread ended".into()),
        error @ (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
            SqlError::Corrupt(error.to_string())
        }
        error => SqlError::Refused(error.to_string()),
    }
}

/// By extended result code; the lower byte is the primary one.
fn by_code(code: u32, message: &str) -> SqlError {
    let text = || format!("{message} ({code})");
    match (code, code & 0xff) {
        (1555 | 2067, _) => SqlError::Unique,
        (787, _) => SqlError::ForeignKey,
        (1299, _) => SqlError::Null,
        // BUSY, LOCKED.
        (_, 5 | 6) => SqlError::Conflict(text()),
        (_, 8) => SqlError::ReadOnly(text()),
        // PERM, NOMEM, IOERR, FULL, CANTOPEN, PROTOCOL, AUTH.
        (_, 3 | 7 | 10 | 13 | 14 | 15 | 23) => SqlError::Unavailable(text()),
        // CORRUPT, NOTADB.
        (_, 11 | 26) => SqlError::Corrupt(text()),
        (_, 1) if message.starts_with("no such") => SqlError::Schema(text()),
        _ => SqlError::Refused(text()),
    }
}
