//! Bytes to lines. Bounded, without allocation, and no byte is searched twice.

use super::limits::MAX_LINE;

/// The one thing that OpenVPN says without a line end.
const PROMPT: &[u8] = b"ENTER PASSWORD:";

/// What stands at the start of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut<'a> {
    /// A line, without its LF or CR LF.
    Line(&'a [u8]),
    /// `ENTER PASSWORD:`; what follows is a new line.
    Prompt,
    /// The start of a line over the bound; said once a line.
    TooLong,
    /// The rest of such a line.
    Skipped,
}

/// Finds line ends. The caller drops what was consumed from the buffer's start.
#[derive(Debug, Default)]
pub(super) struct Framer {
    /// Bytes at the buffer's start that hold no LF.
    searched: usize,
    /// Inside a line that was too long.
    is_discarding: bool,
}

impl Framer {
    /// The next cut and the bytes it takes from the start of `buffer`; `None`: more is needed.
    pub(super) fn cut<'a>(&mut self, buffer: &'a [u8]) -> Option<(Cut<'a>, usize)> {
        if !self.is_discarding && buffer.starts_with(PROMPT) {
            self.searched = 0;
            return Some((Cut::Prompt, PROMPT.len()));
        }
        let from = self.searched.min(buffer.len());
        let Some(end) = memchr::memchr(b'\n', &buffer[from..]).map(|at| from + at) else {
            return self.without_end(buffer);
        };
        self.searched = 0;
        if std::mem::take(&mut self.is_discarding) {
            return Some((Cut::Skipped, end + 1));
        }
        if end > MAX_LINE {
            return Some((Cut::TooLong, end + 1));
        }
        Some((Cut::Line(without_cr(&buffer[..end])), end + 1))
    }

    fn without_end<'a>(&mut self, buffer: &'a [u8]) -> Option<(Cut<'a>, usize)> {
        if self.is_discarding && !buffer.is_empty() {
            self.searched = 0;
            return Some((Cut::Skipped, buffer.len()));
        }
        if buffer.len() > MAX_LINE {
            self.searched = 0;
            self.is_discarding = true;
            return Some((Cut::TooLong, buffer.len()));
        }
        self.searched = buffer.len();
        None
    }

    /// Whether what stands in front is the start of a line of which nothing is known yet.
    pub(super) const fn is_at_start(&self) -> bool {
        self.searched == 0 && !self.is_discarding
    }

    /// Whether the bytes in front belong to a line that was refused already.
    pub(super) const fn is_discarding(&self) -> bool {
        self.is_discarding
    }
}

/// What stood before an LF, without the CR that may stand there, too.
pub(super) fn without_cr(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts `input`, fed in pieces of `step` bytes.
    fn cuts(input: &[u8], step: usize) -> Vec<String> {
        let (mut framer, mut buffer, mut cuts) = (Framer::default(), Vec::new(), Vec::new());
        for piece in input.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some((cut, consumed)) = framer.cut(&buffer) {
                match cut {
                    Cut::Line(line) => cuts.push(String::from_utf8_lossy(line).into_owned()),
                    Cut::Prompt => cuts.push("<prompt>".into()),
                    Cut::TooLong => cuts.push("<too long>".into()),
                    Cut::Skipped => {}
                }
                buffer.drain(..consumed);
            }
            assert!(buffer.len() <= MAX_LINE + step);
        }
        cuts
    }

    #[test]
    fn lines_end_with_lf_or_cr_lf_and_the_prompt_with_nothing() {
        let input = b"a\r\nb\nENTER PASSWORD:SUCCESS: ok\r\n\r\nc\r\r\nrest";
        for step in 1..input.len() {
            assert_eq!(cuts(input, step), ["a", "b", "<prompt>", "SUCCESS: ok", "", "c\r"]);
        }
    }

    #[test]
    fn a_line_over_the_bound_is_refused_once_and_dropped_to_its_end() {
        let mut input = b"x\n".to_vec();
        input.extend(vec![b'a'; 4 * MAX_LINE]);
        input.extend(b"\ny\n");
        for step in [1, 7, 4_096, MAX_LINE, MAX_LINE + 1, input.len()] {
            assert_eq!(cuts(&input, step), ["x", "<too long>", "y"], "step {step}");
        }
    }

    #[test]
    fn a_prompt_inside_of_a_refused_line_is_none() {
        let mut input = vec![b'a'; 2 * MAX_LINE];
        input.extend(b"ENTER PASSWORD:ENTER PASSWORD:\nENTER PASSWORD:");
        // Pieces of one divisor of the length before put the text at the start of the buffer.
        for step in [1, 64, MAX_LINE, 2 * MAX_LINE, input.len()] {
            assert_eq!(cuts(&input, step), ["<too long>", "<prompt>"], "step {step}");
        }
    }

    #[test]
    fn the_bound_itself_is_a_line() {
        for (length, expected) in [(MAX_LINE, "line"), (MAX_LINE + 1, "too long")] {
            let mut input = vec![b'a'; length];
            input.push(b'\n');
            for step in [1, 1_000, input.len()] {
                let cuts = cuts(&input, step);
                assert_eq!(cuts.len(), 1);
                assert_eq!(cuts[0] == "<too long>", expected == "too long", "{length} {step}");
            }
        }
    }
}
