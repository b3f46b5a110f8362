//! `/metrics`, `/livez` and `/readyz`, on an address that only the host should reach.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{listen::Few, types::ServerName};

use super::metrics::{self, Queues};

/// Whether logins can be answered: the database is there and at least one link is up.
#[derive(Default)]
pub struct Readiness {
    store: AtomicBool,
    links: Mutex<BTreeMap<ServerName, bool>>,
    sessions: Mutex<BTreeMap<ServerName, usize>>,
    queues: OnceLock<Box<dyn Fn() -> Queues + Send + Sync>>,
}

impl Readiness {
    /// Tells whether the database answers.
    pub fn set_store(&self, is_up: bool) {
        self.store.store(is_up, Ordering::Relaxed);
        metrics::set_store(is_up);
    }

    /// Tells whether a server's link is up.
    pub fn set_link(&self, server: &ServerName, is_up: bool) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(server.clone(), is_up);
        metrics::set_link(server, is_up);
    }

    /// Whether a link is up.
    pub fn is_link_up(&self, server: &ServerName) -> bool {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).get(server) == Some(&true)
    }

    /// Tells how many sessions a server has.
    pub fn set_sessions(&self, server: &ServerName, count: usize) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(server.clone(), count);
        metrics::set_sessions(server, count);
    }

    /// How many sessions a server has; `None` as long as nobody has told.
    pub fn sessions(&self, server: &ServerName) -> Option<usize> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(server).copied()
    }

    /// Tells once how to find out what waits; asked for each `/metrics`, and never in between.
    pub fn set_queues(&self, count: impl Fn() -> Queues + Send + Sync + 'static) {
        // A second daemon in one process would count its own: the first one stays.
        let _ = self.queues.set(Box::new(count));
    }

    /// What is missing, in words; `None`: nothing.
    pub fn missing(&self) -> Option<&'static str> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let has_link = links.values().any(|is_up| *is_up);
        match (self.store.load(Ordering::Relaxed), has_link) {
            (true, true) => None,
            (false, true) => Some("not ready: the database does not answer\n"),
            (true, false) => Some("not ready: no management link is up\n"),
            (false, false) => {
                Some("not ready: the database does not answer, and no management link is up\n")
            }
        }
    }
}

#[derive(Clone)]
struct Shared {
    metrics: PrometheusHandle,
    readiness: Arc<Readiness>,
}

/// Serves until `stop`.
///
/// # Errors
/// The system's, when the address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    metrics: PrometheusHandle,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(listen).await?;
    let router = Router::new()
        .route("/metrics", get(render))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Shared { metrics, readiness });
    Ok(tokio::spawn(async move {
        let served = tokio::select! {
            served = axum::serve(Few::new(listener, MAX_CONNECTIONS, LIFETIME), router) => served,
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = served {
            tracing::error!(%error, "the HTTP listener has ended");
        }
    }))
}

/// Connections that are served at a time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 32;
/// How long a connection lasts, whatever happens on it: nobody keeps one of the few by silence.
const LIFETIME: Duration = Duration::from_secs(5);

async fn render(State(shared): State<Shared>) -> String {
    if let Some(count) = shared.readiness.queues.get() {
        metrics::set_queues(count());
    }
    shared.metrics.run_upkeep();
    shared.metrics.render()
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    match shared.readiness.missing() {
        None => (StatusCode::OK, "ready\n"),
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, what),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn ready_means_the_database_and_at_least_one_link() {
        let readiness = Readiness::default();
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert!(readiness.missing().is_some_and(|text| text.contains("and no management link")));
        readiness.set_store(true);
        readiness.set_link(&a, false);
        assert!(readiness.missing().is_some());
        readiness.set_link(&b, true);
        assert_eq!(readiness.missing(), None);
        readiness.set_store(false);
        assert!(readiness.missing().is_some());
    }

    async fn get(address: SocketAddr, request: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response).await;
        String::from_utf8(response).unwrap()
    }

    #[tokio::test]
    async fn three_paths_are_served_and_nothing_else() {
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let (readiness, stop) = (Arc::new(Readiness::default()), CancellationToken::new());
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let served =
            serve(address, metrics.handle(), Arc::clone(&readiness), stop.clone()).await.unwrap();
        let ask =
            |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(get(address, &ask("/livez")).await.starts_with("HTTP/1.1 200"));
        assert!(get(address, &ask("/metrics")).await.starts_with("HTTP/1.1 200"));
        let unready = get(address, &ask("/readyz")).await;
        assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("database"), "{unready}");
        readiness.set_store(true);
        readiness.set_link(&"a".parse().unwrap(), true);
        assert!(get(address, &ask("/readyz")).await.starts_with("HTTP/1.1 200"));
        assert!(get(address, &ask("/")).await.starts_with("HTTP/1.1 404"));
        // Many silent clients keep nobody out for longer than a connection lasts.
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let patience = LIFETIME + Duration::from_secs(5);
        let late = tokio::time::timeout(patience, get(address, &ask("/livez"))).await.unwrap();
        assert!(late.starts_with("HTTP/1.1 200"), "{late}");
        stop.cancel();
        served.await.unwrap();
    }
}
