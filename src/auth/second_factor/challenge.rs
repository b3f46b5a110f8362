//! The state of a challenge: what a client hands back with its answer. A core.
//!
//! It says that this user was told on this device that the password was right, and when; a key
//! that only we have vouches for it. So nothing is kept of a challenge, and as many can be open as
//! there are people at the door.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::Duration;

use crate::{
    auth::device::DeviceError,
    types::{DeviceId, Password, Timestamp, Username},
};

/// How long a challenge can be answered.
pub const LIFE: Duration = Duration::from_secs(300);
/// How far the clock may have been set back meanwhile.
const SKEW: Duration = Duration::from_secs(30);

const TIME: usize = 8;
const NONCE: usize = 8;
const TAG: usize = 16;

/// Who was asked.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The user.
    pub user: &'a Username,
    /// What the client sent as its device.
    pub device: &'a Result<Option<DeviceId>, DeviceError>,
}

/// Makes states and reads them again.
#[derive(Debug)]
pub struct Seal {
    key: Password,
}

impl Seal {
    /// With a key of at least 32 random bytes.
    pub const fn new(key: Password) -> Self {
        Self { key }
    }

    /// The state for somebody whose password was right at `now`.
    pub fn make(&self, subject: Subject<'_>, now: Timestamp, nonce: [u8; NONCE]) -> String {
        let mut bytes = [0; TIME + NONCE + TAG];
        bytes[..TIME].copy_from_slice(&now.as_secs().to_be_bytes());
        bytes[TIME..TIME + NONCE].copy_from_slice(&nonce);
        let tag = self.mac(&bytes[..TIME + NONCE], subject).map(|mac| mac.finalize().into_bytes());
        // A key of any length serves HMAC; without a tag the state is void.
        for (to, from) in bytes[TIME + NONCE..].iter_mut().zip(tag.iter().flatten()) {
            *to = *from;
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// When the password was right that a state stands for; `None` for one that is too old, not
    /// ours, or somebody else's.
    pub fn read(&self, state: &str, subject: Subject<'_>, now: Timestamp) -> Option<Timestamp> {
        let at = self.signed(state, subject)?;
        let is_fresh = now.saturating_since(at) <= LIFE && at.saturating_since(now) <= SKEW;
        is_fresh.then_some(at)
    }

    /// The same, however old it is.
    pub fn signed(&self, state: &str, subject: Subject<'_>) -> Option<Timestamp> {
        let bytes = URL_SAFE_NO_PAD.decode(state).ok()?;
        let (head, tag) = bytes.split_at_checked(TIME + NONCE).filter(|(_, t)| t.len() == TAG)?;
        self.mac(head, subject)?.verify_truncated_left(tag).ok()?;
        Some(Timestamp::from_secs(i64::from_be_bytes(head[..TIME].try_into().ok()?)))
    }

    fn mac(&self, head: &[u8], subject: Subject<'_>) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).ok()?;
        mac.update(b"ovpn-warden challenge 1");
        mac.update(head);
        let device = match subject.device {
            Ok(Some(device)) => format!("={device}"),
            Ok(None) => String::new(),
            Err(_) => "!".into(),
        };
        // No name holds a NUL, so that this cannot be read in two ways.
        mac.update(subject.user.as_str().as_bytes());
        mac.update(b"\0");
        mac.update(device.as_bytes());
        Some(mac)
    }
}

/// A state as long as all of them are.
#[cfg(test)]
pub fn longest() -> String {
    URL_SAFE_NO_PAD.encode([255; TIME + NONCE + TAG])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn seal(key: u8) -> Seal {
        Seal::new(Password::new(vec![key; 32]))
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn a_state_is_good_for_its_user_and_device_and_for_a_while() {
        let (alice, bob) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let mac = Ok(DeviceId::parse("02:1a:2b:3c:4d:5e").ok());
        let other = Ok(DeviceId::parse("02:1a:2b:3c:4d:5f").ok());
        let own = Subject { user: &alice, device: &mac };
        let state = seal(1).make(own, NOW, [7; 8]);
        assert_eq!(seal(1).read(&state, own, later(0)), Some(NOW));
        assert_eq!(seal(1).read(&state, own, later(300)), Some(NOW));
        assert_eq!(seal(1).read(&state, own, later(301)), None, "too late");
        assert_eq!(seal(1).signed(&state, own), Some(NOW), "at a renegotiation");
        assert_eq!(seal(2).signed(&state, own), None);
        let before = NOW.saturating_sub(Duration::from_secs(31));
        assert_eq!(seal(1).read(&state, own, before), None, "of the future");
        assert_eq!(seal(2).read(&state, own, NOW), None, "another daemon's");
        assert_eq!(seal(1).read(&state, Subject { user: &bob, ..own }, NOW), None);
        assert_eq!(seal(1).read(&state, Subject { device: &other, ..own }, NOW), None);
        assert_eq!(seal(1).read(&state, Subject { device: &Ok(None), ..own }, NOW), None);
    }

    #[test]
    fn no_state_can_be_changed_cut_or_lengthened() {
        let alice = "alice".parse().unwrap();
        let own = Subject { user: &alice, device: &Ok(None) };
        let state = seal(1).make(own, NOW, [7; 8]);
        let bytes = URL_SAFE_NO_PAD.decode(&state).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert_eq!(seal(1).read(&URL_SAFE_NO_PAD.encode(changed), own, NOW), None, "{index}");
            assert_eq!(seal(1).read(&URL_SAFE_NO_PAD.encode(&bytes[..index]), own, NOW), None);
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(seal(1).read(&URL_SAFE_NO_PAD.encode(longer), own, NOW), None);
        for odd in ["", "é", "====", &"A".repeat(1_000)] {
            assert_eq!(seal(1).read(odd, own, NOW), None);
        }
    }

    #[test]
    fn two_states_of_one_moment_differ_and_hold_no_colon() {
        let alice = "alice".parse().unwrap();
        let own = Subject { user: &alice, device: &Ok(None) };
        let (one, two) = (seal(1).make(own, NOW, [7; 8]), seal(1).make(own, NOW, [8; 8]));
        assert!(one != two && one.len() == longest().len() && !one.contains(':'));
    }
}
