//! bcrypt, sha512-crypt and sha256-crypt.

use std::borrow::Cow;

use sha_crypt::{PasswordVerifier as _, ShaCrypt, password_hash::Error};

use super::{PasswordError, Scheme, bounds};

/// Largest bcrypt cost: 2^15 rounds are some seconds of a core.
pub const MAX_BCRYPT_COST: u32 = 15;

/// What base64 of crypt(3) is written with, in order.
pub(super) const ITOA64: &[u8; 64] =
    b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The same letters in bcrypt's order.
const BCRYPT64: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Whether all of `text` is of crypt's letters.
pub(super) fn is_itoa64(text: &str) -> bool {
    text.bytes().all(|byte| ITOA64.contains(&byte))
}

/// A bcrypt hash. What a password has beyond its first 72 bytes does not count, as everywhere.
pub(super) struct Bcrypt<'a>(Cow<'a, str>);

impl<'a> Bcrypt<'a> {
    /// `$2b$`, two digits of cost, `$`, 22 letters of salt and 31 of hash.
    pub(super) fn parse(text: &'a str, rest: &str) -> Result<Self, PasswordError> {
        let damaged = PasswordError::Damaged(Scheme::Bcrypt);
        let Some((cost, letters)) = rest.split_once('$') else { return Err(damaged) };
        let is_plain = letters.bytes().all(|byte| BCRYPT64.contains(&byte));
        if cost.len() != 2 || letters.len() != 53 || !is_plain {
            return Err(damaged);
        }
        match cost.bytes().all(|byte| byte.is_ascii_digit()).then(|| cost.parse()) {
            Some(Ok(4..=MAX_BCRYPT_COST)) => {}
            Some(Ok(cost)) if cost > MAX_BCRYPT_COST => {
                return Err(PasswordError::TooCostly(Scheme::Bcrypt));
            }
            Some(Ok(_) | Err(_)) | None => return Err(damaged),
        }
        // Some programs leave bits set that stand for nothing; the crate insists on none.
        let (salt_end, hash_end) = (text.len() - 32, text.len() - 1);
        let mut bytes = text.as_bytes().to_vec();
        bytes[salt_end] = without_spare_bits(bytes[salt_end], 0b11_0000);
        bytes[hash_end] = without_spare_bits(bytes[hash_end], 0b11_1100);
        match String::from_utf8(bytes) {
            Ok(same) if same == text => Ok(Self(Cow::Borrowed(text))),
            Ok(cleaned) => Ok(Self(Cow::Owned(cleaned))),
            Err(_) => Err(damaged),
        }
    }

    /// The power of two of its rounds.
    pub(super) fn cost(&self) -> u32 {
        self.0.get(4..6).and_then(|cost| cost.parse().ok()).unwrap_or(0)
    }

    pub(super) fn is_of(&self, password: &[u8]) -> Result<bool, PasswordError> {
        bcrypt::verify(password, &self.0).map_err(|_| PasswordError::Damaged(Scheme::Bcrypt))
    }
}

fn without_spare_bits(letter: u8, used: usize) -> u8 {
    let value = BCRYPT64.iter().position(|known| *known == letter).unwrap_or(0);
    BCRYPT64[value & used]
}

/// A hash of SHA-crypt.
pub(super) struct Sha<'a> {
    scheme: Scheme,
    text: &'a str,
    rounds: u32,
}

impl<'a> Sha<'a> {
    /// `$6$`, perhaps `rounds=N$`, the salt, `$` and the hash.
    pub(super) fn parse(scheme: Scheme, text: &'a str, rest: &str) -> Result<Self, PasswordError> {
        let damaged = PasswordError::Damaged(scheme);
        let (rounds, rest) = match rest.strip_prefix("rounds=").map(|rest| rest.split_once('$')) {
            None => (5_000, rest),
            Some(Some((rounds, rest))) => match bounds::number(rounds) {
                Some(rounds @ 1_000..) => (rounds, rest),
                Some(_) | None => return Err(damaged),
            },
            Some(None) => return Err(damaged),
        };
        let Some((salt, hash)) = rest.split_once('$') else { return Err(damaged) };
        let (_, length, last) = sizes(scheme);
        let is_plain = is_itoa64(salt) && is_itoa64(hash);
        let is_whole =
            hash.len() == length && hash.ends_with(|c| ITOA64[..last].contains(&(c as u8)));
        if !is_plain || !is_whole || !(1..=16).contains(&salt.len()) {
            return Err(damaged);
        }
        let stored = Self { scheme, text, rounds };
        // Judged for a password of OpenVPN's usual limit: the row shall serve everybody.
        match stored.is_affordable(bounds::USUAL_PASSWORD) {
            true => Ok(stored),
            false => Err(PasswordError::TooCostly(scheme)),
        }
    }

    pub(super) const fn rounds(&self) -> u32 {
        self.rounds
    }

    /// A round hashes the password twice, the salt and the last digest; the preparation hashes
    /// the password as often as it has bytes.
    fn is_affordable(&self, length: usize) -> bool {
        let (block, ..) = sizes(self.scheme);
        bounds::is_affordable(self.rounds, 2 * length + 16 + block / 2, block)
    }

    pub(super) fn is_of(&self, password: &[u8]) -> Result<bool, PasswordError> {
        if !self.is_affordable(password.len()) {
            return Ok(false);
        }
        match ShaCrypt::default().verify_password(password, self.text) {
            Ok(()) => Ok(true),
            Err(Error::PasswordInvalid) => Ok(false),
            Err(_) => Err(PasswordError::Damaged(self.scheme)),
        }
    }
}

/// Bytes of a block of the digest, letters of the hash, and how many letters it can end with.
fn sizes(scheme: Scheme) -> (usize, usize, usize) {
    if scheme == Scheme::Sha512Crypt { (128, 86, 4) } else { (64, 43, 16) }
}
