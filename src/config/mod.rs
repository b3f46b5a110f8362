//! Configuration: defaults < files < environment < flags, validated once into typed sections.
//!
//! Sections are handed down one by one; nothing else reads the whole.

mod console;
mod endpoint;
mod error;
mod exposure;
mod layer;
mod load;
mod reader;
mod secret;
mod sections;
mod webhook;
mod words;

use std::{num::NonZeroUsize, time::Duration};

use crate::{
    auth::{device::DeviceSource, password::scheme::Schemes},
    store::{DeviceMode, SecondFactorMode},
    types::{ExpiryAction, Password, ServerName, Zone},
};

pub use endpoint::Endpoint;
pub use error::{ConfigError, ConfigErrors, Place};
pub use load::{Loaded, load};

/// The validated whole.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[database]`.
    pub database: Database,
    /// `[[servers]]`, at least one for `run`; names are unique.
    pub servers: Vec<Server>,
    /// `[auth]`.
    pub auth: Auth,
    /// `[session]`.
    pub session: Session,
    /// `[throttle]`.
    pub throttle: Throttle,
    /// `[retention]`.
    pub retention: Retention,
    /// `[journal]`.
    pub journal: Journal,
    /// `[webhook]`; `None`: nobody is told.
    pub webhook: Option<Webhook>,
    /// `[log]`.
    pub log: Log,
    /// `[http]`.
    pub http: Http,
    /// `[console]`; `None`: it is off.
    pub console: Option<Console>,
}

/// `[database]`.
#[derive(Debug, Clone)]
pub struct Database {
    /// The URL, which may hold a password.
    pub url: Password,
    /// Largest number of connections.
    pub max_connections: u32,
    /// Longest wait for one answer, a connection included.
    pub timeout: Duration,
}

/// One of `[[servers]]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name in logs, metrics and the database.
    pub name: ServerName,
    /// Where its management interface is.
    pub management: Endpoint,
    /// Whose connections are this server's, when it dials in; `None`: anybody's.
    pub peer: Option<std::net::IpAddr>,
    /// Where other tools may speak to this server.
    pub relay: Option<Endpoint>,
    /// The management password.
    pub password: Option<Password>,
}

/// `[auth]`.
#[derive(Debug, Clone)]
pub struct Auth {
    /// Longest time from CONNECT to our answer.
    pub timeout: Duration,
    /// How devices are judged where the policy does not say.
    pub device_mode: DeviceMode,
    /// Peer-info variables that carry the device id, in order; each `IV_…` or `UV_…`.
    pub device_sources: Vec<DeviceSource>,
    /// Whether the certificate's fingerprint has to be registered, too.
    pub require_fingerprint: bool,
    /// Threads that hash passwords; 0 in the file becomes the number of cores.
    pub hash_workers: NonZeroUsize,
    /// Logins of each server that may wait for such a thread.
    pub hash_queue: usize,
    /// argon2id memory, KiB.
    pub argon2_m_kib: u32,
    /// argon2id passes.
    pub argon2_t: u32,
    /// argon2id lanes.
    pub argon2_p: u32,
    /// Schemes of stored hashes that logins may use; argon2id is one of them.
    pub password_schemes: Schemes,
    /// Whether the certificate's common name must equal the username.
    pub match_common_name: bool,
    /// What a temporarily denied client (2.6+) is told to wait, in seconds.
    pub retry_backoff_s: u32,
    /// Whether `client-pending-auth` precedes an approval.
    pub wake_up: bool,
    /// Whether a second factor is asked for where the policy does not say.
    pub second_factor: SecondFactorMode,
    /// What vouches for challenges, with daemons that share it; `None`: each has its own.
    pub challenge_key: Option<Password>,
    /// How long a client may take to answer a question for a code.
    pub challenge_timeout: Duration,
    /// How old a good login may be that counts while the database is away; `None`: none does.
    pub offline_grace: Option<Duration>,
}

/// `[session]`.
#[derive(Debug, Clone)]
pub struct Session {
    /// Longest session where the policy does not say; `None`: no limit.
    pub limit: Option<Duration>,
    /// What a client is told at the end.
    pub expiry_action: ExpiryAction,
    /// How often byte counts are stored.
    pub accounting_interval: Duration,
    /// How long before its deadline a session's end is announced; `None`: never.
    pub warn_before: Option<Duration>,
    /// How much later than the deadline OpenVPN itself ends the session (2.6+).
    pub backstop: Duration,
    /// How long a session may be idle where the policy does not say; `None`: for ever.
    pub idle: Option<Duration>,
    /// By whose clocks hours and quotas count where the policy does not say.
    pub time_zone: Zone,
}

/// `[throttle]`.
#[derive(Debug, Clone)]
pub struct Throttle {
    /// Failures of one user from one address in the window before it has to wait; 0: no limit.
    pub user_failures: u32,
    /// Failures from one address in the window before it has to wait; 0: no limit.
    pub address_failures: u32,
    /// Failures of one user, from anywhere, in the window before it has to wait where it was not lately; 0: no limit.
    pub everywhere_failures: u32,
    /// Wrong one-time codes of one user, from anywhere, in the window; 0: no limit.
    pub code_failures: u32,
    /// The window.
    pub window: Duration,
}

/// `[retention]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// How long sessions are kept after their end; `None`: for ever.
    pub sessions: Option<Duration>,
}

/// `[journal]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// Where session changes wait for the database on disk; `None`: nowhere.
    pub path: Option<std::path::PathBuf>,
    /// The file's largest size, in bytes.
    pub max_bytes: u64,
}

/// `[webhook]`.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where notices are sent: `https://…` or `http://…`. Secret, because its path may be one.
    pub url: Password,
    /// What they are signed with.
    pub secret: Password,
    /// Certificates (PEM) of the authorities that the receiver's is to be of; `None`: public ones.
    pub ca_file: Option<std::path::PathBuf>,
    /// Which events are told, of [`WEBHOOK_EVENTS`].
    pub events: Vec<&'static str>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Notices that may wait.
    pub queue: usize,
}

/// Events that a webhook may be told.
pub const WEBHOOK_EVENTS: [&str; 4] =
    ["session.opened", "session.ending", "session.closed", "auth.denied"];

/// `[console]`.
#[derive(Debug, Clone)]
pub struct Console {
    /// Where it is served.
    pub listen: ConsoleListen,
    /// What one person logs in with.
    pub token: Option<Password>,
    /// In which header a proxy says who it let in; only of a unix socket.
    pub proxy_header: Option<http::HeaderName>,
}

/// Where the web console is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleListen {
    /// On this address, which is of the loopback.
    Tcp(std::net::SocketAddr),
    /// On this socket.
    Unix(std::path::PathBuf),
}

/// As the configuration writes it.
impl std::fmt::Display for ConsoleListen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Form of the lines.
    pub format: LogFormat,
    /// Least level: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::level_filters::LevelFilter,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people, with colour on a terminal.
    Pretty,
    /// For people, short.
    Compact,
}

/// `[http]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where `/metrics`, `/livez` and `/readyz` are served; `None`: nowhere.
    pub listen: Option<std::net::SocketAddr>,
}
