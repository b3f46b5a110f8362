//! Identifiers: OpenVPN's client and key ids, our session ids, server and user names.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;
use uuid::Uuid;

use super::Timestamp;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Empty where a value is needed.
    #[error("empty")]
    Empty,
    /// Longer than the bound, in bytes.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// A character outside the permitted set.
    #[error("contains a character that is not permitted")]
    BadCharacter,
    /// Not a session id.
    #[error("not a session id")]
    NotASessionId,
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// Client id: OpenVPN's number for one client instance. Counts from 0 in every run and
    /// starts again at 0 after SIGHUP and SIGUSR1 (protocol notes, section 2.2).
    Cid
}
number_id! {
    /// Key id: number of a key negotiation of one client; grows, with gaps.
    Kid
}

/// Name of one OpenVPN server as the configuration gives it: 1 to 64 of `[A-Za-z0-9._-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// The bound on its length, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text once more, without a copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for ServerName {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        if s.is_empty() {
            return Err(IdError::Empty);
        }
        if s.len() > Self::MAX_LEN {
            return Err(IdError::TooLong { max: Self::MAX_LEN });
        }
        if !s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return Err(IdError::BadCharacter);
        }
        Ok(Self(s.into()))
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A user's login name: 1 to 128 bytes of UTF-8 without control characters, compared byte by
/// byte. 128 is OpenVPN's own limit in builds without PKCS#11 (protocol notes, section 2.3).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(Arc<str>);

impl Username {
    /// The bound on its length, in bytes.
    pub const MAX_LEN: usize = 128;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From the bytes that OpenVPN reports.
    ///
    /// # Errors
    /// [`IdError`] when it is empty, too long, not UTF-8 or holds a control character.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        std::str::from_utf8(bytes).map_err(|_| IdError::BadCharacter)?.parse()
    }
}

impl FromStr for Username {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        Arc::<str>::from(s).try_into()
    }
}

/// Shares the text.
impl TryFrom<Arc<str>> for Username {
    type Error = IdError;

    fn try_from(s: Arc<str>) -> Result<Self, IdError> {
        if s.is_empty() {
            return Err(IdError::Empty);
        }
        if s.len() > Self::MAX_LEN {
            return Err(IdError::TooLong { max: Self::MAX_LEN });
        }
        if s.chars().any(char::is_control) {
            return Err(IdError::BadCharacter);
        }
        Ok(Self(s))
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Our id of one VPN session: a UUID of version 7, so that it sorts by time and two daemons
/// never make the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new id: the time from `now`, the rest from `random`.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

impl FromStr for SessionId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        Uuid::parse_str(s).map(Self).map_err(|_| IdError::NotASessionId)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_short_and_plain() {
        assert!("udp-1194".parse::<ServerName>().is_ok());
        assert_eq!("".parse::<ServerName>(), Err(IdError::Empty));
        assert_eq!("a b".parse::<ServerName>(), Err(IdError::BadCharacter));
        assert_eq!("x".repeat(65).parse::<ServerName>(), Err(IdError::TooLong { max: 64 }));
    }

    #[test]
    fn usernames_are_utf8_without_control_characters() {
        assert_eq!(Username::from_bytes("zoë".as_bytes()).map(|u| u.to_string()), Ok("zoë".into()));
        assert_eq!(Username::from_bytes(b"\xc3("), Err(IdError::BadCharacter));
        assert_eq!(Username::from_bytes("a\u{9b}b".as_bytes()), Err(IdError::BadCharacter));
        assert_eq!(Username::from_bytes(&[b'x'; 129]), Err(IdError::TooLong { max: 128 }));
    }

    #[test]
    fn session_ids_sort_by_time_and_round_trip() {
        let a = SessionId::new(Timestamp::from_millis(1_000), [255; 10]);
        let b = SessionId::new(Timestamp::from_millis(1_001), [0; 10]);
        assert!(a < b);
        assert_eq!(a.to_string().parse(), Ok(a));
        assert_eq!("7".parse::<SessionId>(), Err(IdError::NotASessionId));
    }
}
