//! The sentences that a refused client sees. One place, so that they can be read together.

use crate::types::{Cause, DenyReason};

/// What a client shows beside `AUTH_PENDING`, which here only wakes OpenVPN up.
pub const WAKE_UP: &str = "Your login is accepted; the connection is being set up";

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
    fn every_sentence_fits_one_parameter() {
        for reason in DenyReason::ALL {
            assert!(denial(*reason).len() < 200 && !denial(*reason).contains(['"', '\\', ',']));
        }
        for cause in Cause::ALL {
            assert!(ending(*cause).len() < 200 && !ending(*cause).contains(['"', '\\', ',']));
        }
    }
}
