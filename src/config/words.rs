//! Words in errors: made fit for one line, listed, and the nearest of them.

use crate::types::{Printable, truncate_on_char};

/// Text from a configuration, fit for one line of an error.
pub(super) fn shown(text: &str) -> String {
    Printable(truncate_on_char(text, 80).as_bytes()).to_string()
}

/// `did you mean x?`, or all that there are.
pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    // `timeout` is `timeout_ms` without its unit, however far that is in edits.
    let mut longer = known.iter().filter(|candidate| word.len() > 2 && candidate.starts_with(word));
    if let (Some(candidate), None) = (longer.next(), longer.next()) {
        return format!("did you mean `{candidate}`?");
    }
    let nearest = known.iter().min_by_key(|candidate| distance(word, candidate));
    match nearest {
        Some(candidate) if distance(word, candidate) <= 1 + word.len() / 4 => {
            format!("did you mean `{candidate}`?")
        }
        _ => format!("there are {}", list(known, "and")),
    }
}

/// `a, b or c`.
pub(super) fn list(words: &[&str], conjunction: &str) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} {conjunction} {last}", first.join(", ")),
    }
}

/// Edits that turn one word into another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested_and_otherwise_all_are_listed() {
        let known = ["timeout_ms", "device_mode", "hash_queue"];
        assert_eq!(suggest("timeuot_ms", &known), "did you mean `timeout_ms`?");
        assert_eq!(suggest("hashqueue", &known), "did you mean `hash_queue`?");
        assert_eq!(suggest("timeout", &known), "did you mean `timeout_ms`?");
        assert_eq!(suggest("zzz", &known), "there are timeout_ms, device_mode and hash_queue");
    }

    #[test]
    fn distances_are_counted_in_edits() {
        for (a, b, edits) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 2), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
