//! Lines: however the bytes are cut, the same messages; and never more than a line waits.

use bytes::BytesMut;
use ovpn_warden::proto::{ManagementCodec, Message, RejectKind, limits::MAX_LINE};
use tokio_util::codec::Decoder;

use super::unfolded;

/// The last bytes of the input, two by two, say where it is cut; they are part of it too.
const CUTS: usize = 4;
/// Longest input with its repetitions written out: a line over the bound, and more.
const MAX_STREAM: usize = 3 * MAX_LINE;
/// Inputs up to this length are fed byte by byte too.
const SHORT: usize = 512;

/// Checks one input.
pub(crate) fn check(input: &[u8]) {
    let stream = unfolded(input, MAX_STREAM);
    let whole = messages([stream.as_slice()]);
    assert_eq!(messages(pieces(input, &stream)), whole, "cut");
    if stream.len() <= SHORT {
        assert_eq!(messages(stream.chunks(1)), whole, "byte by byte");
    }
    let framed = Framed::of(&stream);
    let too_long: Vec<u64> = whole.iter().filter_map(refused_at).collect();
    assert_eq!(too_long, framed.too_long, "lines over the bound");
    let prompts = whole.iter().filter(|message| **message == Message::Prompt).count();
    assert_eq!(prompts, framed.prompts, "prompts");
}

fn refused_at(message: &Message) -> Option<u64> {
    let Message::Rejected(rejected) = message else { return None };
    (rejected.kind == RejectKind::LineTooLong).then_some(rejected.offset)
}

fn pieces<'a>(input: &[u8], stream: &'a [u8]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = input
        .rchunks_exact(2)
        .take(CUTS)
        .map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]))
        // Near an end as often as anywhere.
        .flat_map(|number| {
            [number % (stream.len() + 1), stream.len() - number % (stream.len() + 1)]
        })
        .collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|range| &stream[range[0]..range[1]]).collect()
}

/// Everything one codec says to these pieces. After each, exactly the open line waits.
fn messages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Message> {
    let (mut codec, mut buffer) = (ManagementCodec::default(), BytesMut::new());
    let (mut said, mut found) = (Vec::new(), Vec::new());
    for piece in pieces {
        said.extend_from_slice(piece);
        buffer.extend_from_slice(piece);
        while let Some(message) = codec.decode(&mut buffer).unwrap() {
            found.push(message);
        }
        if piece.len() > 1 || said.len() % 16 == 0 {
            assert_eq!(buffer, Framed::of(&said).open, "what waits is the open line");
        }
    }
    while let Some(message) = codec.decode_eof(&mut buffer).unwrap() {
        found.push(message);
    }
    found
}

/// The rules of lines, written a second time for input that is there as a whole.
struct Framed<'a> {
    /// The line at the end that has no end.
    open: &'a [u8],
    /// Where lines over the bound begin.
    too_long: Vec<u64>,
    prompts: usize,
}

impl<'a> Framed<'a> {
    fn of(stream: &'a [u8]) -> Self {
        const PROMPT: &[u8] = b"ENTER PASSWORD:";
        let mut framed = Self { open: stream, too_long: Vec::new(), prompts: 0 };
        let mut offset = 0;
        while !framed.open.is_empty() {
            let length = match framed.open.iter().position(|byte| *byte == b'\n') {
                _ if framed.open.starts_with(PROMPT) => {
                    framed.prompts += 1;
                    PROMPT.len()
                }
                Some(end) => {
                    framed.too_long.extend((end > MAX_LINE).then_some(offset));
                    end + 1
                }
                None if framed.open.len() > MAX_LINE => {
                    framed.too_long.push(offset);
                    framed.open.len()
                }
                None => break,
            };
            framed.open = &framed.open[length..];
            offset += length as u64;
        }
        framed
    }
}
