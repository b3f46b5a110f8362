//! The whole job with a real OpenVPN, real clients and a real database.

mod client_config;
mod kills;
mod lifecycle;
mod limits;
mod login;
mod matrix;
mod outage;
mod relay;
mod rules;
mod second_factor;
mod silence;
mod wake_up;

use std::time::Duration;

use serde_json::Value;

use crate::lab::{
    Backend, Client, ClientOptions, Database, Lab, MAC, PASSWORD, Server, ServerOptions, Warden,
};

pub const SOON: Duration = Duration::from_secs(10);

/// The seconds between renegotiations, as an argument of a server: few. And how long to wait for
/// what they bring.
///
/// 2.5 looks only every 10 s whether a new key was approved (TLS_MULTI_AUTH_STATUS_INTERVAL in its
/// ssl.h), while its clients use the key at once: a tunnel carries nothing until then.
pub fn reneg_sec() -> (&'static str, Duration) {
    if ServerOptions::default().version() < (2, 6) {
        ("24", Duration::from_secs(40))
    } else {
        ("8", Duration::from_secs(25))
    }
}

/// A server, a database with alice and her device, and a daemon that serves them.
pub struct Site {
    pub lab: Lab,
    pub database: Database,
    pub server: Server,
    pub warden: Warden,
}

impl Site {
    /// `more` are further lines of configuration; `None` without `/dev/net/tun`.
    #[track_caller]
    pub fn new(test: &str, backend: Backend, options: ServerOptions, more: &str) -> Option<Self> {
        Lab::new(test).map(|lab| Self::of(lab, backend, options, more))
    }

    /// The same in a lab of the caller's.
    #[track_caller]
    pub fn of(lab: Lab, backend: Backend, options: ServerOptions, more: &str) -> Self {
        let database = lab.database(backend);
        let server = lab.server(options);
        let mut warden = lab.warden(&lab.config(&database, &[&server], more));
        warden.ok(&["migrate"], "");
        warden.ok(&["user", "add", "alice", "--password-stdin"], PASSWORD);
        warden.ok(&["device", "add", "alice", MAC, "--label", "laptop"], "");
        warden.start();
        warden.wait_event("link.up", |_| true, SOON);
        // On hold until the database answers: wait for it to serve.
        assert!(server.wait_for("Initialization Sequence Completed", SOON), "{}", server.log());
        Self { lab, database, server, warden }
    }

    #[track_caller]
    pub fn client(&self, options: ClientOptions) -> Client {
        self.lab.client(&self.server, options)
    }

    /// A client that is let in.
    #[track_caller]
    pub fn connected(&self, options: ClientOptions) -> Client {
        let mut client = self.client(options);
        assert!(client.connected(SOON), "{}\n{}", client.log(), self.warden.report());
        client
    }

    /// The row of the only session, once it satisfies a condition.
    #[track_caller]
    pub fn session(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = crate::lab::wait_until(SOON, || {
            let rows = self.warden.json(&["session", "list", "--all"]);
            let row = rows.as_array()?.first()?.clone();
            wanted(&row).then_some(row)
        });
        match found {
            Some(row) => row,
            None => panic!("no such session:\n{}", self.warden.report()),
        }
    }
}

/// Every test of these runs once on each backend.
macro_rules! on_each_backend {
    ($($(#[$attribute:meta])* $name:ident => $body:path;)+) => {$(
        mod $name {
            use super::*;

            $(#[$attribute])*
            #[test]
            fn sqlite() {
                $body(concat!(stringify!($name), " on SQLite"), Backend::Sqlite);
            }

            $(#[$attribute])*
            #[test]
            fn mysql() {
                $body(concat!(stringify!($name), " on MySQL"), Backend::Mysql);
            }
        }
    )+};
}
pub(crate) use on_each_backend;
