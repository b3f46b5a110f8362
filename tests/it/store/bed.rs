//! A database of its own for each test, dropped at its end.

use std::{future::Future, num::NonZeroU32, sync::Arc, time::Duration};

use ovpn_warden::{
    store::{
        Actor, DayMarks, DeviceStatus, NewDevice, NewUser, Options, SessionRecord, SessionState,
        Store, open,
    },
    types::{Cid, DeviceId, ExpiryAction, Password, SessionId, Timestamp, Username},
};
use sqlx::{
    AssertSqlSafe, Connection, MySqlConnection, Row, SqliteConnection, mysql::MySqlConnectOptions,
};

/// Where a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    MariaDb,
    MySql,
}

impl Backend {
    /// The URL of the server, ending in `/`.
    pub fn server(self) -> String {
        let variable = match self {
            Self::Sqlite => unreachable!("SQLite has no server"),
            Self::MariaDb => "WARDEN_TEST_MARIADB_URL",
            Self::MySql => "WARDEN_TEST_MYSQL_URL",
        };
        std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: run `make test`, which starts one"))
    }
}

/// A database and a store on it.
pub struct Bed {
    pub backend: Backend,
    pub url: String,
    pub store: Arc<dyn Store>,
    pub database: String,
    _folder: tempfile::TempDir,
}

impl Bed {
    async fn new(backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("warden_{}", uuid::Uuid::now_v7().simple());
        let url = match backend {
            Backend::Sqlite => format!("sqlite://{}/warden.db", folder.path().display()),
            Backend::MariaDb | Backend::MySql => {
                let mut server = server(backend).await;
                run(&mut server, &format!("CREATE DATABASE {database}")).await;
                format!("{}{database}", backend.server())
            }
        };
        Self { backend, store: store(&url), url, database, _folder: folder }
    }

    async fn remove(&self) {
        self.store.close().await;
        if self.backend != Backend::Sqlite {
            let mut server = server(self.backend).await;
            run(&mut server, &format!("DROP DATABASE {}", self.database)).await;
        }
    }

    /// A second store on the same database, as another daemon would have.
    pub fn second(&self) -> Arc<dyn Store> {
        store(&self.url)
    }

    pub async fn raw(&self) -> Raw {
        match self.backend {
            Backend::Sqlite => {
                let url = format!("{}?mode=rwc", self.url);
                Raw::Sqlite(SqliteConnection::connect(&url).await.unwrap())
            }
            Backend::MariaDb | Backend::MySql => {
                Raw::MySql(MySqlConnection::connect(&self.url).await.unwrap())
            }
        }
    }

    /// Runs statements past the store.
    pub async fn sql(&self, statements: &str) {
        self.raw().await.run(statements).await;
    }

    /// The first column of a query, as text.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        self.raw().await.texts(query).await
    }

    pub async fn add_user(&self, name: &str) {
        self.store.add_user(&new_user(name), &by()).await.unwrap();
    }

    pub async fn add_device(&self, user: &str, device: &str) {
        let device = NewDevice {
            user: name(user),
            id: id(device),
            label: None,
            status: DeviceStatus::Approved,
            valid_until: None,
        };
        self.store.add_device(&device, &by()).await.unwrap();
    }
}

/// A connection without the store.
pub enum Raw {
    Sqlite(SqliteConnection),
    MySql(MySqlConnection),
}

impl Raw {
    pub async fn run(&mut self, statements: &str) {
        match self {
            Self::Sqlite(c) => {
                let query = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
                query.execute(c).await.unwrap();
            }
            Self::MySql(c) => run(c, statements).await,
        }
    }

    pub async fn texts(&mut self, text: &str) -> Vec<String> {
        let mut query = sqlx::raw_sql(AssertSqlSafe(text.to_owned()));
        match self {
            Self::Sqlite(c) => {
                let rows = query.fetch_all(c).await.unwrap();
                rows.iter().map(|row| row.get_unchecked(0)).collect()
            }
            Self::MySql(c) => {
                let rows = loop {
                    match query.fetch_all(&mut *c).await {
                        Ok(rows) => break rows,
                        // The server's own list of processes fails on somebody's binary argument.
                        Err(sqlx::Error::Database(error))
                            if error.message().contains("utf8mb3") => {}
                        Err(error) => panic!("{error}"),
                    }
                    query = sqlx::raw_sql(AssertSqlSafe(text.to_owned()));
                };
                let text = |row| String::from_utf8(Row::get_unchecked::<Vec<u8>, _>(row, 0));
                rows.iter().map(|row| text(row).unwrap()).collect()
            }
        }
    }
}

async fn run(connection: &mut MySqlConnection, statements: &str) {
    let query = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
    query.execute(connection).await.unwrap();
}

/// A connection to the server, in no database.
async fn server(backend: Backend) -> MySqlConnection {
    let url: String = backend.server();
    let options: MySqlConnectOptions = url.trim_end_matches('/').parse().unwrap();
    MySqlConnection::connect_with(&options).await.unwrap()
}

/// Runs a test on a migrated database of its own.
pub async fn with<F, Run>(backend: Backend, test: F)
where
    F: FnOnce(Arc<Bed>) -> Run,
    Run: Future<Output = ()> + Send + 'static,
{
    with_empty(
        backend,
        async |bed| {
            bed.store.migrate(false).await.unwrap();
            bed
        },
        test,
    )
    .await;
}

/// The same without any table.
pub async fn unmigrated<F, Run>(backend: Backend, test: F)
where
    F: FnOnce(Arc<Bed>) -> Run,
    Run: Future<Output = ()> + Send + 'static,
{
    with_empty(backend, async |bed| bed, test).await;
}

async fn with_empty<F, Run>(
    backend: Backend,
    prepare: impl AsyncFnOnce(Arc<Bed>) -> Arc<Bed>,
    test: F,
) where
    F: FnOnce(Arc<Bed>) -> Run,
    Run: Future<Output = ()> + Send + 'static,
{
    let bed = prepare(Arc::new(Bed::new(backend).await)).await;
    // In a task of its own, so that the database is dropped when it panics, too.
    let outcome = tokio::spawn(test(Arc::clone(&bed))).await;
    bed.remove().await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

pub fn options(url: &str) -> Options {
    Options {
        // Two tests share a slow machine; the tests of time limits set their own.
        connect_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(30),
        ..Options::new(Password::from(url.as_bytes()))
    }
}

pub fn store(url: &str) -> Arc<dyn Store> {
    open(&options(url)).unwrap()
}

pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_435_000_000 + millis)
}

pub fn by() -> Actor {
    Actor { name: "cli:test".into(), at: at(0) }
}

pub fn name(text: &str) -> Username {
    text.parse().unwrap()
}

pub fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

pub const MAC: &str = "02:1a:2b:3c:4d:5e";
pub const UUID: &str = "6B9FE2C1-7B1C-4C4B-9E0A-2F3D1C0B7A55";

pub fn new_user(text: &str) -> NewUser {
    NewUser {
        name: name(text),
        password_hash: Some("$argon2id$canary".into()),
        policy: None,
        valid_from: None,
        valid_until: None,
    }
}

/// An active session; `number` makes its id and client id.
pub fn session(number: u32) -> SessionRecord {
    let mut random = [0; 10];
    random[6..].copy_from_slice(&number.to_be_bytes());
    SessionRecord {
        id: SessionId::new(at(number.into()), random),
        version: 1,
        state: SessionState::Active,
        server: "udp-1194".parse().unwrap(),
        run_started: at(-1_000),
        cid: Cid(number),
        user: name("alice"),
        common_name: None,
        device: Some(id(MAC)),
        client_ip: Some("192.0.2.7".parse().unwrap()),
        client_port: Some(40_000),
        vpn_ip: Some("10.8.0.2".into()),
        client_version: Some("2.6.14".into()),
        client_platform: Some("linux".into()),
        started_at: at(number.into()),
        updated_at: at(i64::from(number) + 10),
        deadline: Some(at(3_600_000)),
        deadline_reason: Some(ovpn_warden::types::Cause::SessionLimit),
        expiry_action: ExpiryAction::Halt,
        warned_at: None,
        ended_at: None,
        cause: None,
        bytes_received: 0,
        bytes_sent: 0,
        day_marks: DayMarks::default(),
        session_timeout_s: NonZeroU32::new(28_830),
        certificate: None,
    }
}
