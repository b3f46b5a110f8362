//! The shell of the second factor: has the store take a code, so that nobody uses it twice.

use thiserror::Error;

use crate::{
    store::{Facts, SecondFactorMode, Store, StoreError},
    types::{Factor, Timestamp},
};

use super::{
    super::request::AuthRequest,
    Demand, FactorCheck, demand,
    totp::{self, BadSecret, Candidate},
};

/// Why a second factor could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it holds.
    #[error(transparent)]
    Secret(#[from] BadSecret),
}

/// Judges the second factor of a login whose password was right. A right code is used up by it,
/// whatever the other rules say.
///
/// # Errors
/// [`CheckError`]: the login cannot be decided.
pub async fn check(
    store: &dyn Store,
    request: &AuthRequest,
    facts: &Facts,
    default: SecondFactorMode,
    now: Timestamp,
) -> Result<FactorCheck, CheckError> {
    let factor = match demand(request, facts, default) {
        Demand::Nothing => return Ok(FactorCheck::NotNeeded),
        Demand::Enrolment => return Ok(FactorCheck::NotEnrolled),
        Demand::Code(factor) => factor,
    };
    let Some(code) = request.response.code() else { return Ok(FactorCheck::Missing) };
    let (kind, is_taken) = match totp::judge(code, facts.user.id, factor, now)? {
        Candidate::Wrong => return Ok(FactorCheck::Wrong),
        Candidate::Step(step) => {
            (Factor::Totp, store.take_step(facts.user.id, &factor.secret, step).await?)
        }
        Candidate::Recovery(digest) => {
            (Factor::RecoveryCode, store.take_recovery_code(facts.user.id, &digest).await?)
        }
    };
    Ok(if is_taken { FactorCheck::Right(kind) } else { FactorCheck::Wrong })
}
