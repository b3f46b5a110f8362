//! MySQL and MariaDB: connecting, fail-over between hosts, migrations.
//!
//! Several hosts are tried in their order; the first that answers and takes writes is used until
//! it is lost, turns read-only or is found to be of no use, and then the search goes on with the one
//! after it. When all that answer are read-only (a fail-over is under way), the first of them serves reads.

mod connection;
mod error;
mod files;
mod fitness;
mod migrate;
mod statements;

pub use statements::STATEMENTS;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use sqlx::{
    ConnectOptions, MySqlConnection,
    mysql::{MySqlConnectOptions, MySqlSslMode},
};
use tokio::{sync::watch, time::timeout};

use self::{files::Files, fitness::Fitness};
use super::{
    Traces, Watch,
    sql::{Connection, Connector, Known, SqlError, Statements},
    url::{MySqlUrl, SslMode},
};

/// Sent on every new connection. A lock is waited for shorter than a statement may take, and
/// row locks shorter than locks on whole tables. Joined rows of `user_config` are longer than
/// the usual 1,024 bytes. Of a daemon whose machine is gone the server hears nothing: it is to give up, before hours are over, a
/// transaction that holds what others wait for (MariaDB soon, MySQL a little after this pool would have closed the connection). MySQL tells when a table was written last, and not when it was a day ago; MariaDB passes
/// over that, and TiDB takes it.
const SESSION: [&str; 2] = [
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,\
     ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
     /*!80000 information_schema_stats_expiry = 0, */ /*M!100300 idle_write_transaction_timeout = 20, */ wait_timeout = 330, innodb_lock_wait_timeout = 3, lock_wait_timeout = 10, group_concat_max_len = 65536",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];

/// A statement that takes longer, where there is another host, has its server looked at.
const PATIENCE: Duration = Duration::from_secs(1);

struct Host {
    name: String,
    options: MySqlConnectOptions,
}

/// Connects to the first usable of some hosts.
pub struct MySql {
    hosts: Vec<Host>,
    /// Where the last connection was made, or the next is to be.
    current: AtomicUsize,
    generation: watch::Sender<u64>,
    files: Files,
    /// For one host: all together take no longer than one alone may.
    timeout: Duration,
}

impl MySql {
    pub fn new(url: &MySqlUrl, timeout: Duration) -> Self {
        let hosts: Vec<_> = url
            .hosts
            .iter()
            .map(|(host, port)| Host {
                name: url.socket.clone().unwrap_or_else(|| format!("{host}:{port}")),
                options: options(url, host, *port),
            })
            .collect();
        let share = u32::try_from(hosts.len()).unwrap_or(u32::MAX).max(1);
        Self {
            hosts,
            current: AtomicUsize::new(0),
            generation: watch::Sender::new(0),
            files: Files::of(url),
            timeout: timeout / share,
        }
    }

    /// Connects to one host; also says whether it takes writes, where that makes a difference.
    async fn open(&self, host: &Host) -> Result<(MySqlConnection, Fitness), SqlError> {
        let open = async {
            let mut connection = match host.options.connect().await {
                Ok(connection) => connection,
                Err(error) => match self.files.blame(&error).await {
                    Some(text) => return Err(SqlError::Unavailable(text)),
                    None => return Err(error::classify(error)),
                },
            };
            for statement in SESSION {
                connection.command(statement).await?;
            }
            let fitness = if self.hosts.len() == 1 {
                Fitness::Writes
            } else {
                fitness::ask(&mut connection).await?
            };
            Ok((connection, fitness))
        };
        let failed = |text: String| SqlError::Unavailable(format!("{}: {text}", host.name));
        match timeout(self.timeout, open).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => Err(failed(match error {
                SqlError::Lost(text) | SqlError::Unavailable(text) | SqlError::Refused(text) => {
                    text
                }
                error @ (SqlError::Unique
                | SqlError::ForeignKey
                | SqlError::Null
                | SqlError::Conflict(_)
                | SqlError::ReadOnly(_)
                | SqlError::Schema(_)
                | SqlError::Collation(_)
                | SqlError::NotUpdatable(_)
                | SqlError::Corrupt(_)) => super::StoreError::from(error).to_string(),
            })),
            Err(_) => Err(failed(format!("no answer within {} ms", self.timeout.as_millis()))),
        }
    }

    /// Connections of that generation are of the past; whether they were not yet.
    fn go_on_from(&self, generation: u64) -> bool {
        self.generation.send_if_modified(|now| {
            let is_present = *now == generation;
            *now += u64::from(is_present);
            is_present
        })
    }

    /// Connections to another host than this are of the past; returns the new generation.
    fn settle(&self, index: usize) -> u64 {
        if self.current.swap(index, Ordering::AcqRel) == index {
            self.generation()
        } else {
            let mut settled = 0;
            self.generation.send_modify(|generation| {
                *generation += 1;
                settled = *generation;
            });
            settled
        }
    }
}

impl Connector for MySql {
    type Connection = MySqlConnection;

    fn statements(&self) -> &'static Statements {
        &STATEMENTS
    }

    async fn connect(&self) -> Result<(MySqlConnection, u64), SqlError> {
        let (before, from) = self.hosts.split_at(self.current.load(Ordering::Acquire));
        // The one in use first: a lost connection does not mean a lost server.
        let (before, from) = (before.iter().enumerate(), (before.len()..).zip(from));
        let mut reader = None;
        let mut errors = Vec::new();
        for (index, host) in from.chain(before) {
            match self.open(host).await {
                Ok((connection, Fitness::Writes)) => {
                    return Ok((connection, self.settle(index)));
                }
                Ok((connection, Fitness::Reads)) => {
                    reader.get_or_insert((index, connection));
                }
                Ok((_, Fitness::Nothing(why))) => errors.push(format!("{}: {why}", host.name)),
                Err(SqlError::Unavailable(text)) => errors.push(text),
                Err(error) => return Err(error),
            }
        }
        match reader {
            Some((index, connection)) => Ok((connection, self.settle(index))),
            None => Err(SqlError::Unavailable(errors.join("; "))),
        }
    }

    fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    fn abandon(&self, generation: u64) -> bool {
        self.go_on_from(generation);
        self.hosts.len() > 1
    }

    fn patience(&self) -> Option<Duration> {
        (self.hosts.len() > 1).then_some(PATIENCE)
    }

    async fn examine(&self) {
        let generation = self.generation();
        let current = self.current.load(Ordering::Acquire);
        let Some(host) = self.hosts.get(current) else { return };
        if let Ok((connection, Fitness::Writes)) = self.open(host).await {
            connection.close().await;
            return;
        }
        // Somebody may have gone elsewhere meanwhile.
        if self.go_on_from(generation) {
            let next = (current + 1) % self.hosts.len();
            let (order, failed) = (Ordering::AcqRel, Ordering::Acquire);
            let _ = self.current.compare_exchange(current, next, order, failed);
        }
    }

    async fn left(&self, generation: u64) {
        // It fails only without a sender, which is here.
        let _ = self.generation.subscribe().wait_for(|now| *now != generation).await;
    }

    fn traces(&self) -> Option<Traces> {
        None
    }

    fn watch(&self, _kept: Option<Watch>) -> Option<Watch> {
        None
    }

    fn has_single_writer(&self) -> bool {
        false
    }

    fn migrations(&self) -> Vec<Known> {
        migrate::known()
    }

    async fn wait_for_migration(&self) -> Result<(), SqlError> {
        migrate::wait(self.connect().await?.0).await
    }

    async fn migrate(&self) -> Result<(), SqlError> {
        migrate::run(self.connect().await?.0).await
    }
}

fn options(url: &MySqlUrl, host: &str, port: u16) -> MySqlConnectOptions {
    let mut options = MySqlConnectOptions::new()
        .host(host)
        .port(port)
        .username(&url.user)
        .database(&url.database)
        // `sql_mode` is set as a whole.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .ssl_mode(match url.ssl_mode_for(host) {
            SslMode::Disabled => MySqlSslMode::Disabled,
            SslMode::Preferred => MySqlSslMode::Preferred,
            SslMode::Required => MySqlSslMode::Required,
            SslMode::VerifyCa => MySqlSslMode::VerifyCa,
            SslMode::VerifyIdentity => MySqlSslMode::VerifyIdentity,
        })
        .disable_statement_logging();
    if let Some(password) = &url.password {
        options = options.password(password);
    }
    if let Some(file) = &url.ssl_ca {
        options = options.ssl_ca(file);
    }
    if let Some(file) = &url.ssl_cert {
        options = options.ssl_client_cert(file);
    }
    if let Some(file) = &url.ssl_key {
        options = options.ssl_client_key(file);
    }
    if let Some(path) = &url.socket {
        options = options.socket(path);
    }
    options
}
