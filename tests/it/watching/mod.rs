//! What other programs make of the log and of the metrics: fail2ban, Prometheus.

mod fail2ban;
mod prometheus;

pub use prometheus::{Query, queries};

use std::path::PathBuf;

/// Where `make test` keeps their programs.
pub fn tools() -> PathBuf {
    std::env::var_os("WARDEN_TEST_WATCH")
        .expect("no WARDEN_TEST_WATCH: run `make test`, or set it to the folder that tests/rig/watch.sh prints")
        .into()
}
