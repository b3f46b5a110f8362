//! What every command needs: the configuration, the database, an actor's name, the time.

use std::{os::unix::fs::MetadataExt, path::PathBuf, sync::Arc};

use crate::{
    config::{self, Config},
    store::{self, Actor, Schema, Store},
    types::{Clock, Password},
};

use super::exit::CliError;

/// Options that stand before or behind any command.
#[derive(Debug, clap::Args)]
pub(super) struct Globals {
    /// Configuration file; may be given several times, later ones win
    /// [default: /etc/ovpn-warden/config.toml if it exists]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(super) config: Vec<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Form of log lines
    #[arg(long, global = true, value_name = "FORM", value_parser = ["json", "pretty", "compact"])]
    pub(super) log_format: Option<String>,
    /// More log lines; twice: still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
}

/// Loads the configuration and tells its warnings on stderr.
#[expect(clippy::print_stderr, reason = "warnings are not the command's output")]
pub(super) fn config(globals: &Globals) -> Result<Config, CliError> {
    let mut overrides = Vec::new();
    if let Some(format) = &globals.log_format {
        overrides.push(("log.format", format.clone()));
    }
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => Some("warn"),
        (false, 0) => None,
        (false, 1) => Some("debug"),
        (false, _) => Some("trace"),
    };
    if let Some(level) = level {
        overrides.push(("log.level", level.to_owned()));
    }
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let loaded = config::load(&globals.config, environment, &overrides)
        .map_err(|errors| CliError::usage(errors.to_string()))?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(loaded.config)
}

/// The database, without asking it anything yet.
pub(super) fn open(config: &Config) -> Result<Arc<dyn Store>, CliError> {
    Ok(store::open(&store::Options {
        url: config.database.url.clone(),
        max_connections: config.database.max_connections,
        connect_timeout: config.database.timeout,
        statement_timeout: config.database.timeout,
    })?)
}

/// The database with the schema that this build knows.
pub(super) async fn open_ready(config: &Config) -> Result<Arc<dyn Store>, CliError> {
    let store = open(config)?;
    let schema = store.schema().await?;
    make_ready(config, &store, schema).await?;
    Ok(store)
}

/// A new embedded database is made by itself; every other schema that is not current is an error.
pub(super) async fn make_ready(
    config: &Config,
    store: &Arc<dyn Store>,
    schema: Schema,
) -> Result<(), CliError> {
    let is_embedded = config.database.url.expose().starts_with(b"sqlite:");
    match schema {
        Schema::Current => Ok(()),
        Schema::Missing if is_embedded => {
            store.migrate(false).await?;
            Ok(())
        }
        Schema::Missing => {
            Err(CliError::failed("the database has no tables yet: run `ovpn-warden migrate`"))
        }
        Schema::Behind(count) => Err(CliError::failed(format!(
            "the database's schema is {count} migration(s) behind: run `ovpn-warden migrate`"
        ))),
        Schema::Ahead(number) => Err(CliError::failed(format!(
            "the database's schema is newer than this program (migration {number}): install the \
             version that made it"
        ))),
        Schema::Broken(number) => Err(CliError::failed(format!(
            "migration {number} of the database was changed or stopped half way: restore a backup, \
             or see docs/schema.md"
        ))),
    }
}

/// Who is at the keyboard, for the audit: the account that the process runs as, and with sudo
/// the one that called it.
pub(super) fn actor(clock: &Clock) -> Actor {
    let uid = std::fs::metadata("/proc/self").map(|own| own.uid()).ok();
    let sudo = || std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    let passwd = || std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = match uid {
        None => "unknown".to_owned(),
        // Whoever is not root could set the variable to anything.
        Some(0) => sudo().unwrap_or_else(|| "root".to_owned()),
        Some(uid) => login_name(uid, &passwd()).unwrap_or_else(|| format!("uid {uid}")),
    };
    let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    Actor { name: format!("cli:{name}"), at: clock.now().utc }
}

/// The name of an account in `/etc/passwd`.
fn login_name(uid: u32, passwd: &str) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Runs a future on a small runtime of its own.
pub(super) fn block_on<F: Future>(future: F) -> Result<F::Output, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("cannot start: {error}")))?;
    Ok(runtime.block_on(future))
}

/// The longest password, in bytes: OpenVPN's `USER_PASS_LEN` with PKCS#11.
const MAX_PASSWORD: u64 = 4_096;

/// A password from stdin, or from the terminal, asked twice.
#[expect(clippy::print_stderr, reason = "a warning is not the command's output")]
pub(super) fn read_password(from_stdin: bool) -> Result<Password, CliError> {
    use std::io::{IsTerminal, Read};

    let stdin = std::io::stdin();
    if !from_stdin && !stdin.is_terminal() {
        // Never by itself: in a loop over a list it would eat the rest of the list.
        return Err(CliError::usage(
            "stdin is no terminal to ask for the password at; pipe it in and say --password-stdin",
        ));
    }
    let bytes = if from_stdin {
        let mut bytes = Vec::new();
        stdin.lock().take(MAX_PASSWORD + 2).read_to_end(&mut bytes)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        bytes
    } else {
        let ask = |prompt| {
            rpassword::prompt_password(prompt)
                .map(|text| Password::new(text.into_bytes()))
                .map_err(CliError::from)
        };
        let first = ask("Password: ")?;
        if ask("Again: ")? != first {
            return Err(CliError::failed("the two passwords differ"));
        }
        first.expose().to_vec()
    };
    let password = Password::new(bytes);
    let bytes = password.expose();
    if bytes.is_empty() {
        return Err(CliError::usage("the password is empty"));
    }
    if bytes.len() as u64 > MAX_PASSWORD {
        return Err(CliError::usage(format!("the password is longer than {MAX_PASSWORD} bytes")));
    }
    if bytes.iter().any(|byte| *byte < 32 || *byte == 127) {
        return Err(CliError::usage(
            "the password has a line end or another control character, which OpenVPN does not carry",
        ));
    }
    if bytes.len() > 128 {
        eprintln!("warning: OpenVPN builds without PKCS#11 carry at most 128 bytes of a password");
    }
    Ok(password)
}

/// Says on stderr that a list may go on where it was cut.
#[expect(clippy::print_stderr, reason = "a warning is not the command's output")]
pub(super) fn note_limit(shown: usize, limit: u32, mend: &str) {
    if shown as u64 >= u64::from(limit) {
        eprintln!("warning: only the first {limit} are shown; {mend}");
    }
}

/// Asks before something is destroyed.
#[expect(clippy::print_stderr, reason = "a question is not the command's output")]
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), CliError> {
    use std::io::{BufRead, IsTerminal};

    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(CliError::usage(format!("{question} Say --yes to do it without being asked")));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(CliError::failed("nothing was changed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nwarden:x:998:998::/:/bin/false\n";
        assert_eq!(login_name(998, passwd), Some("warden".into()));
        assert_eq!(login_name(99, passwd), None);
        assert_eq!(login_name(7, "damaged\n::\n"), None);
    }
}
