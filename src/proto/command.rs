//! What we say to the server. A [`Command`] cannot hold a second command.

use bytes::BytesMut;
use thiserror::Error;

use crate::types::{Cid, Kid, Password};

/// One quoted parameter of free text: at most [`Parameter::MAX_LEN`] bytes, no control bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter(Box<str>);

/// One line of a `client-auth` body: an option that OpenVPN accepts there, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLine(Box<str>);

/// Why a text is no configuration line for `client-auth`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigLineError {
    /// Over 255 bytes.
    #[error("longer than 255 bytes")]
    TooLong,
    /// A control byte.
    #[error("contains a control character")]
    Control,
    /// Not an option that OpenVPN takes from a controller, or `END`.
    #[error("`{0}` is not an option that OpenVPN accepts for one client")]
    NotAllowed(String),
    /// Quotes or backslashes that OpenVPN's lexer would not accept, or an empty line.
    #[error("is not one well-quoted line")]
    Unbalanced,
}

/// The message of a `client-kill`, sent to the client as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KillMessage {
    /// `HALT,reason`: the client exits.
    Halt(Parameter),
    /// `RESTART,reason`: the client connects again.
    Restart(Parameter),
}

/// A command to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The answer to the prompt; not a command, has no reply when it is right.
    Password(Password),
    /// `version`.
    Version,
    /// `env-filter 0`.
    EnvFilterOff,
    /// `state on`.
    StateOn,
    /// `state`: the present state.
    State,
    /// `bytecount N`, seconds.
    ByteCount(u32),
    /// `status 3`.
    Status,
    /// `hold release`.
    HoldRelease,
    /// `client-auth CID KID`, the lines, `END`.
    ClientAuth {
        /// The client.
        cid: Cid,
        /// The key.
        kid: Kid,
        /// Options for this client.
        config: Vec<ConfigLine>,
    },
    /// `client-auth-nt CID KID`.
    ClientAuthNt {
        /// The client.
        cid: Cid,
        /// The key.
        kid: Kid,
    },
    /// `client-deny CID KID "reason" ["client reason"]`.
    ClientDeny {
        /// The client.
        cid: Cid,
        /// The key.
        kid: Kid,
        /// For OpenVPN's log.
        reason: Parameter,
        /// For the client, behind `AUTH_FAILED,`.
        client_reason: Option<Parameter>,
    },
    /// `client-kill CID "message"`.
    ClientKill {
        /// The client.
        cid: Cid,
        /// What the client is told.
        message: KillMessage,
    },
}

/// What a command is answered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyShape {
    /// One SUCCESS or ERROR line.
    Line,
    /// A body up to END, or one ERROR line.
    Body,
    /// Nothing.
    Nothing,
}

impl Command {
    /// What the server answers to it.
    pub const fn reply(&self) -> ReplyShape {
        match self {
            Self::Password(_) => ReplyShape::Nothing,
            Self::Version | Self::Status | Self::State => ReplyShape::Body,
            Self::EnvFilterOff
            | Self::StateOn
            | Self::ByteCount(_)
            | Self::HoldRelease
            | Self::ClientAuth { .. }
            | Self::ClientAuthNt { .. }
            | Self::ClientDeny { .. }
            | Self::ClientKill { .. } => ReplyShape::Line,
        }
    }

    /// Appends the command's bytes, each line ended by LF.
    pub fn encode(&self, out: &mut BytesMut) {
        let _ = out;
        unimplemented!()
    }
}
