//! Where OpenVPN dials in (`management-client`): accepts, finds out which server it is, and hands
//! the connection to that server's link.
//!
//! Servers on one address are told apart by where they dial from, or else by their password: the
//! one that OpenVPN accepts. OpenVPN takes three guesses.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{codec::Encoder, sync::CancellationToken};

use crate::{
    proto::{Command, ManagementCodec},
    telemetry::events::Event,
    types::{Password, ServerName},
};

use super::transport::Connected;

/// Pause before the address is tried again; a standby takes over within a second.
const BIND_RETRY: Duration = Duration::from_millis(500);
/// How long OpenVPN may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// Connections that may be at it at once.
const MAX_STRANGERS: usize = 64;
/// Longest text before it is known who speaks, in bytes.
const MAX_INTRODUCTION: usize = 1_024;
/// What OpenVPN says without a line end.
const PROMPT: &[u8] = b"ENTER PASSWORD:";

/// How it begins where it has no password.
const GREETING: &[u8] = b">INFO:OpenVPN Management Interface";

/// A server that dials in.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) server: ServerName,
    pub(super) peer: Option<IpAddr>,
    pub(super) password: Option<Password>,
    pub(super) link: mpsc::Sender<Connected>,
}

/// The address where servers dial in.
pub(super) struct Door {
    address: SocketAddr,
    candidates: Vec<Candidate>,
    /// `None` while another daemon has the address.
    listener: Option<TcpListener>,
}

impl Door {
    /// Listens, if nobody else has the address: OpenVPN does not try twice, so an address that is
    /// free is open before the daemon calls itself ready.
    pub(super) async fn open(address: SocketAddr, candidates: Vec<Candidate>) -> Self {
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => Some(listener),
            Err(error) => {
                let busy = error.kind() == io::ErrorKind::AddrInUse;
                let hint = if busy { "another daemon has it; waiting" } else { "see `management`" };
                for candidate in &candidates {
                    Event::LinkWaiting {
                        server: candidate.server.clone(),
                        address: format!("listen://{address}").into(),
                        retry_in: BIND_RETRY,
                        error: format!("cannot listen: {error}; {hint}"),
                    }
                    .emit();
                }
                None
            }
        };
        Self { address, candidates, listener }
    }

    /// Lets servers in until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.serve()).await;
    }

    async fn serve(self) {
        let Self { address, candidates, listener } = self;
        let listener = match listener {
            Some(listener) => listener,
            None => free(address).await,
        };
        let mut strangers = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                Some(_) = strangers.join_next(), if !strangers.is_empty() => continue,
                accepted = listener.accept(), if strangers.len() < MAX_STRANGERS => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    strangers.spawn(introduce(stream, from, candidates.clone()));
                }
                // Out of descriptors, for one: not to be tried in a circle.
                Err(error) => {
                    tracing::debug!(%address, %error, "cannot accept");
                    sleep(BIND_RETRY).await;
                }
            }
        }
    }
}

/// Listens once the address is free.
async fn free(address: SocketAddr) -> TcpListener {
    loop {
        sleep(BIND_RETRY).await;
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
    }
}

/// Hands a connection to its server, or says why not.
async fn introduce(stream: TcpStream, from: SocketAddr, candidates: Vec<Candidate>) {
    let error = match timeout(INTRODUCTION, meet(stream, from.ip(), &candidates)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => "it did not say who it is".into(),
    };
    Event::LinkRefused { address: from.to_string().into(), error }.emit();
}

/// Finds out which server has dialled in, and hands it over.
async fn meet(stream: TcpStream, from: IpAddr, all: &[Candidate]) -> Result<(), String> {
    let from = from.to_canonical();
    let of_this_address: Vec<_> = all.iter().filter(|c| c.peer == Some(from)).collect();
    let candidates = match of_this_address.is_empty() {
        false => of_this_address,
        true => all.iter().filter(|candidate| candidate.peer.is_none()).collect(),
    };
    let mut connected = Connected::tcp(stream).map_err(|error| error.to_string())?;
    let server = match candidates[..] {
        [] => return Err("no server dials in from this address; see `peer`".into()),
        [only] => {
            // A port scan is no server.
            let is_openvpn = |text: &[u8]| text.starts_with(PROMPT) || text.starts_with(GREETING);
            read_until(&mut connected, is_openvpn)
                .await
                .map_err(|error| format!("it does not speak as OpenVPN: {error}"))?;
            only
        }
        _ => by_password(&mut connected, &candidates).await?,
    };
    server.link.send(connected).await.map_err(|_| "the daemon stops".to_owned())
}

/// The candidate whose password the server accepts.
async fn by_password<'a>(
    connected: &mut Connected,
    candidates: &[&'a Candidate],
) -> Result<&'a Candidate, String> {
    read_until(connected, |text| text.starts_with(PROMPT))
        .await
        .map_err(|error| format!("no password prompt, by which to tell servers apart: {error}"))?;
    for &candidate in candidates {
        let Some(password) = candidate.password.clone() else { continue };
        connected.unread.clear();
        let mut unsent = BytesMut::new();
        let broken = |error: io::Error| error.to_string();
        // Encoding a command into memory cannot fail.
        let _ = ManagementCodec::default().encode(Command::Password(password), &mut unsent);
        connected.writer.write_all_buf(&mut unsent).await.map_err(broken)?;
        // Right: a line. Wrong: the prompt once more, which has no end.
        let is_answer = |text: &[u8]| text.starts_with(PROMPT) || text.contains(&b'\n');
        read_until(connected, is_answer).await.map_err(broken)?;
        if !connected.unread.starts_with(PROMPT) {
            connected.is_password_sent = true;
            return Ok(candidate);
        }
    }
    Err("it accepts the password of no server".into())
}

async fn read_until(connected: &mut Connected, done: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    while !done(&connected.unread) {
        if connected.unread.len() > MAX_INTRODUCTION {
            return Err(io::Error::other("it says something else"));
        }
        if connected.reader.read_buf(&mut connected.unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
