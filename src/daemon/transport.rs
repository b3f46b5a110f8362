//! Connections to a management interface.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::config::Endpoint;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// Connects to a management interface.
///
/// # Errors
/// The system's error, or `TimedOut`.
pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<(ReadHalf, WriteHalf)> {
    tokio::time::timeout(CONNECT_TIMEOUT, dial(endpoint))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

async fn dial(endpoint: &Endpoint) -> io::Result<(ReadHalf, WriteHalf)> {
    match endpoint {
        Endpoint::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            let (read, write) = stream.into_split();
            Ok((Box::new(read), Box::new(write)))
        }
        Endpoint::Unix(path) => {
            let (read, write) = UnixStream::connect(path).await?.into_split();
            Ok((Box::new(read), Box::new(write)))
        }
    }
}

/// What a failure to connect means and what to do, in one line.
pub(super) fn explain(endpoint: &Endpoint, error: &io::Error) -> String {
    let hint = match (error.kind(), endpoint) {
        (io::ErrorKind::ConnectionRefused, _) => {
            "is OpenVPN running, with a `management` line for this address?"
        }
        (io::ErrorKind::NotFound, Endpoint::Unix(_)) => {
            "the socket is not there: is OpenVPN running, with a `management … unix` line?"
        }
        (io::ErrorKind::PermissionDenied, Endpoint::Unix(_)) => {
            "this user may not open the socket: see management-client-user and -group"
        }
        (io::ErrorKind::WouldBlock, Endpoint::Unix(_)) | (io::ErrorKind::TimedOut, _) => {
            "other management clients hold the port"
        }
        _ => "see the address in [[servers]]",
    };
    format!("cannot connect: {error}; {hint}")
}

/// Whether the port is there and only taken.
pub(super) fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
