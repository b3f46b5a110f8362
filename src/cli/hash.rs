//! `hash`: a password in, its PHC string out.

use std::io::{self, IsTerminal};

use serde_json::json;

use super::{Globals, context, exit::CliError, input, output::Output};
use crate::{
    auth::password::{self, HashParams},
    config::Auth,
    types::Password,
};

pub fn execute(globals: &Globals) -> Result<(), CliError> {
    let config = context::config(globals)?;
    let password = input::new_password(!io::stdin().is_terminal())?;
    let phc = hashed(&password, &config.auth)?;
    let mut out = Output::new(globals.json, false);
    out.done(&phc, &json!({ "hash": phc }))
}

/// Hashes with the configured parameters.
pub fn hashed(password: &Password, auth: &Auth) -> Result<String, CliError> {
    password::hash(password, &params(auth))
        .map_err(|error| CliError::failed(format!("hashing the password: {error}")))
}

/// The configured parameters.
pub const fn params(auth: &Auth) -> HashParams {
    HashParams { m_kib: auth.argon2_m_kib, t: auth.argon2_t, p: auth.argon2_p }
}
