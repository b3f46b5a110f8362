//! Devices: learned, approved, enrolled, for a while, and not judged at all.

use super::*;

#[test]
fn an_open_enrolment_approves_the_device_that_waits() {
    use DeviceMode::{Approve, Enforce, Learn, Log, Off};
    use DeviceStatus::{Approved, Blocked, Pending};
    let soon = Some(NOW.saturating_add(Duration::from_secs(60)));
    let (pending, blocked) = (Some(DenyReason::DevicePending), Some(DenyReason::DeviceBlocked));
    for (mode, status, window, enrolled, denied) in [
        (Approve, Pending, soon, true, None),
        (Learn, Pending, soon, true, None),
        (Enforce, Pending, soon, true, None),
        (Approve, Pending, None, false, pending),
        (Approve, Pending, Some(NOW), false, pending),
        (Approve, Blocked, soon, false, blocked),
        (Approve, Approved, soon, false, None),
        (Log, Pending, soon, false, None),
        (Off, Pending, soon, false, None),
    ] {
        // It has its place among the devices already.
        let mut facts =
            Facts { device: Some(status), devices: 8, enrolment_until: window, ..facts() };
        facts.policy.device_mode = Some(mode);
        let (request, defaults) = (request(), defaults());
        let usage = Usage::default();
        let case = Case {
            request: &request,
            facts: Some(&facts),
            usage: &usage,
            password: PasswordCheck::Right,
            factor: FactorCheck::NotNeeded,
            defaults: &defaults,
            now: NOW,
        };
        let expected = enrolled.then_some(Enrolment { status: Approved, by_window: true });
        assert_eq!(enrolment(&case, &facts), expected, "{mode} {status}");
        assert_eq!(decide(&case).err(), denied, "{mode} {status}");
    }
}

#[test]
fn a_device_or_certificate_that_was_approved_for_a_while_ends_with_it() {
    let at = |seconds: i64| Some(Timestamp::from_secs(NOW.as_secs() + seconds));
    let blocked = Some(DenyReason::DeviceBlocked);
    let (soon, over) = (at(60), at(0));
    let hour = (at(3_600), Some(Cause::SessionLimit));
    let ends = (soon, Some(Cause::DeviceBlocked));
    // Mode, whether the fingerprint is required, the two ends; the denial, or the deadline.
    for (mode, required, device, certificate, denied, deadline) in [
        (DeviceMode::Enforce, false, soon, None, None, ends),
        (DeviceMode::Enforce, false, over, None, blocked, hour),
        (DeviceMode::Enforce, false, None, over, None, hour),
        (DeviceMode::Enforce, true, None, over, blocked, hour),
        (DeviceMode::Enforce, true, at(61), soon, None, ends),
        (DeviceMode::Learn, false, over, None, blocked, hour),
        (DeviceMode::Approve, false, over, None, blocked, hour),
        (DeviceMode::Log, false, over, None, None, hour),
        (DeviceMode::Off, true, over, soon, None, ends),
    ] {
        let told = format!("{mode} {required} {device:?} {certificate:?}");
        let (mut request, mut facts) = (request(), facts());
        request.certificate =
            crate::types::Fingerprint::from_hex(&"0a".repeat(32)).ok().map(Box::new);
        facts.certificate = Some(DeviceStatus::Approved);
        facts.policy.device_mode = Some(mode);
        facts.policy.require_fingerprint = Some(required);
        facts.ends = DeviceEnds { device, certificate };
        let judged = judge(&request, Some(&facts), &defaults());
        assert_eq!(judged.err(), denied, "{told}");
        if let Ok(terms) = judged {
            assert_eq!((terms.deadline, terms.deadline_reason), deadline, "{told}");
        }
        let mut running = standing();
        running.certificate = Some(Some(DeviceStatus::Approved));
        let policy = &mut running.account.as_mut().unwrap().policy;
        policy.device_mode = Some(mode);
        policy.require_fingerprint = Some(required);
        running.ends = facts.ends;
        let terms = review(&running, &Usage::default(), &defaults(), NOW).unwrap().unwrap();
        let expected = match denied {
            Some(_) => (over, Some(Cause::DeviceBlocked)),
            None => deadline,
        };
        assert_eq!((terms.deadline, terms.deadline_reason), expected, "{told}");
        // Whatever an operator has granted.
        let late = NOW.saturating_add(Duration::from_secs(100));
        let ended = review(&running, &Usage::default(), &defaults(), late).err();
        let is_over = expected.1 == Some(Cause::DeviceBlocked);
        assert_eq!(ended, is_over.then_some(Cause::DeviceBlocked), "{told}");
    }
    // Of a client that was found connected nobody knows the device.
    let (mut adopted, mut facts) = (request(), facts());
    facts.ends = DeviceEnds { device: over, certificate: None };
    adopted.kind = RequestKind::Adopt { connected_since: NOW };
    adopted.device = Ok(None);
    assert!(judge(&adopted, Some(&facts), &defaults()).is_ok());
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
            usage: &Usage::default(),
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
fn device_mode_off_and_log_let_any_device_in() {
    for mode in [DeviceMode::Off, DeviceMode::Log] {
        let (mut r, mut f, d) = (request(), facts(), defaults());
        r.device = Ok(None);
        f.device = None;
        f.policy.device_mode = Some(mode);
        assert!(judge(&r, Some(&f), &d).is_ok());
        r.device = Err(some_device_error());
        assert!(judge(&r, Some(&f), &d).is_ok(), "one value that is no device");
        let mut env = crate::proto::Env::default();
        env.push(b"UV_CLIENT_MAC", b"02:1a:2b:3c:4d:5e");
        env.push(b"UV_CLIENT_MAC", b"02:1a:2b:3c:4d:5f");
        r.device = crate::auth::device::claim(&env, &[]).map(|claim| claim.map(|claim| claim.id));
        assert_eq!(judge(&r, Some(&f), &d), Err(DenyReason::DeviceInvalid), "two values: {mode}");
    }
}
