//! What the keys do. Core.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    dialog::{Dialog, Intent, Step, edit},
    state::{Action, Mode, State},
};

/// Rows that a page has for PgUp and PgDn.
const PAGE: usize = 10;
/// Longest filter, in bytes.
const LONGEST: usize = 64;

/// Keys with what they do, for the help.
pub const HELP: [(&str, &str); 10] = [
    ("up down", "select; also PgUp PgDn Home End"),
    ("Enter", "all about the session"),
    ("k", "end the session"),
    ("e", "extend the session"),
    ("/", "filter by user, device or server"),
    ("Esc", "no filter; leave a dialog"),
    ("s S", "sort by the next or the former column"),
    ("r", "the other way round"),
    ("?", "this help"),
    ("q", "quit; also Ctrl-C"),
];

impl State {
    /// A key was pressed.
    pub fn handle_key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Some(Action::Quit);
        }
        // Ctrl-K is no k.
        let is_chord = key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
        if is_chord && !matches!(self.mode, Mode::Filter | Mode::Dialog(_)) {
            return None;
        }
        match std::mem::replace(&mut self.mode, Mode::List) {
            Mode::List => self.list_key(key),
            Mode::Filter => {
                self.filter_key(key);
                None
            }
            // Any key leaves.
            Mode::Help => None,
            Mode::Details => self.details_key(key),
            Mode::Dialog(mut dialog) => match dialog.handle_key(key, self.now.utc) {
                Step::Stay => {
                    self.mode = Mode::Dialog(dialog);
                    None
                }
                Step::Leave => {
                    self.say("nothing was done", false);
                    None
                }
                Step::Done(request) => {
                    let server = &request.server;
                    self.say(&format!("asking the daemon of server {server} …"), false);
                    Some(Action::Request(request))
                }
            },
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other keys do nothing")]
    fn list_key(&mut self, key: KeyEvent) -> Option<Action> {
        let last = self.listed().len().saturating_sub(1);
        match key.code {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Up => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Down => self.cursor = (self.cursor + 1).min(last),
            KeyCode::PageUp => self.cursor = self.cursor.saturating_sub(PAGE),
            KeyCode::PageDown => self.cursor = (self.cursor + PAGE).min(last),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = last,
            KeyCode::Char('k') => self.open(Intent::Kill),
            KeyCode::Char('e') => self.open(Intent::Extend),
            KeyCode::Enter if self.selected().is_some() => self.mode = Mode::Details,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Esc => {
                self.filter.clear();
                self.rearrange();
            }
            KeyCode::Char('s') => {
                (self.sort, self.is_reversed) = (self.sort.next(), false);
                self.rearrange();
            }
            KeyCode::Char('S') => {
                (self.sort, self.is_reversed) = (self.sort.previous(), false);
                self.rearrange();
            }
            KeyCode::Char('r') => {
                self.is_reversed = !self.is_reversed;
                self.rearrange();
            }
            _ => {}
        }
        None
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other keys do nothing")]
    fn filter_key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Enter => return,
            KeyCode::Esc => self.filter.clear(),
            _ => {
                edit(&mut self.filter, key, LONGEST);
                self.mode = Mode::Filter;
            }
        }
        self.rearrange();
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other keys do nothing")]
    fn details_key(&mut self, key: KeyEvent) -> Option<Action> {
        match key.code {
            KeyCode::Char('k' | 'e') => self.list_key(key),
            KeyCode::Up | KeyCode::Down => {
                self.list_key(key);
                self.mode = Mode::Details;
                None
            }
            _ => None,
        }
    }

    fn open(&mut self, intent: Intent) {
        match self.selected() {
            Some(row) => self.mode = Mode::Dialog(Dialog::new(intent, row)),
            None => self.say("no session is selected", false),
        }
    }

    /// Another order or another filter: its first row is what is looked for.
    fn rearrange(&mut self) {
        self.cursor = 0;
        self.arrange(None);
    }
}
