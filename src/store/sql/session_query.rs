//! The queries of session lists: one static text for each set of filters in use.

use super::Value;
use crate::store::SessionFilter;

/// Clauses in the order of their bits. MySQL's `=` ignores trailing spaces: hence the length.
const CLAUSES: [&str; 7] = [
    "ended_at IS NULL",
    "user_name = ? AND OCTET_LENGTH(user_name) = OCTET_LENGTH(?)",
    "server = ?",
    "device = ?",
    "cause = ?",
    "started_at >= ?",
    "started_at < ?",
];

/// The most rows one call returns.
const MOST: u32 = 10_000;

/// A query for each of the 128 combinations: a clause that is not wanted is not in the text,
/// because `(? IS NULL OR …)` would keep the database from using an index.
pub struct SessionQueries(Vec<String>);

impl SessionQueries {
    /// `head` is a SELECT without its WHERE.
    pub fn new(head: &'static str) -> Self {
        let query = |bits: usize| {
            let clauses: Vec<_> = CLAUSES
                .iter()
                .enumerate()
                .filter(|(bit, _)| bits >> bit & 1 == 1)
                .map(|(_, clause)| *clause)
                .collect();
            let filter = if clauses.is_empty() { "" } else { " WHERE " };
            let clauses = clauses.join(" AND ");
            format!("{head}{filter}{clauses} ORDER BY started_at DESC, id DESC LIMIT ?")
        };
        Self((0..1 << CLAUSES.len()).map(query).collect())
    }

    /// The query for a filter and its arguments.
    pub fn find(&'static self, filter: &SessionFilter) -> (&'static str, Vec<Value>) {
        let mut args = Vec::new();
        let mut bits = usize::from(!filter.ended);
        let mut add = |bit: usize, values: Option<Vec<Value>>| {
            if let Some(values) = values {
                bits |= 1 << bit;
                args.extend(values);
            }
        };
        let text = |text: &str| Value::from(text);
        add(1, filter.user.as_ref().map(|u| vec![text(u.as_str()); 2]));
        add(2, filter.server.as_ref().map(|s| vec![text(s.as_str())]));
        add(3, filter.device.as_ref().map(|d| vec![text(d)]));
        add(4, filter.cause.map(|c| vec![text(c.as_str())]));
        add(5, filter.since.map(|at| vec![at.into()]));
        add(6, filter.until.map(|at| vec![at.into()]));
        args.push(filter.limit.min(MOST).into());
        (self.0[bits].as_str(), args)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::types::{Cause, Timestamp};

    static QUERIES: LazyLock<SessionQueries> = LazyLock::new(|| SessionQueries::new("SELECT 1"));

    #[test]
    fn every_combination_has_as_many_placeholders_as_arguments() {
        for bits in 0..128u32 {
            let on = |bit: u32| bits >> bit & 1 == 1;
            let filter = SessionFilter {
                ended: on(0),
                user: on(1).then(|| "u".parse().unwrap()),
                server: on(2).then(|| "s".parse().unwrap()),
                device: on(3).then(|| "d".into()),
                cause: on(4).then_some(Cause::Idle),
                since: on(5).then_some(Timestamp::MAX),
                until: on(6).then_some(Timestamp::MAX),
                limit: 5,
            };
            let (sql, args) = QUERIES.find(&filter);
            assert_eq!(sql.matches('?').count(), args.len(), "{sql}");
            assert_eq!(sql.contains("ended_at IS NULL"), !filter.ended, "{sql}");
        }
    }
}
