//! `session …`: who is connected, who was, and ending or extending it.

pub(super) mod request;
pub(super) mod view;

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::{
    Desk,
    exit::{CliError, warn},
    input, parse,
};
use crate::{
    store::{SessionFilter, SessionRecord},
    types::{Cause, DeviceId, ServerName, SessionId, Username},
};
use view::{OpenView, PastView, SessionView};

/// `session …`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List open sessions
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
    },
    /// Show a session
    Show {
        /// Its id, or the first 6 characters or more of it
        id: String,
    },
    /// End a session; one whose server is gone for good is closed by `session close`
    Kill {
        /// Its id, or the first 6 characters or more of it
        id: String,
        /// Shown to the client
        #[arg(long, value_parser = request::reason)]
        reason: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Move a session's deadline
    Extend {
        /// Its id, or the first 6 characters or more of it
        id: String,
        /// Added to the deadline, or to now if there is none or it is past: 90s, 15m, 8h, +1d2h;
        /// or the new deadline: 2026-12-31, "2026-12-31 18:00" (UTC)
        #[arg(value_name = "DURATION", value_parser = request::extension)]
        extension: request::Extension,
    },
    /// Close the row of a session whose server is gone for good: it counts for limits until then
    Close {
        /// Its id, or the start of it
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List sessions, open and ended, newest first
    History(HistoryArgs),
}

/// Arguments of `session history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Of this user
    #[arg(long)]
    user: Option<Username>,
    /// Of this device
    #[arg(long, value_parser = parse::device)]
    device: Option<DeviceId>,
    /// On this server
    #[arg(long)]
    server: Option<ServerName>,
    /// Ended for this cause
    #[arg(long, value_parser = cause())]
    cause: Option<Cause>,
    /// Started at this time or later: 2026-12-31, "2026-12-31 18:00" (UTC) or -24h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Started before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print CSV
    #[arg(long)]
    csv: bool,
}

fn cause() -> impl TypedValueParser<Value = Cause> {
    PossibleValuesParser::new(Cause::ALL.iter().map(|cause| cause.as_str()))
        .try_map(|word| word.parse())
}

const MOST: u32 = 10_000;
/// A session that was not seen for so long is held by no daemon: byte counts are stored once an hour at least.
const UNHELD: std::time::Duration = std::time::Duration::from_secs(2 * 3_600);

pub async fn execute(desk: &mut Desk, command: SessionCommand) -> Result<(), CliError> {
    match command {
        SessionCommand::List { user, server, all } => {
            let filter =
                SessionFilter { user, server, ended: all, limit: MOST, ..Default::default() };
            let sessions = desk.store.sessions(&filter).await?;
            if sessions.len() >= MOST as usize {
                warn("only the newest 10000 sessions are listed; narrow it by --user or --server");
            }
            let views = SessionView::all(&sessions, desk.out.for_people());
            desk.out.list(&views.into_iter().map(OpenView).collect::<Vec<_>>())
        }
        SessionCommand::History(args) => history(desk, args).await,
        SessionCommand::Show { id } => {
            let session = find(desk, &id).await?;
            desk.out.show(&OpenView(SessionView::from(&session)))
        }
        SessionCommand::Kill { id, reason, yes } => {
            let session = find(desk, &id).await?;
            request::may_end(&session)?;
            let (user, server) = (&session.user, &session.server);
            let question = format!("End the session of `{user}` on server `{server}`?");
            input::confirm_at_terminal(&question, yes)?;
            request::kill(desk, &session, reason).await
        }
        SessionCommand::Close { id, yes } => {
            let session = find(desk, &id).await?;
            let question = format!(
                "Close the row of `{}` on server `{}`, last seen at {}?",
                session.user, session.server, session.updated_at
            );
            input::confirm(&question, yes)?;
            let before = desk.now().saturating_sub(UNHELD);
            let closed = desk.store.close_session(session.id, before, &desk.actor()).await.map_err(|error| {
                let next = "a session that was seen in the last two hours may be held by a daemon: `session kill` ends it";
                CliError::from(error).or_next(next)
            })?;
            let message = format!("session `{}` closed at {}", closed.id, closed.updated_at);
            desk.out.done(&message, &OpenView(SessionView::from(&closed)))
        }
        SessionCommand::Extend { id, extension } => {
            let session = find(desk, &id).await?;
            request::extend(desk, &session, &extension).await
        }
    }
}

async fn history(desk: &mut Desk, args: HistoryArgs) -> Result<(), CliError> {
    desk.out.want_csv(args.csv)?;
    let now = desk.now();
    let at = |flag, text: Option<String>| {
        text.map(|text| parse::past_moment(flag, &text, now)).transpose()
    };
    let filter = SessionFilter {
        user: args.user,
        server: args.server,
        device: args.device.map(|device| device.to_string()),
        cause: args.cause,
        since: at("--since", args.since)?,
        until: at("--until", args.until)?,
        ended: true,
        limit: args.limit,
    };
    let sessions = desk.store.sessions(&filter).await?;
    let views = SessionView::all(&sessions, desk.out.for_people());
    desk.out.list(&views.into_iter().map(PastView).collect::<Vec<_>>())
}

/// The session that a person means.
async fn find(desk: &Desk, text: &str) -> Result<SessionRecord, CliError> {
    let found = match Wanted::parse(text)? {
        Wanted::Id(id) => desk.store.session(id).await?.into_iter().collect(),
        Wanted::Prefix(prefix) => desk.store.sessions_by_prefix(&prefix).await?,
    };
    if let [first, second, ..] = found.as_slice() {
        return Err(CliError::failed(format!(
            "`{text}` names more than one session, as {} and {}",
            first.id, second.id
        ))
        .or_next("give more characters of the id"));
    }
    found.into_iter().next().ok_or_else(|| {
        CliError::failed(format!("session `{text}` not found")).or_next(
            "`ovpn-warden session list` shows open sessions, `session history` ended ones too",
        )
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Id(SessionId),
    Prefix(String),
}

impl Wanted {
    const SHORTEST: usize = 6;

    /// Reads an id or the beginning of one, with or without hyphens, in either case.
    fn parse(text: &str) -> Result<Self, CliError> {
        let bad = |why: &str| {
            CliError::usage(format!("`{text}` is not a session id: {why}"))
                .or_next("give the id or its first characters as `ovpn-warden session list` shows")
        };
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(bad("it has other characters than 0-9, a-f and -"));
        }
        match digits.len() {
            32 => digits.parse().map(Self::Id).map_err(|_| bad("it is no UUID")),
            Self::SHORTEST..32 => Ok(Self::Prefix(hyphenate(&digits.to_ascii_lowercase()))),
            0..Self::SHORTEST => Err(bad("at least 6 characters are needed")),
            33.. => Err(bad("it is too long")),
        }
    }
}

fn hyphenate(digits: &str) -> String {
    let mut text = String::with_capacity(36);
    for (position, digit) in digits.chars().enumerate() {
        if matches!(position, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_be_shortened_to_six_characters() {
        let prefix = |text| Wanted::parse(text);
        assert_eq!(prefix("0190AB"), Ok(Wanted::Prefix("0190ab".into())));
        assert_eq!(prefix("0190ab12-"), Ok(Wanted::Prefix("0190ab12".into())));
        assert_eq!(prefix("0190ab123456"), Ok(Wanted::Prefix("0190ab12-3456".into())));
        for bad in ["", "0190a", "----------", "0190ag", "0190ab%", &"0".repeat(33)] {
            assert_eq!(prefix(bad).unwrap_err().exit(), super::super::Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_whole_id_is_one() {
        let id = "0190ab12-3456-7abc-8def-0123456789ab";
        let wanted = Wanted::Id(id.parse().unwrap());
        assert_eq!(Wanted::parse(id).as_ref(), Ok(&wanted));
        assert_eq!(Wanted::parse(&id.replace('-', "").to_uppercase()).as_ref(), Ok(&wanted));
    }
}
