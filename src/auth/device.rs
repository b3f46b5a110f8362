//! Which device a client says it is. A core.
//!
//! Everything in the peer info is text that the client chose: a hint or a tripwire, and worth
//! as much as the certificate or password beside it (docs/security.md). Only the fingerprint of its
//! certificate comes from OpenVPN, which has verified it.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::{
    proto::Env,
    types::{DeviceId, Fingerprint, MacError},
};

/// The variable in which OpenVPN tells the SHA-256 of the client's certificate.
const CERTIFICATE: &str = "tls_digest_sha256_0";

/// The variable in which clients send a hardware address by themselves.
const HWADDR: &[u8] = b"IV_HWADDR";

/// The name of a variable that may carry a device id: one of the peer info (`IV_…` or `UV_…`), or
/// the fingerprint of the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSource(Box<str>);

/// A text that names no variable which can carry a device.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` carries no device: use IV_HWADDR, UV_… or tls_digest_sha256_0")]
pub struct DeviceSourceError(String);

impl DeviceSource {
    /// The variable's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceSource {
    type Err = DeviceSourceError;

    fn from_str(s: &str) -> Result<Self, DeviceSourceError> {
        let is_peer_info = s.starts_with("IV_") || s.starts_with("UV_");
        let is_name = (4..=64).contains(&s.len())
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if is_peer_info && is_name || s == CERTIFICATE {
            Ok(Self(s.into()))
        } else {
            Err(DeviceSourceError(s.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for DeviceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A device id and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceClaim {
    /// The variable.
    pub source: DeviceSource,
    /// The id, normalised.
    pub id: DeviceId,
}

/// Why what a client sent is no device id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeviceError {
    /// The variable stands several times with different values.
    #[error("{0} was sent several times with different values")]
    Conflicting(DeviceSource),
    /// The value can be no device's id.
    #[error("{source_name}: {error}")]
    Unusable {
        /// The variable.
        source_name: DeviceSource,
        /// What is wrong with it.
        error: MacError,
    },
}

/// The device id in a client's peer info: of the first source that was sent with a value.
/// `None`: none was sent.
///
/// # Errors
/// [`DeviceError`] when that value is unusable, or any variable that names a device (`IV_HWADDR`, `UV_…`) was sent
/// with several values, whether it is a source or not.
pub fn claim(env: &Env, sources: &[DeviceSource]) -> Result<Option<DeviceClaim>, DeviceError> {
    agree(env)?;
    let mut first = None;
    for source in sources {
        if let Some(found) = read(env, source)? {
            first.get_or_insert((source, found));
        }
    }
    match first {
        None => Ok(None),
        Some((source, Ok(id))) => Ok(Some(DeviceClaim { source: source.clone(), id })),
        Some((source, Err(error))) => {
            Err(DeviceError::Unusable { source_name: source.clone(), error })
        }
    }
}

/// Only a client that was tampered with sends two values of what it is.
fn agree(env: &Env) -> Result<(), DeviceError> {
    let names =
        env.iter().map(|(name, _)| name).filter(|name| *name == HWADDR || name.starts_with(b"UV_"));
    // A name that is none is no source, and nothing is read from it.
    let sources = names.filter_map(|name| std::str::from_utf8(name).ok()?.parse().ok());
    for source in sources {
        let _ = read(env, &source)?;
    }
    Ok(())
}

/// The fingerprint of the client's certificate, as OpenVPN tells it; `None`: it has none, or the server is
/// older than 2.4.
pub fn fingerprint(env: &Env) -> Option<Fingerprint> {
    Fingerprint::from_hex(env.text(CERTIFICATE.as_bytes())?).ok()
}

/// The value of one variable; the same value twice is one value, and empty ones alone are none.
fn read(
    env: &Env,
    source: &DeviceSource,
) -> Result<Option<Result<DeviceId, MacError>>, DeviceError> {
    let id = |value| {
        let text = std::str::from_utf8(value).map_err(|_| MacError::Malformed)?;
        match DeviceId::parse(text)? {
            // Nobody proves a certificate by typing its fingerprint.
            DeviceId::Fingerprint(_) if &*source.0 != CERTIFICATE => Err(MacError::Fingerprint),
            DeviceId::Mac(_) | DeviceId::Opaque(_) if &*source.0 == CERTIFICATE => {
                Err(MacError::Malformed)
            }
            id @ (DeviceId::Mac(_) | DeviceId::Opaque(_) | DeviceId::Fingerprint(_)) => Ok(id),
        }
    };
    let mut values =
        env.iter().filter(|(key, _)| *key == source.0.as_bytes()).map(|(_, value)| value);
    let Some(first) = values.next() else { return Ok(None) };
    let found = id(first);
    if values.any(|value| value != first && (found.is_err() || id(value) != found)) {
        return Err(DeviceError::Conflicting(source.clone()));
    }
    Ok((!first.is_empty()).then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> [DeviceSource; 2] {
        ["UV_CLIENT_MAC".parse().unwrap(), "IV_HWADDR".parse().unwrap()]
    }

    fn claimed(variables: &[(&str, &str)]) -> Result<Option<String>, DeviceError> {
        let mut env = Env::default();
        for (key, value) in variables {
            env.push(key.as_bytes(), value.as_bytes());
        }
        Ok(claim(&env, &sources())?.map(|claim| format!("{} {}", claim.source, claim.id)))
    }

    #[test]
    fn the_first_source_that_was_sent_counts() {
        let (uv, iv) = (("UV_CLIENT_MAC", "02-1A-2B-3C-4D-5E"), ("IV_HWADDR", "06:00:00:00:00:01"));
        assert_eq!(claimed(&[iv, uv]), Ok(Some("UV_CLIENT_MAC 02:1a:2b:3c:4d:5e".into())));
        assert_eq!(claimed(&[iv]), Ok(Some("IV_HWADDR 06:00:00:00:00:01".into())));
        assert_eq!(
            claimed(&[("UV_CLIENT_MAC", ""), iv]),
            Ok(Some("IV_HWADDR 06:00:00:00:00:01".into()))
        );
        assert_eq!(claimed(&[("UV_OTHER", "06:00:00:00:00:01")]), Ok(None));
    }

    #[test]
    fn an_unusable_value_is_an_error_and_does_not_fall_through_to_the_next_source() {
        let iv = ("IV_HWADDR", "06:00:00:00:00:01");
        for bad in
            ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "02_1a_2b_3c_4d_5e"]
        {
            let error = claimed(&[("UV_CLIENT_MAC", bad), iv]).unwrap_err();
            assert!(matches!(error, DeviceError::Unusable { .. }), "{bad}");
        }
    }

    #[test]
    fn one_variable_with_two_values_is_an_error_and_twice_the_same_is_not() {
        let (a, b) = ("06:00:00:00:00:01", "06:00:00:00:00:02");
        assert_eq!(
            claimed(&[("IV_HWADDR", a), ("IV_HWADDR", "06-00-00-00-00-01")]),
            Ok(Some("IV_HWADDR 06:00:00:00:00:01".into()))
        );
        for conflict in [
            &[("IV_HWADDR", a), ("IV_HWADDR", b)][..],
            &[("UV_CLIENT_MAC", a), ("IV_HWADDR", a), ("IV_HWADDR", b)],
            &[("IV_HWADDR", a), ("IV_HWADDR", "")],
            &[("IV_HWADDR", ""), ("IV_HWADDR", a)],
            &[("IV_HWADDR", "zz"), ("IV_HWADDR", "yy")],
        ] {
            assert!(matches!(claimed(conflict), Err(DeviceError::Conflicting(_))));
        }
        assert_eq!(claimed(&[("IV_HWADDR", ""), ("IV_HWADDR", "")]), Ok(None));
        let error = claimed(&[("IV_HWADDR", "zz"), ("IV_HWADDR", "zz")]).unwrap_err();
        assert!(matches!(error, DeviceError::Unusable { error: MacError::Malformed, .. }));
    }

    #[test]
    fn two_values_of_what_a_client_is_are_an_error_whether_it_is_a_source_or_not() {
        let (a, b) = ("06:00:00:00:00:01", "06:00:00:00:00:02");
        let uv = ("UV_CLIENT_MAC", a);
        for (pair, conflicts) in [
            ([("UV_ASSET", "7"), ("UV_ASSET", "8")], true),
            ([("UV_ASSET", "7"), ("UV_ASSET", "7")], false),
            ([("UV_ASSET", "7"), ("UV_OTHER", "8")], false),
            ([("IV_PLAT", "win"), ("IV_PLAT", "mac")], false),
            ([("UV_A B", "7"), ("UV_A B", "8")], false),
        ] {
            let found = claimed(&[uv, pair[0], pair[1]]);
            assert_eq!(matches!(found, Err(DeviceError::Conflicting(_))), conflicts, "{pair:?}");
        }
        let mut env = Env::default();
        for value in [a, b] {
            env.push(b"IV_HWADDR", value.as_bytes());
        }
        let no_source = claim(&env, &["UV_CLIENT_MAC".parse().unwrap()]);
        assert!(matches!(no_source, Err(DeviceError::Conflicting(_))));
    }

    #[test]
    fn a_fingerprint_comes_from_openvpn_only() {
        let colons = ["0a"; 32].join(":");
        let mut env = Env::default();
        env.push(b"tls_digest_sha256_0", colons.as_bytes());
        let shown = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(fingerprint(&env).map(|f| f.to_string()), Some(shown.clone()));
        let source = ["tls_digest_sha256_0".parse().unwrap()];
        assert_eq!(claim(&env, &source).unwrap().unwrap().id.to_string(), shown);
        for typed in [&colons, &shown] {
            let error = claimed(&[("UV_CLIENT_MAC", typed)]).unwrap_err();
            assert!(matches!(error, DeviceError::Unusable { error: MacError::Fingerprint, .. }));
        }
        let mut env = Env::default();
        env.push(b"tls_digest_sha256_0", b"06:00:00:00:00:01");
        assert!(claim(&env, &source).is_err() && fingerprint(&env).is_none());
        assert_eq!(fingerprint(&Env::default()), None);
    }

    #[test]
    fn a_source_is_a_peer_info_variable() {
        assert!("username".parse::<DeviceSource>().is_err());
        assert!("IV_".parse::<DeviceSource>().is_err());
        assert!("UV_A B".parse::<DeviceSource>().is_err());
    }
}
