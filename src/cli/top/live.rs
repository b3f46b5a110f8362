//! The terminal while `top` runs: keys in, frames out, and everything as it was at the end.

use std::{sync::Arc, time::Duration};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{
    metrics::Scrape,
    poll::Sources,
    screen::render,
    state::{Action, Found, Request, State},
};
use crate::{
    cli::{
        exit::{CliError, Exit},
        session::request,
    },
    store::{CommandAction, Store},
    types::Clock,
};

/// What the tasks report.
enum Report {
    Sessions(Result<Found, String>),
    Scrape(Result<Scrape, String>),
    Done(Result<String, String>),
}

/// Looks that wait to be drawn.
const QUEUE: usize = 8;
/// Requests at a time: a held key floods nobody.
const REQUESTS: usize = 16;

/// Puts the terminal back, however this ends. A panic does so by the hook of `try_init`.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // A terminal that has gone cannot be put back.
        let _ = ratatui::try_restore();
    }
}

/// Draws until the operator leaves or a signal comes.
pub async fn run(
    state: &mut State,
    sources: Sources,
    clock: Clock,
    interval: Duration,
) -> Result<Exit, CliError> {
    let failed = |what: &'static str| {
        move |error: std::io::Error| CliError::failed(format!("{what}: {error}"))
    };
    // Before the terminal changes: a signal in between must not end the program.
    let mut end = Ends::new().map_err(failed("handling signals"))?;
    let restore = Restore;
    let mut terminal = ratatui::try_init().map_err(failed("setting the terminal up"))?;
    let (reports, mut reported) = mpsc::channel(QUEUE);
    // Ends its tasks when it is dropped.
    let mut tasks = JoinSet::new();
    tasks.spawn(watch_sessions(sources.clone(), interval, reports.clone()));
    tasks.spawn(watch_metrics(sources.clone(), interval, reports.clone()));
    let mut keys = EventStream::new();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        state.handle_time(clock.now());
        terminal.draw(|frame| render(state, frame)).map_err(failed("drawing"))?;
        tokio::select! {
            _ = end.signal() => break,
            _ = seconds.tick() => {}
            Some(report) = reported.recv() => match report {
                Report::Sessions(sessions) => state.handle_sessions(sessions, clock.now()),
                Report::Scrape(scrape) => state.handle_scrape(scrape, clock.now()),
                Report::Done(done) => state.handle_done(done, clock.now()),
            },
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) => match state.handle_key(key) {
                    None => {}
                    Some(Action::Quit) => break,
                    Some(Action::Request(_)) if tasks.len() >= REQUESTS => {
                        let text = "too many requests wait; try again in a moment";
                        state.handle_done(Err(text.into()), clock.now());
                    }
                    Some(Action::Request(request)) => {
                        let store = Arc::clone(&sources.store);
                        tasks.spawn(ask(store, clock, request, reports.clone()));
                    }
                },
                // A new size is drawn with the next frame.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(failed("reading the keyboard")(error)),
                None => break,
            },
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    drop(restore);
    Ok(Exit::Done)
}

/// The signals that end it.
struct Ends([tokio::signal::unix::Signal; 3]);

impl Ends {
    fn new() -> Result<Self, std::io::Error> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn signal(&mut self) {
        let [a, b, c] = &mut self.0;
        tokio::select! {
            _ = a.recv() => {}
            _ = b.recv() => {}
            _ = c.recv() => {}
        }
    }
}

async fn watch_sessions(sources: Sources, interval: Duration, reports: mpsc::Sender<Report>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if reports.send(Report::Sessions(sources.sessions().await)).await.is_err() {
            return;
        }
    }
}

async fn watch_metrics(sources: Sources, interval: Duration, reports: mpsc::Sender<Report>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if reports.send(Report::Scrape(sources.scrape().await)).await.is_err() {
            return;
        }
    }
}

/// As `session kill` and `session extend` do it.
async fn ask(store: Arc<dyn Store>, clock: Clock, request: Request, reports: mpsc::Sender<Report>) {
    let Request { session, server, user, action } = request;
    let done = request::hand_over(&*store, clock, session, &server, &action).await;
    let done = match (done, action) {
        (Ok(_), CommandAction::Extend { deadline }) => {
            Ok(format!("the session of {user} may last until {deadline}"))
        }
        (Ok(_), CommandAction::Kill { .. } | CommandAction::Replace) => {
            Ok(format!("the session of {user} is being ended"))
        }
        (Err(error), _) => Err(format!("{user}: {}", error.in_a_line())),
    };
    // Nobody waits for it any more when the terminal is closed.
    let _ = reports.send(Report::Done(done)).await;
}
