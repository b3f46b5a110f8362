//! What one of several hosts is good for: a server may answer and be of no use.
//!
//! A node of Galera that has lost the others refuses all statements, but neither connections nor
//! what is asked here; one that brings another up to date holds writes up. A member of a replication
//! group that has lost the others serves what it last knew, and keeps every write waiting.

use sqlx::{
    MySqlConnection, Row as _,
    mysql::{MySqlDatabaseError, MySqlRow},
};

use super::error::classify;
use crate::store::sql::SqlError;

/// Not prepared: a node that is not ready prepares nothing. Which of these there are tells what the server is.
const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
     ('read_only', 'innodb_read_only', 'wsrep_on', 'group_replication_group_name')";
const GALERA: &str =
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_local_state')";
/// A member sees itself first by its own name; without a running group there is one row without a name.
const GROUP: &str = "SELECT CAST(member_id = @@server_uuid AS CHAR), member_state \
     FROM performance_schema.replication_group_members";
/// `wsrep_local_state` of a node that neither lags behind nor brings another up to date.
const SYNCED: &str = "4";

/// What a host is good for.
#[derive(Debug, PartialEq, Eq)]
pub enum Fitness {
    Writes,
    Reads,
    /// For nothing, and why.
    Nothing(&'static str),
}

type Pairs = Vec<(String, String)>;

/// Asks a server.
pub async fn ask(connection: &mut MySqlConnection) -> Result<Fitness, SqlError> {
    let variables = pairs(connection, VARIABLES).await?;
    let value = |name: &str| {
        variables.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.as_str())
    };
    let fitness = if value("wsrep_on") == "ON" {
        of_galera(&pairs(connection, GALERA).await?)
    } else if !value("group_replication_group_name").is_empty() {
        match rows(connection, GROUP).await {
            Ok(members) => of_group(&members),
            // Without the right to see the members there is only what the server says of itself.
            Err(error) if is_forbidden(&error) => Fitness::Writes,
            Err(error) => return Err(classify(error)),
        }
    } else {
        Fitness::Writes
    };
    let is_on = |name| !["", "0", "OFF"].contains(&value(name));
    Ok(match fitness {
        Fitness::Writes if is_on("read_only") || is_on("innodb_read_only") => Fitness::Reads,
        Fitness::Writes | Fitness::Reads | Fitness::Nothing(_) => fitness,
    })
}

fn of_galera(status: &[(String, String)]) -> Fitness {
    let has = |name: &str, value: &str| {
        status.iter().any(|(found, is)| found.eq_ignore_ascii_case(name) && is == value)
    };
    if !has("wsrep_ready", "ON") {
        Fitness::Nothing("it has lost the other nodes of its cluster")
    } else if has("wsrep_local_state", SYNCED) {
        Fitness::Writes
    } else {
        Fitness::Reads
    }
}

/// `members`: whether it is the server itself, and the state in which that sees it.
fn of_group(members: &[(String, String)]) -> Fitness {
    let reached = members.iter().filter(|(_, state)| state != "UNREACHABLE").count();
    match members.iter().find(|(is_own, _)| is_own == "1").map(|(_, state)| state.as_str()) {
        _ if reached * 2 <= members.len() => {
            Fitness::Nothing("it has lost the other members of its group")
        }
        Some("ONLINE") => Fitness::Writes,
        // It replays what it has missed, and says so itself by `read_only`.
        Some("RECOVERING") => Fitness::Nothing("it lags behind its group"),
        _ => Fitness::Nothing("it is in no group"),
    }
}

async fn pairs(connection: &mut MySqlConnection, sql: &'static str) -> Result<Pairs, SqlError> {
    rows(connection, sql).await.map_err(classify)
}

async fn rows(connection: &mut MySqlConnection, sql: &'static str) -> Result<Pairs, sqlx::Error> {
    let rows = sqlx::raw_sql(sql).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| (text(row, 0), text(row, 1))).collect())
}

fn is_forbidden(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    let error = error.and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| error.number() == 1142)
}

/// Text or bytes, as the server gives it.
fn text(row: &MySqlRow, column: usize) -> String {
    let bytes = row.try_get_unchecked::<Vec<u8>, _>(column).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Pairs {
        let pair = |word: &str| word.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
        text.split(' ').filter_map(pair).collect()
    }

    #[test]
    fn a_node_that_is_not_ready_is_of_no_use_and_one_that_is_not_synced_only_read() {
        let of = |text| of_galera(&pairs(text));
        assert_eq!(of("wsrep_local_state=4 wsrep_ready=ON"), Fitness::Writes);
        assert_eq!(of("wsrep_local_state=2 wsrep_ready=ON"), Fitness::Reads);
        assert!(matches!(of("wsrep_local_state=0 wsrep_ready=OFF"), Fitness::Nothing(_)));
        assert!(matches!(of(""), Fitness::Nothing(_)));
    }

    #[test]
    fn a_member_without_the_majority_is_of_no_use_whatever_it_thinks_of_itself() {
        let of = |text| of_group(&pairs(text));
        assert_eq!(of("1=ONLINE 0=ONLINE 0=ONLINE"), Fitness::Writes);
        assert_eq!(of("0=ONLINE 1=ONLINE 0=UNREACHABLE"), Fitness::Writes);
        assert_eq!(of("1=ONLINE"), Fitness::Writes);
        for lost in [
            "0=UNREACHABLE 1=ONLINE 0=UNREACHABLE",
            "0=UNREACHABLE 1=ONLINE",
            "0=ONLINE 1=RECOVERING 0=ONLINE",
            "1=OFFLINE",
            "1=ERROR",
            "",
        ] {
            assert!(matches!(of(lost), Fitness::Nothing(_)), "{lost}");
        }
    }
}
