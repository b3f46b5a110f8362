//! Statements with a repeated part, made once for each power of two.
//!
//! Every size would be a statement of its own in the prepared-statement caches of the server
//! and of each connection; six sizes serve any number of rows.

/// The largest number of repetitions in one statement.
const LARGEST: usize = 1 << (SIZES - 1);
/// 1 to 32. A statement of 32 sessions fits one TLS record and so one write; the driver leaves
/// Nagle's algorithm on, and with two writes every statement would wait 40 ms for an ACK.
const SIZES: usize = 6;

/// `head part,part,… tail` for 1, 2, 4, … 32 parts.
pub struct Batch([String; SIZES]);

impl Batch {
    /// From static text only: what is bound never becomes part of it.
    pub fn new(head: &'static str, part: &'static str, tail: &'static str) -> Self {
        Self::joined(head, part, ",", tail)
    }

    /// The same with another separator than a comma.
    pub fn joined(
        head: &'static str,
        part: &'static str,
        separator: &'static str,
        tail: &'static str,
    ) -> Self {
        Self(std::array::from_fn(|power| {
            let parts = vec![part; 1 << power].join(separator);
            format!("{head}{parts}{tail}")
        }))
    }

    /// Cuts `items` into runs that each have a statement, longest first.
    pub fn split<'a, T>(&'static self, items: &'a [T]) -> Vec<(&'static str, &'a [T])> {
        let mut runs = Vec::new();
        let mut rest = items;
        while !rest.is_empty() {
            let power = rest.len().min(LARGEST).ilog2() as usize;
            let (run, after) = rest.split_at(1 << power);
            runs.push((self.0[power].as_str(), run));
            rest = after;
        }
        runs
    }
}

/// A statement with lists of placeholders, for lists of 1, 2, 4, 8 and 16 entries.
pub struct Repeated([String; 5]);

impl Repeated {
    /// The most entries of one statement: with names and device ids of the greatest length they
    /// still fit one TLS record.
    pub const MOST: usize = 16;

    /// Static text, each piece followed by so many placeholders for each entry.
    pub fn new(pieces: &[(&'static str, usize)]) -> Self {
        Self(std::array::from_fn(|power| {
            let mut text = String::new();
            for (piece, times) in pieces {
                text.push_str(piece);
                text.push_str(&vec!["?"; times << power].join(","));
            }
            text
        }))
    }

    /// The shortest statement for so many entries, and how many it takes: the last is repeated to
    /// fill it.
    pub fn fitting(&'static self, entries: usize) -> (&'static str, usize) {
        let power = entries.clamp(1, Self::MOST).next_power_of_two().ilog2();
        (self.0[power as usize].as_str(), 1 << power)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static BATCH: LazyLock<Batch> = LazyLock::new(|| Batch::new("in (", "?", ")"));

    static LISTS: LazyLock<Repeated> =
        LazyLock::new(|| Repeated::new(&[("in (", 2), (") at ? in (", 1), (")", 0)]));

    #[test]
    fn a_statement_has_room_for_its_entries_and_less_than_as_many_again() {
        for entries in 1..=Repeated::MOST {
            let (sql, room) = LISTS.fitting(entries);
            assert!(room >= entries && room < entries * 2, "{entries}: {room}");
            assert_eq!(sql.matches('?').count(), room * 3 + 1);
        }
        assert_eq!(LISTS.fitting(2), ("in (?,?,?,?) at ? in (?,?)", 2));
    }

    #[test]
    fn every_item_is_in_one_run_and_each_run_has_its_placeholders() {
        for count in [0usize, 1, 2, 3, 31, 32, 33, 1_000] {
            let items: Vec<usize> = (0..count).collect();
            let mut seen = Vec::new();
            for (sql, run) in BATCH.split(&items) {
                assert_eq!(sql.matches('?').count(), run.len());
                seen.extend_from_slice(run);
            }
            assert_eq!(seen, items);
        }
        assert_eq!(BATCH.split(&[0; 61]).len(), 5);
    }
}
