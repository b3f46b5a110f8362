//! `policy …`: named limits.

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use serde::Serialize;

use super::{
    Desk,
    exit::CliError,
    input,
    output::{View, or_dash},
    parse::{OrNone, PolicyName},
};
use crate::{
    store::{DeviceMode, MAX_COOLDOWN, OnLimit, PolicyRecord, SecondFactorMode},
    types::ExpiryAction,
};

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
    /// Remove a policy that no user has
    Remove {
        /// Its name
        name: PolicyName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// The limits; `none` leaves the configuration's value in force.
#[derive(Debug, Clone, Copy, Args)]
pub struct Limits {
    /// Longest session in seconds, 0 for no limit; `none`: as configured
    #[arg(long, value_name = "N")]
    session_limit_s: Option<OrNone<u32>>,
    /// What a client is told at the end (halt, restart); `none`: as configured
    #[arg(long, value_name = "ACTION", value_parser = expiry_action(), hide_possible_values = true)]
    expiry_action: Option<OrNone<ExpiryAction>>,
    /// How devices are judged (off, log, learn, approve, enforce); `none`: as configured
    #[arg(long, value_name = "MODE", value_parser = device_mode(), hide_possible_values = true)]
    device_mode: Option<OrNone<DeviceMode>>,
    /// Devices that a user may bring by himself, all in all; `none`: 8
    #[arg(long, value_name = "N")]
    max_devices: Option<OrNone<u32>>,
    /// Sessions of a user at once, on all servers; 0 or `none`: any number
    #[arg(long, value_name = "N")]
    max_sessions: Option<OrNone<u32>>,
    /// What happens to one more (deny, replace_oldest, replace_same_device);
    /// `none`: replace_same_device
    #[arg(long, value_name = "WORD", value_parser = on_limit(), hide_possible_values = true)]
    on_limit: Option<OrNone<OnLimit>>,
    /// For how long a user whose time was over stays out, in seconds, at most a day;
    /// 0 or `none`: not at all
    #[arg(long, value_name = "N", value_parser = cooldown)]
    cooldown_s: Option<OrNone<u32>>,
    /// Whether a second factor is asked for (off, optional: of users who have one, required);
    /// `none`: as configured
    #[arg(long, value_name = "WORD", value_parser = second_factor(), hide_possible_values = true)]
    second_factor: Option<OrNone<SecondFactorMode>>,
}

fn second_factor() -> impl TypedValueParser<Value = OrNone<SecondFactorMode>> {
    PossibleValuesParser::new(["off", "optional", "required", "none"]).try_map(|word| word.parse())
}

fn on_limit() -> impl TypedValueParser<Value = OrNone<OnLimit>> {
    PossibleValuesParser::new(["deny", "replace_oldest", "replace_same_device", "none"])
        .try_map(|word| word.parse())
}

fn cooldown(text: &str) -> Result<OrNone<u32>, String> {
    let most = MAX_COOLDOWN.as_secs();
    match text.parse() {
        Ok(OrNone::Value(seconds)) if u64::from(seconds) > most => {
            Err(format!("it is at most {most} seconds"))
        }
        Ok(value) => Ok(value),
        Err(error) => Err(format!("{error}")),
    }
}

fn expiry_action() -> impl TypedValueParser<Value = OrNone<ExpiryAction>> {
    PossibleValuesParser::new(["halt", "restart", "none"]).try_map(|word| word.parse())
}

fn device_mode() -> impl TypedValueParser<Value = OrNone<DeviceMode>> {
    PossibleValuesParser::new(["off", "log", "learn", "approve", "enforce", "none"])
        .try_map(|word| word.parse())
}

impl Limits {
    const fn is_empty(&self) -> bool {
        self.session_limit_s.is_none()
            && self.expiry_action.is_none()
            && self.device_mode.is_none()
            && self.max_devices.is_none()
            && self.max_sessions.is_none()
            && self.on_limit.is_none()
            && self.cooldown_s.is_none()
            && self.second_factor.is_none()
    }

    fn apply(self, policy: &mut PolicyRecord) {
        if let Some(value) = self.session_limit_s {
            policy.session_limit_s = value.into_option();
        }
        if let Some(value) = self.expiry_action {
            policy.expiry_action = value.into_option();
        }
        if let Some(value) = self.device_mode {
            policy.device_mode = value.into_option();
        }
        if let Some(value) = self.max_devices {
            policy.max_devices = value.into_option();
        }
        if let Some(value) = self.max_sessions {
            policy.max_sessions = value.into_option();
        }
        if let Some(value) = self.on_limit {
            policy.on_limit = value.into_option();
        }
        if let Some(value) = self.cooldown_s {
            policy.cooldown_s = value.into_option();
        }
        if let Some(value) = self.second_factor {
            policy.second_factor = value.into_option();
        }
    }
}

pub async fn execute(desk: &mut Desk, command: PolicyCommand) -> Result<(), CliError> {
    match command {
        PolicyCommand::Add { name: PolicyName(name), limits } => {
            let mut policy = PolicyRecord { name, ..PolicyRecord::default() };
            limits.apply(&mut policy);
            put(desk, &policy, false).await
        }
        PolicyCommand::Set { name, limits } => {
            if limits.is_empty() {
                return Err(CliError::usage("nothing to change")
                    .or_next("give a limit: `policy set --help` lists them"));
            }
            let mut policy = existing(desk, &name).await?;
            limits.apply(&mut policy);
            put(desk, &policy, true).await
        }
        PolicyCommand::Show { name } => {
            let policy = existing(desk, &name).await?;
            desk.out.show(&PolicyView::from(&policy))
        }
        PolicyCommand::List => {
            let policies = desk.store.policies().await?;
            desk.out.list(&policies.iter().map(PolicyView::from).collect::<Vec<_>>())
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

async fn put(desk: &mut Desk, policy: &PolicyRecord, replace: bool) -> Result<(), CliError> {
    desk.store.put_policy(policy, replace, &desk.actor()).await.map_err(|error| {
        CliError::from(error)
            .or_next("`ovpn-warden policy list` shows all; `policy set` changes one")
    })?;
    let verb = if replace { "changed" } else { "added" };
    desk.out.done(&format!("policy `{}` {verb}", policy.name), &PolicyView::from(policy))
}

async fn existing(desk: &Desk, name: &PolicyName) -> Result<PolicyRecord, CliError> {
    let policy = desk.store.policy(&name.0).await?;
    policy.ok_or_else(|| {
        CliError::failed(format!("policy `{}` not found", name.0))
            .or_next("`ovpn-warden policy list` shows all policies")
    })
}

#[derive(Serialize)]
struct PolicyView {
    name: String,
    session_limit_s: Option<u32>,
    expiry_action: Option<&'static str>,
    device_mode: Option<&'static str>,
    max_devices: Option<u32>,
    max_sessions: Option<u32>,
    on_limit: Option<&'static str>,
    cooldown_s: Option<u32>,
    second_factor: Option<&'static str>,
}

impl From<&PolicyRecord> for PolicyView {
    fn from(policy: &PolicyRecord) -> Self {
        Self {
            name: policy.name.clone(),
            session_limit_s: policy.session_limit_s,
            expiry_action: policy.expiry_action.map(ExpiryAction::as_str),
            device_mode: policy.device_mode.map(DeviceMode::as_str),
            max_devices: policy.max_devices,
            max_sessions: policy.max_sessions,
            on_limit: policy.on_limit.map(OnLimit::as_str),
            cooldown_s: policy.cooldown_s,
            second_factor: policy.second_factor.map(SecondFactorMode::as_str),
        }
    }
}

impl PolicyView {
    fn values(&self) -> [String; 3] {
        let configured = || "as configured".to_owned();
        let word = |word: Option<&str>| word.map_or_else(configured, str::to_owned);
        let limit = match self.session_limit_s {
            None => configured(),
            Some(0) => "none".into(),
            Some(s) => seconds(s),
        };
        [limit, word(self.expiry_action), word(self.device_mode)]
    }

    fn own_devices(&self) -> String {
        self.max_devices.map_or_else(|| "8".into(), |n| n.to_string())
    }

    fn sessions_at_once(&self, unlimited: &str) -> String {
        let word = self.on_limit.unwrap_or(OnLimit::ReplaceSameDevice.as_str());
        match self.max_sessions {
            None | Some(0) => unlimited.to_owned(),
            Some(n) => format!("{n}, then {word}"),
        }
    }

    fn cooldown(&self) -> String {
        match self.cooldown_s {
            None | Some(0) => "none".to_owned(),
            Some(s) => seconds(s),
        }
    }
}

/// No rounding: what was set is what is shown.
fn seconds(s: u32) -> String {
    format!("{s} s")
}

impl View for PolicyView {
    const COLUMNS: &'static [&'static str] =
        &["NAME", "SESSION", "AT END", "DEVICES", "MAX DEV", "SESSIONS", "COOL-DOWN"];

    /// Short enough for a line of 100 characters; `-`: as configured.
    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            match self.session_limit_s {
                None => "-".into(),
                Some(0) => "none".into(),
                Some(s) => seconds(s),
            },
            or_dash(self.expiry_action),
            or_dash(self.device_mode),
            self.own_devices(),
            self.sessions_at_once("any"),
            self.cooldown(),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let [limit, action, mode] = self.values();
        vec![
            ("name", self.name.clone()),
            ("session limit", limit),
            ("expiry action", action),
            ("device mode", mode),
            ("devices", self.own_devices()),
            ("sessions at once", self.sessions_at_once("any number")),
            ("cool-down", self.cooldown()),
            ("second factor", self.second_factor.unwrap_or("as configured").to_owned()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays_and_none_removes() {
        let mut policy = PolicyRecord {
            name: "p".into(),
            session_limit_s: Some(60),
            expiry_action: Some(ExpiryAction::Halt),
            ..PolicyRecord::default()
        };
        let limits = Limits {
            session_limit_s: None,
            expiry_action: Some(OrNone::None),
            device_mode: Some(OrNone::Value(DeviceMode::Log)),
            max_devices: None,
            max_sessions: Some(OrNone::Value(2)),
            on_limit: None,
            cooldown_s: None,
            second_factor: None,
        };
        limits.apply(&mut policy);
        assert_eq!(
            policy,
            PolicyRecord {
                name: "p".into(),
                session_limit_s: Some(60),
                expiry_action: None,
                device_mode: Some(DeviceMode::Log),
                max_sessions: Some(2),
                ..PolicyRecord::default()
            }
        );
    }
}
