//! What reports ask for: spans of sessions page by page, and sessions about to end.

use super::{Cells, Connector, Row, SqlStore, Value, record};
use crate::{
    store::{DeviceUse, SessionRecord, SessionSpan, SpanCursor, SpanPage, StoreError},
    types::{SessionId, Timestamp, Username},
};

/// Sessions of a day or more are looked for by their length, shorter ones by their start: so both
/// read little more than what overlaps the time asked for. The statements say the same in seconds.
const LONG: std::time::Duration = std::time::Duration::from_secs(86_400);
/// Rows of one page.
const PAGE: usize = 5_000;
/// The most sessions of one call.
const MOST: u32 = 10_000;

macro_rules! span_columns {
    () => {
        "SELECT id, user_name, started_at, updated_at, ended_at, duration_s, bytes_received, \
         bytes_sent FROM sessions WHERE "
    };
}
macro_rules! of_user {
    () => {
        "user_name = ? AND OCTET_LENGTH(user_name) = OCTET_LENGTH(?) AND "
    };
}
macro_rules! short {
    () => {
        "started_at >= ? AND started_at < ? AND duration_s < 86400 \
         AND COALESCE(ended_at, updated_at) >= ? AND (started_at > ? OR id > ?) \
         ORDER BY started_at, id LIMIT ?"
    };
}
macro_rules! long {
    () => {
        "duration_s >= ? AND started_at < ? AND COALESCE(ended_at, updated_at) >= ? \
         AND (duration_s > ? OR id > ?) ORDER BY duration_s, id LIMIT ?"
    };
}

pub const SHORT: &str = concat!(span_columns!(), short!());
pub const SHORT_OF_USER: &str = concat!(span_columns!(), of_user!(), short!());
pub const LONGER: &str = concat!(span_columns!(), long!());
pub const LONGER_OF_USER: &str = concat!(span_columns!(), of_user!(), long!());

/// The statement for a page of spans, and its arguments.
pub fn page(
    user: Option<&Username>,
    since: Timestamp,
    until: Timestamp,
    from: SpanCursor,
) -> (&'static str, Vec<Value>) {
    let mut args: Vec<Value> =
        user.map_or_else(Vec::new, |user| vec![Value::from(user.as_str()); 2]);
    let id = |id: Option<SessionId>| Value::from(id.map_or_else(String::new, |id| id.to_string()));
    let limit = Value::Int(PAGE as i64);
    match from {
        SpanCursor::Short { after } => {
            let (from, last) = after
                .map_or((since.saturating_sub(LONG), None), |(started, id)| (started, Some(id)));
            args.extend([from.into(), until.into(), since.into(), from.into(), id(last), limit]);
            (if user.is_some() { SHORT_OF_USER } else { SHORT }, args)
        }
        SpanCursor::Long { after } => {
            let (from, last) =
                after.map_or((LONG.as_secs(), None), |(seconds, id)| (seconds, Some(id)));
            args.extend([from.into(), until.into(), since.into(), from.into(), id(last), limit]);
            (if user.is_some() { LONGER_OF_USER } else { LONGER }, args)
        }
    }
}

impl<C: Connector> SqlStore<C> {
    pub async fn spans(
        &self,
        user: Option<&Username>,
        since: Timestamp,
        until: Timestamp,
        from: SpanCursor,
    ) -> Result<SpanPage, StoreError> {
        let (sql, args) = page(user, since, until, from);
        let rows = self.read(sql, args).await?;
        let spans: Vec<SessionSpan> = rows.iter().map(span).collect::<Result<_, _>>()?;
        let last = rows.last().filter(|_| rows.len() >= PAGE).zip(spans.last());
        let next = match (from, last) {
            (SpanCursor::Short { .. }, Some((_, span))) => {
                Some(SpanCursor::Short { after: Some((span.started_at, span.id)) })
            }
            (SpanCursor::Short { .. }, None) => Some(SpanCursor::Long { after: None }),
            (SpanCursor::Long { .. }, Some((row, span))) => {
                let seconds = Cells::new(row, "sessions", "id").some_number("duration_s")?;
                Some(SpanCursor::Long { after: Some((seconds, span.id)) })
            }
            (SpanCursor::Long { .. }, None) => None,
        };
        Ok(SpanPage { spans, next })
    }

    pub async fn expiring_sessions(
        &self,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let args = vec![until.into(), limit.min(MOST).into()];
        let rows = self.read(self.sql.expiring_sessions, args).await?;
        rows.iter().map(record::session).collect()
    }

    pub async fn device_uses(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<DeviceUse>, StoreError> {
        let args = vec![since.into(), limit.min(MOST).into()];
        let rows = self.read(self.sql.device_uses, args).await?;
        rows.iter().map(device_use).collect()
    }
}

fn device_use(row: &Row) -> Result<DeviceUse, StoreError> {
    let cells = Cells::new(row, "users", "name");
    let device = cells.owned("device")?;
    let registered = match cells.text("identifier")? {
        Some(identifier) if Some(identifier) == device.as_deref() => {
            Some(Cells::new(row, "devices", "identifier").some_parsed("status")?)
        }
        Some(_) | None => None,
    };
    Ok(DeviceUse {
        user: cells.some_parsed("name")?,
        device,
        registered,
        sessions: cells.some_number("sessions")?,
        last: cells.some_time("last_start")?,
    })
}

fn span(row: &Row) -> Result<SessionSpan, StoreError> {
    let cells = Cells::new(row, "sessions", "id");
    let ended_at = cells.time("ended_at")?;
    Ok(SessionSpan {
        id: cells.some_parsed("id")?,
        user: cells.some_parsed("user_name")?,
        started_at: cells.some_time("started_at")?,
        until: match ended_at {
            Some(at) => at,
            None => cells.some_time("updated_at")?,
        },
        is_open: ended_at.is_none(),
        bytes_received: cells.some_number("bytes_received")?,
        bytes_sent: cells.some_number("bytes_sent")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_as_many_placeholders_as_arguments() {
        let user: Username = "alice".parse().unwrap();
        let (at, id) = (Timestamp::from_secs(9), SessionId::new(Timestamp::MAX, [1; 10]));
        for user in [None, Some(&user)] {
            for cursor in [
                SpanCursor::default(),
                SpanCursor::Short { after: Some((at, id)) },
                SpanCursor::Long { after: None },
                SpanCursor::Long { after: Some((90_000, id)) },
            ] {
                let (sql, args) = page(user, at, Timestamp::MAX, cursor);
                assert_eq!(sql.matches('?').count(), args.len(), "{sql}");
                assert!(sql.contains("user_name = ?") == user.is_some(), "{sql}");
            }
        }
        assert!(SHORT.contains(&format!("duration_s < {} ", LONG.as_secs())));
    }
}
