//! The end of a session is announced to those who poll the database.

use sqlx::{Connection as _, Row as _};

use super::*;

#[tokio::test]
async fn a_session_that_ends_soon_stands_in_the_view_until_it_has_ended() {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    bed.config.session.limit = Some(Duration::from_secs(4));
    bed.config.session.warn_before = Some(Duration::from_secs(2));
    bed.config.session.accounting_interval = Duration::from_secs(30);
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    while controller.line().await != "END" {}
    controller.establish(0).await;
    let url = format!("sqlite://{}", bed.folder().join("warden.db").display());
    let mut reader = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let mut notices = async || {
        let rows = sqlx::query("SELECT user_name, deadline_reason, deadline FROM session_notices");
        let rows = rows.fetch_all(&mut reader).await.unwrap();
        rows.iter().map(|row| [0, 1].map(|column| row.get::<String, _>(column))).collect::<Vec<_>>()
    };
    bed.session(|s| s.state == SessionState::Active).await;
    assert!(notices().await.is_empty(), "not yet");
    let session = bed.session(|s| s.warned_at.is_some()).await;
    let left = session.deadline.unwrap().saturating_since(session.warned_at.unwrap());
    assert!((1_700..=2_000).contains(&left.as_millis()), "{left:?}");
    assert_eq!(notices().await, [["alice", "session_limit"]]);
    controller.expect("client-kill 0 \"HALT,Your session time is over\"").await;
    controller.say("SUCCESS: client-kill command succeeded\n").await;
    controller.disconnect(0).await;
    bed.session(|s| s.state == SessionState::Closed).await;
    assert!(notices().await.is_empty());
    daemon.stop().await;
}
