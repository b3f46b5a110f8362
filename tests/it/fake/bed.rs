//! A database, a configuration and a daemon for one server.

use super::*;
use crate::store::{
    proxy::Proxy,
    servers::{port, with_hosts},
};

/// A folder with a database and a configuration for one server.
pub(super) struct Bed {
    pub(super) _folder: TempDir,
    pub(super) config: Config,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) record: Option<PathBuf>,
}

/// A running daemon.
pub(super) struct Daemon {
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<Result<(), daemon::StartError>>,
}

impl Daemon {
    pub(super) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap().unwrap();
    }
}

impl Bed {
    pub(super) async fn new(listener: &Listener) -> Self {
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port: listener.address().port() };
        Self::at(endpoint, None).await
    }

    pub(super) async fn at(management: Endpoint, password: Option<&str>) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("warden.db").display());
        let config = config(&url, management, password);
        let store = open(&config);
        store.migrate(false).await.unwrap();
        let bed = Self { _folder: folder, config, store, clock: Clock::new(), record: None };
        bed.add_user("alice", "correct horse").await;
        bed
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self._folder.path()
    }

    /// The database's file.
    pub(super) fn database(&self) -> PathBuf {
        self.url().strip_prefix("sqlite://").unwrap().into()
    }

    pub(super) fn url(&self) -> String {
        String::from_utf8(self.config.database.url.expose().to_vec()).unwrap()
    }

    /// What is started from now on reaches the database through it; the bed's own store does not.
    pub(super) async fn behind_a_proxy(&mut self) -> Proxy {
        let direct = self.url();
        let proxy = Proxy::start(port(&direct)).await;
        let url = with_hosts(&direct, &format!("127.0.0.1:{}", proxy.port));
        self.config.database.url = Password::from(url.as_bytes());
        proxy
    }

    pub(super) fn actor(&self) -> Actor {
        Actor { name: "test".into(), at: self.clock.now().utc }
    }

    pub(super) async fn add_user(&self, name: &str, password: &str) {
        let hash = password::hash(&Password::from(password.as_bytes()), &CHEAP).unwrap();
        let user = NewUser {
            name: name.parse().unwrap(),
            password_hash: Some(hash),
            policy: None,
            valid_from: None,
            valid_until: None,
        };
        self.store.add_user(&user, &self.actor()).await.unwrap();
        let device = NewDevice {
            user: name.parse().unwrap(),
            id: DeviceId::parse(MAC).unwrap(),
            label: None,
            status: DeviceStatus::Approved,
            valid_until: None,
        };
        self.store.add_device(&device, &self.actor()).await.unwrap();
    }

    pub(super) fn start(&self) -> Daemon {
        self.start_on(open(&self.config))
    }

    pub(super) fn start_on(&self, store: Arc<dyn Store>) -> Daemon {
        let stop = CancellationToken::new();
        let (config, clock, token) = (self.config.clone(), self.clock, stop.clone());
        let record = self.record.clone();
        let task = tokio::spawn(async move {
            let readiness = Arc::new(Readiness::default());
            let record = record.as_deref();
            daemon::Daemon::prepare(&config, store, readiness, clock, token, record)
                .await?
                .run()
                .await;
            Ok(())
        });
        Daemon { stop, task }
    }

    pub(super) async fn sessions(&self) -> Vec<SessionRecord> {
        let filter = SessionFilter { ended: true, limit: 100, ..SessionFilter::default() };
        self.store.sessions(&filter).await.unwrap()
    }

    /// The lines of a process' log of an event.
    pub(super) fn told(&self, event: &str) -> Vec<serde_json::Value> {
        let log = std::fs::read_to_string(self.folder().join("log")).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(|line: &serde_json::Value| line["event"] == event).collect()
    }

    /// The same with its database elsewhere.
    pub(super) fn on(mut self, url: &str) -> Self {
        self.config.database.url = Password::from(url.as_bytes());
        self.store = open(&self.config);
        self
    }

    /// A session, once there is one that satisfies a condition.
    pub(super) async fn any_session(
        &self,
        wanted: impl Fn(&SessionRecord) -> bool,
    ) -> SessionRecord {
        for _ in 0..200 {
            if let Some(session) = self.sessions().await.into_iter().find(&wanted) {
                return session;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no such session, but {:?}", self.sessions().await);
    }

    /// The only session, once it satisfies a condition.
    pub(super) async fn session(&self, wanted: impl Fn(&SessionRecord) -> bool) -> SessionRecord {
        for _ in 0..200 {
            if let [session] = &self.sessions().await[..]
                && wanted(session)
            {
                return session.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no such session, but {:?}", self.sessions().await);
    }
}

pub(super) fn open(config: &Config) -> Arc<dyn Store> {
    store::open(&store::Options::new(config.database.url.clone())).unwrap()
}

pub(super) fn config(url: &str, management: Endpoint, password: Option<&str>) -> Config {
    Config {
        database: config::Database {
            url: Password::from(url.as_bytes()),
            max_connections: 4,
            timeout: Duration::from_secs(5),
        },
        servers: vec![config::Server {
            peer: None,
            relay: None,
            name: "udp".parse().unwrap(),
            management,
            password: password.map(|p| Password::from(p.as_bytes())),
        }],
        auth: config::Auth {
            timeout: Duration::from_secs(8),
            device_mode: DeviceMode::Enforce,
            device_sources: vec!["UV_CLIENT_MAC".parse().unwrap(), "IV_HWADDR".parse().unwrap()],
            hash_workers: NonZeroUsize::MIN,
            hash_queue: 16,
            argon2_m_kib: CHEAP.m_kib,
            argon2_t: CHEAP.t,
            argon2_p: CHEAP.p,
            password_schemes: Schemes::default(),
            match_common_name: false,
            require_fingerprint: false,
            retry_backoff_s: 10,
            wake_up: false,
            offline_grace: None,
            second_factor: store::SecondFactorMode::Optional,
            challenge_key: None,
            challenge_timeout: Duration::from_secs(2),
        },
        session: config::Session {
            limit: Some(Duration::from_secs(3_600)),
            expiry_action: ExpiryAction::Halt,
            accounting_interval: Duration::from_secs(1),
            warn_before: Some(Duration::from_secs(300)),
            backstop: Duration::from_secs(60),
            idle: None,
            time_zone: Zone::default(),
        },
        throttle: config::Throttle {
            user_failures: 3,
            address_failures: 20,
            everywhere_failures: 9,
            code_failures: 5,
            window: Duration::from_secs(900),
        },
        retention: config::Retention { sessions: None },
        journal: config::Journal { path: None, max_bytes: 64 << 20 },
        webhook: None,
        log: config::Log {
            format: config::LogFormat::Json,
            level: tracing::level_filters::LevelFilter::INFO,
        },
        http: config::Http { listen: None },
        console: None,
    }
}
