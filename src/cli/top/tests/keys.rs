//! Keys in, state and actions out.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::*;
use crate::{
    cli::top::{
        dialog::Dialog,
        state::{Action, Mode, Sort},
    },
    store::CommandAction,
};

fn press(state: &mut State, code: KeyCode) -> Option<Action> {
    state.handle_key(KeyEvent::new(code, KeyModifiers::NONE))
}

/// Types; `\n` is Enter, `\u{1b}` Esc, `\u{8}` Backspace.
fn typed(state: &mut State, keys: &str) -> Option<Action> {
    keys.chars().fold(None, |_, c| {
        press(
            state,
            match c {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                '\u{8}' => KeyCode::Backspace,
                c => KeyCode::Char(c),
            },
        )
    })
}

fn users(state: &State) -> Vec<&str> {
    state.listed().map(|row| row.session.user.as_str()).collect()
}

fn selected(state: &State) -> &str {
    state.selected().unwrap().session.user.as_str()
}

fn dialog(state: &State) -> &Dialog {
    let Mode::Dialog(dialog) = &state.mode else { panic!("{:?}", state.mode) };
    dialog
}

#[test]
fn who_ends_first_is_first_and_the_order_can_be_changed() {
    let mut state = watched(COLOR);
    assert_eq!(users(&state), ["bob", "alice", "dave@example.org", "carol"]);
    for (sort, first) in [
        (Sort::User, "alice"),
        (Sort::Device, "alice"),
        (Sort::Server, "bob"),
        (Sort::Rate, "alice"),
        (Sort::Bytes, "alice"),
        (Sort::Started, "alice"),
        (Sort::Left, "bob"),
    ] {
        typed(&mut state, "s");
        assert_eq!((state.sort, users(&state)[0]), (sort, first));
    }
    typed(&mut state, "Sr");
    assert_eq!((state.sort, users(&state)[0]), (Sort::Started, "dave@example.org"));
}

#[test]
fn the_cursor_stays_on_its_session_and_within_the_list() {
    let mut state = watched(COLOR);
    press(&mut state, KeyCode::Down);
    assert_eq!(selected(&state), "alice");
    // One comes and stands before it.
    let erin = session(9, "erin", "udp-1194", Some(1));
    state.handle_sessions(found([four(), vec![erin.clone()]].concat()), now(121));
    assert_eq!((selected(&state), state.cursor), ("alice", 2));
    state.handle_sessions(found(four()), now(122));
    assert_eq!((selected(&state), state.cursor), ("alice", 1));
    typed(&mut state, "ss");
    assert_eq!(state.cursor, 0, "another order begins at its first");
    press(&mut state, KeyCode::Up);
    assert_eq!((selected(&state), state.cursor), ("alice", 0));
    typed(&mut state, "SS");
    assert_eq!(selected(&state), "bob");
    state.handle_sessions(found([four(), vec![erin]].concat()), now(123));
    assert_eq!(selected(&state), "erin", "who has not moved sees the first");
    state.handle_sessions(found(four()), now(124));
    for (key, cursor) in [
        (KeyCode::End, 3),
        (KeyCode::Down, 3),
        (KeyCode::PageDown, 3),
        (KeyCode::PageUp, 0),
        (KeyCode::PageDown, 3),
        (KeyCode::Home, 0),
        (KeyCode::End, 3),
    ] {
        press(&mut state, key);
        assert_eq!(state.cursor, cursor, "{key:?}");
    }
    state.handle_sessions(found(vec![session(9, "erin", "udp-1194", None)]), now(130));
    assert_eq!(selected(&state), "erin");
    state.handle_sessions(found(Vec::new()), now(131));
    assert!(state.selected().is_none());
    for keys in ["k", "e", "\n", "\u{1b}"] {
        assert_eq!(typed(&mut state, keys), None);
        assert_eq!(state.mode, Mode::List, "{keys:?}: nothing is there to work on");
    }
}

#[test]
fn a_filter_is_typed_and_finds_users_devices_and_servers() {
    let mut state = watched(COLOR);
    typed(&mut state, "/ALI");
    assert_eq!((users(&state), &state.mode), (vec!["alice"], &Mode::Filter));
    typed(&mut state, "\u{8}\u{8}\u{8}tcp\n");
    assert_eq!((users(&state), &state.mode), (vec!["bob"], &Mode::List));
    typed(&mut state, "\u{1b}/4d:03");
    assert_eq!(users(&state), ["carol"]);
    // Letters that are keys elsewhere are letters here.
    typed(&mut state, "\u{1b}/qke");
    assert_eq!((state.filter.as_str(), users(&state).len()), ("qke", 0));
    typed(&mut state, "\u{1b}");
    assert_eq!((state.filter.as_str(), users(&state).len()), ("", 4));
    typed(&mut state, "/");
    for _ in 0..500 {
        typed(&mut state, "é");
    }
    assert_eq!(state.filter.len(), 64);
}

#[test]
fn a_session_is_ended_only_after_a_yes() {
    let mut state = watched(COLOR);
    for keys in ["k\n\n", "k\n ", "k\nq", "k\nn", "k\u{1b}", "k\n\u{1b}", "ky\u{1b}"] {
        assert_eq!(typed(&mut state, keys), None, "{keys:?}");
        typed(&mut state, "\u{1b}\u{1b}");
        assert_eq!(state.mode, Mode::List);
    }
    typed(&mut state, "kgo home\n");
    // What is ended is what was selected, whatever comes in between.
    state.handle_sessions(found(vec![session(9, "erin", "udp-1194", Some(1))]), now(130));
    let Some(Action::Request(request)) = typed(&mut state, "y") else { panic!("no request") };
    assert_eq!((request.user.as_str(), request.server.as_str()), ("bob", "tcp-443"));
    assert_eq!(request.session, four()[1].id);
    assert_eq!(request.action, CommandAction::Kill { reason: Some("go home".into()) });
    assert_eq!(state.mode, Mode::List);
    let Some(Action::Request(request)) = typed(&mut state, "k\ny") else { panic!("no request") };
    assert_eq!(request.action, CommandAction::Kill { reason: None });
}

#[test]
fn a_session_is_extended_by_what_was_typed() {
    let mut state = watched(COLOR);
    typed(&mut state, "e\u{8}\u{8}soon\n");
    assert!(dialog(&state).error.as_ref().unwrap().contains("not a duration"));
    assert!(dialog(&state).ready.is_none());
    typed(&mut state, "\u{8}\u{8}\u{8}\u{8}2h\n");
    let Some(Action::Request(request)) = typed(&mut state, "y") else { panic!("no request") };
    // bob's deadline is over by now, so it counts from now.
    let deadline = now(120 + 7_200).utc;
    assert_eq!(request.action, CommandAction::Extend { deadline });
}

#[test]
fn what_is_typed_has_bounds() {
    let mut state = watched(COLOR);
    typed(&mut state, "k");
    typed(&mut state, &"x".repeat(500));
    assert_eq!(dialog(&state).text.len(), 200);
    state.handle_key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
    assert_eq!(dialog(&state).text, "");
    state.handle_key(KeyEvent::new(KeyCode::Char('\u{7}'), KeyModifiers::NONE));
    state.handle_key(KeyEvent::new(KeyCode::Char('a'), KeyModifiers::ALT));
    assert_eq!(dialog(&state).text, "");
}

#[test]
fn leaving_is_q_in_the_list_and_ctrl_c_everywhere() {
    let ctrl = |state: &mut State, c| {
        state.handle_key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL))
    };
    for keys in ["", "/", "?", "\n", "k", "e\n"] {
        let mut state = watched(COLOR);
        typed(&mut state, keys);
        assert_eq!(ctrl(&mut state, 'c'), Some(Action::Quit), "{keys:?}");
    }
    let mut state = watched(COLOR);
    assert_eq!(typed(&mut state, "q"), Some(Action::Quit));
    assert_eq!(ctrl(&mut state, 'k'), None);
    assert_eq!(state.mode, Mode::List, "Ctrl-K is no k");
    let released = KeyEvent {
        kind: KeyEventKind::Release,
        ..KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE)
    };
    assert_eq!(state.handle_key(released), None);
}

#[test]
fn windows_open_and_close() {
    let mut state = watched(COLOR);
    typed(&mut state, "?");
    assert_eq!(state.mode, Mode::Help);
    typed(&mut state, "q");
    assert_eq!(state.mode, Mode::List);
    typed(&mut state, "\n");
    assert_eq!((&state.mode, selected(&state)), (&Mode::Details, "bob"));
    press(&mut state, KeyCode::Down);
    assert_eq!((&state.mode, selected(&state)), (&Mode::Details, "alice"));
    typed(&mut state, "e");
    assert_eq!(dialog(&state).user, "alice");
}

#[test]
fn an_answer_is_told_for_a_while() {
    let mut state = watched(COLOR);
    state.handle_done(Err("bob: no daemon\u{1b}".into()), now(130));
    let note = state.note.clone().unwrap();
    assert_eq!((note.text.as_str(), note.is_bad), ("bob: no daemon\\u{1b}", true));
    state.handle_time(now(144));
    assert!(state.note.is_some());
    state.handle_time(now(145));
    assert_eq!(state.note, None);
}

#[test]
fn rates_come_from_byte_counts_as_they_are_stored() {
    let mut state = empty(COLOR);
    let is = session(1, "alice", "udp-1194", None);
    let rate = |state: &State| state.selected().unwrap().rate.map(|rate| rate.sent);
    state.handle_sessions(found(vec![is.clone()]), now(0));
    assert_eq!(rate(&state), None, "one look is no rate");
    let then = later(&is, 30, 0, 3_000);
    state.handle_sessions(found(vec![then.clone()]), now(31));
    assert_eq!(rate(&state), Some(100.0));
    // Looks in between find the same row, and a deadline that moved says nothing of traffic.
    state.handle_sessions(found(vec![then.clone()]), now(40));
    state.handle_sessions(found(vec![later(&then, 10, 0, 0)]), now(41));
    assert_eq!(rate(&state), Some(100.0));
    state.handle_sessions(found(vec![later(&then, 20, 0, 4_000)]), now(51));
    assert_eq!(rate(&state), Some(200.0));
    // Counts that do not change are not stored.
    state.handle_sessions(found(vec![later(&then, 20, 0, 4_000)]), now(141));
    assert_eq!(rate(&state), Some(0.0));
}
