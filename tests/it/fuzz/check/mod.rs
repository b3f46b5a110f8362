//! What must hold for every input, one file for each fuzz target. The fuzzer (`fuzz/`) and the
//! tests run the same functions; they panic where something does not hold.
//!
//! An input of the protocol's targets is what a server says, as it stands in a recording.

pub(crate) mod command;
pub(crate) mod config_line;
pub(crate) mod console;
pub(crate) mod csv;
pub(crate) mod decode;
pub(crate) mod device;
pub(crate) mod engine;
pub(crate) mod framer;
pub(crate) mod hash;
pub(crate) mod hours;
pub(crate) mod lexer;
pub(crate) mod message;
pub(crate) mod model;
pub(crate) mod reencode;
pub(crate) mod relay;
pub(crate) mod response;
pub(crate) mod tap;
pub(crate) mod wire;
pub(crate) mod words;

/// What holds for every input of a target; panics where it does not.
pub(crate) type Check = fn(&[u8]);

/// Every target and its check.
pub(crate) const TARGETS: [(&str, Check); 20] = [
    ("bounds", model::check_bounds),
    ("command", command::check),
    ("config_line", config_line::check),
    ("console", console::check),
    ("csv", csv::check),
    ("cuts", framer::check_everywhere),
    ("decode", decode::check),
    ("device", device::check),
    ("engine", engine::check),
    ("framer", framer::check),
    ("hash", hash::check),
    ("hours", hours::check),
    ("lexer", lexer::check),
    ("message", message::check),
    ("model", model::check),
    ("reencode", reencode::check),
    ("relay", relay::check),
    ("response", response::check),
    ("tap", tap::check),
    ("words", words::check),
];

/// The input with its repetitions written out, so that a few bytes reach every bound:
/// `FE n` stands for 256 to 32,768 times the byte before (n < 128), or for 16 to 2,048 times the
/// line before. No more than `most` bytes come of that.
fn unfolded(input: &[u8], most: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    let mut bytes = input.iter().copied();
    while let Some(byte) = bytes.next() {
        let times = if byte == 0xFE { bytes.next() } else { None };
        let Some(times) = times.map(usize::from) else {
            out.push(byte);
            continue;
        };
        let (from, times) = if times < 128 {
            (out.len().saturating_sub(1), (times + 1) * 256)
        } else {
            let before = out.len().saturating_sub(1);
            (
                out[..before].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1),
                (times - 127) * 16,
            )
        };
        let repeated = out[from..].to_vec();
        let room = most.saturating_sub(out.len()) / repeated.len().max(1);
        out.extend(repeated.repeat(times.min(room)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_reach_every_bound() {
        assert_eq!(unfolded(b"a\xFE\x01b", 999).len(), 1 + 512 + 1);
        assert_eq!(unfolded(b"x\nab\n\xFE\x80", 999), [&b"x\n"[..], &b"ab\n".repeat(17)].concat());
        assert_eq!(unfolded(b"\xFE\x05\xFE", 999), b"\xFE");
        assert_eq!(unfolded(b"ab\xFE\xFF\xFE\xFF\xFE\xFF", 1_000).len(), 1_000);
    }
}
