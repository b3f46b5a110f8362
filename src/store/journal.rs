//! Session rows that wait on disk for the database: shell.
//!
//! The journal is an SQLite file of the same schema as the embedded database, of which only
//! `sessions` is used: rows are written by the same versioned upserts, migrated with the program
//! and read back whole. WAL with `synchronous = FULL`: a row that was appended survives a power
//! cut. WAL frames carry checksums, pages of the file do not; each opening looks for damage.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Mutex;

use super::{
    OpenSessions, Schema, SessionRecord, StoreError,
    sql::{Limits, SqlStore},
    sqlite::{Access, Sqlite},
    url::SqliteUrl,
};
use crate::{
    fail_point::fail_point,
    types::{ServerName, Timestamp},
};

/// How long a statement, or the wait for another process, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// One reads, one writes.
const CONNECTIONS: usize = 2;

/// A file of session rows. Several processes may share it.
pub struct Journal {
    path: PathBuf,
    max_bytes: u64,
    store: Mutex<Option<Arc<SqlStore<Sqlite>>>>,
}

impl Journal {
    /// A journal at `path`, opened when it is first used; the file grows to at most `max_bytes`.
    pub const fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes, store: Mutex::const_new(None) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file, or makes it. A damaged one is set aside under another name, with the error
    /// that says so; the next call begins a new one.
    ///
    /// # Errors
    /// [`StoreError`], with the path.
    pub async fn open(&self, now: Timestamp) -> Result<(), StoreError> {
        match self.store().await {
            Err(StoreError::Corrupt(text)) => Err(self.set_aside(&text, now).await),
            opened => opened.map(drop),
        }
    }

    /// Takes rows in, all or none; of each session the newest version stays.
    ///
    /// # Errors
    /// [`StoreError`]; `Unavailable` when it is full.
    pub async fn append(&self, rows: &[SessionRecord]) -> Result<(), StoreError> {
        self.store().await?.persist(rows).await.map_err(|error| self.named(error))
    }

    /// A server's rows in it, those that can be read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_server(&self, server: &ServerName) -> Result<Vec<SessionRecord>, StoreError> {
        self.store().await?.sessions_of(server).await.map_err(|error| self.named(error))
    }

    /// Some of its rows, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first(&self, limit: u32) -> Result<OpenSessions, StoreError> {
        self.store().await?.first_sessions(limit).await.map_err(|error| self.named(error))
    }

    /// Removes rows, except those that have a newer version by now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove(&self, rows: &[SessionRecord]) -> Result<(), StoreError> {
        self.store().await?.remove_rows(rows).await.map_err(|error| self.named(error))
    }

    /// Puts the file away under another name, for a person to look at; the error that says so.
    pub async fn set_aside(&self, problem: &str, now: Timestamp) -> StoreError {
        self.close().await;
        let name = |end: &str| {
            let mut name = self.path.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        };
        let aside = format!(".damaged-{}", now.as_secs());
        let moved = std::fs::rename(&self.path, name(&aside));
        for companion in ["-wal", "-shm"] {
            // They may not be there.
            let _ = std::fs::rename(name(companion), name(&format!("{aside}{companion}")));
        }
        let path = self.path.display();
        StoreError::Corrupt(match moved {
            Ok(()) => format!("{path}: {problem}; it is set aside as {}", name(&aside).display()),
            Err(error) => format!("{path}: {problem}; it cannot be set aside: {error}"),
        })
    }

    /// Closes the file; the next use opens it again.
    pub async fn close(&self) {
        if let Some(store) = self.store.lock().await.take() {
            super::Store::close(&*store).await;
        }
    }

    async fn store(&self) -> Result<Arc<SqlStore<Sqlite>>, StoreError> {
        let mut slot = self.store.lock().await;
        if let Some(store) = &*slot {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(self.begin().await.map_err(|error| self.named(error))?);
        *slot = Some(Arc::clone(&store));
        Ok(store)
    }

    /// Opens the file, and refuses one that is something else: its rows would be taken away.
    async fn begin(&self) -> Result<SqlStore<Sqlite>, StoreError> {
        let file = Sqlite::new(&SqliteUrl::File(self.path.clone()), Access::Make)?
            .with_max_bytes(self.max_bytes);
        let limits = Limits { connections: CONNECTIONS, acquire: PATIENCE, statement: PATIENCE };
        // Its calls are not the database's.
        let store = SqlStore::new(file, limits, |_, _| {});
        match store.schema().await? {
            Schema::Missing => {
                store.mark_as_journal().await?;
                fail_point("journal.marked");
            }
            Schema::Current | Schema::Behind(_) | Schema::Ahead(_) | Schema::Broken(_) => {
                if !store.is_journal().await? {
                    return Err(StoreError::Refused("it is no journal; use another path".into()));
                }
                store.look_for_damage().await?;
            }
        }
        store.migrate(false).await?;
        fail_point("journal.begun");
        Ok(store)
    }

    /// The error with the path, unless it has it.
    fn named(&self, error: StoreError) -> StoreError {
        let path = self.path.display().to_string();
        let with = |text: String| match text.contains(&path) {
            true => text,
            false => format!("{path}: {text}"),
        };
        match error {
            StoreError::Unavailable(text) => StoreError::Unavailable(with(text)),
            StoreError::Refused(text) => StoreError::Refused(with(text)),
            StoreError::Schema(text) => StoreError::Schema(with(text)),
            StoreError::Corrupt(text) => StoreError::Corrupt(text),
            other @ (StoreError::Url(_)
            | StoreError::NotFound(_)
            | StoreError::Exists(_)
            | StoreError::InUse(_)
            | StoreError::Ended) => other,
        }
    }
}
