//! What a file of SQLite needs beside the rest to serve as a journal.

use super::{
    Attempt, Connector, Failure, SqlStore, Value, record,
    statements::{FIRST_SESSIONS, REMOVE_SESSION, REMOVE_USAGE, SESSIONS_OF_SERVER},
    transaction,
};
use crate::{
    store::{OpenSessions, SessionRecord, StoreError},
    types::ServerName,
};

/// Tells a journal from a database, in the header of the file.
const MARK: i64 = 0x4f57_4a31;
const SET_MARK: &str = "PRAGMA application_id = 1331120689";

impl<C: Connector> SqlStore<C> {
    pub async fn mark_as_journal(&self) -> Result<(), StoreError> {
        transaction!(self, Attempt::new(true, true), |tx| {
            tx.execute(SET_MARK, &[]).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn is_journal(&self) -> Result<bool, StoreError> {
        let rows = self.read("PRAGMA application_id", Vec::new()).await?;
        Ok(rows.iter().any(|row| row.values == [Value::Int(MARK)]))
    }

    pub async fn look_for_damage(&self) -> Result<(), StoreError> {
        let rows = self.read("PRAGMA quick_check(1)", Vec::new()).await?;
        let is_sound = rows.iter().all(|row| row.values == [Value::from("ok")]);
        is_sound.then_some(()).ok_or_else(|| StoreError::Corrupt("the file is damaged".into()))
    }

    pub async fn first_sessions(&self, limit: u32) -> Result<OpenSessions, StoreError> {
        let rows = self.read(FIRST_SESSIONS, vec![limit.into()]).await?;
        let mut first = OpenSessions::default();
        for row in rows.iter().map(record::session) {
            match row {
                Ok(session) => first.sessions.push(session),
                Err(error) => first.unreadable.push(error),
            }
        }
        Ok(first)
    }

    pub async fn sessions_of(&self, server: &ServerName) -> Result<Vec<SessionRecord>, StoreError> {
        let rows = self.read(SESSIONS_OF_SERVER, vec![server.as_str().into()]).await?;
        Ok(rows.iter().filter_map(|row| record::session(row).ok()).collect())
    }

    pub async fn remove_rows(&self, sessions: &[SessionRecord]) -> Result<(), StoreError> {
        let result: Result<(), Failure> = transaction!(self, Attempt::new(true, false), |tx| {
            for session in sessions {
                let args = [session.id.to_string().into(), session.version.into()];
                tx.execute(REMOVE_SESSION, &args).await?;
                let args = [session.user.as_str().into(), session.id.to_string().into()];
                tx.execute(REMOVE_USAGE, &args).await?;
            }
            Ok(())
        });
        result.map_err(StoreError::from)
    }
}
