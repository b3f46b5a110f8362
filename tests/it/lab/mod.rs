//! A laboratory for tests with the real OpenVPN: one [`Lab`] per test, each in network namespaces
//! of its own, with real servers, real clients and the built `ovpn-warden`.
//!
//! ```text
//!   server namespace                            client namespaces
//!   OpenVPN servers   127.0.0.1:7505 …          10.8.N.x on tun     (real_tun, one each)
//!   ovpn-warden       127.0.0.1:9176 (HTTP)     dev null            (all others share one)
//!   database door     127.0.0.1:3306 …     <->  198.18.I.1 — 198.18.I.2
//! ```
//!
//! Everything has fixed addresses, because nobody else is in there. A MySQL or MariaDB server outside is
//! reached through a door (`socat` to its unix socket) that a test can shut: [`Database::stop`].
//!
//! Blocking, by processes only. What a lab started is killed when it is dropped; were the test
//! process itself killed, the keeper of each namespace (see `net`) does it.
//! Not here: any knowledge of what the daemon should do.

mod database;
mod net;
mod openvpn;
mod process;
mod small;
mod warden;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};

use tempfile::TempDir;

pub use database::{Backend, Database};
pub use openvpn::{Client, ClientOptions, Server, ServerOptions, Transport, arguments};
pub use process::{must, wait_until};
pub use small::Small;
pub use warden::Warden;

pub use net::Namespace;

/// The device that [`ClientOptions::default`] claims to be.
pub const MAC: &str = "02:00:5e:10:00:01";
/// The password that [`ClientOptions::default`] sends.
pub const PASSWORD: &str = "correct horse battery staple";

/// A scratch directory and its namespaces. The rest is made with its methods.
pub struct Lab {
    shared_client: Namespace,
    server: Namespace,
    dir: Scratch,
    made: Counters,
}

/// The scratch directory: everything in it holds it, so that it goes with the last of them.
type Scratch = Arc<TempDir>;

/// How many there are so far.
#[derive(Default)]
struct Counters {
    servers: AtomicU8,
    clients: AtomicU32,
    namespaces: AtomicU8,
    databases: AtomicU16,
    wardens: AtomicU32,
}

impl Lab {
    /// `None` only on a machine without `/dev/net/tun`, where the test is recorded as skipped.
    ///
    /// # Panics
    /// With the reason, when the machine could run it but something is missing.
    #[track_caller]
    pub fn new(test: &str) -> Option<Self> {
        if std::env::var_os("WARDEN_TEST_NO_TUN").is_some() {
            skip(test, "no /dev/net/tun");
            return None;
        }
        assert!(
            Path::new("/dev/net/tun").exists(),
            "{test}: no /dev/net/tun (`make test` skips it then)"
        );
        for program in ["openvpn", "ip", "nsenter", "unshare", "socat", "ping", "openssl"] {
            assert!(find_program(program), "{test}: no `{program}` here; run `make test`");
        }

        let mut dir = must(
            tempfile::Builder::new().prefix("warden-lab-").tempdir(),
            "make a scratch directory",
        );
        // To look at the logs of a test afterwards.
        dir.disable_cleanup(std::env::var_os("WARDEN_TEST_KEEP").is_some());
        make_pki(dir.path(), "client-0");
        let server = Namespace::new();
        server.ip("link set lo up\n");
        let shared_client = Namespace::new();
        shared_client.join(&server, 0);
        let made = Counters::default();
        made.namespaces.store(1, Ordering::Relaxed);
        Some(Self { shared_client, server, dir: Arc::new(dir), made })
    }

    /// The scratch directory; it holds the PKI, the configurations and every log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A program in the servers' namespace, to be started by the test.
    pub fn command(&self, program: &str) -> Command {
        self.server.command(program)
    }

    /// Starts an OpenVPN server on `conf/openvpn-server.conf` and waits until it is on hold.
    #[track_caller]
    pub fn server(&self, options: ServerOptions) -> Server {
        let index = self.made.servers.fetch_add(1, Ordering::Relaxed);
        Server::start(&self.dir, &self.server, index, options)
    }

    /// Starts an OpenVPN client on `conf/client.ovpn`; it does not wait for anything.
    #[track_caller]
    pub fn client(&self, server: &Server, options: ClientOptions) -> Client {
        let number = self.made.clients.fetch_add(1, Ordering::Relaxed);
        if options.real_tun || options.own_address {
            let index = self.made.namespaces.fetch_add(1, Ordering::Relaxed);
            let own = Namespace::new();
            own.join(&self.server, index);
            Client::start(&self.dir, own, index, number, server, options)
        } else {
            Client::start(&self.dir, self.shared_client.share(), 0, number, server, options)
        }
    }

    /// A database of its own for this lab, empty and without a schema.
    #[track_caller]
    pub fn database(&self, backend: Backend) -> Database {
        let index = self.made.databases.fetch_add(1, Ordering::Relaxed);
        Database::create(&self.dir, &self.server, index, backend)
    }

    /// The configuration for these servers on that database; `more` are further lines of TOML.
    /// Log lines are JSON at every level and HTTP listens on 127.0.0.1:9176, which [`Warden::http`] reads.
    pub fn config(&self, database: &Database, servers: &[&Server], more: &str) -> String {
        let mut text = format!("[database]\nurl = \"{}\"\n\n", database.url());
        for server in servers {
            text += &server.toml();
            text.push('\n');
        }
        // A database's journal is its own.
        let number = self.made.databases.load(Ordering::Relaxed);
        let journal = self.dir.path().join(format!("journal-{number}.db"));
        text += &format!("[journal]\npath = {journal:?}\n");
        text + "[log]\nformat = \"json\"\nlevel = \"trace\"\n[http]\nlisten = \"127.0.0.1:9176\"\n"
            + more
    }

    /// The folder in which everything of this lab is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A daemon with this configuration, not started yet: run `migrate`, `user add` and so on with
    /// [`Warden::cli`], then [`Warden::start`].
    #[track_caller]
    pub fn warden(&self, config: &str) -> Warden {
        let number = self.made.wardens.fetch_add(1, Ordering::Relaxed);
        Warden::prepare(&self.dir, self.server.share(), number, config)
    }
}

/// Makes what is missing of the PKI in `dir`, and a certificate for `client`.
#[track_caller]
fn make_pki(dir: &Path, client: &str) {
    must(process::run(Command::new(rig("pki.sh")).arg(dir).arg(client)), "make a certificate");
}

fn skip(test: &str, why: &str) {
    if let Some(path) = std::env::var_os("WARDEN_TEST_SKIPPED") {
        let mut file = must(
            fs::OpenOptions::new().append(true).create(true).open(path),
            "open the list of skips",
        );
        // In one write: tests run side by side.
        must(file.write_all(format!("skipped: {test}: {why}\n").as_bytes()), "record a skip");
    }
}

fn find_program(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|dir: PathBuf| dir.join(name).is_file())
    })
}

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A script of the rig.
pub fn rig(script: &str) -> PathBuf {
    repository("tests/rig").join(script)
}
