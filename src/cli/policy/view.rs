//! A policy as it is shown.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    cli::{
        client_config::LineView,
        output::{View, or_dash},
    },
    store::{DeviceMode, OnLimit, PolicyRecord, SecondFactorMode, StoredLine},
    types::{Bytes, ExpiryAction, Quotas},
};

/// What is shown of a policy.
#[derive(Serialize)]
pub(super) struct PolicyView {
    name: String,
    session_limit_s: Option<u32>,
    expiry_action: Option<&'static str>,
    device_mode: Option<&'static str>,
    max_devices: Option<u32>,
    max_sessions: Option<u32>,
    on_limit: Option<&'static str>,
    cooldown_s: Option<u32>,
    hours: Option<String>,
    time_zone: Option<String>,
    time_quota_s: BTreeMap<&'static str, u64>,
    data_quota_bytes: BTreeMap<&'static str, u64>,
    idle_s: Option<u32>,
    idle_bytes: Option<u64>,
    require_fingerprint: Option<bool>,
    second_factor: Option<&'static str>,
    retention_days: Option<u32>,
}

fn each(quotas: Quotas) -> BTreeMap<&'static str, u64> {
    quotas.iter().map(|(period, limit)| (period.as_str(), limit)).collect()
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
            hours: Some(policy.hours.to_string()).filter(|hours| !hours.is_empty()),
            time_zone: policy.time_zone.map(|zone| zone.to_string()),
            time_quota_s: each(policy.time_quota),
            data_quota_bytes: each(policy.data_quota),
            idle_s: policy.idle_s,
            idle_bytes: policy.idle_bytes,
            require_fingerprint: policy.require_fingerprint,
            second_factor: policy.second_factor.map(SecondFactorMode::as_str),
            retention_days: policy.retention_days,
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

    fn retention(&self) -> String {
        match self.retention_days {
            None => "as configured".into(),
            Some(0) => "for ever".into(),
            Some(days) => format!("{days} days after their end"),
        }
    }

    fn cooldown(&self) -> String {
        match self.cooldown_s {
            None | Some(0) => "none".to_owned(),
            Some(s) => seconds(s),
        }
    }
}

impl PolicyView {
    const fn fingerprint(&self) -> &'static str {
        match self.require_fingerprint {
            None => "as configured",
            Some(true) => "required",
            Some(false) => "not required",
        }
    }

    fn hours(&self) -> String {
        self.hours.clone().unwrap_or_else(|| "at all times".into())
    }

    fn time_quota(&self) -> String {
        let each = self.time_quota_s.iter().map(|(period, limit)| format!("{limit} s/{period}"));
        or_none(each.collect())
    }

    fn data_quota(&self) -> String {
        let limits = self.data_quota_bytes.iter();
        or_none(limits.map(|(period, limit)| format!("{}/{period}", Bytes(*limit))).collect())
    }

    fn idle(&self) -> String {
        match (self.idle_s, self.idle_bytes) {
            (None, _) => "as configured".into(),
            (Some(0), _) => "none".into(),
            (Some(s), None) => seconds(s),
            (Some(s), Some(bytes)) => format!("{} with less than {}", seconds(s), Bytes(bytes)),
        }
    }

    /// What else it limits, for a list.
    fn more(&self) -> String {
        let limits = [
            ("hours", self.hours.is_some()),
            ("time", !self.time_quota_s.is_empty()),
            ("data", !self.data_quota_bytes.is_empty()),
            ("idle", self.idle_s.is_some_and(|s| s > 0)),
        ];
        let set: Vec<_> =
            limits.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
        if set.is_empty() { "-".into() } else { set.join(" ") }
    }
}

fn or_none(each: Vec<String>) -> String {
    if each.is_empty() { "none".into() } else { each.join(", ") }
}

/// No rounding: what was set is what is shown.
fn seconds(s: u32) -> String {
    format!("{s} s")
}

impl View for PolicyView {
    const COLUMNS: &'static [&'static str] =
        &["NAME", "SESSION", "AT END", "DEVICES", "MAX DEV", "SESSIONS", "COOL-DOWN", "ALSO"];

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
            self.more(),
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
            ("fingerprint", self.fingerprint().into()),
            ("second factor", self.second_factor.unwrap_or("as configured").to_owned()),
            ("sessions are kept", self.retention()),
            ("hours", self.hours()),
            ("time zone", self.time_zone.clone().unwrap_or_else(|| "as configured".into())),
            ("time quota", self.time_quota()),
            ("data quota", self.data_quota()),
            ("idle", self.idle()),
        ]
    }
}
/// A policy with what OpenVPN is told about its users' clients.
#[derive(Serialize)]
pub(super) struct ShownPolicy {
    #[serde(flatten)]
    policy: PolicyView,
    config: Vec<LineView>,
}

impl ShownPolicy {
    pub fn new(policy: &PolicyRecord, config: &[StoredLine]) -> Self {
        let config = config.iter().map(LineView::from).collect();
        Self { policy: PolicyView::from(policy), config }
    }
}

impl View for ShownPolicy {
    const COLUMNS: &'static [&'static str] = PolicyView::COLUMNS;

    fn row(&self) -> Vec<String> {
        self.policy.row()
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let mut lines = self.policy.details();
        lines.extend(self.config.iter().map(|line| ("client", line.shown())));
        lines
    }
}
