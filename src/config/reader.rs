//! Reads typed values out of the merged layers, and gathers every fault instead of stopping at
//! the first.

#![expect(clippy::wildcard_enum_match_arm, reason = "everything else is of the wrong type")]

use std::{ops::RangeInclusive, path::PathBuf};

use config::{Map, Value, ValueKind};

use super::{
    error::{ConfigError, Place},
    layer,
    secret::{self, SecretError},
    words::{list, shown, suggest},
};
use crate::{store, types::Password};

/// Every other key has a default: only a damaged `conf/default.toml` leaves one out.
pub(super) const DAMAGED: &str = "conf/default.toml of this build is damaged";

/// What reading has found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<String>,
    /// Secrets that stand in the configuration itself.
    pub(super) inline: Vec<Place>,
    /// Every key that was asked for, as `auth.timeout_ms`, `servers.name`.
    pub(super) keys: Vec<String>,
    /// The files, lowest first.
    pub(super) files: Vec<PathBuf>,
}

/// A table whose keys are taken out one by one; what is left at the end is unknown.
pub(super) struct Section<'a> {
    pub(super) report: &'a mut Report,
    /// As `auth` or `servers[0]`.
    path: String,
    /// Where the section was begun, as far as that is known.
    origin: String,
    /// Something else stood there: its keys are not missed.
    is_refused: bool,
    table: Map<String, Value>,
    /// Keys that were asked for, with the origins of those that are there.
    known: Vec<(String, Option<String>)>,
}

impl<'a> Section<'a> {
    /// The section at `path`; empty, with an error, when something else stands there.
    pub(super) fn new(report: &'a mut Report, path: String, value: Option<Value>) -> Self {
        let origin = value.as_ref().map_or_else(|| "configuration".into(), origin_of);
        let mut is_refused = false;
        let table = match value.map(|value| value.kind) {
            None => Map::new(),
            Some(ValueKind::Table(table)) => table,
            Some(other) => {
                let at = Place { origin: origin.clone(), key: path.clone() };
                report.errors.push(wrong_type(at, "a section", &other));
                is_refused = true;
                Map::new()
            }
        };
        Self { report, path, origin, is_refused, table, known: Vec::new() }
    }

    fn place(&self, key: &str, origin: &str) -> Place {
        Place { origin: origin.to_owned(), key: format!("{}.{key}", self.path) }
    }

    /// A fault that shows only when several keys are held against each other.
    pub(super) fn fail(&mut self, key: &str, problem: String) {
        let origin = self.known.iter().find(|(known, _)| known == key);
        let origin = origin.and_then(|(_, origin)| origin.clone());
        let at = self.place(key, &origin.unwrap_or_else(|| self.origin.clone()));
        self.report.errors.push(ConfigError::Invalid { at, problem });
    }

    fn take(&mut self, key: &str) -> Option<(ValueKind, Place)> {
        let origin = self.table.get(key).map(origin_of);
        self.known.push((key.to_owned(), origin));
        let section = self.path.split('[').next().unwrap_or_default();
        self.report.keys.push(format!("{section}.{key}"));
        let value = self.table.remove(key)?;
        let at = self.place(key, &origin_of(&value));
        Some((value.kind, at))
    }

    fn refuse(&mut self, at: Place, expected: &'static str, found: &ValueKind) {
        self.report.errors.push(wrong_type(at, expected, found));
    }

    /// A number in a range; the range's start when it is refused.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> u64 {
        const EXPECTED: &str = "a whole number";
        let (min, max) = (*range.start(), *range.end());
        let Some((kind, at)) = self.take(key) else {
            self.missing(key);
            return min;
        };
        let value: i128 = match kind {
            ValueKind::I64(number) => number.into(),
            ValueKind::String(ref text) if layer::is_untyped(&at.origin) => {
                match text.trim().parse() {
                    Ok(number) => number,
                    Err(_) => {
                        self.refuse(at, EXPECTED, &kind);
                        return min;
                    }
                }
            }
            other => {
                self.refuse(at, EXPECTED, &other);
                return min;
            }
        };
        match u64::try_from(value).ok().filter(|value| range.contains(value)) {
            Some(value) => value,
            None => {
                self.report.errors.push(ConfigError::OutOfRange { at, value, min, max });
                min
            }
        }
    }

    /// [`Self::number`] of 32 bits.
    pub(super) fn number32(&mut self, key: &str, range: RangeInclusive<u32>) -> u32 {
        let value = self.number(key, u64::from(*range.start())..=u64::from(*range.end()));
        u32::try_from(value).unwrap_or(*range.end())
    }

    /// [`Self::number`] of what is counted in memory.
    pub(super) fn size(&mut self, key: &str, range: RangeInclusive<u32>) -> usize {
        usize::try_from(self.number32(key, range)).unwrap_or(usize::MAX)
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        let Some((kind, at)) = self.take(key) else {
            self.missing(key);
            return false;
        };
        match (&kind, layer::is_untyped(&at.origin)) {
            (ValueKind::Boolean(flag), _) => *flag,
            (ValueKind::String(text), true) if text == "true" => true,
            (ValueKind::String(text), true) if text == "false" => false,
            _ => {
                self.refuse(at, "true or false", &kind);
                false
            }
        }
    }

    /// Text, with where it stands.
    pub(super) fn text(&mut self, key: &str) -> Option<(String, Place)> {
        match self.take(key)? {
            (ValueKind::String(text), at) => Some((text, at)),
            (other, at) => {
                self.refuse(at, "text in quotes", &other);
                None
            }
        }
    }

    /// Text that has no default; `mend` says what to write.
    pub(super) fn required(&mut self, key: &str, mend: &'static str) -> Option<(String, Place)> {
        if !self.table.contains_key(key) && !self.is_refused {
            let at = self.place(key, &self.origin);
            self.report.errors.push(ConfigError::Missing { at, mend });
        }
        self.text(key)
    }

    /// One of a closed set of words; `None` when it is refused.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let (text, at) = self.required(key, DAMAGED)?;
        self.pick(&text, at, words)
    }

    /// The value of a word; `None` when it is refused.
    pub(super) fn pick<T: Copy>(
        &mut self,
        text: &str,
        at: Place,
        words: &[(&str, T)],
    ) -> Option<T> {
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let permitted: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.report.errors.push(ConfigError::UnknownWord {
                at,
                word: shown(text),
                permitted: list(&permitted, "or"),
            });
        }
        found
    }

    /// A list of texts; from the environment, separated by commas.
    pub(super) fn list(&mut self, key: &str) -> Option<(Vec<String>, Place)> {
        const EXPECTED: &str = "a list of texts";
        let (kind, at) = self.take(key)?;
        match kind {
            ValueKind::String(text) if layer::is_untyped(&at.origin) => {
                let items = text.split(',').map(|item| item.trim().to_owned());
                Some((items.filter(|item| !item.is_empty()).collect(), at))
            }
            ValueKind::Array(items) => {
                let mut texts = Vec::with_capacity(items.len());
                for item in items {
                    match item.kind {
                        ValueKind::String(text) => texts.push(text),
                        other => {
                            self.refuse(at, "a list of texts only", &other);
                            return None;
                        }
                    }
                }
                Some((texts, at))
            }
            other => {
                self.refuse(at, EXPECTED, &other);
                None
            }
        }
    }

    /// A secret, with where it stands: `key` itself or the content of the file that `key_file` names. Of two layers the
    /// upper one counts; both in one layer are refused.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<(Password, Place)> {
        let file_key = format!("{key}_file");
        let itself = self.text(key);
        let file = self.text(&file_key);
        let file = match (itself, file) {
            (None, None) => return None,
            (Some((text, at)), None) => return self.secret_text(text, at),
            (None, Some(file)) => file,
            (Some((text, at)), Some(file)) => {
                let files = &self.report.files;
                let (own, other) =
                    (layer::rank(&at.origin, files), layer::rank(&file.1.origin, files));
                if own == other {
                    self.report.errors.push(ConfigError::Twins { at, key });
                    return None;
                }
                if own > other {
                    return self.secret_text(text, at);
                }
                file
            }
        };
        let (path, at) = file;
        // Whoever mistakes the two keys writes the secret here: nothing of it may be shown.
        if !path.starts_with('/') {
            let problem = format!(
                "not the absolute path of a file, as /etc/ovpn-warden/{key}; a secret itself belongs in `{key}`"
            );
            self.report.errors.push(ConfigError::Invalid { at, problem });
            return None;
        }
        match secret::read(&PathBuf::from(&path)) {
            Ok((password, warning)) => {
                self.report.warnings.extend(warning.map(|text| format!("{at}: {text}")));
                Some((password, at))
            }
            Err(SecretError(problem)) => {
                let problem = format!("{}: {problem}", shown(&path));
                self.report.errors.push(ConfigError::Invalid { at, problem });
                None
            }
        }
    }

    fn secret_text(&mut self, text: String, at: Place) -> Option<(Password, Place)> {
        match secret::accept(text.into_bytes()) {
            Ok(password) => {
                // The URL of a database need not hold one.
                if at.key != "database.url"
                    || store::secrets(&password).is_ok_and(|s| s.has_password)
                {
                    self.report.inline.push(at.clone());
                }
                Some((password, at))
            }
            Err(SecretError(problem)) => {
                self.report.errors.push(ConfigError::Invalid { at, problem });
                None
            }
        }
    }

    fn missing(&mut self, key: &str) {
        if self.is_refused {
            return;
        }
        let at = self.place(key, &self.origin);
        self.report.errors.push(ConfigError::Missing { at, mend: DAMAGED });
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(self) {
        for (key, value) in &self.table {
            let known: Vec<&str> = self.known.iter().map(|(key, _)| key.as_str()).collect();
            let key = shown(key);
            self.report.errors.push(ConfigError::Unknown {
                at: Place { origin: origin_of(value), key: format!("{}.{key}", self.path) },
                what: "key",
                mend: suggest(&key, &known),
            });
        }
    }
}

/// Where a value comes from. Merging forgets it for a table, so there its first value tells.
pub(super) fn origin_of(value: &Value) -> String {
    let first = match &value.kind {
        ValueKind::Table(table) => table.values().next(),
        _ => None,
    };
    first.unwrap_or(value).origin().unwrap_or("configuration").to_owned()
}

/// What was found instead of what was expected.
pub(super) fn wrong_type(at: Place, expected: &'static str, found: &ValueKind) -> ConfigError {
    let found = match found {
        ValueKind::Nil => "a date",
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            "a number"
        }
        ValueKind::Float(_) => "a number with a point",
        ValueKind::String(_) => "text",
        ValueKind::Table(_) => "a section",
        ValueKind::Array(_) => "a list",
    };
    ConfigError::WrongType { at, expected, found }
}
