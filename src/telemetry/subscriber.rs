//! Where log lines go: to stdout, over a bounded queue and one thread, so that a pipe that
//! nobody reads never stalls a login.

use std::io::IsTerminal;

use metrics_exporter_prometheus::PrometheusHandle;
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{filter::Targets, prelude::*};

use crate::config::{Log, LogFormat};

use super::{
    line::{Form, Line},
    metrics,
};

/// Lines that may wait for a slow reader; beyond it they are dropped and counted.
const QUEUE: usize = 8_192;

/// Why logging cannot start.
#[derive(Debug, Error)]
pub enum LogError {
    /// It runs already.
    #[error("a logger is installed already")]
    Installed,
    /// The metrics recorder cannot be made.
    #[error(transparent)]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Keeps logging alive; dropping it writes what waits.
pub struct Logging {
    dropped: ErrorCounter,
    /// For `/metrics`.
    pub metrics: PrometheusHandle,
    _guard: WorkerGuard,
}

impl Drop for Logging {
    fn drop(&mut self) {
        let dropped = self.dropped.dropped_lines();
        if dropped > 0 {
            tracing::warn!(
                event = "log.dropped",
                lines = dropped,
                "log lines were lost: nobody read them"
            );
        }
    }
}

/// Starts logging and counting for the whole process.
///
/// # Errors
/// [`LogError`] when either runs already.
pub fn init(log: &Log) -> Result<Logging, LogError> {
    let metrics = metrics::install()?;
    let stdout = std::io::stdout();
    let form = match log.format {
        LogFormat::Json => Form::Json,
        LogFormat::Pretty => Form::Pretty(stdout.is_terminal()),
        LogFormat::Compact => Form::Compact,
    };
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUE).lossy(true).finish(stdout);
    let dropped = writer.error_counter();
    let filter = Targets::new()
        .with_target("ovpn_warden", log.level)
        .with_default(log.level.min(LevelFilter::WARN));
    let layer = tracing_subscriber::fmt::layer().event_format(Line::new(form)).with_writer(writer);
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(|_| LogError::Installed)?;
    Ok(Logging { dropped, metrics, _guard: guard })
}
