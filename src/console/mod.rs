//! The web console: what operators see and do in a browser, served by the daemon.
//!
//! Server-rendered pages; the embedded script only adds comfort. `access` says who may come in,
//! `fields` reads what a browser sends, `pages` shows, `actions` changes, each by one call of the store
//! and in the visitor's name. Nothing here knows the links: requests reach them through the database.

mod access;
mod actions;
mod answer;
mod charts;
mod fields;
mod pages;

use std::{future::Future, io, net::IpAddr, path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn, map_response},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::Listener,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{decide::Defaults, password::Schemes},
    config::{self, ConsoleListen},
    listen::{Few, bind_unix},
    store::{Actor, Store},
    telemetry::http::Readiness,
    types::{Clock, ServerName, Timestamp},
};

pub use answer::inside;
pub use fields::{Fields, link};

use access::Access;
use answer::Fault;

/// Connections that are served at a time.
const MAX_CONNECTIONS: usize = 32;
/// How long a connection lasts: longer than any page takes.
const LIFETIME: Duration = Duration::from_secs(20);

/// Nothing is loaded from anywhere else, and nobody shows these pages as a part of his.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the console works with.
pub struct Console {
    /// Where everything is.
    pub store: Arc<dyn Store>,
    /// Servers that are configured.
    pub servers: Vec<ServerName>,
    /// What a decision takes from the configuration.
    pub defaults: Defaults,
    /// Schemes of stored hashes that logins may use.
    pub schemes: Schemes,
    /// What this daemon's links and its database do.
    pub readiness: Arc<Readiness>,
    /// The clock.
    pub clock: Clock,
}

/// A console that is served.
struct Desk {
    console: Console,
    access: Access,
}

type Shared = Arc<Desk>;

impl Desk {
    fn now(&self) -> Timestamp {
        self.console.clock.now().utc
    }

    fn store(&self) -> &dyn Store {
        &*self.console.store
    }

    fn actor(&self, visitor: &access::Visitor) -> Actor {
        Actor { name: visitor.actor(), at: self.now() }
    }
}

/// Serves until `stop`.
///
/// # Errors
/// The system's, when nobody can be listened to there.
pub async fn serve(
    config: &config::Console,
    console: Console,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    let access = Access::new(config.token.clone(), config.proxy_header.clone(), console.clock);
    let router = router(Arc::new(Desk { console, access }));
    Ok(match &config.listen {
        ConsoleListen::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let router = router.layer(from_fn(only_local)).layer(map_response(harden));
            tokio::spawn(until_stopped(listener, router, stop))
        }
        ConsoleListen::Unix(path) => {
            serve_unix(path, router.layer(map_response(harden)), stop).await?
        }
    })
}

async fn serve_unix(
    path: &Path,
    router: Router,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    let (listener, name) = bind_unix(path).await?;
    Ok(tokio::spawn(async move {
        until_stopped(listener, router, stop).await;
        drop(name);
    }))
}

fn until_stopped<L>(
    listener: L,
    router: Router,
    stop: CancellationToken,
) -> impl Future<Output = ()>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let listener = Few::new(listener, MAX_CONNECTIONS, LIFETIME);
    async move {
        let served = tokio::select! {
            served = axum::serve(listener, router) => served,
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = served {
            tracing::error!(%error, "the console's listener has ended");
        }
    }
}

/// Each path, and what answers there. Whoever has no [`access::Visitor`] among its arguments answers everybody.
fn router(desk: Shared) -> Router {
    Router::new()
        .route("/", get(pages::overview::show))
        .route("/sessions", get(pages::sessions::show))
        .route("/session", get(pages::session::show))
        .route("/users", get(pages::users::show))
        .route("/user", get(pages::user::show))
        .route("/devices", get(pages::devices::show))
        .route("/explain", get(pages::explain::show))
        .route("/session/kill", post(actions::kill))
        .route("/session/extend", post(actions::extend))
        .route("/device", post(actions::judge_device))
        .route("/user/enabled", post(actions::enable))
        .route("/login", get(pages::login::show).post(actions::login))
        .route("/logout", post(actions::logout))
        .route("/console.css", get(style))
        .route("/console.js", get(script))
        .fallback(answer::no_such_page)
        .with_state(desk)
}

async fn style() -> impl IntoResponse {
    asset("text/css; charset=utf-8", include_str!("assets/console.css"))
}

async fn script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", include_str!("assets/console.js"))
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text)
}

/// On a port: a page elsewhere whose name was made to lead to this machine is of the same site to its browser, and
/// could hold the login shut with wrong tokens.
async fn only_local(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(is_local) {
        return next.run(request).await;
    }
    Fault::Forbidden(
        "the console answers here as 127.0.0.1 or localhost only; a proxy belongs in front of a unix socket",
    )
    .into_response()
}

/// Whether a name, with a port or without, is of this machine whatever a name server says.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let name = name.to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        || name == "localhost"
        || name.ends_with(".localhost")
}

/// What browsers are told about every answer.
async fn harden(mut response: Response) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        // A connection lasts for one answer: then its time cannot run out in the middle of another.
        (header::CONNECTION, "close"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_known() {
        for host in [
            "127.0.0.1:9177",
            "127.8.0.1",
            "localhost",
            "LocalHost:1",
            "vpn.localhost:9",
            "[::1]:9177",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example:9177",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[fe80::1]",
            "0.0.0.0",
            "xlocalhost",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
