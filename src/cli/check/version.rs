//! What an OpenVPN is too old for, of what this configuration uses. Core.

use super::lint::Severity;
use crate::{config::Config, proto::Version};

/// Management version of OpenVPN 2.5.
const MANAGEMENT_2_5: u32 = 3;
/// Management version of OpenVPN 2.6.
const MANAGEMENT_2_6: u32 = 5;

/// How much it matters, what is missing, and what to do.
pub type Lack = (Severity, &'static str, &'static str);

/// What is missing in this version, the worst first.
pub fn lacks(version: &Version, config: &Config) -> Vec<Lack> {
    let mut lacks = Vec::new();
    let Some(number) = version.management else {
        return vec![(
            Severity::Warning,
            "it does not tell its management version: everything that is newer than 2.4 is left out",
            "use OpenVPN 2.6 or later",
        )];
    };
    if number < MANAGEMENT_2_5 && config.auth.wake_up {
        lacks.push((
            Severity::Warning,
            "older than 2.5: without client-pending-auth ([auth] wake_up) an approval takes up to \
             10 s to act",
            "use OpenVPN 2.6 or later, or set [auth] wake_up = false",
        ));
    }
    if number < MANAGEMENT_2_6 {
        lacks.push((
            Severity::Warning,
            "older than 2.6: without session-timeout ([session] backstop_s) nobody ends a session \
             while this daemon is away",
            "use OpenVPN 2.6 or later",
        ));
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(management: Option<u32>, wake_up: bool) -> Vec<&'static str> {
        let none = std::iter::empty::<(std::ffi::OsString, std::ffi::OsString)>();
        let mut config = crate::config::load(&[], none, &[]).unwrap().config;
        config.auth.wake_up = wake_up;
        let version = Version { openvpn: "OpenVPN".into(), management };
        lacks(&version, &config)
            .iter()
            .map(|(_, what, _)| what.split(':').next().unwrap())
            .collect()
    }

    #[test]
    fn what_an_old_openvpn_lacks_is_named() {
        assert_eq!(found(Some(5), true), [""; 0]);
        assert_eq!(found(Some(3), true), ["older than 2.6"]);
        assert_eq!(found(Some(1), true), ["older than 2.5", "older than 2.6"]);
        assert_eq!(found(Some(1), false), ["older than 2.6"]);
        assert_eq!(found(None, true), ["it does not tell its management version"]);
    }
}
