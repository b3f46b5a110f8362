//! `top` beside a running daemon: its metrics, its sessions, and what an operator asks of it.

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Listener, metrics::beside};
use crate::terminal::{Terminal, USUAL};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_extends_and_ends_a_session() {
    let listener = Listener::tcp().await;
    let (bed, _daemon, mut controller, _) = beside(&listener).await;
    controller.connect(1, "alice", "wrong", Some(super::MAC)).await;
    super::expect_denial(&mut controller, "bad_credentials", "").await;
    let before = bed.session(|session| session.vpn_ip.is_some()).await;
    let config = bed.folder().join("config.toml");
    let args = format!("-c {} top --interval 1s", config.display());
    let mut terminal = tokio::task::block_in_place(|| Terminal::start(USUAL, &args, &[]));
    let see = |terminal: &mut Terminal, wanted: &str| {
        tokio::task::block_in_place(|| terminal.until(wanted))
    };
    see(&mut terminal, "links     udp up");
    see(&mut terminal, "alice");
    see(&mut terminal, "bad_credentials          0.00/s of 1");
    terminal.keys("e\u{15}2h\r");
    see(&mut terminal, "It may last until");
    terminal.keys("y");
    see(&mut terminal, "the session of alice may last until");
    let after = bed.session(|session| session.deadline > before.deadline).await;
    let added = after.deadline.unwrap().saturating_since(before.deadline.unwrap());
    assert_eq!(added.as_secs(), 7_200);

    terminal.keys("kgo home\ry");
    controller.expect("client-kill 0 \"HALT,go home\"").await;
    controller.say("SUCCESS: client-kill command succeeded\n").await;
    see(&mut terminal, "the session of alice is being ended");
    controller.disconnect(0).await;
    see(&mut terminal, "nobody is connected");
    terminal.keys("q");
    let left = tokio::task::block_in_place(|| terminal.end());
    assert_eq!((left.code, left.is_alternate), (0, false));

    let audit = "SELECT group_concat(actor || ' ' || action, '; ') FROM admin_audit \
                 WHERE actor LIKE 'cli:%'";
    let file = SqliteConnectOptions::new().filename(bed.folder().join("warden.db"));
    let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
    let asked: String = sqlx::query_scalar(audit).fetch_one(&mut connection).await.unwrap();
    assert_eq!(asked, "cli:tester session.extend; cli:tester session.kill");
}
