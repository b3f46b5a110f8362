//! `user …`: accounts.

mod quota;
mod totp;
mod view;

use clap::{Args, Subcommand};

use super::{
    Desk,
    client_config::{self, ConfigArgs},
    exit::CliError,
    hash::hashed,
    input,
    parse::{OrNone, PolicyName, moment, new_name},
};
use crate::{
    config::Config,
    store::{ConfigOwner, NewUser, UserPatch, UserRecord},
    types::{Timestamp, Username},
};
use totp::TotpArgs;
use view::{ShownUser, UserView};

/// `user …`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user
    Add(AddArgs),
    /// Replace a user's password
    SetPassword {
        /// Login name
        name: Username,
        /// Read the password from standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// Show a user
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
    /// Keep a user from connecting
    Disable {
        /// Login name
        name: Username,
    },
    /// Change a user's policy or period of validity
    Set(SetArgs),
    /// Show what a user has used of quotas, and what is left
    Usage {
        /// Login name
        name: Username,
    },
    /// Grant a user time or data beside the quotas
    Grant(quota::GrantArgs),
    /// Show what is granted to a user beside the quotas, or take a grant back
    Grants(quota::GrantsArgs),
    /// Set up a second factor: shows the key for an authenticator app as a QR code, and recovery codes
    Totp(TotpArgs),
    /// Show or change what OpenVPN is told about a user's clients: address, routes, DNS, any option
    Config {
        /// Login name
        name: Username,
        #[command(flatten)]
        args: ConfigArgs,
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

/// Arguments of `user add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Login name
    #[arg(value_parser = new_name)]
    name: Username,
    /// Policy [default: default]
    #[arg(long)]
    policy: Option<PolicyName>,
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
    /// First moment of validity: 2026-12-31, "2026-12-31 18:00" (UTC) or +2h
    #[arg(long, value_name = "TIME")]
    valid_from: Option<String>,
    /// Last moment of validity; a date is its first instant in UTC
    #[arg(long, value_name = "TIME")]
    valid_until: Option<String>,
}

/// Arguments of `user set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Login name
    name: Username,
    #[command(flatten)]
    changes: Changes,
}

/// What to change.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Changes {
    /// Policy; `none` for the policy `default`
    #[arg(long)]
    policy: Option<OrNone<PolicyName>>,
    /// First moment of validity; a date is its first instant in UTC; `none` removes it
    #[arg(long, value_name = "TIME")]
    valid_from: Option<OrNone<String>>,
    /// Last moment of validity; a date is its first instant in UTC; `none` removes it
    #[arg(long, value_name = "TIME")]
    valid_until: Option<OrNone<String>>,
}

pub async fn execute(
    desk: &mut Desk,
    config: &Config,
    command: UserCommand,
) -> Result<(), CliError> {
    match command {
        UserCommand::Add(args) => add(desk, config, args).await,
        UserCommand::SetPassword { name, password_stdin } => {
            existing(desk, &name).await?;
            let password = input::new_password(password_stdin)?;
            let hash = hashed(&password, &config.auth)?;
            let patch = UserPatch { password_hash: Some(hash), ..UserPatch::default() };
            change(desk, &name, &patch, "has a new password").await
        }
        UserCommand::Show { name } => {
            let user = existing(desk, &name).await?;
            let factor = desk.store.second_factor(&name).await?;
            let enrolment = desk.store.enrolment(&name, desk.now()).await?;
            let lines = desk.store.client_config(&ConfigOwner::User(name)).await?;
            desk.out.show(&ShownUser::new(&user, factor, enrolment, &lines))
        }
        UserCommand::List => list(desk).await,
        UserCommand::Enable { name } => switch(desk, &name, true).await,
        UserCommand::Disable { name } => switch(desk, &name, false).await,
        UserCommand::Set(args) => set(desk, args).await,
        UserCommand::Usage { name } => quota::usage(desk, config, &name).await,
        UserCommand::Grant(args) => quota::grant(desk, config, args).await,
        UserCommand::Grants(args) => quota::grants(desk, args).await,
        UserCommand::Totp(args) => totp::execute(desk, args).await,
        UserCommand::Config { name, args } => {
            existing(desk, &name).await?;
            client_config::execute(desk, config, ConfigOwner::User(name), args).await
        }
        UserCommand::Remove { name, yes } => {
            let user = existing(desk, &name).await?;
            input::confirm(&format!("Remove user `{name}` and its devices?"), yes)?;
            desk.store.remove_user(&name, &desk.actor()).await?;
            desk.out.done(&format!("user `{name}` removed"), &UserView::from(&user))
        }
    }
}

async fn add(desk: &mut Desk, config: &Config, args: AddArgs) -> Result<(), CliError> {
    let now = desk.now();
    let at = |flag, text: Option<&String>| text.map(|text| moment(flag, text, now)).transpose();
    let valid_from = at("--valid-from", args.valid_from.as_ref())?;
    let valid_until = at("--valid-until", args.valid_until.as_ref())?;
    check_period(valid_from, valid_until)?;
    // Before anybody types a password in vain.
    if desk.store.user(&args.name).await?.is_some() {
        return Err(CliError::failed(format!("user `{}` exists already", args.name))
            .or_next("change it with `user set` or `user set-password`"));
    }
    if let Some(PolicyName(policy)) = &args.policy
        && desk.store.policy(policy).await?.is_none()
    {
        return Err(no_policy(policy));
    }
    let password = input::new_password(args.password_stdin)?;
    let user = NewUser {
        name: args.name.clone(),
        password_hash: Some(hashed(&password, &config.auth)?),
        policy: args.policy.map(|policy| policy.0),
        valid_from,
        valid_until,
    };
    desk.store.add_user(&user, &desk.actor()).await?;
    let added = existing(desk, &args.name).await?;
    desk.out.done(&format!("user `{}` added{}", args.name, period(&added)), &UserView::from(&added))
}

async fn set(desk: &mut Desk, args: SetArgs) -> Result<(), CliError> {
    let SetArgs { name, changes } = args;
    let now = desk.now();
    let at = |flag, value: Option<OrNone<String>>| match value.map(OrNone::into_option) {
        None => Ok(None),
        Some(None) => Ok(Some(None)),
        Some(Some(text)) => moment(flag, &text, now).map(|at| Some(Some(at))),
    };
    let patch = UserPatch {
        policy: changes
            .policy
            .map(|policy| policy.into_option().map_or_else(|| "default".into(), |name| name.0)),
        valid_from: at("--valid-from", changes.valid_from)?,
        valid_until: at("--valid-until", changes.valid_until)?,
        ..UserPatch::default()
    };
    let user = existing(desk, &name).await?;
    check_period(
        patch.valid_from.unwrap_or(user.valid_from),
        patch.valid_until.unwrap_or(user.valid_until),
    )?;
    if let Some(policy) = &patch.policy
        && desk.store.policy(policy).await?.is_none()
    {
        return Err(no_policy(policy));
    }
    change(desk, &name, &patch, "changed").await
}

async fn switch(desk: &mut Desk, name: &Username, enabled: bool) -> Result<(), CliError> {
    let patch = UserPatch { enabled: Some(enabled), ..UserPatch::default() };
    change(desk, name, &patch, if enabled { "enabled" } else { "disabled" }).await
}

async fn change(
    desk: &mut Desk,
    name: &Username,
    patch: &UserPatch,
    what: &str,
) -> Result<(), CliError> {
    desk.store
        .patch_user(name, patch, &desk.actor())
        .await
        .map_err(|error| CliError::from(error).or_next(SEE_USERS))?;
    let user = existing(desk, name).await?;
    let shown = if patch.valid_from.is_some() || patch.valid_until.is_some() {
        period(&user)
    } else {
        String::new()
    };
    desk.out.done(&format!("user `{name}` {what}{shown}"), &UserView::from(&user))
}

async fn list(desk: &mut Desk) -> Result<(), CliError> {
    const PAGE: u32 = 1_000;
    let mut views = Vec::new();
    let mut after: Option<Username> = None;
    loop {
        let page = desk.store.users(after.as_ref(), PAGE).await?;
        views.extend(page.iter().map(UserView::from));
        match page.last() {
            Some(last) if page.len() >= PAGE as usize => after = Some(last.name.clone()),
            Some(_) | None => return desk.out.list(&views),
        }
    }
}

const SEE_USERS: &str = "`ovpn-warden user list` shows all users; names are compared exactly";

async fn existing(desk: &Desk, name: &Username) -> Result<UserRecord, CliError> {
    let user = desk.store.user(name).await?;
    user.ok_or_else(|| CliError::failed(format!("user `{name}` not found")).or_next(SEE_USERS))
}

fn no_policy(name: &str) -> CliError {
    CliError::failed(format!("policy `{name}` not found"))
        .or_next("add it with `ovpn-warden policy add`; `policy list` shows all")
}

fn check_period(from: Option<Timestamp>, until: Option<Timestamp>) -> Result<(), CliError> {
    match (from, until) {
        (Some(from), Some(until)) if until <= from => Err(CliError::usage(format!(
            "the account would never be valid: from {from} until {until}"
        ))),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

fn period(user: &UserRecord) -> String {
    let from = user.valid_from.map(|at| format!(", valid from {at}"));
    let until = user.valid_until.map(|at| format!(", valid until {at}"));
    format!("{}{}", from.unwrap_or_default(), until.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_an_inside() {
        let [a, b] = [1, 2].map(|s| Some(Timestamp::from_secs(s)));
        assert!(check_period(a, b).is_ok() && check_period(b, None).is_ok());
        assert!(check_period(b, a).is_err() && check_period(a, a).is_err());
    }
}
