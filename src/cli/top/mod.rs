//! `top`: links, logins and sessions as they are now, and ending or extending a session.
//!
//! The core is `state`, `keys` and `screen`: looks, keys and the time in, frames and actions out.
//! The shell is `poll`, which asks the database and `/metrics`, and `live`, which owns the terminal.

mod dialog;
mod history;
mod keys;
mod live;
mod metrics;
pub(super) mod poll;
mod screen;
mod snapshot;
mod state;
mod symbols;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod traffic;

use std::{io::IsTerminal, time::Duration};

use clap::Args;

use super::{
    Globals, context,
    exit::{CliError, Exit},
    explain, gate,
    output::Output,
    parse, runtime,
};
use crate::{
    config::Config,
    types::{Clock, ServerName},
};
use poll::Sources;
use snapshot::Snapshot;
use state::{Look, Setup, State};

/// Arguments of `top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// Look this often: 1s to 1h
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// This server only
    #[arg(long)]
    server: Option<ServerName>,
    /// Print one frame as plain text and end; it takes one interval, for rates need two looks
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse::duration(text)?;
    match interval <= Duration::from_secs(3_600) {
        true => Ok(interval),
        false => Err("it is at most 1h".into()),
    }
}

/// Columns of a frame that no terminal bounds.
const WIDTH: u16 = 120;

pub(super) fn execute(globals: &Globals, args: TopArgs) -> Result<Exit, CliError> {
    let config = context::config(globals)?;
    if let Some(server) = &args.server {
        explain::known(server, &config)?;
    }
    let is_live = !args.once && !globals.json;
    if is_live && !std::io::stdout().is_terminal() {
        return Err(CliError::usage("standard output is no terminal")
            .or_next("print one frame with --once, or one snapshot with --json"));
    }
    let setup = Setup {
        look: look(|name| std::env::var(name).ok()),
        server: args.server.clone(),
        servers: config.servers.iter().map(|server| server.name.clone()).collect(),
        accounting: config.session.accounting_interval,
    };
    runtime()?.block_on(async {
        let store = context::open(&config)?;
        let clock = Clock::new();
        let mut state = State::new(setup, clock.now());
        let watched = async {
            check_schema(&config, &*store).await?;
            let sources = Sources::new(store.clone(), args.server.clone(), &config);
            if is_live {
                return live::run(&mut state, sources, clock, args.interval).await;
            }
            look_twice(&mut state, &sources, clock, args.interval).await;
            print(&state, &mut Output::new(globals.json, false))
        };
        let watched = watched.await;
        store.close().await;
        watched
    })
}

/// A schema that this build does not know is refused. A database that is away may come back.
async fn check_schema(config: &Config, store: &dyn crate::store::Store) -> Result<(), CliError> {
    match gate::make_ready(store, context::is_embedded(config)).await {
        Err(error) if error.exit() == Exit::Unreachable => Ok(()),
        checked => checked,
    }
}

/// A look is no rate.
async fn look_twice(state: &mut State, sources: &Sources, clock: Clock, interval: Duration) {
    for is_last in [false, true] {
        let scrape = sources.scrape().await;
        state.handle_scrape(scrape, clock.now());
        let sessions = sources.sessions().await;
        state.handle_sessions(sessions, clock.now());
        let is_away = state.metrics.error.is_some() && state.database.error.is_some();
        if is_last || is_away {
            return;
        }
        tokio::time::sleep(interval).await;
    }
}

fn print(state: &State, out: &mut Output) -> Result<Exit, CliError> {
    if out.is_json() {
        out.json(&Snapshot::from(state))?;
    } else {
        let columns = crossterm::terminal::size().ok().filter(|_| std::io::stdout().is_terminal());
        let width = columns.map_or(WIDTH, |(columns, _)| columns.max(1));
        for line in snapshot::frame(state, width) {
            out.line(&line)?;
        }
    }
    Ok(if state.database.error.is_some() { Exit::Unreachable } else { Exit::Done })
}

/// What the environment says of the terminal: <https://no-color.org>, and POSIX on locales.
fn look(variable: impl Fn(&str) -> Option<String>) -> Look {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    Look {
        color: set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb"),
        unicode: locale.contains("utf-8") || locale.contains("utf8"),
    }
}
