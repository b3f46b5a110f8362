//! A stored hash of any scheme: read first, compared then.

use super::{
    PasswordError, Workspace, argon, crypt, digest, md5,
    scheme::{Scheme, split},
    stretch,
};

/// A hash that can be compared; its cost is within bounds.
pub(super) enum Stored<'a> {
    Argon2(argon::Stored),
    Bcrypt(crypt::Bcrypt<'a>),
    Sha(crypt::Sha<'a>),
    Md5(md5::Stored<'a>),
    Digest(digest::Stored),
    Pbkdf2(stretch::Pbkdf2),
    Scrypt(stretch::Scrypt),
}

impl<'a> Stored<'a> {
    /// Reads all of it, and hashes nothing.
    pub(super) fn parse(text: &'a str) -> Result<Self, PasswordError> {
        let (scheme, mark, rest) = split(text).ok_or(PasswordError::UnknownScheme)?;
        match scheme {
            Scheme::Argon2id | Scheme::Argon2i | Scheme::Argon2d => {
                argon::Stored::parse(scheme, text).map(Self::Argon2)
            }
            Scheme::Bcrypt => crypt::Bcrypt::parse(text, rest).map(Self::Bcrypt),
            Scheme::Sha512Crypt | Scheme::Sha256Crypt => {
                crypt::Sha::parse(scheme, text, rest).map(Self::Sha)
            }
            Scheme::Md5Crypt => md5::Stored::crypt(rest).map(Self::Md5),
            Scheme::Phpass => md5::Stored::phpass(rest).map(Self::Md5),
            Scheme::Pbkdf2Sha256 | Scheme::Pbkdf2Sha1 | Scheme::Pbkdf2Sha512 => {
                stretch::Pbkdf2::parse(scheme, mark, rest).map(Self::Pbkdf2)
            }
            Scheme::Scrypt => stretch::Scrypt::parse(text).map(Self::Scrypt),
            Scheme::Ssha => digest::Stored::salted(scheme, 20, rest).map(Self::Digest),
            Scheme::Ssha256 => digest::Stored::salted(scheme, 32, rest).map(Self::Digest),
            Scheme::Ssha512 => digest::Stored::salted(scheme, 64, rest).map(Self::Digest),
            Scheme::Nt | Scheme::Md5 => digest::Stored::bare(scheme, 16, rest).map(Self::Digest),
            Scheme::Mysql | Scheme::Sha1 => {
                digest::Stored::bare(scheme, 20, rest).map(Self::Digest)
            }
            Scheme::Sha256 => digest::Stored::bare(scheme, 32, rest).map(Self::Digest),
        }
    }

    pub(super) fn is_of(
        &self,
        password: &[u8],
        workspace: &mut Workspace,
    ) -> Result<bool, PasswordError> {
        match self {
            Self::Argon2(stored) => stored.is_of(password, workspace),
            Self::Bcrypt(stored) => stored.is_of(password),
            Self::Sha(stored) => stored.is_of(password),
            Self::Md5(stored) => Ok(stored.is_of(password)),
            Self::Digest(stored) => Ok(stored.is_of(password)),
            Self::Pbkdf2(stored) => Ok(stored.is_of(password)),
            Self::Scrypt(stored) => stored.is_of(password),
        }
    }

    /// What a comparison costs, in roughly the microseconds of a core.
    pub(super) fn micros(&self) -> u64 {
        match self {
            Self::Argon2(stored) => argon::micros(stored.work()),
            Self::Bcrypt(stored) => 60 << stored.cost(),
            Self::Sha(stored) => u64::from(stored.rounds()),
            Self::Md5(stored) => u64::from(stored.rounds()) / 4,
            Self::Digest(_) => 0,
            Self::Pbkdf2(stored) => u64::from(stored.rounds()) / 3,
            Self::Scrypt(stored) => stored.work() / 3,
        }
    }
}
