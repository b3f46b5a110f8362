//! The statements of a backend, and those whose text is the same for all of them.
//!
//! Static text with bound parameters only, `now` among them. Comparison is by bytes: MySQL's
//! `=` ignores trailing spaces, so names are compared again where it matters.

use std::sync::LazyLock;

use super::{Batch, Repeated, SessionQueries};

/// Every statement by what it does. Parameters are in the order of the text.
pub struct Statements {
    pub begin: &'static str,
    pub applied: &'static str,
    pub facts: &'static str,
    /// The same for several users at once, where that is cheaper.
    pub facts_of_many: Option<&'static LazyLock<Repeated>>,
    pub upgrade_hash: &'static str,
    pub user: &'static str,
    pub lock_user: &'static str,
    pub users: &'static str,
    pub password_hashes: &'static str,
    pub nobodys_rows: &'static str,
    pub add_user: &'static str,
    /// Of each column by itself, so that a view hinders nothing but what it does not let be changed.
    pub set_password_hash: &'static str,
    pub set_user_policy: &'static str,
    pub set_enabled: &'static str,
    pub set_valid_from: &'static str,
    pub set_valid_until: &'static str,
    pub touch_user: &'static str,
    pub password_changed: &'static str,
    pub remove_devices: &'static str,
    pub remove_user: &'static str,
    pub add_device: &'static str,
    pub devices: &'static str,
    pub devices_of: &'static str,
    pub set_device_status: &'static str,
    pub remove_device: &'static str,
    pub device_ends: &'static str,
    pub device_ends_of: &'static str,
    pub add_device_end: &'static str,
    pub remove_device_end: &'static str,
    pub remove_device_ends: &'static str,
    pub policy: &'static str,
    pub policies: &'static str,
    pub add_policy: &'static str,
    pub replace_policy: &'static str,
    pub policy_in_use: &'static str,
    pub remove_policy: &'static str,
    pub persist: &'static LazyLock<Batch>,
    pub open_sessions: &'static str,
    pub zones: &'static str,
    pub server: &'static str,
    pub mark_servers: &'static LazyLock<Batch>,
    pub standings: &'static LazyLock<Batch>,
    pub many_standings: &'static LazyLock<Batch>,
    pub all_policies: &'static str,
    pub standings_of: &'static LazyLock<Batch>,
    pub fact_trace: &'static str,
    pub pulse: &'static str,
    pub changes: &'static str,
    pub last_change: &'static str,
    pub session: &'static str,
    pub sessions_by_prefix: &'static str,
    pub sessions: &'static LazyLock<SessionQueries>,
    pub count_devices: &'static str,
    pub device_status: &'static str,
    pub use_enrolment: &'static str,
    pub close_enrolment: &'static str,
    pub open_enrolment: &'static str,
    pub enrolment: &'static str,
    pub mark_user: &'static str,
    pub mark_users: &'static LazyLock<Repeated>,
    pub places: &'static LazyLock<Repeated>,
    pub add_claims: &'static LazyLock<Batch>,
    pub forget_claim: &'static str,
    pub forget_old_claims: &'static str,
    pub expiring_sessions: &'static str,
    pub device_uses: &'static str,
    pub retentions: &'static str,
    pub ended: &'static str,
    pub remove_sessions: &'static LazyLock<Batch>,
    pub add_command: &'static str,
    pub command_handled: &'static str,
    pub pending_commands: &'static LazyLock<Batch>,
    pub complete_commands: &'static LazyLock<Batch>,
    pub add_usage: &'static LazyLock<Batch>,
    pub usage: &'static LazyLock<Batch>,
    pub old_usage: &'static str,
    pub add_old_usage: &'static str,
    pub remove_usage: &'static str,
    pub add_grant: &'static str,
    pub grants: &'static str,
    pub remove_grant: &'static str,
    pub remove_grants: &'static str,
    pub add_hours: &'static str,
    pub remove_hours: &'static str,
    pub add_auth_events: &'static LazyLock<Batch>,
    pub auth_events: &'static str,
    pub remove_auth_events: &'static str,
    pub add_lockout: &'static str,
    pub lockouts: &'static str,
    pub remove_lockouts: &'static str,
    pub forget_lockouts: &'static str,
    pub take_step: &'static str,
    pub take_recovery_code: &'static str,
    pub recovery_code: &'static str,
    pub second_factor: &'static str,
    pub second_factor_of: &'static str,
    pub add_second_factor: &'static str,
    pub remove_second_factor: &'static str,
    pub add_recovery_code: &'static str,
    pub remove_recovery_codes: &'static str,
    pub user_config: &'static str,
    pub add_user_config: &'static str,
    pub remove_user_config: &'static str,
    pub address_of_another: &'static str,
    pub free_address: &'static str,
    pub policy_config: &'static str,
    pub add_policy_config: &'static str,
    pub remove_policy_config: &'static str,
    pub touch_policy: &'static str,
    pub audit: &'static str,
    pub audited: &'static str,
    pub audited_target: &'static str,
    pub auth_events_of: &'static str,
    pub add_activity: &'static LazyLock<Batch>,
    pub activity: &'static str,
    pub remove_activity: &'static str,
}

macro_rules! user_columns {
    () => {
        "u.id, u.name, u.password_hash, u.policy, u.enabled, u.valid_from, u.valid_until, \
         u.password_changed_at, \
         u.created_at, u.updated_at"
    };
}
macro_rules! device_columns {
    () => {
        "u.name AS user_name, d.kind, d.identifier, d.label, d.status, d.created_at"
    };
}
macro_rules! policy_columns {
    () => {
        "p.name, p.session_limit_s, p.expiry_action, p.device_mode, p.max_devices, \
         p.max_sessions, p.on_limit, p.cooldown_s, p.time_zone, p.time_quota_day_s, \
         p.time_quota_week_s, p.time_quota_month_s, p.time_quota_total_s, \
         p.data_quota_day_bytes, p.data_quota_week_bytes, p.data_quota_month_bytes, \
         p.data_quota_total_bytes, p.idle_s, p.idle_bytes, p.require_fingerprint, \
         p.second_factor, p.retention_days, \
         (SELECT GROUP_CONCAT(CONCAT(h.weekday, ' ', h.opens, '-', h.closes)) \
         FROM allowed_hours h WHERE h.policy = p.name) AS hours"
    };
}
/// The policy `p` of a user.
macro_rules! policy_of_user {
    () => {
        "p.name AS policy_name, p.session_limit_s AS policy_session_limit_s, \
         p.expiry_action AS policy_expiry_action, p.device_mode AS policy_device_mode, \
         p.max_devices AS policy_max_devices, p.max_sessions AS policy_max_sessions, \
         p.on_limit AS policy_on_limit, p.cooldown_s AS policy_cooldown_s, \
         p.time_zone AS policy_time_zone, p.time_quota_day_s AS policy_time_quota_day_s, \
         p.time_quota_week_s AS policy_time_quota_week_s, \
         p.time_quota_month_s AS policy_time_quota_month_s, \
         p.time_quota_total_s AS policy_time_quota_total_s, \
         p.data_quota_day_bytes AS policy_data_quota_day_bytes, \
         p.data_quota_week_bytes AS policy_data_quota_week_bytes, \
         p.data_quota_month_bytes AS policy_data_quota_month_bytes, \
         p.data_quota_total_bytes AS policy_data_quota_total_bytes, \
         p.idle_s AS policy_idle_s, p.idle_bytes AS policy_idle_bytes, \
         p.require_fingerprint AS policy_require_fingerprint, \
         p.second_factor AS policy_second_factor, \
         p.retention_days AS policy_retention_days, \
         (SELECT GROUP_CONCAT(CONCAT(h.weekday, ' ', h.opens, '-', h.closes)) \
         FROM allowed_hours h WHERE h.policy = p.name) AS policy_hours"
    };
}
/// That the program ended a session because its time was over; `$at` is the column of its end.
macro_rules! ended_by_limit {
    ($at:literal) => {
        concat!(
            "(cause IN ('session_limit', 'time_quota', 'data_quota', 'hours', 'idle') \
             OR cause = 'admin' AND deadline_reason = 'admin' AND ",
            $at,
            " >= deadline)"
        )
    };
}
/// What a login needs of the user `u`, its policy `p`, one of its devices `d` and its second factor `f`.
macro_rules! facts_columns {
    () => {
        concat!(
            $crate::store::sql::user_columns!(),
            ", ",
            $crate::store::sql::policy_of_user!(),
            ", d.identifier AS device_identifier, d.status AS device_status, \
             (SELECT e.valid_until FROM device_ends e \
             WHERE e.user_id = u.id AND e.identifier = d.identifier) AS device_end, \
             (SELECT GROUP_CONCAT(CONCAT(g.position, ' ', g.server, ' ', g.option_line, '\n')) \
             FROM user_config g WHERE g.user_id = u.id) AS user_config, \
             (SELECT GROUP_CONCAT(CONCAT(g.position, ' ', g.server, ' ', g.option_line, '\n')) \
             FROM policy_config g WHERE g.policy = p.name) AS policy_config, \
             f.secret AS factor_secret, f.last_step AS factor_last_step, \
             f.created_at AS factor_created_at, \
             (SELECT COUNT(*) FROM devices c WHERE c.user_id = u.id AND c.kind <> 'fingerprint') \
             AS device_count, \
             (SELECT COUNT(*) FROM devices c WHERE c.user_id = u.id AND c.kind = 'fingerprint') \
             AS fingerprint_count, \
             (SELECT e.open_until FROM device_enrolments e WHERE e.user_id = u.id) \
             AS enrolment_until, "
        )
    };
}
/// All that a login needs. Of a fingerprint that is there twice, in an operator's own table, the
/// last word in the alphabet counts, which is `approved` only when both are. Parameters: the fingerprint twice, the name, the moment from which an end
/// counts, the name. Who has the same name but for trailing spaces, which MySQL's `=` ignores, shares the cool-down.
macro_rules! login_columns {
    () => {
        concat!(
            $crate::store::sql::facts_columns!(),
            "(SELECT MAX(k.status) FROM devices k WHERE k.user_id = u.id AND k.identifier = ?) \
             AS certificate_status, \
             (SELECT e.valid_until FROM device_ends e \
             WHERE e.user_id = u.id AND e.identifier = ?) AS certificate_end, \
             (SELECT MAX(ended_at) FROM sessions WHERE user_name = ? AND ended_at > ? AND ",
            $crate::store::sql::ended_by_limit!("ended_at"),
            ") AS expired_at, \
             (SELECT MAX(updated_at) FROM sessions WHERE user_name = ? AND ended_at IS NULL AND ",
            $crate::store::sql::ended_by_limit!("updated_at"),
            ") AS expiring_at "
        )
    };
}
/// How many rows of tables that go by the user's id have no user.
macro_rules! nobodys {
    ($first:literal $($table:literal)+) => {
        concat!(nobodys!(@ $first), $(" UNION ALL ", nobodys!(@ $table)),+)
    };
    (@ $table:literal) => {
        concat!(
            "SELECT '", $table, "' AS place, COUNT(*) AS amount FROM ", $table,
            " t WHERE NOT EXISTS (SELECT u.id FROM users u WHERE u.id = t.user_id)"
        )
    };
}
macro_rules! session_columns {
    () => {
        "id, version, state, server, run_started, cid, user_name, common_name, device, \
         device_kind, client_ip, client_port, vpn_ip, client_version, client_platform, \
         started_at, updated_at, deadline, deadline_reason, expiry_action, warned_at, ended_at, \
         cause, bytes_received, bytes_sent, day_marks, certificate, session_timeout_s"
    };
}
macro_rules! standing_columns {
    () => {
        "s.id, s.server, s.user_name, s.started_at, s.deadline, s.device, u.id AS user_id, \
         u.name AS user_own_name, \
         u.enabled AS user_enabled, u.valid_from AS user_valid_from, \
         u.valid_until AS user_valid_until, \
         d.identifier AS device_identifier, d.status AS device_status, s.certificate, \
         (SELECT MAX(f.status) FROM devices f \
         WHERE f.user_id = u.id AND f.identifier = s.certificate) AS certificate_status, \
         (SELECT e.valid_until FROM device_ends e \
         WHERE e.user_id = u.id AND e.identifier = s.certificate) AS certificate_end, \
         (SELECT e.valid_until FROM device_ends e \
         WHERE e.user_id = u.id AND e.identifier = s.device) AS device_end, "
    };
}
/// Which row one of them is of: closed, and just as the program has it. Another daemon may have closed the
/// session otherwise, or not see its end yet.
macro_rules! usage_of {
    () => {
        " FROM sessions s WHERE s.id = ? AND s.state = 'closed' AND s.version = ? AND s.ended_at = ? \
         AND s.bytes_received = ? AND s.bytes_sent = ? AND COALESCE(s.day_marks, '') = ?"
    };
}
pub(crate) use {
    ended_by_limit, facts_columns, login_columns, policy_of_user, standing_columns, usage_of,
    user_columns,
};

/// The columns of a session that are read, in the order in which they are written.
pub const SESSION_COLUMNS: &str = session_columns!();

/// The start of an insert of sessions; `duration_s` is worked out by the program, so that a
/// person can read it.
pub const PERSIST_HEAD: &str =
    concat!("INSERT INTO sessions (", session_columns!(), ", duration_s) VALUES ");
/// One row of it.
pub const PERSIST_ROW: &str = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

/// Of a journal: some of its rows.
pub const FIRST_SESSIONS: &str =
    concat!("SELECT ", session_columns!(), " FROM sessions ORDER BY id LIMIT ?");
/// Of a journal: what it holds of one server.
pub const SESSIONS_OF_SERVER: &str =
    concat!("SELECT ", session_columns!(), " FROM sessions WHERE server = ? ORDER BY id");
/// Of a journal: a row that the database has.
pub const REMOVE_SESSION: &str = "DELETE FROM sessions WHERE id = ? AND version = ?";
/// Of a journal: what that row used. It is worked out again from the row.
pub const REMOVE_USAGE: &str = "DELETE FROM usage_periods WHERE user_name = ? AND session_id = ?";

static SESSIONS: LazyLock<SessionQueries> =
    LazyLock::new(|| SessionQueries::new(concat!("SELECT ", session_columns!(), " FROM sessions")));

static PENDING: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(
        "SELECT id, session_id, server, action, reason, deadline, actor, \
         (SELECT user_name FROM sessions WHERE sessions.id = session_id) AS user_name \
         FROM session_commands WHERE handled_at IS NULL AND server IN (",
        "?",
        ") ORDER BY id LIMIT 1000",
    )
});

static COMPLETE: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(
        "UPDATE session_commands SET handled_at = ? WHERE handled_at IS NULL AND id IN (",
        "?",
        ")",
    )
});

/// For each user, known by a number: what sessions that have ended used, those that are open, and
/// what was granted, each by itself, so that no sum of these overflows. The columns of the first serve all; every number is unsigned, because MySQL makes
/// a decimal of both kinds.
static USAGE: LazyLock<Batch> = LazyLock::new(|| {
    Batch::joined(
        "",
        "SELECT ? AS who, 'ended' AS kind, NULL AS id, NULL AS started_at, NULL AS updated_at, \
         NULL AS seen_at, NULL AS day_marks, CAST(COALESCE(SUM(bytes_received), 0) AS UNSIGNED) AS bytes_received, \
         CAST(COALESCE(SUM(bytes_sent), 0) AS UNSIGNED) AS bytes_sent, \
         CAST(COALESCE(SUM(duration_ms), 0) AS UNSIGNED) AS total_ms, \
         CAST(COALESCE(SUM(CASE WHEN starts_at >= ? THEN duration_ms END), 0) AS UNSIGNED) AS day_ms, \
         CAST(COALESCE(SUM(CASE WHEN starts_at >= ? THEN duration_ms END), 0) AS UNSIGNED) AS week_ms, \
         CAST(COALESCE(SUM(CASE WHEN starts_at >= ? THEN duration_ms END), 0) AS UNSIGNED) AS month_ms, \
         CAST(COALESCE(SUM(CASE WHEN starts_at >= ? THEN bytes_received + bytes_sent END), 0) \
         AS UNSIGNED) AS day_bytes, \
         CAST(COALESCE(SUM(CASE WHEN starts_at >= ? THEN bytes_received + bytes_sent END), 0) \
         AS UNSIGNED) AS week_bytes, \
         CAST(COALESCE(SUM(CASE WHEN starts_at >= ? THEN bytes_received + bytes_sent END), 0) \
         AS UNSIGNED) AS month_bytes \
         FROM usage_periods WHERE user_name = ? \
         UNION ALL \
         SELECT ?, 'open', o.id, o.started_at, o.updated_at, v.seen_at, o.day_marks, o.bytes_received, o.bytes_sent, \
         CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED) FROM sessions o LEFT JOIN servers v ON v.name = o.server \
         AND v.run_started = o.run_started WHERE o.user_name = ? AND o.ended_at IS NULL \
         UNION ALL \
         SELECT ?, CASE kind WHEN 'data' THEN 'data' ELSE 'time' END, CAST(id AS CHAR), NULL, valid_until, NULL, NULL, \
         CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED), amount, \
         CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED), CAST(0 AS UNSIGNED) \
         FROM quota_grants WHERE user_name = ? AND valid_until > ?",
        " UNION ALL ",
        "",
    )
});

/// The start of an insert of what sessions used.
pub const ADD_USAGE: &str = "INSERT INTO usage_periods (user_name, starts_at, session_id, duration_ms, \
     bytes_received, bytes_sent) ";
/// The start of an insert of servers, and one row of it.
pub const MARK_SERVERS: (&str, &str) = (
    "INSERT INTO servers (name, address, openvpn_version, run_started, seen_at, sessions) VALUES ",
    "(?,?,?,?,?,?)",
);

/// The start of an insert of what happened in an hour, and one row of it.
pub const ADD_ACTIVITY: (&str, &str) =
    ("INSERT INTO activity (starts_at, server, kind, reason, amount) VALUES ", "(?,?,?,?,?)");

/// The start of an insert of what happened to logins, and one row of it.
pub const ADD_AUTH_EVENTS: (&str, &str) = (
    "INSERT INTO auth_events (kind, user_name, network, origin, created_at, serial) VALUES ",
    "(?,?,?,?,?,?)",
);

static REMOVE_SESSIONS: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new("DELETE FROM sessions WHERE state = 'closed' AND id IN (", "?", ")")
});

static NO_BATCH: LazyLock<Batch> = LazyLock::new(|| Batch::new("", "", ""));
static NO_LIST: LazyLock<Repeated> = LazyLock::new(|| Repeated::new(&[]));

/// One that a session had before counts no longer.
static ADD_CLAIMS: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(
        "REPLACE INTO session_claims (session_id, user_name, server, device, claimed_at) VALUES ",
        "(?,?,?,?,?)",
        "",
    )
});

/// What the backends share; each replaces the empty ones and what it says otherwise.
pub const COMMON: Statements = Statements {
    begin: "",
    applied: "SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version",
    facts: "",
    facts_of_many: None,
    upgrade_hash: "",
    user: concat!("SELECT ", user_columns!(), " FROM users u WHERE u.name = ?"),
    lock_user: "",
    users: concat!(
        "SELECT ",
        user_columns!(),
        " FROM users u WHERE u.name > ? ORDER BY u.name LIMIT ?"
    ),
    password_hashes: "SELECT u.id, u.name, u.password_hash FROM users u WHERE u.id > ? ORDER BY u.id \
                      LIMIT ?",
    nobodys_rows: nobodys!(
        "second_factors" "recovery_codes" "user_config" "device_enrolments" "devices" "device_ends"
    ),
    add_user: "INSERT INTO users (name, password_hash, policy, enabled, valid_from, valid_until, \
               password_changed_at, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    set_password_hash: "UPDATE users SET password_hash = ? WHERE id = ?",
    set_user_policy: "UPDATE users SET policy = ? WHERE id = ?",
    set_enabled: "UPDATE users SET enabled = ? WHERE id = ?",
    set_valid_from: "UPDATE users SET valid_from = ? WHERE id = ?",
    set_valid_until: "UPDATE users SET valid_until = ? WHERE id = ?",
    touch_user: "UPDATE users SET updated_at = ? WHERE id = ?",
    password_changed: "UPDATE users SET password_changed_at = ? WHERE id = ?",
    remove_devices: "DELETE FROM devices WHERE user_id = ?",
    remove_user: "DELETE FROM users WHERE id = ?",
    add_device: "INSERT INTO devices (user_id, kind, identifier, label, status, created_at, \
                 updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
    devices: concat!(
        "SELECT ",
        device_columns!(),
        " FROM users u JOIN devices d ON d.user_id = u.id \
         ORDER BY u.name, d.created_at, d.identifier LIMIT ?"
    ),
    devices_of: concat!(
        "SELECT ",
        device_columns!(),
        " FROM users u JOIN devices d ON d.user_id = u.id WHERE u.name = ? \
         ORDER BY u.name, d.created_at, d.identifier LIMIT ?"
    ),
    set_device_status: "UPDATE devices SET status = ?, updated_at = ? \
                        WHERE user_id = ? AND identifier = ?",
    remove_device: "DELETE FROM devices WHERE user_id = ? AND identifier = ?",
    device_ends: "SELECT u.name AS user_name, e.identifier, e.valid_until \
                  FROM device_ends e JOIN users u ON u.id = e.user_id",
    device_ends_of: "SELECT u.name AS user_name, e.identifier, e.valid_until \
                     FROM device_ends e JOIN users u ON u.id = e.user_id WHERE u.name = ?",
    add_device_end: "INSERT INTO device_ends (user_id, identifier, valid_until) VALUES (?, ?, ?)",
    remove_device_end: "DELETE FROM device_ends WHERE user_id = ? AND identifier = ?",
    remove_device_ends: "DELETE FROM device_ends WHERE user_id = ?",
    policy: concat!("SELECT ", policy_columns!(), " FROM policies p WHERE p.name = ?"),
    policies: concat!("SELECT ", policy_columns!(), " FROM policies p ORDER BY p.name"),
    add_policy: "INSERT INTO policies (session_limit_s, expiry_action, device_mode, max_devices, \
                 max_sessions, on_limit, cooldown_s, time_zone, time_quota_day_s, \
                 time_quota_week_s, time_quota_month_s, time_quota_total_s, \
                 data_quota_day_bytes, data_quota_week_bytes, data_quota_month_bytes, \
                 data_quota_total_bytes, idle_s, idle_bytes, require_fingerprint, second_factor, retention_days, updated_at, \
                 name, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    replace_policy: "UPDATE policies SET session_limit_s = ?, expiry_action = ?, \
                     device_mode = ?, max_devices = ?, max_sessions = ?, on_limit = ?, \
                     cooldown_s = ?, time_zone = ?, time_quota_day_s = ?, \
                     time_quota_week_s = ?, time_quota_month_s = ?, time_quota_total_s = ?, \
                     data_quota_day_bytes = ?, data_quota_week_bytes = ?, \
                     data_quota_month_bytes = ?, data_quota_total_bytes = ?, idle_s = ?, \
                     idle_bytes = ?, require_fingerprint = ?, second_factor = ?, retention_days = ?, updated_at = ? WHERE name = ?",
    policy_in_use: "SELECT id FROM users WHERE policy = ? LIMIT 1",
    remove_policy: "DELETE FROM policies WHERE name = ?",
    persist: &NO_BATCH,
    open_sessions: concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions WHERE ended_at IS NULL AND server = ? ORDER BY started_at, id"
    ),
    zones: "",
    server: "SELECT name, address, openvpn_version, run_started, seen_at, sessions FROM servers \
             WHERE name = ?",
    mark_servers: &NO_BATCH,
    standings: &NO_BATCH,
    many_standings: &NO_BATCH,
    all_policies: concat!("SELECT ", policy_of_user!(), " FROM policies p"),
    standings_of: &NO_BATCH,
    fact_trace: "",
    pulse: "",
    changes: "SELECT id, action, target FROM admin_audit WHERE id > ? ORDER BY id LIMIT ?",
    last_change: "SELECT id, action, target FROM admin_audit ORDER BY id DESC LIMIT 1",
    session: concat!("SELECT ", session_columns!(), " FROM sessions WHERE id = ?"),
    sessions_by_prefix: concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions WHERE id >= ? AND id < ? ORDER BY id LIMIT 2"
    ),
    sessions: &SESSIONS,
    count_devices: "SELECT COUNT(*) AS devices FROM devices \
                    WHERE user_id = ? AND (kind = 'fingerprint') = ?",
    device_status: "SELECT identifier, status FROM devices WHERE user_id = ? AND identifier = ?",
    use_enrolment: "DELETE FROM device_enrolments WHERE user_id = ? AND open_until > ?",
    close_enrolment: "DELETE FROM device_enrolments WHERE user_id = ?",
    open_enrolment: "INSERT INTO device_enrolments (user_id, open_until) VALUES (?, ?)",
    enrolment: "SELECT u.name, e.open_until FROM users u \
                JOIN device_enrolments e ON e.user_id = u.id WHERE u.name = ? AND e.open_until > ?",
    mark_user: "",
    mark_users: &NO_LIST,
    places: &NO_LIST,
    add_claims: &ADD_CLAIMS,
    forget_claim: "DELETE FROM session_claims WHERE session_id = ?",
    forget_old_claims: "",
    expiring_sessions: concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions WHERE ended_at IS NULL AND deadline <= ? ORDER BY deadline, id LIMIT ?"
    ),
    device_uses: "SELECT u.name, s.device, d.identifier, d.status, COUNT(*) AS sessions, \
                  MAX(s.started_at) AS last_start FROM sessions s \
                  JOIN users u ON u.name = s.user_name \
                  LEFT JOIN devices d ON d.user_id = u.id AND d.identifier = s.device \
                  WHERE s.started_at >= ? \
                  AND OCTET_LENGTH(u.name) = OCTET_LENGTH(s.user_name) \
                  GROUP BY u.name, s.device, d.identifier, d.status \
                  ORDER BY u.name, s.device LIMIT ?",
    retentions: "SELECT DISTINCT retention_days FROM policies WHERE retention_days > 0",
    ended: "",
    remove_sessions: &REMOVE_SESSIONS,
    add_command: "INSERT INTO session_commands (session_id, server, action, reason, deadline, \
                  actor, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
    command_handled: "SELECT id, handled_at FROM session_commands WHERE id = ?",
    pending_commands: &PENDING,
    complete_commands: &COMPLETE,
    add_usage: &NO_BATCH,
    usage: &USAGE,
    old_usage: "SELECT user_name, starts_at, session_id, duration_ms, bytes_received, bytes_sent \
                FROM usage_periods WHERE starts_at < ? AND starts_at > ? ORDER BY starts_at LIMIT ?",
    add_old_usage: "",
    remove_usage: "DELETE FROM usage_periods WHERE user_name = ? AND starts_at = ? \
                   AND session_id = ?",
    add_grant: "INSERT INTO quota_grants (user_name, kind, amount, valid_until, created_at, actor) \
                VALUES (?, ?, ?, ?, ?, ?)",
    grants: "SELECT id, kind, amount, valid_until, created_at, actor FROM quota_grants \
             WHERE user_name = ? AND valid_until > ? ORDER BY valid_until, id LIMIT ?",
    remove_grant: "DELETE FROM quota_grants WHERE user_name = ? AND id = ?",
    remove_grants: "DELETE FROM quota_grants WHERE user_name = ?",
    add_hours: "INSERT INTO allowed_hours (policy, weekday, opens, closes) VALUES (?, ?, ?, ?)",
    remove_hours: "DELETE FROM allowed_hours WHERE policy = ?",
    add_auth_events: &NO_BATCH,
    auth_events: "SELECT id, kind, user_name, network, created_at FROM auth_events \
                  WHERE created_at >= ? AND origin <> ? ORDER BY created_at DESC, id DESC LIMIT ?",
    remove_auth_events: "",
    add_lockout: "",
    lockouts: "SELECT user_name, network, failures, since, held_until FROM lockouts \
               WHERE held_until > ? ORDER BY held_until DESC LIMIT ?",
    forget_lockouts: "DELETE FROM lockouts WHERE held_until < ?",
    // An empty name or address in the request is any.
    remove_lockouts: "DELETE FROM lockouts WHERE (? = '' OR user_name = ?) \
                      AND (? = '' OR network = ?)",
    take_step: "UPDATE second_factors SET last_step = ? WHERE user_id = ? AND secret = ? \
                AND (last_step IS NULL OR last_step < ?)",
    recovery_code: "SELECT user_id FROM recovery_codes WHERE user_id = ? AND code_hash = ?",
    take_recovery_code: "DELETE FROM recovery_codes WHERE user_id = ? AND code_hash = ?",
    second_factor: "SELECT user_id FROM second_factors WHERE user_id = ?",
    second_factor_of: "SELECT u.name, f.user_id, f.last_step, f.created_at, \
                       (SELECT COUNT(*) FROM recovery_codes r WHERE r.user_id = f.user_id) \
                       AS recovery_codes \
                       FROM users u JOIN second_factors f ON f.user_id = u.id WHERE u.name = ?",
    add_second_factor: "INSERT INTO second_factors (user_id, secret, created_at) VALUES (?, ?, ?)",
    remove_second_factor: "DELETE FROM second_factors WHERE user_id = ?",
    add_recovery_code: "INSERT INTO recovery_codes (user_id, code_hash, created_at) \
                        VALUES (?, ?, ?)",
    remove_recovery_codes: "DELETE FROM recovery_codes WHERE user_id = ?",
    user_config: "SELECT server, option_line FROM user_config WHERE user_id = ? \
                  ORDER BY server, position LIMIT 1000",
    add_user_config: "INSERT INTO user_config (user_id, server, position, option_line, address) \
                      VALUES (?, ?, ?, ?, ?)",
    remove_user_config: "DELETE FROM user_config WHERE user_id = ?",
    // On one server, or on all of which that is one. A row that somebody has written by hand may lack its address.
    address_of_another: "SELECT u.name FROM user_config g JOIN users u ON u.id = g.user_id \
                         WHERE (g.address = ? OR g.address IS NULL AND g.option_line LIKE ?) \
                         AND g.user_id <> ? AND (g.server = ? OR g.server = '' OR ? = '') LIMIT 1",
    // Of rows whose user is gone: an operator's own table of users takes nothing with it.
    free_address: "DELETE FROM user_config WHERE address = ? \
                   AND user_id NOT IN (SELECT u.id FROM users u)",
    policy_config: "SELECT server, option_line FROM policy_config WHERE policy = ? \
                    ORDER BY server, position LIMIT 1000",
    add_policy_config: "INSERT INTO policy_config (policy, server, position, option_line) \
                        VALUES (?, ?, ?, ?)",
    remove_policy_config: "DELETE FROM policy_config WHERE policy = ?",
    touch_policy: "UPDATE policies SET updated_at = ? WHERE name = ?",
    audit: "INSERT INTO admin_audit (created_at, actor, action, target, detail) \
            VALUES (?, ?, ?, ?, ?)",
    audited: "SELECT id, created_at, actor, action, target, detail FROM admin_audit \
              ORDER BY id DESC LIMIT ?",
    audited_target: "SELECT id, created_at, actor, action, target, detail FROM admin_audit \
                     WHERE target = ? OR (target > ? AND target < ?) ORDER BY id DESC LIMIT ?",
    auth_events_of: "SELECT id, kind, user_name, network, created_at FROM auth_events \
                     WHERE user_name = ? ORDER BY created_at DESC, id DESC LIMIT ?",
    add_activity: &NO_BATCH,
    activity: "SELECT starts_at, kind, reason, CAST(SUM(amount) AS UNSIGNED) AS amount FROM activity \
               WHERE starts_at >= ? GROUP BY starts_at, kind, reason ORDER BY starts_at LIMIT ?",
    remove_activity: "",
};
