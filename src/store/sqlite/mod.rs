//! SQLite, the embedded default: opening the file and migrating it.
//!
//! WAL, so that readers and the writer do not wait for each other; `synchronous = FULL`, because
//! a committed session or deadline has to survive a power cut and there are few commits.

mod connection;
mod error;
mod statements;

pub use statements::STATEMENTS;

use std::{
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection as _, SqliteConnection,
    migrate::{Migrate, MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{
    Traces, Watch,
    sql::{Connection, Connector, Known, SqlError, Statements},
    url::SqliteUrl,
};
use error::classify;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

const TABLE: &str = "_sqlx_migrations";

/// How long SQLite itself waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Size of a page, unless a file was made otherwise.
const PAGE_BYTES: u64 = 4_096;

/// How often it is asked again where SQLite does not wait.
const BUSY_TRIES: u32 = 100;

/// Memory of each connection for pages, as SQLite takes it: 1 MiB, half of what it takes by itself. The
/// system keeps pages, too. What a transaction changes stays in memory until it ends, which the size of a batch bounds;
/// migrations have no such bound.
const CACHE: &str = "-1024";

/// Pages in the log from which on they are brought into the file, 16 MiB: a storm writes the same pages again and again.
const CHECKPOINT: &str = "4000";

/// Rows that a connection's thread may be ahead of who reads them: with fewer the two wait for each other.
const ROWS: usize = 512;

/// What may become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is made where it is not there.
    Make,
    /// Nothing: one that is not there counts as an empty database.
    Look,
}

/// An SQLite file, or memory.
pub struct Sqlite {
    path: Option<PathBuf>,
    access: Access,
    options: SqliteConnectOptions,
}

impl Sqlite {
    pub fn new(url: &SqliteUrl, access: Access) -> Result<Self, SqlError> {
        // With a name that is shared by the connections of this store only.
        let memory = || "sqlite::memory:".parse::<SqliteConnectOptions>().map_err(classify);
        let (path, options) = match (url, access) {
            (SqliteUrl::Memory, _) => (None, memory()?),
            (SqliteUrl::File(path), Access::Make) => (
                Some(path.clone()),
                SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal),
            ),
            (SqliteUrl::File(path), Access::Look) if matches!(path.try_exists(), Ok(false)) => {
                (None, memory()?)
            }
            (SqliteUrl::File(path), Access::Look) => {
                (Some(path.clone()), SqliteConnectOptions::new().filename(path))
            }
        };
        let options = options
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", CACHE)
            .pragma("cache_spill", "OFF")
            .pragma("wal_autocheckpoint", CHECKPOINT)
            .row_buffer_size(ROWS)
            .disable_statement_logging();
        Ok(Self { path, access, options })
    }

    /// A file that grows to at most so many bytes, in pages; beyond it, it is full.
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        let pages = (bytes / PAGE_BYTES).max(1).to_string();
        self.options = self.options.pragma("max_page_count", pages);
        self
    }

    /// The file and its log.
    fn files(&self) -> Option<[PathBuf; 2]> {
        // SQLite writes beside what a link leads to.
        let path = std::fs::canonicalize(self.path.as_ref()?).ok()?;
        let mut log = path.clone().into_os_string();
        log.push("-wal");
        Some([path, log.into()])
    }
}

/// Makes the file for its owner only: it holds password hashes. SQLite's companion files take
/// over its mode.
fn prepare(path: &Path) -> Result<(), SqlError> {
    let failed =
        |error: std::io::Error| SqlError::Unavailable(format!("{}: {error}", path.display()));
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    if !parent.is_dir() {
        return Err(SqlError::Unavailable(format!(
            "the directory {} does not exist",
            parent.display()
        )));
    }
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {
            // A command run as root must not lock the daemon's user out. Anybody else may not give
            // files away, and need not.
            if let Ok(folder) = std::fs::metadata(parent) {
                let _ = std::os::unix::fs::chown(path, Some(folder.uid()), Some(folder.gid()));
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

impl Connector for Sqlite {
    type Connection = SqliteConnection;

    fn statements(&self) -> &'static Statements {
        &STATEMENTS
    }

    async fn connect(&self) -> Result<(SqliteConnection, u64), SqlError> {
        if let Some(path) = &self.path
            && self.access == Access::Make
        {
            prepare(path)?;
        }
        // Turning a new file to WAL does not wait for a process that does the same.
        let mut tries = 0;
        let error = loop {
            match self.options.connect().await.map_err(classify) {
                Ok(connection) => return Ok((connection, 0)),
                Err(SqlError::Conflict(_)) if tries < BUSY_TRIES => {
                    tries += 1;
                    tokio::time::sleep(BUSY_TIMEOUT / BUSY_TRIES).await;
                }
                Err(error) => break error,
            }
        };
        Err(match (error, &self.path) {
            (SqlError::Unavailable(text), Some(path)) => {
                SqlError::Unavailable(format!("{}: {text}", path.display()))
            }
            (SqlError::Corrupt(text), Some(path)) => {
                SqlError::Corrupt(format!("{}: {text}", path.display()))
            }
            (error, _) => error,
        })
    }

    fn generation(&self) -> u64 {
        0
    }

    fn abandon(&self, _generation: u64) -> bool {
        false
    }

    fn patience(&self) -> Option<Duration> {
        None
    }

    async fn examine(&self) {}

    async fn left(&self, _generation: u64) {
        std::future::pending().await
    }

    fn traces(&self) -> Option<Traces> {
        let [path, log] = self.files()?;
        let of = |path: &Path| {
            let file = std::fs::metadata(path).ok()?;
            let written =
                file.mtime().saturating_mul(1_000_000_000).saturating_add(file.mtime_nsec());
            Some((file.ino(), file.len(), written))
        };
        // There may be no log, where all of it is in the file.
        Some(Traces::Files([of(&path)?, of(&log).unwrap_or_default()]))
    }

    fn watch(&self, kept: Option<Watch>) -> Option<Watch> {
        Watch::on(kept, self.files()?.iter().map(PathBuf::as_path))
    }

    fn has_single_writer(&self) -> bool {
        true
    }

    fn migrations(&self) -> Vec<Known> {
        MIGRATIONS
            .iter()
            .map(|migration| Known {
                version: migration.version,
                name: migration.description.to_string(),
                checksum: migration.checksum.to_vec(),
            })
            .collect()
    }

    /// A migration is seen when it is done.
    async fn wait_for_migration(&self) -> Result<(), SqlError> {
        Ok(())
    }

    /// All in one transaction, which also keeps a second process waiting.
    async fn migrate(&self) -> Result<(), SqlError> {
        let options = self.options.clone().pragma("cache_spill", "ON");
        let unbounded = Self { path: self.path.clone(), access: self.access, options };
        let (mut connection, _) = unbounded.connect().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(classify)?;
        apply_missing(&mut transaction).await.map_err(|error| {
            if let MigrateError::Execute(error) = error {
                classify(error)
            } else {
                SqlError::Schema(error.to_string())
            }
        })?;
        transaction.commit().await.map_err(classify)?;
        Connection::close(connection).await;
        Ok(())
    }
}

async fn apply_missing(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    connection.ensure_migrations_table(TABLE).await?;
    let applied = connection.list_applied_migrations(TABLE).await?;
    for migration in MIGRATIONS.iter() {
        if applied.iter().all(|applied| applied.version != migration.version) {
            connection.apply(TABLE, migration).await?;
        }
    }
    Ok(())
}
