//! One line to its parts. The rule stands above each parser; values stay bytes.

use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take_till, take_while_m_n},
    character::complete::char,
    combinator::{all_consuming, map, map_opt, rest, value},
    error::{Error, ErrorKind},
    sequence::{preceded, separated_pair, terminated},
};

use crate::types::{Cid, Kid, Timestamp};

use super::{
    framer,
    limits::MAX_LINE,
    message::{State, StateName},
    search,
};

type Parsed<'a, T> = IResult<&'a [u8], T>;

/// How a line begins that holds a variable.
pub(super) const VARIABLE: &[u8] = b">CLIENT:ENV,";

/// A line of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Nothing on it.
    Empty,
    /// `>CLIENT:ENV,END`, exactly.
    EnvEnd,
    /// `>CLIENT:ENV,name=value`; without `=` the value is empty.
    Env(&'a [u8], &'a [u8]),
    /// The head of a block.
    Head(Head<'a>),
    /// A head of a known event with unsound ids.
    BadId,
    /// `>CLIENT:` with another word.
    UnknownEvent,
    /// `>CLIENT:ADDRESS,…`.
    Address(Cid, &'a [u8], bool),
    /// `>BYTECOUNT_CLI:…`.
    ByteCount(Cid, u64, u64),
    /// `>STATE:…`.
    State(State),
    /// `>SOURCE:text` of any other source.
    Notification(&'a [u8], &'a [u8]),
    /// `SUCCESS: text`.
    Success(&'a [u8]),
    /// `ERROR: text`.
    Error(&'a [u8]),
    /// `END`.
    End,
    /// Any other line that does not begin with `>`.
    Text(&'a [u8]),
    /// A notification that fits no rule.
    Malformed,
}

/// The head of a `>CLIENT:` block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head<'a> {
    Connect(Cid, Kid),
    Reauth(Cid, Kid),
    CrResponse(Cid, Kid, &'a [u8]),
    Established(Cid),
    Disconnect(Cid),
}

/// Reads one line.
pub(super) fn line(input: &[u8]) -> Line<'_> {
    match input {
        [] => Line::Empty,
        // The one kind of line that comes by the dozen goes first.
        [b'>', ..] => match input.strip_prefix(VARIABLE) {
            Some(variable) => env(variable),
            None => notification(&input[1..]),
        },
        b"END" => Line::End,
        _ => {
            if let Some(text) = input.strip_prefix(b"SUCCESS:") {
                Line::Success(trim(text))
            } else if let Some(text) = input.strip_prefix(b"ERROR:") {
                Line::Error(trim(text))
            } else {
                Line::Text(input)
            }
        }
    }
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// `env = NAME "=" VALUE | "END"`
fn env(variable: &[u8]) -> Line<'_> {
    if variable == b"END" {
        return Line::EnvEnd;
    }
    match memchr::memchr(b'=', variable) {
        Some(at) => Line::Env(&variable[..at], &variable[at + 1..]),
        None => Line::Env(variable, b""),
    }
}

/// Name and value of `variable = ">CLIENT:ENV," NAME "=" VALUE`, if a whole line within the bound at the
/// start of `buffer` is one, and its octets with its end. What else there may be [`line`] reads.
#[inline]
pub(super) fn variable(buffer: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let rest = buffer.strip_prefix(VARIABLE)?;
    // Both from the same place: the next line's start is not to wait for where this one's name ends.
    let end = search::one(b'\n', rest)?;
    let at = search::either(b'=', b'\n', rest)?;
    let length = VARIABLE.len() + end;
    (rest[at] == b'=' && length <= MAX_LINE)
        .then(|| (&rest[..at], framer::without_cr(&rest[at + 1..end]), length + 1))
}

/// `notification = ">" SOURCE ":" text`
fn notification(input: &[u8]) -> Line<'_> {
    let source: Parsed<'_, (&[u8], &[u8])> =
        separated_pair(take_till(|b| b == b':'), char(':'), rest).parse(input);
    let Ok((_, (source, text))) = source else { return Line::Malformed };
    match source {
        b"CLIENT" => client(text),
        b"BYTECOUNT_CLI" => byte_count(text),
        b"STATE" => state(text).map_or(Line::Malformed, Line::State),
        b"" => Line::Malformed,
        source => Line::Notification(source, text),
    }
}

/// `number = 1*10DIGIT`, at most 32 bits. Digits only: `sscanf` would take `-1` and `9abc`.
/// Leading zeros are accepted; OpenVPN sends none.
fn number(input: &[u8]) -> Parsed<'_, u32> {
    let (mut value, mut length) = (0, 0);
    while let Some(digit) = input.get(length).filter(|byte| length < 10 && byte.is_ascii_digit()) {
        value = 10 * value + u64::from(digit - b'0');
        length += 1;
    }
    match u32::try_from(value) {
        Ok(value) if length > 0 => Ok((&input[length..], value)),
        Ok(_) | Err(_) => Err(nom::Err::Error(Error::new(input, ErrorKind::Digit))),
    }
}

/// `counter = 1*20DIGIT`, at most 64 bits
fn counter(input: &[u8]) -> Parsed<'_, u64> {
    map_opt(take_while_m_n(1, 20, |b: u8| b.is_ascii_digit()), |digits: &[u8]| {
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
    .parse(input)
}

fn cid(input: &[u8]) -> Parsed<'_, Cid> {
    map(number, Cid).parse(input)
}

/// `ids = CID "," KID`
fn ids(input: &[u8]) -> Parsed<'_, (Cid, Kid)> {
    separated_pair(cid, char(','), map(number, Kid)).parse(input)
}

/// ```text
/// client = ("CONNECT" | "REAUTH") "," CID "," KID
///        | "CR_RESPONSE," CID "," KID "," text
///        | ("ESTABLISHED" | "DISCONNECT") "," CID
///        | "ADDRESS," CID "," ADDR "," ("1" | "0")
/// ```
fn client(text: &[u8]) -> Line<'_> {
    let end = memchr::memchr(b',', text).unwrap_or(text.len());
    let (word, arguments) = (&text[..end], text.get(end + 1..).unwrap_or_default());
    let head = match word {
        b"CONNECT" => all_consuming(ids).parse(arguments).map(|(_, (c, k))| Head::Connect(c, k)),
        b"REAUTH" => all_consuming(ids).parse(arguments).map(|(_, (c, k))| Head::Reauth(c, k)),
        b"CR_RESPONSE" => (terminated(ids, char(',')), rest)
            .parse(arguments)
            .map(|(_, ((c, k), response))| Head::CrResponse(c, k, response)),
        b"ESTABLISHED" => all_consuming(cid).parse(arguments).map(|(_, c)| Head::Established(c)),
        b"DISCONNECT" => all_consuming(cid).parse(arguments).map(|(_, c)| Head::Disconnect(c)),
        b"ADDRESS" => return address(arguments),
        _ => return Line::UnknownEvent,
    };
    head.map_or(Line::BadId, Line::Head)
}

fn address(arguments: &[u8]) -> Line<'_> {
    let parsed: Parsed<'_, _> = all_consuming((
        terminated(cid, char(',')),
        take_till(|b| b == b','),
        preceded(char(','), alt((value(true, tag(&b"1"[..])), value(false, tag(&b"0"[..]))))),
    ))
    .parse(arguments);
    match parsed {
        Ok((_, (cid, address, primary))) if !address.is_empty() => {
            Line::Address(cid, address, primary)
        }
        _ => Line::Malformed,
    }
}

/// `bytecount = CID "," counter "," counter`
fn byte_count(text: &[u8]) -> Line<'_> {
    let parsed: Parsed<'_, _> =
        all_consuming((terminated(cid, char(',')), terminated(counter, char(',')), counter))
            .parse(text);
    parsed
        .map_or(Line::Malformed, |(_, (cid, received, sent))| Line::ByteCount(cid, received, sent))
}

/// `state = TIME "," NAME "," …`, as `>STATE:` and the body of `state` have it.
pub(super) fn state(text: &[u8]) -> Option<State> {
    let parsed: Parsed<'_, (u64, &[u8])> =
        separated_pair(counter, char(','), take_till(|b| b == b',')).parse(text);
    let (_, (at, name)) = parsed.ok()?;
    if name.is_empty() || !name.iter().all(|b| b.is_ascii_uppercase() || *b == b'_') {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?.parse().unwrap_or(StateName::Other);
    Some(State { at: Timestamp::from_secs(i64::try_from(at).ok()?), name })
}

/// The number in `OpenVPN Management Interface Version N -- …`.
pub(super) fn greeting_version(text: &[u8]) -> Option<u32> {
    let text = text.strip_prefix(b"OpenVPN Management Interface Version ")?;
    number(text).ok().map(|(_, version)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_numbers_and_nothing_else() {
        fn ok(text: &'static str) -> Line<'static> {
            client(text.as_bytes())
        }
        assert_eq!(ok("CONNECT,0,1"), Line::Head(Head::Connect(Cid(0), Kid(1))));
        assert_eq!(
            ok("REAUTH,4294967295,4294967295"),
            Line::Head(Head::Reauth(Cid(u32::MAX), Kid(u32::MAX)))
        );
        assert_eq!(ok("CONNECT,007,01"), Line::Head(Head::Connect(Cid(7), Kid(1))));
        for bad in [
            "CONNECT",
            "CONNECT,",
            "CONNECT,1",
            "CONNECT,1,",
            "CONNECT,-1,1",
            "CONNECT,+1,1",
            "CONNECT,9abc,1",
            "CONNECT,1,2,3",
            "CONNECT, 1,2",
            "CONNECT,1,2 ",
            "CONNECT,4294967296,1",
            "CONNECT,1,4294967296",
            "CONNECT,00000000001,1",
            "DISCONNECT,",
            "DISCONNECT,1,2",
            "ESTABLISHED,x",
            "CR_RESPONSE,1,2",
            "REAUTH,77,zz",
        ] {
            assert_eq!(ok(bad), Line::BadId, "{bad}");
        }
        assert_eq!(ok("RECONNECT,1,2"), Line::UnknownEvent);
        assert_eq!(ok(""), Line::UnknownEvent);
    }

    #[test]
    fn variables_split_at_the_first_equals_sign_and_only_the_exact_end_ends() {
        assert_eq!(line(b">CLIENT:ENV,a=b=c"), Line::Env(b"a", b"b=c"));
        assert_eq!(line(b">CLIENT:ENV,password="), Line::Env(b"password", b""));
        assert_eq!(line(b">CLIENT:ENV,END"), Line::EnvEnd);
        assert_eq!(line(b">CLIENT:ENV,END=1"), Line::Env(b"END", b"1"));
        assert_eq!(line(b">CLIENT:ENV,ENDX"), Line::Env(b"ENDX", b""));
        assert_eq!(line(b">CLIENT:ENV,END "), Line::Env(b"END ", b""));
    }

    #[test]
    fn a_variable_is_read_from_a_buffer_as_it_is_from_its_line() {
        // The longest line that may be, and the shortest that may not.
        let long =
            [0, 1].map(|over| format!("a={}", "b".repeat(MAX_LINE - VARIABLE.len() - 2 + over)));
        let named = (0..40).map(|length| format!("{}=b=c", "a".repeat(length)));
        let texts =
            ["END", "END=1", "a=b", "a=b=c", "a=", "=", "=b", "a", "", "password=x", "a=b\r"];
        let texts = texts.into_iter().map(str::to_owned).chain(named).chain(long);
        for text in texts.flat_map(|text| [text.clone(), format!("name_of_sixteen_={text}")]) {
            for end in ["\n", "\r\n"] {
                let whole = format!(">CLIENT:ENV,{text}{end}");
                let content = framer::without_cr(&whole.as_bytes()[..whole.len() - 1]);
                let is_short = content.contains(&b'=') && whole.len() - 1 <= MAX_LINE;
                let expected = if let (Line::Env(key, value), true) = (line(content), is_short) {
                    Some((key, value, whole.len()))
                } else {
                    None
                };
                for after in ["", "x=y", ">CLIENT:ENV,x=y\r\n"] {
                    let buffer = format!("{whole}{after}");
                    assert_eq!(variable(buffer.as_bytes()), expected, "{buffer:.60}");
                }
                assert_eq!(variable(&whole.as_bytes()[..whole.len() - 1]), None, "not whole");
            }
        }
        for other in [">CLIENT:EN,a=b\n", "CLIENT:ENV,a=b\n", ">CLIENT:ENV", "", "\n", ">LOG:a=b\n"]
        {
            assert_eq!(variable(other.as_bytes()), None);
        }
    }

    #[test]
    fn notifications_and_replies_are_told_apart() {
        assert_eq!(line(b">HOLD:Waiting"), Line::Notification(b"HOLD", b"Waiting"));
        for malformed in [&b">"[..], b">H", b">N", b">:x", b">BYTECOUNT_CLI:1,2", b">STATE:x"] {
            assert_eq!(line(malformed), Line::Malformed);
        }
        assert_eq!(line(b"SUCCESS: pid=7"), Line::Success(b"pid=7"));
        assert_eq!(line(b"ERROR:    "), Line::Error(b""));
        assert_eq!(line(b"END"), Line::End);
        assert_eq!(line(b"S"), Line::Text(b"S"));
        assert_eq!(line(b""), Line::Empty);
        assert_eq!(line(b">CLIENT:ADDRESS,0,10.8.0.6,1"), Line::Address(Cid(0), b"10.8.0.6", true));
        for malformed in ["", ",1", ",127.0.0.1", ",0,10.8.0.6,2", ",0,,1", ",0,1.2.3.4,1,1"] {
            assert_eq!(line(format!(">CLIENT:ADDRESS{malformed}").as_bytes()), Line::Malformed);
        }
    }

    #[test]
    fn states_and_versions_are_read() {
        let at = Timestamp::from_secs(1_795_435_025);
        assert_eq!(
            line(b">STATE:1795435025,RECONNECTING,SIGUSR1,,,,,"),
            Line::State(State { at, name: StateName::Reconnecting })
        );
        assert_eq!(state(b"1795435025,TCP_CONNECT,").map(|s| s.name), Some(StateName::Other));
        assert_eq!(state(b"1795435025,connected,"), None);
        assert_eq!(greeting_version(b"OpenVPN Management Interface Version 5 -- type"), Some(5));
        assert_eq!(greeting_version(b"something else"), None);
    }
}
