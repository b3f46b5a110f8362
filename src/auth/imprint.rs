//! By what a client is known again: not its password, but what a key of this process makes of it.
//!
//! A renegotiation shows the same password as the login before. Where it does, and the stored hash is
//! the one that the login was compared with, nothing has to be hashed again. A core.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::types::Password;

/// What the key makes of some bytes. Without the key it says nothing about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imprint([u8; 16]);

/// Makes imprints.
#[derive(Debug, Clone)]
pub struct Imprinter {
    key: Password,
}

impl Imprinter {
    /// With a key of at least 32 random bytes, of this process only.
    pub const fn new(key: Password) -> Self {
        Self { key }
    }

    /// The imprint of some bytes; `None` only for a key that HMAC cannot take, which there is not.
    pub fn of(&self, bytes: &[u8]) -> Option<Imprint> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).ok()?;
        mac.update(bytes);
        mac.finalize().into_bytes().first_chunk().copied().map(Imprint)
    }
}

/// What let a client in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetIn {
    /// What it sent as its password.
    pub sent: Imprint,
    /// The stored hash that this was compared with.
    pub stored: Imprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_have_the_same_imprint_under_the_same_key_only() {
        let [one, two] = [1, 2].map(|byte| Imprinter::new(Password::new(vec![byte; 32])));
        assert_eq!(one.of(b"hunter2"), one.of(b"hunter2"));
        assert!(one.of(b"hunter2").is_some());
        for other in [one.of(b"hunter3"), one.of(b"hunter2\0"), one.of(b""), two.of(b"hunter2")] {
            assert_ne!(one.of(b"hunter2"), other);
        }
    }
}
