//! The task of one server: its connection, its engine, the questions under way.
//!
//! It reads and writes at the same time, so that a server that does not read cannot stall it,
//! and never waits for the database.

use std::{io, panic::AssertUnwindSafe, path::Path, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, mpsc, oneshot, watch},
    task::{JoinError, JoinSet, yield_now},
    time::{Instant, sleep_until},
};
use tokio_util::{codec::Encoder, sync::CancellationToken};

use crate::{
    auth::{request::Decision, service::Authenticator},
    config::Endpoint,
    engine::{CommandOutcome, Engine, LinkFault, Output, Review, Settings, Ticket},
    fail_point::fail_point,
    proto::ManagementCodec,
    store::{OpenSession, SessionCommand, Store},
    telemetry::{events::Event, http::Readiness},
    types::{Clock, Mono, Now},
};

use super::{
    activity::Activity,
    backlog::Backlog,
    backoff::Backoff,
    connection::{Connection, Moved, READ_CHUNK, Up},
    open_rows,
    questions::{Bounds, Questions},
    record::Captures,
    relay::{Relay, ToolEvent},
    transport::{self, Connected},
    webhook::Webhook,
};

/// Pause after a fault of this program.
const FAULT_PAUSE: Duration = Duration::from_secs(1);
/// A link that was up for so long is tried again at once.
const STEADY: Duration = Duration::from_secs(10);
/// Reads before a time-out counts.
const MAX_READS: usize = 64;
/// How long the last commands may take when the daemon stops.
const LAST_WRITE: Duration = Duration::from_secs(1);
/// After a wrong password: OpenVPN closes the port to everybody after three.
const PASSWORD_RETRY: Duration = Duration::from_secs(30);

/// Decisions that are taken in together. What comes from the server waits for them.
const DECIDED_AT_ONCE: usize = 64;
/// Events that are told at once; with more of them OpenVPN gets its commands before.
const TOLD_AT_ONCE: usize = 16;

/// What the poller brings.
pub(super) enum LinkRequest {
    /// An operator's request, and where its outcome goes.
    Command(SessionCommand, oneshot::Sender<CommandOutcome>),
    /// What the database says of all open sessions now.
    Review(Vec<Review>),
    /// The same of some of them.
    ReviewSome(Vec<Review>),
}

/// What all links share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) questions: Bounds,
    pub(super) store: Arc<dyn Store>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) webhook: Option<Arc<Webhook>>,
    pub(super) activity: Arc<Activity>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) store_ready: watch::Receiver<bool>,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
    /// Somebody logs in: the poller looks at the database more often.
    pub(super) stir: Arc<Notify>,
    /// Where captures go.
    pub(super) record: Option<Arc<Path>>,
}

/// One server's task.
pub(super) struct Link {
    engine: Engine,
    endpoint: Endpoint,
    settings: Settings,
    shared: Shared,
    requests: mpsc::Receiver<LinkRequest>,
    /// Connections that OpenVPN has made, where it dials in.
    arrivals: Option<mpsc::Receiver<Connected>>,
    connection: Connection,
    /// One that OpenVPN has made while the one before it still stands: it begins when that is dead,
    /// and is refused when that speaks.
    parked: Option<Connected>,
    backoff: Backoff,
    /// Since when the link is up.
    up_since: Option<Mono>,
    questions: Questions,
    load: JoinSet<Vec<OpenSession>>,
    /// Other tools at this server.
    relay: Option<Relay>,
    captures: Option<Captures>,
    /// Whether operators were told that the link is down.
    is_down_reported: bool,
    /// What has happened and is not in the log yet.
    untold: Vec<Event>,
    /// The number of sessions that the metrics have.
    told_sessions: Option<usize>,
}

/// What woke the task.
enum Wake {
    Connection(Moved),
    Arrived(Connected),
    Tool(ToolEvent),
    Decided(Option<(Ticket, Decision)>),
    Loaded(Result<Vec<OpenSession>, JoinError>),
    Request(LinkRequest),
    StoreReady,
    Timer,
    Stop,
}

impl Link {
    pub(super) fn new(
        settings: Settings,
        endpoint: Endpoint,
        shared: Shared,
        requests: mpsc::Receiver<LinkRequest>,
        arrivals: Option<mpsc::Receiver<Connected>>,
        relay: Option<Relay>,
    ) -> Self {
        let questions = questions(&shared);
        let captures = shared.record.clone().map(|dir| Captures::new(dir, settings.server.clone()));
        Self {
            engine: Engine::new(settings.clone()),
            endpoint,
            settings,
            shared,
            requests,
            arrivals,
            relay,
            captures,
            connection: Connection::Dialing(JoinSet::new()),
            parked: None,
            up_since: None,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
            questions,
            load: JoinSet::new(),
            is_down_reported: false,
            untold: Vec::new(),
            told_sessions: None,
        }
    }

    /// Serves until the daemon stops. A fault of this program ends neither the other links nor, for
    /// longer than a pause, this one: it begins anew, and compares with the server and the database.
    pub(super) async fn serve(mut self) {
        while AssertUnwindSafe(self.run()).catch_unwind().await.is_err() {
            // What and where the panic hook has told.
            self.engine = Engine::new(self.settings.clone());
            self.questions = questions(&self.shared);
            self.lose("a fault of ovpn-warden itself; this link begins anew".into());
            self.tell().await;
            tokio::time::sleep(FAULT_PAUSE).await;
        }
    }

    /// Serves until the daemon stops. Stopping ends no client.
    async fn run(&mut self) {
        let ready = *self.shared.store_ready.borrow_and_update();
        self.engine.handle_store_ready(ready, self.shared.clock.now());
        self.dial();
        loop {
            self.drain();
            if !matches!(self.connection, Connection::Up(_))
                && let Some(connected) = self.parked.take()
            {
                self.begin(connected);
                continue;
            }
            self.tell().await;
            let wake = self.wait().await;
            let now = self.shared.clock.now();
            match wake {
                Wake::Connection(Moved::Read(Ok(0))) => {
                    self.decode(true);
                    self.lose("the server closed the connection".into());
                }
                Wake::Connection(Moved::Read(Ok(_))) => {
                    if self.parked.take().is_some() {
                        self.refuse();
                    }
                    self.decode(false);
                }
                Wake::Connection(Moved::Read(Err(error))) => {
                    self.lose(format!("cannot read: {error}"))
                }
                Wake::Connection(Moved::Sent(Ok(_))) => {}
                Wake::Connection(Moved::Sent(Err(error))) => {
                    self.lose(format!("cannot write: {error}"))
                }
                Wake::Connection(Moved::Dialed(Ok(connected))) => self.begin(connected),
                Wake::Arrived(connected) => {
                    if self.parked.replace(connected).is_some() {
                        self.refuse();
                    }
                    self.engine.handle_doubt(now);
                }
                Wake::Connection(Moved::Dialed(Err(error))) => self.not_connected(&error),
                Wake::Connection(Moved::Redial) => self.dial(),
                Wake::Tool(event) => self.on_tool(event),
                Wake::Decided(Some((ticket, decision))) => {
                    if !self.questions.is_empty() {
                        yield_now().await; // Those that are all but decided go out with it.
                    }
                    self.decided(ticket, decision, self.shared.clock.now());
                    self.take_decisions(DECIDED_AT_ONCE);
                }
                // Cancelled, or it panicked: the engine's own time-out answers.
                Wake::Decided(None) => {}
                Wake::Loaded(Ok(rows)) => {
                    self.engine.handle_open_sessions(rows, now);
                    // Until now it has taken no judgement.
                    self.shared.backlog.doubt.raise();
                }
                Wake::Loaded(Err(fault)) => std::panic::resume_unwind(fault.into_panic()),
                Wake::Request(LinkRequest::Command(command, outcome)) => {
                    let done = self.engine.handle_command(&command, now);
                    // The row is among those that wait before anybody hears that it is done.
                    self.drain();
                    // The poller may have given up waiting; it asks again.
                    let _ = outcome.send(done);
                }
                Wake::Request(LinkRequest::Review(reviews)) => {
                    self.engine.handle_reviews(reviews, now);
                }
                Wake::Request(LinkRequest::ReviewSome(reviews)) => {
                    self.engine.handle_some_reviews(reviews, now);
                }
                Wake::StoreReady => {
                    let ready = *self.shared.store_ready.borrow_and_update();
                    self.engine.handle_store_ready(ready, now);
                }
                Wake::Timer => {
                    self.catch_up();
                    self.engine.handle_timeout(self.shared.clock.now());
                }
                Wake::Stop => break,
            }
        }
        self.engine.handle_shutdown();
        self.drain();
        self.tell().await;
        // Answers that are on their way still go out.
        if let Connection::Up(up) = &mut self.connection {
            let Up { writer, unsent, .. } = &mut **up;
            let _ = tokio::time::timeout(LAST_WRITE, writer.write_all_buf(unsent)).await;
        }
    }

    /// Before time-outs count: what came while this program could not run, as after a suspend.
    fn catch_up(&mut self) {
        for _ in 0..MAX_READS {
            let Connection::Up(up) = &mut self.connection else { break };
            ManagementCodec::make_room(&mut up.unread, READ_CHUNK);
            match up.reader.read_buf(&mut up.unread).now_or_never() {
                Some(Ok(length)) if length > 0 => self.decode(false),
                // The end is seen at the next turn.
                Some(_) | None => break,
            }
        }
        self.take_decisions(usize::MAX);
    }

    /// Those that are there already: in a storm they come together, and go out with one write.
    fn take_decisions(&mut self, most: usize) {
        for _ in 0..most {
            if self.questions.is_empty() {
                return;
            }
            match self.questions.next().now_or_never() {
                Some(Some((ticket, decision))) => {
                    self.decided(ticket, decision, self.shared.clock.now());
                }
                Some(None) => {}
                None => return,
            }
        }
    }

    /// Tells the engine, unless nothing could be kept of the session.
    fn decided(&mut self, ticket: Ticket, decision: Decision, now: Now) {
        let place = match &decision {
            Decision::Allow(grant) => Some(grant.session_id).filter(|_| grant.has_place),
            Decision::Deny(_) | Decision::Challenge(_) => None,
        };
        let decision = self.shared.backlog.admit(decision);
        if let Decision::Allow(grant) = &decision
            && (grant.is_offline || grant.terms.is_metered())
        {
            // By what was known of him some time ago, or by what others of the same user use up.
            self.shared.backlog.doubt.raise();
        }
        if let (Some(session), Decision::Deny(_)) = (place, &decision) {
            self.shared.authenticator.abandon(session);
        }
        self.engine.handle_decision(ticket, decision, now);
        // What failed is to be told to others.
        self.shared.stir.notify_one();
    }

    /// Tells of a second connection in this server's name.
    fn refuse(&mut self) {
        let error = "the server is connected already, and that connection is alive".into();
        self.untold.push(Event::LinkRefused { address: self.settings.address.clone(), error });
    }

    fn begin(&mut self, connected: Connected) {
        let Connected { reader, writer, unread, is_password_sent } = connected;
        let has_unread = !unread.is_empty();
        let mut codec = ManagementCodec::default();
        if let Some(captures) = &mut self.captures {
            captures.begin(self.shared.clock.now().utc);
        }
        if self.relay.is_some() || self.captures.is_some() {
            codec.open_tap();
        }
        self.connection = Connection::Up(Box::new(Up::new(reader, writer, codec, unread)));
        self.engine.handle_connected(is_password_sent, self.shared.clock.now());
        if has_unread {
            self.decode(false);
        }
    }

    fn on_tool(&mut self, event: ToolEvent) {
        let now = self.shared.clock.now();
        let version = self.engine.management_version().filter(|_| self.engine.is_ready());
        let Some(relay) = &mut self.relay else { return };
        if let Some((id, command)) = relay.handle(event, version) {
            self.engine.handle_relay(id, command, now);
        }
        self.engine.handle_log_wanted(relay.wants_log(), now);
    }

    async fn wait(&mut self) -> Wake {
        let timer = self.engine.poll_timeout().map(|at| self.shared.clock.instant(at));
        tokio::select! {
            () = self.shared.stop.cancelled() => Wake::Stop,
            moved = self.connection.wait() => Wake::Connection(moved),
            done = self.questions.next(), if !self.questions.is_empty() => Wake::Decided(done),
            Some(done) = self.load.join_next(), if !self.load.is_empty() => Wake::Loaded(done),
            Some(request) = self.requests.recv() => Wake::Request(request),
            Some(connected) = arrival(&mut self.arrivals) => Wake::Arrived(connected),
            Some(event) = tool_event(&mut self.relay) => Wake::Tool(event),
            Ok(()) = self.shared.store_ready.changed() => Wake::StoreReady,
            () = sleep_until(timer.map_or_else(far_away, Instant::from_std)),
                if timer.is_some() => Wake::Timer,
        }
    }

    /// Tells the engine what has arrived, passwords among it. `at_end`: nothing more comes.
    fn decode(&mut self, at_end: bool) {
        let now = self.shared.clock.now();
        loop {
            // The engine may have given the connection up over the last message.
            let Connection::Up(up) = &mut self.connection else { return };
            up.codec.set_relaying(self.engine.is_relaying());
            let decoded = up.decode(at_end);
            let tapped = up.codec.take_tapped();
            if let Some(captures) = &mut self.captures {
                captures.write(&tapped);
            }
            if let Some(relay) = &self.relay {
                relay.notify(&tapped);
            }
            match decoded {
                Ok(Some(message)) => self.engine.handle_message(message, now),
                Ok(None) => return,
                Err(error) => return self.lose(format!("cannot read: {error}")),
            }
            self.drain();
        }
    }

    /// Does what the engine wants done.
    fn drain(&mut self) {
        self.do_outputs();
        // Some of it may go out now, as all that it begins is on disk.
        if let Connection::Up(up) = &mut self.connection
            && up.is_deaf(self.shared.clock)
        {
            self.lose("the server does not read our commands".into());
            self.do_outputs();
        }
        let count = self.engine.session_count();
        if self.told_sessions != Some(count) {
            self.told_sessions = Some(count);
            self.shared.stir.notify_one();
            self.shared.readiness.set_sessions(&self.settings.server, count);
            let now = self.shared.clock.now().utc;
            self.shared.activity.sessions(&self.settings.server, count, now);
        }
    }

    fn do_outputs(&mut self) {
        let mut records = Vec::new();
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send(command) => {
                    if let Connection::Up(up) = &mut self.connection {
                        // Encoding a command into memory cannot fail.
                        let _ = up.codec.encode(command, &mut up.unsent);
                    }
                }
                Output::Authenticate(ticket, request) => {
                    self.shared.stir.notify_one();
                    if let Some(decision) = self.questions.ask(ticket, request) {
                        self.engine.handle_decision(ticket, decision, self.shared.clock.now());
                    }
                }
                Output::CancelAuth(ticket) => self.questions.cancel(ticket),
                Output::Abandon(session) => self.shared.authenticator.abandon(session),
                Output::Persist(record) => {
                    records.push(*record);
                    fail_point("link.persisting");
                }
                // Neither is to miss what was said before it.
                Output::MarkServer(server) => {
                    self.shared.backlog.push(std::mem::take(&mut records));
                    self.shared.backlog.mark(*server);
                }
                Output::LoadOpenSessions => {
                    self.shared.backlog.push(std::mem::take(&mut records));
                    self.load_open_sessions();
                }
                Output::Relayed(id, line, is_last) => {
                    if let Some(relay) = &mut self.relay {
                        relay.reply(id, &line, is_last);
                    }
                }
                Output::Report(event) => self.report(event),
                Output::Reconnect(fault) => {
                    let pause = (fault == LinkFault::WrongPassword
                        || fault == LinkFault::PasswordNeeded)
                        .then_some(PASSWORD_RETRY);
                    self.lose_for(fault.to_string(), pause);
                }
            }
        }
        // Before what was encoded above goes out: whatever is approved is on disk by then.
        self.shared.backlog.push(records);
    }

    fn report(&mut self, event: Event) {
        if matches!(event, Event::LinkUp { .. }) {
            self.up_since = Some(self.shared.clock.now().mono);
            self.is_down_reported = false;
            self.shared.readiness.set_link(&self.settings.server, true);
        }
        self.untold.push(event);
    }

    /// Logs and counts what has happened. After much of it (everybody's time is over in one
    /// moment) first this server and all others get their commands: a line takes longer to write
    /// than a client to end.
    async fn tell(&mut self) {
        if self.untold.len() > TOLD_AT_ONCE {
            if let Connection::Up(up) = &mut self.connection {
                up.send_now();
            }
            yield_now().await;
        }
        let now = self.shared.clock.now().utc;
        self.shared.activity.carried(&self.settings.server, self.engine.take_carried(), now);
        for event in self.untold.drain(..) {
            event.emit();
            self.shared.activity.note(&event, now);
            if let Some(webhook) = &self.shared.webhook {
                webhook.offer(&event);
            }
        }
        self.untold.shrink_to(TOLD_AT_ONCE);
    }

    fn dial(&mut self) {
        if self.arrivals.is_some() {
            self.connection = Connection::Awaited;
            return;
        }
        let endpoint = self.endpoint.clone();
        let mut dialing = JoinSet::new();
        dialing.spawn(async move { transport::connect(&endpoint).await });
        self.connection = Connection::Dialing(dialing);
    }

    /// The connection is gone.
    fn lose(&mut self, error: String) {
        self.lose_for(error, None);
    }

    fn lose_for(&mut self, error: String, pause: Option<Duration>) {
        // A link that comes up only to break at once is not tried in a circle.
        let now = self.shared.clock.now().mono;
        if self.up_since.take().is_some_and(|since| now - since >= STEADY) {
            self.backoff.reset();
        }
        let retry_in = pause.unwrap_or_else(|| self.backoff.pause());
        self.connection = Connection::Paused(Instant::from_std(self.instant_in(retry_in)));
        self.load = JoinSet::new();
        if let Some(captures) = &mut self.captures {
            captures.end();
        }
        if let Some(relay) = &mut self.relay {
            relay.close_all();
        }
        self.engine.handle_lost(self.shared.clock.now());
        self.shared.readiness.set_link(&self.settings.server, false);
        if self.is_down_reported {
            tracing::debug!(server = %self.settings.server, error, "the link did not come up");
            return;
        }
        self.is_down_reported = true;
        self.untold.push(Event::LinkLost {
            server: self.settings.server.clone(),
            address: self.settings.address.clone(),
            retry_in,
            error,
        });
    }

    /// An attempt failed. The first failure is told, the rest only at debug level.
    fn not_connected(&mut self, error: &io::Error) {
        let retry_in = self.backoff.pause();
        self.connection = Connection::Paused(Instant::from_std(self.instant_in(retry_in)));
        let text = transport::explain(&self.endpoint, error);
        if self.is_down_reported {
            tracing::debug!(server = %self.settings.server, error = text, "still no connection");
            return;
        }
        self.is_down_reported = true;
        let (server, address) = (self.settings.server.clone(), self.settings.address.clone());
        self.untold.push(if transport::is_busy(error) {
            Event::LinkWaiting { server, address, retry_in, error: text }
        } else {
            Event::LinkLost { server, address, retry_in, error: text }
        });
    }

    fn instant_in(&self, pause: Duration) -> std::time::Instant {
        let clock = &self.shared.clock;
        clock.instant(clock.now().mono + pause)
    }

    /// What was asked for earlier is out of date.
    fn load_open_sessions(&mut self) {
        self.load = JoinSet::new();
        let shared = &self.shared;
        self.load.spawn(open_rows::load(
            self.settings.server.clone(),
            Arc::clone(&shared.store),
            Arc::clone(&shared.backlog),
            shared.store_ready.clone(),
            shared.clock,
        ));
    }
}

fn questions(shared: &Shared) -> Questions {
    Questions::new(Arc::clone(&shared.authenticator), shared.questions.clone(), shared.clock)
}

/// The next connection that OpenVPN makes, if it is the one that dials.
async fn arrival(arrivals: &mut Option<mpsc::Receiver<Connected>>) -> Option<Connected> {
    match arrivals {
        Some(arrivals) => arrivals.recv().await,
        None => None,
    }
}

/// What a tool does next, if there may be any.
async fn tool_event(relay: &mut Option<Relay>) -> Option<ToolEvent> {
    match relay {
        Some(relay) => relay.event().await,
        None => None,
    }
}

/// A moment that no timer reaches; the branch that names it is switched off.
fn far_away() -> Instant {
    Instant::from_std(Clock::new().instant(Mono(Duration::from_secs(86_400))))
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
