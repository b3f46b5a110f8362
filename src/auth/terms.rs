//! The terms of a session: when it has to end, and why. A core.

use std::time::Duration;

use crate::{
    store::{PolicyRecord, Usage},
    types::{Cause, ExpiryAction, Opening, SessionId, Timestamp, Zone},
};

use super::{
    decide::Defaults,
    quota::{Allowance, Meter},
};

/// What a session has to carry in a minute to count as in use, where the policy does not say:
/// more than OpenVPN's own pings and renegotiations.
const IDLE_BYTES_PER_MINUTE: u64 = 2_048;

/// The terms of an allowed session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// When it has to end.
    pub deadline: Option<Timestamp>,
    /// What sets that: the earliest of all limits.
    pub deadline_reason: Option<Cause>,
    /// Where `deadline` may move to by itself, when others of the same user end.
    pub latest: Option<Timestamp>,
    /// What the client is told then.
    pub expiry_action: ExpiryAction,
    /// What it may carry.
    pub allowance: Option<Allowance>,
    /// For how long it may be idle.
    pub idle: Option<IdleLimit>,
    /// Where its days begin at midnight.
    pub zone: Zone,
}

impl Default for Terms {
    /// No limit at all.
    fn default() -> Self {
        Self {
            deadline: None,
            deadline_reason: None,
            latest: None,
            expiry_action: ExpiryAction::Halt,
            allowance: None,
            idle: None,
            zone: Zone::default(),
        }
    }
}

impl Terms {
    /// Whether a quota limits it.
    pub fn is_metered(&self) -> bool {
        self.allowance.is_some()
            || self.deadline_reason == Some(Cause::TimeQuota)
            || self.latest != self.deadline
    }
}

/// When a session counts as idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleLimit {
    /// In this time
    pub after: Duration,
    /// it has carried less than so many bytes, both ways.
    pub bytes: u64,
}

/// What the terms are made of.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// When the session began.
    pub start: Timestamp,
    /// The time.
    pub now: Timestamp,
    /// The policy of its user.
    pub policy: &'a PolicyRecord,
    /// Last moment of the account.
    pub valid_until: Option<Timestamp>,
    /// Last moment of its device and certificate.
    pub device_until: Option<Timestamp>,
    /// What the configuration says.
    pub defaults: &'a Defaults,
    /// What its user has used.
    pub usage: &'a Usage,
    /// The session, where it is open already.
    pub own: Option<SessionId>,
}

/// The deadline is the earliest limit, and the terms name which one.
pub fn terms(basis: Basis<'_>) -> Terms {
    let Basis { start, now, policy, defaults, .. } = basis;
    let zone = policy.time_zone.unwrap_or(defaults.time_zone);
    let limit = match policy.session_limit_s {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds.into())),
        None => defaults.session_limit,
    };
    let closes = match policy.hours.at(now, zone) {
        Opening::Always => None,
        Opening::Until(at) => Some(at),
        Opening::Closed => Some(now),
    };
    let meter = Meter::new(policy, basis.usage, zone, now);
    let (time_ends, time_ends_alone) = meter.time_ends(basis.own);
    let fixed = [
        (limit.map(|limit| start.saturating_add(limit)), Cause::SessionLimit),
        (basis.valid_until, Cause::AccountExpiry),
        (basis.device_until, Cause::DeviceBlocked),
        (closes, Cause::Hours),
    ];
    let earliest = |time_ends| {
        let limits = fixed.into_iter().chain([(time_ends, Cause::TimeQuota)]);
        limits.filter_map(|(at, cause)| Some((at?, cause))).min_by_key(|(at, _)| *at)
    };
    let (first, last) = (earliest(time_ends), earliest(time_ends_alone));
    let idle_s = policy.idle_s.map_or(defaults.idle, |seconds| {
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    });
    Terms {
        deadline: first.map(|(at, _)| at),
        deadline_reason: first.map(|(_, cause)| cause),
        latest: last.map(|(at, _)| at),
        expiry_action: policy.expiry_action.unwrap_or(defaults.expiry_action),
        allowance: meter.allowance(basis.own),
        idle: idle_s.map(|after| IdleLimit {
            after,
            bytes: policy.idle_bytes.unwrap_or(after.as_secs() * IDLE_BYTES_PER_MINUTE / 60),
        }),
        zone,
    }
}
