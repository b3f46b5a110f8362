//! The decision: facts in, verdict out. A core.
//!
//! Rules stand in one list in the order in which they are asked; the first that refuses gives
//! the reason. What a person could learn about an account comes after the password.

use std::time::Duration;

use crate::{
    store::{
        DeviceEnds, DeviceMode, DeviceStatus, Facts, PolicyRecord, SecondFactorMode, Standing,
        Usage,
    },
    types::{Cause, DenyReason, ExpiryAction, Opening, Timestamp, Zone},
};

use super::{
    device::DeviceError,
    quota::Meter,
    request::{AuthRequest, Claimed, RequestKind},
    second_factor::FactorCheck,
    terms::{self, Basis, Terms},
};

/// What the configuration says where a policy does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// How devices are judged.
    pub device_mode: DeviceMode,
    /// Longest session; `None`: no limit.
    pub session_limit: Option<Duration>,
    /// What a client is told at the end.
    pub expiry_action: ExpiryAction,
    /// Whether the common name must equal the username.
    pub match_common_name: bool,
    /// Whether the certificate's fingerprint has to be registered, too.
    pub require_fingerprint: bool,
    /// By whose clocks hours and quotas count.
    pub time_zone: Zone,
    /// How long a session may be idle; `None`: for ever.
    pub idle: Option<Duration>,
    /// Whether a second factor is asked for.
    pub second_factor: SecondFactorMode,
}

/// What is known of the password when the rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCheck {
    /// It is right.
    Right,
    /// It is wrong, or there is none to compare with.
    Wrong,
    /// It was not asked for.
    NotNeeded,
}

/// One login as the rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What the client sent.
    pub request: &'a AuthRequest,
    /// What the database says; `None`: no such user.
    pub facts: Option<&'a Facts>,
    /// What the user has used of quotas; nothing where there are none.
    pub usage: &'a Usage,
    /// The password.
    pub password: PasswordCheck,
    /// The second factor.
    pub factor: FactorCheck,
    /// What the configuration says.
    pub defaults: &'a Defaults,
    /// The time.
    pub now: Timestamp,
}

/// A rule: its name and its judgement, `None` for a pass.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name, for `explain`.
    pub name: &'static str,
    judge: fn(&Case<'_>, &Facts) -> Option<DenyReason>,
}

/// Every rule about a user that exists, in the order in which they are asked.
pub const RULES: &[Rule] = &[
    Rule { name: "password", judge: password },
    Rule { name: "account_enabled", judge: account_enabled },
    Rule { name: "account_validity", judge: account_validity },
    Rule { name: "common_name", judge: common_name },
    Rule { name: "second_factor", judge: second_factor },
    Rule { name: "device", judge: device },
    Rule { name: CERTIFICATE, judge: certificate },
    Rule { name: DEVICE_VALIDITY, judge: device_validity },
    Rule { name: "cooldown", judge: cooldown },
    Rule { name: "allowed_hours", judge: allowed_hours },
    Rule { name: "time_quota", judge: time_quota },
    Rule { name: "data_quota", judge: data_quota },
];

/// The rule about the last moment of device and certificate.
pub const DEVICE_VALIDITY: &str = "device_validity";

/// The rule about the certificate beside the device.
pub const CERTIFICATE: &str = "certificate";

/// Devices that a user may bring where the policy does not say how many.
const MAX_DEVICES: u32 = 8;

/// How long after the end of its account or device a session is ended that has another deadline.
const OVERDUE: Duration = Duration::from_secs(1);

/// For so long a session that is being ended may be there beside the one that comes back for it.
const ENDING: Duration = Duration::from_secs(10);

/// From which age on a session's account or device that is not there counts as removed.
const ABSENCE: Duration = Duration::from_secs(60);

/// Judges one login: its terms, or the first reason against it.
///
/// # Errors
/// The reason for a denial.
pub fn decide(case: &Case<'_>) -> Result<Terms, DenyReason> {
    let Some(facts) = case.facts else {
        return Err(match case.request.user {
            Claimed::Missing => DenyReason::MissingCredentials,
            Claimed::Valid(_) | Claimed::Invalid => DenyReason::UnknownUser,
        });
    };
    match refusal(case, facts) {
        Some((_, reason)) => Err(reason),
        None => Ok(terms(case, facts)),
    }
}

fn refusal(case: &Case<'_>, facts: &Facts) -> Option<(&'static str, DenyReason)> {
    RULES.iter().find_map(|rule| Some((rule.name, (rule.judge)(case, facts)?)))
}

/// The name of the rule that refuses: what its user can do depends on it.
pub fn refusing_rule(case: &Case<'_>) -> Option<&'static str> {
    refusal(case, case.facts?).map(|(rule, _)| rule)
}

/// Every rule with its verdict, the user's existence first: `None` for a pass. A decision stops at
/// the first reason; this does not.
pub fn explain(case: &Case<'_>) -> Vec<(&'static str, Option<DenyReason>)> {
    const USER: &str = "user";
    match case.facts {
        None => vec![(USER, decide(case).err())],
        Some(facts) => std::iter::once((USER, None))
            .chain(RULES.iter().map(|rule| (rule.name, (rule.judge)(case, facts))))
            .collect(),
    }
}

fn password(case: &Case<'_>, _: &Facts) -> Option<DenyReason> {
    (case.password == PasswordCheck::Wrong).then_some(DenyReason::BadCredentials)
}

fn account_enabled(_: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    (!facts.user.enabled).then_some(DenyReason::AccountDisabled)
}

fn account_validity(case: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    if facts.user.valid_from.is_some_and(|from| case.now < from) {
        Some(DenyReason::AccountNotYetValid)
    } else if facts.user.valid_until.is_some_and(|until| case.now >= until) {
        Some(DenyReason::AccountExpired)
    } else {
        None
    }
}

fn common_name(case: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    let matches = case.request.common_name.as_deref() == Some(facts.user.name.as_str());
    (case.defaults.match_common_name && !matches).then_some(DenyReason::CommonNameMismatch)
}

/// Before what is judged of the device: it is not even recorded for somebody with half a login.
fn second_factor(case: &Case<'_>, _: &Facts) -> Option<DenyReason> {
    case.factor.refuses()
}

fn device(case: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    if matches!(case.request.kind, RequestKind::Adopt { .. }) {
        return None;
    }
    match facts.policy.device_mode.unwrap_or(case.defaults.device_mode) {
        // No mode means a client that says two things of itself.
        _ if matches!(case.request.device, Err(DeviceError::Conflicting(_))) => {
            Some(DenyReason::DeviceInvalid)
        }
        DeviceMode::Off | DeviceMode::Log => None,
        DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce => {
            match (&case.request.device, facts.device) {
                (Err(_), _) => Some(DenyReason::DeviceInvalid),
                (Ok(None), _) => Some(DenyReason::DeviceMissing),
                (Ok(Some(_)), registered) => {
                    enforced(true, enrolment(case, facts).map(|new| new.status).or(registered))
                }
            }
        }
    }
}

/// The certificate beside the device: only an operator registers it.
fn certificate(case: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    let is_required = requires_fingerprint(&facts.policy, case.defaults);
    if !is_required || matches!(case.request.kind, RequestKind::Adopt { .. }) {
        return None;
    }
    enforced(case.request.certificate.is_some(), facts.certificate)
}

/// A device and a certificate that are registered for a while.
fn device_validity(case: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    let ends = device_end(&facts.policy, case.defaults, facts.ends, judged_devices(case));
    ends.is_some_and(|at| case.now >= at).then_some(DenyReason::DeviceBlocked)
}

/// Whether device and certificate are looked at: not of a client that was found connected, of which
/// nobody knows them.
const fn judged_devices(case: &Case<'_>) -> bool {
    !matches!(case.request.kind, RequestKind::Adopt { .. })
}

/// Last moment of a device and of its certificate, as far as they count.
fn device_end(
    policy: &PolicyRecord,
    defaults: &Defaults,
    ends: DeviceEnds,
    are_judged: bool,
) -> Option<Timestamp> {
    let by_device = ends.device.filter(|_| judges_devices(policy, defaults));
    let by_certificate = ends.certificate.filter(|_| requires_fingerprint(policy, defaults));
    by_device.into_iter().chain(by_certificate).min().filter(|_| are_judged)
}

fn judges_devices(policy: &PolicyRecord, defaults: &Defaults) -> bool {
    match policy.device_mode.unwrap_or(defaults.device_mode) {
        DeviceMode::Off | DeviceMode::Log => false,
        DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce => true,
    }
}

fn requires_fingerprint(policy: &PolicyRecord, defaults: &Defaults) -> bool {
    policy.require_fingerprint.unwrap_or(defaults.require_fingerprint)
}

/// Why `enforce` refuses a login with or without a device, which has this standing.
pub const fn enforced(has_device: bool, registered: Option<DeviceStatus>) -> Option<DenyReason> {
    match (has_device, registered) {
        (false, _) => Some(DenyReason::DeviceMissing),
        (true, None) => Some(DenyReason::DeviceUnknown),
        (true, Some(DeviceStatus::Pending)) => Some(DenyReason::DevicePending),
        (true, Some(DeviceStatus::Blocked)) => Some(DenyReason::DeviceBlocked),
        (true, Some(DeviceStatus::Approved)) => None,
    }
}

fn terms(case: &Case<'_>, facts: &Facts) -> Terms {
    let start = match case.request.kind {
        RequestKind::Connect => case.now,
        RequestKind::Reauth { connected_since, .. } | RequestKind::Adopt { connected_since } => {
            connected_since
        }
    };
    terms::terms(Basis {
        start,
        now: case.now,
        policy: &facts.policy,
        valid_until: facts.user.valid_until,
        device_until: device_end(&facts.policy, case.defaults, facts.ends, judged_devices(case)),
        defaults: case.defaults,
        usage: case.usage,
        own: None,
    })
}

/// How a device is registered by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolment {
    /// Its standing.
    pub status: DeviceStatus,
    /// An open enrolment is the reason, and is used up by it.
    pub by_window: bool,
}

/// With what standing a device that the user does not have yet is registered by itself: by an open
/// enrolment in any mode, as the first one by `learn`, to wait for approval by `approve`. One that waits
/// already is what an enrolment was opened for.
pub fn enrolment(case: &Case<'_>, facts: &Facts) -> Option<Enrolment> {
    let is_brought = matches!(case.request.device, Ok(Some(_)));
    if !is_brought || matches!(case.request.kind, RequestKind::Adopt { .. }) {
        return None;
    }
    let mode = facts.policy.device_mode.unwrap_or(case.defaults.device_mode);
    let has_room = facts.devices < facts.policy.max_devices.unwrap_or(MAX_DEVICES);
    let is_open = facts.enrolment_until.is_some_and(|until| case.now < until);
    let (status, by_window) = match mode {
        DeviceMode::Off | DeviceMode::Log => return None,
        DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce if facts.device.is_some() => {
            match (facts.device, is_open) {
                (Some(DeviceStatus::Pending), true) => (DeviceStatus::Approved, true),
                (Some(_), _) | (None, _) => return None,
            }
        }
        DeviceMode::Learn if facts.devices == 0 => (DeviceStatus::Approved, false),
        DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce if is_open && has_room => {
            (DeviceStatus::Approved, true)
        }
        DeviceMode::Approve if has_room => (DeviceStatus::Pending, false),
        DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce => return None,
    };
    Some(Enrolment { status, by_window })
}

/// Who came back by itself after its time was over stays out for a while. A client that is found connected came
/// back so if it did in that while: OpenVPN has let it in by itself, as it does by a token without
/// `external-auth`. A session that was let in here has a row, and is adopted by that.
fn cooldown(case: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    let pause = Duration::from_secs(facts.policy.cooldown_s.unwrap_or(0).into());
    let came = match case.request.kind {
        _ if pause.is_zero() => return None,
        RequestKind::Connect => case.now,
        RequestKind::Adopt { connected_since } => connected_since,
        RequestKind::Reauth { .. } => return None,
    };
    let cools = facts.expired_at.is_some_and(|at| {
        let is_after =
            case.request.kind == RequestKind::Connect || came.saturating_add(ENDING) >= at;
        is_after && came < at.saturating_add(pause)
    });
    cools.then_some(DenyReason::Cooldown)
}

/// Only in the hours of the policy.
fn allowed_hours(case: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    let is_closed = facts.policy.hours.at(case.now, zone(case, facts)) == Opening::Closed;
    (is_closed && !is_extended(case)).then_some(DenyReason::OutsideHours)
}

fn time_quota(case: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    let used = meter(case, facts).time_is_used();
    used.filter(|_| !is_extended(case)).map(|_| DenyReason::TimeQuotaUsed)
}

fn data_quota(case: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    meter(case, facts).data_is_used().map(|_| DenyReason::DataQuotaUsed)
}

fn meter<'a>(case: &Case<'a>, facts: &'a Facts) -> Meter<'a> {
    Meter::new(&facts.policy, case.usage, zone(case, facts), case.now)
}

fn zone(case: &Case<'_>, facts: &Facts) -> Zone {
    facts.policy.time_zone.unwrap_or(case.defaults.time_zone)
}

/// What an operator has granted stands, beside hours and time.
const fn is_extended(case: &Case<'_>) -> bool {
    matches!(case.request.kind, RequestKind::Reauth { is_extended: true, .. })
}

/// Judges a session that runs by what the database says now, without waiting for its
/// renegotiation: its terms (`None`: they stay), or why it has to end. What only the client can show (password,
/// device where it was never asked for) stays as it was judged.
///
/// # Errors
/// The cause of the end.
pub fn review(
    standing: &Standing,
    usage: &Usage,
    defaults: &Defaults,
    now: Timestamp,
) -> Result<Option<Terms>, Cause> {
    // What is not there may not be there yet, in a database that lags behind another.
    let counts_absence = now.saturating_since(standing.started_at) >= ABSENCE;
    let Some(account) = &standing.account else {
        return match counts_absence {
            true => Err(Cause::AccountDisabled),
            false => Ok(None),
        };
    };
    if !account.enabled || account.valid_from.is_some_and(|from| now < from) {
        return Err(Cause::AccountDisabled);
    }
    // Others have ended at their deadline: that of this session was moved by an operator, which lengthens no account.
    if account.valid_until.is_some_and(|until| now >= until.saturating_add(OVERDUE)) {
        return Err(Cause::AccountExpiry);
    }
    if let Some(device) = standing.device.filter(|device| device.is_some() || counts_absence)
        && judges_devices(&account.policy, defaults)
        && device != Some(DeviceStatus::Approved)
    {
        return Err(Cause::DeviceBlocked);
    }
    if let Some(certificate) = standing.certificate.filter(|c| c.is_some() || counts_absence)
        && requires_fingerprint(&account.policy, defaults)
        && certificate != Some(DeviceStatus::Approved)
    {
        return Err(Cause::DeviceBlocked);
    }
    let device_until = device_end(&account.policy, defaults, standing.ends, true);
    if device_until.is_some_and(|until| now >= until.saturating_add(OVERDUE)) {
        return Err(Cause::DeviceBlocked);
    }
    Ok(Some(terms::terms(Basis {
        start: standing.started_at,
        now,
        policy: &account.policy,
        valid_until: account.valid_until,
        device_until,
        defaults,
        usage,
        own: Some(standing.session),
    })))
}

/// Until when what [`review`] says holds, if nothing is changed. What its deadline ends needs no other judgement: an
/// operator may have moved that beyond the end of the account. `None`: for good.
pub fn holds_until(standing: &Standing, defaults: &Defaults, now: Timestamp) -> Option<Timestamp> {
    let is_absent = standing.account.as_ref().is_none_or(|account| {
        (standing.device == Some(None) && judges_devices(&account.policy, defaults))
            || (standing.certificate == Some(None)
                && requires_fingerprint(&account.policy, defaults))
    });
    let absence = is_absent.then(|| standing.started_at.saturating_add(ABSENCE));
    let ends = standing.account.iter().flat_map(|account| {
        let device = device_end(&account.policy, defaults, standing.ends, true);
        account.valid_until.into_iter().chain(device)
    });
    let is_beyond = |end: &Timestamp| standing.deadline.is_none_or(|deadline| deadline > *end);
    let ends = ends.filter(is_beyond).map(|end| end.saturating_add(OVERDUE));
    ends.chain(absence).filter(|at| *at > now).min()
}

#[cfg(test)]
mod tests;
