//! `session kill` and `session extend`: requests that the daemon with that session carries out.

use std::time::Duration;

use serde_json::json;

use crate::{
    cli::{Desk, exit::CliError, input, parse},
    store::{self, CommandAction, HandedOver, SessionRecord, Store, StoreError, extended},
    types::{Clock, ServerName, SessionId, Timestamp},
};

pub async fn kill(
    desk: &mut Desk,
    session: &SessionRecord,
    reason: Option<String>,
) -> Result<(), CliError> {
    let handled = carry_out(desk, session, &CommandAction::Kill { reason }).await?;
    let object = json!({
        "id": session.id.to_string(),
        "action": "kill",
        "handled_at": handled.to_string(),
    });
    desk.out.done("done", &object)
}

pub async fn extend(
    desk: &mut Desk,
    session: &SessionRecord,
    extension: &Extension,
) -> Result<(), CliError> {
    let now = desk.now();
    let deadline = match extension {
        Extension::By(duration) => extended(session.deadline, *duration, now),
        Extension::To(at) if *at > now => *at,
        Extension::To(at) => {
            return Err(CliError::usage(format!("{at} is past"))
                .or_next("`ovpn-warden session kill` ends a session now"));
        }
    };
    let handled = carry_out(desk, session, &CommandAction::Extend { deadline }).await?;
    let object = json!({
        "id": session.id.to_string(),
        "action": "extend",
        "deadline": deadline.to_string(),
        "handled_at": handled.to_string(),
    });
    desk.out.done(&format!("done: the session may last until {deadline}"), &object)
}

/// How a deadline moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// By so much.
    By(Duration),
    /// To this moment.
    To(Timestamp),
}

/// A duration or an absolute time.
pub fn extension(text: &str) -> Result<Extension, String> {
    // Only absolute times are read like this: the present does not matter.
    let at =
        || Timestamp::parse(text, Timestamp::default()).ok().filter(|_| !text.starts_with('+'));
    match (parse::duration(text), at()) {
        (Ok(duration), _) => Ok(Extension::By(duration)),
        (Err(_), Some(at)) => Ok(Extension::To(at)),
        (Err(error), None) => Err(format!("{error}; or a time as 2026-12-31 18:00 (UTC)")),
    }
}

/// Before anybody is asked whether it shall be ended.
pub fn may_end(session: &SessionRecord) -> Result<(), CliError> {
    match session.ended_at {
        Some(_) => Err(StoreError::Ended.into()),
        None => Ok(()),
    }
}

async fn carry_out(
    desk: &Desk,
    session: &SessionRecord,
    action: &CommandAction,
) -> Result<Timestamp, CliError> {
    hand_over(&*desk.store, desk.clock, session.id, &session.server, action).await
}

/// Stores a request in this operator's name and waits until a daemon has handled it.
pub async fn hand_over(
    store: &dyn Store,
    clock: Clock,
    session: SessionId,
    server: &ServerName,
    action: &CommandAction,
) -> Result<Timestamp, CliError> {
    let by = input::actor(clock.now().utc);
    match store::hand_over(store, clock, session, action, &by).await? {
        HandedOver::Handled(at) => Ok(at),
        HandedOver::Queued => Err(CliError::failed(format!(
            "no daemon has taken it yet; it stays queued (server `{server}`)"
        ))
        .or_next("look at it again with `ovpn-warden session show`; is the daemon running?")),
        HandedOver::Unknown(error) => {
            Err(CliError::from(error).or_next("the request was stored; a daemon may still take it"))
        }
    }
}

/// A text that may be shown to a client.
pub fn reason(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("empty".into()),
        1..=200 if text.chars().any(char::is_control) => Err("holds a control character".into()),
        1..=200 => Ok(text.to_owned()),
        _ => Err("longer than 200 bytes".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_a_duration_or_a_time() {
        let hour = Ok(Extension::By(Duration::from_secs(3_600)));
        assert_eq!((extension("1h"), extension("+1h")), (hour.clone(), hour));
        let at = Timestamp::from_secs(86_400);
        assert_eq!(extension("1970-01-02"), Ok(Extension::To(at)));
        assert_eq!(extension("1970-01-02T00:00:00Z"), Ok(Extension::To(at)));
        for bad in ["soon", "", "0", "-1h", "+"] {
            assert!(extension(bad).unwrap_err().contains("not a duration"), "{bad}");
        }
    }

    #[test]
    fn reasons_are_checked() {
        assert!(reason("see you").is_ok() && reason(&"x".repeat(200)).is_ok());
        assert!(reason("").is_err() && reason("a\nb").is_err());
        assert!(reason(&"x".repeat(201)).is_err());
    }
}
