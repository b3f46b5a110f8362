//! Frames as they are on the screen, at any size.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};

use super::*;
use crate::cli::top::{
    metrics::Scrape,
    snapshot::{Snapshot, draw, frame, lines},
};

fn shown(state: &State, width: u16, height: u16) -> Vec<String> {
    lines(draw(state, width, height).backend().buffer())
}

fn typed(state: &mut State, keys: &str) {
    for c in keys.chars() {
        let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
        state.handle_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
}

#[test]
fn a_terminal_of_80_by_24_shows_it_all() {
    let screen = shown(&watched(COLOR), 80, 24);
    let wanted = [
        "ovpn-warden  4 sessions  31.6 KiB/s in  428.6 KiB/s out  2026-11-24 12:02:00Z",
        "links     tcp-443 DOWN   udp-1194 up",
        "database  up   waiting: 0 rows, 2 passwords",
        "logins allowed             1.00/s of 460      ▂▄▅▆█▆▅▄▂▁ ▁▂▄▅▆█▆▅▄▂▁ ▁▂▄▅▆█▆▅▄▂▁",
        "logins denied              1.50/s of 37         ▂      ▂   █  ▂      ▂      ▂  █",
        "  device_unknown           1.50/s of 12                    █                   █",
        "  bad_credentials          0.00/s of 21         █      █      █      █      █",
        "  throttled                0.00/s of 4",
        "USER               SERVER     DEVICE              LEFT▾       TRAFFIC      TOTAL",
        "bob                tcp-443    02:1a:2b:3c:4d:02    over         0 B/s   22.0 MiB",
        "alice              udp-1194   02:1a:2b:3c:4d:01   3h18m   440.3 KiB/s   54.0 MiB",
        "dave@example.org   udp-1194   02:1a:2b:3c:4d:04   7h44m    10.2 KiB/s   45.0 MiB",
        "carol              udp-1194   02:1a:2b:3c:4d:03       -     9.7 KiB/s   33.9 MiB",
    ];
    for (line, wanted) in screen.iter().zip(wanted) {
        assert_eq!(line, wanted, "\n{}", screen.join("\n"));
    }
    assert!(screen[13..23].iter().all(String::is_empty), "\n{}", screen.join("\n"));
    assert!(screen[23].starts_with("q quit  / filter"), "{}", screen[23]);
}

#[test]
fn no_size_of_terminal_is_a_panic_and_nothing_leaves_it() {
    let mut hostile = watched(COLOR);
    let name = "\u{1f9d1}\u{200d}\u{1f4bb}日本語\u{301}\u{202e}".repeat(4);
    let mut many: Vec<_> = (0..200).map(|n| session(n, &name, "udp-1194", Some(5))).collect();
    many[0].vpn_ip = Some("\u{1b}[2J".repeat(9).into());
    hostile.handle_sessions(found(many), now(200));
    let sizes = [(1, 1), (2, 2), (1, 40), (300, 1), (7, 5), (20, 10), (80, 24), (300, 100)];
    for keys in ["", "/x", "?", "\n", "k", "k\n", "e", "e\n"] {
        for mut state in [empty(COLOR), watched(COLOR)] {
            typed(&mut state, keys);
            for (width, height) in sizes {
                assert_eq!(shown(&state, width, height).len(), usize::from(height));
            }
        }
        typed(&mut hostile, keys);
        hostile.handle_scrape(Err("x\u{1b}".repeat(300)), now(201));
        for (width, height) in sizes {
            let text = shown(&hostile, width, height).concat();
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        }
        hostile.handle_key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
        hostile.handle_key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
    }
}

#[test]
fn wide_terminals_tell_more_and_narrow_ones_the_most_important() {
    let heading = |width| shown(&watched(COLOR), width, 24)[8].clone();
    let columns = |width| heading(width).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(columns(24), ["USER", "LEFT▾"]);
    assert_eq!(columns(40), ["USER", "LEFT▾", "TRAFFIC"]);
    assert_eq!(columns(60), ["USER", "SERVER", "LEFT▾", "TRAFFIC", "TOTAL"]);
    let all = [
        "USER", "SERVER", "DEVICE", "FROM", "ADDRESS", "LEFT▾", "UP", "ENDS", "BY", "TRAFFIC",
        "TOTAL",
    ];
    assert_eq!(columns(150), all);
    // Every row is as wide as the heading.
    for width in [24u16, 40, 60, 80, 100, 150, 300] {
        let screen = shown(&watched(COLOR), width, 24);
        for line in &screen[8..13] {
            assert_eq!(line.chars().count(), usize::from(width), "{line}");
        }
    }
}

#[test]
fn a_long_list_is_shown_page_by_page() {
    let mut state = empty(COLOR);
    let many = (0..40u8).map(|n| session(n, &format!("user{n:02}"), "udp-1194", None));
    state.handle_sessions(found(many.collect()), now(0));
    typed(&mut state, "s");
    let first = |state: &State| shown(state, 80, 24)[6].split(' ').next().unwrap().to_owned();
    assert_eq!(first(&state), "user00");
    for _ in 0..16 {
        state.handle_key(KeyEvent::new(KeyCode::Down, KeyModifiers::NONE));
    }
    assert_eq!(first(&state), "user00", "the last of the first page");
    state.handle_key(KeyEvent::new(KeyCode::Down, KeyModifiers::NONE));
    assert_eq!(first(&state), "user17");
}

#[test]
fn what_is_away_is_said_and_the_last_of_it_stays() {
    let mut state = watched(COLOR);
    state.handle_scrape(Err("127.0.0.1:9176: nobody answers".into()), now(125));
    state.handle_sessions(Err("database unavailable: timeout".into()), now(132));
    let screen = shown(&state, 100, 24);
    let text = screen.join("\n");
    for wanted in [
        "links     tcp-443 ?   udp-1194 ?",
        "database  DOWN",
        "database away, shown as of 12:02:00Z (12s ago): database unavailable: timeout",
        "metrics away, shown as of 12:01:58Z (14s ago): 127.0.0.1:9176: nobody answers",
        "logins allowed                  - of 460",
        "alice ",
    ] {
        assert!(text.contains(wanted), "{wanted} in:\n{text}");
    }
    let mut state = empty(COLOR);
    state.handle_scrape(Err("nobody answers".into()), now(1));
    state.handle_sessions(Err("gone".into()), now(1));
    let text = shown(&state, 80, 24).join("\n");
    assert!(
        text.contains("metrics away: nobody") && text.contains("database away: gone"),
        "{text}"
    );
    assert!(text.contains("- of ?") && !text.contains("nobody is connected"), "{text}");
    // Both come back.
    state.handle_scrape(Ok(scrape(1.0, &[])), now(2));
    state.handle_sessions(found(Vec::new()), now(2));
    let text = shown(&state, 80, 24).join("\n");
    assert!(!text.contains("away") && text.contains("nobody is connected"), "{text}");
}

#[test]
fn the_daemon_tells_of_its_own_database() {
    let mut state = watched(COLOR);
    let down = Scrape { database_up: Some(false), backlog: Some(17.0), ..scrape(1.0, &[]) };
    state.handle_scrape(Ok(down), now(130));
    let line = &shown(&state, 80, 24)[2];
    assert_eq!(line, "database  up   the daemon does not reach it   waiting: 17 rows, 2 passwords");
}

#[test]
fn dialogs_name_the_session_and_what_will_be() {
    let mut state = watched(COLOR);
    typed(&mut state, "kgo home");
    let text = shown(&state, 80, 24).join("\n");
    for wanted in ["┌ End this session ─", "user     bob", "> go home_", "Enter goes on"] {
        assert!(text.contains(wanted), "{wanted} in:\n{text}");
    }
    typed(&mut state, "\n");
    let text = shown(&state, 80, 24).join("\n");
    assert!(text.contains("The client sees: go home") && text.contains("y does it, n"), "{text}");
    typed(&mut state, "ne\n");
    let text = shown(&state, 80, 24).join("\n");
    assert!(text.contains("It may last until 2026-11-24 13:02:00Z."), "{text}");
    typed(&mut state, "n\n");
    let text = shown(&state, 80, 24).join("\n");
    assert!(text.contains("┌ Session ─") && text.contains("client platform  linux"), "{text}");
}

#[test]
fn no_color_means_none_and_ascii_means_ascii() {
    let colors = |look| {
        let drawn = draw(&watched(look), 80, 24);
        let cells = drawn.backend().buffer().content.clone();
        (
            cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset),
            cells.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)),
        )
    };
    assert_eq!(colors(COLOR), (true, true));
    assert_eq!(colors(Look { color: false, ..COLOR }), (false, true));
    let look = Look { unicode: false, ..COLOR };
    for keys in ["", "?", "\n", "k"] {
        let mut state = watched(look);
        let mut sessions = four();
        sessions[0].user = "zoë".parse().unwrap();
        state.handle_sessions(found(sessions), now(130));
        typed(&mut state, keys);
        let text = shown(&state, 80, 24).join("\n");
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("zo\\u{eb") && text.contains('#'), "{text}");
    }
}

#[test]
fn scripts_get_a_frame_without_keys_and_a_snapshot() {
    let mut state = watched(COLOR);
    let many = (0..90u8).map(|n| session(n, &format!("user{n:02}"), "udp-1194", Some(60)));
    state.handle_sessions(found(many.collect()), now(130));
    let lines = frame(&state, 80);
    let rows = lines.iter().filter(|line| line.starts_with("user")).count();
    assert_eq!((rows, lines.len()), (90, 99), "{}", lines.join("\n"));
    assert!(!lines.iter().any(|line| line.contains("q quit")));
    let nobody = frame(&empty(COLOR), 80);
    assert!(nobody.len() > 3 && !nobody.concat().contains("q quit"), "{nobody:?}");

    let state = watched(COLOR);
    let json = serde_json::to_value(Snapshot::from(&state)).unwrap();
    assert_eq!(json["at"], "2026-11-24T12:02:00.000Z");
    assert_eq!(json["database"], serde_json::json!({ "available": true, "error": null }));
    assert_eq!(json["links"][0], serde_json::json!({ "server": "tcp-443", "up": false }));
    assert_eq!(json["logins"]["allowed_total"], 460);
    assert_eq!(json["logins"]["allowed_per_s"], 1.0);
    let first = &json["logins"]["denials"][0];
    assert_eq!((&first["reason"], &first["per_s"]), (&"device_unknown".into(), &1.5.into()));
    let bob = &json["sessions"][0];
    assert_eq!((&bob["user"], &bob["left_s"]), (&"bob".into(), &0.into()));
    assert_eq!(bob["id"], four()[1].id.to_string());
    assert_eq!(json["sessions"][3]["left_s"], serde_json::Value::Null);
    let mut state = empty(COLOR);
    state.handle_scrape(Err("off".into()), now(1));
    let json = serde_json::to_value(Snapshot::from(&state)).unwrap();
    assert_eq!(json["metrics"], serde_json::json!({ "available": false, "error": "off" }));
    assert_eq!(json["database"]["available"], false, "it was not asked");
}

#[test]
fn sessions_beyond_the_most_are_told_of() {
    let all = found(four()).unwrap();
    assert_eq!(all.clone().of_at_most(4).unreadable, None);
    let cut = all.of_at_most(3);
    assert_eq!(cut.sessions.len(), 3);
    let mut state = empty(COLOR);
    state.handle_sessions(Ok(cut), now(0));
    let lines = frame(&state, 80).join("\n");
    assert!(lines.contains("3 sessions") && lines.contains("there are more than 3"), "{lines}");
}
