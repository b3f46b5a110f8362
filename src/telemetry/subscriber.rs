//! Where log lines go: to stdout, over a bounded queue and one thread, so that a pipe that
//! nobody reads never stalls a login.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusHandle;
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Registry, filter::Targets, prelude::*, reload};

use crate::config::{Log, LogFormat};

use super::{
    events::Event,
    line::{Form, Line},
    metrics,
};

/// Lines that may wait for a slow reader; beyond it they are dropped and counted.
const QUEUE: usize = 8_192;

/// How often lost lines are told.
const TELL_DROPPED: Duration = Duration::from_secs(10);

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
    dropped: Dropped,
    filter: reload::Handle<Targets, Registry>,
    /// For `/metrics`.
    pub metrics: PrometheusHandle,
    _guard: WorkerGuard,
}

impl Logging {
    /// Changes the least level of the lines, while running.
    pub fn set_level(&self, level: LevelFilter) {
        // It fails only when the subscriber is gone, and then nothing is logged any more.
        let _ = self.filter.reload(filter(level));
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.dropped.tell();
    }
}

/// Lines that were lost, and how many of them were told.
#[derive(Clone)]
struct Dropped {
    counter: ErrorCounter,
    told: Arc<AtomicUsize>,
}

impl Dropped {
    fn tell(&self) {
        let lost = self.counter.dropped_lines();
        let told = self.told.swap(lost, Ordering::Relaxed);
        if lost > told {
            Event::LogDropped { lines: lost - told }.emit();
        }
    }

    /// Tells now and then for as long as the runtime turns.
    fn watch(&self) {
        let (dropped, runtime) = (self.clone(), tokio::runtime::Handle::try_current());
        let Ok(runtime) = runtime else { return };
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(TELL_DROPPED).await;
                dropped.tell();
            }
        });
    }
}

/// Our own lines from `level` on. Of dependencies only warnings: what they say at lower levels is
/// not ours to answer for, and might hold a secret.
fn filter(level: LevelFilter) -> Targets {
    Targets::new().with_target("ovpn_warden", level).with_default(level.min(LevelFilter::WARN))
}

/// A fault of ours is a line like all others: where it was, and not its text, which may quote what
/// a client sent.
pub(super) fn tell_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(at, "a fault of ovpn-warden itself: please report it");
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
        LogFormat::Pretty => {
            // Whatever it is set to, unless to nothing: https://no-color.org
            let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|word| !word.is_empty());
            Form::Pretty(stdout.is_terminal() && !is_unwanted)
        }
        LogFormat::Compact => Form::Compact,
    };
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUE).lossy(true).finish(stdout);
    let dropped = Dropped { counter: writer.error_counter(), told: Arc::default() };
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let layer = tracing_subscriber::fmt::layer().event_format(Line::new(form)).with_writer(writer);
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(|_| LogError::Installed)?;
    dropped.watch();
    std::panic::set_hook(Box::new(tell_panic));
    Ok(Logging { dropped, filter: handle, metrics, _guard: guard })
}
