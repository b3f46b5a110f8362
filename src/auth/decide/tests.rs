use super::*;
use crate::{
    auth::device::DeviceError,
    store::{ClientConfig, DeviceEnds, Granted, PolicyRecord, UserRecord},
    types::{DeviceId, Password, Quotas},
};

mod devices;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn defaults() -> Defaults {
    Defaults {
        device_mode: DeviceMode::Enforce,
        session_limit: Some(Duration::from_secs(3_600)),
        expiry_action: ExpiryAction::Halt,
        match_common_name: false,
        require_fingerprint: false,
        second_factor: SecondFactorMode::Optional,
        time_zone: Zone::default(),
        idle: None,
    }
}

fn request() -> AuthRequest {
    AuthRequest {
        holds: None,
        proven: None,
        is_other: false,
        server: "udp".parse().unwrap(),
        kind: RequestKind::Connect,
        user: Claimed::Valid("alice".parse().unwrap()),
        password: Some(Password::from(&b"pw"[..])),
        token: None,
        response: Default::default(),
        common_name: Some("alice".into()),
        device: Ok(Some(DeviceId::parse("02:1a:2b:3c:4d:5e").unwrap())),
        certificate: None,
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
        certificate: None,
        ends: Default::default(),
        devices: 1,
        enrolment_until: None,
        expired_at: None,
        config: ClientConfig::default(),
        second_factor: None,
    }
}

fn standing() -> Standing {
    Standing {
        server: "udp".parse().unwrap(),
        session: crate::types::SessionId::new(NOW, [1; 10]),
        user: "alice".parse().unwrap(),
        started_at: NOW,
        deadline: None,
        account: Some(crate::store::Account {
            enabled: true,
            valid_from: None,
            valid_until: None,
            policy: PolicyRecord { name: "default".into(), ..PolicyRecord::default() },
        }),
        device: Some(Some(DeviceStatus::Approved)),
        certificate: None,
        ends: Default::default(),
    }
}

#[test]
fn a_client_that_openvpn_let_in_by_itself_during_the_cool_down_may_not_stay() {
    let mut facts = facts();
    facts.policy.cooldown_s = Some(60);
    facts.policy.session_limit_s = Some(0);
    facts.expired_at = Some(NOW);
    let at = |seconds: i64| Timestamp::from_secs(NOW.as_secs() + seconds);
    for (connected, cools) in [
        // Long before: another session of the same user, whose row is lost.
        (-3_600, false),
        (-11, false),
        // While the old one was being ended.
        (-10, true),
        (0, true),
        (59, true),
        (60, false),
        (3_600, false),
    ] {
        let kind = RequestKind::Adopt { connected_since: at(connected) };
        let adopted = AuthRequest { kind, password: None, device: Ok(None), ..request() };
        let expected = cools.then_some(DenyReason::Cooldown);
        assert_eq!(judge(&adopted, Some(&facts), &defaults()).err(), expected, "{connected}");
    }
}

#[test]
fn who_comes_back_during_the_cool_down_stays_out() {
    let mut facts = facts();
    facts.expired_at = Some(NOW.saturating_sub(Duration::from_secs(59)));
    assert!(judge(&request(), Some(&facts), &defaults()).is_ok(), "there is none");
    facts.policy.cooldown_s = Some(60);
    assert_eq!(judge(&request(), Some(&facts), &defaults()), Err(DenyReason::Cooldown));
    let live = RequestKind::Reauth { connected_since: NOW, is_extended: false };
    let reauth = AuthRequest { kind: live, ..request() };
    assert!(judge(&reauth, Some(&facts), &defaults()).is_ok());
    facts.expired_at = Some(NOW.saturating_sub(Duration::from_secs(60)));
    assert!(judge(&request(), Some(&facts), &defaults()).is_ok());
}

#[test]
fn a_session_that_runs_has_the_terms_of_its_start_by_the_present_rules() {
    let later = NOW.saturating_add(Duration::from_secs(600));
    let hour = NOW.saturating_add(Duration::from_secs(3_600));
    let terms = review(&standing(), &Usage::default(), &defaults(), later).unwrap().unwrap();
    assert_eq!((terms.deadline, terms.deadline_reason), (Some(hour), Some(Cause::SessionLimit)));
    let mut shorter = standing();
    shorter.account.as_mut().unwrap().policy.session_limit_s = Some(60);
    let minute = NOW.saturating_add(Duration::from_secs(60));
    assert_eq!(
        review(&shorter, &Usage::default(), &defaults(), later).unwrap().unwrap().deadline,
        Some(minute)
    );
    let mut expiring = standing();
    expiring.account.as_mut().unwrap().valid_until = Some(later);
    let terms = review(&expiring, &Usage::default(), &defaults(), later).unwrap().unwrap();
    assert_eq!((terms.deadline, terms.deadline_reason), (Some(later), Some(Cause::AccountExpiry)));
    // Whatever deadline an operator has given it, it ends with its account.
    let after = later.saturating_add(OVERDUE);
    let end = review(&expiring, &Usage::default(), &defaults(), after).err();
    assert_eq!(end, Some(Cause::AccountExpiry));
}

#[test]
fn a_session_that_runs_ends_when_its_account_or_device_may_no_longer_connect() {
    let end = |change: &dyn Fn(&mut Standing), defaults: &Defaults| {
        let mut standing = standing();
        change(&mut standing);
        review(&standing, &Usage::default(), defaults, NOW).err()
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

fn judge(request: &AuthRequest, facts: Option<&Facts>, d: &Defaults) -> Result<Terms, DenyReason> {
    let usage = &Usage::default();
    let case = Case {
        request,
        facts,
        usage,
        password: PasswordCheck::Right,
        factor: FactorCheck::NotNeeded,
        defaults: d,
        now: NOW,
    };
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
        usage: &Usage::default(),
        password: PasswordCheck::Wrong,
        factor: FactorCheck::Missing,
        defaults: &d,
        now: NOW,
    };
    assert_eq!(decide(&case), Err(DenyReason::BadCredentials));
}

/// The denial, and the reason of the deadline where there is one.
fn limited(
    kind: RequestKind,
    usage: &Usage,
    now: &str,
    change: impl Fn(&mut Facts),
) -> Result<(Option<Cause>, Option<Timestamp>), DenyReason> {
    let (mut request, mut facts) = (request(), facts());
    request.kind = kind;
    change(&mut facts);
    let case = Case {
        request: &request,
        facts: Some(&facts),
        usage,
        password: PasswordCheck::Right,
        factor: FactorCheck::NotNeeded,
        defaults: &defaults(),
        now: now.parse().unwrap(),
    };
    decide(&case).map(|terms| (terms.deadline_reason, terms.deadline))
}

#[test]
fn hours_and_quotas_refuse_and_limit() {
    let hour = Duration::from_secs(3_600);
    let fresh = Usage::default();
    let used = |hours: u32, bytes| Usage {
        time: [hour * hours; 4],
        bytes: [bytes; 4],
        ..Usage::default()
    };
    let office = |f: &mut Facts| f.policy.hours = "mon-fri 08:00-18:00".parse().unwrap();
    let time = |f: &mut Facts| f.policy.time_quota = Quotas::parse_time("2h/day").unwrap();
    let data = |f: &mut Facts| f.policy.data_quota = Quotas::parse_data("5MB/month").unwrap();
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let connect = RequestKind::Connect;
    // 2026-11-24 is a Tuesday; the session limit is an hour.
    let noon = "2026-11-24T12:00:00Z";
    let one = (Some(Cause::SessionLimit), at("2026-11-24T13:00:00Z"));
    assert_eq!(limited(connect, &fresh, noon, office), Ok(one));
    let closing = (Some(Cause::Hours), at("2026-11-24T18:00:00Z"));
    assert_eq!(limited(connect, &fresh, "2026-11-24T17:30:00Z", office), Ok(closing));
    let early = "2026-11-24T07:59:59Z";
    assert_eq!(limited(connect, &fresh, early, office), Err(DenyReason::OutsideHours));
    let berlin = |f: &mut Facts| {
        office(f);
        f.policy.time_zone = "Europe/Berlin".parse().ok();
    };
    assert!(limited(connect, &fresh, early, berlin).is_ok());
    assert_eq!(limited(connect, &fresh, noon, time), Ok(one));
    let half = Usage { time: [hour + hour / 2; 4], ..Usage::default() };
    let quota = (Some(Cause::TimeQuota), at("2026-11-24T12:30:00Z"));
    assert_eq!(limited(connect, &half, noon, time), Ok(quota));
    assert_eq!(limited(connect, &used(2, 0), noon, time), Err(DenyReason::TimeQuotaUsed));
    assert_eq!(limited(connect, &used(2, 4_999_999), noon, data), Ok(one));
    assert_eq!(limited(connect, &used(0, 5_000_000), noon, data), Err(DenyReason::DataQuotaUsed));
    // A renegotiation and an adoption are asked the same; but an operator's word counts more than hours
    // and time.
    let since = NOW;
    let reauth = |is_extended| RequestKind::Reauth { connected_since: since, is_extended };
    let adopt = RequestKind::Adopt { connected_since: since };
    for kind in [reauth(false), adopt] {
        assert_eq!(limited(kind, &fresh, early, office), Err(DenyReason::OutsideHours));
        assert_eq!(limited(kind, &used(2, 0), noon, time), Err(DenyReason::TimeQuotaUsed));
        assert_eq!(limited(kind, &used(0, 5_000_000), noon, data), Err(DenyReason::DataQuotaUsed));
    }
    assert!(limited(reauth(true), &fresh, early, office).is_ok());
    assert!(limited(reauth(true), &used(2, 0), noon, time).is_ok());
    let all = used(0, 5_000_000);
    assert_eq!(limited(reauth(true), &all, noon, data), Err(DenyReason::DataQuotaUsed));
}

#[test]
fn a_session_that_runs_ends_when_its_hours_or_its_time_are_over() {
    let reviewed = |usage: &Usage, now: &str, change: &dyn Fn(&mut PolicyRecord)| {
        let mut standing = standing();
        standing.started_at = "2026-11-24T11:30:00Z".parse().unwrap();
        change(&mut standing.account.as_mut().unwrap().policy);
        let terms = review(&standing, usage, &defaults(), now.parse().unwrap()).unwrap().unwrap();
        (terms.deadline_reason, terms.deadline.map(|at| at.to_string()))
    };
    let until = |cause, at: &str| (Some(cause), Some(at.to_owned()));
    let fresh = Usage::default();
    let noon = "2026-11-24T12:00:00Z";
    let morning = |p: &mut PolicyRecord| p.hours = "daily 08:00-12:00".parse().unwrap();
    let now = until(Cause::Hours, "2026-11-24T12:00:00.000Z");
    assert_eq!(reviewed(&fresh, noon, &morning), now, "over just now");
    let time = |p: &mut PolicyRecord| p.time_quota = Quotas::parse_time("50m/day").unwrap();
    let own = crate::store::OpenUse {
        session: standing().session,
        started_at: "2026-11-24T11:30:00Z".parse().unwrap(),
        updated_at: noon.parse().unwrap(),
        seen_at: noon.parse().unwrap(),
        bytes_received: 0,
        bytes_sent: 0,
        marks: crate::store::DayMarks::default(),
    };
    let running = Usage { open: vec![own], ..Usage::default() };
    let left = until(Cause::TimeQuota, "2026-11-24T12:20:00.000Z");
    assert_eq!(reviewed(&running, noon, &time), left);
    let granted = Usage { grants: vec![(Granted::Time(300), Timestamp::MAX)], ..running };
    let more = until(Cause::TimeQuota, "2026-11-24T12:25:00.000Z");
    assert_eq!(reviewed(&granted, noon, &time), more);
}

#[test]
fn idle_time_is_the_policys_or_the_configurations() {
    let idle = |configured: Option<u64>, policy: Option<u32>, bytes: Option<u64>| {
        let (request, mut facts) = (request(), facts());
        facts.policy.idle_s = policy;
        facts.policy.idle_bytes = bytes;
        let defaults = Defaults { idle: configured.map(Duration::from_secs), ..defaults() };
        let terms = judge(&request, Some(&facts), &defaults).unwrap();
        terms.idle.map(|idle| (idle.after.as_secs(), idle.bytes))
    };
    assert_eq!(idle(None, None, None), None);
    assert_eq!(idle(Some(300), None, None), Some((300, 10_240)));
    assert_eq!(idle(Some(300), Some(0), None), None);
    assert_eq!(idle(Some(300), Some(60), Some(7)), Some((60, 7)));
}

#[test]
fn a_required_fingerprint_has_to_be_registered_beside_the_device() {
    use DeviceStatus::{Approved, Blocked, Pending};
    let (unknown, missing) = (DenyReason::DeviceUnknown, DenyReason::DeviceMissing);
    for (is_sent, registered, expected) in [
        (true, Some(Approved), None),
        (true, Some(Pending), Some(DenyReason::DevicePending)),
        (true, Some(Blocked), Some(DenyReason::DeviceBlocked)),
        (true, None, Some(unknown)),
        (false, None, Some(missing)),
    ] {
        for (configured, policy) in [(true, None), (false, Some(true)), (true, Some(false))] {
            let (mut request, mut facts) = (request(), facts());
            let certificate = crate::types::Fingerprint::from_hex(&"0a".repeat(32)).unwrap();
            request.certificate = is_sent.then(|| Box::new(certificate));
            facts.certificate = registered;
            facts.policy.require_fingerprint = policy;
            let defaults = Defaults { require_fingerprint: configured, ..defaults() };
            let is_required = policy.unwrap_or(configured);
            let denied = judge(&request, Some(&facts), &defaults).err();
            assert_eq!(denied, expected.filter(|_| is_required), "{is_sent} {registered:?}");
            request.kind = RequestKind::Adopt { connected_since: NOW };
            assert!(judge(&request, Some(&facts), &defaults).is_ok(), "it shows none");
        }
    }
    let strict = Defaults { require_fingerprint: true, ..defaults() };
    let reviewed = |certificate, defaults: &Defaults| {
        let started_at = NOW.saturating_sub(ABSENCE);
        let standing = Standing { certificate, started_at, ..standing() };
        review(&standing, &Usage::default(), defaults, NOW).err()
    };
    assert_eq!(reviewed(None, &strict), None);
    assert_eq!(reviewed(Some(Some(Approved)), &strict), None);
    for gone in [None, Some(Blocked), Some(Pending)] {
        assert_eq!(reviewed(Some(gone), &strict), Some(Cause::DeviceBlocked));
        assert_eq!(reviewed(Some(gone), &defaults()), None);
    }
}

#[test]
fn the_end_of_an_account_that_is_the_deadline_needs_no_other_review() {
    let later = |seconds| NOW.saturating_add(Duration::from_secs(seconds));
    let due = |seconds| Some(later(seconds).saturating_add(OVERDUE));
    let ends = DeviceEnds { device: Some(later(40)), certificate: None };
    for (deadline, account, device, holds) in [
        (Some(100), Some(100), None, None),
        (Some(99), Some(100), None, None),
        (Some(101), Some(100), None, due(100)),
        (None, Some(100), None, due(100)),
        (Some(40), Some(100), Some(ends), None),
        (Some(41), None, Some(ends), due(40)),
        (Some(99), Some(100), Some(ends), due(40)),
    ] {
        let mut standing = Standing {
            deadline: deadline.map(later),
            ends: device.unwrap_or_default(),
            ..standing()
        };
        standing.account.as_mut().unwrap().valid_until = account.map(later);
        assert_eq!(holds_until(&standing, &defaults(), NOW), holds, "{standing:?}");
        // Nobody stays beyond the end: the deadline or a review ends him.
        let end = [account.map(later), device.and(ends.device)].into_iter().flatten().min();
        let last = standing.deadline.into_iter().chain(holds).min();
        assert!(last <= end.map(|end| end.saturating_add(OVERDUE)), "{standing:?}");
    }
}

#[test]
fn a_review_holds_until_time_alone_makes_it_another() {
    let default = defaults();
    let off = Defaults { device_mode: DeviceMode::Off, ..defaults() };
    let strict = Defaults { require_fingerprint: true, ..defaults() };
    let later = |seconds| NOW.saturating_add(Duration::from_secs(seconds));
    let with_end = || {
        let mut standing = standing();
        standing.account.as_mut().unwrap().valid_until = Some(later(100));
        standing
    };
    let ends = DeviceEnds { device: Some(later(40)), certificate: Some(later(20)) };
    let absent = || Standing { device: Some(None), ..standing() };
    for (standing, defaults, holds) in [
        (standing(), &default, None),
        (with_end(), &default, Some(later(100).saturating_add(OVERDUE))),
        (Standing { ends, ..with_end() }, &default, Some(later(40).saturating_add(OVERDUE))),
        (Standing { ends, ..with_end() }, &strict, Some(later(20).saturating_add(OVERDUE))),
        (Standing { ends, ..with_end() }, &off, Some(later(100).saturating_add(OVERDUE))),
        (absent(), &default, Some(NOW.saturating_add(ABSENCE))),
        (absent(), &off, None),
        (Standing { certificate: Some(None), ..standing() }, &strict, Some(later(60))),
        (Standing { certificate: Some(None), ..standing() }, &default, None),
        (Standing { account: None, ..standing() }, &off, Some(NOW.saturating_add(ABSENCE))),
    ] {
        let answer = |now| review(&standing, &Usage::default(), defaults, now).map(|_| ());
        assert_eq!(holds_until(&standing, defaults, NOW), holds, "{standing:?}");
        let last = holds.unwrap_or_else(|| later(10_000));
        for seconds in 0..10_000 {
            let now = later(seconds);
            assert_eq!(answer(now) == answer(NOW), now < last, "{seconds}: {standing:?}");
        }
    }
}
