//! `policy …`: named limits.

mod limits;
mod view;

use clap::Subcommand;

use super::{
    Desk,
    client_config::{self, ConfigArgs},
    exit::{CliError, warn},
    input,
    parse::PolicyName,
};
use crate::{
    config::Config,
    store::{ConfigOwner, Policies, PolicyChange, PolicyRecord, StoreError},
};
use limits::Limits;
use view::{PolicyView, ShownPolicy};

/// `policy …`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Add a policy
    Add {
        /// 1 to 64 of A-Z a-z 0-9 . _ -
        name: PolicyName,
        #[command(flatten)]
        limits: Limits,
    },
    /// Change a policy; what is not given stays as it is
    Set {
        /// Its name
        name: PolicyName,
        #[command(flatten)]
        limits: Limits,
    },
    /// Show a policy
    Show {
        /// Its name
        name: PolicyName,
    },
    /// List all policies
    List,
    /// Show or change what OpenVPN is told about the clients of all its users
    Config {
        /// Its name
        name: PolicyName,
        #[command(flatten)]
        args: ConfigArgs,
    },
    /// Remove a policy that no user has
    Remove {
        /// Its name
        name: PolicyName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub async fn execute(
    desk: &mut Desk,
    config: &Config,
    command: PolicyCommand,
) -> Result<(), CliError> {
    match command {
        PolicyCommand::Add { name: PolicyName(name), limits } => {
            let mut policy = PolicyRecord { name, ..PolicyRecord::default() };
            limits.apply(&mut policy);
            add(desk, &policy).await
        }
        PolicyCommand::Set { name, limits } => {
            if limits.is_empty() {
                return Err(CliError::usage("nothing to change")
                    .or_next("give a limit: `policy set --help` lists them"));
            }
            set(desk, &name, &limits).await
        }
        PolicyCommand::Show { name } => {
            let policy = existing(desk, &name).await?;
            let lines = desk.store.client_config(&ConfigOwner::Policy(name.0)).await?;
            desk.out.show(&ShownPolicy::new(&policy, &lines))
        }
        PolicyCommand::List => {
            let Policies { policies, unreadable } = desk.store.policies().await?;
            desk.out.list(&policies.iter().map(PolicyView::from).collect::<Vec<_>>())?;
            for (name, error) in unreadable {
                warn(&format!("policy `{name}` is not listed: {error}; its users cannot log in"));
            }
            Ok(())
        }
        PolicyCommand::Config { name, args } => {
            existing(desk, &name).await?;
            client_config::execute(desk, config, ConfigOwner::Policy(name.0), args).await
        }
        PolicyCommand::Remove { name, yes } => {
            let policy = existing(desk, &name).await?;
            input::confirm(&format!("Remove policy `{}`?", name.0), yes)?;
            desk.store.remove_policy(&name.0, &desk.actor()).await.map_err(|error| {
                CliError::from(error).or_next(
                    "`default` stays always; give the users of a policy another one first \
                     with `ovpn-warden user set NAME --policy P`",
                )
            })?;
            let message = format!("policy `{}` removed", name.0);
            desk.out.done(&message, &PolicyView::from(&policy))
        }
    }
}

async fn add(desk: &mut Desk, policy: &PolicyRecord) -> Result<(), CliError> {
    desk.store.put_policy(policy, false, &desk.actor()).await.map_err(|error| {
        CliError::from(error)
            .or_next("`ovpn-warden policy list` shows all; `policy set` changes one")
    })?;
    desk.out.done(&format!("policy `{}` added", policy.name), &PolicyView::from(policy))
}

async fn set(desk: &mut Desk, name: &PolicyName, limits: &Limits) -> Result<(), CliError> {
    let apply = |policy: &mut PolicyRecord| limits.clone().apply(policy);
    let change = PolicyChange { apply: &apply, sets_hours: limits.sets_hours() };
    let policy = desk
        .store
        .change_policy(&name.0, change, &desk.actor())
        .await
        .map_err(|error| mend(error).or_next(SEE_POLICIES))?;
    desk.out.done(&format!("policy `{}` changed", policy.name), &PolicyView::from(&policy))
}

const SEE_POLICIES: &str = "`ovpn-warden policy list` shows all policies";

/// What mends rows of hours that cannot be read.
fn mend(error: StoreError) -> CliError {
    let is_hours = matches!(&error, StoreError::Corrupt(text) if text.contains("policies.hours"));
    let error = CliError::from(error);
    if is_hours {
        error.instead("`policy set NAME --hours …` writes all rows anew")
    } else {
        error
    }
}

async fn existing(desk: &Desk, name: &PolicyName) -> Result<PolicyRecord, CliError> {
    let policy = desk.store.policy(&name.0).await.map_err(mend)?;
    policy.ok_or_else(|| {
        CliError::failed(format!("policy `{}` not found", name.0)).or_next(SEE_POLICIES)
    })
}
