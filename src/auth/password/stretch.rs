//! PBKDF2 with HMAC-SHA-256, and scrypt.

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use base64::Engine as _;
use pbkdf2::pbkdf2_hmac_array;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::{
    PasswordError, Scheme, bounds,
    digest::{BASE64, MAX_SALT, hex},
};

/// Most iterations of PBKDF2; Django 6 makes 1.2 million.
pub const MAX_PBKDF2: u32 = 4_000_000;
/// Most of scrypt's N·r·p: 256 MiB at p = 1, about a second or two of a core.
pub const MAX_SCRYPT: u64 = 2 << 20;
/// Most of scrypt's r and of its p.
const MAX_SCRYPT_RP: u32 = 64;

/// A hash of PBKDF2; all three programs store the 32 bytes of one block.
pub(super) struct Pbkdf2 {
    rounds: u32,
    salt: Vec<u8>,
    expected: [u8; 32],
}

impl Pbkdf2 {
    /// What follows the mark: iterations, salt and hash apart by `$`.
    pub(super) fn parse(mark: &str, rest: &str) -> Result<Self, PasswordError> {
        let damaged = PasswordError::Damaged(Scheme::Pbkdf2Sha256);
        let mut parts = rest.split('$');
        let (Some(rounds), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(damaged);
        };
        let plain = || Some(salt.as_bytes().to_vec());
        let (salt, hash) = match mark {
            // Django: the salt as it stands, the hash in base64.
            "pbkdf2_sha256$" => (plain(), BASE64.decode(hash).ok()),
            // Werkzeug: the same with a hash in hexadecimal digits.
            "pbkdf2:sha256:" => (plain(), hex(hash)),
            // passlib: both in base64, with `.` for `+`.
            _ => (adapted(salt), adapted(hash)),
        };
        let Some((salt, hash)) = salt.zip(hash) else { return Err(damaged) };
        let Ok(expected) = <[u8; 32]>::try_from(hash) else { return Err(damaged) };
        match bounds::number(rounds) {
            None | Some(0) => Err(damaged),
            Some(_) if salt.len() > MAX_SALT => Err(damaged),
            Some(rounds @ 1..=MAX_PBKDF2) => Ok(Self { rounds, salt, expected }),
            Some(_) => Err(PasswordError::TooCostly(Scheme::Pbkdf2Sha256)),
        }
    }

    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        let output = pbkdf2_hmac_array::<Sha256, 32>(password, &self.salt, self.rounds);
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

    pub(super) fn is_of(&self, password: &[u8]) -> Result<bool, PasswordError> {
        let mut output = [0u8; Output::MAX_LENGTH];
        let output = &mut output[..self.expected.len()];
        scrypt::scrypt(password, &self.salt, &self.params, output)
            .map_err(|_| PasswordError::Damaged(Scheme::Scrypt))?;
        Ok(output.ct_eq(self.expected.as_bytes()).into())
    }
}
