//! What a comparison may cost, where the cost grows with the rounds and with the password.

/// Longest password that OpenVPN without PKCS#11 sends (`USER_PASS_LEN`); with it, it is 4,096.
pub const USUAL_PASSWORD: usize = 128;

/// Most bytes that one comparison may hash: 512 MiB are about a second or two of a core.
pub(super) const MAX_HASHED: u64 = 512 << 20;

/// Whether so many rounds over so many bytes, filled up to whole blocks, are within the bound.
pub(super) fn is_affordable(rounds: u32, bytes: usize, block: usize) -> bool {
    // A digest adds a mark and a length of at most 17 bytes.
    let padded = (bytes + 17).div_ceil(block) * block;
    u64::from(rounds).saturating_mul(padded as u64) <= MAX_HASHED
}

/// Plain digits; nothing that only `parse` would take, as `+5`.
pub(super) fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    // Too large for 32 bits is too large for anybody.
    is_plain.then(|| match text.is_empty() || text.len() > 20 {
        true => None,
        false => Some(text.parse().unwrap_or(u32::MAX)),
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_rounds_times_blocks() {
        assert!(is_affordable(1_000_000, 2 * 128 + 16 + 64, 128));
        assert!(is_affordable(656_000, 2 * 128 + 16 + 64, 128), "passlib's sha512-crypt");
        assert!(!is_affordable(656_000, 2 * 4_096 + 16 + 64, 128));
        assert!(!is_affordable(u32::MAX, 1, 64));
        assert!(is_affordable(5_000, 2 * 16_384, 128), "crypt(3)'s own rounds at any length");
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(number("1000"), Some(1_000));
        assert_eq!(number("99999999999"), Some(u32::MAX));
        for bad in ["", "+5", "-5", " 5", "5a", "999999999999999999999"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
