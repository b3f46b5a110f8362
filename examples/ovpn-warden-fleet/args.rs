//! What the fleet is told to do.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use ovpn_warden::store::OnLimit;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Every client logs in at once.
    ConnectStorm,
    /// All are connected; logins, renegotiations, byte counts, disconnects and ends at given rates.
    Steady,
    /// All are connected, and everybody's time is over in the same moment.
    ExpiryStorm,
    /// All are connected, all links drop at once, then the daemon starts anew.
    Reconnect,
    /// All log in, and half of the servers do not read their answers for a while.
    SlowReader,
    /// Clients come and go while the daemon, the database and the servers are killed; then the table
    /// is compared with what the servers saw.
    Chaos,
}

/// Plays OpenVPN's side of the management protocol for many servers with many clients, and measures
/// how a daemon of its own serves them.
#[derive(Debug, Clone, Parser)]
#[command(name = "ovpn-warden-fleet")]
pub struct Args {
    #[arg(value_enum)]
    pub scenario: Scenario,
    /// OpenVPN servers.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub servers: u32,
    /// Clients of each.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub clients: u32,
    /// How long steady events go on, or a slow reader does not read.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// How long nothing happens before steady events begin and are measured.
    #[arg(long, default_value_t = 0)]
    pub settle_s: u64,
    /// An empty MySQL database; without it an SQLite file.
    #[arg(long)]
    pub database: Option<String>,
    /// Daemons that share it and the servers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub daemons: u32,
    /// Connections of each to it.
    #[arg(long, default_value_t = 10)]
    pub connections: u32,
    /// Memory of the users' argon2id hashes.
    #[arg(long, default_value_t = 19_456)]
    pub argon2_m_kib: u32,
    /// Their passes.
    #[arg(long, default_value_t = 2)]
    pub argon2_t: u32,
    /// The smallest legal argon2: 8 KiB, one pass.
    #[arg(long)]
    pub cheap: bool,
    /// `auth.hash_queue` of the daemon.
    #[arg(long, default_value_t = 256)]
    pub hash_queue: u32,
    /// `auth.timeout_ms` of the daemon.
    #[arg(long, default_value_t = 8_000)]
    pub timeout_ms: u64,
    /// `session.limit_s` of those whose time ends in a steady run.
    #[arg(long, default_value_t = 30)]
    pub limit_s: u32,
    /// How many of a hundred clients are those.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub expiring: u32,
    /// How many of a hundred clients send a wrong password.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub wrong: u32,
    /// `max_sessions` of everybody's policy.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max_sessions: Option<u32>,
    /// What happens to a session beyond that.
    #[arg(long, default_value_t = OnLimit::Deny, requires = "max_sessions")]
    pub on_limit: OnLimit,
    /// Over how many seconds the logins of a storm come, evenly.
    #[arg(long, default_value_t = 0)]
    pub over_s: u32,
    /// Logins a second while all get connected before the measuring.
    #[arg(long, default_value_t = 2_000)]
    pub ramp: u32,
    /// Renegotiations a second in a steady run.
    #[arg(long, default_value_t = 0)]
    pub reauths: u32,
    /// Disconnects a second in a steady run; each is followed by a login.
    #[arg(long, default_value_t = 0)]
    pub disconnects: u32,
    /// The daemon starts anew once all are connected in a steady run: each client's first renegotiation is hashed then.
    #[arg(long)]
    pub restart: bool,
    /// `session.accounting_interval_s` of the daemon.
    #[arg(long, default_value_t = 30)]
    pub accounting_s: u32,
    /// `session.backstop_s` of the daemon.
    #[arg(long, default_value_t = 60)]
    pub backstop_s: u32,
    /// `auth.retry_backoff_s` of the daemon.
    #[arg(long, default_value_t = 10)]
    pub retry_backoff_s: u32,
    /// How many faults there are in a chaos run.
    #[arg(long, default_value_t = 10)]
    pub faults: usize,
    /// They are of every kind (stopped, slow, read-only, …), and not all kills.
    #[arg(long)]
    pub every_kind: bool,
    /// A soak: one fault in so many seconds, none of which kills the daemon, whose memory and descriptors are watched.
    #[arg(long)]
    pub period_s: Option<u32>,
    /// Repeats a chaos run's plan; without it CHAOS_SEED, or else by chance.
    #[arg(long)]
    pub seed: Option<u64>,
    /// The folder of the database's server, as `tests/rig/db.sh start` made it: it may be killed.
    #[arg(long)]
    pub database_folder: Option<PathBuf>,
    /// The folder of three servers that are one database, as `tests/rig/cluster.sh start` made them: they
    /// may be killed and parted. `--database` names all three.
    #[arg(long, conflicts_with = "database_folder")]
    pub cluster_folder: Option<PathBuf>,
    /// Clients that were denied for a moment come again when they were told to.
    #[arg(long)]
    pub retry: bool,
    /// The daemon; without it the `ovpn-warden` beside this program's folder.
    #[arg(long)]
    pub daemon: Option<PathBuf>,
    /// Another build of it, as an older one: it runs first, and whenever the daemon is replaced it is by the other of the two.
    #[arg(long)]
    pub before: Option<PathBuf>,
    /// An older build that makes the schema and runs until, in the midst of a chaos run, the schema is migrated under it and
    /// it is replaced for good.
    #[arg(long, conflicts_with = "before")]
    pub upgrade_from: Option<PathBuf>,
    /// Keep the daemon's folder (configuration, database, log).
    #[arg(long)]
    pub keep: bool,
    /// A bound on a number of the result, as `answers_per_s>=5000` or `kill_late_ms_p99<=50`.
    #[arg(long)]
    pub expect: Vec<String>,
}

impl Args {
    /// Memory and passes.
    pub const fn argon2(&self) -> (u32, u32) {
        if self.cheap { (8, 1) } else { (self.argon2_m_kib, self.argon2_t) }
    }

    /// Clients of all servers.
    pub fn all(&self) -> usize {
        self.servers as usize * self.clients as usize
    }
}
