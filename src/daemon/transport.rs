//! Connections to a management interface.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::config::Endpoint;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection to a management interface.
pub(super) struct Connected {
    pub(super) reader: ReadHalf,
    pub(super) writer: WriteHalf,
    /// What was read of it already.
    pub(super) unread: BytesMut,
    /// The password was sent, and `unread` begins with the answer.
    pub(super) is_password_sent: bool,
}

impl Connected {
    pub(super) fn new(reader: ReadHalf, writer: WriteHalf) -> Self {
        Self { reader, writer, unread: BytesMut::new(), is_password_sent: false }
    }

    /// # Errors
    /// The system's error.
    pub(super) fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self::new(Box::new(reader), Box::new(writer)))
    }
}

/// Connects to a management interface.
///
/// # Errors
/// The system's error, or `TimedOut`.
pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<Connected> {
    tokio::time::timeout(CONNECT_TIMEOUT, dial(endpoint))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

async fn dial(endpoint: &Endpoint) -> io::Result<Connected> {
    match endpoint {
        Endpoint::Tcp { host, port } => {
            Connected::tcp(TcpStream::connect((host.as_str(), *port)).await?)
        }
        Endpoint::Unix(path) => {
            let (reader, writer) = UnixStream::connect(path).await?.into_split();
            Ok(Connected::new(Box::new(reader), Box::new(writer)))
        }
        // Only `door` listens; who dials it is OpenVPN.
        Endpoint::Listen(_) => Err(io::ErrorKind::Unsupported.into()),
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
            "this user may not open the socket: see its rights and those of its directory"
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
