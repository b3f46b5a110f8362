//! Text from the network, made safe to show; sizes and durations for people.

use std::{
    fmt::{self, Write},
    time::Duration,
};

/// Text that is mostly short, of which there is a lot: up to 24 bytes lie within.
pub use compact_str::CompactString as ShortText;

/// Shows bytes as one line of text that no terminal interprets: invalid UTF-8 becomes U+FFFD,
/// control characters (C0, DEL, C1), bidi controls and line separators become `\u{…}`.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a [u8]);

/// Whether a character could change what a terminal shows around it.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if is_unsafe(c) {
                    write!(f, "\\u{{{:x}}}", u32::from(c))?;
                } else {
                    f.write_char(c)?;
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

/// The longest prefix of `text` of at most `max` bytes that ends on a character boundary.
pub fn truncate_on_char(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// `1d02h`, `8h00m`, `15m30s`, `42s`.
pub fn short_duration(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s % 3_600 / 60),
        86_400.. => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// `512 B`, `1.5 MiB`.
pub fn short_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Integers to one decimal, cut: never shows more than there was.
    let unit = (bytes.ilog2() / 10) as usize;
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_short() {
        let sizes = [0, 1023, 1024, 1_572_864, u64::MAX].map(short_bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "15.9 EiB"]);
        let durations = [59, 930, 28_800, 93_600].map(|s| short_duration(Duration::from_secs(s)));
        assert_eq!(durations, ["59s", "15m30s", "8h00m", "1d02h"]);
    }

    #[test]
    fn terminal_escapes_and_bidi_controls_are_escaped() {
        let shown = Printable("\u{202e}\u{9b}31mroot\n\u{7f}é".as_bytes()).to_string();
        assert_eq!(shown, "\\u{202e}\\u{9b}31mroot\\u{a}\\u{7f}é");
        assert_eq!(Printable(b"a\xffb").to_string(), "a\u{fffd}b");
    }

    #[test]
    fn truncation_keeps_characters_whole() {
        assert_eq!(truncate_on_char("aé", 2), "a");
        assert_eq!(truncate_on_char("aé", 3), "aé");
        assert_eq!(truncate_on_char("a", 9), "a");
    }
}
