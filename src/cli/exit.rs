//! How a command ends: its exit code, and on stderr one line a person can act on.

use std::process::ExitCode;

use thiserror::Error;

use crate::store::StoreError;

/// A command that ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done.
    Done,
    /// The answer is "no".
    No,
    /// The database does not answer, as part of the answer.
    Unreachable,
}

/// A command that failed.
#[derive(Debug, Error)]
pub(super) enum CliError {
    /// Arguments or configuration.
    #[error("{0}")]
    Usage(String),
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The reader of our output has gone: nothing to complain about.
    #[error("output closed")]
    Closed,
}

impl CliError {
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// What to do next, where the text does not say it.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(StoreError::Unavailable(_)) => {
                Some("see [database] url, and whether the database runs")
            }
            Self::Store(StoreError::Schema(_)) => Some("run `ovpn-warden migrate`"),
            Self::Store(StoreError::NotFound(what)) => next_step(what, &LISTS),
            Self::Store(StoreError::Exists(what)) => next_step(what, &CHANGES),
            Self::Store(StoreError::InUse(_)) => Some(
                "give its users another one with `ovpn-warden user set NAME --policy OTHER`; \
                 the policy `default` always stays",
            ),
            Self::Store(StoreError::Ended) => {
                Some("`ovpn-warden session list` shows the live ones")
            }
            Self::Store(_) | Self::Usage(_) | Self::Failed(_) | Self::Closed => None,
        }
    }
}

/// Where to look for what was not found.
const LISTS: [(&str, &str); 4] = [
    ("user", "`ovpn-warden user list` shows all; names are compared letter by letter"),
    ("device", "`ovpn-warden device list USER` shows what a user has"),
    ("policy", "`ovpn-warden policy list` shows all"),
    ("session", "`ovpn-warden session list --all` shows live and ended ones"),
];

/// What to do with what is there already.
const CHANGES: [(&str, &str); 3] = [
    ("user", "change it with `ovpn-warden user set` or `ovpn-warden user set-password`"),
    ("device", "change it with `ovpn-warden device approve` or `ovpn-warden device block`"),
    ("policy", "change it with `ovpn-warden policy set`"),
];

/// By what the error speaks of first: "user `bob`".
fn next_step(what: &str, steps: &[(&str, &'static str)]) -> Option<&'static str> {
    let kind = what.split(' ').next().unwrap_or_default();
    steps.iter().find(|(name, _)| *name == kind).map(|(_, step)| *step)
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::Failed(error.to_string())
        }
    }
}

/// Says what went wrong and gives the exit code: 0 done, 1 failed, 2 usage or configuration,
/// 3 the answer is "no", 4 no database.
#[expect(clippy::print_stderr, reason = "this is where a command's error goes")]
pub(super) fn finish(result: Result<Outcome, CliError>) -> ExitCode {
    let error = match result {
        Ok(Outcome::Done) | Err(CliError::Closed) => return ExitCode::SUCCESS,
        Ok(Outcome::No) => return ExitCode::from(3),
        Ok(Outcome::Unreachable) => return ExitCode::from(4),
        Err(error) => error,
    };
    for line in error.to_string().lines() {
        eprintln!("error: {line}");
    }
    if let Some(hint) = error.hint() {
        eprintln!("       {hint}");
    }
    ExitCode::from(match error {
        CliError::Usage(_) | CliError::Store(StoreError::Url(_)) => 2,
        CliError::Store(StoreError::Unavailable(_)) => 4,
        CliError::Store(_) | CliError::Failed(_) | CliError::Closed => 1,
    })
}
