//! The connection of one link to its server, from one attempt to the next.

use std::{future::pending, io, time::Duration};

use bytes::BytesMut;
use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use zeroize::Zeroize as _;

use crate::{
    proto::{ManagementCodec, Message},
    types::{Clock, Mono},
};

use super::transport::{Connected, ReadHalf, WriteHalf};

/// Commands that wait, in bytes, from which on a server has to read: [`LEAST_READ`] in [`DEAF`].
const CROWDED: usize = 4 << 20;
const LEAST_READ: usize = 64 << 10;
const DEAF: Duration = Duration::from_secs(5);
/// More than this end the connection at once.
const MAX_UNSENT: usize = 64 << 20;

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
    reading: Reading,
}

impl Up {
    pub(super) fn new(
        reader: ReadHalf,
        writer: WriteHalf,
        codec: ManagementCodec,
        unread: BytesMut,
    ) -> Self {
        let (unsent, reading) = (BytesMut::new(), Reading::default());
        Self { reader, writer, codec, unread, unsent, reading }
    }

    /// The next message of what has arrived. `at_end`: nothing more comes. A password in it stays nowhere else.
    pub(super) fn decode(&mut self, at_end: bool) -> io::Result<Option<Message>> {
        self.codec.decode_wiped(&mut self.unread, at_end)
    }

    /// Writes what can be written at once.
    pub(super) fn send_now(&mut self) {
        // An error comes again with the next write.
        if let Some(Ok(length)) = self.writer.write_buf(&mut self.unsent).now_or_never() {
            self.reading.has_read(length);
        }
    }

    /// Whether the server does not read what it is told.
    pub(super) fn is_deaf(&mut self, clock: Clock) -> bool {
        if self.unsent.len() > CROWDED {
            // This process may have stood still.
            self.send_now();
        }
        self.reading.is_deaf(self.unsent.len(), || clock.now().mono)
    }
}

/// What waited for the rest of its line may be half a password.
impl Drop for Up {
    fn drop(&mut self) {
        self.unread.zeroize();
    }
}

/// How a server reads while much waits for it. That much waits is no fault: what broke off with a connection is said again
/// on the next, all at once.
#[derive(Debug, Default)]
struct Reading {
    /// It has read so much since then.
    since: Option<(Mono, usize)>,
}

impl Reading {
    const fn has_read(&mut self, length: usize) {
        if let Some((_, read)) = &mut self.since {
            *read += length;
        }
    }

    fn is_deaf(&mut self, unsent: usize, now: impl Fn() -> Mono) -> bool {
        if unsent <= CROWDED {
            self.since = None;
            return false;
        }
        let now = now();
        let (since, read) = self.since.get_or_insert((now, 0));
        if *read >= LEAST_READ {
            (*since, *read) = (now, 0);
        }
        now - *since > DEAF || unsent > MAX_UNSENT
    }
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
                let Up { reader, writer, unread, unsent, reading, .. } = &mut **up;
                ManagementCodec::make_room(unread, READ_CHUNK);
                tokio::select! {
                    read = reader.read_buf(unread) => Moved::Read(read),
                    sent = writer.write_buf(unsent), if !unsent.is_empty() => {
                        reading.has_read(*sent.as_ref().unwrap_or(&0));
                        Moved::Sent(sent)
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_read_while_much_waits_is_deaf() {
        let mut reading = Reading::default();
        // What waits, what was read before, at which second.
        let steps = [
            (CROWDED, 0, 1, false),
            (CROWDED + 1, 0, 10, false),
            (CROWDED + 9, 0, 15, false),
            (CROWDED + 9, LEAST_READ, 16, false),
            (MAX_UNSENT, 0, 21, false),
            (CROWDED, 0, 22, false),
            (CROWDED + 1, 0, 30, false),
            // A byte a second.
            (CROWDED + 1, 6, 36, true),
        ];
        for (unsent, read, secs, wanted) in steps {
            reading.has_read(read);
            let now = || Mono(Duration::from_secs(secs));
            assert_eq!(reading.is_deaf(unsent, now), wanted, "{unsent} at {secs} s");
        }
        assert!(Reading::default().is_deaf(MAX_UNSENT + 1, Mono::default));
    }
}
