//! One-time codes (RFC 6238) and recovery codes. A core.
//!
//! Codes are of HMAC-SHA-1, 6 digits and 30 s, which every authenticator app knows; the algorithm
//! is the crate `totp-rs`. A recovery code is 80 random bits, so that a plain digest hides it.

use sha2::{Digest, Sha256};
use thiserror::Error;
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::{
    store::SecondFactor,
    types::{Password, Timestamp, Username},
};

/// How long a code is shown, in seconds.
pub const STEP_S: u64 = 30;
/// Recovery codes of a user.
pub const RECOVERY_CODES: usize = 10;
/// Random bytes of a secret, as RFC 4226 recommends.
pub const SECRET_BYTES: usize = 20;
/// Random bytes of a recovery code.
pub const RECOVERY_BYTES: usize = 10;
/// Characters of a recovery code without its hyphens.
const RECOVERY_CHARS: usize = RECOVERY_BYTES * 8 / 5;
const DIGITS: usize = 6;
/// A code of the step before or after is right, too: for clocks, and for who types slowly.
const SKEW: u16 = 1;

/// A stored secret that no codes can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the stored secret of the second factor is not base32 of at least 16 bytes")]
pub struct BadSecret;

/// What a presented code can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// A right one-time code, of this time step, which is still to be taken.
    Step(u64),
    /// A right one-time code of a time step that was used, or of one before it.
    Used,
    /// Perhaps a recovery code, of this digest, which is still to be looked for.
    Recovery(String),
    /// Wrong.
    Wrong,
}

/// Judges a code: of a time step that was not used before, and near enough.
///
/// # Errors
/// [`BadSecret`]: nobody can log in with it.
pub fn judge(
    code: &Password,
    user: i64,
    factor: &SecondFactor,
    now: Timestamp,
) -> Result<Candidate, BadSecret> {
    let totp = totp(&factor.secret)?;
    let Some(typed) = typed(code) else { return Ok(Candidate::Wrong) };
    if typed.len() == RECOVERY_CHARS {
        return Ok(Candidate::Recovery(digest(user, &typed)));
    }
    let seconds = u64::try_from(now.as_secs()).unwrap_or(0);
    let step = totp.check(&typed, seconds).filter(|_| typed.len() == DIGITS);
    Ok(match step {
        Some(step) if factor.last_step.is_none_or(|last| step > last) => Candidate::Step(step),
        Some(_) => Candidate::Used,
        None => Candidate::Wrong,
    })
}

/// Whether a code has the form of a recovery code, which nobody guesses.
pub fn is_recovery(code: &Password) -> bool {
    typed(code).is_some_and(|typed| typed.len() == RECOVERY_CHARS)
}

/// When the step of a code began.
pub fn step_time(step: u64) -> Timestamp {
    Timestamp::from_secs(i64::try_from(step.saturating_mul(STEP_S)).unwrap_or(i64::MAX / 1_000))
}

/// What was typed without blanks and hyphens, in lower case; `None` when it is far too long, or no
/// code at all.
fn typed(code: &Password) -> Option<Zeroizing<String>> {
    let bytes = code.expose();
    if bytes.len() > 64 || !bytes.is_ascii() {
        return None;
    }
    let mut plain = Zeroizing::new(String::with_capacity(bytes.len()));
    plain.extend(
        bytes
            .iter()
            .filter(|byte| !byte.is_ascii_whitespace() && **byte != b'-')
            .map(|byte| char::from(byte.to_ascii_lowercase())),
    );
    Some(plain)
}

fn totp(secret: &Password) -> Result<Totp, BadSecret> {
    let text = std::str::from_utf8(secret.expose()).map_err(|_| BadSecret)?;
    let secret = Secret::try_from_base32(text).map_err(|_| BadSecret)?;
    Builder::new().with_secret(secret).with_skew(SKEW).build().map_err(|_| BadSecret)
}

/// The digest under which a recovery code is stored.
fn digest(user: i64, code: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"ovpn-warden recovery code 1");
    hash.update(user.to_be_bytes());
    hash.update(code.as_bytes());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A secret that is made for a user, in base32.
pub fn new_secret(random: [u8; SECRET_BYTES]) -> Password {
    Password::new(Secret::new_stack(random).to_base32().into_bytes())
}

/// The secret as an authenticator app takes it: `otpauth://totp/…`. A colon in a name would end it
/// there, and is shown as `_`.
///
/// # Errors
/// [`BadSecret`] for one that is not of [`new_secret`].
pub fn uri(
    secret: &Password,
    user: &Username,
    issuer: &str,
) -> Result<Zeroizing<String>, BadSecret> {
    let plain = |text: &str| text.replace(':', "_").into_boxed_str();
    let text = std::str::from_utf8(secret.expose()).map_err(|_| BadSecret)?;
    Builder::new()
        .with_secret(Secret::try_from_base32(text).map_err(|_| BadSecret)?)
        .with_account_name(plain(user.as_str()))
        .with_issuer(Some(plain(issuer)))
        .build()
        .and_then(|totp| totp.to_url())
        .map(Zeroizing::new)
        .map_err(|_| BadSecret)
}

/// A recovery code, and the digest under which it is stored for the user of this id.
pub fn recovery_code(user: i64, random: [u8; RECOVERY_BYTES]) -> (Zeroizing<String>, String) {
    let plain = Secret::new(random.into()).to_base32().to_ascii_lowercase();
    let plain = Zeroizing::new(plain);
    let mut shown = Zeroizing::new(String::with_capacity(RECOVERY_CHARS + 3));
    for (index, c) in plain.chars().enumerate() {
        if index > 0 && index % 4 == 0 {
            shown.push('-');
        }
        shown.push(c);
    }
    (shown, digest(user, &plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(last_step: Option<u64>) -> SecondFactor {
        let secret = Secret::new_stack(*b"12345678901234567890").to_base32();
        SecondFactor {
            secret: Password::new(secret.into_bytes()),
            last_step,
            enrolled_at: Timestamp::from_secs(0),
        }
    }

    fn at(seconds: i64, code: &str) -> Candidate {
        judged(seconds, code, None)
    }

    fn judged(seconds: i64, code: &str, last: Option<u64>) -> Candidate {
        let code = Password::from(code.as_bytes());
        judge(&code, 7, &factor(last), Timestamp::from_secs(seconds)).unwrap()
    }

    /// Appendix B of RFC 6238, SHA-1; the last six of its eight digits.
    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = u64::try_from(seconds).unwrap() / STEP_S;
            assert_eq!(at(seconds, code), Candidate::Step(step), "{seconds}");
        }
    }

    #[test]
    fn a_code_is_right_one_step_before_and_after_and_no_longer() {
        let (begin, code, step) = (1_234_567_890, "005924", 41_152_263);
        for (seconds, expected) in [
            (begin - 31, false),
            (begin - 30, true),
            (begin - 1, true),
            (begin, true),
            (begin + 59, true),
            (begin + 60, false),
        ] {
            let found = at(seconds, code);
            assert_eq!(found == Candidate::Step(step), expected, "{seconds}: {found:?}");
            assert_eq!(found == Candidate::Wrong, !expected, "{seconds}: {found:?}");
        }
    }

    #[test]
    fn a_code_of_a_step_that_was_used_or_is_older_is_known_as_such() {
        let (now, code, step) = (1_234_567_890, "005924", 41_152_263);
        assert_eq!(judged(now, code, Some(step - 1)), Candidate::Step(step));
        for last in [step, step + 1, u64::MAX] {
            assert_eq!(judged(now, code, Some(last)), Candidate::Used);
        }
        assert_eq!(
            judged(now + 60, code, Some(step)),
            Candidate::Wrong,
            "nor is it right any more"
        );
    }

    #[test]
    fn people_may_type_blanks_and_hyphens_and_nothing_else() {
        for code in ["005 924", " 005924 ", "005-924"] {
            assert_eq!(at(1_234_567_890, code), Candidate::Step(41_152_263), "{code}");
        }
        let long = "0".repeat(4_096);
        for code in ["", "5924", "0005924", "05924", "+05924", "005924x", "００５９２４", &long]
        {
            assert_eq!(at(1_234_567_890, code), Candidate::Wrong, "{code}");
        }
        assert_eq!(at(-1, "005924"), Candidate::Wrong, "before 1970");
    }

    #[test]
    fn a_recovery_code_is_known_by_its_digest_however_it_is_typed() {
        let (shown, digest) = recovery_code(7, [0xa5; RECOVERY_BYTES]);
        assert_eq!(shown.len(), 19, "{}", *shown);
        assert_eq!(digest.len(), 64);
        let found = Candidate::Recovery(digest.clone());
        assert_eq!(at(0, &shown), found);
        assert_eq!(at(0, &shown.to_ascii_uppercase().replace('-', " ")), found);
        assert_ne!(recovery_code(8, [0xa5; RECOVERY_BYTES]).1, digest, "somebody else's");
        assert_ne!(recovery_code(7, [0xa6; RECOVERY_BYTES]).1, digest);
        assert!(!digest.contains(&*shown));
    }

    #[test]
    fn a_secret_that_is_none_is_an_error_and_not_a_wrong_code() {
        let now = Timestamp::from_secs(59);
        for bad in [&b""[..], b"AAAA", b"not base32!", b"\xff\xff"] {
            let factor = SecondFactor { secret: Password::from(bad), ..factor(None) };
            let judged = judge(&Password::from(&b"287082"[..]), 7, &factor, now);
            assert_eq!(judged, Err(BadSecret), "{bad:?}");
        }
    }

    #[test]
    fn an_app_takes_the_secret_by_its_uri() {
        let secret = new_secret(*b"12345678901234567890");
        assert_eq!(secret.expose(), b"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let made = |user: &str, issuer| uri(&secret, &user.parse().unwrap(), issuer).unwrap();
        assert_eq!(
            *made("alice", "Example VPN"),
            "otpauth://totp/Example%20VPN:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example%20VPN"
        );
        assert!(made("corp:alice", "a:b").starts_with("otpauth://totp/a_b:corp_alice?"));
    }
}
