//! Bodies of replies, recognised by the shape of their lines, up to END.
//!
//! A `status` list is delivered whole or not at all: one that lacks its header, a column, a
//! number or its END is refused, because a missing client must never be taken for a departed one.

use std::collections::{HashMap, hash_map::Entry};

use crate::types::{Cid, Timestamp};

use super::{
    grammar,
    limits::{MAX_STATES, MAX_STATUS_BYTES, MAX_STATUS_CLIENTS},
    message::{Message, RejectKind, Rejected, State, StatusClient, StatusReport, Version},
};

/// Gathers the body of one reply at a time.
#[derive(Debug, Default)]
pub(super) struct Replies {
    body: Option<Body>,
}

#[derive(Debug)]
enum Body {
    Status(Box<Status>),
    Version(Version),
    States(Vec<State>),
}

impl Body {
    /// The body that such a line begins.
    fn open(line: &[u8]) -> Option<Self> {
        let mut version = Version::default();
        if is_status_line(line) {
            let mut status = Box::<Status>::default();
            status.line(line);
            Some(Self::Status(status))
        } else if read_version(&mut version, line) {
            Some(Self::Version(version))
        } else {
            grammar::state(line).map(|state| Self::States(vec![state]))
        }
    }

    /// Takes a line that belongs to it. False: it does not.
    fn take(&mut self, line: &[u8]) -> bool {
        match self {
            // TITLE is the first line of a list.
            Self::Status(status) if is_status_line(line) && !line.starts_with(b"TITLE\t") => {
                status.line(line);
                true
            }
            Self::Status(_) => false,
            Self::Version(version) => read_version(version, line),
            Self::States(states) => match grammar::state(line) {
                Some(state) => {
                    if states.len() < MAX_STATES {
                        states.push(state);
                    }
                    true
                }
                None => false,
            },
        }
    }
}

impl Replies {
    /// A line that is neither notification, SUCCESS, ERROR nor END. Returns the refusal of the
    /// line, or of a list whose END did not come before another body began.
    pub(super) fn text(&mut self, line: &[u8], offset: u64) -> Option<Message> {
        if self.body.as_mut().is_some_and(|body| body.take(line)) {
            return None;
        }
        if let Some(body) = Body::open(line) {
            let refusal = self.interrupt(offset);
            self.body = Some(body);
            return refusal;
        }
        if self.spoil() {
            return None;
        }
        let kind = RejectKind::Malformed;
        Some(Message::Rejected(Rejected { kind, block: None, offset }))
    }

    /// A line was lost: an open list is refused at its END. False: there is none.
    pub(super) fn spoil(&mut self) -> bool {
        match &mut self.body {
            Some(Body::Status(status)) => {
                status.spoil();
                true
            }
            Some(Body::Version(_) | Body::States(_)) | None => false,
        }
    }

    /// `END`.
    pub(super) fn end(&mut self, offset: u64) -> Message {
        match self.body.take() {
            None => Message::End,
            Some(Body::Version(version)) => Message::Version(version),
            Some(Body::States(states)) => Message::StateHistory(states),
            Some(Body::Status(status)) => match status.finish() {
                Some(report) => Message::Status(report),
                None => refused(offset),
            },
        }
    }

    /// Another reply has begun, or the connection ended: an open list has no end.
    pub(super) fn interrupt(&mut self, offset: u64) -> Option<Message> {
        match self.body.take() {
            Some(Body::Status(_)) => Some(refused(offset)),
            Some(Body::Version(_) | Body::States(_)) | None => None,
        }
    }
}

fn refused(offset: u64) -> Message {
    Message::Rejected(Rejected { kind: RejectKind::Status, block: None, offset })
}

fn is_status_line(line: &[u8]) -> bool {
    let word = line.split(|b| *b == b'\t').next().unwrap_or_default();
    word.len() < line.len()
        && matches!(
            word,
            b"TITLE" | b"TIME" | b"HEADER" | b"CLIENT_LIST" | b"ROUTING_TABLE" | b"GLOBAL_STATS"
        )
}

fn read_version(version: &mut Version, line: &[u8]) -> bool {
    if let Some(text) = line.strip_prefix(b"OpenVPN Version:") {
        let text = String::from_utf8_lossy(text.trim_ascii());
        version.openvpn = crate::types::truncate_on_char(&text, 256).into();
        return true;
    }
    let management = line
        .strip_prefix(b"Management Version:")
        .or_else(|| line.strip_prefix(b"Management Interface Version:"));
    if let Some(text) = management {
        version.management = number(text.trim_ascii());
        return true;
    }
    false
}

/// A `status 3` body as it comes.
#[derive(Debug, Default)]
struct Status {
    columns: Option<Columns>,
    clients: Vec<StatusClient>,
    /// Where each client stands in `clients`.
    places: HashMap<Cid, usize>,
    bytes: usize,
    is_broken: bool,
}

/// Where the columns of CLIENT_LIST are, by the names in its HEADER line.
#[derive(Debug)]
struct Columns {
    count: usize,
    common_name: usize,
    real_address: usize,
    virtual_address: usize,
    /// Not in OpenVPN 2.3.
    virtual_ipv6: Option<usize>,
    bytes_received: usize,
    bytes_sent: usize,
    connected_since: usize,
    username: usize,
    cid: usize,
}

impl Columns {
    fn read(names: &[&[u8]]) -> Option<Self> {
        let find = |name: &[u8]| names.iter().position(|column| *column == name);
        Some(Self {
            count: names.len(),
            common_name: find(b"Common Name")?,
            real_address: find(b"Real Address")?,
            virtual_address: find(b"Virtual Address")?,
            virtual_ipv6: find(b"Virtual IPv6 Address"),
            bytes_received: find(b"Bytes Received")?,
            bytes_sent: find(b"Bytes Sent")?,
            connected_since: find(b"Connected Since (time_t)")?,
            username: find(b"Username")?,
            cid: find(b"Client ID")?,
        })
    }

    fn row(&self, fields: &[&[u8]]) -> Option<StatusClient> {
        if fields.len() != self.count {
            return None;
        }
        let text = |index: usize| Some(std::str::from_utf8(fields[index]).ok()?.into());
        Some(StatusClient {
            cid: Cid(number(fields[self.cid])?),
            username: known(fields[self.username]).map(Into::into),
            common_name: known(fields[self.common_name]).unwrap_or_default().into(),
            real_address: text(self.real_address)?,
            virtual_address: text(self.virtual_address)?,
            virtual_ipv6: self.virtual_ipv6.map_or(Some("".into()), text)?,
            bytes_received: number(fields[self.bytes_received])?,
            bytes_sent: number(fields[self.bytes_sent])?,
            connected_since: Timestamp::from_secs(number(fields[self.connected_since])?),
        })
    }
}

/// OpenVPN prints `UNDEF` for a name that it does not have.
fn known(name: &[u8]) -> Option<&[u8]> {
    (!name.is_empty() && name != b"UNDEF").then_some(name)
}

/// Digits only.
fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    let digits = std::str::from_utf8(field).ok()?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl Status {
    fn line(&mut self, line: &[u8]) {
        self.bytes += line.len();
        if self.bytes > MAX_STATUS_BYTES {
            self.spoil();
        }
        if self.is_broken
            || !(line.starts_with(b"CLIENT_LIST\t") || line.starts_with(b"HEADER\tCLIENT_LIST\t"))
        {
            return;
        }
        let fields: Vec<&[u8]> = line.split(|b| *b == b'\t').collect();
        let is_sound = match (fields.as_slice(), &self.columns) {
            ([b"HEADER", _, names @ ..], None) => {
                self.columns = Columns::read(names);
                self.columns.is_some()
            }
            ([b"CLIENT_LIST", values @ ..], Some(columns)) => match columns.row(values) {
                Some(client) if self.clients.len() < MAX_STATUS_CLIENTS => self.take(client),
                Some(_) | None => false,
            },
            ([..], _) => false,
        };
        if !is_sound {
            self.spoil();
        }
    }

    /// False: another row of the same id says something else, and nobody knows which is true.
    fn take(&mut self, client: StatusClient) -> bool {
        match self.places.entry(client.cid) {
            Entry::Vacant(entry) => {
                entry.insert(self.clients.len());
                self.clients.push(client);
                true
            }
            Entry::Occupied(entry) => self.clients[*entry.get()] == client,
        }
    }

    /// Nothing of it can be trusted; what was kept is dropped.
    fn spoil(&mut self) {
        *self = Self { is_broken: true, ..Self::default() };
    }

    /// The list; `None` when its header did not come or it was spoilt.
    fn finish(self) -> Option<StatusReport> {
        self.columns.map(|_| StatusReport { clients: self.clients })
    }
}
