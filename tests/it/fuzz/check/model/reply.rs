//! What becomes of lists.

use std::collections::BTreeMap;

use ovpn_warden::{
    proto::{Message, RejectKind, State, StatusClient, StatusReport, Version, limits::MAX_STATES},
    types::{Cid, Timestamp},
};

use super::{cut_text, line::state, refusal};

/// How the lines of a `status` list begin.
const WORDS: [&str; 6] =
    ["TITLE", "TIME", "HEADER", "CLIENT_LIST", "ROUTING_TABLE", "GLOBAL_STATS"];
/// The columns that a list of clients needs; behind them one that it may have.
const COLUMNS: [&str; 9] = [
    "Common Name",
    "Real Address",
    "Virtual Address",
    "Bytes Received",
    "Bytes Sent",
    "Connected Since (time_t)",
    "Username",
    "Client ID",
    "Virtual IPv6 Address",
];
const NEEDED: usize = 8;

pub(super) enum Reply {
    Status(Status),
    Version(Version),
    States(Vec<State>),
}

/// Where columns are, by their names, and how many there are.
type Places = (BTreeMap<&'static str, usize>, usize);

#[derive(Default)]
pub(super) struct Status {
    places: Option<Places>,
    clients: Vec<StatusClient>,
    is_spoilt: bool,
}

/// A line that is no notification, no reply of one line and no END.
pub(super) fn text(reply: &mut Option<Reply>, line: &[u8], offset: u64) -> Option<Message> {
    let is_title = line.starts_with(b"TITLE\t");
    let is_taken = match reply {
        Some(Reply::Status(status)) if is_of_status(line) && !is_title => {
            status.line(line);
            true
        }
        Some(Reply::Version(version)) => read_version(version, line),
        Some(Reply::States(states)) => {
            let state = state(line);
            states.extend(state.filter(|_| states.len() < MAX_STATES));
            state.is_some()
        }
        Some(Reply::Status(_)) | None => false,
    };
    if is_taken {
        return None;
    }
    let mut version = Version::default();
    let new = if is_of_status(line) {
        let mut status = Status::default();
        status.line(line);
        Reply::Status(status)
    } else if read_version(&mut version, line) {
        Reply::Version(version)
    } else if let Some(state) = state(line) {
        Reply::States(vec![state])
    } else if let Some(Reply::Status(status)) = reply {
        // A line of the list came in pieces.
        status.spoil();
        return None;
    } else {
        return Some(refusal(RejectKind::Malformed, offset));
    };
    let refused = left_open(reply, offset);
    *reply = Some(new);
    refused
}

/// What an open list that nothing ends comes to.
pub(super) fn left_open(reply: &mut Option<Reply>, offset: u64) -> Option<Message> {
    let is_list = matches!(reply.take(), Some(Reply::Status(_)));
    is_list.then(|| refusal(RejectKind::Status, offset))
}

pub(super) fn end(reply: &mut Option<Reply>, offset: u64) -> Message {
    match reply.take() {
        None => Message::End,
        Some(Reply::Version(version)) => Message::Version(version),
        Some(Reply::States(states)) => Message::StateHistory(states),
        Some(Reply::Status(status)) if status.is_spoilt || status.places.is_none() => {
            refusal(RejectKind::Status, offset)
        }
        Some(Reply::Status(status)) => Message::Status(StatusReport { clients: status.clients }),
    }
}

fn is_of_status(line: &[u8]) -> bool {
    WORDS
        .iter()
        .any(|word| line.strip_prefix(word.as_bytes()).is_some_and(|rest| rest.starts_with(b"\t")))
}

fn read_version(version: &mut Version, line: &[u8]) -> bool {
    let management: [&[u8]; 2] = [b"Management Version:", b"Management Interface Version:"];
    if let Some(text) = line.strip_prefix(b"OpenVPN Version:") {
        version.openvpn = cut_text(text.trim_ascii(), 256);
    } else if let Some(text) = management.iter().find_map(|start| line.strip_prefix(*start)) {
        version.management = number(text.trim_ascii());
    } else {
        return false;
    }
    true
}

/// Digits, however many, that come to no more than the type holds.
fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| String::from_utf8_lossy(text).parse().ok())?
}

impl Status {
    pub(super) fn spoil(&mut self) {
        self.is_spoilt = true;
    }

    fn line(&mut self, line: &[u8]) {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
        let is_sound = match fields[..] {
            [b"HEADER", b"CLIENT_LIST", ref names @ ..] => match &self.places {
                Some(_) => false,
                None => {
                    self.places = places(names);
                    self.places.is_some()
                }
            },
            [b"CLIENT_LIST", ref values @ ..] => {
                let client = self.places.as_ref().and_then(|places| client(values, places));
                client.is_some_and(|client| self.is_taken(client))
            }
            _ => true,
        };
        if !is_sound {
            self.spoil();
        }
    }

    fn is_taken(&mut self, client: StatusClient) -> bool {
        if let Some(known) = self.clients.iter().find(|known| known.cid == client.cid) {
            return *known == client;
        }
        self.clients.push(client);
        true
    }
}

fn places(names: &[&[u8]]) -> Option<Places> {
    let mut places = BTreeMap::new();
    for (number, column) in COLUMNS.iter().enumerate() {
        match names.iter().position(|name| *name == column.as_bytes()) {
            Some(place) => {
                places.insert(*column, place);
            }
            None if number >= NEEDED => {}
            None => return None,
        }
    }
    Some((places, names.len()))
}

fn client(values: &[&[u8]], (places, count): &Places) -> Option<StatusClient> {
    if values.len() != *count {
        return None;
    }
    let bytes = |column: &str| places.get(column).map_or(&b""[..], |place| values[*place]);
    let text = |column: &str| std::str::from_utf8(bytes(column)).ok().map(Into::into);
    let name = |column: &str| match bytes(column) {
        b"" | b"UNDEF" => None,
        name => Some(name.into()),
    };
    Some(StatusClient {
        cid: Cid(number(bytes("Client ID"))?),
        username: name("Username"),
        common_name: name("Common Name").unwrap_or_default(),
        real_address: text("Real Address")?,
        virtual_address: text("Virtual Address")?,
        virtual_ipv6: text("Virtual IPv6 Address")?,
        bytes_received: number(bytes("Bytes Received"))?,
        bytes_sent: number(bytes("Bytes Sent"))?,
        connected_since: Timestamp::from_secs(number(bytes("Connected Since (time_t)"))?),
    })
}
