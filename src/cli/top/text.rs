//! Texts as wide as they may be on a terminal, and numbers for people. Core.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::state::{Look, plain};
use crate::types::{short_bytes, short_duration};

/// A text of the network: nothing in it is obeyed, and where only ASCII can be shown, all is.
pub fn safe(text: &str, look: Look) -> String {
    let text = plain(text);
    if look.unicode || text.is_ascii() {
        return text;
    }
    text.chars()
        .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{{{:x}}}", u32::from(c)) })
        .collect()
}

/// Cuts a text to so many cells, and marks the cut.
pub fn fit(text: &str, cells: usize, look: Look) -> String {
    if text.width() <= cells {
        return text.to_owned();
    }
    let mark = if look.unicode { '…' } else { '~' };
    let Some(room) = cells.checked_sub(1) else { return String::new() };
    let (mut cut, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used > room {
            break;
        }
        cut.push(c);
    }
    cut.push(mark);
    cut
}

/// Exactly so many cells, on the left or on the right of them.
pub fn pad(text: &str, cells: usize, to_the_right: bool, look: Look) -> String {
    let text = fit(text, cells, look);
    let blank = " ".repeat(cells.saturating_sub(text.width()));
    if to_the_right { blank + &text } else { text + &blank }
}

/// `3h20m`, or what there is instead.
pub fn left(left: Option<Duration>) -> String {
    match left {
        None => "-".into(),
        Some(left) if left.is_zero() => "over".into(),
        Some(left) => short_duration(left),
    }
}

/// `1.5 MiB/s`.
pub fn bytes_a_second(rate: f64) -> String {
    // A float beyond u64 becomes its maximum.
    format!("{}/s", short_bytes(rate as u64))
}

/// `0.25/s`, `12.5/s`, `1250/s`.
pub fn a_second(rate: f64) -> String {
    match rate {
        rate if rate < 9.995 => format!("{rate:.2}/s"),
        rate if rate < 99.95 => format!("{rate:.1}/s"),
        rate => format!("{rate:.0}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Look = Look { color: true, unicode: true };
    const PLAIN: Look = Look { color: false, unicode: false };

    #[test]
    fn texts_are_cut_by_the_cells_that_they_take() {
        assert_eq!(fit("alice", 5, WIDE), "alice");
        assert_eq!(fit("alice", 4, WIDE), "ali…");
        assert_eq!(fit("alice", 4, PLAIN), "ali~");
        assert_eq!(fit("日本語", 6, WIDE), "日本語");
        assert_eq!(fit("日本語", 5, WIDE), "日本…");
        assert_eq!(fit("日本語", 4, WIDE), "日…", "half a character is none");
        assert_eq!(fit("日本語", 1, WIDE), "…");
        assert_eq!(fit("alice", 0, WIDE), "");
        assert_eq!(pad("日本語", 5, true, WIDE), "日本…");
        assert_eq!(pad("日", 4, false, WIDE), "日  ");
        assert_eq!(pad("日", 4, true, WIDE), "  日");
    }

    #[test]
    fn nothing_of_the_network_is_obeyed() {
        assert_eq!(safe("a\u{1b}[2J\u{202e}é", WIDE), "a\\u{1b}[2J\\u{202e}é");
        assert_eq!(safe("é", PLAIN), "\\u{e9}");
    }

    #[test]
    fn numbers_are_short() {
        let times = [None, Some(0), Some(12_000)].map(|s| left(s.map(Duration::from_secs)));
        assert_eq!(times, ["-", "over", "3h20m"]);
        let rates = [0.0, 0.25, 9.999, 99.96, 1250.4].map(a_second);
        assert_eq!(rates, ["0.00/s", "0.25/s", "10.0/s", "100/s", "1250/s"]);
        assert_eq!(bytes_a_second(1_572_864.7), "1.5 MiB/s");
        assert_eq!(bytes_a_second(f64::MAX), "15.9 EiB/s");
    }
}
