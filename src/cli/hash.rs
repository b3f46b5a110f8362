//! `hash`: a password in, its PHC string out.

use crate::auth::password::{self, HashParams};

use super::{
    context::{self, Globals},
    exit::{CliError, Outcome},
    output,
};

pub(super) fn execute(globals: &Globals) -> Result<Outcome, CliError> {
    let params = params(&context::config(globals)?.auth);
    let hash = hash(&context::read_password(false)?, &params)?;
    output::write_text(&(hash + "\n"))?;
    Ok(Outcome::Done)
}

/// The configured cost.
pub(super) const fn params(auth: &crate::config::Auth) -> HashParams {
    HashParams { m_kib: auth.argon2_m_kib, t: auth.argon2_t, p: auth.argon2_p }
}

/// Hashes a password with the configured cost.
pub(super) fn hash(
    password: &crate::types::Password,
    params: &HashParams,
) -> Result<String, CliError> {
    password::hash(password, params).map_err(|error| CliError::failed(error.to_string()))
}
