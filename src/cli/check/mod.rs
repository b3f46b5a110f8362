//! `check`: is everything as this daemon needs it. Exit code 3 when a fault was found.

mod conf;
mod lint;
mod rules;
mod site;
#[cfg(test)]
mod tests;
mod version;

use std::path::Path;

use serde::Serialize;

use crate::{
    config::{Config, Endpoint, Server},
    daemon::{self, Visit},
    store::{self, Location, PolicyRecord, Schema, Store, StoreError},
    types::{Clock, DeviceId},
};

use super::{
    CheckArgs, Globals, context,
    exit::{CORRUPT, CliError, Exit},
    output::Output,
    top::poll,
};

use conf::Conf;
use lint::{Ours, Severity};

/// Largest OpenVPN configuration that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// One line of the report.
#[derive(Debug, Serialize)]
struct Line {
    severity: &'static str,
    /// What was looked at: a file, the database, a server.
    subject: String,
    line: Option<usize>,
    directive: Option<&'static str>,
    text: String,
    mend: Option<String>,
}

impl Line {
    fn good(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new("ok", subject, text, None)
    }

    fn fault(subject: impl Into<String>, text: impl Into<String>, mend: Option<String>) -> Self {
        Self::new(Severity::Fault.as_str(), subject, text, mend)
    }

    fn new(
        severity: &'static str,
        subject: impl Into<String>,
        text: impl Into<String>,
        mend: Option<String>,
    ) -> Self {
        Self {
            severity,
            subject: subject.into(),
            line: None,
            directive: None,
            text: text.into(),
            mend,
        }
    }

    /// `fault  server.conf:12  management-signal: why  -> mend`
    fn to_text(&self) -> String {
        let mut text = format!("{:<8} {}", self.severity, self.subject);
        if let Some(line) = self.line {
            text += &format!(":{line}");
        }
        text += "  ";
        if let Some(directive) = self.directive {
            text += &format!("{directive}: ");
        }
        text += &self.text;
        if let Some(mend) = &self.mend {
            text += &format!("\n         -> {mend}");
        }
        text
    }
}

pub(super) fn execute(globals: &Globals, args: CheckArgs) -> Result<Exit, CliError> {
    let config = context::config(globals)?;
    let mut lines = vec![Line::good("configuration", "valid")];
    if config.servers.is_empty() {
        lines.push(Line::fault(
            "configuration",
            "no server is configured",
            Some("add a [[servers]] section with name and management".into()),
        ));
    }
    lines.extend(site::sockets(&config));
    let unreachable = super::runtime()?.block_on(async {
        let mut found = Vec::new();
        let (unreachable, policies) = look_at_database(&config, args.connect, &mut found).await?;
        for path in &args.openvpn_conf {
            lines.extend(look_at(path, &config, &policies)?);
        }
        lines.extend(found);
        if args.connect {
            visit(&config, &mut lines).await;
        }
        Ok::<_, CliError>(unreachable)
    })?;
    if !args.connect {
        lines.push(note("management ports", "not visited: use --connect"));
    }
    let found_fault = lines.iter().any(|line| line.severity == Severity::Fault.as_str());
    let mut out = Output::new(globals.json, globals.quiet > 0);
    if globals.json {
        out.json(&lines)?;
    } else {
        for line in &lines {
            for text in line.to_text().lines() {
                out.line(text)?;
            }
        }
    }
    Ok(match (unreachable, found_fault) {
        (true, _) => Exit::Unreachable,
        (false, true) => Exit::No,
        (false, false) => Exit::Done,
    })
}

fn look_at(path: &Path, config: &Config, policies: &[PolicyRecord]) -> Result<Vec<Line>, CliError> {
    let subject = path.display().to_string();
    let fail = |error: &dyn std::fmt::Display| {
        CliError::usage(format!("cannot read {}: {error}", path.display()))
            .or_next("--openvpn-conf names a configuration of OpenVPN that this user may read")
    };
    let size = std::fs::metadata(path).map_err(|error| fail(&error))?.len();
    if size > MAX_FILE {
        return Err(fail(&"it is larger than 1 MiB"));
    }
    let bytes = std::fs::read(path).map_err(|error| fail(&error))?;
    let strict = lint::strict(config, policies);
    let conf = Conf::parse(&String::from_utf8_lossy(&bytes));
    let ours = Ours { strict, ..Ours::from(config) };
    let mut lines = Vec::new();
    for finding in lint::lint(&conf, &ours) {
        lines.push(Line {
            severity: finding.severity.as_str(),
            subject: subject.clone(),
            line: finding.line,
            directive: Some(finding.directive),
            text: finding.why,
            mend: Some(finding.mend),
        });
    }
    lines.extend(site::password_file(path, &conf, &ours));
    if lines.iter().all(|line| line.severity == Severity::Note.as_str()) {
        let kind = if conf.is_client() { "a client's: " } else { "" };
        lines.insert(0, Line::good(subject, format!("{kind}has what is needed")));
    }
    Ok(lines)
}

fn note(subject: impl Into<String>, text: impl Into<String>) -> Line {
    Line::new(Severity::Note.as_str(), subject, text, None)
}

/// Looks at the schema, of a database server only if it may be visited; true when the database does
/// not answer, and the policies where they can be read. No file is made.
async fn look_at_database(
    config: &Config,
    may_visit: bool,
    lines: &mut Vec<Line>,
) -> Result<(bool, Vec<PolicyRecord>), CliError> {
    const SUBJECT: &str = "database";
    match store::location(&config.database.url)? {
        Location::Server if !may_visit => {
            lines.push(note(SUBJECT, "not visited: its schema is looked at with --connect"));
            return Ok((false, Vec::new()));
        }
        Location::Memory => {
            lines.push(note(SUBJECT, "in memory: all in it is gone when the program ends"));
            return Ok((false, Vec::new()));
        }
        Location::File(path) if matches!(path.try_exists(), Ok(false)) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            lines.push(match folder.filter(|folder| !folder.is_dir()) {
                None => Line::good(
                    SUBJECT,
                    format!("{} is not there yet: `run` or `migrate` will make it", path.display()),
                ),
                Some(folder) => Line::fault(
                    SUBJECT,
                    format!("the directory {} does not exist", folder.display()),
                    Some("make it, or correct [database] url".into()),
                ),
            });
            return Ok((false, Vec::new()));
        }
        Location::Server | Location::File(_) => {}
    }
    let store = context::open_to_look(config)?;
    let schema = store.schema().await;
    let is_current = schema == Ok(Schema::Current);
    let (line, unreachable) = schema_line(schema);
    lines.push(line);
    let mut policies = Vec::new();
    if is_current {
        match logins(&*store).await {
            Ok(nobodys) => lines.extend(nobodys.into_iter().map(nobodys_rows)),
            Err(error) => {
                let text = format!("nobody can log in: {error}");
                lines.push(Line::fault(SUBJECT, text, Some(OWN_TABLES.into())));
            }
        }
        // What is wrong with them is told at each login.
        policies = store.policies().await.unwrap_or_default().policies;
    }
    store.close().await;
    Ok((unreachable, policies))
}

/// What mends tables that are there and cannot be used.
const OWN_TABLES: &str = "if `users` or `devices` are views of yours, give them the columns and types of \
                          \"Your own tables\" in docs/schema.md; otherwise mend that row";

fn nobodys_rows((table, count): (String, u64)) -> Line {
    let text = format!(
        "{count} rows of {table} are of users that are gone; who gets one of their numbers has them"
    );
    let mend = format!(
        "if these are gone for good: DELETE FROM {table} WHERE user_id NOT IN (SELECT id FROM users)"
    );
    Line::new(Severity::Warning.as_str(), "database", text, Some(mend))
}

/// Asks what a login asks, of somebody who is there if anybody is: an operator's views count for no migration.
/// Also what there is of users that are not there.
async fn logins(store: &dyn Store) -> Result<Vec<(String, u64)>, StoreError> {
    let first = store.users(None, 1).await?.into_iter().next();
    let Some(user) = first.map(|user| user.name).or_else(|| "nobody".parse().ok()) else {
        return Ok(Vec::new());
    };
    let device = store.devices(None, 1).await?.into_iter().next();
    let device = device.and_then(|device| DeviceId::parse(&device.identifier).ok());
    store.facts(&user, device.as_ref(), None, Clock::new().now().utc).await?;
    store.nobodys_rows().await
}

/// What there is to say of a schema; true when the database does not answer.
fn schema_line(schema: Result<Schema, StoreError>) -> (Line, bool) {
    let migrate = || Some("run `ovpn-warden migrate`".to_owned());
    let mut unreachable = false;
    let line = match schema {
        Ok(Schema::Current) => Line::good("database", "answers, and its schema is current"),
        Ok(Schema::Missing) => Line::fault("database", "has no tables yet", migrate()),
        Ok(Schema::Behind(count)) => {
            Line::fault("database", format!("{count} migrations are missing"), migrate())
        }
        Ok(Schema::Ahead(_)) => Line::fault(
            "database",
            "its schema is newer than this program",
            Some("install the newer version".into()),
        ),
        Ok(Schema::Broken(number)) => Line::fault(
            "database",
            format!("migration {number} is damaged"),
            Some(
                "restore a backup, or see \"A migration stopped half way\" in docs/operations.md"
                    .into(),
            ),
        ),
        Err(error) => {
            unreachable = matches!(error, StoreError::Unavailable(_));
            let is_corrupt = matches!(error, StoreError::Corrupt(_));
            let mend = if is_corrupt { CORRUPT } else { "see [database] url" };
            Line::fault("database", error.to_string(), Some(mend.into()))
        }
    };
    (line, unreachable)
}

/// Visits every management port.
async fn visit(config: &Config, lines: &mut Vec<Line>) {
    // Who holds a port is the daemon itself, if it says so.
    let links = poll::Daemon::new(config).scrape(None).await.map(|scrape| scrape.links);
    for server in &config.servers {
        let subject = format!("{} ({})", server.name, server.management);
        match daemon::visit(server).await {
            Ok(Visit::Free(version)) => {
                lines.push(Line::good(&subject, format!("answers: {}", version.openvpn)));
                lines.extend(version::lacks(&version, config).into_iter().map(
                    |(severity, what, mend)| {
                        Line::new(severity.as_str(), &subject, what, Some(mend.into()))
                    },
                ));
            }
            Ok(Visit::Listens) => lines.push(Line::good(
                subject,
                "free to listen on; whether OpenVPN dials in shows in `run`",
            )),
            Ok(Visit::Held) => {
                let is_ours =
                    links.as_ref().ok().map(|links| links.get(&server.name) == Some(&true));
                lines.push(held(server, subject, is_ours));
            }
            Err(error) => {
                let mend = "mend that, and run this again; OpenVPN's log has its side of it";
                lines.push(Line::fault(subject, error.to_string(), Some(mend.into())));
            }
        }
    }
}

/// A port that another client holds. `is_ours`: the daemon on this host says that it does, or that
/// it does not; `None`: it says nothing.
fn held(server: &Server, subject: String, is_ours: Option<bool>) -> Line {
    let see = match &server.management {
        Endpoint::Unix(path) => format!("`ss -xp | grep {}`", path.display()),
        Endpoint::Tcp { port, .. } => format!("`ss -tnp dport = :{port}`"),
        Endpoint::Listen(address) => format!("`ss -tlnp sport = :{}`", address.port()),
    };
    let mend =
        format!("{see} shows who; end it, or give it `relay` of [[servers]] in place of the port");
    match is_ours {
        Some(true) => Line::good(subject, "is held by ovpn-warden itself, whose link is up"),
        Some(false) => Line::fault(
            subject,
            "is held by another management client, and ovpn-warden, which runs, has to wait",
            Some(mend),
        ),
        None => Line::new(
            Severity::Warning.as_str(),
            subject,
            "is held by another management client: ovpn-warden itself, if it runs (its metrics do not answer)",
            Some(mend),
        ),
    }
}
