//! `/metrics`, `/livez` and `/readyz`, on an address that only the host should reach.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::types::ServerName;

use super::metrics;

/// Whether logins can be answered: the database is there and at least one link is up.
#[derive(Debug, Default)]
pub struct Readiness {
    store: AtomicBool,
    links: Mutex<BTreeMap<ServerName, bool>>,
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

    /// Tells how many sessions a server has.
    pub fn set_sessions(&self, server: &ServerName, count: usize) {
        metrics::set_sessions(server, count);
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
            served = axum::serve(listener, router) => served,
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = served {
            tracing::error!(%error, "the HTTP listener has ended");
        }
    }))
}

async fn render(State(shared): State<Shared>) -> String {
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
}
