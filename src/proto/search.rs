//! Searches that end after some dozen bytes, as those for the parts of a line do.
//!
//! `memchr` takes the widest registers that the processor has, by a call that is chosen at run time. For so short a way the
//! call takes longer than the search by those of 16 bytes, which every x86-64 has. Elsewhere nothing is chosen at run time.

#[cfg(target_arch = "x86_64")]
use memchr::arch::x86_64::sse2::memchr::{One, Two};

/// Where a byte stands first.
#[inline]
pub(super) fn one(byte: u8, text: &[u8]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if let Some(search) = One::new(byte) {
        return search.find(text);
    }
    memchr::memchr(byte, text)
}

/// Where one of two bytes stands first.
#[inline]
pub(super) fn either(byte: u8, other: u8, text: &[u8]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if let Some(search) = Two::new(byte, other) {
        return search.find(text);
    }
    memchr::memchr2(byte, other, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_wherever_it_stands() {
        for length in 0..100 {
            let mut text = vec![b'<'; length];
            assert_eq!((one(b'=', &text), either(b'=', b'\n', &text)), (None, None));
            for at in (0..length).rev() {
                // Those behind it stay, and do not count.
                text[at] = b'=';
                assert_eq!(one(b'=', &text), Some(at), "{length}");
                assert_eq!(either(b'=', b'\n', &text), Some(at), "{length}");
                assert_eq!(either(b'\n', b'=', &text), Some(at), "{length}");
            }
        }
    }
}
