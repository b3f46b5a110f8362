//! What goes back when there is no page to show, and where a browser goes after a change.

use axum::{
    http::{StatusCode, Uri},
    response::{IntoResponse, Redirect, Response},
};
use maud::html;

use crate::{auth::service::trial::TrialError, store::StoreError};

use super::{access::Visitor, fields::link, pages};

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Fault {
    /// He has to log in first; then he goes there.
    LogIn(Option<String>),
    /// He may not.
    Forbidden(&'static str),
    /// What was sent cannot be used.
    Input(String),
    /// There is no such thing.
    Missing(String),
    /// The database.
    Store(StoreError),
    /// Something stored cannot be used.
    Damaged(String),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<TrialError> for Fault {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::Store(error) => Self::Store(error),
            TrialError::Secret(_) => Self::Damaged(error.to_string()),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::LogIn(next) => {
                let next = next.filter(|next| next != "/").unwrap_or_default();
                return Redirect::to(&link("/login", &[("next", &next)])).into_response();
            }
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, text.into()),
            Self::Input(text) => (StatusCode::BAD_REQUEST, text),
            Self::Missing(text) => (StatusCode::NOT_FOUND, text),
            Self::Damaged(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
            Self::Store(error) => (status_of(&error), error.to_string()),
        };
        (status, pages::fault(status, &text)).into_response()
    }
}

const fn status_of(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::NotFound(_) => StatusCode::NOT_FOUND,
        StoreError::Exists(_) | StoreError::InUse(_) | StoreError::Ended => StatusCode::CONFLICT,
        StoreError::Url(_)
        | StoreError::Refused(_)
        | StoreError::Schema(_)
        | StoreError::Corrupt(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a page says after a change: of a closed set, so that no link can put words into our mouth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    Killed,
    Extended,
    Queued,
    Approved,
    Blocked,
    Enabled,
    Disabled,
}

impl Note {
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Killed, "killed", "The session is being ended."),
        (Self::Extended, "extended", "The deadline has been moved."),
        (
            Self::Queued,
            "queued",
            "No daemon has taken the request yet; it stays queued. Is the daemon of that server running?",
        ),
        (Self::Approved, "approved", "The device may connect."),
        (
            Self::Blocked,
            "blocked",
            "The device may not connect; a session on it ends within seconds.",
        ),
        (Self::Enabled, "enabled", "The account is switched on."),
        (
            Self::Disabled,
            "disabled",
            "The account is switched off; its sessions end within seconds.",
        ),
    ];

    /// What it says, if there is one of that word.
    pub(super) fn text_of(word: &str) -> Option<&'static str> {
        Self::ALL.iter().find(|(_, known, _)| *known == word).map(|(_, _, text)| *text)
    }

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(note, _, _)| *note == self).map_or("", |(_, word, _)| word)
    }
}

/// Shows a page after a change; loading it again repeats nothing.
pub(super) fn done(path: &str, fields: &[(&str, &str)], note: Note) -> Response {
    let fields: Vec<_> = fields.iter().copied().chain([("note", note.word())]).collect();
    Redirect::to(&link(path, &fields)).into_response()
}

/// A path of this site, or the start: nobody is sent elsewhere.
pub fn inside(next: Option<&str>) -> &str {
    let is_ours = |next: &&str| {
        let rest = next.strip_prefix('/');
        rest.is_some_and(|rest| !rest.starts_with(['/', '\\']))
            // What `Uri` leaves out, as a fragment, it does not look at.
            && next.bytes().all(|byte| byte.is_ascii_graphic())
            && next.parse::<Uri>().is_ok()
    };
    next.filter(is_ours).unwrap_or("/")
}

/// Whoever may see pages is told that this one is not there.
pub(super) async fn no_such_page(_: Visitor) -> Fault {
    Fault::Missing("there is no such page".into())
}

/// A line after a change, if the address says so.
pub(super) fn note(word: Option<&str>) -> maud::Markup {
    let text = word.and_then(Note::text_of);
    html! { @if let Some(text) = text { p.note role="status" { (text) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for next in ["/", "/user?name=al%2Fice", "/sessions"] {
            assert_eq!(inside(Some(next)), next);
        }
        for bad in [
            "//evil.example",
            "/\\evil.example",
            // Browsers leave tabs out.
            "/\t/evil.example",
            "https://evil.example",
            "",
            "evil",
            "/\r\nx: y",
            "/#\r\nx: y",
        ] {
            assert_eq!(inside(Some(bad)), "/", "{bad:?}");
        }
        assert_eq!(inside(None), "/");
    }

    #[test]
    fn notes_are_ours() {
        for (note, word, text) in Note::ALL {
            assert_eq!((note.word(), Note::text_of(word)), (word, Some(text)));
        }
        assert_eq!(Note::text_of("you have won"), None);
    }
}
