//! Requests to the daemon that holds a session, on every backend.

use std::sync::Arc;

use ovpn_warden::{
    store::{Actor, CommandAction, CommandId, SessionRecord, SessionState, StoreError},
    types::{ServerName, Timestamp},
};

use super::bed::{Bed, at, by, session};

fn kill(reason: Option<&str>) -> CommandAction {
    CommandAction::Kill { reason: reason.map(str::to_owned) }
}

fn server(name: &str) -> ServerName {
    name.parse().unwrap()
}

pub async fn a_request_waits_until_it_is_handled(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.store.persist(&[session(1)]).await.unwrap();
    let extend = CommandAction::Extend { deadline: Timestamp::MAX };
    let first = store.request(session(1).id, &kill(Some("go \u{1f6aa}")), &by()).await.unwrap();
    let second = store.request(session(1).id, &extend, &by()).await.unwrap();
    assert_eq!(store.command_handled(first).await, Ok(None));
    let waiting = store.pending_commands(&[server("udp-1194")]).await.unwrap().commands;
    let [one, two] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!((one.id, two.id), (first, second));
    assert_eq!((one.session, &one.server), (session(1).id, &server("udp-1194")));
    assert_eq!(one.action, kill(Some("go \u{1f6aa}")));
    assert_eq!(one.user, Some(session(1).user));
    assert_eq!((&two.action, two.actor.as_str()), (&extend, "cli:test"));
    store.complete_commands(&[first], at(9)).await.unwrap();
    assert_eq!(store.command_handled(first).await, Ok(Some(at(9))));
    let waiting = store.pending_commands(&[server("udp-1194")]).await.unwrap().commands;
    assert_eq!(waiting.len(), 1);
    let unknown = store.command_handled(CommandId(4_711)).await;
    assert_eq!(unknown, Err(StoreError::NotFound("request 4711".into())));
}

pub async fn a_request_that_cannot_be_read_hides_no_other(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.store.persist(&[session(1)]).await.unwrap();
    let first = store.request(session(1).id, &kill(None), &by()).await.unwrap();
    bed.sql("UPDATE session_commands SET action = 'promote'").await;
    let second = store.request(session(1).id, &kill(None), &by()).await.unwrap();
    let waiting = store.pending_commands(&[server("udp-1194")]).await.unwrap();
    let [(id, of, StoreError::Corrupt(text))] = &waiting.unreadable[..] else {
        panic!("{waiting:?}")
    };
    assert_eq!((*id, of), (first, &server("udp-1194")));
    assert!(text.contains("action") && !text.contains("promote"), "{text}");
    assert_eq!(waiting.commands.iter().map(|c| c.id).collect::<Vec<_>>(), [second]);
}

pub async fn requests_come_oldest_first_and_only_for_the_servers_asked(bed: Arc<Bed>) {
    let names: Vec<_> = (0..5).map(|n| server(&format!("s{n}"))).collect();
    let sessions: Vec<_> = (0..5u32)
        .map(|n| SessionRecord { server: names[n as usize].clone(), ..session(n) })
        .collect();
    bed.store.persist(&sessions).await.unwrap();
    for session in sessions.iter().rev() {
        bed.store.request(session.id, &kill(None), &by()).await.unwrap();
    }
    let list = async |servers: &[ServerName]| {
        let waiting = bed.store.pending_commands(servers).await.unwrap().commands;
        waiting.iter().map(|c| c.server.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(&names).await, ["s4", "s3", "s2", "s1", "s0"]);
    assert_eq!(list(&names[..3]).await, ["s2", "s1", "s0"]);
    assert_eq!(list(&[]).await, Vec::<String>::new());
    assert_eq!(list(&[server("S0")]).await, Vec::<String>::new());
    let ids = bed.store.pending_commands(&names).await.unwrap().commands;
    let ids: Vec<_> = ids.iter().map(|command| command.id).collect();
    bed.store.complete_commands(&ids, at(1)).await.unwrap();
    bed.store.complete_commands(&[], at(1)).await.unwrap();
    assert_eq!(list(&names).await, Vec::<String>::new());
}

pub async fn a_request_needs_an_open_session(bed: Arc<Bed>) {
    let id = session(1).id;
    let request = async || bed.store.request(id, &kill(None), &by()).await;
    assert_eq!(request().await, Err(StoreError::NotFound(format!("session `{id}`"))));
    let closed = SessionRecord { state: SessionState::Closed, ended_at: Some(at(9)), ..session(1) };
    bed.store.persist(&[closed]).await.unwrap();
    assert_eq!(request().await, Err(StoreError::Ended));
    assert_eq!(bed.texts("SELECT id FROM session_commands").await, Vec::<String>::new());
    assert_eq!(bed.texts("SELECT action FROM admin_audit").await, Vec::<String>::new());
}

pub async fn handling_a_request_twice_keeps_the_first_time(bed: Arc<Bed>) {
    bed.store.persist(&[session(1)]).await.unwrap();
    let by = Actor { name: "\u{1f9d1}".repeat(99), ..by() };
    let long = kill(Some(&"\u{e4}".repeat(300)));
    let id = bed.store.request(session(1).id, &long, &by).await.unwrap();
    let waiting = bed.store.pending_commands(&[server("udp-1194")]).await.unwrap().commands;
    assert_eq!(waiting[0].action, kill(Some(&"\u{e4}".repeat(100))));
    assert_eq!(waiting[0].actor, "\u{1f9d1}".repeat(32));
    for time in [1, 2] {
        bed.store.complete_commands(&[id], at(time)).await.unwrap();
    }
    assert_eq!(bed.store.command_handled(id).await, Ok(Some(at(1))));
}
