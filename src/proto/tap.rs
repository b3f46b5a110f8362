//! What a server says, line by line, without its secrets: for captures and for other tools.

use bytes::{BufMut, Bytes, BytesMut};

use super::{framer, limits::MAX_LINE};

/// How lines begin that hold a secret, and how many commas stand before it.
///
/// The password of a client; the answer to a challenge; whatever follows `>PASSWORD:`.
const SECRETS: [(&[u8], usize); 3] =
    [(b">CLIENT:ENV,password=", 0), (b">CLIENT:CR_RESPONSE,", 2), (b">PASSWORD:", 0)];

/// Gathers lines, each ended by LF, between two calls of [`Tap::take`].
#[derive(Debug, Default)]
pub(super) struct Tap(BytesMut);

impl Tap {
    /// A line without its end.
    pub(super) fn line(&mut self, line: &[u8]) {
        self.0.put_slice(&line[..public_part(line)]);
        if public_part(line) < line.len() {
            self.0.put_slice(b"***");
        }
        self.0.put_u8(b'\n');
    }

    /// Whole lines with their ends.
    pub(super) fn lines(&mut self, lines: &[u8]) {
        for text in
            lines.strip_suffix(b"\n").into_iter().flat_map(|lines| lines.split(|b| *b == b'\n'))
        {
            self.line(framer::without_cr(text));
        }
    }

    /// The password prompt, which has no line end.
    pub(super) fn prompt(&mut self) {
        self.0.put_slice(b"ENTER PASSWORD:");
    }

    /// A line over the bound: as long, and with nothing of it.
    pub(super) fn too_long(&mut self) {
        self.0.put_bytes(b'x', MAX_LINE + 1);
        self.0.put_u8(b'\n');
    }

    pub(super) fn take(&mut self) -> Bytes {
        self.0.split().freeze()
    }
}

/// The length of what may be shown.
fn public_part(line: &[u8]) -> usize {
    for (start, commas) in SECRETS {
        if line.starts_with(start) {
            let mut ends = memchr::memchr_iter(b',', &line[start.len()..]);
            return match commas {
                0 => start.len(),
                _ => ends.nth(commas - 1).map_or(line.len(), |at| start.len() + at + 1),
            };
        }
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tapped(line: &[u8]) -> String {
        let mut tap = Tap::default();
        tap.line(line);
        String::from_utf8(tap.take().to_vec()).unwrap()
    }

    #[test]
    fn secrets_are_starred_and_all_else_is_kept() {
        for (line, expected) in [
            ("SUCCESS: pid=7", "SUCCESS: pid=7\n"),
            (">CLIENT:ENV,username=alice", ">CLIENT:ENV,username=alice\n"),
            (">CLIENT:ENV,password=hunter2,x=y", ">CLIENT:ENV,password=***\n"),
            (">CLIENT:ENV,password=", ">CLIENT:ENV,password=\n"),
            (">CLIENT:ENV,password_hint=x", ">CLIENT:ENV,password_hint=x\n"),
            (">CLIENT:CR_RESPONSE,3,1,MTIzNDU2", ">CLIENT:CR_RESPONSE,3,1,***\n"),
            (">CLIENT:CR_RESPONSE,3,1,a,b", ">CLIENT:CR_RESPONSE,3,1,***\n"),
            (">CLIENT:CR_RESPONSE,3", ">CLIENT:CR_RESPONSE,3\n"),
            (">PASSWORD:Auth-Token:SESS_ID", ">PASSWORD:***\n"),
        ] {
            assert_eq!(tapped(line.as_bytes()), expected);
        }
    }
}
