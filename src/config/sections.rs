//! Each section's rules: bounds, words, and what has to hold between keys.

#![expect(clippy::wildcard_enum_match_arm, reason = "everything else is of the wrong type")]

use std::{collections::HashMap, num::NonZeroUsize, time::Duration};

use config::{Map, Value, ValueKind};
use tracing::level_filters::LevelFilter;

use super::{
    Auth, Config, Database, Endpoint, Http, Journal, Log, LogFormat, Retention, Server, Session,
    Throttle,
    console::console,
    error::{ConfigError, Place},
    layer::Layer,
    reader::{DAMAGED, Report, Section, origin_of, wrong_type},
    webhook::webhook,
    words::{shown, suggest},
};
use crate::{
    auth::{
        device::{DeviceSource, DeviceSourceError},
        password::{
            MAX_WORK_KIB,
            scheme::{Scheme, Schemes},
        },
    },
    store::{DeviceMode, SecondFactorMode, StoreError, location},
    types::{ExpiryAction, Password, ServerName, Zone, ZoneError},
};

const SECTIONS: &[&str] = &[
    "database",
    "servers",
    "auth",
    "session",
    "throttle",
    "retention",
    "journal",
    "webhook",
    "log",
    "http",
    "console",
];

/// Ten years: a longer limit is a typing error.
const MAX_LIMIT_S: u32 = 315_360_000;
/// Passwords that OpenVPN lets a management client try.
const MAX_GUESSES: usize = 3;
/// Client variables that may be asked for a device id.
const MAX_SOURCES: usize = 16;

/// Refuses what is no section, layer by layer: merging forgets where an empty section was begun.
pub(super) fn refuse_unknown(layer: &Layer, errors: &mut Vec<ConfigError>) {
    for (name, origin) in layer.sections() {
        if !SECTIONS.contains(&name) {
            errors.push(ConfigError::Unknown {
                at: Place { origin, key: shown(name) },
                what: "section",
                mend: suggest(name, SECTIONS),
            });
        }
    }
}

/// Every section, with defaults where something was refused: then the report has errors, and
/// the result is not used.
pub(super) fn validate(mut tree: Map<String, Value>, report: &mut Report) -> Config {
    Config {
        database: database(Section::new(report, "database".into(), tree.remove("database"))),
        servers: servers(report, tree.remove("servers")),
        auth: auth(Section::new(report, "auth".into(), tree.remove("auth"))),
        session: session(Section::new(report, "session".into(), tree.remove("session"))),
        throttle: throttle(Section::new(report, "throttle".into(), tree.remove("throttle"))),
        retention: retention(Section::new(report, "retention".into(), tree.remove("retention"))),
        journal: journal(Section::new(report, "journal".into(), tree.remove("journal"))),
        webhook: webhook(Section::new(report, "webhook".into(), tree.remove("webhook"))),
        log: log(Section::new(report, "log".into(), tree.remove("log"))),
        http: http(Section::new(report, "http".into(), tree.remove("http"))),
        console: console(Section::new(report, "console".into(), tree.remove("console"))),
    }
}

fn database(mut section: Section<'_>) -> Database {
    let url = section.secret("url").and_then(|(url, at)| match location(&url) {
        Ok(_) => Some(url),
        Err(error) => {
            let problem = match error {
                StoreError::Url(problem) => problem,
                error => error.to_string(),
            };
            section.report.errors.push(ConfigError::Invalid {
                at,
                problem: format!(
                    "{problem}; write sqlite:///var/lib/ovpn-warden/warden.db or \
                     mysql://user:password@host/name"
                ),
            });
            None
        }
    });
    let database = Database {
        url: url.unwrap_or_default(),
        max_connections: section.number32("max_connections", 1..=1_000),
        timeout: Duration::from_millis(section.number("timeout_ms", 100..=60_000)),
    };
    section.finish();
    database
}

fn servers(report: &mut Report, value: Option<Value>) -> Vec<Server> {
    const FORM: &str = "a list of sections, each begun by [[servers]],";
    let Some(value) = value else { return Vec::new() };
    let at = Place { origin: origin_of(&value), key: "servers".into() };
    let items = match value.kind {
        ValueKind::Array(items) => items,
        other => {
            report.errors.push(wrong_type(at, FORM, &other));
            return Vec::new();
        }
    };
    let (mut servers, mut places) = (Vec::new(), Vec::new());
    let mut names: HashMap<ServerName, usize> = HashMap::new();
    let mut addresses: HashMap<String, usize> = HashMap::new();
    for (index, item) in items.into_iter().enumerate() {
        if item.kind == ValueKind::Nil {
            report.errors.push(ConfigError::Missing {
                at: Place { origin: "environment".into(), key: format!("servers[{index}]") },
                mend: "number the servers from 0 without a gap",
            });
            continue;
        }
        let mut section = Section::new(report, format!("servers[{index}]"), Some(item));
        let name = server_name(&mut section, index, &mut names);
        let management = management(&mut section, index, &mut addresses);
        let peer = peer(&mut section, management.as_ref().map(|(endpoint, _)| endpoint));
        let relay = relay(&mut section, index, &mut addresses);
        let password: Option<Password> = section.secret("password").map(|(password, _)| password);
        section.finish();
        if let (Some(name), Some((management, at))) = (name, management) {
            servers.push(Server { name, management, peer, relay, password });
            places.push(at);
        }
    }
    refuse_confusable(&servers, places, report);
    servers
}

/// Servers that dial in to one address have to be told apart.
fn refuse_confusable(servers: &[Server], places: Vec<Place>, report: &mut Report) {
    for (index, (server, at)) in servers.iter().zip(places).enumerate() {
        let Endpoint::Listen(address) = server.management else { continue };
        let same =
            |other: &&Server| other.management == server.management && other.peer == server.peer;
        let Some(other) = servers[..index].iter().find(same) else { continue };
        let secret = |server: &Server| server.password.as_ref().map(|p| p.expose().to_vec());
        let group = servers.iter().filter(same).count();
        let mend = if secret(server).is_none() || secret(server) == secret(other) {
            "give each a password_file of its own, or a peer"
        } else if group > MAX_GUESSES {
            "OpenVPN takes three passwords only: give some of them a peer"
        } else {
            continue;
        };
        report.errors.push(ConfigError::Invalid {
            at,
            problem: format!(
                "server `{}` cannot be told from `{}`, which dials in to {address} too; {mend}",
                server.name, other.name
            ),
        });
    }
}

/// Where other tools may speak to the server: without a password, so on this machine only.
fn relay(
    section: &mut Section<'_>,
    index: usize,
    addresses: &mut HashMap<String, usize>,
) -> Option<Endpoint> {
    const FORMS: &str = "use unix:///path or tcp://127.0.0.1:port";
    let (text, at) = section.text("relay")?;
    let is_local = |host: &str| host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let problem = match Endpoint::parse(&text) {
        Ok(Endpoint::Tcp { host, .. }) if !is_local(&host) => {
            format!("everybody could read there who is connected; {FORMS}")
        }
        Ok(Endpoint::Listen(_)) => format!("it is always listened on; {FORMS}"),
        Ok(endpoint) => match addresses.insert(endpoint.to_string(), index) {
            None => return Some(endpoint),
            Some(first) => format!("servers[{first}] has the same address; correct one of them"),
        },
        Err(_) => format!("`{}` is no place for a socket; {FORMS}", shown(&text)),
    };
    section.report.errors.push(ConfigError::Invalid { at, problem });
    None
}

/// The address from which a server dials in.
fn peer(section: &mut Section<'_>, management: Option<&Endpoint>) -> Option<std::net::IpAddr> {
    let (text, at) = section.text("peer")?;
    let problem = match text.parse() {
        Ok(address) if matches!(management, Some(Endpoint::Listen(_)) | None) => {
            return Some(address);
        }
        Ok(_) => "only a server that dials in (management = \"listen://…\") has a peer".into(),
        Err(_) => format!("`{}` is no address; use the one that OpenVPN dials from", shown(&text)),
    };
    section.report.errors.push(ConfigError::Invalid { at, problem });
    None
}

fn server_name(
    section: &mut Section<'_>,
    index: usize,
    names: &mut HashMap<ServerName, usize>,
) -> Option<ServerName> {
    let (text, at) = section.required("name", "give each server a name, as name = \"udp-1194\"")?;
    let Ok(name) = text.parse::<ServerName>() else {
        let problem =
            format!("`{}` is no server name; use 1 to 64 of A-Z a-z 0-9 . _ -", shown(&text));
        section.report.errors.push(ConfigError::Invalid { at, problem });
        return None;
    };
    if let Some(first) = names.insert(name.clone(), index) {
        let problem =
            format!("servers[{first}] is named `{name}` too; give each server its own name");
        section.report.errors.push(ConfigError::Invalid { at, problem });
    }
    Some(name)
}

fn management(
    section: &mut Section<'_>,
    index: usize,
    addresses: &mut HashMap<String, usize>,
) -> Option<(Endpoint, Place)> {
    const MEND: &str =
        "say where OpenVPN's `management` line listens, as management = \"tcp://127.0.0.1:7505\"";
    let (text, at) = section.required("management", MEND)?;
    let problem = match Endpoint::parse(&text) {
        // What stands before an `@` may be a password: it is not shown.
        Err(_) if text.contains('@') => "no user or password belongs in it: the password has keys of its own; use tcp://host:port or unix:///path".into(),
        Err(problem) => format!("`{}`: {problem}", shown(&text)),
        Ok(endpoint @ Endpoint::Listen(_)) => return Some((endpoint, at)),
        Ok(endpoint) => match addresses.insert(endpoint.to_string(), index) {
            None => return Some((endpoint, at)),
            Some(first) => format!(
                "servers[{first}] has the same address, and OpenVPN serves one client at a time; correct one of them"
            ),
        },
    };
    section.report.errors.push(ConfigError::Invalid { at, problem });
    None
}

fn auth(mut section: Section<'_>) -> Auth {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let device_mode = device_mode(&mut section).unwrap_or(DeviceMode::Enforce);
    let grace = section.number("offline_grace_s", 0..=604_800);
    let factors: Vec<_> = SecondFactorMode::ALL.iter().map(|mode| (mode.as_str(), *mode)).collect();
    let auth = Auth {
        offline_grace: (grace > 0).then(|| Duration::from_secs(grace)),
        timeout: Duration::from_millis(section.number("timeout_ms", 100..=30_000)),
        device_mode,
        device_sources: device_sources(&mut section, device_mode),
        hash_workers: NonZeroUsize::new(section.size("hash_workers", 0..=256)).unwrap_or(cores),
        hash_queue: section.size("hash_queue", 1..=65_536),
        argon2_m_kib: section.number32("argon2_m_kib", 8..=1_048_576),
        argon2_t: section.number32("argon2_t", 1..=64),
        argon2_p: section.number32("argon2_p", 1..=64),
        password_schemes: password_schemes(&mut section),
        match_common_name: section.flag("match_common_name"),
        require_fingerprint: section.flag("require_fingerprint"),
        retry_backoff_s: section.number32("retry_backoff_s", 1..=3_600),
        wake_up: section.flag("wake_up"),
        second_factor: section
            .word("second_factor", &factors)
            .unwrap_or(SecondFactorMode::Required),
        challenge_key: challenge_key(&mut section),
        challenge_timeout: Duration::from_secs(section.number("challenge_timeout_s", 10..=240)),
    };
    let least = auth.argon2_p * 8;
    if auth.argon2_m_kib < least {
        let problem = format!(
            "argon2_p = {} needs at least {least} KiB; raise it or lower argon2_p",
            auth.argon2_p
        );
        section.fail("argon2_m_kib", problem);
    }
    if u64::from(auth.argon2_m_kib) * u64::from(auth.argon2_t) > MAX_WORK_KIB {
        let problem = format!(
            "argon2_t = {} times so much memory is over {MAX_WORK_KIB} KiB, which is too slow for a login; lower one of the two",
            auth.argon2_t
        );
        section.fail("argon2_m_kib", problem);
    }
    section.finish();
    auth
}

fn challenge_key(section: &mut Section<'_>) -> Option<Password> {
    const SHORTEST: usize = 32;
    let (key, at) = section.secret("challenge_key")?;
    if key.expose().len() < SHORTEST {
        let problem = format!(
            "it has less than {SHORTEST} bytes, so that it could be guessed; `openssl rand -base64 32` makes one"
        );
        section.report.errors.push(ConfigError::Invalid { at, problem });
    }
    Some(key)
}

fn password_schemes(section: &mut Section<'_>) -> Schemes {
    let words: Vec<_> = Scheme::ALL.iter().map(|scheme| (scheme.as_str(), *scheme)).collect();
    let Some((names, at)) = section.list("password_schemes") else { return Schemes::default() };
    let schemes: Schemes =
        names.iter().filter_map(|name| section.pick(name, at.clone(), &words)).collect();
    // What is misspelt may have been meant as argon2id: one error is enough.
    let is_read = names.iter().all(|name| name.parse::<Scheme>().is_ok());
    if is_read && !schemes.allow(Scheme::Argon2id) {
        let problem = "it leaves out argon2id, which new hashes are made with; add it".into();
        section.report.errors.push(ConfigError::Invalid { at, problem });
    }
    schemes
}

fn device_mode(section: &mut Section<'_>) -> Option<DeviceMode> {
    let modes = [
        DeviceMode::Off,
        DeviceMode::Log,
        DeviceMode::Learn,
        DeviceMode::Approve,
        DeviceMode::Enforce,
    ];
    let modes = modes.map(|mode| (mode.as_str(), mode));
    let (text, at) = section.required("device_mode", DAMAGED)?;
    section.pick(&text, at, &modes)
}

fn device_sources(section: &mut Section<'_>, mode: DeviceMode) -> Vec<DeviceSource> {
    let Some((names, at)) = section.list("device_sources") else { return Vec::new() };
    let problem = match names.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>() {
        Ok(sources) if sources.is_empty() && !matches!(mode, DeviceMode::Off | DeviceMode::Log) => {
            "it is empty, so nobody could connect; name UV_CLIENT_MAC or IV_HWADDR, or set device_mode = \"off\"".into()
        }
        Ok(sources) if sources.len() > MAX_SOURCES => {
            format!("it names {} variables; use at most {MAX_SOURCES}", sources.len())
        }
        Ok(sources) => return sources,
        Err(error) => shown(&DeviceSourceError::to_string(&error)),
    };
    section.report.errors.push(ConfigError::Invalid { at, problem });
    Vec::new()
}

fn session(mut section: Section<'_>) -> Session {
    let actions: Vec<_> = ExpiryAction::ALL.iter().map(|word| (word.as_str(), *word)).collect();
    let seconds = |value: u32| Duration::from_secs(value.into());
    let limit = section.number32("limit_s", 0..=MAX_LIMIT_S);
    let warn_before = section.number32("warn_before_s", 0..=86_400);
    let idle = section.number32("idle_s", 0..=604_800);
    let session = Session {
        limit: (limit > 0).then(|| seconds(limit)),
        expiry_action: section.word("expiry_action", &actions).unwrap_or(ExpiryAction::Halt),
        accounting_interval: seconds(section.number32("accounting_interval_s", 1..=3_600)),
        warn_before: (warn_before > 0).then(|| seconds(warn_before)),
        backstop: seconds(section.number32("backstop_s", 5..=86_400)),
        idle: (idle > 0).then(|| seconds(idle)),
        time_zone: time_zone(&mut section),
    };
    section.finish();
    session
}

fn time_zone(section: &mut Section<'_>) -> Zone {
    let Some((text, at)) = section.text("time_zone") else { return Zone::default() };
    text.parse().unwrap_or_else(|error: ZoneError| {
        let problem = shown(&error.to_string());
        section.report.errors.push(ConfigError::Invalid { at, problem });
        Zone::default()
    })
}

fn throttle(mut section: Section<'_>) -> Throttle {
    let throttle = Throttle {
        user_failures: section.number32("user_failures", 0..=1_000_000),
        address_failures: section.number32("address_failures", 0..=1_000_000),
        everywhere_failures: section.number32("everywhere_failures", 0..=1_000_000),
        code_failures: section.number32("code_failures", 0..=1_000_000),
        window: Duration::from_secs(section.number("window_s", 1..=86_400)),
    };
    section.finish();
    throttle
}

fn retention(mut section: Section<'_>) -> Retention {
    let days = section.number("sessions_days", 0..=36_500);
    let sessions = (days > 0).then(|| Duration::from_secs(days * 86_400));
    section.finish();
    Retention { sessions }
}

fn journal(mut section: Section<'_>) -> Journal {
    let mut path = None;
    if let Some((text, at)) = section.text("path")
        && !text.is_empty()
    {
        if text.starts_with('/') {
            path = Some(text.into());
        } else {
            let problem = format!(
                "`{}` is not the absolute path of a file; use one as /var/lib/ovpn-warden/journal.db, or \"\" to switch it off",
                shown(&text)
            );
            section.report.errors.push(ConfigError::Invalid { at, problem });
        }
    }
    let max_bytes = section.number("max_mib", 1..=65_536) << 20;
    section.finish();
    Journal { path, max_bytes }
}

fn log(mut section: Section<'_>) -> Log {
    let formats =
        [("json", LogFormat::Json), ("pretty", LogFormat::Pretty), ("compact", LogFormat::Compact)];
    let levels = [
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    let log = Log {
        format: section.word("format", &formats).unwrap_or(LogFormat::Json),
        level: section.word("level", &levels).unwrap_or(LevelFilter::INFO),
    };
    section.finish();
    log
}

fn http(mut section: Section<'_>) -> Http {
    let mut listen: Option<std::net::SocketAddr> = None;
    if let Some((text, at)) = section.text("listen")
        && !text.is_empty()
    {
        listen = text.parse().ok();
        match listen {
            None => {
                let problem = format!(
                    "`{}` is no address with a port; use one as 127.0.0.1:9176, or \"\" to switch it off",
                    shown(&text)
                );
                section.report.errors.push(ConfigError::Invalid { at, problem });
            }
            Some(address) if !address.ip().is_loopback() => {
                section.report.warnings.push(format!(
                    "{at}: {address} can be reached from other machines, and nothing there asks for a password; use 127.0.0.1 or a firewall"
                ));
            }
            Some(_) => {}
        }
    }
    section.finish();
    Http { listen }
}
