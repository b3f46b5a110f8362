//! The limits of a policy as arguments.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::{
    cli::parse::{OrNone, seconds},
    store::{DeviceMode, MAX_COOLDOWN, MAX_SESSIONS, OnLimit, PolicyRecord, SecondFactorMode},
    types::{ExpiryAction, Hours, Quotas, Zone, parse_bytes},
};

/// Longest retention, as in the configuration: a hundred years.
const MAX_DAYS: u32 = 36_500;

/// The limits; `none` leaves the configuration's value in force.
#[derive(Debug, Clone, Default, Args)]
pub struct Limits {
    /// Longest session in seconds, or as 8h; 0 for no limit; `none`: as configured
    #[arg(long, value_name = "N", value_parser = seconds)]
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
    /// Sessions of a user at once, on all servers, at most 1000; 0 or `none`: any number
    #[arg(long, value_name = "N", value_parser = max_sessions)]
    max_sessions: Option<OrNone<u32>>,
    /// What happens to one more (deny, replace_oldest, replace_same_device);
    /// `none`: replace_same_device
    #[arg(long, value_name = "WORD", value_parser = on_limit(), hide_possible_values = true)]
    on_limit: Option<OrNone<OnLimit>>,
    /// For how long a user whose time was over stays out, in seconds, at most a day;
    /// 0 or `none`: not at all
    #[arg(long, value_name = "N", value_parser = cooldown)]
    cooldown_s: Option<OrNone<u32>>,
    /// When its users may be connected, as `mon-fri 08:00-18:00, sat 22:00-02:00`; `none`: at all times
    #[arg(long, value_name = "HOURS")]
    hours: Option<OrNone<Hours>>,
    /// By whose clocks hours and quotas count, as Europe/Berlin; `none`: as configured
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<OrNone<Zone>>,
    /// For how long its users may be connected, as `2h/day, 20h/month` (day, week, month, total);
    /// `none`: without end
    #[arg(long, value_name = "QUOTAS", value_parser = time_quota)]
    time_quota: Option<OrNone<Quotas>>,
    /// How much their sessions may carry, both ways, as `500MiB/day, 20GiB/month`; `none`: any amount
    #[arg(long, value_name = "QUOTAS", value_parser = data_quota)]
    data_quota: Option<OrNone<Quotas>>,
    /// A session ends that was not in use for so many seconds, or as 15m; 0: none does; `none`: as configured
    #[arg(long, value_name = "N", value_parser = seconds)]
    idle_s: Option<OrNone<u32>>,
    /// What a session has to carry in that time to count as in use, as 20KiB; `none`: 2 KiB for each minute
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    idle_bytes: Option<OrNone<u64>>,
    /// Whether the fingerprint of the certificate has to be among the user's devices, too (yes, no);
    /// `none`: as configured
    #[arg(long, value_name = "WORD", value_parser = yes_or_no(), hide_possible_values = true)]
    require_fingerprint: Option<OrNone<bool>>,
    /// Whether a second factor is asked for (off, optional: of users who have one, required);
    /// `none`: as configured
    #[arg(long, value_name = "WORD", value_parser = second_factor(), hide_possible_values = true)]
    second_factor: Option<OrNone<SecondFactorMode>>,
    /// For how many days sessions are kept after their end, at most 36500; 0: for ever; `none`: as configured
    #[arg(long, value_name = "N", value_parser = days)]
    retention_days: Option<OrNone<u32>>,
}

fn days(text: &str) -> Result<OrNone<u32>, String> {
    match text.parse().map_err(|_| "write it as a number of days".to_owned())? {
        OrNone::Value(days) if days > MAX_DAYS => Err(format!("at most {MAX_DAYS} days")),
        value @ (OrNone::None | OrNone::Value(_)) => Ok(value),
    }
}

fn second_factor() -> impl TypedValueParser<Value = OrNone<SecondFactorMode>> {
    PossibleValuesParser::new(["off", "optional", "required", "none"]).try_map(|word| word.parse())
}

fn yes_or_no() -> impl TypedValueParser<Value = OrNone<bool>> {
    PossibleValuesParser::new(["yes", "no", "none"]).map(|word| match word.as_str() {
        "yes" => OrNone::Value(true),
        "no" => OrNone::Value(false),
        _ => OrNone::None,
    })
}

fn time_quota(text: &str) -> Result<OrNone<Quotas>, String> {
    match text {
        "none" => Ok(OrNone::None),
        _ => Quotas::parse_time(text).map(OrNone::Value).map_err(|error| error.to_string()),
    }
}

fn data_quota(text: &str) -> Result<OrNone<Quotas>, String> {
    match text {
        "none" => Ok(OrNone::None),
        _ => Quotas::parse_data(text).map(OrNone::Value).map_err(|error| error.to_string()),
    }
}

fn bytes(text: &str) -> Result<OrNone<u64>, String> {
    match text {
        "none" => Ok(OrNone::None),
        _ => parse_bytes(text)
            .filter(|bytes| *bytes <= u64::MAX >> 1)
            .map(OrNone::Value)
            .ok_or_else(|| "write it as 20KiB or 4096".into()),
    }
}

fn on_limit() -> impl TypedValueParser<Value = OrNone<OnLimit>> {
    PossibleValuesParser::new(["deny", "replace_oldest", "replace_same_device", "none"])
        .try_map(|word| word.parse())
}

fn max_sessions(text: &str) -> Result<OrNone<u32>, String> {
    match text.parse() {
        Ok(OrNone::Value(value)) if value > MAX_SESSIONS => {
            Err(format!("at most {MAX_SESSIONS}; 0 is any number"))
        }
        parsed => parsed.map_err(|error: std::num::ParseIntError| error.to_string()),
    }
}

fn cooldown(text: &str) -> Result<OrNone<u32>, String> {
    let max = MAX_COOLDOWN.as_secs();
    match seconds(text)? {
        OrNone::Value(value) if u64::from(value) > max => Err(format!("at most {max} seconds")),
        value @ (OrNone::None | OrNone::Value(_)) => Ok(value),
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
    /// Nothing is given.
    pub(super) const fn is_empty(&self) -> bool {
        self.session_limit_s.is_none()
            && self.expiry_action.is_none()
            && self.device_mode.is_none()
            && self.max_devices.is_none()
            && self.max_sessions.is_none()
            && self.on_limit.is_none()
            && self.cooldown_s.is_none()
            && self.hours.is_none()
            && self.time_zone.is_none()
            && self.time_quota.is_none()
            && self.data_quota.is_none()
            && self.idle_s.is_none()
            && self.idle_bytes.is_none()
            && self.require_fingerprint.is_none()
            && self.second_factor.is_none()
            && self.retention_days.is_none()
    }

    /// The hours are among what is given.
    pub(super) const fn sets_hours(&self) -> bool {
        self.hours.is_some()
    }

    /// Changes what is given.
    pub(super) fn apply(self, policy: &mut PolicyRecord) {
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
        if let Some(value) = self.hours {
            policy.hours = value.into_option().unwrap_or_default();
        }
        if let Some(value) = self.time_zone {
            policy.time_zone = value.into_option();
        }
        if let Some(value) = self.time_quota {
            policy.time_quota = value.into_option().unwrap_or_default();
        }
        if let Some(value) = self.data_quota {
            policy.data_quota = value.into_option().unwrap_or_default();
        }
        if let Some(value) = self.idle_s {
            policy.idle_s = value.into_option();
        }
        if let Some(value) = self.idle_bytes {
            policy.idle_bytes = value.into_option();
        }
        if let Some(value) = self.require_fingerprint {
            policy.require_fingerprint = value.into_option();
        }
        if let Some(value) = self.second_factor {
            policy.second_factor = value.into_option();
        }
        if let Some(value) = self.retention_days {
            policy.retention_days = value.into_option();
        }
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
            expiry_action: Some(OrNone::None),
            device_mode: Some(OrNone::Value(DeviceMode::Log)),
            max_sessions: Some(OrNone::Value(2)),
            ..Limits::default()
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
