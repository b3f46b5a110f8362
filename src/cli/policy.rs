//! `policy`: named limits.

use clap::Subcommand;
use serde::Serialize;

use crate::{
    store::{DeviceMode, PolicyRecord, Store, StoreError},
    types::{Clock, ExpiryAction, ServerName},
};

use super::{
    context::{self, Globals},
    exit::{CliError, Outcome},
    output::Output,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a policy
    Add(Terms),
    /// Change a policy; what is not said stays
    Set(Terms),
    /// Show one policy
    Show {
        /// Its name
        name: String,
    },
    /// List all policies
    List,
    /// Remove a policy that no user has
    Remove {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Terms {
    /// Its name: 1 to 64 of A-Z a-z 0-9 . _ -
    #[arg(value_parser = name)]
    name: ServerName,
    /// Longest session in seconds; 0: no limit; inherit: as configured
    #[arg(long, value_name = "SECONDS", value_parser = session_limit)]
    session_limit_s: Option<Term<u32>>,
    /// What a client is told at the end: halt, restart or inherit
    #[arg(long, value_name = "ACTION", value_parser = expiry_action)]
    expiry_action: Option<Term<ExpiryAction>>,
    /// How devices are judged: off, log, enforce or inherit
    #[arg(long, value_name = "MODE", value_parser = device_mode)]
    device_mode: Option<Term<DeviceMode>>,
}

impl Terms {
    const fn is_empty(&self) -> bool {
        self.session_limit_s.is_none() && self.expiry_action.is_none() && self.device_mode.is_none()
    }
}

/// A limit, or the configuration's value.
#[derive(Debug, Clone, Copy)]
enum Term<T> {
    Inherit,
    Is(T),
}

impl<T: Copy> Term<T> {
    fn parse(
        text: &str,
        read: impl Fn(&str) -> Option<T>,
        permitted: &str,
    ) -> Result<Self, String> {
        if text == "inherit" {
            return Ok(Self::Inherit);
        }
        read(text).map(Self::Is).ok_or_else(|| format!("use {permitted}"))
    }

    const fn value(self) -> Option<T> {
        match self {
            Self::Inherit => None,
            Self::Is(value) => Some(value),
        }
    }
}

/// Ten years: a longer limit is a typing error, in the configuration too.
const MAX_LIMIT_S: u32 = 315_360_000;

fn session_limit(text: &str) -> Result<Term<u32>, String> {
    let read = |text: &str| text.parse().ok().filter(|seconds| *seconds <= MAX_LIMIT_S);
    Term::parse(text, read, "0 to 315360000 (0: no limit), or inherit")
}

fn expiry_action(text: &str) -> Result<Term<ExpiryAction>, String> {
    Term::parse(text, |text| text.parse().ok(), "halt, restart or inherit")
}

fn name(text: &str) -> Result<ServerName, String> {
    text.parse().map_err(|_| "use 1 to 64 of A-Z a-z 0-9 . _ -".to_owned())
}

fn device_mode(text: &str) -> Result<Term<DeviceMode>, String> {
    let read = |text: &str| match text.parse() {
        Ok(mode @ (DeviceMode::Off | DeviceMode::Log | DeviceMode::Enforce)) => Some(mode),
        Ok(_) | Err(_) => None,
    };
    Term::parse(text, read, "off, log, enforce or inherit")
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    session_limit_s: Option<u32>,
    expiry_action: Option<&'static str>,
    device_mode: Option<&'static str>,
}

impl From<PolicyRecord> for Row {
    fn from(policy: PolicyRecord) -> Self {
        Self {
            name: policy.name,
            session_limit_s: policy.session_limit_s,
            expiry_action: policy.expiry_action.map(ExpiryAction::as_str),
            device_mode: policy.device_mode.map(DeviceMode::as_str),
        }
    }
}

impl Row {
    /// Each limit, or where it comes from.
    fn cells(&self) -> [String; 3] {
        let inherited = || "as configured".to_owned();
        [
            match self.session_limit_s {
                None => inherited(),
                Some(0) => "none".to_owned(),
                Some(seconds) => format!("{seconds} s"),
            },
            self.expiry_action.map_or_else(inherited, str::to_owned),
            self.device_mode.map_or_else(inherited, str::to_owned),
        ]
    }
}

pub(super) fn execute(
    globals: &Globals,
    command: Command,
    output: Output,
) -> Result<Outcome, CliError> {
    let config = context::config(globals)?;
    if let Command::Remove { name, yes } = &command {
        context::confirm(&format!("Remove policy {name}?"), *yes)?;
    }
    context::block_on(async {
        let store = context::open_ready(&config).await?;
        let result = perform(&*store, command, output).await;
        store.close().await;
        result
    })??;
    Ok(Outcome::Done)
}

async fn perform(store: &dyn Store, command: Command, output: Output) -> Result<(), CliError> {
    let by = context::actor(&Clock::new());
    match command {
        Command::Add(terms) => {
            let policy =
                merge(PolicyRecord { name: terms.name.to_string(), ..Default::default() }, &terms);
            store.put_policy(&policy, false, &by).await?;
            output.done(&format!("policy {} is added", policy.name))
        }
        Command::Set(terms) => {
            if terms.is_empty() {
                return Err(CliError::usage(
                    "nothing to change: say --session-limit-s, --expiry-action or --device-mode",
                ));
            }
            let policy = merge(find(store, terms.name.as_str()).await?, &terms);
            store.put_policy(&policy, true, &by).await?;
            output.done(&format!("policy {} is changed", policy.name))
        }
        Command::Show { name } => {
            let row = Row::from(find(store, &name).await?);
            let [limit, action, mode] = row.cells();
            let fields = [
                ("name", row.name.clone()),
                ("session limit", limit),
                ("expiry action", action),
                ("device mode", mode),
            ];
            output.object(&row, &fields)
        }
        Command::List => {
            let rows: Vec<Row> = store.policies().await?.into_iter().map(Row::from).collect();
            output.list(&["NAME", "SESSION LIMIT", "EXPIRY ACTION", "DEVICE MODE"], &rows, |row| {
                let [limit, action, mode] = row.cells();
                vec![row.name.clone(), limit, action, mode]
            })
        }
        Command::Remove { name, .. } => {
            store.remove_policy(&name, &by).await?;
            output.done(&format!("policy {name} is removed"))
        }
    }
}

async fn find(store: &dyn Store, name: &str) -> Result<PolicyRecord, CliError> {
    let found = store.policy(name).await?;
    Ok(found.ok_or_else(|| StoreError::NotFound(format!("policy `{name}`")))?)
}

fn merge(mut policy: PolicyRecord, terms: &Terms) -> PolicyRecord {
    if let Some(term) = terms.session_limit_s {
        policy.session_limit_s = term.value();
    }
    if let Some(term) = terms.expiry_action {
        policy.expiry_action = term.value();
    }
    if let Some(term) = terms.device_mode {
        policy.device_mode = term.value();
    }
    policy
}
