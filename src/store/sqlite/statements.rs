//! Statements in SQLite's own dialect.

use std::sync::LazyLock;

use crate::store::sql::{
    ADD_ACTIVITY, ADD_AUTH_EVENTS, ADD_USAGE, Batch, COMMON, MARK_SERVERS, PERSIST_HEAD,
    PERSIST_ROW, Repeated, Statements, login_columns, places, policy_of_user, standing_columns,
    usage_of,
};

macro_rules! upsert {
    ($first:literal $($column:literal)+) => {
        concat!(
            " ON CONFLICT (id) DO UPDATE SET ", $first, " = excluded.", $first,
            $(", ", $column, " = excluded.", $column,)+
            " WHERE excluded.version > sessions.version AND sessions.state <> 'closed'",
        )
    };
}

static PERSIST: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(
        PERSIST_HEAD,
        PERSIST_ROW,
        upsert!(
            "version" "state" "server" "run_started" "cid" "user_name" "common_name" "device"
            "device_kind" "client_ip" "client_port" "vpn_ip" "client_version" "client_platform"
            "started_at" "updated_at" "deadline" "deadline_reason" "expiry_action" "warned_at"
            "ended_at" "cause" "bytes_received" "bytes_sent" "day_marks" "certificate" "session_timeout_s" "duration_s"
        ),
    )
});

static ADD_USAGE_ROWS: LazyLock<Batch> = LazyLock::new(|| {
    Batch::joined(
        ADD_USAGE,
        concat!("SELECT s.user_name, ?, s.id, ?, ?, ?", usage_of!()),
        " UNION ALL ",
        " ON CONFLICT DO NOTHING",
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
             COALESCE(u.policy, 'default') \
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
        " ON CONFLICT DO UPDATE SET seen_at = CASE WHEN run_started = excluded.run_started \
         THEN MAX(seen_at, excluded.seen_at) ELSE excluded.seen_at END, \
         run_started = excluded.run_started, address = excluded.address, \
         openvpn_version = excluded.openvpn_version, sessions = excluded.sessions",
    )
});

/// What was written already stays as it is.
static ADD_AUTH_EVENT_ROWS: LazyLock<Batch> =
    LazyLock::new(|| Batch::new(ADD_AUTH_EVENTS.0, ADD_AUTH_EVENTS.1, " ON CONFLICT DO NOTHING"));

static ADD_ACTIVITY_ROWS: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(
        ADD_ACTIVITY.0,
        ADD_ACTIVITY.1,
        " ON CONFLICT DO UPDATE SET amount = CASE kind WHEN 'sessions' \
         THEN MAX(amount, excluded.amount) ELSE amount + excluded.amount END",
    )
});

/// All of them wait for the one transaction that writes.
static MARK_USERS: LazyLock<Repeated> = LazyLock::new(|| {
    Repeated::new(&[
        (
            "INSERT INTO user_marks (user_id, serial) SELECT u.id, 1 FROM users u WHERE u.name IN (",
            1,
        ),
        (") ORDER BY u.id ON CONFLICT (user_id) DO UPDATE SET serial = serial + 1", 0),
    ])
});

static PLACES: LazyLock<Repeated> = LazyLock::new(|| Repeated::new(&places!("u.name")));

pub const STATEMENTS: Statements = Statements {
    // A transaction that starts as a reader cannot wait its turn to write.
    begin: "BEGIN IMMEDIATE",
    facts: concat!(
        "SELECT ",
        login_columns!(),
        "FROM users u \
         LEFT JOIN policies p ON p.name = COALESCE(u.policy, 'default') \
         LEFT JOIN devices d ON d.user_id = u.id AND d.identifier = ? \
         LEFT JOIN second_factors f ON f.user_id = u.id \
         WHERE u.name = ?"
    ),
    standings: &STANDINGS,
    many_standings: &MANY_STANDINGS,
    standings_of: &STANDINGS_OF,
    fact_trace: "PRAGMA data_version",
    upgrade_hash: "UPDATE users SET password_hash = ?, updated_at = ? WHERE name = ? \
                   AND CAST(name AS BLOB) = CAST(? AS BLOB) AND password_hash = ?",
    lock_user: "SELECT id, name FROM users WHERE name = ?",
    mark_user: "INSERT INTO user_marks (user_id, serial) VALUES (?, 1) \
                ON CONFLICT (user_id) DO UPDATE SET serial = serial + 1",
    mark_users: &MARK_USERS,
    places: &PLACES,
    forget_old_claims: "DELETE FROM session_claims WHERE session_id IN (SELECT session_id \
                        FROM session_claims WHERE claimed_at < ? ORDER BY claimed_at LIMIT ?)",
    zones: "SELECT DISTINCT s.user_name, u.name, p.time_zone FROM sessions s \
            JOIN users u ON u.name = s.user_name \
            JOIN policies p ON p.name = \
            COALESCE(u.policy, 'default') \
            WHERE s.ended_at IS NULL AND s.server = ? AND p.time_zone IS NOT NULL",
    mark_servers: &MARK_SERVER_ROWS,
    persist: &PERSIST,
    add_usage: &ADD_USAGE_ROWS,
    add_auth_events: &ADD_AUTH_EVENT_ROWS,
    add_old_usage: "INSERT INTO usage_periods (user_name, starts_at, session_id, duration_ms, \
                    bytes_received, bytes_sent) VALUES (?, ?, '', ?, ?, ?) \
                    ON CONFLICT DO UPDATE SET duration_ms = duration_ms + excluded.duration_ms, \
                    bytes_received = bytes_received + excluded.bytes_received, \
                    bytes_sent = bytes_sent + excluded.bytes_sent",
    remove_auth_events: "DELETE FROM auth_events WHERE id IN (SELECT id FROM auth_events \
                         WHERE created_at < ? ORDER BY created_at LIMIT ?)",
    add_lockout: "INSERT INTO lockouts (user_name, network, failures, since, held_until) \
                  VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
                  failures = excluded.failures, since = excluded.since, \
                  held_until = excluded.held_until",
    add_activity: &ADD_ACTIVITY_ROWS,
    remove_activity: "DELETE FROM activity WHERE (starts_at, server, kind, reason) IN \
                      (SELECT starts_at, server, kind, reason FROM activity \
                      WHERE starts_at < ? ORDER BY starts_at LIMIT ?)",
    ended: "SELECT s.id, s.server, s.ended_at, s.user_name, u.name AS own_name, p.retention_days \
            FROM sessions s LEFT JOIN users u ON u.name = s.user_name \
            LEFT JOIN policies p ON p.name = COALESCE(u.policy, 'default') \
            WHERE s.ended_at >= ? AND s.ended_at < ? AND s.state = 'closed' \
            AND (s.ended_at > ? OR s.server > ? OR (s.server = ? AND s.id > ?)) \
            ORDER BY s.ended_at, s.server, s.id LIMIT ?",
    ..COMMON
};
