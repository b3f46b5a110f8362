//! What holds for every command: tables that fit, JSON everywhere, questions before harm, progress
//! for who waits, and errors that say what to do next.

use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use super::bench::{Bench, Ended};
use crate::terminal::{Terminal, USUAL};

/// Two users with devices, and two sessions.
async fn bench() -> Bench {
    let bench = Bench::new();
    for (number, user) in [(1, "alice"), (2, "bob.with.a.long.name@example.org")] {
        bench.add_user(user);
        bench.ok(&["device", "add", user, "02:1a:2b:3c:4d:5e", "--label", "a notebook, quite old"]);
        let id = format!("0190ab{number}2-3456-7abc-8def-000000000001");
        bench.open_session(&id, "udp-1194", number, user).await;
    }
    bench
}

const LISTS: [&[&str]; 12] = [
    &["user", "list"],
    &["device", "list"],
    &["policy", "list"],
    &["session", "list"],
    &["session", "list", "--all"],
    &["session", "history"],
    &["report", "usage", "--since", "2026-11-01"],
    &["report", "expiring", "--within", "5000000h"],
    &["report", "lockout", "--since", "2026-11-01"],
    &["audit-hashes"],
    &["lockout", "list"],
    &["user", "usage", "alice"],
];

fn at(bench: &Bench, args: &str) -> Terminal {
    Terminal::start(USUAL, &format!("-c {} {args}", bench.path("config.toml")), &[])
}

#[tokio::test]
async fn every_table_fits_a_terminal_of_80_columns() {
    let bench = bench().await;
    for args in LISTS {
        let left = at(&bench, &args.join(" ")).end();
        assert_eq!(left.code, 0, "{left:?}");
        let lines: Vec<_> = left.raw.lines().map(str::trim_end).collect();
        let rows = lines.iter().filter(|line| line.contains("alice"));
        for row in rows {
            assert!(row.chars().count() <= 80, "{args:?}: {row}");
        }
        // A row is a line: nothing is wrapped.
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        let piped = bench.ok(args);
        let wanted = piped.lines().filter(|line| line.contains("bob.with.a")).count();
        assert_eq!(count("bob.with.a.long.name@example.org"), wanted, "{args:?}: {}", left.raw);
    }
    let shown = at(&bench, "session list").end().raw;
    assert!(shown.contains("note: no room for SERVER, STATE, "), "{shown}");
    assert!(!at(&bench, "session list --quiet").end().raw.contains("note:"));
    let piped = bench.run(&["session", "list"]);
    assert!(piped.out.contains("STATE") && piped.err.is_empty(), "a pipe has room: {piped:?}");
}

#[tokio::test]
async fn everything_that_is_printed_is_printed_as_json_too() {
    let bench = bench().await;
    for args in LISTS {
        let value = bench.json(args);
        assert!(value.is_array() || value.is_object(), "{args:?}: {value}");
    }
    for args in [
        &["user", "show", "alice"][..],
        &["policy", "show", "default"],
        &["session", "show", "0190ab12"],
        &["user", "disable", "alice"],
        &["device", "block", "alice", "02:1a:2b:3c:4d:5e"],
        &["device", "enrol", "alice"],
        &["policy", "add", "p"],
        &["policy", "remove", "p", "--yes"],
        &["migrate"],
        &["check"],
        &["top", "--interval", "1s"],
        &["user", "remove", "alice", "--yes"],
    ] {
        let ended = bench.run(&[args, &["--json"]].concat());
        let value: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        assert!(value.is_array() || value.is_object(), "{args:?}: {value}");
    }
    assert_eq!(bench.run(&["explain", "bob", "--server", "x", "--json"]).code, 3);
}

#[tokio::test]
async fn what_destroys_asks_at_a_terminal() {
    let bench = bench().await;
    for (args, question, table) in [
        ("user remove alice", "Remove user `alice`", "users WHERE name = 'alice'"),
        (
            "device remove alice 02:1a:2b:3c:4d:5e",
            "Remove device `02:1a",
            "devices WHERE user_id = 1",
        ),
        ("session kill 0190ab12", "End the session of `alice` on server `udp-1194`?", ""),
    ] {
        let mut terminal = at(&bench, args);
        terminal.until(question);
        terminal.keys("n\r");
        let left = terminal.end();
        assert_eq!(left.code, 1, "{left:?}");
        assert!(left.screen.contains("not confirmed: nothing was done"), "{left:?}");
        if !table.is_empty() {
            let count = format!("SELECT CAST(COUNT(*) AS TEXT) FROM {table}");
            assert_eq!(bench.ask(&count).await.as_deref(), Some("1"), "{args}");
        }
    }
    assert_eq!(bench.ask("SELECT action FROM session_commands").await, None);
    let mut terminal = at(&bench, "session kill 0190ab12");
    terminal.until("[y/N]");
    terminal.keys("y\r");
    terminal.until("no daemon has taken it yet");
    assert_eq!(bench.ask("SELECT action FROM session_commands").await.as_deref(), Some("kill"));
}

#[tokio::test]
async fn who_waits_for_a_migration_sees_that_it_goes_on() {
    let bench = Bench::new();
    let options = SqliteConnectOptions::new()
        .filename(bench.path("warden.db"))
        .journal_mode(SqliteJournalMode::Wal)
        .create_if_missing(true);
    let mut holder = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    let mut terminal = at(&bench, "migrate");
    terminal.until("applying migrations");
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let left = terminal.end();
    assert_eq!(left.code, 0, "{left:?}");
    assert!(!left.screen.contains("applying") && left.screen.contains("applied 2026"), "{left:?}");
}

#[tokio::test]
async fn who_waits_for_an_import_sees_how_far_it_is() {
    let bench = Bench::new();
    bench.ok(&["migrate"]);
    std::fs::write(bench.path("people.csv"), "name\ncarol\ndave\n").unwrap();
    let options = SqliteConnectOptions::new().filename(bench.path("warden.db"));
    let mut holder = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    let mut terminal = at(&bench, &format!("import csv {} --apply", bench.path("people.csv")));
    terminal.until("0/2");
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let left = terminal.end();
    assert!(left.code == 0 && !left.screen.contains("/2"), "{left:?}");
}

#[tokio::test]
async fn who_waits_for_a_report_sees_that_it_goes_on() {
    let bench = Bench::new();
    bench.ok(&["migrate"]);
    // More than are read in a second.
    bench
        .sql(
            "INSERT INTO sessions (id, version, state, server, run_started, cid, user_name, started_at, \
             updated_at, expiry_action, ended_at, cause, duration_s, bytes_received, bytes_sent) \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000) \
             SELECT printf('0190ab12-3456-7abc-8def-%012d', i), 1, 'closed', 'udp', \
             '2026-11-01 00:00:00.000', i, 'user' || (i % 500), '2026-11-20 00:00:00.000', \
             '2026-11-20 01:00:00.000', 'halt', '2026-11-20 01:00:00.000', 'user_request', 3600, 9, 9 \
             FROM n",
        )
        .await;
    let mut terminal = at(&bench, "report usage --since 2026-11-01");
    terminal.until("reading sessions");
    // A busy machine takes half a minute for all of them.
    terminal.signal("TERM");
    assert_ne!(terminal.end().code, 0);
}

#[tokio::test]
async fn every_error_says_what_to_do_next() {
    let bench = bench().await;
    let says_next = |ended: &Ended| {
        ended.err.lines().any(|line| {
            line.starts_with("help: ") || line.contains("use ") || line.contains("--help")
        })
    };
    for args in [
        &["user", "show", "nobody"][..],
        &["user", "add", "alice"],
        &["user", "add", "x", "--valid-until", "tomorrow"],
        &["user", "set", "alice"],
        &["user", "set", "alice", "--policy", "nope"],
        &["user", "remove", "alice"],
        &["device", "add", "nobody", "02:1a:2b:3c:4d:5e"],
        &["device", "add", "alice", "zz"],
        &["device", "approve", "alice", "02:1a:2b:3c:4d:5f"],
        &["policy", "show", "nope"],
        &["policy", "set", "default"],
        &["policy", "remove", "default", "--yes"],
        &["session", "show", "ffffff"],
        &["session", "show", "0190ab"],
        &["session", "kill", "abc"],
        &["session", "kill", "0190ab12", "--yes"],
        &["session", "extend", "0190ab12", "soon"],
        &["session", "extend", "0190ab12", "2020-01-01"],
        &["session", "history", "--since", "24h"],
        &["report", "usage", "--since", "yesterday"],
        &["import", "csv", "/nonexistent"],
        &["decode", "/nonexistent"],
        &["check", "--openvpn-conf", "/nonexistent"],
        &["explain", "alice"],
        &["man", "--dir", "/proc/1/no"],
        &["hash"],
        &["run"],
        &["top"],
        &["usr"],
    ] {
        let ended = bench.run(args);
        assert!(matches!(ended.code, 1 | 2), "{args:?}: {ended:?}");
        assert!(ended.err.starts_with("error: ") && says_next(&ended), "{args:?}: {ended:?}");
    }
}

#[test]
fn quiet_says_what_was_asked_for_and_not_what_was_done() {
    let bench = Bench::new();
    let would = bench.ok(&["migrate", "--dry-run", "--quiet"]);
    assert!(would.contains("would apply"), "{would}");
    assert_eq!(bench.ok(&["migrate", "--quiet"]), "");
    assert_eq!(bench.ok(&["migrate", "--quiet"]), "");
    assert!(bench.ok(&["migrate"]).contains("up to date"));
}
