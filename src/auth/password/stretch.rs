//! PBKDF2 with HMAC of SHA-1, SHA-256 and SHA-512, and scrypt.

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use base64::Engine as _;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use super::{
    PasswordError, Scheme, bounds,
    digest::{BASE64, MAX_SALT, hex},
};

/// Most iterations of PBKDF2; Django 6 makes 1.2 million of SHA-256, and 1.3 million of SHA-1 are advised.
pub const MAX_PBKDF2: u32 = 4_000_000;
/// Most of scrypt's N·r·p: 256 MiB at p = 1, about a second or two of a core.
pub const MAX_SCRYPT: u64 = 2 << 20;
/// Most of scrypt's r and of its p.
const MAX_SCRYPT_RP: u32 = 64;

/// A hash of PBKDF2. All three programs store as many bytes as the digest has: one block.
pub(super) struct Pbkdf2 {
    rounds: u32,
    salt: Vec<u8>,
    expected: Vec<u8>,
}

impl Pbkdf2 {
    /// What follows the mark: iterations, salt and hash apart by `$`.
    pub(super) fn parse(scheme: Scheme, mark: &str, rest: &str) -> Result<Self, PasswordError> {
        let damaged = PasswordError::Damaged(scheme);
        let mut parts = rest.split('$');
        let (Some(rounds), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(damaged);
        };
        let plain = || Some(salt.as_bytes().to_vec());
        let (salt, hash) = if mark.starts_with("pbkdf2_") {
            // Django: the salt as it stands, the hash in base64.
            (plain(), BASE64.decode(hash).ok())
        } else if mark.starts_with("pbkdf2:") {
            // Werkzeug: the same with a hash in hexadecimal digits.
            (plain(), hex(hash))
        } else {
            // passlib: both in base64, with `.` for `+`.
            (adapted(salt), adapted(hash))
        };
        let Some((salt, expected)) = salt.zip(hash) else { return Err(damaged) };
        let length = [(Scheme::Pbkdf2Sha1, 20), (Scheme::Pbkdf2Sha512, 64)]
            .into_iter()
            .find_map(|(of, length)| (of == scheme).then_some(length));
        if expected.len() != length.unwrap_or(32) || salt.len() > MAX_SALT {
            return Err(damaged);
        }
        match bounds::number(rounds) {
            None | Some(0) => Err(damaged),
            Some(rounds @ 1..=MAX_PBKDF2) => Ok(Self { rounds, salt, expected }),
            Some(_) => Err(PasswordError::TooCostly(scheme)),
        }
    }

    pub(super) const fn rounds(&self) -> u32 {
        self.rounds
    }

    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        let mut output = [0; 64];
        let output = &mut output[..self.expected.len()];
        let derive = match self.expected.len() {
            20 => pbkdf2_hmac::<Sha1>,
            64 => pbkdf2_hmac::<Sha512>,
            _ => pbkdf2_hmac::<Sha256>,
        };
        derive(password, &self.salt, self.rounds, output);
        output.ct_eq(&self.expected).into()
    }
}

fn adapted(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.replace('.', "+")).ok()
}

/// A hash of scrypt.
pub(super) struct Scrypt {
    params: scrypt::Params,
    salt: Salt,
    expected: Output,
}

impl Scrypt {
    /// `$scrypt$ln=17,r=8,p=1$salt$hash`.
    pub(super) fn parse(text: &str) -> Result<Self, PasswordError> {
        let damaged = PasswordError::Damaged(Scheme::Scrypt);
        let Ok(phc) = PasswordHash::new(text) else { return Err(damaged) };
        let param = |name| phc.params.get_decimal(name);
        let (Some(ln), Some(r), Some(p)) = (param("ln"), param("r"), param("p")) else {
            return Err(damaged);
        };
        if ln == 0 || r == 0 || p == 0 || phc.params.iter().count() != 3 {
            return Err(damaged);
        }
        if ln > 30
            || r > MAX_SCRYPT_RP
            || p > MAX_SCRYPT_RP
            || (1u64 << ln) * u64::from(r) * u64::from(p) > MAX_SCRYPT
        {
            return Err(PasswordError::TooCostly(Scheme::Scrypt));
        }
        let params = u8::try_from(ln).ok().and_then(|ln| scrypt::Params::new(ln, r, p).ok());
        match (params, phc.salt, phc.hash) {
            (Some(params), Some(salt), Some(expected)) => Ok(Self { params, salt, expected }),
            _ => Err(damaged),
        }
    }

    /// N·r·p.
    pub(super) fn work(&self) -> u64 {
        let (r, p) = (u64::from(self.params.r()), u64::from(self.params.p()));
        (1 << self.params.log_n()) * r * p
    }

    pub(super) fn is_of(&self, password: &[u8]) -> Result<bool, PasswordError> {
        let mut output = [0u8; Output::MAX_LENGTH];
        let output = &mut output[..self.expected.len()];
        scrypt::scrypt(password, &self.salt, &self.params, output)
            .map_err(|_| PasswordError::Damaged(Scheme::Scrypt))?;
        Ok(output.ct_eq(self.expected.as_bytes()).into())
    }
}
