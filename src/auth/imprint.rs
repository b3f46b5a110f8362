//! By what a client is known again: not its password, but what a key of this process makes of it.
//!
//! A renegotiation shows the same password as the login before. Where it does, and the stored hash is
//! the one that the login was compared with, nothing has to be hashed again. A core.

use std::collections::HashMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::types::Password;

/// What the key makes of some bytes. Without the key it says nothing about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// Replaced hashes that are remembered.
const MOST: usize = 4_096;

/// By which hash this process has replaced which, after it had compared the password with the first.
#[derive(Debug, Default)]
pub struct Replaced(HashMap<Imprint, Imprint>);

impl Replaced {
    /// A stronger hash of the same password is stored now. Of too many all are forgotten: their users are
    /// hashed once more.
    pub fn note(&mut self, old: Imprint, new: Imprint) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(old, new);
    }

    /// Whether what was compared with `known` needs no comparison with `stored`.
    pub fn is_same(&self, known: Imprint, stored: Imprint) -> bool {
        known == stored || self.0.get(&known) == Some(&stored)
    }
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
    #[test]
    fn a_replaced_hash_stands_for_the_one_that_replaced_it_and_no_other() {
        let imprinter = Imprinter::new(Password::new(vec![1; 32]));
        let of = |number: u32| imprinter.of(&number.to_be_bytes()).unwrap();
        let mut replaced = Replaced::default();
        assert!(replaced.is_same(of(1), of(1)) && !replaced.is_same(of(1), of(2)));
        replaced.note(of(1), of(2));
        assert!(replaced.is_same(of(1), of(2)));
        assert!(!replaced.is_same(of(2), of(1)) && !replaced.is_same(of(1), of(3)));
        for number in 10..10 + MOST as u32 {
            replaced.note(of(number), of(0));
        }
        assert!(replaced.0.len() <= MOST);
    }
}
