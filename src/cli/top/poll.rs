//! Asks the two sources: the database for open sessions, the daemon for its metrics.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::metrics::Scrape;
use crate::{
    store::{SessionFilter, SessionRecord, Store},
    types::ServerName,
};

/// The most sessions that are shown.
pub const MOST: u32 = 10_000;
/// The longest text of metrics, in bytes.
const LONGEST: usize = 4 << 20;
/// How long a daemon on this host may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Both sources.
#[derive(Clone)]
pub struct Sources {
    pub store: Arc<dyn Store>,
    pub server: Option<ServerName>,
    metrics: Option<(legacy::Client<HttpConnector, Empty<Bytes>>, Uri)>,
}

impl Sources {
    /// `listen` is where the daemon serves its metrics, if it does.
    pub fn new(
        store: Arc<dyn Store>,
        server: Option<ServerName>,
        listen: Option<SocketAddr>,
    ) -> Self {
        let metrics = listen.and_then(|listen| {
            let uri = format!("http://{}/metrics", reachable(listen)).parse().ok()?;
            // The daemon ends idle connections: none is kept.
            let client = legacy::Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build_http();
            Some((client, uri))
        });
        Self { store, server, metrics }
    }

    /// The open sessions; no question that grows with the past.
    pub async fn sessions(&self) -> Result<Vec<SessionRecord>, String> {
        let filter =
            SessionFilter { server: self.server.clone(), limit: MOST, ..Default::default() };
        self.store.sessions(&filter).await.map_err(|error| error.to_string())
    }

    pub async fn scrape(&self) -> Result<Scrape, String> {
        let Some((client, uri)) = &self.metrics else {
            return Err("[http] listen is empty, so the daemon tells nobody".into());
        };
        let asked = tokio::time::timeout(PATIENCE, async {
            let response = client
                .get(uri.clone())
                .await
                .map_err(|_| "nobody answers: is the daemon running?".to_owned())?;
            if !response.status().is_success() {
                return Err(format!("it answers {}", response.status()));
            }
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            body.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
        });
        let at = uri.authority().map(ToString::to_string).unwrap_or_default();
        let text = match asked.await {
            Ok(text) => text,
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
        .map_err(|error| format!("{at}: {error}"))?;
        Scrape::parse(&String::from_utf8_lossy(&text), self.server.as_ref())
            .map_err(|error| format!("{at}: {error}"))
    }
}

/// Who listens on every address is asked on this host's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => listen.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_this_host() {
        for (listen, asked) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
