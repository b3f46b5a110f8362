//! Sessions: written in batches by the daemon that holds them, read by everyone.

use std::collections::BTreeMap;

use super::{
    Attempt, Connector, Failure, SqlError, SqlStore, audit_row,
    record::{self, push_session},
    transaction,
    usage::push_share,
};
use crate::{
    store::{Actor, DayShare, SessionFilter, SessionRecord, SessionState, StoreError},
    types::{Cause, SessionId, Timestamp},
};

/// Columns of `persist`.
const COLUMNS: usize = 29;
/// Parameters of one share in `add_usage`.
const SHARE: usize = 10;

impl<C: Connector> SqlStore<C> {
    pub async fn persist(&self, sessions: &[SessionRecord]) -> Result<(), StoreError> {
        // One row per id, its newest; in the order of ids, so that two writers lock in one order.
        let mut newest: BTreeMap<SessionId, &SessionRecord> = BTreeMap::new();
        for session in sessions {
            let slot = newest.entry(session.id).or_insert(session);
            if session.version > slot.version {
                *slot = session;
            }
        }
        let newest: Vec<&SessionRecord> = newest.into_values().collect();
        match self.write_sessions(&newest).await {
            Err(Failure::Sql(SqlError::Unique | SqlError::Null)) => {}
            Err(failure) => return Err(failure.into()),
            Ok(()) => return Ok(()),
        }
        // One of them is there under another id. It must not keep the others from being written.
        let mut refused = None;
        for session in &newest {
            match self.write_sessions(std::slice::from_ref(session)).await {
                Ok(()) => {}
                Err(Failure::Sql(SqlError::Unique | SqlError::Null)) => {
                    refused.get_or_insert(*session);
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        refused.map_or(Ok(()), |session| {
            Err(StoreError::Exists(format!(
                "a session of server `{}` with client id {} that started at {} (not {})",
                session.server, session.cid, session.started_at, session.id
            )))
        })
    }

    async fn write_sessions(&self, sessions: &[&SessionRecord]) -> Result<(), Failure> {
        let runs = self.sql.persist.split(sessions);
        let used: Vec<(&SessionRecord, DayShare)> = sessions
            .iter()
            .filter(|session| session.state == SessionState::Closed)
            .flat_map(|session| session.shares().into_iter().map(|share| (*session, share)))
            .collect();
        let used = self.sql.add_usage.split(&used);
        transaction!(self, Attempt::new(true, runs.len() + used.len() <= 1), |tx| {
            for (sql, run) in &runs {
                let mut args = Vec::with_capacity(run.len() * COLUMNS);
                for session in *run {
                    push_session(&mut args, session);
                }
                tx.execute(sql, &args).await?;
            }
            for (sql, run) in &used {
                let mut args = Vec::with_capacity(run.len() * SHARE);
                for (session, share) in *run {
                    push_share(&mut args, session, share);
                }
                tx.execute(sql, &args).await?;
            }
            Ok(())
        })
    }

    pub async fn close_session(
        &self,
        id: SessionId,
        seen_before: Timestamp,
        by: &Actor,
    ) -> Result<SessionRecord, StoreError> {
        let text = id.to_string();
        let audit = audit_row(by, "session.close", &text, None);
        transaction!(self, Attempt::new(false, false), |tx| {
            let rows = tx.fetch(self.sql.session, &[text.as_str().into()]).await?;
            let Some(row) = rows.first() else {
                return Err(StoreError::NotFound(format!("session `{id}`")).into());
            };
            let mut session = record::session(row)?;
            if session.state == SessionState::Closed {
                return Err(StoreError::Ended.into());
            }
            let server = tx.fetch(self.sql.server, &[session.server.as_str().into()]).await?;
            let seen = Self::seen_in_run(&server, session.run_started)?;
            session.updated_at = session.updated_at.max(seen.unwrap_or_default());
            if session.updated_at >= seen_before {
                return Err(StoreError::InUse(format!("session `{id}`")).into());
            }
            session.version = session.version.saturating_add(1);
            session.state = SessionState::Closed;
            session.ended_at = Some(session.updated_at);
            session.cause = Some(session.cause.unwrap_or(Cause::Unknown));
            let mut args = Vec::with_capacity(COLUMNS);
            push_session(&mut args, &session);
            for (sql, _) in self.sql.persist.split(&[()]) {
                tx.execute(sql, &args).await?;
            }
            for (sql, shares) in self.sql.add_usage.split(&session.shares()) {
                let mut args = Vec::new();
                shares.iter().for_each(|share| push_share(&mut args, &session, share));
                tx.execute(sql, &args).await?;
            }
            tx.execute(self.sql.audit, &audit).await?;
            Ok(session)
        })
        .map_err(StoreError::from)
    }

    pub async fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionRecord>, StoreError> {
        let (sql, args) = self.sql.sessions.find(filter);
        let rows = self.read(sql, args).await?;
        rows.iter().map(record::session).collect()
    }

    pub async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let rows = self.read(self.sql.session, vec![id.to_string().into()]).await?;
        rows.first().map(record::session).transpose()
    }

    pub async fn sessions_by_prefix(&self, prefix: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let prefix = prefix.to_ascii_lowercase();
        if !prefix.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            return Ok(Vec::new());
        }
        // `g` comes after every character of an id.
        let args = vec![prefix.as_str().into(), format!("{prefix}g").into()];
        let rows = self.read(self.sql.sessions_by_prefix, args).await?;
        rows.iter().map(record::session).collect()
    }
}
