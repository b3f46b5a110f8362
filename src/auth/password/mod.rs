//! Password hashes: argon2id as PHC strings, verified with bounded cost.
//!
//! Hashing takes tens of milliseconds of a core and tens of MiB: it runs on the threads of
//! [`pool`], never on the async ones.

pub mod pool;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use thiserror::Error;

use crate::types::Password;

/// Largest memory that a stored hash may ask for, KiB: 1 GiB.
pub const MAX_M_KIB: u32 = 1 << 20;
/// Most passes that a stored hash may ask for.
pub const MAX_T: u32 = 64;
/// Most lanes that a stored hash may ask for.
pub const MAX_P: u32 = 64;

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

/// Why a password could not be hashed or compared; never says anything about the password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// The parameters are outside argon2's or our bounds.
    #[error("the argon2 parameters are out of bounds")]
    Params,
    /// The stored text is no hash that this program can verify.
    #[error("the stored password hash is of an unknown or damaged scheme")]
    UnknownScheme,
    /// The system gave no random bytes for a salt.
    #[error("no random bytes for a salt")]
    Random,
}

/// Memory for argon2, kept by a hashing thread from one hash to the next.
#[derive(Default)]
pub struct Workspace(Vec<Block>);

impl Workspace {
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0.resize(count, Block::new());
        }
        &mut self.0[..count]
    }
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
    let params =
        Params::new(params.m_kib, params.t, params.p, None).map_err(|_| PasswordError::Params)?;
    let output = derive(
        password.expose(),
        salt,
        Algorithm::Argon2id,
        Version::V0x13,
        &params,
        Params::DEFAULT_OUTPUT_LEN,
        workspace,
    )?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|_| PasswordError::Params)?,
        salt: Some(Salt::new(salt).map_err(|_| PasswordError::Params)?),
        hash: Some(output),
    };
    Ok(phc.to_string())
}

/// Whether `password` is the one behind `stored`, compared in constant time.
///
/// # Errors
/// [`PasswordError::UnknownScheme`] when `stored` is no argon2 PHC string,
/// [`PasswordError::Params`] when it asks for more than the caps above.
pub fn verify(
    password: &Password,
    stored: &str,
    workspace: &mut Workspace,
) -> Result<bool, PasswordError> {
    let phc = PasswordHash::new(stored).map_err(|_| PasswordError::UnknownScheme)?;
    let algorithm =
        Algorithm::try_from(phc.algorithm.as_str()).map_err(|_| PasswordError::UnknownScheme)?;
    let version = match phc.version {
        None => Version::V0x10,
        Some(number) => Version::try_from(number).map_err(|_| PasswordError::UnknownScheme)?,
    };
    let params = Params::try_from(&phc).map_err(|_| PasswordError::Params)?;
    if params.m_cost() > MAX_M_KIB || params.t_cost() > MAX_T || params.p_cost() > MAX_P {
        return Err(PasswordError::Params);
    }
    let (Some(salt), Some(expected)) = (phc.salt, phc.hash) else {
        return Err(PasswordError::UnknownScheme);
    };
    let output =
        derive(password.expose(), &salt, algorithm, version, &params, expected.len(), workspace)?;
    // `Output`'s comparison is constant-time.
    Ok(output == expected)
}

/// Whether a stored hash was made with other parameters than these, or another scheme.
pub fn is_outdated(stored: &str, wanted: &HashParams) -> bool {
    let Ok(phc) = PasswordHash::new(stored) else {
        return true;
    };
    let same = phc.algorithm == Algorithm::Argon2id.ident()
        && Params::try_from(&phc).is_ok_and(|p| {
            p.m_cost() == wanted.m_kib && p.t_cost() == wanted.t && p.p_cost() == wanted.p
        });
    !same
}

fn derive(
    password: &[u8],
    salt: &[u8],
    algorithm: Algorithm,
    version: Version,
    params: &Params,
    output_len: usize,
    workspace: &mut Workspace,
) -> Result<Output, PasswordError> {
    let argon2 = Argon2::new(algorithm, version, params.clone());
    let mut output = [0u8; Output::MAX_LENGTH];
    let output = output.get_mut(..output_len).ok_or(PasswordError::Params)?;
    argon2
        .hash_password_into_with_memory(
            password,
            salt,
            output,
            workspace.blocks(params.block_count()),
        )
        .map_err(|_| PasswordError::Params)?;
    Output::new(output).map_err(|_| PasswordError::Params)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashParams = HashParams { m_kib: 8, t: 1, p: 1 };

    fn password(text: &str) -> Password {
        Password::from(text.as_bytes())
    }

    #[test]
    fn a_hash_verifies_its_own_password_and_no_other() {
        let stored = hash(&password("correct horse"), &CHEAP).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
        let mut workspace = Workspace::default();
        assert_eq!(verify(&password("correct horse"), &stored, &mut workspace), Ok(true));
        assert_eq!(verify(&password("correct horsf"), &stored, &mut workspace), Ok(false));
        assert_ne!(stored, hash(&password("correct horse"), &CHEAP).unwrap(), "salts differ");
    }

    #[test]
    fn a_workspace_that_was_used_for_a_larger_hash_gives_the_same_result() {
        let small = hash(&password("a"), &CHEAP).unwrap();
        let large = hash(&password("b"), &HashParams { m_kib: 64, t: 2, p: 1 }).unwrap();
        let mut workspace = Workspace::default();
        for _ in 0..2 {
            assert_eq!(verify(&password("b"), &large, &mut workspace), Ok(true));
            assert_eq!(verify(&password("a"), &small, &mut workspace), Ok(true));
        }
    }

    #[test]
    fn the_reference_implementations_own_hash_verifies() {
        // printf password | argon2 somesalt -id -t 2 -m 16 -p 1 (phc-winner-argon2, test.c)
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(verify(&password("password"), stored, &mut Workspace::default()), Ok(true));
    }

    #[test]
    fn what_is_no_hash_or_asks_for_too_much_is_an_error() {
        let mut workspace = Workspace::default();
        for bad in ["", "plain", "$1$abc$def", "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ"] {
            assert!(verify(&password("x"), bad, &mut workspace).is_err(), "{bad}");
        }
        let greedy = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(verify(&password("x"), greedy, &mut workspace), Err(PasswordError::Params));
    }

    #[test]
    fn outdated_parameters_are_recognised() {
        let stored = hash(&password("x"), &CHEAP).unwrap();
        assert!(!is_outdated(&stored, &CHEAP));
        assert!(is_outdated(&stored, &HashParams::default()));
        assert!(is_outdated("$1$abc$def", &CHEAP));
    }
}
