//! Password hashes: argon2id for new ones; older schemes are compared and then replaced.
//!
//! Hashing takes tens of milliseconds of a core and tens of MiB: it runs on the threads of
//! [`pool`], never on the async ones. What a stored hash may cost is bounded.

mod argon;
mod bounds;
mod crypt;
mod digest;
mod md5;
mod pause;
pub mod pool;
pub mod scheme;
mod share;
mod stored;
mod stretch;
#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::types::{Password, wiped};
pub use argon::{MAX_M_KIB, MAX_P, MAX_T, MAX_WORK_KIB, Workspace};
pub(super) use bounds::USUAL_PASSWORD;
pub use scheme::{Scheme, Schemes};
use stored::Stored;

/// Cost of a new hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashParams {
    /// Memory, KiB.
    pub m_kib: u32,
    /// Passes.
    pub t: u32,
    /// Lanes.
    pub p: u32,
}

impl Default for HashParams {
    /// OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self { m_kib: 19_456, t: 2, p: 1 }
    }
}

/// Why a password could not be hashed or compared; never says anything about the password or the
/// hash but its scheme.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// The parameters of a new hash are outside argon2's or our bounds.
    #[error("the argon2 parameters are out of bounds")]
    Params,
    /// The stored text is no hash that this program can verify.
    #[error("the stored password hash is of no known scheme")]
    UnknownScheme,
    /// A hash of this scheme may not be used.
    #[error(
        "the stored password hash is of the scheme {0}, which auth.password_schemes does not allow"
    )]
    NotAllowed(Scheme),
    /// The stored text begins as a hash of this scheme, but is none.
    #[error("the stored {0} password hash is damaged")]
    Damaged(Scheme),
    /// The stored hash asks for more time or memory than this program gives.
    #[error("the stored {0} password hash costs too much to compare")]
    TooCostly(Scheme),
    /// The system gave no random bytes for a salt.
    #[error("no random bytes for a salt")]
    Random,
}

/// Hashes with a fresh salt of 16 random bytes; returns the PHC string.
///
/// # Errors
/// [`PasswordError::Params`] for impossible parameters, `Random` without entropy.
pub fn hash(password: &Password, params: &HashParams) -> Result<String, PasswordError> {
    let mut salt = [0u8; 16];
    rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut salt)
        .map_err(|_| PasswordError::Random)?;
    hash_with(password, params, &salt, &mut Workspace::default())
}

fn hash_with(
    password: &Password,
    params: &HashParams,
    salt: &[u8],
    workspace: &mut Workspace,
) -> Result<String, PasswordError> {
    wiped(|| argon::hash(password.expose(), params, salt, workspace))
}

/// Whether `password` is the one behind `stored`, compared in constant time. An empty password is
/// never right: in old tables the hash of nothing often stands for "no password".
///
/// # Errors
/// [`PasswordError::UnknownScheme`], `Damaged` or `TooCostly` when `stored` cannot be compared.
pub fn verify(
    password: &Password,
    stored: &str,
    workspace: &mut Workspace,
) -> Result<bool, PasswordError> {
    let stored = Stored::parse(stored)?;
    let is_right = wiped(|| stored.is_of(password.expose(), workspace))?;
    Ok(is_right && !password.is_empty())
}

/// Whether a stored hash could be compared at a login, by its form and its cost. Hashes nothing.
///
/// # Errors
/// As [`verify`].
pub fn examine(stored: &str) -> Result<(), PasswordError> {
    Stored::parse(stored).map(|_| ())
}

/// Whether a stored hash was made with other parameters than these, or another scheme.
pub fn is_outdated(stored: &str, wanted: &HashParams) -> bool {
    argon::is_outdated(stored, wanted)
}

/// What a comparison with a stored hash costs, in roughly the microseconds of a core. Hashes nothing.
///
/// # Errors
/// As [`verify`].
pub fn cost(stored: &str) -> Result<u64, PasswordError> {
    Stored::parse(stored).map(|stored| stored.micros())
}

/// Whether comparing with a stored hash takes less time than with one of these parameters, also because it
/// cannot be compared at all. An estimate: it says what is to be covered up by a hash more.
pub fn is_cheaper(stored: &str, wanted: &HashParams) -> bool {
    let all = u64::from(wanted.m_kib) * u64::from(wanted.t);
    cost(stored).map_or(true, |cost| cost < argon::micros(all))
}

/// Whether a stored text says that nobody logs in by password: a hash that was locked as in shadow(5).
pub fn is_locked(stored: &str) -> bool {
    stored.starts_with('!') || matches!(stored, "*" | "*LK*" | "x" | "")
}
