//! `top` on a terminal of its own, and for scripts.

use serde_json::json;

use super::bench::Bench;
use crate::terminal::{Terminal, USUAL};

/// Two sessions, and a daemon that is not there.
async fn bench() -> Bench {
    let bench = Bench::new();
    let url = format!("sqlite://{}", bench.path("warden.db"));
    bench.configure(&format!(
        "[database]\nurl = \"{url}\"\n[http]\nlisten = \"127.0.0.1:1\"\n\
         [[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:9\"\n\
         [[servers]]\nname = \"tcp\"\nmanagement = \"tcp://127.0.0.1:10\"\n"
    ));
    bench.ok(&["session", "list"]);
    for (number, server, user) in [(1, "udp", "alice"), (2, "tcp", "bob' || char(8238) || '!")] {
        let id = format!("0190ab12-3456-7abc-8def-00000000000{number}");
        bench.open_session(&id, server, number, user).await;
    }
    bench
}

fn start(bench: &Bench, args: &str, variables: &[(&str, &str)]) -> Terminal {
    let config = bench.path("config.toml");
    Terminal::start(USUAL, &format!("-c {config} top --interval 1s {args}"), variables)
}

#[tokio::test]
async fn the_terminal_is_as_it_was_after_q_and_after_every_signal() {
    let bench = bench().await;
    for end in ["q", "\u{3}", "TERM", "HUP", "INT"] {
        let mut terminal = start(&bench, "", &[]);
        let screen = terminal.until("alice");
        assert!(terminal.is_alternate());
        assert!(screen.contains("1 sessions") || screen.contains("2 sessions"), "{screen}");
        match end {
            "q" | "\u{3}" => terminal.keys(end),
            signal => terminal.signal(signal),
        }
        let left = terminal.end();
        assert_eq!(left.code, 0, "{end}: {left:?}");
        assert_eq!(left.modes[0], left.modes[1], "{end}: {left:?}");
        assert!(!left.is_alternate && !left.is_cursor_hidden, "{end}: {left:?}");
        assert!(!left.screen.contains("alice"), "{end}: {left:?}");
    }
}

#[tokio::test]
async fn keys_filter_and_ask_before_anything_is_done() {
    let bench = bench().await;
    let mut terminal = start(&bench, "", &[]);
    let screen = terminal.until("metrics away");
    assert!(screen.contains("127.0.0.1:1: nobody answers"), "{screen}");
    terminal.until("links     udp ?   tcp ?");
    terminal.keys("/ali\r");
    let screen = terminal.until("1 of 2 sessions");
    assert!(!screen.contains("bob"), "{screen}");
    terminal.keys("k");
    terminal.until("End this session");
    terminal.keys("see you\r");
    terminal.until("The client sees: see you");
    terminal.keys("n");
    terminal.until("nothing was done");
    assert_eq!(bench.ask("SELECT action FROM session_commands").await, None);
    terminal.keys("kgo\ry");
    // No daemon runs here: it is told, and the view goes on.
    terminal.until("no daemon has taken it yet");
    let stored = bench.ask("SELECT action || ' ' || reason || ' ' || actor FROM session_commands");
    assert_eq!(stored.await.as_deref(), Some("kill go cli:tester"));
    terminal.keys("q");
    assert_eq!(terminal.end().code, 0);
}

#[tokio::test]
async fn a_database_that_goes_and_comes_back_is_told() {
    let bench = bench().await;
    let mut terminal = start(&bench, "", &[]);
    terminal.until("alice");
    bench.sql("ALTER TABLE sessions RENAME TO away").await;
    let screen = terminal.until("database away, shown as of ");
    assert!(screen.contains("alice"), "the last of it stays: {screen}");
    bench.sql("ALTER TABLE away RENAME TO sessions").await;
    terminal.until_it("no complaint", |screen| !screen.contains("database away"));
    terminal.keys("q");
    assert_eq!(terminal.end().code, 0);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hides_no_other() {
    let bench = bench().await;
    bench.sql("UPDATE sessions SET user_name = 'a' || char(27) WHERE server = 'tcp'").await;
    let shown = bench.ok(&["top", "--once", "--interval", "1s"]);
    assert!(shown.contains("1 sessions") && shown.contains("alice"), "{shown}");
    assert!(shown.contains("some sessions are not shown: bad data in the database"), "{shown}");
    let snapshot = bench.json(&["top", "--interval", "1s"]);
    assert!(snapshot["unreadable"].as_str().unwrap().contains("sessions.user_name"), "{snapshot}");
}

#[tokio::test]
async fn no_color_and_no_unicode_are_respected() {
    let bench = bench().await;
    let colours = |raw: &str| raw.contains("\u{1b}[38;5;") || raw.contains("\u{1b}[31m");
    let mut terminal = start(&bench, "", &[]);
    terminal.until("metrics away");
    terminal.keys("q");
    assert!(colours(&terminal.end().raw));
    let mut terminal = start(&bench, "", &[("NO_COLOR", "1"), ("LANG", "C")]);
    terminal.until("metrics away");
    terminal.keys("?");
    terminal.until("+ Keys -");
    terminal.keys("xq");
    let raw = terminal.end().raw;
    assert!(!colours(&raw) && raw.is_ascii(), "{raw:?}");
}

#[tokio::test]
async fn scripts_get_a_frame_or_a_snapshot() {
    let bench = bench().await;
    let shown = bench.ok(&["top", "--once", "--interval", "1s"]);
    for wanted in ["2 sessions", "alice", "bob\\u{202e}!", "metrics away: 127.0.0.1:1: nobody"] {
        assert!(shown.contains(wanted), "{wanted} in:\n{shown}");
    }
    assert!(!shown.contains('\u{1b}') && !shown.contains("q quit"), "{shown}");
    let shown = bench.ok(&["top", "--once", "--server", "udp", "--interval", "1s"]);
    assert!(shown.contains("server udp  1 sessions") && !shown.contains("bob"), "{shown}");

    let snapshot = bench.json(&["top", "--interval", "1s"]);
    assert_eq!(snapshot["database"], json!({ "available": true, "error": null }));
    assert_eq!(snapshot["metrics"]["available"], false);
    assert_eq!(snapshot["logins"]["allowed_per_s"], json!(null));
    let users: Vec<_> =
        snapshot["sessions"].as_array().unwrap().iter().map(|s| &s["user"]).collect();
    assert_eq!(users, ["alice", "bob\u{202e}!"]);
    assert_eq!(snapshot["sessions"][0]["bytes_received"], 1536);

    bench.run(&["top"]).fails(2, "standard output is no terminal");
    bench.run(&["top", "--once", "--server", "nope"]).fails(2, "`nope` is not configured");
    bench.run(&["top", "--once", "--interval", "0s"]).fails(2, "not a duration");
    bench.run(&["top", "--once", "--interval", "2h"]).fails(2, "at most 1h");
}

#[test]
fn a_script_without_a_database_is_told_so_by_the_exit_code() {
    let bench = Bench::new();
    bench.configure(
        "[database]\nurl = \"mysql://u:hidden@127.0.0.1:1/vpn\"\n[http]\nlisten = \"\"\n",
    );
    let ended = bench.run(&["top", "--once"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.out.contains("database away: database unavailable"), "{ended:?}");
    assert!(ended.out.contains("metrics away: [http] listen is empty"), "{ended:?}");
    assert!(!ended.out.contains("hidden"), "{ended:?}");
}
