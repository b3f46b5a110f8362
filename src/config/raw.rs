//! The configuration as it is written: plain types, every key, nothing more.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) database: Database,
    #[serde(default)]
    pub(super) servers: Vec<Server>,
    pub(super) auth: Auth,
    pub(super) session: Session,
    pub(super) throttle: Throttle,
    pub(super) log: Log,
    pub(super) http: Http,
}

// No `Debug` on what holds secrets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Database {
    pub(super) url: String,
    pub(super) url_file: Option<String>,
    pub(super) max_connections: u64,
    pub(super) timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) management: String,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) timeout_ms: u64,
    pub(super) device_mode: String,
    pub(super) device_sources: Words,
    pub(super) hash_workers: u64,
    pub(super) hash_queue: u64,
    pub(super) argon2_m_kib: u64,
    pub(super) argon2_t: u64,
    pub(super) argon2_p: u64,
    pub(super) match_common_name: bool,
    pub(super) retry_backoff_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) limit_s: u64,
    pub(super) expiry_action: String,
    pub(super) accounting_interval_s: u64,
    pub(super) backstop_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Throttle {
    pub(super) user_failures: u64,
    pub(super) address_failures: u64,
    pub(super) window_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: String,
    pub(super) level: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: String,
}

/// A list, or in an environment variable words between commas.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Words {
    List(Vec<String>),
    Joined(String),
}

impl Words {
    pub(super) fn into_list(self) -> Vec<String> {
        match self {
            Self::List(list) => list,
            Self::Joined(text) => text.split(',').map(|word| word.trim().to_owned()).collect(),
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish_non_exhaustive()
    }
}
