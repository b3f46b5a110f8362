//! Gathers the sources in their order and finds keys that do not exist.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{
    Config,
    error::{ConfigError, ConfigErrors},
    raw::Raw,
    validate::validate,
};

/// Every key with its default.
const DEFAULTS: &str = include_str!("../../conf/default.toml");
/// Read when no file is named, if it is there.
const SYSTEM_FILE: &str = "/etc/ovpn-warden/config.toml";
/// Largest file, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Keys without a default.
const OPTIONAL: [(&str, &[&str]); 2] = [
    ("database", &["url_file"]),
    ("servers", &["name", "management", "password", "password_file"]),
];
const PREFIX: &str = "OVPN_WARDEN__";

/// A valid configuration, and what its owner should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Loads the configuration: defaults, `files` in order (or the system's file), the variables
/// `OVPN_WARDEN__SECTION__KEY` of `environment`, then `overrides` as `("log.format", "json")`.
///
/// # Errors
/// Every fault that was found.
pub fn load(
    files: &[PathBuf],
    environment: impl Iterator<Item = (String, String)>,
    overrides: &[(&str, String)],
) -> Result<Loaded, ConfigErrors> {
    let system = [PathBuf::from(SYSTEM_FILE)];
    let files = if files.is_empty() && system[0].exists() { &system[..] } else { files };
    let mut builder = config::Config::builder()
        .add_source(config::File::from_str(DEFAULTS, config::FileFormat::Toml));
    let mut errors = Vec::new();
    let mut names_url = None;
    for path in files {
        match read(path) {
            Ok((text, table)) => {
                errors.extend(unknown_keys(&path.display().to_string(), &table));
                names_url = url_key(&table).or(names_url);
                builder =
                    builder.add_source(config::File::from_str(&text, config::FileFormat::Toml));
            }
            Err(error) => errors.push(error),
        }
    }
    for (variable, value) in environment {
        let Some(key) = variable.strip_prefix(PREFIX) else { continue };
        let key = key.to_ascii_lowercase().replace("__", ".");
        match known_key(&key) {
            Some((section, name)) => {
                if section == "database" && (name == "url" || name == "url_file") {
                    names_url = Some(if name == "url" { UrlKey::Url } else { UrlKey::File });
                }
                builder = set(builder, &key, value)?;
            }
            None => errors.push(unknown(&variable, &key)),
        }
    }
    for (key, value) in overrides {
        builder = set(builder, key, value.clone())?;
    }
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    let raw: Raw = builder.build().and_then(config::Config::try_deserialize).map_err(wrong_type)?;
    validate(raw, names_url)
}

/// Which of the two keys the last source that names one has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UrlKey {
    Url,
    File,
    Both,
}

fn url_key(table: &Table) -> Option<UrlKey> {
    let section = table.get("database")?.as_table()?;
    match (section.contains_key("url"), section.contains_key("url_file")) {
        (true, true) => Some(UrlKey::Both),
        (true, false) => Some(UrlKey::Url),
        (false, true) => Some(UrlKey::File),
        (false, false) => None,
    }
}

type Builder = config::ConfigBuilder<config::builder::DefaultState>;

/// As text: a number or a truth is read by its key's type, a secret stays as it is.
fn set(builder: Builder, key: &str, value: String) -> Result<Builder, ConfigErrors> {
    builder.set_override(key, value).map_err(wrong_type)
}

fn read(path: &Path) -> Result<(String, Table), ConfigError> {
    let place = path.display().to_string();
    let unreadable = |reason: String| ConfigError::Unreadable { place: place.clone(), reason };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > MAX_FILE {
        return Err(unreadable("it is larger than 1 MiB".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    match text.parse::<Table>() {
        Ok(table) => Ok((text, table)),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(ConfigError::Syntax { place, line, reason: error.message().to_owned() })
        }
    }
}

/// All keys, as `section.key`.
fn known_keys() -> Vec<(String, String)> {
    let defaults: Table = DEFAULTS.parse().unwrap_or_default();
    let mut keys = Vec::new();
    for (section, value) in &defaults {
        for key in value.as_table().into_iter().flat_map(Table::keys) {
            keys.push((section.clone(), key.clone()));
        }
    }
    for (section, names) in OPTIONAL {
        keys.extend(names.iter().map(|name| (section.to_owned(), (*name).to_owned())));
    }
    keys
}

/// A key that an environment variable may set.
fn known_key(key: &str) -> Option<(String, String)> {
    known_keys()
        .into_iter()
        .find(|(section, name)| section != "servers" && key == format!("{section}.{name}"))
}

fn unknown_keys(place: &str, table: &Table) -> Vec<ConfigError> {
    let known = known_keys();
    let mut errors = Vec::new();
    let mut check = |section: &str, table: &Table| {
        for key in table.keys() {
            if !known.iter().any(|(s, k)| s == section && k == key) {
                errors.push(unknown(place, &format!("{section}.{key}")));
            }
        }
    };
    for (section, value) in table {
        if let Value::Table(table) = value {
            check(section, table);
        } else if let (Value::Array(list), "servers") = (value, section.as_str()) {
            list.iter().filter_map(Value::as_table).for_each(|table| check(section, table));
        } else {
            check("", &Table::from_iter([(section.clone(), value.clone())]));
        }
    }
    errors
}

fn unknown(place: &str, key: &str) -> ConfigError {
    let key = key.trim_start_matches('.');
    let suggestion = if key.starts_with("servers.") && place.starts_with(PREFIX) {
        "; servers are set in a file only".to_owned()
    } else {
        known_keys()
            .iter()
            .map(|(section, name)| format!("{section}.{name}"))
            .map(|known| (strsim::damerau_levenshtein(&known, key), known))
            .min()
            .filter(|(distance, _)| *distance <= 4)
            .map(|(_, known)| format!("; do you mean `{known}`?"))
            .unwrap_or_else(|| "; conf/default.toml has all keys".to_owned())
    };
    ConfigError::UnknownKey { place: place.into(), key: key.into(), suggestion }
}

/// What the config crate found, without any value.
fn wrong_type(error: config::ConfigError) -> ConfigErrors {
    if let config::ConfigError::At { error, origin, key } = error {
        return describe(*error, origin, key).into();
    }
    describe(error, None, None).into()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the crate's enum is open")]
fn describe(
    error: config::ConfigError,
    origin: Option<String>,
    key: Option<String>,
) -> ConfigError {
    match error {
        config::ConfigError::Type { origin: inner, unexpected, expected, key: name } => {
            ConfigError::WrongType {
                place: origin.or(inner).unwrap_or_else(|| "configuration".into()),
                key: name.or(key).unwrap_or_default(),
                found: kind(&unexpected),
                wanted: expected.into(),
            }
        }
        config::ConfigError::Message(text) => {
            ConfigError::value(key.unwrap_or_else(|| "configuration".into()), text)
        }
        other => ConfigError::value(
            key.unwrap_or_else(|| "configuration".into()),
            // Its own words may hold a value; its kind does not.
            match other {
                config::ConfigError::NotFound(name) => format!("`{name}` is missing"),
                _ => "cannot be read as this key's type".to_owned(),
            },
        ),
    }
}

/// The kind of a value, without the value: `string "abc"` becomes `string`.
fn kind(unexpected: &impl std::fmt::Display) -> String {
    let text = unexpected.to_string();
    text.split(['`', '"']).next().unwrap_or_default().trim().to_owned()
}
