//! The variables of one `>CLIENT:` block.

use std::{fmt, ops::Range};

use crate::types::Password;

/// An ordered list of variables in one buffer: two allocations for a whole block.
///
/// Keys and values are bytes, as OpenVPN sends them. `password` is kept apart from all others.
#[derive(Clone, Default)]
pub struct Env {
    /// Whole lines as they came, without those of passwords.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Bytes of all names and values.
    byte_len: usize,
    password: Option<Password>,
    password_index: usize,
}

/// Room that a real block does not outgrow: about 2 KB in 45 lines.
const ROOM: (usize, usize) = (3_072, 64);

/// Where one variable lies in `Env::bytes`: its name, one byte, its value.
#[derive(Clone, Copy)]
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
        let start = (self.start + self.key_len + 1) as usize;
        start..start + self.value_len as usize
    }
}

impl Env {
    /// An empty list with room for a real block.
    pub(super) fn with_room() -> Self {
        let (bytes, entries) = (Vec::with_capacity(ROOM.0), Vec::with_capacity(ROOM.1));
        Self { bytes, entries, ..Self::default() }
    }

    /// Appends a variable. The caller keeps the total under 4 GiB (see `limits`).
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.note(0, key, value);
        for part in [key, b"=", value] {
            self.bytes.extend_from_slice(part);
        }
    }

    /// A variable whose line is to be kept later, so that many lines are copied at once: its name begins
    /// at `at` of what [`Self::keep`] gets next.
    pub(super) fn note(&mut self, at: usize, key: &[u8], value: &[u8]) {
        self.byte_len += key.len() + value.len();
        self.entries.push(Entry {
            start: (self.bytes.len() + at) as u32,
            key_len: key.len() as u32,
            value_len: value.len() as u32,
        });
    }

    /// The lines of all variables that were noted since the last call.
    pub(super) fn keep(&mut self, lines: &[u8]) {
        self.bytes.extend_from_slice(lines);
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

    /// Whether one of the variables from this index on has the name; `lines` are to be kept next.
    pub(super) fn has_since(&self, index: usize, key: &[u8], lines: &[u8]) -> bool {
        self.entries[index..].iter().any(|e| {
            // Most differ in length: nothing is compared then.
            e.key_len as usize == key.len()
                && key
                    == match (e.start as usize).checked_sub(self.bytes.len()) {
                        Some(at) => &lines[at..at + key.len()],
                        None => &self.bytes[e.key()],
                    }
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
        self.byte_len
    }
}

/// The same variables in the same order, however their lines ended.
impl PartialEq for Env {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
            && self.password == other.password
            && self.password_index == other.password_index
    }
}

impl Eq for Env {}

/// Names only: values belong to people.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(k, _)| String::from_utf8_lossy(k))).finish()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio_util::codec::Decoder;

    use super::*;
    use crate::proto::{ManagementCodec, Message};

    /// A block of these lines, read in pieces of `step` bytes.
    fn read(lines: &[&str], end: &str, step: usize) -> Env {
        let head = [">CLIENT:CONNECT,1,2"];
        let text: String = head.iter().chain(lines).flat_map(|line| [*line, end]).collect();
        let text = text + ">CLIENT:ENV,END" + end;
        let (mut codec, mut buffer, mut found) =
            (ManagementCodec::default(), BytesMut::new(), None);
        for piece in text.as_bytes().chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(message) = codec.decode(&mut buffer).unwrap() {
                if let Message::Auth(event) = message {
                    found = Some(event.env);
                } else {
                    assert_eq!(message, Message::Hold);
                }
            }
        }
        found.unwrap()
    }

    #[test]
    fn a_password_and_what_is_no_variable_are_not_among_the_bytes_that_are_kept() {
        let lines = [
            ">CLIENT:ENV,a=1",
            ">CLIENT:ENV,password=hunter2",
            ">CLIENT:ENV,b",
            ">CLIENT:ENV,c=3=",
            ">HOLD:hunter3",
            ">CLIENT:ENV,=",
        ];
        let whole = read(&lines, "\r\n", usize::MAX);
        let pairs = [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"c", b"3="), (b"", b"")];
        assert_eq!(whole.iter().collect::<Vec<_>>(), pairs);
        assert_eq!(whole.password().unwrap().expose(), b"hunter2");
        assert_eq!((whole.password_index(), whole.byte_len()), (1, 6));
        for end in ["\n", "\r\n"] {
            for step in 1..120 {
                let env = read(&lines, end, step);
                assert_eq!(env, whole, "{step}");
                let is_secret = |bytes: &[u8]| bytes.starts_with(b"hunter");
                assert!(!env.bytes.windows(6).any(is_secret), "{step}");
                assert!(env.bytes.len() <= 4 * (">CLIENT:ENV,=\r\n".len()) + env.byte_len());
            }
        }
    }
}
