//! What the server says, typed. Values that a client can choose are bytes.

use crate::types::{Cid, Kid, Password, Timestamp, words};

use super::Env;

/// One thing said by the server: a notification, a reply, or a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `ENTER PASSWORD:`, without a line end. A second one means that the password was wrong.
    Prompt,
    /// `>INFO:…`; the greeting carries the management version.
    Info {
        /// The number in the greeting `OpenVPN Management Interface Version N`.
        management_version: Option<u32>,
    },
    /// `>HOLD:…`: the server waits for `hold release`.
    Hold,
    /// `>FATAL:…`: the server is about to exit. The text, made valid UTF-8.
    Fatal(Box<str>),
    /// `>LOG:…`.
    Log,
    /// `>STATE:…`.
    State(State),
    /// `>NOTIFY:…`.
    Notify,
    /// Another notification of a known or unknown source; its source word (`PASSWORD`, `ECHO`, …).
    Other(Box<str>),
    /// A client asks to be let in, again to be let in, or answers a challenge.
    Auth(AuthEvent),
    /// `>CLIENT:ESTABLISHED`: the client's configuration was handled (not always with success).
    Established {
        /// The client.
        cid: Cid,
        /// Its variables.
        env: Env,
    },
    /// `>CLIENT:DISCONNECT`: the client instance is gone. `env` is empty for one never approved.
    Disconnect {
        /// The client.
        cid: Cid,
        /// Its variables.
        env: Env,
    },
    /// `>CLIENT:ADDRESS`: a tunnel address or subnet of a client.
    Address {
        /// The client.
        cid: Cid,
        /// Address, `address/mask` or `address/bits`.
        address: Box<str>,
        /// Whether it is the client's own address, not a routed subnet.
        primary: bool,
    },
    /// `>BYTECOUNT_CLI`: traffic counters since the client connected, in octets.
    ByteCount {
        /// The client.
        cid: Cid,
        /// From the client to the server.
        bytes_received: u64,
        /// From the server to the client.
        bytes_sent: u64,
    },
    /// `SUCCESS: text`.
    Success(Box<str>),
    /// `ERROR: text`. The text can echo what was sent: never log it unfiltered.
    Error(Box<str>),
    /// The body of `version`.
    Version(Version),
    /// The body of `status 3`, complete with its END.
    Status(StatusReport),
    /// The body of `state` or `state all`: one entry a line.
    StateHistory(Vec<State>),
    /// A reply body that ended without a line of a known shape.
    End,
    /// A line of the reply to what another tool asked; see
    /// [`super::ManagementCodec::set_relaying`].
    Relayed(Box<[u8]>),
    /// Something that is refused; at most one a line or block.
    Rejected(Rejected),
}

/// The event of an [`AuthEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthKind {
    /// `>CLIENT:CONNECT`.
    Connect,
    /// `>CLIENT:REAUTH`: a renegotiation of a connected client.
    Reauth,
    /// `>CLIENT:CR_RESPONSE` with the client's answer, not validated by OpenVPN.
    CrResponse(Password),
}

/// `CONNECT`, `REAUTH` or `CR_RESPONSE` with its whole block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthEvent {
    /// Which of the three.
    pub kind: AuthKind,
    /// The client.
    pub cid: Cid,
    /// The key negotiation to answer.
    pub kid: Kid,
    /// The variables.
    pub env: Env,
}

words! {
    /// States of a server, as `>STATE:` and `state` name them.
    StateName {
        /// Initial state.
        Connecting = "CONNECTING",
        /// Assigning the tunnel address.
        AssignIp = "ASSIGN_IP",
        /// Adding routes.
        AddRoutes = "ADD_ROUTES",
        /// Serving; its time names the run.
        Connected = "CONNECTED",
        /// A restart by SIGHUP or SIGUSR1 has begun: client ids start again at 0.
        Reconnecting = "RECONNECTING",
        /// The process ends.
        Exiting = "EXITING",
        /// Any other.
        Other = "other",
    }
}

/// One server state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// When it was entered, to the second.
    pub at: Timestamp,
    /// Which.
    pub name: StateName,
}

/// The body of `version`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    /// The text behind `OpenVPN Version:`, at most 256 bytes; empty when the line is missing.
    pub openvpn: Box<str>,
    /// The number behind `Management Version:` or `Management Interface Version:`.
    pub management: Option<u32>,
}

/// The body of `status 3`. Unapproved clients are in it too, without a virtual address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusReport {
    /// One entry for each client id, in the server's order.
    pub clients: Vec<StatusClient>,
}

/// One client in `status 3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusClient {
    /// The client.
    pub cid: Cid,
    /// `None` where OpenVPN prints `UNDEF` or nothing.
    pub username: Option<Box<[u8]>>,
    /// Empty where OpenVPN prints `UNDEF`.
    pub common_name: Box<[u8]>,
    /// As printed: `ip:port`, or `udp4:ip:port` from 2.7 on.
    pub real_address: Box<str>,
    /// The tunnel address; empty for a client that is not approved.
    pub virtual_address: Box<str>,
    /// The IPv6 address in the tunnel; empty without one.
    pub virtual_ipv6: Box<str>,
    /// Octets from the client.
    pub bytes_received: u64,
    /// Octets to the client.
    pub bytes_sent: u64,
    /// When it connected, to the second.
    pub connected_since: Timestamp,
}

impl StatusClient {
    /// Its address in the tunnel, which only a client has that is up.
    pub fn vpn_ip(&self) -> Option<&str> {
        [&self.virtual_address, &self.virtual_ipv6]
            .into_iter()
            .map(|ip| &**ip)
            .find(|ip| !ip.is_empty())
    }
}

words! {
    /// Why something was refused: `kind` of `protocol.rejected`.
    RejectKind {
        /// A client or key id that is not a plain number of at most 32 bits.
        BadId = "bad_id",
        /// A `>CLIENT:` event that is not known.
        UnknownEvent = "unknown_event",
        /// A line over the bound.
        LineTooLong = "line_too_long",
        /// A block over the bound on variables or bytes.
        BlockTooLarge = "block_too_large",
        /// A block that another block's head cut off.
        InterruptedBlock = "interrupted_block",
        /// A variable of security that stands twice.
        DuplicateKey = "duplicate_key",
        /// A line that fits no rule.
        Malformed = "malformed",
        /// The connection ended inside a block or a line.
        Truncated = "truncated",
        /// A `status` body that cannot be trusted.
        Status = "status",
    }
}

/// A block that was refused, by the ids in its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBlock {
    /// CONNECT or REAUTH: a client waits for an answer, and must be denied.
    Login(Cid, Kid),
    /// CR_RESPONSE: nothing waits for it.
    Response(Cid, Kid),
    /// ESTABLISHED or DISCONNECT: nothing waits for it.
    Notice(Cid),
}

impl RefusedBlock {
    /// The client.
    pub const fn cid(self) -> Cid {
        match self {
            Self::Login(cid, _) | Self::Response(cid, _) | Self::Notice(cid) => cid,
        }
    }

    /// The key negotiation, where the event has one.
    pub const fn kid(self) -> Option<Kid> {
        match self {
            Self::Login(_, kid) | Self::Response(_, kid) => Some(kid),
            Self::Notice(_) => None,
        }
    }
}

/// Something refused. Never carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub kind: RejectKind,
    /// Whose block it was, only where the ids in its head were sound.
    pub block: Option<RefusedBlock>,
    /// Offset in octets, from the start of the connection, of the line that was at fault.
    pub offset: u64,
}

impl Rejected {
    /// Who must be denied, if anybody.
    pub const fn due(&self) -> Option<(Cid, Kid)> {
        match self.block {
            Some(RefusedBlock::Login(cid, kid)) => Some((cid, kid)),
            Some(RefusedBlock::Response(..) | RefusedBlock::Notice(_)) | None => None,
        }
    }
}
