//! Ending or extending a session: first what, then whether. Core.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::state::{Request, Row};
use crate::{
    cli::{parse, session::request},
    store::{CommandAction, extended},
    types::{ServerName, SessionId, Timestamp},
};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    Kill,
    Extend,
}

/// A question about one session, which stays that one whatever the list does.
#[derive(Debug, Clone, PartialEq)]
pub struct Dialog {
    pub intent: Intent,
    pub id: SessionId,
    pub user: String,
    pub server: ServerName,
    pub deadline: Option<Timestamp>,
    /// A reason, or a duration.
    pub text: String,
    /// What is wrong with it.
    pub error: Option<String>,
    /// Filled in; waits for the yes.
    pub ready: Option<CommandAction>,
}

/// What a key came to.
#[derive(Debug, PartialEq)]
pub enum Step {
    Stay,
    Leave,
    Done(Request),
}

/// Longest text that is taken, in bytes.
const LONGEST: usize = 200;

impl Dialog {
    pub fn new(intent: Intent, row: &Row) -> Self {
        let session = &row.session;
        Self {
            intent,
            id: session.id,
            user: session.user.to_string(),
            server: session.server.clone(),
            deadline: session.deadline,
            text: match intent {
                Intent::Kill => String::new(),
                Intent::Extend => "1h".into(),
            },
            error: None,
            ready: None,
        }
    }

    pub fn handle_key(&mut self, key: KeyEvent, now: Timestamp) -> Step {
        match (&self.ready, key.code) {
            (_, KeyCode::Esc) => return Step::Leave,
            (Some(action), KeyCode::Char('y' | 'Y')) => {
                return Step::Done(Request {
                    session: self.id,
                    server: self.server.clone(),
                    user: self.user.clone(),
                    action: action.clone(),
                });
            }
            (Some(_), KeyCode::Char('n' | 'N')) => return Step::Leave,
            // Nothing but a yes is one.
            (Some(_), _) => {}
            (None, KeyCode::Enter) => match self.action(now) {
                Ok(action) => self.ready = Some(action),
                Err(error) => self.error = Some(error),
            },
            (None, _) => {
                if edit(&mut self.text, key, LONGEST) {
                    self.error = None;
                }
            }
        }
        Step::Stay
    }

    fn action(&self, now: Timestamp) -> Result<CommandAction, String> {
        match self.intent {
            Intent::Kill if self.text.is_empty() => Ok(CommandAction::Kill { reason: None }),
            Intent::Kill => Ok(CommandAction::Kill { reason: Some(request::reason(&self.text)?) }),
            Intent::Extend => {
                let duration = parse::duration(&self.text)?;
                let deadline = extended(self.deadline, duration, now);
                Ok(CommandAction::Extend { deadline })
            }
        }
    }
}

/// Types into a line; true when that changed it.
#[expect(clippy::wildcard_enum_match_arm, reason = "other keys type nothing")]
pub fn edit(text: &mut String, key: KeyEvent, longest: usize) -> bool {
    match key.code {
        KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => text.clear(),
        KeyCode::Char(c)
            if !c.is_control()
                && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
                && text.len() + c.len_utf8() <= longest =>
        {
            text.push(c);
        }
        KeyCode::Backspace => drop(text.pop()),
        _ => return false,
    }
    true
}
