//! The daemon: one task for each server, one writer, one poller, and their orderly end.

mod activity;
mod backlog;
mod backoff;
mod changes;
mod connection;
mod door;
mod doubt;
mod link;
mod open_rows;
mod pace;
mod poller;
mod probe;
mod questions;
mod record;
mod relay;
mod retention;
mod review;
mod rhythm;
mod rounds;
mod stillness;
mod survey;
mod transport;
mod turns;
mod webhook;
mod writer;

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{
        decide::Defaults,
        imprint::Imprinter,
        password::{HashParams, PasswordError, pool::HashPool},
        service::Authenticator,
        throttle::Limits,
    },
    config::{Config, Endpoint, Server},
    engine::{Settings, first_round},
    store::{Journal, Store},
    telemetry::{Queues, http::Readiness},
    types::{Clock, Password, SessionId},
};

pub use probe::{Visit, VisitError, visit};

use activity::{Activity, Chronicler};
use backlog::Backlog;
use door::{Candidate, Door};
use link::{Link, Shared};
use poller::Poller;
use questions::Bounds;
use relay::Socket;
use retention::Retention;
use survey::Survey;
use turns::{Most, Turns};
use webhook::{Client, Sender, Webhook};
use writer::Writer;

/// Requests that may wait for one link.
const REQUEST_QUEUE: usize = 1_024;
/// Logins of one server under way at once, at least: some ask the database while others hash.
const AT_ONCE: usize = 32;
/// How long what is under way may take when the daemon stops; then its last rows, which the writer itself ends before
/// that; then the connections to the database. With the log's last lines it is less than the supervisor waits
/// (`TimeoutStopSec` of the unit: 15 s).
const LAST_ROUND: Duration = Duration::from_secs(2);
const LAST_ROWS: Duration = Duration::from_secs(9);
const LAST_CONNECTIONS: Duration = Duration::from_secs(1);

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No hashing thread.
    #[error("cannot start a hashing thread")]
    Thread(#[from] std::io::Error),
    /// Impossible hash parameters.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The webhook cannot be used.
    #[error("{0}")]
    Webhook(String),
}

/// Everything that serves, ready to begin.
pub struct Daemon {
    links: Vec<Link>,
    doors: Vec<Door>,
    relays: Vec<Socket>,
    poller: Poller,
    retention: Retention,
    survey: Survey,
    writer: Writer,
    chronicler: Chronicler,
    sender: Option<Sender<Client>>,
    store: Arc<dyn Store>,
    stop: CancellationToken,
}

impl Daemon {
    /// Prepares to serve all configured servers until `stop`, and to record what they say below
    /// `record`. Addresses where servers dial in are open when this returns, unless taken.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn prepare(
        config: &Config,
        store: Arc<dyn Store>,
        readiness: Arc<Readiness>,
        clock: Clock,
        stop: CancellationToken,
        record: Option<&Path>,
    ) -> Result<Self, StartError> {
        let journal = config.journal.path.clone();
        let journal = journal.map(|path| Journal::new(path, config.journal.max_bytes));
        let own = SessionId::new(clock.now().utc, rand::random());
        let backlog = Arc::new(Backlog::new(journal, own));
        let webhook = config
            .webhook
            .as_ref()
            .map(|config| Arc::new(Webhook::new(config.events.clone(), config.queue, clock)));
        let sender = match (&webhook, &config.webhook) {
            (Some(webhook), Some(config)) => {
                let client = Client::new(config).map_err(StartError::Webhook)?;
                Some(Sender::new(Arc::clone(webhook), client))
            }
            _ => None,
        };
        let (ready_sender, store_ready) = watch::channel(false);
        let pool = Arc::new(HashPool::new(config.auth.hash_workers, room(config))?);
        let crowd = pool.crowd();
        let authenticator = Arc::new(authenticator(config, &store, pool, clock)?);
        let (asked, waiting) = (Arc::clone(&authenticator), Arc::clone(&backlog));
        readiness.set_queues(move || Queues { hash: asked.queued(), store: waiting.len() });
        let activity = Arc::<Activity>::default();
        let stir = Arc::<Notify>::default();
        let shared = Shared {
            authenticator: Arc::clone(&authenticator),
            questions: Bounds {
                turns: Arc::new(Turns::new(most(config), crowd)),
                waiting: config.auth.hash_queue,
                patience: config.auth.timeout,
            },
            store: Arc::clone(&store),
            backlog: Arc::clone(&backlog),
            webhook,
            activity: Arc::clone(&activity),
            readiness: Arc::clone(&readiness),
            store_ready,
            clock,
            stop: stop.clone(),
            stir: Arc::clone(&stir),
            record: record.map(Into::into),
        };
        let mut links = Vec::with_capacity(config.servers.len());
        let mut relays = Vec::new();
        let mut requests = HashMap::new();
        let mut candidates: HashMap<_, Vec<Candidate>> = HashMap::new();
        for (turn, server) in (0..).zip(&config.servers) {
            let (sender, receiver) = mpsc::channel(REQUEST_QUEUE);
            requests.insert(server.name.clone(), sender);
            let arrivals = match server.management {
                Endpoint::Listen(address) => {
                    let (link, arrivals) = mpsc::channel(1);
                    candidates.entry(address).or_default().push(Candidate {
                        server: server.name.clone(),
                        peer: server.peer,
                        password: server.password.clone(),
                        link,
                    });
                    Some(arrivals)
                }
                Endpoint::Tcp { .. } | Endpoint::Unix(_) => None,
            };
            let relay = server.relay.clone().map(|endpoint| {
                let (socket, relay) = relay::relay(server.name.clone(), endpoint);
                relays.push(socket);
                relay
            });
            links.push(Link::new(
                settings(config, server, turn),
                server.management.clone(),
                shared.clone(),
                receiver,
                arrivals,
                relay,
            ));
        }
        let mut doors = Vec::with_capacity(candidates.len());
        for (address, candidates) in candidates {
            doors.push(Door::open(address, candidates).await);
        }
        let retention = Retention {
            keep: config.retention.sessions,
            store: Arc::clone(&store),
            store_ready: ready_sender.subscribe(),
            clock,
            stop: stop.clone(),
        };
        let survey = Survey {
            authenticator: Arc::clone(&authenticator),
            store_ready: ready_sender.subscribe(),
            stop: stop.clone(),
        };
        let poller = Poller {
            authenticator,
            store: Arc::clone(&store),
            backlog: Arc::clone(&backlog),
            readiness,
            links: requests,
            defaults: defaults(config),
            login: config.auth.timeout,
            store_ready: ready_sender,
            clock,
            stop: stop.clone(),
            stir,
        };
        let writer = Writer::new(backlog, Arc::clone(&store), clock);
        let chronicler = Chronicler { activity, store: Arc::clone(&store), clock };
        Ok(Self {
            links,
            doors,
            relays,
            poller,
            retention,
            survey,
            writer,
            chronicler,
            sender,
            store,
            stop,
        })
    }

    /// Serves until told to stop, then stores what is left and returns. No VPN client is
    /// disconnected by stopping. Returns by itself only after a fault of its own.
    pub async fn run(self) {
        let Self { links, doors, relays, poller, retention, survey, .. } = self;
        let Self { writer, chronicler, sender, store, stop, .. } = self;
        let mut tasks = JoinSet::new();
        for relay in relays {
            tasks.spawn(relay.serve(stop.clone()));
        }
        for link in links {
            tasks.spawn(link.serve());
        }
        for door in doors {
            tasks.spawn(door.run(stop.clone()));
        }
        tasks.spawn(retention.run());
        tasks.spawn(survey.run());
        tasks.spawn(poller.run());
        // These go on until the links have handed over their last rows and notices.
        let writer_stop = CancellationToken::new();
        let mut writing = JoinSet::new();
        writing.spawn(writer.run(writer_stop.clone()));
        writing.spawn(chronicler.run(writer_stop.clone()));
        if let Some(sender) = sender {
            writing.spawn(sender.run(writer_stop.clone()));
        }
        // None of them ends by itself. Without one nothing would be right for long: the daemon ends,
        // for its supervisor to start it again. No client notices.
        tokio::select! {
            () = stop.cancelled() => {}
            _ = tasks.join_next() => {}
            _ = writing.join_next() => {}
        }
        stop.cancel();
        // One that panicked has said so already; there is nothing left to do for it. One that waits for a
        // database that hangs is broken off, as it would be if that were killed.
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(LAST_ROUND, ended).await.is_err() {
            tasks.shutdown().await;
        }
        writer_stop.cancel();
        let ended = async { while writing.join_next().await.is_some() {} };
        if timeout(LAST_ROWS, ended).await.is_err() {
            writing.shutdown().await;
        }
        let _ = timeout(LAST_CONNECTIONS, store.close()).await;
    }
}

/// Logins that hashing threads have, or that wait for one.
fn room(config: &Config) -> usize {
    config.auth.hash_queue + config.auth.hash_workers.get()
}

fn most(config: &Config) -> Most {
    let at_once = AT_ONCE.max(config.auth.hash_workers.get() * 4);
    Most::new(at_once, room(config), config.servers.len())
}

fn authenticator(
    config: &Config,
    store: &Arc<dyn Store>,
    pool: Arc<HashPool>,
    clock: Clock,
) -> Result<Authenticator, StartError> {
    let auth = &config.auth;
    let limits = Limits {
        user_failures: config.throttle.user_failures,
        address_failures: config.throttle.address_failures,
        everywhere_failures: config.throttle.everywhere_failures,
        code_failures: config.throttle.code_failures,
        window: config.throttle.window,
    };
    let params = HashParams { m_kib: auth.argon2_m_kib, t: auth.argon2_t, p: auth.argon2_p };
    let authenticator =
        Authenticator::new(Arc::clone(store), pool, limits, defaults(config), params, clock)?;
    let authenticator =
        authenticator.allowing(auth.password_schemes.clone()).answering_within(auth.timeout);
    let authenticator = match auth.challenge_key.clone() {
        Some(key) => authenticator.with_challenge_key(key),
        None => authenticator,
    };
    Ok(match auth.offline_grace {
        Some(keep) => authenticator.with_grace(keep),
        None => authenticator,
    })
}

/// What a decision takes from the configuration.
pub fn defaults(config: &Config) -> Defaults {
    Defaults {
        device_mode: config.auth.device_mode,
        session_limit: config.session.limit,
        expiry_action: config.session.expiry_action,
        match_common_name: config.auth.match_common_name,
        require_fingerprint: config.auth.require_fingerprint,
        time_zone: config.session.time_zone,
        idle: config.session.idle,
        second_factor: config.auth.second_factor,
    }
}

/// `turn`: which of the servers, from 0.
fn settings(config: &Config, server: &Server, turn: u32) -> Settings {
    let servers = u32::try_from(config.servers.len()).unwrap_or(u32::MAX).max(1);
    let interval = config.session.accounting_interval;
    Settings {
        server: server.name.clone(),
        address: server.management.to_string().into(),
        password: server.password.clone(),
        imprinter: Imprinter::new(Password::from(&rand::random::<[u8; 32]>()[..])),
        auth_timeout: config.auth.timeout,
        device_sources: config.auth.device_sources.clone().into(),
        accounting_interval: interval,
        accounting_first: first_round(interval, turn, servers),
        warn_before: config.session.warn_before,
        time_zone: config.session.time_zone,
        backstop: config.session.backstop,
        retry_backoff_s: config.auth.retry_backoff_s,
        wake_up: config.auth.wake_up,
        challenge_timeout: config.auth.challenge_timeout,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::engine::first_round;

    #[test]
    fn servers_take_turns_at_accounting_within_a_quarter_of_the_interval() {
        let interval = Duration::from_secs(120);
        let first: Vec<_> = (0..3).map(|turn| first_round(interval, turn, 3)).collect();
        assert_eq!(first, [10, 20, 30].map(Duration::from_secs));
        assert_eq!(first_round(interval, 0, 1), interval / 4);
    }
}
