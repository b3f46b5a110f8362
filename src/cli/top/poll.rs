//! Asks the two sources: the database for open sessions, the daemon for its metrics.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::{metrics::Scrape, state::Found};
use crate::{
    config::Config,
    store::{SessionFilter, Store, StoreError},
    types::ServerName,
};

/// The most sessions that are shown.
pub const MOST: u32 = 10_000;
/// The longest text of metrics, in bytes.
const LONGEST: usize = 4 << 20;
/// How long a daemon on this host may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The daemon of this host, by what its configuration says of `[http]`.
#[derive(Clone)]
pub struct Daemon {
    client: legacy::Client<HttpConnector, Empty<Bytes>>,
    /// `None`: it tells nobody.
    uri: Option<Uri>,
}

/// Both sources.
#[derive(Clone)]
pub struct Sources {
    pub store: Arc<dyn Store>,
    daemon: Daemon,
    server: Option<ServerName>,
    servers: Vec<ServerName>,
}

impl Sources {
    pub fn new(store: Arc<dyn Store>, server: Option<ServerName>, config: &Config) -> Self {
        let servers = config.servers.iter().map(|server| server.name.clone()).collect();
        Self { store, daemon: Daemon::new(config), server, servers }
    }

    pub async fn scrape(&self) -> Result<Scrape, String> {
        self.daemon.scrape(self.server.as_ref()).await
    }

    /// The open sessions; no question that grows with the past.
    pub async fn sessions(&self) -> Result<Found, String> {
        // One more than is shown, to know whether that is all.
        let filter =
            SessionFilter { server: self.server.clone(), limit: MOST + 1, ..Default::default() };
        let found = match self.store.sessions(&filter).await {
            Ok(sessions) => Ok(Found { sessions, unreadable: None }),
            Err(StoreError::Corrupt(_)) => self.readable().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        found.map(|found| found.of_at_most(MOST as usize))
    }

    /// One row that cannot be read does not hide the others, of the servers that are known here.
    async fn readable(&self) -> Result<Found, StoreError> {
        let mut found = Found::default();
        for server in
            self.server.iter().chain(self.servers.iter().filter(|_| self.server.is_none()))
        {
            let open = self.store.open_sessions(server).await?;
            found.sessions.extend(open.sessions);
            found.unreadable =
                found.unreadable.or(open.unreadable.first().map(ToString::to_string));
        }
        Ok(found)
    }
}

impl Daemon {
    pub fn new(config: &Config) -> Self {
        // The daemon ends idle connections: none is kept.
        let client =
            legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        let uri = config
            .http
            .listen
            .and_then(|listen| format!("http://{}/metrics", reachable(listen)).parse().ok());
        Self { client, uri }
    }

    /// Its metrics, of one server or of all.
    pub async fn scrape(&self, only: Option<&ServerName>) -> Result<Scrape, String> {
        let Some(uri) = &self.uri else {
            return Err("[http] listen is empty, so the daemon tells nobody".into());
        };
        let asked = tokio::time::timeout(PATIENCE, async {
            let response = self
                .client
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
        Scrape::parse(&String::from_utf8_lossy(&text), only)
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
