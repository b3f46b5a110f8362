//! A short visit to a management port: is it there, is it free, is the password right.

use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    config::{Endpoint, Server},
    proto::{Command, ManagementCodec, Message, Version},
};

use super::transport::{self, Connected};

/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(3);

/// What a visit found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visit {
    /// The port is ours to have; the server's version.
    Free(Version),
    /// The port is there, but another client is served: the daemon itself, if it runs.
    Held,
    /// OpenVPN dials in to this address, and we can listen there.
    Listens,
}

/// Why a visit failed; says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VisitError {
    /// No connection.
    #[error("{0}")]
    Connect(String),
    /// Wrong password.
    #[error(
        "the management password is wrong; compare password_file with the file that OpenVPN's `management` line names"
    )]
    WrongPassword,
    /// No password.
    #[error("the server asks for a management password; set password_file for it")]
    PasswordNeeded,
    /// The connection broke.
    #[error("the server closed the connection: {0}")]
    Closed(String),
}

/// Visits a server's management port and leaves again.
///
/// # Errors
/// [`VisitError`].
#[expect(clippy::wildcard_enum_match_arm, reason = "a visitor ignores most of what is said")]
pub async fn visit(server: &Server) -> Result<Visit, VisitError> {
    if let Endpoint::Listen(address) = server.management {
        return visit_own_port(address).await;
    }
    let Connected { mut reader, mut writer, .. } =
        match transport::connect(&server.management).await {
            Ok(connected) => connected,
            Err(error) if transport::is_busy(&error) => return Ok(Visit::Held),
            Err(error) => {
                return Err(VisitError::Connect(transport::explain(&server.management, &error)));
            }
        };
    let mut codec = ManagementCodec::default();
    let (mut unread, mut unsent) = (BytesMut::new(), BytesMut::new());
    let mut asked_before = false;
    let closed = |error: std::io::Error| VisitError::Closed(error.to_string());
    loop {
        while let Some(message) = codec.decode(&mut unread).map_err(closed)? {
            match message {
                Message::Prompt if asked_before => return Err(VisitError::WrongPassword),
                Message::Prompt => {
                    let password = server.password.clone().ok_or(VisitError::PasswordNeeded)?;
                    asked_before = true;
                    codec.encode(Command::Password(password), &mut unsent).map_err(closed)?;
                }
                Message::Info { .. } => {
                    codec.encode(Command::Version, &mut unsent).map_err(closed)?;
                }
                Message::Version(version) => return Ok(Visit::Free(version)),
                _ => {}
            }
        }
        if !unsent.is_empty() {
            writer.write_all_buf(&mut unsent).await.map_err(closed)?;
        }
        match timeout(SILENCE, reader.read_buf(&mut unread)).await {
            Err(_) => return Ok(Visit::Held),
            Ok(Ok(0)) => {
                let hint = match server.management {
                    Endpoint::Unix(_) => {
                        "its management-client-user or -group may name another user than this"
                    }
                    Endpoint::Tcp { .. } | Endpoint::Listen(_) => "see OpenVPN's log",
                };
                return Err(VisitError::Closed(hint.into()));
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(closed(error)),
        }
    }
}

/// Where OpenVPN dials in, only the address can be tried.
async fn visit_own_port(address: std::net::SocketAddr) -> Result<Visit, VisitError> {
    match TcpListener::bind(address).await {
        Ok(_) => Ok(Visit::Listens),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(Visit::Held),
        Err(error) => Err(VisitError::Connect(format!("cannot listen on {address}: {error}"))),
    }
}
