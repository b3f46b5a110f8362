//! Fingerprints of certificates.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// What stands before the digits, so that no text that a client sends can be one.
const PREFIX: &str = "sha256:";

/// The SHA-256 of a certificate, over its DER form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a SHA-256 fingerprint: 64 hexadecimal digits")]
pub struct FingerprintError;

impl Fingerprint {
    /// Reads the octets as OpenVPN and OpenSSL print them: `aa:bb:…`, or without colons.
    ///
    /// # Errors
    /// [`FingerprintError`].
    pub fn from_hex(text: &str) -> Result<Self, FingerprintError> {
        let mut octets = [0u8; 32];
        let mut digits = 0usize;
        let with_colons = match text.len() {
            64 => false,
            95 => true,
            _ => return Err(FingerprintError),
        };
        for (position, byte) in text.bytes().enumerate() {
            if with_colons && position % 3 == 2 {
                if byte != b':' {
                    return Err(FingerprintError);
                }
                continue;
            }
            let value = (byte as char).to_digit(16).ok_or(FingerprintError)? as u8;
            octets[digits / 2] = octets[digits / 2] << 4 | value;
            digits += 1;
        }
        Ok(Self(octets))
    }

    /// Whether a text has the form in which fingerprints are stored, sound or not.
    pub fn is_meant(text: &str) -> bool {
        text.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
    }
}

/// Reads `sha256:` and the digits, and what `openssl x509 -fingerprint -sha256` prints.
impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(s: &str) -> Result<Self, FingerprintError> {
        let digits = if Self::is_meant(s) { &s[PREFIX.len()..] } else { s };
        let is_bare = digits.len() == s.len();
        match is_bare && !digits.contains(':') {
            // 64 digits alone are what mobile clients send for themselves.
            true => Err(FingerprintError),
            false => Self::from_hex(digits),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_notation_is_one_fingerprint() {
        let colons = ["0A"; 32].join(":");
        let digits = "0a".repeat(32);
        let shown = format!("sha256:{digits}");
        for text in [&colons, &colons.to_lowercase(), &shown, &format!("SHA256:{colons}")] {
            assert_eq!(
                text.parse::<Fingerprint>().map(|f| f.to_string()),
                Ok(shown.clone()),
                "{text}"
            );
        }
        assert_eq!(Fingerprint::from_hex(&digits).map(|f| f.to_string()), Ok(shown));
    }

    #[test]
    fn what_is_none_is_refused() {
        let colons = ["0a"; 32].join(":");
        let digits = "0a".repeat(32);
        let short = &digits[2..];
        for text in [
            "",
            "sha256:",
            &digits,
            &format!("sha256:{short}"),
            &colons.replace(':', "-"),
            &colons.replacen("0a", "0g", 1),
            &format!("{colons}:0a"),
            &format!("sha1:{digits}"),
            &format!("{digits}{}", "é".repeat(16)),
        ] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
