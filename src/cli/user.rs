//! `user`: who may connect.

use clap::Subcommand;
use serde::Serialize;

use crate::{
    store::{NewUser, Store, StoreError, UserPatch, UserRecord},
    types::{Clock, Timestamp, Username},
};

use super::{
    context::{self, Globals},
    exit::{CliError, Outcome},
    hash,
    output::{Output, cell},
};

/// Users in one page of the list.
const PAGE: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a user; the password is asked for
    Add {
        /// Login name
        name: Username,
        /// Named limits [default: the policy `default`]
        #[arg(long)]
        policy: Option<String>,
        /// Read the password from stdin
        #[arg(long)]
        password_stdin: bool,
        /// First moment of validity: 2026-12-31, 2026-12-31T18:00:00Z or +2d
        #[arg(long, value_name = "TIME")]
        valid_from: Option<String>,
        /// Last moment of validity
        #[arg(long, value_name = "TIME")]
        valid_until: Option<String>,
    },
    /// Give a user a new password
    SetPassword {
        /// Login name
        name: Username,
        /// Read the password from stdin
        #[arg(long)]
        password_stdin: bool,
    },
    /// Show one user
    Show {
        /// Login name
        name: Username,
    },
    /// List all users
    List,
    /// Let a user connect again
    Enable {
        /// Login name
        name: Username,
    },
    /// Let a user connect no more
    Disable {
        /// Login name
        name: Username,
    },
    /// Change a user
    Set {
        /// Login name
        name: Username,
        /// Named limits
        #[arg(long)]
        policy: Option<String>,
        /// First moment of validity, or `none`
        #[arg(long, value_name = "TIME")]
        valid_from: Option<String>,
        /// Last moment of validity, or `none`
        #[arg(long, value_name = "TIME")]
        valid_until: Option<String>,
    },
    /// Remove a user and its devices; past sessions stay
    Remove {
        /// Login name
        name: Username,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// A user as it is printed: never with the hash.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    policy: String,
    enabled: bool,
    valid_from: Option<String>,
    valid_until: Option<String>,
    password_scheme: Option<String>,
    created_at: String,
    updated_at: String,
}

impl From<UserRecord> for Row {
    fn from(user: UserRecord) -> Self {
        Self {
            name: user.name.to_string(),
            policy: user.policy,
            enabled: user.enabled,
            valid_from: user.valid_from.map(|at| at.to_string()),
            valid_until: user.valid_until.map(|at| at.to_string()),
            password_scheme: user.password_hash.as_deref().map(scheme),
            created_at: user.created_at.to_string(),
            updated_at: user.updated_at.to_string(),
        }
    }
}

/// The word between the first two `$` of a hash.
fn scheme(hash: &str) -> String {
    match hash.strip_prefix('$').and_then(|rest| rest.split_once('$')) {
        Some((word, _)) => word.to_owned(),
        None => "other".to_owned(),
    }
}

pub(super) fn execute(
    globals: &Globals,
    command: Command,
    output: Output,
) -> Result<Outcome, CliError> {
    let config = context::config(globals)?;
    let clock = Clock::new();
    let now = clock.now().utc;
    let params = hash::params(&config.auth);
    // Passwords are read and hashed before the database is opened.
    let work = match command {
        Command::Add { name, policy, password_stdin, valid_from, valid_until } => {
            let password = context::read_password(password_stdin)?;
            Work::Add(NewUser {
                name,
                password_hash: Some(hash::hash(&password, &params)?),
                policy,
                valid_from: time(valid_from.as_deref(), now)?.flatten(),
                valid_until: time(valid_until.as_deref(), now)?.flatten(),
            })
        }
        Command::SetPassword { name, password_stdin } => {
            let password = context::read_password(password_stdin)?;
            let password_hash = Some(hash::hash(&password, &params)?);
            Work::Patch(
                name,
                UserPatch { password_hash, ..UserPatch::default() },
                "has a new password",
            )
        }
        Command::Enable { name } => Work::Patch(
            name,
            UserPatch { enabled: Some(true), ..UserPatch::default() },
            "is enabled",
        ),
        Command::Disable { name } => Work::Patch(
            name,
            UserPatch { enabled: Some(false), ..UserPatch::default() },
            "is disabled; live sessions end at their next renegotiation, or by `session kill`",
        ),
        Command::Set { name, policy, valid_from, valid_until } => {
            let patch = UserPatch {
                policy,
                valid_from: time(valid_from.as_deref(), now)?,
                valid_until: time(valid_until.as_deref(), now)?,
                ..UserPatch::default()
            };
            if patch == UserPatch::default() {
                return Err(CliError::usage(
                    "nothing to change: say --policy, --valid-from or --valid-until",
                ));
            }
            Work::Patch(name, patch, "is changed")
        }
        Command::Remove { name, yes } => {
            context::confirm(&format!("Remove user {name} and its devices?"), yes)?;
            Work::Remove(name)
        }
        Command::Show { name } => Work::Show(name),
        Command::List => Work::List,
    };
    context::block_on(async {
        let store = context::open_ready(&config).await?;
        let result = perform(&*store, work, &clock, output).await;
        store.close().await;
        result
    })??;
    Ok(Outcome::Done)
}

enum Work {
    Add(NewUser),
    Patch(Username, UserPatch, &'static str),
    Remove(Username),
    Show(Username),
    List,
}

async fn perform(
    store: &dyn Store,
    work: Work,
    clock: &Clock,
    output: Output,
) -> Result<(), CliError> {
    let by = context::actor(clock);
    match work {
        Work::Add(user) => {
            store.add_user(&user, &by).await?;
            output.done(&format!("user {} is added", user.name))
        }
        Work::Patch(name, patch, what) => {
            store.patch_user(&name, &patch, &by).await?;
            output.done(&format!("user {name} {what}"))
        }
        Work::Remove(name) => {
            store.remove_user(&name, &by).await?;
            output.done(&format!("user {name} is removed"))
        }
        Work::Show(name) => {
            let user = store
                .user(&name)
                .await?
                .ok_or_else(|| StoreError::NotFound(format!("user `{name}`")))?;
            let row = Row::from(user);
            output.object(&row, &fields(&row))
        }
        Work::List => {
            let mut rows = Vec::new();
            loop {
                let after = rows.last().map(|user: &UserRecord| user.name.clone());
                let page = store.users(after.as_ref(), PAGE).await?;
                let is_last = page.len() < PAGE as usize;
                rows.extend(page);
                if is_last {
                    break;
                }
            }
            let rows: Vec<Row> = rows.into_iter().map(Row::from).collect();
            output.list(&["NAME", "POLICY", "ENABLED", "VALID UNTIL", "PASSWORD"], &rows, |row| {
                vec![
                    cell(Some(&row.name)),
                    row.policy.clone(),
                    yes_no(row.enabled).to_owned(),
                    row.valid_until.clone().unwrap_or_else(|| "-".into()),
                    row.password_scheme.clone().unwrap_or_else(|| "none".into()),
                ]
            })
        }
    }
}

fn fields(row: &Row) -> Vec<(&'static str, String)> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    vec![
        ("name", cell(Some(&row.name))),
        ("policy", row.policy.clone()),
        ("enabled", yes_no(row.enabled).to_owned()),
        ("valid from", or_dash(&row.valid_from)),
        ("valid until", or_dash(&row.valid_until)),
        ("password", or_dash(&row.password_scheme)),
        ("created", row.created_at.clone()),
        ("changed", row.updated_at.clone()),
    ]
}

const fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// `None`: not said; `Some(None)`: `none`.
fn time(text: Option<&str>, now: Timestamp) -> Result<Option<Option<Timestamp>>, CliError> {
    match text {
        None => Ok(None),
        Some("none") => Ok(Some(None)),
        Some(text) => Timestamp::parse(text, now)
            .map(|at| Some(Some(at)))
            .map_err(|error| CliError::usage(error.to_string())),
    }
}
