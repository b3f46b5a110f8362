//! What is wrong with a configuration: one line each, with the place and the mend.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::types::Printable;

/// Where a value comes from, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A file, an environment variable or a flag.
    pub origin: String,
    /// As `auth.timeout_ms` or `servers[0].name`.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Printable(self.origin.as_bytes()), self.key)
    }
}

/// One fault. Texts never hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A configuration file cannot be read.
    #[error("{}: cannot read the configuration: {problem}", printable(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        problem: String,
    },
    /// A configuration file is not TOML.
    #[error("{}:{line}: {}not valid TOML: {problem}", printable(path), before(key))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The key, where one stands there.
        key: Option<String>,
        /// From 1.
        line: usize,
        /// What the parser expects.
        problem: String,
    },
    /// A section or key that does not exist.
    #[error("{at}: no such {what}; {mend}")]
    Unknown {
        /// Where.
        at: Place,
        /// `key` or `section`.
        what: &'static str,
        /// The nearest one, or all of them.
        mend: String,
    },
    /// A value of another type.
    #[error("{at}: {found} stands where {expected} is expected")]
    WrongType {
        /// Where.
        at: Place,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A number outside its bounds.
    #[error("{at}: {value} is out of range; use {min} to {max}")]
    OutOfRange {
        /// Where.
        at: Place,
        /// The value.
        value: i128,
        /// Least.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A word that is not one of a closed set.
    #[error("{at}: `{word}` is not one of the permitted words; use {permitted}")]
    UnknownWord {
        /// Where.
        at: Place,
        /// The word.
        word: String,
        /// All of them.
        permitted: String,
    },
    /// A key that has no default.
    #[error("{at}: missing; {mend}")]
    Missing {
        /// Where.
        at: Place,
        /// What to write.
        mend: &'static str,
    },
    /// A secret and its file are both given.
    #[error("{at}: given beside {key}_file; keep one of the two")]
    Twins {
        /// Where.
        at: Place,
        /// The key without `_file`.
        key: &'static str,
    },
    /// Anything else; the text says what to do.
    #[error("{at}: {problem}")]
    Invalid {
        /// Where.
        at: Place,
        /// What is wrong and what to do.
        problem: String,
    },
}

fn printable(path: &Path) -> Printable<'_> {
    Printable(path.as_os_str().as_encoded_bytes())
}

fn before(key: &Option<String>) -> String {
    key.as_ref().map_or_else(String::new, |key| format!("{key}: "))
}

/// Everything that is wrong, one line each.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}
