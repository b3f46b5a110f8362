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
    of_number(error.number(), error.message())
}

fn of_number(number: u16, message: &str) -> SqlError {
    let text = || format!("{message} ({number})");
    match number {
        1062 | 1586 | 1022 => SqlError::Unique,
        1216 | 1217 | 1451 | 1452 => SqlError::ForeignKey,
        1048 => SqlError::Null,
        // Lock wait, deadlock, changed since read (Galera certification included), or altered meanwhile.
        1205 | 1213 | 1020 | 3058 | 3101 | 1412 | 1615 => SqlError::Conflict(text()),
        // Shutdown, killed, idle too long, network, not the primary component of a cluster, offline;
        // and a COMMIT of which a node cannot say what became of it, having lost the others meanwhile, or which it cannot
        // write to its binary log (MySQL ends over that).
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
        | 1598
        | 3100 => SqlError::Lost(text()),
        // --read-only, read-only transaction, read-only mode.
        1036 | 1290 | 1792 | 1836 | 1874 => SqlError::ReadOnly(text()),
        // Access, unknown database, connections, resources, time limits, disk and tables full, crashed.
        1040 | 1041 | 1044 | 1045 | 1049 | 1129 | 1130 | 1203 | 1226 | 1227 | 1698 | 1820
        | 1862 | 3118 | 1021 | 1030 | 1114 | 1026 | 1037 | 1135 | 1153 | 1194 | 1195 | 1034
        | 1251 | 2059 | 1142 | 1143 | 1206 | 1461 | 1637 | 1969 | 3024 | 1105 | 9001 => {
            SqlError::Unavailable(text())
        }
        // What its own files and memory refuse the server has numbers below 100, too. On a full disk MariaDB
        // has also been seen not to find the row (1032) that it was to write.
        // Also what its binary log does not take, as one that is set to statements.
        ..100 | 1004 | 1016 | 1023 | 1024 | 1028 | 1032 | 1038 | 1534 | 1665 => {
            SqlError::Unavailable(text())
        }
        // Table, column, database object missing or a view that lost its base.
        1146 | 1054 | 1356 | 1051 => SqlError::Schema(text()),
        1348 => SqlError::NotUpdatable(text()),
        1267 | 3988 => SqlError::Collation(text()),
        // Their messages quote the value.
        1292 | 1366 | 1264 | 1411 => SqlError::Refused(format!("error {number}")),
        _ => SqlError::Refused(text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_full_disk_brings_is_tried_again_and_what_a_row_brings_is_not() {
        // Error writing a file, disk full, table full, cannot find record, error from the engine, temporary files.
        // A file of the binary log that is not there, a row that it does not take.
        for number in
            [3, 20, 28, 29, 1021, 1023, 1024, 1026, 1028, 1030, 1032, 1114, 1534, 1637, 1665]
        {
            assert!(matches!(of_number(number, "x"), SqlError::Unavailable(_)), "{number}");
        }
        assert!(
            matches!(of_number(1598, "x"), SqlError::Lost(_)),
            "whether it is committed is not known"
        );
        for number in [1064, 1265, 1406] {
            assert!(matches!(of_number(number, "x"), SqlError::Refused(_)), "{number}");
        }
    }
}
