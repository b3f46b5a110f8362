//! md5-crypt and phpass, compare only, on the `md-5` crate: no crate for them is well kept
//! (docs/decisions/password-schemes.md).

use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

use super::{
    PasswordError, Scheme, bounds,
    crypt::{ITOA64, is_itoa64},
};

/// Letters of an encoded MD5.
const HASH_LEN: usize = 22;
/// Most iterations of phpass, as the power of two: WordPress uses 13.
pub const MAX_PHPASS: usize = 20;

/// Either of them.
pub(super) enum Stored<'a> {
    /// Salt and hash of `$1$salt$hash`.
    Crypt(&'a str, &'a str),
    /// Iterations, salt and hash of `$P$Nsalthash`.
    Phpass(u32, &'a str, &'a str),
}

impl<'a> Stored<'a> {
    pub(super) fn crypt(rest: &'a str) -> Result<Self, PasswordError> {
        match rest.split_once('$') {
            Some((salt, hash))
                if salt.len() <= 8
                    && is_itoa64(salt)
                    && is_itoa64(hash)
                    && hash.len() == HASH_LEN =>
            {
                Ok(Self::Crypt(salt, hash))
            }
            Some(_) | None => Err(PasswordError::Damaged(Scheme::Md5Crypt)),
        }
    }

    pub(super) fn phpass(rest: &'a str) -> Result<Self, PasswordError> {
        let damaged = PasswordError::Damaged(Scheme::Phpass);
        if rest.len() != 1 + 8 + HASH_LEN || !is_itoa64(rest) {
            return Err(damaged);
        }
        match ITOA64.iter().position(|letter| *letter == rest.as_bytes()[0]) {
            Some(power @ 7..=MAX_PHPASS) => Ok(Self::Phpass(1 << power, &rest[1..9], &rest[9..])),
            Some(21..=30) => Err(PasswordError::TooCostly(Scheme::Phpass)),
            Some(_) | None => Err(damaged),
        }
    }

    pub(super) const fn rounds(&self) -> u32 {
        match self {
            Self::Crypt(..) => 1_000,
            Self::Phpass(rounds, ..) => *rounds,
        }
    }

    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        let (expected, letters) = match *self {
            Self::Crypt(salt, hash) => (hash, md5_crypt(password, salt.as_bytes())),
            Self::Phpass(rounds, salt, hash) => {
                if !bounds::is_affordable(rounds, 16 + password.len(), 64) {
                    return false;
                }
                (hash, phpass(password, salt.as_bytes(), rounds))
            }
        };
        letters.ct_eq(expected.as_bytes()).into()
    }
}

/// Poul-Henning Kamp's algorithm of FreeBSD 2.0.
fn md5_crypt(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let other = Md5::new().chain_update(password).chain_update(salt).chain_update(password);
    let other = other.finalize();
    let mut md5 = Md5::new().chain_update(password).chain_update(b"$1$").chain_update(salt);
    for part in password.chunks(16) {
        md5.update(&other[..part.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        // What looks like a slip has been the algorithm ever since.
        md5.update(if length & 1 == 1 { &[0] } else { &password[..1] });
        length >>= 1;
    }
    let mut digest = md5.finalize();
    for round in 0..1_000 {
        let mut md5 = Md5::new();
        let (first, last) = match round % 2 {
            0 => (&digest[..], password),
            _ => (password, &digest[..]),
        };
        md5.update(first);
        if round % 3 != 0 {
            md5.update(salt);
        }
        if round % 7 != 0 {
            md5.update(password);
        }
        md5.update(last);
        digest = md5.finalize();
    }
    let order = [[12, 6, 0], [13, 7, 1], [14, 8, 2], [15, 9, 3], [5, 10, 4]];
    let mut letters = Vec::with_capacity(HASH_LEN);
    for group in order {
        encode(&group.map(|at| digest[at]), 4, &mut letters);
    }
    encode(&[digest[11]], 2, &mut letters);
    letters
}

/// The "portable hash" of Openwall's phpass.
fn phpass(password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
    let mut digest = Md5::new().chain_update(salt).chain_update(password).finalize();
    for _ in 0..rounds {
        digest = Md5::new().chain_update(digest).chain_update(password).finalize();
    }
    let mut letters = Vec::with_capacity(HASH_LEN);
    for group in digest.chunks(3) {
        encode(group, group.len() + 1, &mut letters);
    }
    letters
}

/// Base64 of crypt(3): the lowest six bits of a little-endian number come first.
fn encode(bytes: &[u8], count: usize, letters: &mut Vec<u8>) {
    let mut number = bytes.iter().rev().fold(0usize, |number, byte| number << 8 | *byte as usize);
    for _ in 0..count {
        letters.push(ITOA64[number & 63]);
        number >>= 6;
    }
}
