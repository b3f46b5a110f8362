//! `hash`: a password in, its PHC string out.

use std::io::IsTerminal;

use crate::auth::password::{self, HashParams};

use super::{
    context::{self, Globals},
    exit::{CliError, Outcome},
    output::Output,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Read the password from stdin even where that is a terminal
    #[arg(long)]
    password_stdin: bool,
}

pub(super) fn execute(globals: &Globals, args: &Args, output: Output) -> Result<Outcome, CliError> {
    let params = params(&context::config(globals)?.auth);
    let stdin = args.password_stdin || !std::io::stdin().is_terminal();
    let hash = hash(&context::read_password(stdin)?, &params)?;
    output.value("hash", &hash)?;
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
