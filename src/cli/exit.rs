//! How a command ends: its exit code, and the error that people read.

use std::{fmt, io, io::Write, process::ExitCode};

use crate::{
    store::StoreError,
    types::{Printable, TimestampError},
};

/// Exit codes, as the documentation promises them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or an invalid configuration.
    Usage = 2,
    /// The answer is "no".
    No = 3,
    /// The database cannot be reached.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: what was wrong and where, what to do next, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    exit: Exit,
    /// One `error:` line each; none when there is nobody left to read them.
    lines: Vec<String>,
    next: Option<String>,
}

impl CliError {
    fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, lines: vec![what.into()], next: None }
    }

    /// Exit code 1.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// Exit code 2, with one message.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Exit code 2, with a message for each line of `errors`.
    pub fn configuration(errors: &impl fmt::Display) -> Self {
        let lines = errors.to_string().lines().map(str::to_owned).collect();
        Self { exit: Exit::Usage, lines, next: None }
    }

    /// A quiet end: whoever read the output has gone.
    pub const fn closed_pipe() -> Self {
        Self { exit: Exit::Done, lines: Vec::new(), next: None }
    }

    /// Adds what to do next, unless that was said already.
    #[must_use]
    pub fn or_next(mut self, next: impl Into<String>) -> Self {
        self.next.get_or_insert_with(|| next.into());
        self
    }

    /// What to do next, and not what was said before.
    #[must_use]
    pub fn instead(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Adds what else is to be known, as a line of its own.
    #[must_use]
    pub fn also(mut self, what: impl Into<String>) -> Self {
        self.lines.push(what.into());
        self
    }

    /// The exit code.
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// All of it in one line, for where there is no more room.
    pub fn in_a_line(&self) -> String {
        let what = self.lines.join("; ");
        match &self.next {
            Some(next) => format!("{what} ({next})"),
            None => what,
        }
    }

    /// Writes the error to standard error; that this fails is nobody's concern.
    pub fn report(&self) {
        let _ = write!(io::stderr().lock(), "{self}");
    }
}

/// Lines of `error: …`, then `help: …`, safe to show on a terminal.
impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "error: {}", Printable(line.as_bytes()))?;
        }
        match &self.next {
            Some(next) => writeln!(f, "help: {}", Printable(next.as_bytes())),
            None => Ok(()),
        }
    }
}

/// What to do about data that cannot be right.
pub const CORRUPT: &str = "see that `database.url` names the database of ovpn-warden; if it does, \
                           mend that row, or restore a backup";

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let exit = if error.is_transient() { Exit::Unreachable } else { Exit::Failed };
        let plain = Self::new(exit, error.to_string());
        if error.is_transient() {
            plain.or_next(
                "see that the database runs and that `database.url` names it; \
                 `ovpn-warden check --connect` tries it. While another command writes much \
                 (import, migrate), wait for it",
            )
        } else if matches!(&error, StoreError::Schema(text) if text.to_lowercase().contains("column"))
        {
            plain.or_next(
                "views in place of `users` and `devices` need the columns that docs/schema.md \
                 lists; if there are none, run `ovpn-warden migrate`",
            )
        } else if matches!(error, StoreError::Schema(_)) {
            plain.or_next("run `ovpn-warden migrate`")
        } else if matches!(error, StoreError::Ended) {
            plain.or_next("`ovpn-warden session show` tells how it ended")
        } else if matches!(error, StoreError::Corrupt(_)) {
            plain.or_next(CORRUPT)
        } else {
            plain
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::closed_pipe()
        } else {
            Self::failed(format!("writing the output: {error}"))
        }
    }
}

impl From<TimestampError> for CliError {
    fn from(error: TimestampError) -> Self {
        Self::usage(error.to_string())
    }
}

/// Writes a warning to standard error.
pub fn warn(text: &str) {
    let _ = writeln!(io::stderr().lock(), "warning: {}", Printable(text.as_bytes()));
}

/// Writes a hint to standard error.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "note: {}", Printable(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_database_has_its_own_code() {
        let error = CliError::from(StoreError::Unavailable("timeout".into()));
        assert_eq!(error.exit(), Exit::Unreachable);
        assert!(error.to_string().starts_with("error: database unavailable: timeout\nhelp: "));
        assert_eq!(CliError::from(StoreError::Ended).exit(), Exit::Failed);
    }

    #[test]
    fn every_configuration_error_is_a_line_and_no_line_can_move_the_cursor() {
        let error = CliError::configuration(&"a: bad\nb: \u{1b}[2J");
        assert_eq!(error.exit(), Exit::Usage);
        assert_eq!(error.to_string(), "error: a: bad\nerror: b: \\u{1b}[2J\n");
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit(), error.to_string()), (Exit::Done, String::new()));
    }
}
