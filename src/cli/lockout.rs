//! `lockout …`: who is held back after failed logins.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Desk,
    exit::{CliError, warn},
    input,
    output::{View, or_dash, short_time},
};
use crate::{
    auth::throttle::network,
    store::Lockout,
    types::{Timestamp, Username},
};

/// `lockout …`.
#[derive(Debug, Subcommand)]
pub enum LockoutCommand {
    /// List who is held back, and until when
    List,
    /// Forget failed logins: of a user, at an address, or of the user there; daemons do within 2 s
    Clear(ClearArgs),
}

/// Arguments of `lockout clear`.
#[derive(Debug, Args)]
pub struct ClearArgs {
    #[command(flatten)]
    whose: Whose,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Whose failures.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Whose {
    /// Of this user
    #[arg(long, value_name = "NAME")]
    user: Option<Username>,
    /// At this address; of an IPv6 address, its whole /64
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
}

pub async fn execute(desk: &mut Desk, command: LockoutCommand) -> Result<(), CliError> {
    match command {
        LockoutCommand::List => {
            let lockouts = desk.store.lockouts(desk.now()).await?;
            desk.out.list(&lockouts.iter().map(LockoutView::from).collect::<Vec<_>>())
        }
        LockoutCommand::Clear(ClearArgs { whose: Whose { user, address }, yes }) => {
            let whose = match (&user, address) {
                (Some(user), Some(address)) => format!("of user `{user}` at {address}"),
                (Some(user), None) => format!("of user `{user}`"),
                (None, Some(address)) => format!("at {address}"),
                (None, None) => "of everybody".into(),
            };
            input::confirm(&format!("Forget the failed logins {whose}?"), yes)?;
            let at = address.map(network);
            let removed = desk.store.clear_lockouts(user.as_ref(), at, &desk.actor()).await?;
            if let Some(user) = user.as_ref().filter(|_| removed == 0)
                && desk.store.user(user).await?.is_none()
            {
                warn(&format!("there is no user `{user}`; names are compared exactly"));
            }
            let message = format!("failed logins {whose} are forgotten ({removed} were held back)");
            desk.out.done(&message, &Cleared { lockouts: removed })
        }
    }
}

#[derive(Serialize)]
struct Cleared {
    lockouts: u64,
}

#[derive(Serialize)]
struct LockoutView {
    user: Option<String>,
    scope: &'static str,
    network: Option<String>,
    failures: u32,
    since: String,
    until: String,
    #[serde(skip)]
    times: (Timestamp, Timestamp),
}

impl From<&Lockout> for LockoutView {
    fn from(lockout: &Lockout) -> Self {
        Self {
            user: lockout.user.as_ref().map(Username::to_string),
            scope: lockout.scope.as_str(),
            network: lockout.network.map(|network| match network {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("{ip}/64"),
            }),
            failures: lockout.failures,
            since: lockout.since.to_string(),
            until: lockout.until.to_string(),
            times: (lockout.since, lockout.until),
        }
    }
}

impl View for LockoutView {
    const COLUMNS: &'static [&'static str] =
        &["USER", "FROM", "ADDRESS", "FAILURES", "SINCE", "UNTIL"];

    fn row(&self) -> Vec<String> {
        vec![
            self.user.clone().unwrap_or_else(|| "(everybody)".into()),
            self.scope.into(),
            or_dash(self.network.as_deref()),
            self.failures.to_string(),
            short_time(Some(self.times.0)),
            short_time(Some(self.times.1)),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}
