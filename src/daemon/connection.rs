//! The connection of one link to its server, from one attempt to the next.

use std::{future::pending, io};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::proto::ManagementCodec;

use super::transport::{Connected, ReadHalf, WriteHalf};

/// Free space for one read, in bytes.
pub(super) const READ_CHUNK: usize = 16 << 10;

pub(super) enum Connection {
    /// Until the next attempt.
    Paused(Instant),
    /// Connecting.
    Dialing(JoinSet<io::Result<Connected>>),
    /// OpenVPN is to dial in.
    Awaited,
    /// Connected.
    Up(Box<Up>),
}

pub(super) struct Up {
    pub(super) reader: ReadHalf,
    pub(super) writer: WriteHalf,
    pub(super) codec: ManagementCodec,
    pub(super) unread: BytesMut,
    pub(super) unsent: BytesMut,
}

/// What a connection did.
pub(super) enum Moved {
    Read(io::Result<usize>),
    Sent(io::Result<usize>),
    Dialed(io::Result<Connected>),
    /// The pause is over.
    Redial,
}

impl Connection {
    pub(super) async fn wait(&mut self) -> Moved {
        match self {
            Self::Paused(until) => {
                sleep_until(*until).await;
                Moved::Redial
            }
            Self::Dialing(dialing) => match dialing.join_next().await {
                Some(Ok(result)) => Moved::Dialed(result),
                Some(Err(error)) => Moved::Dialed(Err(io::Error::other(error))),
                None => pending().await,
            },
            Self::Awaited => pending().await,
            Self::Up(up) => {
                let Up { reader, writer, unread, unsent, .. } = &mut **up;
                unread.reserve(READ_CHUNK);
                tokio::select! {
                    read = reader.read_buf(unread) => Moved::Read(read),
                    sent = writer.write_buf(unsent), if !unsent.is_empty() => Moved::Sent(sent),
                }
            }
        }
    }
}
