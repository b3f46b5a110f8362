//! Lines: however the bytes are cut, the same messages; and never more than a line waits.
//!
//! `framer` cuts an input in some places, `cuts` a short one everywhere.

use bytes::BytesMut;
use ovpn_warden::proto::{ManagementCodec, Message, RejectKind, limits::MAX_LINE};
use tokio_util::codec::Decoder;

use super::unfolded;

/// The last bytes of the input, two by two, say where it is cut; they are part of it too.
const CUTS: usize = 4;
/// Longest input with its repetitions written out: a line over the bound, and more.
const MAX_STREAM: usize = 3 * MAX_LINE;
/// How much of an input is cut everywhere.
const SHORT: usize = 512;

/// Checks one input, cut in some places.
pub(crate) fn check(input: &[u8]) {
    let stream = unfolded(input, MAX_STREAM);
    let framed = Framed::of(&stream);
    let whole = messages([stream.as_slice()], &framed);
    assert_eq!(messages(pieces(input, &stream), &framed), whole, "cut");
    let too_long: Vec<u64> = whole.iter().filter_map(refused_at).collect();
    assert_eq!(too_long, framed.too_long, "lines over the bound");
    let prompts = whole.iter().filter(|message| **message == Message::Prompt).count();
    assert_eq!(prompts, framed.prompts, "prompts");
}

/// Checks one input, cut in two at every place, and into single bytes, pairs and threes.
pub(crate) fn check_everywhere(input: &[u8]) {
    let stream = &input[..input.len().min(SHORT)];
    let framed = Framed::of(stream);
    let whole = messages([stream], &framed);
    for length in 1..=3 {
        assert_eq!(messages(stream.chunks(length), &framed), whole, "pieces of {length}");
    }
    for at in 0..=stream.len() {
        let (first, last) = stream.split_at(at);
        assert_eq!(messages([first, last], &framed), whole, "cut at {at}");
    }
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
fn messages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, framed: &Framed<'_>) -> Vec<Message> {
    let (mut codec, mut buffer) = (ManagementCodec::default(), BytesMut::new());
    let (mut said, mut found) = (0, Vec::new());
    for piece in pieces {
        said += piece.len();
        buffer.extend_from_slice(piece);
        while let Some(message) = codec.decode(&mut buffer).unwrap() {
            found.push(message);
        }
        assert_eq!(buffer, framed.open(said), "what waits is the open line");
    }
    while let Some(message) = codec.decode_eof(&mut buffer).unwrap() {
        found.push(message);
    }
    found
}

/// The rules of lines, written a second time for input that is there as a whole.
struct Framed<'a> {
    stream: &'a [u8],
    /// Where lines begin, and what may be the last one.
    begins: Vec<usize>,
    /// Where lines over the bound begin.
    too_long: Vec<u64>,
    prompts: usize,
}

impl<'a> Framed<'a> {
    fn of(stream: &'a [u8]) -> Self {
        const PROMPT: &[u8] = b"ENTER PASSWORD:";
        let mut framed = Self { stream, begins: vec![0], too_long: Vec::new(), prompts: 0 };
        let (mut open, mut offset) = (stream, 0);
        while !open.is_empty() {
            let length = match open.iter().position(|byte| *byte == b'\n') {
                _ if open.starts_with(PROMPT) => {
                    framed.prompts += 1;
                    PROMPT.len()
                }
                Some(end) => {
                    framed.too_long.extend((end > MAX_LINE).then_some(offset as u64));
                    end + 1
                }
                None => {
                    framed.too_long.extend((open.len() > MAX_LINE).then_some(offset as u64));
                    break;
                }
            };
            open = &open[length..];
            offset += length;
            framed.begins.push(offset);
        }
        framed
    }

    /// The line that has no end yet where so many bytes have come; nothing of one over the bound.
    fn open(&self, said: usize) -> &'a [u8] {
        let next = self.begins.partition_point(|begin| *begin <= said);
        let open = &self.stream[self.begins[next - 1]..said];
        if open.len() > MAX_LINE { &[] } else { open }
    }
}
