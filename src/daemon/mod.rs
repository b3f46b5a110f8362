//! The daemon: one task for each server, one writer, one poller, and their orderly end.

mod backoff;
mod door;
mod link;
mod poller;
mod probe;
mod record;
mod relay;
mod transport;
mod writer;

use std::{collections::HashMap, path::Path, sync::Arc};

use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{
        decide::Defaults,
        password::{HashParams, PasswordError, pool::HashPool},
        service::Authenticator,
        throttle::{Limits, Throttle},
    },
    config::{Config, Endpoint, Server},
    engine::Settings,
    store::Store,
    telemetry::http::Readiness,
    types::Clock,
};

pub use probe::{Visit, VisitError, visit};

use door::Candidate;
use link::{Link, Shared};
use poller::Poller;
use relay::Relay;
use writer::Backlog;

/// Operators' requests that may wait for one link.
const COMMAND_QUEUE: usize = 64;

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No hashing thread.
    #[error("cannot start a hashing thread")]
    Thread(#[from] std::io::Error),
    /// Impossible hash parameters.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// Serves all configured servers, and records what they say below `record`, until `stop`, then stores what is left and returns. No VPN
/// client is disconnected by stopping.
///
/// # Errors
/// [`StartError`]; once started it does not fail.
pub async fn run(
    config: &Config,
    store: Arc<dyn Store>,
    readiness: Arc<Readiness>,
    clock: Clock,
    stop: CancellationToken,
    record: Option<&Path>,
) -> Result<(), StartError> {
    let auth = &config.auth;
    let pool = Arc::new(HashPool::new(auth.hash_workers, auth.hash_queue)?);
    let authenticator = Arc::new(Authenticator::new(
        Arc::clone(&store),
        pool,
        Throttle::new(Limits {
            user_failures: config.throttle.user_failures,
            address_failures: config.throttle.address_failures,
            window: config.throttle.window,
        }),
        Defaults {
            device_mode: auth.device_mode,
            session_limit: config.session.limit,
            expiry_action: config.session.expiry_action,
            match_common_name: auth.match_common_name,
        },
        HashParams { m_kib: auth.argon2_m_kib, t: auth.argon2_t, p: auth.argon2_p },
        clock,
    )?);
    let backlog = Arc::new(Backlog::default());
    let (ready_sender, store_ready) = watch::channel(false);
    let shared = Shared {
        authenticator,
        store: Arc::clone(&store),
        backlog: Arc::clone(&backlog),
        readiness: Arc::clone(&readiness),
        store_ready,
        clock,
        stop: stop.clone(),
        record: record.map(Into::into),
    };
    let links = TaskTracker::new();
    let mut commands = HashMap::new();
    let mut doors: HashMap<_, Vec<Candidate>> = HashMap::new();
    for server in &config.servers {
        let (sender, receiver) = mpsc::channel(COMMAND_QUEUE);
        commands.insert(server.name.clone(), sender);
        let settings = settings(config, server);
        let arrivals = match server.management {
            Endpoint::Listen(address) => {
                let (link, arrivals) = mpsc::channel(1);
                doors.entry(address).or_default().push(Candidate {
                    server: server.name.clone(),
                    peer: server.peer,
                    password: server.password.clone(),
                    link,
                });
                Some(arrivals)
            }
            Endpoint::Tcp { .. } | Endpoint::Unix(_) => None,
        };
        let endpoint = server.management.clone();
        let relay = server.relay.clone().map(|endpoint| {
            let (sender, events) = mpsc::channel(relay::QUEUE);
            links.spawn(relay::serve(server.name.clone(), endpoint, sender, stop.clone()));
            Relay::new(events)
        });
        let link = Link::new(settings, endpoint, shared.clone(), receiver, arrivals, relay);
        links.spawn(link.run());
    }
    for (address, candidates) in doors {
        links.spawn(door::run(address, candidates, stop.clone()));
    }
    links.close();
    let poller = Poller {
        store: Arc::clone(&store),
        backlog: Arc::clone(&backlog),
        readiness,
        links: commands,
        store_ready: ready_sender,
        clock,
        stop: stop.clone(),
    };
    let poller = tokio::spawn(poller.run());
    // The writer goes on until the links have handed over their last rows.
    let writer_stop = CancellationToken::new();
    let writer = tokio::spawn(writer::run(backlog, Arc::clone(&store), writer_stop.clone()));
    stop.cancelled().await;
    links.wait().await;
    writer_stop.cancel();
    // A task that panicked has said so already; there is nothing left to do for it.
    let _ = tokio::join!(writer, poller);
    store.close().await;
    Ok(())
}

fn settings(config: &Config, server: &Server) -> Settings {
    Settings {
        server: server.name.clone(),
        address: server.management.to_string().into(),
        password: server.password.clone(),
        auth_timeout: config.auth.timeout,
        device_sources: config.auth.device_sources.clone().into(),
        accounting_interval: config.session.accounting_interval,
        backstop: config.session.backstop,
        retry_backoff_s: config.auth.retry_backoff_s,
        wake_up: config.auth.wake_up,
    }
}
