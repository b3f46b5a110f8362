//! What one line means.

use ovpn_warden::{
    proto::{Message, State, StateName},
    types::{Cid, Kid, Timestamp},
};

/// Longest free text that is kept of a line, in bytes.
const MAX_TEXT: usize = 1_024;

pub(super) enum Head<'a> {
    Connect(Cid, Kid),
    Reauth(Cid, Kid),
    CrResponse(Cid, Kid, &'a [u8]),
    Established(Cid),
    Disconnect(Cid),
}

pub(super) enum Meaning<'a> {
    Nothing,
    /// This, whatever is open.
    Said(Message),
    Malformed,
    Head(Head<'a>),
    BadId,
    UnknownEvent,
    Variable(&'a [u8], &'a [u8]),
    EndOfBlock,
    /// A reply of one line.
    Reply(Message),
    End,
    /// A line of a list, perhaps.
    Text,
}

pub(super) fn meaning(line: &[u8]) -> Meaning<'_> {
    if line.is_empty() {
        return Meaning::Nothing;
    }
    if let Some(notification) = line.strip_prefix(b">") {
        let Some((source, text)) = split(notification, b':') else { return Meaning::Malformed };
        return match source {
            b"" => Meaning::Malformed,
            b"CLIENT" => client(text),
            b"BYTECOUNT_CLI" => said(byte_count(text)),
            b"STATE" => said(state(text).map(Message::State)),
            b"INFO" => said(Some(Message::Info { management_version: greeting(text) })),
            b"HOLD" => said(Some(Message::Hold)),
            b"FATAL" => said(Some(Message::Fatal(cut_text(text, MAX_TEXT)))),
            b"LOG" => said(Some(Message::Log)),
            b"NOTIFY" => said(Some(Message::Notify)),
            other => said(Some(Message::Other(cut_text(other, 32)))),
        };
    }
    if line == b"END" {
        return Meaning::End;
    }
    let reply = |text: &[u8]| cut_text(text.trim_ascii(), MAX_TEXT);
    if let Some(text) = line.strip_prefix(b"SUCCESS:") {
        return Meaning::Reply(Message::Success(reply(text)));
    }
    if let Some(text) = line.strip_prefix(b"ERROR:") {
        return Meaning::Reply(Message::Error(reply(text)));
    }
    Meaning::Text
}

fn said<'a>(message: Option<Message>) -> Meaning<'a> {
    message.map_or(Meaning::Malformed, Meaning::Said)
}

/// At the first of such bytes.
fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let mut parts = text.splitn(2, |byte| *byte == at);
    Some((parts.next()?, parts.next()?))
}

/// As UTF-8, and no longer than so many bytes.
pub(super) fn cut_text(bytes: &[u8], most: usize) -> Box<str> {
    let mut kept = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        if kept.len() + c.len_utf8() > most {
            break;
        }
        kept.push(c);
    }
    kept.into()
}

/// Digits, so many at most, and what they come to if it is not too much.
fn digits<T: std::str::FromStr>(text: &[u8], most: usize) -> Option<T> {
    let is_number = (1..=most).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| String::from_utf8_lossy(text).parse().ok())?
}

fn client(text: &[u8]) -> Meaning<'_> {
    if let Some(variable) = text.strip_prefix(b"ENV,") {
        return match (variable, split(variable, b'=')) {
            (b"END", _) => Meaning::EndOfBlock,
            (_, Some((name, value))) => Meaning::Variable(name, value),
            (name, None) => Meaning::Variable(name, b""),
        };
    }
    let (word, arguments) = split(text, b',').unwrap_or((text, b""));
    let all: Vec<&[u8]> = arguments.split(|byte| *byte == b',').collect();
    let id = |text: &[u8]| digits::<u32>(text, 10);
    let one = || match all[..] {
        [cid] => id(cid).map(Cid),
        _ => None,
    };
    let two = || match all[..] {
        [cid, kid] => id(cid).map(Cid).zip(id(kid).map(Kid)),
        _ => None,
    };
    let head = match word {
        b"CONNECT" => two().map(|(cid, kid)| Head::Connect(cid, kid)),
        b"REAUTH" => two().map(|(cid, kid)| Head::Reauth(cid, kid)),
        b"ESTABLISHED" => one().map(Head::Established),
        b"DISCONNECT" => one().map(Head::Disconnect),
        b"CR_RESPONSE" => {
            let mut parts = arguments.splitn(3, |byte| *byte == b',');
            let mut next = || parts.next();
            match (next(), next(), next()) {
                (Some(cid), Some(kid), Some(answer)) => id(cid)
                    .zip(id(kid))
                    .map(|(cid, kid)| Head::CrResponse(Cid(cid), Kid(kid), answer)),
                _ => None,
            }
        }
        b"ADDRESS" => return said(address(&all)),
        _ => return Meaning::UnknownEvent,
    };
    head.map_or(Meaning::BadId, Meaning::Head)
}

fn address(arguments: &[&[u8]]) -> Option<Message> {
    let [cid, address, primary] = *arguments else { return None };
    let primary = match primary {
        b"1" => true,
        b"0" => false,
        _ => return None,
    };
    let cid = Cid(digits(cid, 10)?);
    let address = (!address.is_empty()).then(|| cut_text(address, MAX_TEXT))?;
    Some(Message::Address { cid, address, primary })
}

fn byte_count(text: &[u8]) -> Option<Message> {
    let all: Vec<&[u8]> = text.split(|byte| *byte == b',').collect();
    let [cid, received, sent] = all[..] else { return None };
    Some(Message::ByteCount {
        cid: Cid(digits(cid, 10)?),
        bytes_received: digits(received, 20)?,
        bytes_sent: digits(sent, 20)?,
    })
}

/// `TIME,NAME,…`
pub(super) fn state(text: &[u8]) -> Option<State> {
    let (time, rest) = split(text, b',')?;
    let name = split(rest, b',').map_or(rest, |(name, _)| name);
    let seconds: u64 = digits(time, 20)?;
    let is_name = !name.is_empty() && name.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'_'));
    let name = match is_name.then_some(name)? {
        b"CONNECTING" => StateName::Connecting,
        b"ASSIGN_IP" => StateName::AssignIp,
        b"ADD_ROUTES" => StateName::AddRoutes,
        b"CONNECTED" => StateName::Connected,
        b"RECONNECTING" => StateName::Reconnecting,
        b"EXITING" => StateName::Exiting,
        _ => StateName::Other,
    };
    Some(State { at: Timestamp::from_secs(seconds.try_into().ok()?), name })
}

/// The digits in the greeting, of which ten are read.
fn greeting(text: &[u8]) -> Option<u32> {
    let text = text.strip_prefix(b"OpenVPN Management Interface Version ")?;
    let count = text.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    digits(&text[..count], 10)
}
