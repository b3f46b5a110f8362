//! The closed sets of words that logs, metrics and the database share.

use thiserror::Error;

/// A stored word that is not in its closed set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not one of the known words")]
pub struct ParseNameError(pub String);

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word used in logs, metrics, JSON and the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::types::ParseNameError;

            fn from_str(s: &str) -> Result<Self, $crate::types::ParseNameError> {
                match s {
                    $($word => Ok(Self::$variant),)+
                    other => Err($crate::types::ParseNameError(other.chars().take(64).collect())),
                }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Why a client may not connect: `reason` of `auth.denied`.
    DenyReason {
        /// The password is wrong.
        BadCredentials = "bad_credentials",
        /// There is no such user; the client sees the same as for a wrong password.
        UnknownUser = "unknown_user",
        /// The account is switched off.
        AccountDisabled = "account_disabled",
        /// The account's first day has not come.
        AccountNotYetValid = "account_not_yet_valid",
        /// The account's last day is over.
        AccountExpired = "account_expired",
        /// Too many failures lately.
        Throttled = "throttled",
        /// The client sent no device id.
        DeviceMissing = "device_missing",
        /// The device id sent is none that can be used.
        DeviceInvalid = "device_invalid",
        /// The device is not registered for this user.
        DeviceUnknown = "device_unknown",
        /// The device waits for approval.
        DevicePending = "device_pending",
        /// The device is blocked.
        DeviceBlocked = "device_blocked",
        /// The certificate belongs to another user.
        CommonNameMismatch = "common_name_mismatch",
        /// Outside the allowed hours.
        OutsideHours = "outside_hours",
        /// The time quota is used up.
        TimeQuotaUsed = "time_quota_used",
        /// The data quota is used up.
        DataQuotaUsed = "data_quota_used",
        /// The user has as many sessions as permitted.
        TooManySessions = "too_many_sessions",
        /// The pause after an ended session is not over.
        Cooldown = "cooldown",
        /// A second factor is needed.
        SecondFactorRequired = "second_factor_required",
        /// The second factor is wrong.
        BadSecondFactor = "bad_second_factor",
        /// No username or no password arrived.
        MissingCredentials = "missing_credentials",
        /// What arrived breaks the management protocol's rules.
        Protocol = "protocol",
        /// The database does not answer; temporary.
        BackendUnavailable = "backend_unavailable",
        /// More logins than can be hashed; temporary.
        Overloaded = "overloaded",
        /// The decision took too long; temporary.
        Timeout = "timeout",
    }
}

impl DenyReason {
    /// Whether trying again soon may succeed: nothing is wrong with what the client sent.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::BackendUnavailable | Self::Overloaded | Self::Timeout)
    }
}

words! {
    /// Why a session ends or ended: `deadline_reason` and `cause`.
    Cause {
        /// The longest permitted session.
        SessionLimit = "session_limit",
        /// The time quota.
        TimeQuota = "time_quota",
        /// The data quota.
        DataQuota = "data_quota",
        /// The allowed hours.
        Hours = "hours",
        /// The account's last day.
        AccountExpiry = "account_expiry",
        /// Nothing was sent for too long.
        Idle = "idle",
        /// An operator.
        Admin = "admin",
        /// A newer session of the same user.
        Replaced = "replaced",
        /// The account was switched off or removed.
        AccountDisabled = "account_disabled",
        /// The device was blocked or removed.
        DeviceBlocked = "device_blocked",
        /// The client left.
        UserRequest = "user_request",
        /// The client fell silent.
        LostCarrier = "lost_carrier",
        /// The OpenVPN server restarted or stopped.
        ServerRestarted = "server_restarted",
        /// Not known.
        Unknown = "unknown",
    }
}

words! {
    /// What somebody is held back from.
    LockoutScope {
        /// Logging in: a user at an address, or everybody at it.
        Login = "login",
        /// Logging in from an address where the user was not lately.
        Elsewhere = "elsewhere",
        /// Showing a one-time code, from such an address.
        Code = "code",
    }
}

words! {
    /// The second factor of a login: `second_factor` of `auth.allowed`.
    Factor {
        /// A one-time code of an authenticator app.
        Totp = "totp",
        /// A recovery code.
        RecoveryCode = "recovery_code",
    }
}

words! {
    /// What the client is told when its session is ended.
    ExpiryAction {
        /// `HALT`: the client exits and stays out.
        Halt = "halt",
        /// `RESTART`: the client connects again by itself.
        Restart = "restart",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for reason in DenyReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
        for cause in Cause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(*cause));
        }
        assert!("nonsense".parse::<Cause>().is_err());
    }
}
