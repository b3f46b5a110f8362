//! Sessions that nobody has changed anything about for a while, and are not read again and again.

use ovpn_warden::{store::UserPatch, types::Cid};

use super::{
    limits::sql,
    metrics::{beside_with, scrape},
    race::Database,
    server::status,
    *,
};

/// Longer than sessions are read again and again after a change.
const CALM: Duration = Duration::from_secs(18);
/// By when a change in the database has ended a session: five seconds, and what the machine takes.
const SEEN: Duration = Duration::from_secs(6);

/// Answers what a controller asks by the clock; what else it says until then, if anything.
async fn listen(controller: &mut Controller, wait: Duration) -> Option<String> {
    let clock = Clock::new();
    let end = clock.now().mono + wait;
    loop {
        let left = end - clock.now().mono;
        match controller.line_within(left).await {
            Some(line) if line == "state" => {
                controller.say(&format!("{RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n")).await;
            }
            said => return said,
        }
    }
}

async fn let_in(controller: &mut Controller, cid: u32) {
    controller.connect(cid, "alice", "correct horse", Some(MAC)).await;
    assert_eq!(controller.command().await, format!("client-auth {cid} 1"));
    while controller.command().await != "END" {}
    controller.establish(cid).await;
}

async fn log_in(controller: &mut Controller, bed: &Bed) {
    let_in(controller, 0).await;
    bed.session(|session| session.state == SessionState::Active).await;
}

async fn assert_ended(controller: &mut Controller) {
    let said = listen(controller, SEEN).await;
    assert!(said.as_deref().is_some_and(|said| said.starts_with("client-kill 0 ")), "{said:?}");
}

/// A daemon with a session of alice's of whom nothing has been changed for a while.
async fn calm(bed: &mut Bed, listener: &Listener) -> (Daemon, Controller) {
    bed.config.auth.timeout = Duration::from_secs(2);
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    log_in(&mut controller, bed).await;
    assert_eq!(listen(&mut controller, CALM).await, None);
    (daemon, controller)
}

#[tokio::test]
async fn a_change_by_sql_ends_a_session_that_was_calm() {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    let (daemon, mut controller) = calm(&mut bed, &listener).await;
    sql(&bed, "UPDATE users SET enabled = 0").await;
    assert_ended(&mut controller).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_change_by_sql_on_a_server_ends_a_session_that_was_calm() {
    let (database, listener) = (Database::new().await, Listener::tcp().await);
    let mut bed = database.bed(&listener, "calm").await;
    bed.store.migrate(false).await.unwrap();
    bed.add_user("alice", "correct horse").await;
    let (daemon, mut controller) = calm(&mut bed, &listener).await;
    // The rows of sessions are written all the time and are no reason to read them: a device that is not registered,
    // which ends a session that is judged, is not seen.
    let device = "02:00:00:00:00:09";
    let started = "started_at = '2026-01-01'";
    database
        .sql(&format!("UPDATE {}.sessions SET device = '{device}', {started}", database.name))
        .await;
    assert_eq!(listen(&mut controller, SEEN).await, None);
    database.sql(&format!("UPDATE {}.users SET enabled = 0", database.name)).await;
    assert_ended(&mut controller).await;
    daemon.stop().await;
    bed.store.close().await;
    database.sql(&format!("DROP DATABASE {}", database.name)).await;
}

/// A daemon with its rows on a database server, attached to a server without clients.
async fn attached_to_a_server() -> (Database, Listener, Bed, Daemon, Controller) {
    let (database, listener) = (Database::new().await, Listener::tcp().await);
    let bed = database.bed(&listener, "calm").await;
    bed.store.migrate(false).await.unwrap();
    bed.add_user("alice", "correct horse").await;
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    (database, listener, bed, daemon, controller)
}

/// A transaction of a daemon that was killed may be committed when the next one has compared already.
#[tokio::test]
async fn a_row_that_was_written_late_is_closed_although_nobody_changes_anything() {
    let (database, _listener, bed, daemon, mut controller) = attached_to_a_server().await;
    log_in(&mut controller, &bed).await;
    let known = bed.session(|session| session.state == SessionState::Active).await;
    let id = SessionId::new(known.started_at, [7; 10]);
    let late = SessionRecord { id, cid: Cid(7), version: 1, ..known };
    bed.store.persist(&[late]).await.unwrap();
    assert_eq!(listen(&mut controller, CALM).await.as_deref(), Some("status 3"));
    controller.expect("state").await;
    let clients = [client_row(0, "alice", "10.8.0.6")];
    controller.say(&status(&clients)).await;
    controller.say(&format!("{RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n")).await;
    bed.any_session(|session| session.id == id && session.state == SessionState::Closed).await;
    bed.any_session(|session| session.id != id && session.state == SessionState::Active).await;
    daemon.stop().await;
    bed.store.close().await;
    database.sql(&format!("DROP DATABASE {}", database.name)).await;
}

/// The row of who leaves is open for a moment more: where many leave, the last reading for a while finds one, too.
#[tokio::test]
async fn who_leaves_while_sessions_are_read_is_no_row_that_was_written_late() {
    // Longer than sessions are read at first, and such a row waits then.
    const LEAVE: u32 = 112;
    let (database, _listener, bed, daemon, mut controller) = attached_to_a_server().await;
    for cid in 1..=LEAVE {
        let_in(&mut controller, cid).await;
    }
    for cid in 1..=LEAVE {
        controller.disconnect(cid).await;
        let said = listen(&mut controller, Duration::from_millis(250)).await;
        assert_eq!(said, None, "{cid} have left");
    }
    daemon.stop().await;
    bed.store.close().await;
    database.sql(&format!("DROP DATABASE {}", database.name)).await;
}

#[tokio::test]
async fn what_was_changed_while_the_connection_was_away_is_seen_when_it_is_back() {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    let (daemon, controller) = calm(&mut bed, &listener).await;
    drop(controller);
    sql(&bed, "UPDATE users SET enabled = 0").await;
    // Judged again for nobody in the meantime.
    tokio::time::sleep(CALM).await;
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[client_row(0, "alice", "10.8.0.6")]).await;
    assert_ended(&mut controller).await;
    daemon.stop().await;
}

#[tokio::test]
async fn the_end_of_an_account_ends_a_calm_session_that_an_operator_has_extended() {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    bed.config.auth.timeout = Duration::from_secs(2);
    let now = bed.clock.now().utc;
    let until = now.saturating_add(CALM + Duration::from_secs(3));
    let ends = UserPatch { valid_until: Some(Some(until)), ..UserPatch::default() };
    bed.store.patch_user(&"alice".parse().unwrap(), &ends, &bed.actor()).await.unwrap();
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    log_in(&mut controller, &bed).await;
    let session = bed.session(|session| session.state == SessionState::Active).await;
    let later = CommandAction::Extend { deadline: now.saturating_add(CALM * 10) };
    bed.store.request(session.id, &later, &bed.actor()).await.unwrap();
    assert_eq!(listen(&mut controller, CALM).await, None);
    bed.session(|session| session.deadline_reason == Some(Cause::Admin)).await;
    assert_ended(&mut controller).await;
    assert!(bed.clock.now().utc >= until);
    daemon.stop().await;
}

/// What a daemon has asked its database by then, by the metrics.
async fn asked(http: u16, op: &str) -> u64 {
    let page = scrape(http).await;
    let name = format!("ovpn_warden_store_seconds_count{{op=\"{op}\"}} ");
    let number = page.lines().find_map(|line| line.strip_prefix(&name));
    number.map_or(0, |number| number.parse().unwrap())
}

#[tokio::test]
async fn a_calm_server_is_asked_one_question_each_second_and_requests_take_effect_at_once() {
    const ALL: [&str; 4] = ["pending_commands", "changes", "auth_events", "fact_trace"];
    let (database, listener) = (Database::new().await, Listener::tcp().await);
    let bed = database.bed(&listener, "udp").await;
    bed.store.migrate(false).await.unwrap();
    bed.add_user("alice", "correct horse").await;
    let (_daemon, mut controller, http) = beside_with(&bed, &listener, "").await;
    let active = bed.session(|session| session.state == SessionState::Active).await;
    // First it has to be told with what to compare.
    let settled = CALM * 2 + Duration::from_secs(5);
    assert_eq!(listen(&mut controller, settled).await, None);
    let before = asked(http, "pulse").await;
    let mut others = Vec::new();
    for op in ALL {
        others.push(asked(http, op).await);
    }
    assert_eq!(listen(&mut controller, Duration::from_secs(10)).await, None);
    let pulses = asked(http, "pulse").await - before;
    assert!((7..=11).contains(&pulses), "{pulses} in ten seconds");
    for (op, before) in ALL.into_iter().zip(others) {
        // All of it at once, each half minute.
        let more = asked(http, op).await - before;
        assert!(more <= 1, "{op}: {more} in ten seconds");
    }
    // More requests than are done in the time for which a change keeps it awake.
    let name = &database.name;
    let values = "'0198', 'udp', 'kill', 'cli:test', UTC_TIMESTAMP(3)";
    database
        .sql(&format!(
            "INSERT INTO {name}.session_commands (session_id, server, action, actor, created_at) \
             SELECT {values} FROM {name}.seq_1_to_18000"
        ))
        .await;
    assert_eq!(listen(&mut controller, Duration::from_secs(26)).await, None);
    let open = bed.store.pending_commands(&["udp".parse().unwrap()]).await.unwrap();
    assert_eq!((open.commands.len(), open.unreadable.len()), (0, 0));
    let kill = CommandAction::Kill { reason: None };
    bed.store.request(active.id, &kill, &bed.actor()).await.unwrap();
    let said = listen(&mut controller, Duration::from_secs(2)).await;
    assert!(said.as_deref().is_some_and(|said| said.starts_with("client-kill 0")), "{said:?}");
    bed.store.close().await;
    database.sql(&format!("DROP DATABASE {}", database.name)).await;
}
