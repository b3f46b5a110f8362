//! How each database would run the queries that have to stay fast.

use std::sync::Arc;

use ovpn_warden::store::{PolicyRecord, SessionRecord, SessionState, hot_queries};
use sqlx::{AssertSqlSafe, Row};

use super::bed::{Backend, Bed, Raw, at, by, name, new_user, session};

/// Enough rows that reading all of them is not the best plan.
async fn fill(bed: &Bed) {
    for number in 0..40 {
        bed.store.add_user(&new_user(&format!("user{number}")), &by()).await.unwrap();
    }
    for number in 0..40 {
        let policy = PolicyRecord {
            name: format!("policy{number}"),
            hours: "mon-fri 08:00-18:00".parse().unwrap(),
            ..PolicyRecord::default()
        };
        bed.store.put_policy(&policy, false, &by()).await.unwrap();
    }
    let sessions: Vec<_> = (0..4_000u32)
        .map(|number| SessionRecord {
            user: name(&format!("user{}", number % 40)),
            server: format!("server{}", number % 4).parse().unwrap(),
            state: SessionState::Closed,
            ended_at: (number % 100 != 0).then(|| at(i64::from(number) + 10)),
            device: format!("02:00:00:00:00:{:02x}", number % 200)
                .parse()
                .ok()
                .map(ovpn_warden::types::DeviceId::Mac),
            ..session(number)
        })
        .collect();
    bed.store.persist(&sessions).await.unwrap();
    bed.sql(
        "INSERT INTO quota_grants (user_name, kind, amount, valid_until, created_at, actor) \
         SELECT user_name, 'time', 60, started_at, started_at, 'cli:test' FROM sessions",
    )
    .await;
    bed.sql(
        "INSERT INTO auth_events (kind, user_name, network, origin, created_at) \
         SELECT 'failed', user_name, '', 'one', started_at FROM sessions",
    )
    .await;
    bed.sql(
        "INSERT INTO lockouts (user_name, network, failures, since, held_until) \
         SELECT id, '', 5, started_at, started_at FROM sessions",
    )
    .await;
    bed.sql(
        "INSERT INTO session_commands (session_id, server, action, actor, created_at, handled_at) \
         SELECT id, server, 'kill', 'cli:test', started_at, started_at FROM sessions",
    )
    .await;
    bed.sql(
        "INSERT INTO user_config (user_id, server, position, option_line) \
         SELECT u.id, '', d.id, 'push-reset' FROM users u CROSS JOIN users d",
    )
    .await;
    bed.sql(
        "INSERT INTO policy_config (policy, server, position, option_line) \
         SELECT p.name, '', d.id, 'push-reset' FROM policies p CROSS JOIN users d",
    )
    .await;
    bed.sql(
        "INSERT INTO admin_audit (created_at, actor, action, target) \
         SELECT started_at, 'cli:test', 'session.kill', id FROM sessions",
    )
    .await;
    bed.sql(
        "INSERT INTO session_claims (session_id, user_name, server, device, claimed_at) \
         SELECT id, user_name, server, device, started_at FROM sessions",
    )
    .await;
    bed.sql(
        "INSERT INTO activity (starts_at, server, kind, reason, amount) \
         SELECT started_at, id, 'allowed', '', 1 FROM sessions",
    )
    .await;
    if bed.backend == Backend::Sqlite {
        bed.sql("ANALYZE").await;
    } else {
        bed.sql(
            "ANALYZE TABLE users, policies, devices, sessions, session_commands, allowed_hours, \
             usage_periods, quota_grants, auth_events, lockouts, user_config, policy_config, \
             admin_audit, activity, session_claims",
        )
        .await;
    }
}

const SOONER: &str = "2026-11-23 11:56:40.000";
const LATER: &str = "2026-11-23 11:56:40.100";

/// What fits a page of spans that begins at `from`.
fn span(position: usize, from: &str) -> String {
    match position {
        0 | 3 => from.to_owned(),
        1 => LATER.into(),
        2 => SOONER.into(),
        _ => session(7).id.to_string(),
    }
}

/// What fits the columns of each query.
fn sample(query: &str, position: usize) -> String {
    match query {
        "facts" if position == 0 => "02:1a:2b:3c:4d:5e".into(),
        "facts of many" if position < 4 => "02:1a:2b:3c:4d:5e".into(),
        "facts of many" if position == 6 => LATER.into(),
        "places" if position.is_multiple_of(4) => SOONER.into(),
        "places of many" if position.is_multiple_of(7) => SOONER.into(),
        "open_sessions" | "pending_commands" | "zones" | "server" | "standings"
        | "many standings" => "server1".into(),
        "session" | "sessions_by_prefix" => session(7).id.to_string(),
        "sessions of a user lately" if position == 2 => SOONER.into(),
        "sessions of a day" if position == 0 => SOONER.into(),
        "sessions of a day" if position == 1 => LATER.into(),
        "sessions of a device" if position == 0 => "02:00:00:00:00:07".into(),
        "auth_events" if position == 1 => "one".into(),
        "auth_events" | "lockouts" | "old auth_events" => LATER.into(),
        "changes" if position == 0 => "1".into(),
        "ended" if position == 3 || position == 4 => "server1".into(),
        "ended" if position == 5 => session(7).id.to_string(),
        "expiring sessions" | "ended" | "old usage" | "activity" | "old activity" => LATER.into(),
        // Of each user: a number, six times, the name, number and name twice, a time.
        "usage" => match position % 13 {
            0 | 8 | 10 => "1".into(),
            1..=6 | 12 => LATER.into(),
            _ => "user7".into(),
        },
        // Of each: the day, three amounts, and the row as it was written.
        "usage of closed rows" => match position % 10 {
            0 | 6 => LATER.into(),
            4 => session(7).id.to_string(),
            _ => "1".into(),
        },
        "short spans" => span(position, SOONER),
        "long spans" => span(position, "86400"),
        "short spans of a user" if position >= 2 => span(position - 2, SOONER),
        "long spans of a user" if position >= 2 => span(position - 2, "86400"),
        _ => "user7".into(),
    }
}

pub async fn hot_queries_use_indexes(bed: Arc<Bed>) {
    fill(&bed).await;
    let mut raw = bed.raw().await;
    for (query, sql, parameters) in hot_queries(bed.backend == Backend::Sqlite) {
        let limited = sql.ends_with("LIMIT ?");
        let mut plan = Vec::new();
        match &mut raw {
            Raw::Sqlite(connection) => {
                let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
                let mut explain = sqlx::query(explain);
                for position in 0..parameters {
                    explain = explain.bind(sample(query, position));
                }
                for row in explain.fetch_all(connection).await.unwrap() {
                    let step: String = row.get("detail");
                    let whole = step.starts_with("SCAN") && !step.contains("INDEX");
                    plan.push((step, whole));
                }
            }
            Raw::MySql(connection) => {
                let explain = AssertSqlSafe(format!("EXPLAIN FORMAT=TRADITIONAL {sql}"));
                let mut explain = sqlx::query(explain);
                for position in 0..parameters - usize::from(limited) {
                    explain = explain.bind(sample(query, position));
                }
                if limited {
                    explain = explain.bind(50);
                }
                for row in explain.fetch_all(connection).await.unwrap() {
                    let text = |column: &str| {
                        let bytes: Option<Vec<u8>> = row.get_unchecked(column);
                        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
                    };
                    let key = text("key");
                    let access = text("type").unwrap_or_default();
                    let table = text("table").unwrap_or_default();
                    // The result of a union is as long as what was found, and no table.
                    let whole =
                        matches!(access.as_str(), "ALL" | "index") && !table.starts_with("<union");
                    plan.push((format!("{table} {access} {key:?}"), whole));
                }
            }
        }
        assert!(!plan.is_empty());
        for (step, whole) in &plan {
            assert!(!whole, "{query} reads a whole table: {step} in {plan:#?}");
        }
    }
}
