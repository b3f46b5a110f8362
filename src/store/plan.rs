//! The queries that have to stay fast on ten million sessions, for the test that asks each
//! database how it would run them.

use super::{
    SessionFilter, SpanCursor, mysql,
    sql::{Statements, Value, spans_page},
    sqlite,
};
use crate::types::Timestamp;

/// Name, text and number of parameters of each query.
#[doc(hidden)]
pub fn hot_queries(is_sqlite: bool) -> Vec<(&'static str, &'static str, usize)> {
    let sql: &'static Statements = if is_sqlite { &sqlite::STATEMENTS } else { &mysql::STATEMENTS };
    let count = |text: &'static str| text.matches('?').count();
    let mut queries: Vec<_> = [
        ("facts", sql.facts),
        ("user", sql.user),
        ("open_sessions", sql.open_sessions),
        ("zones", sql.zones),
        ("server", sql.server),
        ("changes", sql.changes),
        ("session", sql.session),
        ("sessions_by_prefix", sql.sessions_by_prefix),
        ("expiring sessions", sql.expiring_sessions),
        ("ended", sql.ended),
        ("old usage", sql.old_usage),
        ("auth_events", sql.auth_events),
        ("old auth_events", sql.remove_auth_events),
        ("lockouts", sql.lockouts),
        ("auth_events of a user", sql.auth_events_of),
        ("audit of a target", sql.audited_target),
        ("activity", sql.activity),
        ("old activity", sql.remove_activity),
        ("radacct of a user", "SELECT * FROM radacct WHERE username = ?"),
        ("session_notices", "SELECT * FROM session_notices"),
        ("radacct, open", "SELECT * FROM radacct WHERE acctstoptime IS NULL"),
    ]
    .into_iter()
    .map(|(name, text)| (name, text, count(text)))
    .collect();
    for (text, servers) in sql.standings.split(&[(); 4]) {
        queries.push(("standings", text, servers.len()));
    }
    for (text, servers) in sql.many_standings.split(&[(); 4]) {
        queries.push(("many standings", text, servers.len()));
    }
    for (text, servers) in sql.pending_commands.split(&[(); 4]) {
        queries.push(("pending_commands", text, servers.len()));
    }
    for (text, _) in sql.standings_of.split(&[(); 4]) {
        queries.push(("standings of users", text, count(text)));
    }
    for (text, _) in sql.usage.split(&[(); 3]) {
        queries.push(("usage", text, count(text)));
    }
    for (text, _) in sql.add_usage.split(&[(); 2]) {
        // What is inserted.
        let from = text.find("SELECT").unwrap_or_default();
        let text = &text[from..text.rfind(" ON ").unwrap_or(text.len())];
        queries.push(("usage of closed rows", text, count(text)));
    }
    for (name, users) in [("places", 1), ("places of many", 2)] {
        let (text, _) = sql.places.fitting(users);
        queries.push((name, text, count(text)));
    }
    if let Some(many) = sql.facts_of_many {
        let (text, _) = many.fitting(2);
        queries.push(("facts of many", text, count(text)));
    }
    // Without what the server says of its own tables.
    queries.extend(sql.pulse.split_once(" UNION ALL ").map(|(_, tails)| ("pulse", tails, 0)));
    let name = |name: &str| name.parse().ok();
    let open = SessionFilter::default();
    let of_user = SessionFilter { user: name("alice"), ended: true, ..SessionFilter::default() };
    let since = Some(Timestamp::MAX);
    let of_user_lately = SessionFilter { since, ..of_user.clone() };
    let of_device =
        SessionFilter { device: Some(String::new()), ended: true, ..SessionFilter::default() };
    let of_a_day = SessionFilter {
        since: Some(Timestamp::MAX),
        until: Some(Timestamp::MAX),
        ended: true,
        ..SessionFilter::default()
    };
    for (name, filter) in [
        ("sessions, open", open),
        ("sessions of a user", of_user),
        ("sessions of a user lately", of_user_lately),
        ("sessions of a device", of_device),
        ("sessions of a day", of_a_day),
    ] {
        let (text, args): (_, Vec<Value>) = sql.sessions.find(&filter);
        queries.push((name, text, args.len()));
    }
    let alice = name("alice");
    let long = SpanCursor::Long { after: None };
    for (name, user, cursor) in [
        ("short spans", None, SpanCursor::default()),
        ("short spans of a user", alice.as_ref(), SpanCursor::default()),
        ("long spans", None, long),
        ("long spans of a user", alice.as_ref(), long),
    ] {
        let (text, args) = spans_page(user, Timestamp::MAX, Timestamp::MAX, cursor);
        queries.push((name, text, args.len()));
    }
    queries
}
