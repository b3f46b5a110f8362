//! Statements in MySQL's own dialect; MariaDB 10.5 and later take them too.

use std::sync::LazyLock;

use crate::store::sql::{
    ADD_ACTIVITY, ADD_AUTH_EVENTS, ADD_USAGE, Batch, COMMON, MARK_SERVERS, PERSIST_HEAD,
    PERSIST_ROW, Repeated, Statements, ended_by_limit, facts_columns, login_columns, places,
    policy_of_user, standing_columns, usage_of,
};

/// A row is replaced when the new version is higher and it has not ended. Assignments run from
/// left to right and see what was assigned before, so the two columns of the condition come last.
/// Another row's unique key must not be taken for this id: NULL makes the statement fail.
macro_rules! upsert {
    ($($column:literal)+) => {
        concat!(
            " ON DUPLICATE KEY UPDATE server = IF(id <> VALUES(id), NULL, \
             IF(VALUES(version) > version AND state <> 'closed', VALUES(server), server))",
            $(", ", $column, " = IF(VALUES(version) > version AND state <> 'closed', VALUES(",
              $column, "), ", $column, ")",)+
            ", state = IF(VALUES(version) > version AND state <> 'closed', VALUES(state), state)",
            // By now `state` may have been closed by this very statement.
            ", version = IF(VALUES(version) > version AND state = VALUES(state) \
             AND ended_at <=> VALUES(ended_at), VALUES(version), version)",
        )
    };
}

/// The names decide which tables the server looks at. The number of rows is a guess that a TRUNCATE changes, which MariaDB
/// does not count as a change.
macro_rules! fact_trace {
    () => {
        "SELECT TABLE_NAME AS name, UPDATE_TIME IS NOT NULL AS is_timed, \
         COALESCE(TABLE_TYPE = 'BASE TABLE' AND ENGINE = 'InnoDB', 0) AS is_plain, \
         CONCAT_WS(' ', CREATE_TIME, COALESCE(UPDATE_TIME, '-'), TABLE_ROWS) AS trace \
         FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN \
         ('allowed_hours', 'device_ends', 'devices', 'policies', 'users', 'sessions')"
    };
}

/// How many there are of the last rows of a table, and the last one's number.
macro_rules! tail_of {
    ($table:literal, $which:literal) => {
        concat!(
            " UNION ALL SELECT '",
            $table,
            "', 1, 1, CONCAT_WS(' ', COUNT(*), MAX(id)) FROM ",
            $table,
            " WHERE ",
            $which,
            "id > COALESCE((SELECT MAX(id) FROM ",
            $table,
            "), 0) - 100",
        )
    };
}

static PERSIST: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(
        PERSIST_HEAD,
        PERSIST_ROW,
        upsert!(
            "run_started" "cid" "user_name" "common_name" "device" "device_kind" "client_ip"
            "client_port" "vpn_ip" "client_version" "client_platform" "started_at" "updated_at"
            "deadline" "deadline_reason" "expiry_action" "warned_at" "ended_at" "cause"
            "bytes_received" "bytes_sent" "day_marks" "certificate" "session_timeout_s" "duration_s"
        ),
    )
});

static ADD_USAGE_ROWS: LazyLock<Batch> = LazyLock::new(|| {
    Batch::joined(
        ADD_USAGE,
        concat!(
            "SELECT s.user_name, CAST(? AS DATETIME(3)), s.id, CAST(? AS UNSIGNED), \
             CAST(? AS UNSIGNED), CAST(? AS UNSIGNED)",
            usage_of!()
        ),
        " UNION ALL ",
        " ON DUPLICATE KEY UPDATE usage_periods.session_id = usage_periods.session_id",
    )
});

/// Of sessions that have not ended, and of which a condition is to follow.
macro_rules! standings {
    ($($policy:tt)+) => {
        concat!(
            "SELECT ",
            standing_columns!(),
            $($policy)+,
            " FROM sessions s LEFT JOIN users u ON u.name = s.user_name \
             LEFT JOIN policies p ON p.name = \
             CONVERT(COALESCE(u.policy, 'default') USING utf8mb4) COLLATE utf8mb4_bin \
             LEFT JOIN devices d ON d.user_id = u.id AND d.identifier = s.device \
             WHERE s.ended_at IS NULL AND "
        )
    };
}

static STANDINGS: LazyLock<Batch> =
    LazyLock::new(|| Batch::new(concat!(standings!(policy_of_user!()), "s.server IN ("), "?", ")"));

/// With the names of their policies only.
static MANY_STANDINGS: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(concat!(standings!("p.name AS policy_name"), "s.server IN ("), "?", ")")
});

static STANDINGS_OF: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(concat!(standings!(policy_of_user!()), "s.user_name IN ("), "?", ")")
});

static MARK_SERVER_ROWS: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(
        MARK_SERVERS.0,
        MARK_SERVERS.1,
        " ON DUPLICATE KEY UPDATE \
         seen_at = IF(run_started = VALUES(run_started), GREATEST(seen_at, VALUES(seen_at)), VALUES(seen_at)), \
         run_started = VALUES(run_started), address = VALUES(address), \
         openvpn_version = VALUES(openvpn_version), sessions = VALUES(sessions)",
    )
});

/// What was written already stays as it is.
static ADD_AUTH_EVENT_ROWS: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(ADD_AUTH_EVENTS.0, ADD_AUTH_EVENTS.1, " ON DUPLICATE KEY UPDATE serial = serial")
});

static ADD_ACTIVITY_ROWS: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(
        ADD_ACTIVITY.0,
        ADD_ACTIVITY.1,
        " ON DUPLICATE KEY UPDATE amount = IF(kind = 'sessions', \
         GREATEST(amount, VALUES(amount)), amount + VALUES(amount))",
    )
});

/// A user's name as the program's own tables have it.
macro_rules! own_name {
    () => {
        "CONVERT(u.name USING utf8mb4) COLLATE utf8mb4_bin"
    };
}

/// Rows at which everybody waits who takes a place for one of these users; in one order, so that no two wait for
/// each other. Users are read, and not locked.
static MARK_USERS: LazyLock<Repeated> = LazyLock::new(|| {
    Repeated::new(&[
        (
            "INSERT INTO user_marks (user_id, serial) SELECT u.id, 1 FROM users u WHERE u.name IN (",
            1,
        ),
        (") ORDER BY u.id ON DUPLICATE KEY UPDATE user_marks.serial = user_marks.serial + 1", 0),
    ])
});

static PLACES: LazyLock<Repeated> = LazyLock::new(|| Repeated::new(&places!(own_name!())));

/// What several logins need. A row for each user and each of its devices that any of them asks
/// about; which fit, the program sees. Names are constants where an index is to be searched by them, whatever
/// the collation of an operator's own table. Parameters: devices and fingerprints (twice as many), the
/// names, the moment from which an end counts, the names.
static FACTS_OF_MANY: LazyLock<Repeated> = LazyLock::new(|| {
    Repeated::new(&[
        (
            concat!(
                "SELECT ",
                facts_columns!(),
                "NULL AS certificate_status, NULL AS certificate_end, x.last_end AS expired_at, \
                 (SELECT MAX(updated_at) FROM sessions WHERE user_name = ",
                own_name!(),
                " AND ended_at IS NULL AND ",
                ended_by_limit!("updated_at"),
                ") AS expiring_at FROM users u \
                 LEFT JOIN policies p ON p.name = \
                 CONVERT(COALESCE(u.policy, 'default') USING utf8mb4) COLLATE utf8mb4_bin \
                 LEFT JOIN second_factors f ON f.user_id = u.id \
                 LEFT JOIN devices d ON d.user_id = u.id AND d.identifier IN ("
            ),
            2,
        ),
        (
            ") LEFT JOIN (SELECT user_name, MAX(ended_at) AS last_end FROM sessions \
             WHERE user_name IN (",
            1,
        ),
        (
            concat!(
                ") AND ended_at > ? AND ",
                ended_by_limit!("ended_at"),
                " GROUP BY user_name) x ON x.user_name = ",
                own_name!(),
                " WHERE u.name IN ("
            ),
            1,
        ),
        (")", 0),
    ])
});

/// Operators may put views of their own tables in place of `users` and `devices`: whatever the
/// collation there, the policy is looked up by bytes, and a hash is replaced by bytes.
pub const STATEMENTS: Statements = Statements {
    begin: "START TRANSACTION",
    facts: concat!(
        "SELECT ",
        login_columns!(),
        "FROM users u \
         LEFT JOIN policies p ON p.name = \
         CONVERT(COALESCE(u.policy, 'default') USING utf8mb4) COLLATE utf8mb4_bin \
         LEFT JOIN devices d ON d.user_id = u.id AND d.identifier = ? \
         LEFT JOIN second_factors f ON f.user_id = u.id \
         WHERE u.name = ?"
    ),
    standings: &STANDINGS,
    many_standings: &MANY_STANDINGS,
    standings_of: &STANDINGS_OF,
    fact_trace: fact_trace!(),
    // Of the tables that grow, the last rows: one that comes to light late has a lower number.
    pulse: concat!(
        fact_trace!(),
        tail_of!("admin_audit", ""),
        tail_of!("auth_events", ""),
        tail_of!("session_commands", "handled_at IS NULL AND "),
    ),
    facts_of_many: Some(&FACTS_OF_MANY),
    upgrade_hash: "UPDATE users SET password_hash = ?, updated_at = ? WHERE name = ? \
                   AND CAST(CONVERT(name USING utf8mb4) AS BINARY) = CAST(? AS BINARY) \
                   AND CAST(CONVERT(password_hash USING utf8mb4) AS BINARY) = CAST(? AS BINARY)",
    lock_user: "SELECT id, name FROM users WHERE name = ? FOR UPDATE",
    // A lock holds on one node of a Galera cluster; two writes to one row meet on all of them.
    mark_user: "INSERT INTO user_marks (user_id, serial) VALUES (?, 1) \
                ON DUPLICATE KEY UPDATE serial = serial + 1",
    mark_users: &MARK_USERS,
    places: &PLACES,
    forget_old_claims: "DELETE FROM session_claims WHERE claimed_at < ? ORDER BY claimed_at LIMIT ?",
    zones: "SELECT DISTINCT s.user_name, u.name, p.time_zone FROM sessions s \
            JOIN users u ON u.name = s.user_name \
            JOIN policies p ON p.name = \
            CONVERT(COALESCE(u.policy, 'default') USING utf8mb4) COLLATE utf8mb4_bin \
            WHERE s.ended_at IS NULL AND s.server = ? AND p.time_zone IS NOT NULL",
    mark_servers: &MARK_SERVER_ROWS,
    persist: &PERSIST,
    add_usage: &ADD_USAGE_ROWS,
    add_auth_events: &ADD_AUTH_EVENT_ROWS,
    add_old_usage: "INSERT INTO usage_periods (user_name, starts_at, session_id, duration_ms, \
                    bytes_received, bytes_sent) VALUES (?, ?, '', ?, ?, ?) \
                    ON DUPLICATE KEY UPDATE duration_ms = duration_ms + VALUES(duration_ms), \
                    bytes_received = bytes_received + VALUES(bytes_received), \
                    bytes_sent = bytes_sent + VALUES(bytes_sent)",
    remove_auth_events: "DELETE FROM auth_events WHERE created_at < ? ORDER BY created_at LIMIT ?",
    add_lockout: "INSERT INTO lockouts (user_name, network, failures, since, held_until) \
                  VALUES (?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE failures = VALUES(failures), \
                  since = VALUES(since), held_until = VALUES(held_until)",
    add_activity: &ADD_ACTIVITY_ROWS,
    remove_activity: "DELETE FROM activity WHERE starts_at < ? ORDER BY starts_at LIMIT ?",
    ended: "SELECT s.id, s.server, s.ended_at, s.user_name, u.name AS own_name, p.retention_days \
            FROM sessions s LEFT JOIN users u ON u.name = s.user_name \
            LEFT JOIN policies p ON p.name = CONVERT(COALESCE(u.policy, 'default') USING utf8mb4) COLLATE utf8mb4_bin \
            WHERE s.ended_at >= ? AND s.ended_at < ? AND s.state = 'closed' \
            AND (s.ended_at > ? OR s.server > ? OR (s.server = ? AND s.id > ?)) \
            ORDER BY s.ended_at, s.server, s.id LIMIT ?",
    ..COMMON
};
