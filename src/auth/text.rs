//! The sentences that a refused client sees. One place, so that they can be read together.

use std::borrow::Cow;

use crate::types::{Cause, DenyReason, DeviceId};

use super::{
    decide::{CERTIFICATE, DEVICE_VALIDITY},
    request::Denial,
};

/// What a client shows beside `AUTH_PENDING`, which here only wakes OpenVPN up.
pub const WAKE_UP: &str = "Your login is accepted; the connection is being set up";

/// Why a client is made to connect again before OpenVPN's own limit ends its session.
pub const RENEWAL: &str = "Your session is extended; connecting again";

/// What the person at the client can do about a denial, in one plain sentence.
///
/// An unknown user, a wrong password and a disabled account read the same: the text must not
/// tell a stranger which accounts exist.
pub const fn denial(reason: DenyReason) -> &'static str {
    match reason {
        DenyReason::BadCredentials | DenyReason::UnknownUser | DenyReason::AccountDisabled => {
            "Wrong username or password"
        }
        DenyReason::AccountNotYetValid => "This account is not valid yet; ask your administrator",
        DenyReason::AccountExpired => "This account has expired; ask your administrator",
        DenyReason::Throttled => "Too many failed attempts; wait some minutes and try again",
        DenyReason::DeviceMissing => {
            "This client sent no device address; add the line push-peer-info to its profile"
        }
        DenyReason::DeviceInvalid => {
            "The device address that this client sent cannot be used; check UV_CLIENT_MAC in its profile"
        }
        DenyReason::DeviceUnknown => {
            "This device is not registered for you; ask your administrator to add it"
        }
        DenyReason::DevicePending => "This device waits for approval by your administrator",
        DenyReason::DeviceBlocked => "This device is blocked; ask your administrator",
        DenyReason::CommonNameMismatch => "This certificate belongs to another user",
        DenyReason::OutsideHours => "You may not connect at this time of day",
        DenyReason::TimeQuotaUsed => "Your connection time is used up for this period",
        DenyReason::DataQuotaUsed => "Your data volume is used up for this period",
        DenyReason::TooManySessions => {
            "You are connected already with as many devices as permitted"
        }
        DenyReason::Cooldown => "Your last session has ended; wait before you connect again",
        DenyReason::SecondFactorRequired => {
            "A second factor is needed; ask your administrator to set one up"
        }
        DenyReason::BadSecondFactor => {
            "The one-time code was wrong or came too late; log in again with a new one"
        }
        DenyReason::MissingCredentials => "Username and password are needed",
        DenyReason::Protocol => "The login could not be read",
        DenyReason::BackendUnavailable | DenyReason::Overloaded | DenyReason::Timeout => {
            "Logins are not possible right now; try again in a moment"
        }
    }
}

/// The same where it depends on the rule, on the device, or on the platform (`IV_PLAT`): of a certificate nobody
/// mends anything in the device, and a random address is no mistake of the administrator's, but one that its user can
/// switch off.
pub fn denial_of(
    denial: &Denial,
    device: Option<&DeviceId>,
    platform: Option<&str>,
) -> Cow<'static, str> {
    let reason = denial.reason;
    if let (Some(CERTIFICATE), Some(text)) = (denial.rule, of_certificate(reason)) {
        return text.into();
    }
    if denial.rule == Some(DEVICE_VALIDITY) && reason == DenyReason::DeviceBlocked {
        return "The time for which this device or certificate was approved is over; ask your administrator"
            .into();
    }
    let is_random = matches!(device, Some(DeviceId::Mac(mac)) if mac.is_locally_administered());
    let hint = RANDOM.iter().find(|(of, ..)| is_random && *of == reason);
    let Some((_, what, or)) = hint else { return self::denial(reason).into() };
    let setting = match platform {
        Some("ios" | "mac") => "switch off Private Wi-Fi Address for this network",
        Some("android") => "set the privacy of this Wi-Fi to Use device MAC",
        Some("win") => "switch off Random hardware addresses in the Wi-Fi settings",
        Some(_) | None => "switch off random (private) hardware addresses",
    };
    format!("{what}; its address is random: {setting} or {or}").into()
}

/// What is said of a random address, and what else its user can do.
const RANDOM: [(DenyReason, &str, &str); 2] = [
    (
        DenyReason::DeviceUnknown,
        "This device is not registered for you",
        "ask your administrator to add it",
    ),
    (DenyReason::DevicePending, "This device waits for approval by your administrator", "wait"),
];

/// The sentences where the certificate is at fault, and not the device.
const OF_CERTIFICATE: [(DenyReason, &str); 4] = [
    (
        DenyReason::DeviceMissing,
        "This client has no certificate that could be checked; ask your administrator",
    ),
    (
        DenyReason::DeviceUnknown,
        "The certificate of this client is not registered for you; ask your administrator to add it",
    ),
    (
        DenyReason::DevicePending,
        "The certificate of this client waits for approval by your administrator",
    ),
    (
        DenyReason::DeviceBlocked,
        "The certificate of this client is blocked; ask your administrator",
    ),
];

fn of_certificate(reason: DenyReason) -> Option<&'static str> {
    OF_CERTIFICATE.iter().find_map(|(of, text)| (*of == reason).then_some(*text))
}

/// What a client is told when its session is ended.
pub const fn ending(cause: Cause) -> &'static str {
    match cause {
        Cause::SessionLimit => "Your session time is over",
        Cause::TimeQuota => "Your connection time is used up for this period",
        Cause::DataQuota => "Your data volume is used up for this period",
        Cause::Hours => "The allowed hours are over",
        Cause::AccountExpiry => "Your account has expired",
        Cause::Idle => "Your session was idle for too long",
        Cause::Admin => "Your session was ended by an administrator",
        Cause::Replaced => "A newer session of yours has replaced this one",
        Cause::AccountDisabled => "Your account may no longer connect",
        Cause::DeviceBlocked => "This device may no longer connect",
        Cause::UserRequest | Cause::LostCarrier | Cause::ServerRestarted | Cause::Unknown => {
            "Your session has ended"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sentence_tells_which_accounts_exist() {
        let wrong = denial(DenyReason::BadCredentials);
        assert_eq!(denial(DenyReason::UnknownUser), wrong);
        assert_eq!(denial(DenyReason::AccountDisabled), wrong);
    }

    #[test]
    fn who_has_a_random_address_is_told_where_to_switch_it_off() {
        let [random, real, opaque] =
            ["06:1a:2b:3c:4d:5e", "04:1a:2b:3c:4d:5e", "6B9FE2C1-7B1C-4C4B-9E0A-2F3D1C0B7A55"]
                .map(|text| DeviceId::parse(text).unwrap());
        let of = |reason| Denial::new(reason);
        let waits = [DenyReason::DeviceUnknown, DenyReason::DevicePending];
        for (platform, setting) in [
            (Some("win"), "Random hardware addresses"),
            (Some("ios"), "Private Wi-Fi Address"),
            (Some("mac"), "Private Wi-Fi Address"),
            (Some("android"), "Use device MAC"),
            (Some("linux"), "random (private)"),
            (None, "random (private)"),
        ] {
            for reason in waits {
                let text = denial_of(&of(reason), Some(&random), platform);
                assert!(text.contains(setting), "{platform:?}: {text}");
                assert!(text.len() < 200 && !text.contains(['"', '\\', ',']), "{text}");
                for plain in [Some(&real), Some(&opaque), None] {
                    assert_eq!(denial_of(&of(reason), plain, platform), denial(reason));
                }
            }
            let blocked = DenyReason::DeviceBlocked;
            assert_eq!(denial_of(&of(blocked), Some(&random), platform), denial(blocked));
        }
    }

    #[test]
    fn who_is_refused_for_his_certificate_is_told_of_that() {
        let random = DeviceId::parse("06:1a:2b:3c:4d:5e").unwrap();
        for reason in [
            DenyReason::DeviceMissing,
            DenyReason::DeviceUnknown,
            DenyReason::DevicePending,
            DenyReason::DeviceBlocked,
        ] {
            let certificate = Denial { rule: Some(CERTIFICATE), ..Denial::new(reason) };
            let device = Denial { rule: Some("device"), ..Denial::new(reason) };
            for device_id in [Some(&random), None] {
                let text = denial_of(&certificate, device_id, Some("win"));
                assert!(text.contains("certificate") && text.len() < 200, "{text}");
                assert!(!text.contains(['"', '\\', ',']), "{text}");
                let text = denial_of(&device, device_id, Some("win"));
                assert!(!text.contains("certificate"), "{text}");
            }
        }
    }

    #[test]
    fn every_sentence_fits_one_parameter() {
        for reason in DenyReason::ALL {
            assert!(denial(*reason).len() < 200 && !denial(*reason).contains(['"', '\\', ',']));
        }
        for cause in Cause::ALL {
            assert!(ending(*cause).len() < 200 && !ending(*cause).contains(['"', '\\', ',']));
        }
    }
}
