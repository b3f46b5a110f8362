//! `import …`: users of other programs, all that are asked for or none.

mod file;
mod radius;
mod row;
mod tables;

use std::{
    collections::{BTreeSet, HashSet},
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Desk, Exit, context,
    exit::{CliError, warn},
    output::View,
    progress::Progress,
};
use crate::{
    config::Config,
    store::{ForeignRow, ForeignTable, ImportNote, Imported, Policies, Store, StoreError},
    types::{Password, Username},
};
pub use file::parse;
pub use row::{Plan, Raw, Refused, Rules, plan};

/// Users read at once.
const PAGE: u32 = 1_000;
/// Refused rows in the text; `--json` has all.
const SHOWN: usize = 100;
/// The longest URL in a file, in bytes.
const MAX_URL: u64 = 4096;

/// `import …`.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// A CSV file; its first line names the columns: name, and any of password_hash, policy,
    /// enabled, valid_from, valid_until, devices (several apart by `;`)
    Csv {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// The table `user` of Chocobozzz/OpenVPN-Admin
    OpenvpnAdmin {
        #[command(flatten)]
        from: From,
        #[command(flatten)]
        how: How,
    },
    /// The tables `radcheck` and `radusergroup` of FreeRADIUS
    Freeradius {
        #[command(flatten)]
        from: From,
        #[command(flatten)]
        how: How,
    },
    /// A view `import_users` that you make, with the columns of the CSV file
    View {
        #[command(flatten)]
        from: From,
        #[command(flatten)]
        how: How,
    },
}

/// What is done.
#[derive(Debug, Clone, Copy, Args)]
pub struct How {
    /// Write everything, in one transaction; otherwise only say what would be done
    #[arg(long)]
    apply: bool,
    /// Leave refused rows out instead of writing nothing
    #[arg(long)]
    skip_refused: bool,
}

/// Where the tables are.
#[derive(Debug, Args)]
pub struct From {
    /// The database with the tables, as `database.url` is written [default: the configured one]
    #[arg(long, value_name = "URL", conflicts_with = "from_file")]
    from: Option<String>,
    /// A file that holds that URL: a password on the command line can be seen by everybody here
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

pub async fn execute(
    desk: &mut Desk,
    config: &Config,
    command: ImportCommand,
) -> Result<Exit, CliError> {
    let (source, rows, how) = match command {
        ImportCommand::Csv { file, how } => {
            (format!("csv {}", file.display()), file::read(&file)?, how)
        }
        ImportCommand::OpenvpnAdmin { from, how } => {
            let [users] = foreign(desk, config, from, [ForeignTable::OpenvpnAdmin]).await?;
            ("openvpn-admin".into(), tables::of_openvpn_admin(users), how)
        }
        ImportCommand::Freeradius { from, how } => {
            let tables = [ForeignTable::RadCheck, ForeignTable::RadUserGroup];
            let [checks, groups] = foreign(desk, config, from, tables).await?;
            ("freeradius".into(), radius::rows(checks, groups), how)
        }
        ImportCommand::View { from, how } => {
            let [users] = foreign(desk, config, from, [ForeignTable::View]).await?;
            ("view import_users".into(), tables::of_view(users), how)
        }
    };
    run(desk, config, &source, rows, how).await
}

async fn run(
    desk: &mut Desk,
    config: &Config,
    source: &str,
    rows: Vec<Raw>,
    how: How,
) -> Result<Exit, CliError> {
    let Policies { policies, unreadable } = desk.store.policies().await?;
    let unreadable = unreadable.into_iter().map(|(name, error)| {
        warn(&format!("policy `{name}`: {error}; its users cannot log in"));
        name
    });
    let policies: BTreeSet<_> =
        policies.into_iter().map(|policy| policy.name).chain(unreadable).collect();
    let rules =
        Rules { schemes: &config.auth.password_schemes, policies, existing: existing(desk).await? };
    let plan = plan(rows, &rules);
    let stops = !plan.refused.is_empty() && !how.skip_refused;
    let applied = how.apply && !stops;
    let written = match applied {
        true => write(desk, source, &plan).await?,
        false => Imported {
            users: plan.users.len() as u64,
            devices: plan.users.iter().map(|import| import.devices.len() as u64).sum(),
            existing: plan.existing,
        },
    };
    let report = Report {
        source,
        applied,
        rows: plan.rows,
        users: written.users,
        devices: written.devices,
        without_password: plan.users.iter().filter(|i| i.user.password_hash.is_none()).count(),
        existing: written.existing,
        refused: &plan.refused,
    };
    print(desk, &report)?;
    match (stops, how.apply) {
        (true, true) => Err(CliError::failed(format!(
            "{} of {} rows are refused: nothing was written",
            plan.refused.len(),
            plan.rows
        ))
        .or_next("mend them, or leave them out with --skip-refused")),
        (true, false) => Ok(Exit::No),
        (false, _) => Ok(Exit::Done),
    }
}

async fn write(desk: &Desk, source: &str, plan: &Plan) -> Result<Imported, CliError> {
    let note = ImportNote { source, existing: plan.existing, refused: plan.refused.len() as u64 };
    let (clock, all) = (desk.clock, Some(plan.users.len()));
    let progress = Progress::new(clock, "users", all, desk.out.is_quiet());
    let told = |done| progress.tell(done);
    let actor = desk.actor();
    let work = desk.store.import_users(&plan.users, note, &actor, &told);
    progress.watch(work).await.map_err(|error| {
        match error.to_string().contains("may have been made") {
            true => CliError::from(error),
            false => CliError::from(error).also("nothing was written"),
        }
    })
}

async fn existing(desk: &Desk) -> Result<HashSet<Username>, CliError> {
    let mut names = HashSet::new();
    let mut after: Option<Username> = None;
    loop {
        let page = desk.store.users(after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        after = page.last().map(|user| user.name.clone());
        names.extend(page.into_iter().map(|user| user.name));
        if is_last {
            return Ok(names);
        }
    }
}

/// Reads tables of the database that is asked for.
async fn foreign<const N: usize>(
    desk: &Desk,
    config: &Config,
    from: From,
    tables: [ForeignTable; N],
) -> Result<[Vec<ForeignRow>; N], CliError> {
    let Some(url) = url(from)? else {
        return read(&*desk.store, tables).await;
    };
    let mut other = config.clone();
    other.database.url = url;
    let store: Arc<dyn Store> = context::open(&other)?;
    let read = read(&*store, tables).await;
    store.close().await;
    read
}

async fn read<const N: usize>(
    store: &dyn Store,
    tables: [ForeignTable; N],
) -> Result<[Vec<ForeignRow>; N], CliError> {
    let mut read = [const { Vec::new() }; N];
    for (rows, table) in read.iter_mut().zip(tables) {
        *rows = store.foreign(table).await.map_err(|error| {
            if !matches!(error, StoreError::Schema(_)) {
                return CliError::from(error);
            }
            let columns = table.columns().join(", ");
            CliError::failed(format!("reading {}: {error}", table.name())).or_next(format!(
                "--from names the database that has it, with the columns {columns}"
            ))
        })?;
    }
    Ok(read)
}

/// The URL of another database, if one is given.
fn url(from: From) -> Result<Option<Password>, CliError> {
    let url = match (from.from, from.from_file) {
        (Some(url), _) => {
            let authority = url.split_once("://").map_or("", |(_, rest)| rest);
            if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
                warn(
                    "a password on the command line can be seen by everybody on this machine; \
                      --from-file takes the URL from a file",
                );
            }
            Password::new(url.into_bytes())
        }
        (None, Some(file)) => url_in(&file)?,
        (None, None) => return Ok(None),
    };
    // Opening an SQLite file would make it.
    let text = std::str::from_utf8(url.expose()).unwrap_or_default();
    if let Some(path) = text.strip_prefix("sqlite:")
        && !Path::new(path.strip_prefix("//").unwrap_or(path)).is_file()
    {
        return Err(CliError::failed(format!("--from: there is no file {path}")));
    }
    Ok(Some(url))
}

fn url_in(path: &Path) -> Result<Password, CliError> {
    let failed =
        |error: std::io::Error| CliError::failed(format!("reading {}: {error}", path.display()));
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(CliError::usage(format!("{} is not a regular file", path.display())));
    }
    let mut bytes = Vec::with_capacity(MAX_URL as usize + 1);
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_URL + 1).read_to_end(&mut bytes).map_err(failed)?;
    let url = Password::new(bytes);
    if url.expose().len() as u64 > MAX_URL {
        return Err(CliError::usage(format!("{} holds no URL: it is too long", path.display())));
    }
    Ok(Password::new(url.expose().trim_ascii().to_vec()))
}

/// What an import did, or would do.
#[derive(Serialize)]
struct Report<'a> {
    source: &'a str,
    applied: bool,
    rows: u64,
    users: u64,
    devices: u64,
    without_password: usize,
    existing: u64,
    refused: &'a [Refused],
}

fn print(desk: &mut Desk, report: &Report<'_>) -> Result<(), CliError> {
    if desk.out.is_json() {
        return desk.out.json(report);
    }
    let Report { rows, users, devices, without_password, existing, refused, .. } = report;
    if !refused.is_empty() {
        desk.out.list(&refused[..refused.len().min(SHOWN)])?;
        if refused.len() > SHOWN {
            desk.out.line(&format!("and {} more; --json names all", refused.len() - SHOWN))?;
        }
        desk.out.line("")?;
    }
    let verb = if report.applied { "added" } else { "to add" };
    desk.out.line(&format!(
        "{rows} rows: {users} users {verb} ({without_password} without a password) with {devices} \
         devices, {existing} there already, {} refused",
        refused.len()
    ))?;
    match report.applied {
        true => Ok(()),
        false => desk.out.line("nothing was written; --apply writes it"),
    }
}

impl View for Refused {
    const COLUMNS: &'static [&'static str] = &["ROW", "USER", "REASON"];

    fn row(&self) -> Vec<String> {
        vec![self.row.clone(), self.user.clone(), self.reasons.join("; ")]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(View::row(self)).collect()
    }
}
