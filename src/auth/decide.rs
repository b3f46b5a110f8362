//! The decision: facts in, verdict out. A core.
//!
//! Rules stand in one list in the order in which they are asked; the first that refuses gives
//! the reason. What a person could learn about an account comes after the password.

use std::time::Duration;

use crate::{
    store::{DeviceMode, DeviceStatus, Facts, PolicyRecord, SecondFactorMode, Standing},
    types::{Cause, DenyReason, ExpiryAction, Timestamp},
};

use super::{
    request::{AuthRequest, Claimed, RequestKind},
    second_factor::FactorCheck,
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
    Rule { name: "cooldown", judge: cooldown },
];

/// Devices that a user may bring where the policy does not say how many.
const MAX_DEVICES: u32 = 8;

/// From which age on a session's account or device that is not there counts as removed.
const ABSENCE: Duration = Duration::from_secs(60);

/// The terms of an allowed session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// When it has to end.
    pub deadline: Option<Timestamp>,
    /// What sets that: the earliest of all limits.
    pub deadline_reason: Option<Cause>,
    /// What the client is told then.
    pub expiry_action: ExpiryAction,
}

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
    match RULES.iter().find_map(|rule| (rule.judge)(case, facts)) {
        Some(reason) => Err(reason),
        None => Ok(terms(case, facts)),
    }
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
        DeviceMode::Off | DeviceMode::Log => None,
        DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce => {
            match (&case.request.device, facts.device) {
                (Err(_), _) => Some(DenyReason::DeviceInvalid),
                (Ok(None), _) => Some(DenyReason::DeviceMissing),
                (Ok(Some(_)), None) => match enrolment(case, facts).map(|new| new.status) {
                    Some(DeviceStatus::Approved) => None,
                    Some(DeviceStatus::Pending) => Some(DenyReason::DevicePending),
                    Some(DeviceStatus::Blocked) | None => Some(DenyReason::DeviceUnknown),
                },
                (Ok(Some(_)), registered) => enforced(true, registered),
            }
        }
    }
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
        RequestKind::Reauth { connected_since } | RequestKind::Adopt { connected_since } => {
            connected_since
        }
    };
    terms_since(start, &facts.policy, facts.user.valid_until, case.defaults)
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
/// enrolment in any mode, as the first one by `learn`, to wait for approval by `approve`.
pub fn enrolment(case: &Case<'_>, facts: &Facts) -> Option<Enrolment> {
    let is_new = facts.device.is_none() && matches!(case.request.device, Ok(Some(_)));
    if !is_new || matches!(case.request.kind, RequestKind::Adopt { .. }) {
        return None;
    }
    let mode = facts.policy.device_mode.unwrap_or(case.defaults.device_mode);
    let has_room = facts.devices < facts.policy.max_devices.unwrap_or(MAX_DEVICES);
    let is_open = facts.enrolment_until.is_some_and(|until| case.now < until);
    let (status, by_window) = match mode {
        DeviceMode::Off | DeviceMode::Log => return None,
        DeviceMode::Learn if facts.devices == 0 => (DeviceStatus::Approved, false),
        DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce if is_open && has_room => {
            (DeviceStatus::Approved, true)
        }
        DeviceMode::Approve if has_room => (DeviceStatus::Pending, false),
        DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce => return None,
    };
    Some(Enrolment { status, by_window })
}

/// Who came back by itself after its time was over stays out for a while.
fn cooldown(case: &Case<'_>, facts: &Facts) -> Option<DenyReason> {
    let seconds = facts.policy.cooldown_s.unwrap_or(0);
    if seconds == 0 || case.request.kind != RequestKind::Connect {
        return None;
    }
    let pause = Duration::from_secs(seconds.into());
    let cools = facts.expired_at.is_some_and(|at| case.now < at.saturating_add(pause));
    cools.then_some(DenyReason::Cooldown)
}

/// Judges a session that runs by what the database says now, without waiting for its
/// renegotiation: its terms (`None`: they stay), or why it has to end. What only the client can show (password,
/// device where it was never asked for) stays as it was judged.
///
/// # Errors
/// The cause of the end.
pub fn review(
    standing: &Standing,
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
    if let Some(device) = standing.device.filter(|device| device.is_some() || counts_absence) {
        let is_fine = match account.policy.device_mode.unwrap_or(defaults.device_mode) {
            DeviceMode::Off | DeviceMode::Log => true,
            DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce => {
                device == Some(DeviceStatus::Approved)
            }
        };
        if !is_fine {
            return Err(Cause::DeviceBlocked);
        }
    }
    let since = standing.started_at;
    Ok(Some(terms_since(since, &account.policy, account.valid_until, defaults)))
}

/// The deadline is the earliest limit, and the terms name which one.
fn terms_since(
    start: Timestamp,
    policy: &PolicyRecord,
    valid_until: Option<Timestamp>,
    defaults: &Defaults,
) -> Terms {
    let limit = match policy.session_limit_s {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds.into())),
        None => defaults.session_limit,
    };
    let limits = [
        (limit.map(|limit| start.saturating_add(limit)), Cause::SessionLimit),
        (valid_until, Cause::AccountExpiry),
    ];
    let earliest =
        limits.into_iter().filter_map(|(at, cause)| Some((at?, cause))).min_by_key(|(at, _)| *at);
    Terms {
        deadline: earliest.map(|(at, _)| at),
        deadline_reason: earliest.map(|(_, cause)| cause),
        expiry_action: policy.expiry_action.unwrap_or(defaults.expiry_action),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::device::DeviceError,
        store::{PolicyRecord, UserRecord},
        types::{DeviceId, Password},
    };

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn defaults() -> Defaults {
        Defaults {
            device_mode: DeviceMode::Enforce,
            session_limit: Some(Duration::from_secs(3_600)),
            expiry_action: ExpiryAction::Halt,
            match_common_name: false,
            second_factor: SecondFactorMode::Optional,
        }
    }

    fn request() -> AuthRequest {
        AuthRequest {
            server: "udp".parse().unwrap(),
            kind: RequestKind::Connect,
            user: Claimed::Valid("alice".parse().unwrap()),
            password: Some(Password::from(&b"pw"[..])),
            token: None,
            response: Default::default(),
            common_name: Some("alice".into()),
            device: Ok(Some(DeviceId::parse("02:1a:2b:3c:4d:5e").unwrap())),
            client_ip: None,
        }
    }

    fn facts() -> Facts {
        Facts {
            user: UserRecord {
                id: 1,
                name: "alice".parse().unwrap(),
                password_hash: None,
                policy: "default".into(),
                enabled: true,
                valid_from: None,
                valid_until: None,
                password_changed_at: None,
                created_at: NOW,
                updated_at: NOW,
            },
            policy: PolicyRecord { name: "default".into(), ..PolicyRecord::default() },
            device: Some(DeviceStatus::Approved),
            devices: 1,
            enrolment_until: None,
            expired_at: None,
            second_factor: None,
        }
    }

    fn standing() -> Standing {
        Standing {
            session: crate::types::SessionId::new(NOW, [1; 10]),
            started_at: NOW,
            account: Some(crate::store::Account {
                enabled: true,
                valid_from: None,
                valid_until: None,
                policy: PolicyRecord { name: "default".into(), ..PolicyRecord::default() },
            }),
            device: Some(Some(DeviceStatus::Approved)),
        }
    }

    #[test]
    fn a_device_is_registered_by_itself_where_the_mode_or_an_enrolment_says_so() {
        use DeviceMode::{Approve, Enforce, Learn, Log, Off};
        use DeviceStatus::{Approved, Pending};
        let soon = Some(NOW.saturating_add(Duration::from_secs(60)));
        for (mode, devices, window, max, expected) in [
            (Learn, 0, None, None, Some(Approved)),
            (Learn, 1, None, None, None),
            (Learn, 1, soon, None, Some(Approved)),
            (Learn, 1, Some(NOW), None, None),
            (Approve, 0, None, None, Some(Pending)),
            (Approve, 7, None, None, Some(Pending)),
            (Approve, 8, None, None, None),
            (Approve, 8, None, Some(9), Some(Pending)),
            (Approve, 1, soon, None, Some(Approved)),
            (Enforce, 0, None, None, None),
            (Enforce, 3, soon, None, Some(Approved)),
            (Enforce, 3, soon, Some(3), None),
            (Log, 0, soon, None, None),
            (Off, 0, soon, None, None),
        ] {
            let mut facts = Facts { device: None, devices, enrolment_until: window, ..facts() };
            facts.policy.max_devices = max;
            facts.policy.device_mode = Some(mode);
            let (request, defaults) = (request(), defaults());
            let case = Case {
                request: &request,
                facts: Some(&facts),
                password: PasswordCheck::Right,
                factor: FactorCheck::NotNeeded,
                defaults: &defaults,
                now: NOW,
            };
            let told = format!("{mode} with {devices} devices");
            let found = enrolment(&case, &facts);
            assert_eq!(found.map(|new| new.status), expected, "{told}");
            let by_window = window == soon && expected == Some(Approved);
            assert_eq!(found.is_some_and(|new| new.by_window), by_window, "{told}");
            let verdict = match (mode, expected) {
                (Off | Log, _) | (_, Some(Approved)) => None,
                (_, Some(_)) => Some(DenyReason::DevicePending),
                (_, None) => Some(DenyReason::DeviceUnknown),
            };
            assert_eq!(decide(&case).err(), verdict, "{told}");
        }
    }

    #[test]
    fn who_comes_back_during_the_cool_down_stays_out() {
        let mut facts = facts();
        facts.expired_at = Some(NOW.saturating_sub(Duration::from_secs(59)));
        assert!(judge(&request(), Some(&facts), &defaults()).is_ok(), "there is none");
        facts.policy.cooldown_s = Some(60);
        assert_eq!(judge(&request(), Some(&facts), &defaults()), Err(DenyReason::Cooldown));
        let live = RequestKind::Reauth { connected_since: NOW };
        let reauth = AuthRequest { kind: live, ..request() };
        assert!(judge(&reauth, Some(&facts), &defaults()).is_ok());
        facts.expired_at = Some(NOW.saturating_sub(Duration::from_secs(60)));
        assert!(judge(&request(), Some(&facts), &defaults()).is_ok());
    }

    #[test]
    fn a_session_that_runs_has_the_terms_of_its_start_by_the_present_rules() {
        let later = NOW.saturating_add(Duration::from_secs(600));
        let hour = NOW.saturating_add(Duration::from_secs(3_600));
        let terms = review(&standing(), &defaults(), later).unwrap().unwrap();
        assert_eq!(
            (terms.deadline, terms.deadline_reason),
            (Some(hour), Some(Cause::SessionLimit))
        );
        let mut shorter = standing();
        shorter.account.as_mut().unwrap().policy.session_limit_s = Some(60);
        let minute = NOW.saturating_add(Duration::from_secs(60));
        assert_eq!(review(&shorter, &defaults(), later).unwrap().unwrap().deadline, Some(minute));
        let mut expiring = standing();
        expiring.account.as_mut().unwrap().valid_until = Some(later);
        let terms = review(&expiring, &defaults(), later).unwrap().unwrap();
        assert_eq!(
            (terms.deadline, terms.deadline_reason),
            (Some(later), Some(Cause::AccountExpiry))
        );
    }

    #[test]
    fn a_session_that_runs_ends_when_its_account_or_device_may_no_longer_connect() {
        let end = |change: &dyn Fn(&mut Standing), defaults: &Defaults| {
            let mut standing = standing();
            change(&mut standing);
            review(&standing, defaults, NOW).err()
        };
        let strict = defaults();
        let old = |s: &mut Standing| s.started_at = NOW.saturating_sub(ABSENCE);
        let gone = |s: &mut Standing| s.account = None;
        assert_eq!(end(&gone, &strict), None, "it may be about to appear");
        let gone_for_long = |s: &mut Standing| {
            old(s);
            gone(s);
        };
        assert_eq!(end(&gone_for_long, &strict), Some(Cause::AccountDisabled));
        let disable = |s: &mut Standing| s.account.as_mut().unwrap().enabled = false;
        assert_eq!(end(&disable, &strict), Some(Cause::AccountDisabled));
        let tomorrow = NOW.saturating_add(Duration::from_secs(86_400));
        let not_yet = |s: &mut Standing| s.account.as_mut().unwrap().valid_from = Some(tomorrow);
        assert_eq!(end(&not_yet, &strict), Some(Cause::AccountDisabled));
        for device in [None, Some(DeviceStatus::Blocked), Some(DeviceStatus::Pending)] {
            let change = |s: &mut Standing| {
                old(s);
                s.device = Some(device);
            };
            assert_eq!(end(&change, &strict), Some(Cause::DeviceBlocked));
            let lax = Defaults { device_mode: DeviceMode::Log, ..defaults() };
            assert_eq!(end(&change, &lax), None);
            let is_known = device.is_some();
            let young = end(&|s| s.device = Some(device), &strict);
            assert_eq!(young.is_some(), is_known, "{device:?}");
        }
        assert_eq!(end(&|s| s.device = None, &strict), None, "it was never asked for one");
    }

    fn judge(
        request: &AuthRequest,
        facts: Option<&Facts>,
        d: &Defaults,
    ) -> Result<Terms, DenyReason> {
        let (password, factor) = (PasswordCheck::Right, FactorCheck::NotNeeded);
        let case = Case { request, facts, password, factor, defaults: d, now: NOW };
        decide(&case)
    }

    #[test]
    fn a_right_user_on_a_registered_device_is_allowed_until_the_session_limit() {
        let terms = judge(&request(), Some(&facts()), &defaults()).unwrap();
        assert_eq!(terms.deadline, Some(NOW.saturating_add(Duration::from_secs(3_600))));
        assert_eq!(terms.deadline_reason, Some(Cause::SessionLimit));
    }

    #[test]
    fn the_earliest_limit_sets_the_deadline_and_names_itself() {
        let mut facts = facts();
        facts.user.valid_until = Some(NOW.saturating_add(Duration::from_secs(60)));
        let terms = judge(&request(), Some(&facts), &defaults()).unwrap();
        assert_eq!(terms.deadline, facts.user.valid_until);
        assert_eq!(terms.deadline_reason, Some(Cause::AccountExpiry));
    }

    #[test]
    fn a_policy_overrides_the_configuration_and_zero_means_no_limit() {
        let mut facts = facts();
        facts.policy.session_limit_s = Some(0);
        facts.policy.expiry_action = Some(ExpiryAction::Restart);
        let terms = judge(&request(), Some(&facts), &defaults()).unwrap();
        assert_eq!(terms.deadline, None);
        assert_eq!(terms.expiry_action, ExpiryAction::Restart);
        facts.policy.session_limit_s = Some(20);
        let terms = judge(&request(), Some(&facts), &defaults()).unwrap();
        assert_eq!(terms.deadline, Some(NOW.saturating_add(Duration::from_secs(20))));
    }

    #[test]
    fn an_adopted_client_keeps_the_start_that_openvpn_reports() {
        let mut request = request();
        request.kind = RequestKind::Adopt { connected_since: Timestamp::from_secs(1_799_999_000) };
        request.device = Ok(None);
        let terms = judge(&request, Some(&facts()), &defaults()).unwrap();
        assert_eq!(terms.deadline, Some(Timestamp::from_secs(1_800_002_600)));
    }

    #[test]
    fn every_denial_has_its_reason() {
        type Change = fn(&mut AuthRequest, &mut Facts, &mut Defaults);
        let table: &[(DenyReason, Change)] = &[
            (DenyReason::AccountDisabled, |_, f, _| f.user.enabled = false),
            (DenyReason::AccountNotYetValid, |_, f, _| {
                f.user.valid_from = Some(Timestamp::from_millis(NOW.as_millis() + 1));
            }),
            (DenyReason::AccountExpired, |_, f, _| f.user.valid_until = Some(NOW)),
            (DenyReason::CommonNameMismatch, |r, _, d| {
                d.match_common_name = true;
                r.common_name = Some("Alice".into());
            }),
            (DenyReason::CommonNameMismatch, |r, _, d| {
                d.match_common_name = true;
                r.common_name = None;
            }),
            (DenyReason::DeviceMissing, |r, _, _| r.device = Ok(None)),
            (DenyReason::DeviceInvalid, |r, _, _| r.device = Err(some_device_error())),
            (DenyReason::DeviceUnknown, |_, f, _| f.device = None),
            (DenyReason::DevicePending, |_, f, _| f.device = Some(DeviceStatus::Pending)),
            (DenyReason::DeviceBlocked, |_, f, _| f.device = Some(DeviceStatus::Blocked)),
        ];
        for (reason, change) in table {
            let (mut r, mut f, mut d) = (request(), facts(), defaults());
            change(&mut r, &mut f, &mut d);
            assert_eq!(judge(&r, Some(&f), &d), Err(*reason));
        }
    }

    fn some_device_error() -> DeviceError {
        let mut env = crate::proto::Env::default();
        env.push(b"UV_CLIENT_MAC", b"rubbish");
        let source = "UV_CLIENT_MAC".parse().unwrap();
        crate::auth::device::claim(&env, &[source]).unwrap_err()
    }

    #[test]
    fn without_the_user_there_is_one_reason_and_a_wrong_password_hides_the_rest() {
        assert_eq!(judge(&request(), None, &defaults()), Err(DenyReason::UnknownUser));
        let mut nobody = request();
        nobody.user = Claimed::Missing;
        assert_eq!(judge(&nobody, None, &defaults()), Err(DenyReason::MissingCredentials));
        let (r, mut f, d) = (request(), facts(), defaults());
        f.user.enabled = false;
        f.device = None;
        let case = Case {
            request: &r,
            facts: Some(&f),
            password: PasswordCheck::Wrong,
            factor: FactorCheck::Missing,
            defaults: &d,
            now: NOW,
        };
        assert_eq!(decide(&case), Err(DenyReason::BadCredentials));
    }

    #[test]
    fn device_mode_off_and_log_let_any_device_in() {
        for mode in [DeviceMode::Off, DeviceMode::Log] {
            let (mut r, mut f, d) = (request(), facts(), defaults());
            r.device = Ok(None);
            f.device = None;
            f.policy.device_mode = Some(mode);
            assert!(judge(&r, Some(&f), &d).is_ok());
        }
    }
}
