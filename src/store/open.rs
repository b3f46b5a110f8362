//! From `[database]` to a store. Nothing is connected here: a daemon starts without its database.

use std::{path::PathBuf, sync::Arc, time::Duration};

use zeroize::Zeroizing;

use super::{
    Store, StoreError,
    mysql::MySql,
    sql::{Limits, SqlStore},
    sqlite::Access,
    sqlite::Sqlite,
    url::{DatabaseUrl, SqliteUrl},
};
use crate::types::Password;

/// How to reach a database.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sqlite:///path` or `mysql://user:password@host[:port],…/database?parameters`;
    /// `docs/schema.md` has the parameters. Secret, because it may hold a password.
    pub url: Password,
    /// The most connections at a time, at least 1; SQLite uses at most 4.
    pub max_connections: u32,
    /// How long connecting to one host may take, and how long a call waits for one of the
    /// connections to become free.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// Told how long each call of the daemon took, by its name: a word of a closed set.
    pub observe: fn(&'static str, Duration),
}

impl Options {
    /// The defaults for a URL: 10 connections, 3 s to connect, 5 s for a statement.
    pub fn new(url: Password) -> Self {
        Self {
            url,
            max_connections: 10,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
            observe: |_, _| {},
        }
    }
}

/// SQLite has one writer; more readers than this do not make it faster.
const SQLITE_CONNECTIONS: usize = 4;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// SQLite in memory: gone with the process.
    Memory,
    /// An SQLite file, which need not be there yet.
    File(PathBuf),
    /// MySQL or MariaDB.
    Server,
}

/// Where the database of a URL is; asks nobody.
///
/// # Errors
/// [`StoreError::Url`] when the URL is not one.
pub fn location(url: &Password) -> Result<Location, StoreError> {
    Ok(match parse(url)? {
        DatabaseUrl::Sqlite(SqliteUrl::Memory) => Location::Memory,
        DatabaseUrl::Sqlite(SqliteUrl::File(path)) => Location::File(path),
        DatabaseUrl::MySql(_) => Location::Server,
    })
}

/// What a URL has in it that others must not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// A password.
    pub has_password: bool,
    /// The file of a private key.
    pub key: Option<PathBuf>,
}

/// What of a URL others must not read; asks nobody.
///
/// # Errors
/// [`StoreError::Url`] when the URL is not one.
pub fn secrets(url: &Password) -> Result<Secrets, StoreError> {
    Ok(match parse(url)? {
        DatabaseUrl::Sqlite(_) => Secrets::default(),
        DatabaseUrl::MySql(url) => Secrets {
            has_password: url.password.is_some(),
            key: url.ssl_key.as_ref().map(PathBuf::from),
        },
    })
}

fn parse(url: &Password) -> Result<DatabaseUrl, StoreError> {
    let bad = |text: &str| StoreError::Url(text.to_owned());
    let url = std::str::from_utf8(url.expose()).map_err(|_| bad("it is not UTF-8"))?;
    let url = Zeroizing::new(url.trim().to_owned());
    DatabaseUrl::parse(&url).map_err(StoreError::Url)
}

/// A store that connects when it is first used, again and again.
///
/// # Errors
/// [`StoreError::Url`] when the URL is not one.
pub fn open(options: &Options) -> Result<Arc<dyn Store>, StoreError> {
    open_with(options, Access::Make)
}

/// [`open`] for questions only: an SQLite file that is not there is not made, and counts as an
/// empty database.
///
/// # Errors
/// [`StoreError::Url`] when the URL is not one.
pub fn open_to_look(options: &Options) -> Result<Arc<dyn Store>, StoreError> {
    open_with(options, Access::Look)
}

fn open_with(options: &Options, access: Access) -> Result<Arc<dyn Store>, StoreError> {
    let connections = usize::try_from(options.max_connections).unwrap_or(usize::MAX).max(1);
    let limits = |connections: usize| Limits {
        connections: connections.min(1_000),
        acquire: options.connect_timeout,
        statement: options.statement_timeout,
    };
    match parse(&options.url)? {
        DatabaseUrl::Sqlite(url) => {
            let connections = connections.min(SQLITE_CONNECTIONS);
            let sqlite = Sqlite::new(&url, access)?;
            Ok(Arc::new(SqlStore::new(sqlite, limits(connections), options.observe)))
        }
        DatabaseUrl::MySql(url) => Ok(Arc::new(SqlStore::new(
            MySql::new(&url, options.connect_timeout),
            limits(connections),
            options.observe,
        ))),
    }
}
