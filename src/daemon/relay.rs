//! A socket for other tools (monitors, exporters, telnet) that want to speak to a server's
//! management interface, which takes one client only: us.
//!
//! `proto::relay` says what they may ask. Replies come back to the tool that asked, notifications
//! go to all of them in the order in which the server said them, without secrets. A tool that does
//! not read is dropped; nothing it does can hold the server's link up.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Endpoint,
    engine::RelayId,
    listen::{SocketName, bind_unix},
    proto::{Asked, RelayedCommand, Stream, asked},
    telemetry::events::Event,
    types::ServerName,
};

/// Tools at one server at once.
const MAX_TOOLS: usize = 32;
/// Longest line of a tool, in bytes, as in OpenVPN.
const MAX_LINE: usize = 1_024;
/// What may wait for a tool that does not read, in bytes; beyond it the tool is dropped.
const MAX_BEHIND: usize = 8 << 20;
/// The same in lines: more than the longest `status` has.
const MAX_LINES_BEHIND: usize = 100_000;
/// Lines of all tools that may wait for the link.
const QUEUE: usize = 64;
/// Pause before the socket is tried again, when another daemon has it.
const BIND_RETRY: Duration = Duration::from_millis(500);
/// How long a tool that leaves may take to read the rest.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Where lines for one tool go.
#[derive(Debug, Clone)]
struct Outbox {
    lines: mpsc::Sender<Bytes>,
    /// One command at a time: the next line is read when its answer is complete.
    turn: Arc<Semaphore>,
    behind: Arc<AtomicUsize>,
    /// Ends the connection once everything is written.
    close: CancellationToken,
}

impl Outbox {
    fn push(&self, bytes: Bytes) {
        let behind = self.behind.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        if behind > MAX_BEHIND || self.lines.try_send(bytes).is_err() {
            self.close.cancel();
        }
    }

    fn line(&self, text: impl AsRef<[u8]>) {
        self.push([text.as_ref(), b"\r\n"].concat().into());
    }
}

/// What a tool does.
pub(super) enum ToolEvent {
    Joined(u64, Joined),
    Said(u64, BytesMut),
    Left(u64),
}

/// A tool that has just come.
pub(super) struct Joined(Outbox);

/// A tool, as the link knows it.
struct Tool {
    outbox: Outbox,
    wants_state: bool,
    wants_log: bool,
    wants_echo: bool,
    wants_bytes: bool,
    /// The refusal that is due when a block ends.
    block: Option<String>,
}

/// The tools of one server.
pub(super) struct Relay {
    events: mpsc::Receiver<ToolEvent>,
    tools: HashMap<u64, Tool>,
    asked: HashMap<RelayId, u64>,
    next: u64,
}

impl Relay {
    /// What a tool does next. Cancel-safe.
    pub(super) async fn event(&mut self) -> Option<ToolEvent> {
        self.events.recv().await
    }

    /// Deals with it; returns what is to be passed on.
    pub(super) fn handle(
        &mut self,
        event: ToolEvent,
        management_version: Option<u32>,
    ) -> Option<(RelayId, RelayedCommand)> {
        match event {
            ToolEvent::Joined(tool, Joined(outbox)) => {
                match management_version {
                    Some(version) if self.tools.len() < MAX_TOOLS => {
                        outbox.line(format!(
                            ">INFO:OpenVPN Management Interface Version {version} -- type 'help' for more info"
                        ));
                        self.tools.insert(tool, Tool::new(outbox));
                    }
                    // Without a server there is nothing to talk to: it may come again.
                    Some(_) | None => outbox.close.cancel(),
                }
                None
            }
            ToolEvent::Left(tool) => {
                self.tools.remove(&tool);
                None
            }
            ToolEvent::Said(tool, line) => {
                let tool_of = self.tools.get_mut(&tool)?;
                let Some(command) = tool_of.hear(&line) else {
                    tool_of.outbox.turn.add_permits(1);
                    return None;
                };
                self.next += 1;
                let id = RelayId(self.next);
                self.asked.insert(id, tool);
                Some((id, command))
            }
        }
    }

    /// A line of a reply.
    pub(super) fn reply(&mut self, id: RelayId, line: &[u8], is_last: bool) {
        if let Some(tool) = self.asked.get(&id).and_then(|tool| self.tools.get(tool)) {
            tool.outbox.line(line);
            if is_last {
                tool.outbox.turn.add_permits(1);
            }
        }
        if is_last {
            self.asked.remove(&id);
        }
    }

    /// What the server has said, line by line.
    pub(super) fn notify(&self, tapped: &[u8]) {
        if self.tools.is_empty() {
            return;
        }
        for line in tapped.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b">")) {
            for tool in self.tools.values().filter(|tool| tool.wants(line)) {
                tool.outbox.line(line);
            }
        }
    }

    /// The server is gone: so are the tools, as they would be at OpenVPN's own port.
    pub(super) fn close_all(&mut self) {
        self.asked.clear();
        for (_, tool) in self.tools.drain() {
            tool.outbox.close.cancel();
        }
    }

    pub(super) fn wants_log(&self) -> bool {
        self.tools.values().any(|tool| tool.wants_log)
    }
}

impl Tool {
    fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            wants_state: false,
            wants_log: false,
            wants_echo: false,
            wants_bytes: false,
            block: None,
        }
    }

    fn wants(&self, line: &[u8]) -> bool {
        let is = |stream: Stream| line.starts_with(stream.prefix());
        (self.wants_state || !is(Stream::State))
            && (self.wants_log || !is(Stream::Log))
            && (self.wants_echo || !is(Stream::Echo))
            && (self.wants_bytes || !line.starts_with(b">BYTECOUNT"))
            && !line.starts_with(b">INFO:")
    }

    /// Answers a line, or returns what is to be passed on.
    fn hear(&mut self, line: &[u8]) -> Option<RelayedCommand> {
        if self.block.is_some() {
            if line == b"END"
                && let Some(refusal) = self.block.take()
            {
                self.outbox.line(refusal);
            }
            return None;
        }
        match asked(line) {
            Asked::Nothing => None,
            Asked::Pass(command) => Some(command),
            Asked::Answer(answer) => {
                self.outbox.line(answer);
                None
            }
            Asked::Block(refusal) => {
                self.block = Some(refusal);
                None
            }
            Asked::Leave => {
                self.outbox.close.cancel();
                None
            }
            Asked::ByteCount { is_on } => {
                self.wants_bytes = is_on;
                self.outbox.line("SUCCESS: bytecount interval changed");
                None
            }
            Asked::Switch { stream, is_on, history } => {
                *match stream {
                    Stream::State => &mut self.wants_state,
                    Stream::Log => &mut self.wants_log,
                    Stream::Echo => &mut self.wants_echo,
                } = is_on;
                let (name, word) = (stream.name(), if is_on { "ON" } else { "OFF" });
                self.outbox.line(format!("SUCCESS: real-time {name} notification set to {word}"));
                history
            }
        }
    }
}

/// The socket that tools of one server connect to.
pub(super) struct Socket {
    server: ServerName,
    endpoint: Endpoint,
    events: mpsc::Sender<ToolEvent>,
}

/// The two ends of a relay: the socket, and what the server's link sees of it.
pub(super) fn relay(server: ServerName, endpoint: Endpoint) -> (Socket, Relay) {
    let (sender, events) = mpsc::channel(QUEUE);
    let relay = Relay { events, tools: HashMap::new(), asked: HashMap::new(), next: 0 };
    (Socket { server, endpoint, events: sender }, relay)
}

impl Socket {
    /// Offers the socket until `stop`.
    pub(super) async fn serve(self, stop: CancellationToken) {
        let Self { server, endpoint, events } = self;
        let Some(door) = stop.run_until_cancelled(open(&server, &endpoint)).await else { return };
        let mut tools = JoinSet::new();
        let mut number = 0;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = tools.join_next(), if !tools.is_empty() => continue,
                accepted = door.accept(), if tools.len() < MAX_TOOLS => accepted,
            };
            match accepted {
                Ok((reader, writer)) => {
                    number += 1;
                    tools.spawn(attend(number, reader, writer, events.clone()));
                }
                Err(error) => {
                    tracing::debug!(%server, %error, "cannot accept a tool");
                    sleep(BIND_RETRY).await;
                }
            }
        }
    }
}

enum Door {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "goes with the listener")] SocketName),
}

type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

impl Door {
    async fn accept(&self) -> io::Result<(ReadHalf, WriteHalf)> {
        match self {
            Self::Tcp(listener) => {
                let (reader, writer) = listener.accept().await?.0.into_split();
                Ok((Box::new(reader), Box::new(writer)))
            }
            Self::Unix(listener, _) => {
                let (reader, writer) = listener.accept().await?.0.into_split();
                Ok((Box::new(reader), Box::new(writer)))
            }
        }
    }
}

async fn open(server: &ServerName, endpoint: &Endpoint) -> Door {
    let mut is_told = false;
    loop {
        let error = match bind(endpoint).await {
            Ok(door) => return door,
            Err(error) => error,
        };
        if !is_told {
            is_told = true;
            Event::LinkWaiting {
                server: server.clone(),
                address: endpoint.to_string().into(),
                retry_in: BIND_RETRY,
                error: format!("cannot offer the relay: {error}; see `relay`"),
            }
            .emit();
        }
        sleep(BIND_RETRY).await;
    }
}

async fn bind(endpoint: &Endpoint) -> io::Result<Door> {
    match endpoint {
        Endpoint::Tcp { host, port } => {
            Ok(Door::Tcp(TcpListener::bind((host.as_str(), *port)).await?))
        }
        Endpoint::Unix(path) => {
            bind_unix(path).await.map(|(listener, name)| Door::Unix(listener, name))
        }
        Endpoint::Listen(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// One tool's connection.
async fn attend(
    number: u64,
    mut reader: ReadHalf,
    mut writer: WriteHalf,
    events: mpsc::Sender<ToolEvent>,
) {
    let (lines, mut inbox) = mpsc::channel(MAX_LINES_BEHIND);
    let turn = Arc::new(Semaphore::new(1));
    let outbox = Outbox {
        lines,
        turn: Arc::clone(&turn),
        behind: Arc::default(),
        close: CancellationToken::new(),
    };
    let (behind, close) = (Arc::clone(&outbox.behind), outbox.close.clone());
    if events.send(ToolEvent::Joined(number, Joined(outbox))).await.is_err() {
        return;
    }
    let listen = async {
        let mut unread = BytesMut::new();
        loop {
            while let Some(end) = memchr::memchr(b'\n', &unread) {
                let mut line = unread.split_to(end + 1);
                line.truncate(end - usize::from(end > 0 && line[end - 1] == b'\r'));
                let Ok(permit) = turn.acquire().await else { return };
                // Given back with the answer.
                permit.forget();
                if events.send(ToolEvent::Said(number, line)).await.is_err() {
                    return;
                }
            }
            let is_at_end = !matches!(reader.read_buf(&mut unread).await, Ok(length) if length > 0);
            if is_at_end || unread.len() > MAX_LINE && !unread.contains(&b'\n') {
                break;
            }
        }
        // What it has asked is still answered (`echo status | nc …`).
        sleep(LAST_WRITE).await;
    };
    let write = async {
        while let Some(mut bytes) = inbox.recv().await {
            behind.fetch_sub(bytes.len(), Ordering::Relaxed);
            if writer.write_all_buf(&mut bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = listen => {}
        () = write => {}
        () = close.cancelled() => {}
    }
    // The link may have ended; then nobody needs to know.
    let _ = events.send(ToolEvent::Left(number)).await;
    let rest = async {
        while let Ok(mut bytes) = inbox.try_recv() {
            if writer.write_all_buf(&mut bytes).await.is_err() {
                return;
            }
        }
        // It is gone either way.
        let _ = writer.shutdown().await;
    };
    let _ = tokio::time::timeout(LAST_WRITE, rest).await;
}
