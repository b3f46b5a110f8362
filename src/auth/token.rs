//! Session tokens of OpenVPN's `auth-gen-token … external-auth`, sent in place of the password.
//!
//! OpenVPN checks them (auth_token.c): it has made them, and says in `session_state` what came of
//! it. A core.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::types::Timestamp;

/// How a token begins.
const PREFIX: &[u8] = b"SESS_ID_AT_";
/// Session id, time of the first login, time of renewal, HMAC.
const LENGTH: usize = 12 + 8 + 8 + 32;

/// A token that a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// OpenVPN found it genuine, of this user and not expired.
    pub is_valid: bool,
    /// When the password was given that it stands for, to the second.
    pub first_login: Option<Timestamp>,
}

impl Token {
    /// Reads what was sent as the password, beside OpenVPN's `session_state`. `None`: it is a
    /// password. A token without a state (OpenVPN 2.4) is one too, a wrong one.
    pub fn read(password: &[u8], session_state: Option<&[u8]>) -> Option<Self> {
        let text = password.strip_prefix(PREFIX)?;
        let is_valid = session_state? == b"Authenticated";
        let first_login = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == LENGTH);
        let seconds =
            first_login.and_then(|bytes| Some(i64::from_be_bytes(bytes[12..20].try_into().ok()?)));
        // Beyond the year 9999 is no time at all.
        let seconds = seconds.filter(|seconds| (0..253_402_300_800).contains(seconds));
        Some(Self { is_valid, first_login: seconds.map(Timestamp::from_secs) })
    }

    /// Whether it stands for a password that was last set at that time.
    pub fn stands_for(&self, password_changed_at: Option<Timestamp>) -> bool {
        self.is_valid && is_current(self.first_login, password_changed_at)
    }
}

/// Whether what was shown at `shown` still counts after a change, to the second.
pub fn is_current(shown: Option<Timestamp>, changed: Option<Timestamp>) -> bool {
    match (shown, changed) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(shown), Some(changed)) => shown.as_secs() >= changed.as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(seconds: i64) -> Vec<u8> {
        let mut bytes = vec![7; LENGTH];
        bytes[12..20].copy_from_slice(&seconds.to_be_bytes());
        [PREFIX, STANDARD.encode(bytes).as_bytes()].concat()
    }

    #[test]
    fn a_token_that_openvpn_accepts_is_valid_and_tells_its_first_login() {
        let read = Token::read(&token(1_795_435_003), Some(b"Authenticated")).unwrap();
        assert!(read.is_valid);
        assert_eq!(read.first_login, Some(Timestamp::from_secs(1_795_435_003)));
    }

    #[test]
    fn every_other_state_is_a_refusal() {
        let states: [&[u8]; 6] = [
            b"Expired",
            b"Invalid",
            b"Initial",
            b"AuthenticatedEmptyUser",
            b"ExpiredEmptyUser",
            b"",
        ];
        for state in states {
            let read = Token::read(&token(1), Some(state)).unwrap();
            assert!(!read.is_valid && !read.stands_for(None), "{state:?}");
        }
    }

    #[test]
    fn a_password_is_no_token_and_a_token_without_a_state_is_a_password() {
        assert_eq!(Token::read(b"hunter2", Some(b"Authenticated")), None);
        assert_eq!(Token::read(&token(1), None), None);
    }

    #[test]
    fn a_token_of_before_the_password_was_set_is_void() {
        let read = Token::read(&token(1_000), Some(b"Authenticated")).unwrap();
        assert!(read.stands_for(None));
        assert!(read.stands_for(Some(Timestamp::from_millis(1_000_900))), "the same second");
        assert!(!read.stands_for(Some(Timestamp::from_secs(1_001))));
        for garbage in [&b"SESS_ID_AT_"[..], b"SESS_ID_AT_AAAA", b"SESS_ID_AT_\xff\xff", &token(-1)]
        {
            let read = Token::read(garbage, Some(b"Authenticated")).unwrap();
            assert!(!read.stands_for(Some(Timestamp::from_secs(1))), "its age is not known");
        }
    }
}
