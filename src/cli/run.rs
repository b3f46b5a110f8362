//! `run`: the daemon in the foreground, as systemd starts it.

use std::{path::Path, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    console::{self, Console},
    daemon::{self, Daemon},
    store::Store,
    telemetry::{self, Logging, events::Event, http::Readiness},
    types::Clock,
};

use super::{
    Globals, RunArgs, context,
    exit::{CliError, Exit},
    gate,
};

/// Serves until SIGTERM or SIGINT.
pub(super) fn execute(globals: &Globals, args: RunArgs) -> Result<Exit, CliError> {
    let config = context::config(globals)?;
    if config.servers.is_empty() {
        return Err(CliError::usage("no server is configured")
            .or_next("add a [[servers]] section with name and management to the configuration"));
    }
    // It begins with the runtime's timers: `daemon/poller` counts on it.
    let clock = Clock::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("cannot start: {error}")))?;
    let served = runtime.block_on(serve(globals, config, args.record.as_deref(), clock));
    // Nobody waits for a name that is still being looked up.
    runtime.shutdown_background();
    served
}

async fn serve(
    globals: &Globals,
    config: Config,
    record: Option<&Path>,
    clock: Clock,
) -> Result<Exit, CliError> {
    if let Some(dir) = record {
        std::fs::create_dir_all(dir).map_err(|error| {
            CliError::failed(format!("cannot make {} for --record: {error}", dir.display()))
                .or_next("name a folder that this user may write to")
        })?;
    }
    let logging = telemetry::init(&config.log)
        .map_err(|error| CliError::failed(format!("cannot log: {error}")))?;
    let store = context::open(&config)?;
    check_schema(&config, &store).await?;
    let readiness = Arc::new(Readiness::default());
    let stop = CancellationToken::new();
    let mut terminate = handler(SignalKind::terminate())?;
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut hangup = handler(SignalKind::hangup())?;
    let http = match config.http.listen {
        Some(listen) => Some(
            telemetry::http::serve(
                listen,
                logging.metrics.clone(),
                Arc::clone(&readiness),
                stop.clone(),
            )
            .await
            .map_err(|error| {
                CliError::failed(format!(
                    "cannot listen on {listen}: {error}; change [http] listen, or set it to \"\""
                ))
            })?,
        ),
        None => None,
    };
    let console = serve_console(&config, &store, &readiness, clock, &stop).await?;
    let daemon = Daemon::prepare(&config, store, readiness, clock, stop.clone(), record)
        .await
        .map_err(|error| CliError::failed(error.to_string()))?;
    let servers: Vec<_> = config.servers.iter().map(|server| server.name.clone()).collect();
    Event::DaemonStarted { servers: servers.clone() }.emit();
    notify(&[NotifyState::Ready]);
    let watchdog = tokio::spawn(watchdog(stop.clone()));
    let upkeep = tokio::spawn(telemetry::upkeep(logging.metrics.clone(), stop.clone()));
    let daemon = daemon.run();
    tokio::pin!(daemon);
    let signal = loop {
        tokio::select! {
            () = &mut daemon => return Err(CliError::failed("the daemon ended by itself")),
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => reload(globals, &logging),
        }
    };
    notify(&[NotifyState::Stopping]);
    Event::DaemonStopping { servers, signal }.emit();
    stop.cancel();
    daemon.await;
    // A task that was cancelled or panicked has nothing left to do.
    let _ = tokio::join!(watchdog, upkeep);
    for served in http.into_iter().chain(console) {
        let _ = served.await;
    }
    drop(logging);
    Ok(Exit::Done)
}

/// Serves the web console, if it is switched on.
async fn serve_console(
    config: &Config,
    store: &Arc<dyn Store>,
    readiness: &Arc<Readiness>,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<Option<JoinHandle<()>>, CliError> {
    let Some(wanted) = &config.console else { return Ok(None) };
    let console = Console {
        store: Arc::clone(store),
        servers: config.servers.iter().map(|server| server.name.clone()).collect(),
        defaults: daemon::defaults(config),
        schemes: config.auth.password_schemes.clone(),
        readiness: Arc::clone(readiness),
        clock,
    };
    let served = console::serve(wanted, console, stop.clone()).await;
    served.map(Some).map_err(|error| {
        CliError::failed(format!("cannot serve the console at {}: {error}", wanted.listen))
            .or_next("change [console] listen, or set it to \"\"")
    })
}

/// SIGHUP: the level of the log is read anew. Every other key counts from the next start.
fn reload(globals: &Globals, logging: &Logging) {
    match context::config(globals) {
        Ok(config) => {
            logging.set_level(config.log.level);
            let servers = config.servers.into_iter().map(|server| server.name).collect();
            Event::ConfigReloaded { servers }.emit();
        }
        Err(error) => Event::ConfigRejected { error: error.to_string() }.emit(),
    }
}

/// A schema that this build does not know stops the start. A database that does not answer does
/// not: the daemon then denies logins for a while and leaves running clients alone.
async fn check_schema(config: &Config, store: &Arc<dyn Store>) -> Result<(), CliError> {
    match gate::make_ready(&**store, context::is_embedded(config)).await {
        Err(error) if error.exit() == Exit::Unreachable => Ok(()),
        checked => checked,
    }
}

fn handler(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| CliError::failed(format!("cannot handle signals: {error}")))
}

/// Tells systemd, if it asked to be told.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Tells systemd that the runtime turns, as often as it wants to hear it.
async fn watchdog(stop: CancellationToken) {
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) {
        return;
    }
    let mut ticks = tokio::time::interval(Duration::from_micros(micros / 2));
    loop {
        tokio::select! {
            _ = ticks.tick() => notify(&[NotifyState::Watchdog]),
            () = stop.cancelled() => return,
        }
    }
}
