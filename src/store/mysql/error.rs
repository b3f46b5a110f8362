//! MySQL's and MariaDB's error numbers, sorted by what is to be done.

use sqlx::mysql::MySqlDatabaseError;

use crate::store::sql::SqlError;

/// Sorts an error of a statement.
#[expect(clippy::wildcard_enum_match_arm, reason = "the driver's errors may grow")]
pub fn classify(error: sqlx::Error) -> SqlError {
    match error {
        sqlx::Error::Database(error) => error
            .try_downcast_ref::<MySqlDatabaseError>()
            .map_or_else(|| SqlError::Refused(error.to_string()), by_number),
        sqlx::Error::Io(error) => SqlError::Lost(io_text(&error)),
        sqlx::Error::Tls(error) => SqlError::Unavailable(format!("TLS: {error}")),
        sqlx::Error::Configuration(error) => SqlError::Unavailable(error.to_string()),
        sqlx::Error::Protocol(text) => SqlError::Lost(format!("unexpected answer: {text}")),
        error @ (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
            SqlError::Corrupt(error.to_string())
        }
        error => SqlError::Refused(error.to_string()),
    }
}

fn io_text(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        "the server closed the connection".to_owned()
    } else {
        error.to_string()
    }
}

fn by_number(error: &MySqlDatabaseError) -> SqlError {
    let text = || format!("{} ({})", error.message(), error.number());
    match error.number() {
        1062 | 1586 | 1022 => SqlError::Unique,
        1216 | 1217 | 1451 | 1452 => SqlError::ForeignKey,
        1048 => SqlError::Null,
        // Lock wait, deadlock, changed since read (Galera certification included), or altered meanwhile.
        1205 | 1213 | 1020 | 3058 | 3101 | 1412 | 1615 => SqlError::Conflict(text()),
        // Shutdown, killed, idle too long, network, not the primary component of a cluster, offline;
        // and a COMMIT of which a node cannot say what became of it, having lost the others meanwhile.
        1053
        | 1927
        | 1317
        | 3169
        | 4031
        | 1152
        | 1158..=1161
        | 1047
        | 1184
        | 3032
        | 1180
        | 3100 => SqlError::Lost(text()),
        // --read-only, read-only transaction, read-only mode.
        1036 | 1290 | 1792 | 1836 | 1874 => SqlError::ReadOnly(text()),
        // Access, unknown database, connections, resources, time limits, disk and tables full, crashed.
        1040 | 1041 | 1044 | 1045 | 1049 | 1129 | 1130 | 1203 | 1226 | 1227 | 1698 | 1820
        | 1862 | 3118 | 1021 | 1030 | 1114 | 1026 | 1037 | 1135 | 1153 | 1194 | 1195 | 1034
        | 1251 | 2059 | 1142 | 1143 | 1206 | 1461 | 1637 | 1969 | 3024 | 1105 | 9001 => {
            SqlError::Unavailable(text())
        }
        // Table, column, database object missing or a view that lost its base.
        1146 | 1054 | 1356 | 1051 => SqlError::Schema(text()),
        1348 => SqlError::NotUpdatable(text()),
        1267 | 3988 => SqlError::Collation(text()),
        // Their messages quote the value.
        1292 | 1366 | 1264 | 1411 => SqlError::Refused(format!("error {}", error.number())),
        _ => SqlError::Refused(text()),
    }
}
