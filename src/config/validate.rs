//! Plain values to typed sections, with a bound for everything.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    store::DeviceMode,
    types::{ExpiryAction, Password, ServerName},
};

use super::{
    Auth, Config, Database, Endpoint, Http, Loaded, Log, LogFormat, Server, Session, Throttle,
    error::{ConfigError, ConfigErrors},
    load::UrlKey,
    raw::{self, Raw},
};

/// Largest file with a secret, in bytes.
const MAX_SECRET: u64 = 4_096;

/// Collects faults and warnings, so that all are told at once.
#[derive(Default)]
struct Findings {
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
}

impl Findings {
    fn fault(&mut self, key: &str, reason: impl Into<String>) {
        self.errors.push(ConfigError::value(key, reason));
    }

    fn number<T: TryFrom<u64> + Default>(
        &mut self,
        key: &str,
        value: u64,
        low: u64,
        high: u64,
    ) -> T {
        match T::try_from(value) {
            Ok(number) if (low..=high).contains(&value) => number,
            _ => {
                self.fault(key, format!("{value} is out of range: use {low} to {high}"));
                T::default()
            }
        }
    }

    fn duration(&mut self, key: &str, value: u64, range: (u64, u64), unit: Duration) -> Duration {
        let count: u32 = self.number(key, value, range.0, range.1);
        unit * count
    }

    /// The content of a file that holds a secret, without one newline at its end.
    fn secret_file(&mut self, key: &str, path: &str) -> Option<Password> {
        match read_secret(Path::new(path)) {
            Ok((secret, is_open)) => {
                if is_open {
                    self.warnings.push(format!(
                        "{key}: everybody on this host can read {path}; run: chmod o= {path}"
                    ));
                }
                if secret.is_empty() {
                    self.fault(key, format!("{path} is empty"));
                }
                Some(secret)
            }
            Err(reason) => {
                self.fault(key, format!("cannot read {path}: {reason}"));
                None
            }
        }
    }
}

fn read_secret(path: &Path) -> Result<(Password, bool), String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.len() > MAX_SECRET {
        return Err(format!("it is larger than {MAX_SECRET} bytes"));
    }
    let mut bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.contains(&b'\n') {
        return Err("it has more than one line".into());
    }
    Ok((Password::new(bytes), metadata.permissions().mode() & 0o004 != 0))
}

pub(super) fn validate(raw: Raw, names_url: Option<UrlKey>) -> Result<Loaded, ConfigErrors> {
    let mut findings = Findings::default();
    let config = Config {
        database: database(raw.database, names_url, &mut findings),
        servers: servers(raw.servers, &mut findings),
        auth: auth(raw.auth, &mut findings),
        session: session(&raw.session, &mut findings),
        throttle: throttle(&raw.throttle, &mut findings),
        log: log(&raw.log, &mut findings),
        http: http(&raw.http, &mut findings),
    };
    if findings.errors.is_empty() {
        Ok(Loaded { config, warnings: findings.warnings })
    } else {
        Err(ConfigErrors(findings.errors))
    }
}

fn database(raw: raw::Database, names_url: Option<UrlKey>, findings: &mut Findings) -> Database {
    let url = match (names_url, &raw.url_file) {
        (Some(UrlKey::Both), _) => {
            findings.fault("database.url", "is set beside database.url_file: keep one of the two");
            None
        }
        (Some(UrlKey::File), Some(path)) => findings.secret_file("database.url_file", path),
        _ => Some(Password::new(raw.url.into_bytes())),
    };
    Database {
        url: url.unwrap_or_default(),
        max_connections: findings.number("database.max_connections", raw.max_connections, 1, 1_000),
        timeout: findings.duration(
            "database.timeout_ms",
            raw.timeout_ms,
            (100, 60_000),
            Duration::from_millis(1),
        ),
    }
}

fn servers(raw: Vec<raw::Server>, findings: &mut Findings) -> Vec<Server> {
    let mut names = BTreeSet::new();
    let mut servers = Vec::new();
    for (index, server) in raw.into_iter().enumerate() {
        let key = |name: &str| format!("servers[{index}].{name}");
        let name = server.name.parse::<ServerName>();
        if let Err(error) = &name {
            findings.fault(&key("name"), format!("{error}: use 1 to 64 of A-Z a-z 0-9 . _ -"));
        }
        let management = endpoint(&server.management);
        if let Err(reason) = &management {
            findings.fault(&key("management"), reason.clone());
        }
        let password = match (server.password, &server.password_file) {
            (Some(_), Some(_)) => {
                findings
                    .fault(&key("password"), "is set beside password_file: keep one of the two");
                None
            }
            (Some(password), None) if password.is_empty() || password.contains(['\n', '\r']) => {
                findings.fault(&key("password"), "is empty, or has more than one line");
                None
            }
            (Some(password), None) => Some(Password::new(password.into_bytes())),
            (None, Some(path)) => findings.secret_file(&key("password_file"), path),
            (None, None) => None,
        };
        if let (Ok(name), Ok(management)) = (name, management) {
            if !names.insert(name.clone()) {
                findings.fault(
                    &key("name"),
                    format!("`{name}` stands twice: give each server its own"),
                );
            }
            servers.push(Server { name, management, password });
        }
    }
    servers
}

/// `tcp://host:port`, `tcp://[::1]:port` or `unix:///path`.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    let bad = || {
        format!(
            "`{text}` is no management address: use tcp://127.0.0.1:7505 or unix:///run/openvpn/udp.sock"
        )
    };
    if let Some(path) = text.strip_prefix("unix://") {
        return if path.starts_with('/') && path.len() > 1 {
            Ok(Endpoint::Unix(PathBuf::from(path)))
        } else {
            Err(bad())
        };
    }
    if text.starts_with("listen://") {
        return Err("listen:// is not available in this version: let OpenVPN listen, with `management` and without `management-client`".into());
    }
    let (host, port) =
        text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).ok_or_else(bad)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(bad)?;
    if host.is_empty() || host.contains('/') {
        return Err(bad());
    }
    Ok(Endpoint::Tcp { host: host.to_owned(), port })
}

fn auth(raw: raw::Auth, findings: &mut Findings) -> Auth {
    let device_mode = match raw.device_mode.parse() {
        Ok(mode @ (DeviceMode::Off | DeviceMode::Log | DeviceMode::Enforce)) => mode,
        Ok(mode) => {
            findings.fault(
                "auth.device_mode",
                format!(
                    "`{}` is not available in this version: use off, log or enforce",
                    mode.as_str()
                ),
            );
            DeviceMode::Enforce
        }
        Err(error) => {
            findings.fault("auth.device_mode", format!("{error}: use off, log or enforce"));
            DeviceMode::Enforce
        }
    };
    let names = raw.device_sources.into_list();
    let is_empty = names.is_empty();
    let mut device_sources = Vec::new();
    for name in names {
        match name.parse() {
            Ok(source) => device_sources.push(source),
            Err(error) => findings.fault("auth.device_sources", format!("{error}")),
        }
    }
    if is_empty && device_mode == DeviceMode::Enforce {
        findings.fault("auth.device_sources", "is empty, so nobody could connect: name UV_CLIENT_MAC or IV_HWADDR, or set auth.device_mode to off");
    }
    let workers: usize = findings.number("auth.hash_workers", raw.hash_workers, 0, 256);
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let auth = Auth {
        timeout: findings.duration(
            "auth.timeout_ms",
            raw.timeout_ms,
            (100, 30_000),
            Duration::from_millis(1),
        ),
        device_mode,
        device_sources,
        hash_workers: NonZeroUsize::new(workers).unwrap_or(cores),
        hash_queue: findings.number("auth.hash_queue", raw.hash_queue, 1, 1_000_000),
        argon2_m_kib: findings.number("auth.argon2_m_kib", raw.argon2_m_kib, 8, 1 << 20),
        argon2_t: findings.number("auth.argon2_t", raw.argon2_t, 1, 64),
        argon2_p: findings.number("auth.argon2_p", raw.argon2_p, 1, 64),
        match_common_name: raw.match_common_name,
        retry_backoff_s: findings.number("auth.retry_backoff_s", raw.retry_backoff_s, 1, 3_600),
    };
    if auth.argon2_m_kib < 8 * auth.argon2_p {
        findings.fault(
            "auth.argon2_m_kib",
            "is too small: argon2 needs 8 KiB for each lane (auth.argon2_p)",
        );
    }
    auth
}

fn session(raw: &raw::Session, findings: &mut Findings) -> Session {
    let second = Duration::from_secs(1);
    let limit = findings.duration("session.limit_s", raw.limit_s, (0, 31_536_000), second);
    let expiry_action = raw.expiry_action.parse().unwrap_or_else(|error| {
        findings.fault("session.expiry_action", format!("{error}: use halt or restart"));
        ExpiryAction::Halt
    });
    Session {
        limit: (!limit.is_zero()).then_some(limit),
        expiry_action,
        accounting_interval: findings.duration(
            "session.accounting_interval_s",
            raw.accounting_interval_s,
            (1, 3_600),
            second,
        ),
        backstop: findings.duration("session.backstop_s", raw.backstop_s, (5, 86_400), second),
    }
}

fn throttle(raw: &raw::Throttle, findings: &mut Findings) -> Throttle {
    Throttle {
        user_failures: findings.number("throttle.user_failures", raw.user_failures, 0, 1_000_000),
        address_failures: findings.number(
            "throttle.address_failures",
            raw.address_failures,
            0,
            1_000_000,
        ),
        window: findings.duration(
            "throttle.window_s",
            raw.window_s,
            (1, 86_400),
            Duration::from_secs(1),
        ),
    }
}

fn log(raw: &raw::Log, findings: &mut Findings) -> Log {
    let format = match raw.format.as_str() {
        "json" => LogFormat::Json,
        "pretty" => LogFormat::Pretty,
        "compact" => LogFormat::Compact,
        other => {
            findings.fault("log.format", format!("`{other}`: use json, pretty or compact"));
            LogFormat::Json
        }
    };
    let level = match raw.level.as_str() {
        level @ ("error" | "warn" | "info" | "debug" | "trace") => level.parse().ok(),
        _ => None,
    };
    if level.is_none() {
        findings
            .fault("log.level", format!("`{}`: use error, warn, info, debug or trace", raw.level));
    }
    Log { format, level: level.unwrap_or(tracing::level_filters::LevelFilter::INFO) }
}

fn http(raw: &raw::Http, findings: &mut Findings) -> Http {
    if raw.listen.is_empty() {
        return Http { listen: None };
    }
    let listen = raw.listen.parse().ok();
    if listen.is_none() {
        findings.fault(
            "http.listen",
            format!("`{}` is no address: use 127.0.0.1:9176, or \"\" for off", raw.listen),
        );
    }
    Http { listen }
}
