//! What can be wrong with a configuration: where, what, and the mend, in one line each.

use std::fmt;

use thiserror::Error;

/// One fault. `place` is a file or an environment variable; no text holds a secret's value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{place}: cannot read it: {reason}")]
    Unreadable {
        /// The file.
        place: String,
        /// The system's words.
        reason: String,
    },
    /// A file is not TOML.
    #[error("{place}: line {line}: {reason}")]
    Syntax {
        /// The file.
        place: String,
        /// From 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{place}: there is no key `{key}`{suggestion}")]
    UnknownKey {
        /// File or variable.
        place: String,
        /// The key.
        key: String,
        /// `; do you mean `…`?`, or nothing.
        suggestion: String,
    },
    /// A value of a wrong kind.
    #[error("{place}: `{key}` is {found}, but has to be {wanted}")]
    WrongType {
        /// File or variable.
        place: String,
        /// The key.
        key: String,
        /// What it is.
        found: String,
        /// What it has to be.
        wanted: String,
    },
    /// A value that is not permitted.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// Why, and what is permitted.
        reason: String,
    },
}

impl ConfigError {
    pub(super) fn value(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { key: key.into(), reason: reason.into() }
    }
}

/// All faults that were found, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}
