//! The variables of one `>CLIENT:` block.

use std::{fmt, ops::Range};

use crate::types::Password;

/// An ordered list of variables in one buffer: two allocations for a whole block.
///
/// Keys and values are bytes, as OpenVPN sends them. `password` is kept apart from all others.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    password: Option<Password>,
    password_index: usize,
}

/// Room that a real block does not outgrow: about 2 KB in 45 variables.
const ROOM: (usize, usize) = (2_048, 64);

/// Where one variable lies in `Env::bytes`: `key` then `value`, nothing between.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    start: u32,
    key_len: u32,
    value_len: u32,
}

impl Entry {
    fn key(self) -> Range<usize> {
        self.start as usize..(self.start + self.key_len) as usize
    }

    fn value(self) -> Range<usize> {
        let start = (self.start + self.key_len) as usize;
        start..start + self.value_len as usize
    }
}

impl Env {
    /// An empty list with room for a real block.
    pub(super) fn with_room() -> Self {
        let (bytes, entries) = (Vec::with_capacity(ROOM.0), Vec::with_capacity(ROOM.1));
        Self { bytes, entries, password: None, password_index: 0 }
    }

    /// Appends a variable. The caller keeps the total under 4 GiB (see `limits`).
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let entry = Entry {
            start: self.bytes.len() as u32,
            key_len: key.len() as u32,
            value_len: value.len() as u32,
        };
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.entries.push(entry);
    }

    /// Takes the variable `password`; the last one counts.
    pub fn set_password(&mut self, password: Password) {
        self.password = Some(password);
        self.password_index = self.entries.len();
    }

    /// The variable `password`; `None` when there was none.
    pub fn password(&self) -> Option<&Password> {
        self.password.as_ref()
    }

    /// [`Self::password`], which is then gone from here.
    pub fn take_password(&mut self) -> Option<Password> {
        self.password.take()
    }

    /// How many variables came before `password`, where there was one.
    pub fn password_index(&self) -> usize {
        self.password_index
    }

    /// The value of the last variable of this name (OpenVPN's own rule for duplicates).
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let entry = self.entries.iter().rev().find(|e| &self.bytes[e.key()] == key)?;
        Some(&self.bytes[entry.value()])
    }

    /// Whether one of the variables from this index on has the name.
    pub(super) fn has_since(&self, index: usize, key: &[u8]) -> bool {
        self.entries[index..].iter().any(|e| {
            // Most differ in length: nothing is compared then.
            e.key_len as usize == key.len() && &self.bytes[e.key()] == key
        })
    }

    /// The value as UTF-8 text; `None` when it is absent or not UTF-8.
    pub fn text(&self, key: &[u8]) -> Option<&str> {
        std::str::from_utf8(self.get(key)?).ok()
    }

    /// The value as a decimal number, digits only; `None` when it is absent or none.
    pub fn number(&self, key: &[u8]) -> Option<u64> {
        self.text(key).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
    }

    /// Every variable but `password` in the order it arrived.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|e| (&self.bytes[e.key()], &self.bytes[e.value()]))
    }

    /// Number of variables.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all names and values.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Names only: values belong to people.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(k, _)| String::from_utf8_lossy(k))).finish()
    }
}
