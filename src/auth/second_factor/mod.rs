//! The second factor: of whom it is asked, and what came of it. A core.
//!
//! A password is compared before anybody is asked for a code, or is told that one is wrong: the
//! second factor says nothing about an account to somebody who does not have the password. `totp`
//! knows the codes, `response` reads what clients send, `challenge` makes and reads the states of
//! challenges, and `check` judges a code, which the store takes at the end, so that it is taken once.

pub mod challenge;
pub mod check;
pub mod response;
pub mod totp;

use crate::{
    store::{Facts, SecondFactor, SecondFactorMode},
    types::{DenyReason, Factor},
};

use super::request::{AuthRequest, RequestKind};

/// What a login needs beside its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand<'a> {
    /// Nothing.
    Nothing,
    /// A second factor that the user does not have.
    Enrolment,
    /// A code of this.
    Code(&'a SecondFactor),
}

/// What is known of the second factor when the rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorCheck {
    /// It was not asked for.
    NotNeeded,
    /// The code is right; it is to be taken before the client is let in.
    Right(Factor),
    /// There was no code: the user is to be asked for one.
    Missing,
    /// The code was wrong.
    Wrong,
    /// The code was used before, or is a recovery code that there is none. It refuses, and is nobody's guess: a login
    /// that a fault of ours has stopped after its code was taken comes again with the same.
    Used,
    /// The user needs one and has none.
    NotEnrolled,
}

impl FactorCheck {
    /// Why it refuses a login.
    pub const fn refuses(self) -> Option<DenyReason> {
        match self {
            Self::NotNeeded | Self::Right(_) => None,
            Self::Missing | Self::NotEnrolled => Some(DenyReason::SecondFactorRequired),
            Self::Wrong | Self::Used => Some(DenyReason::BadSecondFactor),
        }
    }

    /// What a right code was.
    pub const fn factor(self) -> Option<Factor> {
        match self {
            Self::Right(factor) => Some(factor),
            Self::NotNeeded | Self::Missing | Self::Wrong | Self::Used | Self::NotEnrolled => None,
        }
    }
}

/// What a login needs. A session that runs is not asked again as long as it sends what let it in: who
/// sends the password alone instead has not shown that he is the same. Neither is asked who comes back with a token
/// of OpenVPN's that is younger than his second factor.
pub fn demand<'a>(
    request: &AuthRequest,
    facts: &'a Facts,
    default: SecondFactorMode,
) -> Demand<'a> {
    let is_asked = match request.kind {
        RequestKind::Connect => true,
        RequestKind::Reauth { .. } => request.is_other && facts.second_factor.is_some(),
        RequestKind::Adopt { .. } => false,
    };
    if !is_asked {
        return Demand::Nothing;
    }
    match (facts.policy.second_factor.unwrap_or(default), &facts.second_factor) {
        (SecondFactorMode::Off, _) | (SecondFactorMode::Optional, None) => Demand::Nothing,
        (SecondFactorMode::Required, None) => Demand::Enrolment,
        (SecondFactorMode::Optional | SecondFactorMode::Required, Some(factor)) => {
            let stands = |token: super::token::Token| token.stands_for(Some(factor.enrolled_at));
            match request.token.is_some_and(stands) {
                true => Demand::Nothing,
                false => Demand::Code(factor),
            }
        }
    }
}

#[cfg(test)]
mod tests;
