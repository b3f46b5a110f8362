//! What a code that came with a login is worth. A core.

use crate::{
    store::{Facts, SecondFactorMode, UsedCode},
    types::{Factor, Timestamp},
};

use super::{
    super::request::AuthRequest,
    Demand, FactorCheck, demand,
    totp::{self, BadSecret, Candidate},
};

/// Judges the second factor of a login whose password was right. What is right is still to be taken: the
/// code that comes with it.
///
/// # Errors
/// [`BadSecret`]: the login cannot be decided.
pub fn check(
    request: &AuthRequest,
    facts: &Facts,
    default: SecondFactorMode,
    now: Timestamp,
) -> Result<(FactorCheck, Option<UsedCode>), BadSecret> {
    let factor = match demand(request, facts, default) {
        Demand::Nothing => return Ok((FactorCheck::NotNeeded, None)),
        Demand::Enrolment => return Ok((FactorCheck::NotEnrolled, None)),
        Demand::Code(factor) => factor,
    };
    let Some(code) = request.response.code() else { return Ok((FactorCheck::Missing, None)) };
    Ok(match totp::judge(code, facts.user.id, factor, now)? {
        Candidate::Wrong => (FactorCheck::Wrong, None),
        Candidate::Used => (FactorCheck::Used, None),
        Candidate::Step(step) => {
            let secret = factor.secret.clone();
            (FactorCheck::Right(Factor::Totp), Some(UsedCode::Step { secret, step }))
        }
        Candidate::Recovery(digest) => {
            (FactorCheck::Right(Factor::RecoveryCode), Some(UsedCode::Recovery(digest)))
        }
    })
}
