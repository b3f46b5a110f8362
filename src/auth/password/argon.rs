//! argon2 as PHC strings: new hashes and stored ones.

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};

use super::{HashParams, PasswordError, Scheme};

/// Largest memory that a stored hash may ask for, KiB: 1 GiB.
pub const MAX_M_KIB: u32 = 1 << 20;
/// Most passes that a stored hash may ask for.
pub const MAX_T: u32 = 64;
/// Most lanes that a stored hash may ask for.
pub const MAX_P: u32 = 64;
/// Most memory times passes, KiB: 2 GiB are some three seconds of a core.
pub const MAX_WORK_KIB: u64 = 2 << 20;

/// A thread keeps this much memory, in blocks of 1 KiB, from one hash to the next: 128 MiB.
const KEPT_BLOCKS: usize = 128 << 10;

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

    /// Gives back what one large hash took.
    fn shrink(&mut self) {
        if self.0.len() > KEPT_BLOCKS {
            self.0 = Vec::new();
        }
    }
}

/// A stored hash that can be compared.
pub(super) struct Stored {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Salt,
    expected: Output,
}

impl Stored {
    pub(super) fn parse(scheme: Scheme, text: &str) -> Result<Self, PasswordError> {
        let damaged = PasswordError::Damaged(scheme);
        let Ok(phc) = PasswordHash::new(text) else { return Err(damaged) };
        let Ok(algorithm) = Algorithm::try_from(phc.algorithm.as_str()) else {
            return Err(damaged);
        };
        let version = match phc.version.map(Version::try_from) {
            None => Version::V0x10,
            Some(Ok(version)) => version,
            Some(Err(_)) => return Err(damaged),
        };
        let Ok(params) = Params::try_from(&phc) else { return Err(damaged) };
        if params.m_cost() > MAX_M_KIB || params.t_cost() > MAX_T || params.p_cost() > MAX_P {
            return Err(PasswordError::TooCostly(scheme));
        }
        if u64::from(params.m_cost()) * u64::from(params.t_cost()) > MAX_WORK_KIB {
            return Err(PasswordError::TooCostly(scheme));
        }
        let (Some(salt), Some(expected)) = (phc.salt, phc.hash) else { return Err(damaged) };
        Ok(Self { algorithm, version, params, salt, expected })
    }

    /// Memory times passes, KiB.
    pub(super) fn work(&self) -> u64 {
        u64::from(self.params.m_cost()) * u64::from(self.params.t_cost())
    }

    pub(super) fn is_of(
        &self,
        password: &[u8],
        workspace: &mut Workspace,
    ) -> Result<bool, PasswordError> {
        let output = derive(
            password,
            &self.salt,
            (self.algorithm, self.version),
            &self.params,
            self.expected.len(),
            workspace,
        )?;
        // `Output`'s comparison is constant-time.
        Ok(output == self.expected)
    }
}

pub(super) fn hash(
    password: &[u8],
    params: &HashParams,
    salt: &[u8],
    workspace: &mut Workspace,
) -> Result<String, PasswordError> {
    let params =
        Params::new(params.m_kib, params.t, params.p, None).map_err(|_| PasswordError::Params)?;
    let made_with = (Algorithm::Argon2id, Version::V0x13);
    let output = derive(password, salt, made_with, &params, Params::DEFAULT_OUTPUT_LEN, workspace)?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|_| PasswordError::Params)?,
        salt: Some(Salt::new(salt).map_err(|_| PasswordError::Params)?),
        hash: Some(output),
    };
    Ok(phc.to_string())
}

/// What so much memory times passes costs, in roughly the microseconds of a core.
pub(super) const fn micros(work_kib: u64) -> u64 {
    work_kib * 2 / 3
}

/// Whether a stored hash is of another scheme or version, or was cheaper to make than with these
/// parameters. One that cost more stays, whatever its parameters.
pub(super) fn is_outdated(stored: &str, wanted: &HashParams) -> bool {
    let Ok(phc) = PasswordHash::new(stored) else {
        return true;
    };
    let is_current = phc.algorithm == Algorithm::Argon2id.ident()
        && phc.version == Some(Version::V0x13.into())
        && Params::try_from(&phc).is_ok_and(|p| {
            let work = |m_kib: u32, t: u32| u64::from(m_kib) * u64::from(t);
            p.m_cost() >= wanted.m_kib
                && work(p.m_cost(), p.t_cost()) >= work(wanted.m_kib, wanted.t)
        });
    !is_current
}

fn derive(
    password: &[u8],
    salt: &[u8],
    (algorithm, version): (Algorithm, Version),
    params: &Params,
    output_len: usize,
    workspace: &mut Workspace,
) -> Result<Output, PasswordError> {
    let argon2 = Argon2::new(algorithm, version, params.clone());
    let mut output = [0u8; Output::MAX_LENGTH];
    let output = output.get_mut(..output_len).ok_or(PasswordError::Params)?;
    let blocks = workspace.blocks(params.block_count());
    let done = argon2.hash_password_into_with_memory(password, salt, output, blocks);
    workspace.shrink();
    done.map_err(|_| PasswordError::Params)?;
    Output::new(output).map_err(|_| PasswordError::Params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_one_large_hash_is_given_back() {
        let mut workspace = Workspace::default();
        workspace.blocks(KEPT_BLOCKS);
        workspace.shrink();
        assert_eq!(workspace.0.len(), KEPT_BLOCKS);
        workspace.blocks(KEPT_BLOCKS + 1);
        workspace.shrink();
        assert_eq!(workspace.0.capacity(), 0);
    }
}
