//! The layers of a configuration, as sources of the `config` crate that remember where each
//! value comes from.

use std::{
    ffi::{OsStr, OsString},
    io::Read,
    path::{Path, PathBuf},
};

use config::{Map, Source, Value, ValueKind};

use super::{
    error::{ConfigError, Place},
    words::shown,
};

/// Largest configuration file, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Begins the name of an environment variable of ours.
const PREFIX: &str = "OVPN_WARDEN__";
/// Begins the origin of a value from the environment.
const ENVIRONMENT: &str = "environment variable ";
/// Origin of a value from the command line.
const FLAGS: &str = "command line";
/// Servers that can be named by the environment.
const MAX_SERVERS: usize = 256;

/// The compiled-in defaults.
pub(super) const DEFAULTS: &str = include_str!("../../conf/default.toml");
/// Origin of the defaults.
pub(super) const BUILT_IN: &str = "built-in defaults";

/// Values by path, as `auth.timeout_ms` or `servers[0].name`.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    /// The compiled-in defaults.
    pub(super) fn defaults() -> Result<Self, ConfigError> {
        Self::toml(Path::new(BUILT_IN), DEFAULTS)
    }

    /// A file.
    pub(super) fn file(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)
            .map_err(|problem| ConfigError::Unreadable { path: path.to_owned(), problem })?;
        Self::toml(path, &text)
    }

    fn toml(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table =
            toml::from_str(text).map_err(|error| refused(path, text, &error))?;
        let origin = path.display().to_string();
        // The crate would take such a name for a path into the tree, and make what is on it.
        if let Some(name) = table.keys().find(|name| name.contains(['.', '[', ']'])) {
            return Err(ConfigError::Unknown {
                at: Place { origin, key: shown(name) },
                what: "section",
                mend: "write a key below its section, as [auth] and then timeout_ms = 8000".into(),
            });
        }
        Ok(Self(table.into_iter().map(|(key, value)| (key, convert(&origin, value))).collect()))
    }

    /// The environment. Every value is text: what it means is decided where it is read.
    pub(super) fn environment(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let mut layer = Self::default();
        for (name, value) in variables {
            // A name that is not UTF-8 is no key's.
            let name = name.to_string_lossy();
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let origin = format!("{ENVIRONMENT}{}", shown(&name));
            match path_of(rest) {
                Some(path) => match value.into_string() {
                    Ok(value) => layer.set(path, &origin, value),
                    Err(_) => errors.push(ConfigError::Invalid {
                        at: Place { origin, key: path },
                        problem: "the value is not UTF-8; set it anew, or unset the variable"
                            .into(),
                    }),
                },
                None => errors.push(ConfigError::Unknown {
                    at: Place { origin, key: shown(&rest.to_lowercase().replace("__", ".")) },
                    what: "key",
                    mend: "use OVPN_WARDEN__SECTION__KEY or OVPN_WARDEN__SERVERS__0__KEY".into(),
                }),
            }
        }
        layer
    }

    /// Flags of the command line, as `("log.format", "json")`.
    pub(super) fn flags(flags: &[(&str, String)]) -> Self {
        let mut layer = Self::default();
        for (key, value) in flags {
            layer.set((*key).to_owned(), FLAGS, value.clone());
        }
        layer
    }

    /// The sections that it names, and where.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(path, value)| {
            let name = path.split(['.', '[']).next().unwrap_or(path);
            (name, value.origin().unwrap_or_default().to_owned())
        })
    }

    fn set(&mut self, path: String, origin: &str, text: String) {
        let value = Value::new(Some(&origin.to_owned()), ValueKind::String(text));
        self.0.insert(path, value);
    }
}

/// Why a text is not TOML, with line and key.
fn refused(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or_default();
    let start = span.start.min(text.len());
    let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
    let key = key_at(text, start);
    let value = text.get(span).unwrap_or_default();
    let is_number = value.bytes().any(|b| b.is_ascii_digit())
        && value.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'_'));
    match key {
        // The crate's own words would be that it expected a value.
        Some(key) if is_number => ConfigError::Invalid {
            at: Place { origin: format!("{}:{line}", path.display()), key },
            problem: format!("no key takes a number so far from 0; use at most {}", i64::MAX),
        },
        key => ConfigError::Syntax {
            path: path.to_owned(),
            line,
            key,
            problem: error.message().replace('\n', ", "),
        },
    }
}

/// The key whose value stands at `at`, as far as a text can tell that is not TOML.
fn key_at(text: &str, at: usize) -> Option<String> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let (key, _) = text[start..].lines().next()?.split_once('=')?;
    let key = key.trim();
    if !is_name(key) {
        return None;
    }
    let head = text[..start].lines().rev().find(|line| line.starts_with('['));
    let section = head.and_then(|head| head.trim_start_matches('[').split(']').next());
    Some(match section.map(str::trim).filter(|section| is_name(section)) {
        Some(section) => shown(&format!("{section}.{key}")),
        None => shown(key),
    })
}

/// Whether a value is text only because the environment and flags know nothing else.
pub(super) fn is_untyped(origin: &str) -> bool {
    origin.starts_with(ENVIRONMENT) || origin == FLAGS
}

/// How far up a value's layer is, to tell which of two twins wins.
pub(super) fn rank(origin: &str, files: &[PathBuf]) -> usize {
    if origin == BUILT_IN {
        return 0;
    }
    let file = files.iter().rposition(|path| path.as_os_str() == OsStr::new(origin));
    file.map_or(files.len() + 1, |index| index + 1)
}

/// `AUTH__TIMEOUT_MS` -> `auth.timeout_ms`; `SERVERS__0__NAME` -> `servers[0].name`.
fn path_of(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let parts: Vec<&str> = lower.split("__").collect();
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    match parts[..] {
        ["servers", index, key] if is_word(key) => {
            let index: usize = index.parse().ok().filter(|index| *index < MAX_SERVERS)?;
            Some(format!("servers[{index}].{key}"))
        }
        ["servers", _] => None,
        [section, key] if is_word(section) && is_word(key) => Some(format!("{section}.{key}")),
        _ => None,
    }
}

fn convert(origin: &str, value: toml::Value) -> Value {
    let kind = match value {
        toml::Value::String(text) => ValueKind::String(text),
        toml::Value::Integer(number) => ValueKind::I64(number),
        toml::Value::Float(number) => ValueKind::Float(number),
        toml::Value::Boolean(flag) => ValueKind::Boolean(flag),
        // No key takes a date, and the crate has no kind for one.
        toml::Value::Datetime(_) => ValueKind::Nil,
        toml::Value::Array(items) => {
            ValueKind::Array(items.into_iter().map(|item| convert(origin, item)).collect())
        }
        toml::Value::Table(table) => ValueKind::Table(
            table.into_iter().map(|(key, value)| (key, convert(origin, value))).collect(),
        ),
    };
    Value::new(Some(&origin.to_owned()), kind)
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| explain(&error))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| explain(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("it is larger than 1 MiB; is this the right file?".into());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8; save it as UTF-8".to_owned())
}

/// An input error with what to do about it.
pub(super) fn explain(error: &std::io::Error) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system knows dozens of others")]
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file; correct the path or make it".into(),
        std::io::ErrorKind::PermissionDenied => {
            "permission denied; make it readable for this user, or run as the service's user".into()
        }
        std::io::ErrorKind::IsADirectory => "it is a folder; name a file".into(),
        _ => error.to_string(),
    }
}
