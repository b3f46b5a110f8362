//! `session`: who is connected, who was, and until when.

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;

use crate::{
    store::{CommandAction, SessionFilter, SessionRecord, SessionState, Store, StoreError},
    types::{Cause, Clock, DeviceId, ServerName, SessionId, Timestamp, Username, parse_duration},
};

use super::{
    context::{self, Globals},
    exit::{CliError, Outcome},
    output::{Output, cell},
};

/// How long a running daemon may take to handle a request.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at whether it has.
const GLANCE: Duration = Duration::from_millis(100);
/// Shortest prefix of an id that is taken for one.
const SHORTEST_PREFIX: usize = 6;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List live sessions
    List {
        /// Of this user
        #[arg(long)]
        user: Option<Username>,
        /// On this server
        #[arg(long)]
        server: Option<ServerName>,
        /// Ended ones too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one session
    Show {
        /// Its id, or how it begins
        id: String,
    },
    /// End a session now
    Kill {
        /// Its id, or how it begins
        id: String,
        /// Shown to the client
        #[arg(long)]
        reason: Option<String>,
    },
    /// Move a session's deadline
    Extend {
        /// Its id, or how it begins
        id: String,
        /// As 30m or 2h; added to the deadline, or to now where there is none
        duration: String,
    },
    /// List sessions, ended ones too, by what they were
    History {
        /// Of this user
        #[arg(long)]
        user: Option<Username>,
        /// Of this device
        #[arg(long)]
        device: Option<String>,
        /// On this server
        #[arg(long)]
        server: Option<ServerName>,
        /// That ended for this cause
        #[arg(long)]
        cause: Option<Cause>,
        /// Started at or after
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Started before
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
}

#[derive(Debug, Serialize)]
struct Row {
    id: String,
    user: String,
    server: String,
    state: &'static str,
    cause: Option<&'static str>,
    duration_s: u64,
    bytes_received: u64,
    bytes_sent: u64,
    device: Option<String>,
    common_name: Option<String>,
    client_ip: Option<String>,
    vpn_ip: Option<String>,
    client_version: Option<String>,
    client_platform: Option<String>,
    started_at: String,
    ended_at: Option<String>,
    deadline: Option<String>,
    deadline_reason: Option<&'static str>,
}

impl Row {
    fn new(session: SessionRecord, now: Timestamp) -> Self {
        let duration_s = match session.state {
            SessionState::Closed => session.duration_s(),
            SessionState::Pending | SessionState::Active | SessionState::Closing => {
                now.saturating_since(session.started_at).as_secs()
            }
        };
        Self {
            id: session.id.to_string(),
            user: session.user.to_string(),
            server: session.server.to_string(),
            state: session.state.as_str(),
            cause: session.cause.map(Cause::as_str),
            duration_s,
            bytes_received: session.bytes_received,
            bytes_sent: session.bytes_sent,
            device: session.device.map(|device| device.to_string()),
            common_name: session.common_name,
            client_ip: session.client_ip.map(|ip| ip.to_string()),
            vpn_ip: session.vpn_ip,
            client_version: session.client_version,
            client_platform: session.client_platform,
            started_at: session.started_at.to_string(),
            ended_at: session.ended_at.map(|at| at.to_string()),
            deadline: session.deadline.map(|at| at.to_string()),
            deadline_reason: session.deadline_reason.map(Cause::as_str),
        }
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("id", self.id.clone()),
            ("user", cell(Some(&self.user))),
            ("server", self.server.clone()),
            ("state", self.state.to_owned()),
            ("cause", cell(self.cause)),
            ("started", self.started_at.clone()),
            ("ended", cell(self.ended_at.as_deref())),
            ("duration", format!("{} s", self.duration_s)),
            ("deadline", cell(self.deadline.as_deref())),
            ("set by", cell(self.deadline_reason)),
            ("device", cell(self.device.as_deref())),
            ("certificate", cell(self.common_name.as_deref())),
            ("from", cell(self.client_ip.as_deref())),
            ("vpn address", cell(self.vpn_ip.as_deref())),
            (
                "client",
                format!(
                    "{} {}",
                    cell(self.client_platform.as_deref()),
                    cell(self.client_version.as_deref())
                ),
            ),
            ("received", format!("{} bytes", self.bytes_received)),
            ("sent", format!("{} bytes", self.bytes_sent)),
        ]
    }
}

pub(super) fn execute(
    globals: &Globals,
    command: Command,
    output: Output,
) -> Result<Outcome, CliError> {
    let config = context::config(globals)?;
    context::block_on(async {
        let store = context::open_ready(&config).await?;
        let result = perform(&*store, command, output).await;
        store.close().await;
        result
    })?
}

async fn perform(store: &dyn Store, command: Command, output: Output) -> Result<Outcome, CliError> {
    let clock = Clock::new();
    let now = clock.now().utc;
    match command {
        Command::List { user, server, all, limit } => {
            let filter = SessionFilter { user, server, ended: all, limit, ..Default::default() };
            list(store, &filter, now, output).await
        }
        Command::History { user, device, server, cause, since, until, limit } => {
            let time = |text: Option<String>| {
                text.map(|text| Timestamp::parse(&text, now))
                    .transpose()
                    .map_err(|error| CliError::usage(error.to_string()))
            };
            // An id that is none finds nothing, which is the answer.
            let device =
                device.map(|text| DeviceId::parse(&text).map_or(text, |id| id.to_string()));
            let (since, until) = (time(since)?, time(until)?);
            let filter =
                SessionFilter { user, server, device, cause, since, until, ended: true, limit };
            list(store, &filter, now, output).await
        }
        Command::Show { id } => {
            let row = Row::new(find(store, &id).await?, now);
            output.object(&row, &row.fields())?;
            Ok(Outcome::Done)
        }
        Command::Kill { id, reason } => {
            let session = find(store, &id).await?;
            let reason = reason.filter(|reason| !reason.is_empty());
            if reason.as_ref().is_some_and(|reason| reason.len() > 200) {
                return Err(CliError::usage("the reason is longer than 200 bytes"));
            }
            let action = CommandAction::Kill { reason };
            let done = format!("session {} of {} is being ended", session.id, session.user);
            request(store, session.id, &action, &clock, &done, output).await
        }
        Command::Extend { id, duration } => {
            let Some(duration) = parse_duration(&duration).filter(|d| !d.is_zero()) else {
                return Err(CliError::usage(format!(
                    "`{duration}` is no duration: write it as 30m or 2h"
                )));
            };
            let session = find(store, &id).await?;
            let from = session.deadline.unwrap_or(now).max(now);
            let deadline = from.saturating_add(duration);
            let action = CommandAction::Extend { deadline };
            let done = format!("session {} of {} ends at {deadline}", session.id, session.user);
            request(store, session.id, &action, &clock, &done, output).await
        }
    }
}

async fn list(
    store: &dyn Store,
    filter: &SessionFilter,
    now: Timestamp,
    output: Output,
) -> Result<Outcome, CliError> {
    let sessions = store.sessions(filter).await?;
    context::note_limit(sessions.len(), filter.limit, "narrow it down, or raise --limit");
    let rows: Vec<Row> = sessions.into_iter().map(|session| Row::new(session, now)).collect();
    let columns = [
        "ID", "USER", "SERVER", "STATE", "CAUSE", "STARTED", "DURATION", "DEADLINE", "VPN IP",
        "DEVICE",
    ];
    output.list(&columns, &rows, |row| {
        vec![
            row.id.clone(),
            cell(Some(&row.user)),
            row.server.clone(),
            row.state.to_owned(),
            cell(row.cause),
            row.started_at.clone(),
            format!("{} s", row.duration_s),
            cell(row.deadline.as_deref()),
            cell(row.vpn_ip.as_deref()),
            cell(row.device.as_deref()),
        ]
    })?;
    Ok(Outcome::Done)
}

/// A session by its id, or by how its id begins.
async fn find(store: &dyn Store, text: &str) -> Result<SessionRecord, CliError> {
    let missing = || StoreError::NotFound(format!("session `{text}`"));
    if let Ok(id) = text.parse::<SessionId>() {
        return Ok(store.session(id).await?.ok_or_else(missing)?);
    }
    let is_prefix = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if text.len() < SHORTEST_PREFIX || !is_prefix {
        return Err(CliError::usage(format!(
            "`{text}` is no session id: give it whole, or its first {SHORTEST_PREFIX} or more characters"
        )));
    }
    let mut found = store.sessions_by_prefix(&text.to_ascii_lowercase()).await?;
    match (found.pop(), found.is_empty()) {
        (Some(session), true) => Ok(session),
        (Some(_), false) => {
            Err(CliError::usage(format!("`{text}` begins several session ids: give more of it")))
        }
        (None, _) => Err(missing().into()),
    }
}

/// Hands a request to the daemon that holds the session, through the database.
async fn request(
    store: &dyn Store,
    id: SessionId,
    action: &CommandAction,
    clock: &Clock,
    done: &str,
    output: Output,
) -> Result<Outcome, CliError> {
    let command = store.request(id, action, &context::actor(clock)).await?;
    let started = clock.now().mono;
    while clock.now().mono - started < PATIENCE {
        if store.command_handled(command).await?.is_some() {
            output.done(done)?;
            return Ok(Outcome::Done);
        }
        tokio::time::sleep(GLANCE).await;
    }
    Err(CliError::failed(
        "no daemon has taken the request yet; it stays queued until one attaches to that server",
    ))
}
