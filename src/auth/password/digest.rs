//! One round of a digest: MySQL, LDAP's salted ones, NT, and bare hexadecimal digests.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use md4::Md4;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{PasswordError, Scheme};

/// Standard base64, with or without its padding.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Longest salt.
pub(super) const MAX_SALT: usize = 128;

/// A digest, and the salt behind it.
pub(super) struct Stored {
    scheme: Scheme,
    digest: Vec<u8>,
    salt: Vec<u8>,
}

impl Stored {
    /// `digest` and salt in base64 behind `{SSHA…}`.
    pub(super) fn salted(scheme: Scheme, length: usize, text: &str) -> Result<Self, PasswordError> {
        match BASE64.decode(text) {
            Ok(mut digest) if (length + 1..=length + MAX_SALT).contains(&digest.len()) => {
                let salt = digest.split_off(length);
                Ok(Self { scheme, digest, salt })
            }
            Ok(_) | Err(_) => Err(PasswordError::Damaged(scheme)),
        }
    }

    /// Hexadecimal digits of a digest of so many bytes.
    pub(super) fn bare(scheme: Scheme, length: usize, text: &str) -> Result<Self, PasswordError> {
        match hex(text) {
            Some(digest) if digest.len() == length => Ok(Self { scheme, digest, salt: Vec::new() }),
            Some(_) | None => Err(PasswordError::Damaged(scheme)),
        }
    }

    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        let digest = match self.scheme {
            Scheme::Mysql => Sha1::digest(Sha1::digest(password)).to_vec(),
            Scheme::Ssha | Scheme::Sha1 => salted::<Sha1>(password, &self.salt),
            Scheme::Ssha256 | Scheme::Sha256 => salted::<Sha256>(password, &self.salt),
            Scheme::Ssha512 => salted::<Sha512>(password, &self.salt),
            Scheme::Md5 => salted::<Md5>(password, &self.salt),
            Scheme::Nt => match nt(password) {
                Some(digest) => digest,
                // Windows knows no such password.
                None => return false,
            },
            Scheme::Argon2id
            | Scheme::Argon2i
            | Scheme::Argon2d
            | Scheme::Bcrypt
            | Scheme::Sha512Crypt
            | Scheme::Sha256Crypt
            | Scheme::Md5Crypt
            | Scheme::Phpass
            | Scheme::Pbkdf2Sha256
            | Scheme::Pbkdf2Sha1
            | Scheme::Pbkdf2Sha512
            | Scheme::Scrypt => return false,
        };
        digest.ct_eq(&self.digest).into()
    }
}

fn salted<D: Digest>(password: &[u8], salt: &[u8]) -> Vec<u8> {
    D::new().chain_update(password).chain_update(salt).finalize().to_vec()
}

/// MD4 of the password in UTF-16; `None` when it is no UTF-8.
fn nt(password: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(password).ok()?;
    // Room for all of it: growing would leave a copy behind.
    let mut wide = Zeroizing::new(Vec::with_capacity(2 * password.len()));
    for unit in text.encode_utf16() {
        wide.extend_from_slice(&unit.to_le_bytes());
    }
    Some(Md4::digest(&*wide).to_vec())
}

/// Bytes of hexadecimal digits of either case.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
