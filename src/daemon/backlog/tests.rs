use std::path::Path;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::*;
use crate::{
    auth::request::Grant,
    store::SessionState,
    types::{Cause, Timestamp},
};

pub(in super::super) use crate::store::tests::session as row;

#[test]
fn a_full_backlog_admits_nobody_without_the_database() {
    let grant = |is_offline| {
        Decision::Allow(Grant {
            proven: None,
            has_place: false,
            session_id: row(1, 1, SessionState::Active).id,
            terms: crate::auth::terms::Terms::default(),
            is_offline,
            config: Vec::new(),
            second_factor: None,
        })
    };
    let backlog = Backlog::default();
    let refused = || Decision::from(DenyReason::BackendUnavailable);
    let fill = |rows: std::ops::Range<usize>| {
        for number in rows {
            backlog.push(vec![row(number as u32, 1, SessionState::Active)]);
        }
    };
    fill(1..MOST_OFFLINE);
    assert_eq!(backlog.admit(grant(true)), grant(true));
    fill(0..1);
    assert_eq!(backlog.admit(grant(true)), refused());
    assert_eq!(backlog.admit(grant(false)), grant(false));
    fill(MOST_OFFLINE..MOST);
    assert_eq!(backlog.admit(grant(false)), refused(), "also one that takes no rows");
    assert_eq!(backlog.admit(DenyReason::Throttled.into()), DenyReason::Throttled.into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_had_approved_is_taken_over_and_goes_when_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let backlog = |number: u8| {
        let own = SessionId::new(Timestamp::default(), [number; 10]);
        Backlog::new(Some(Journal::new(path.clone(), 1 << 20)), own)
    };
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let killed = backlog(1);
    killed.push(vec![row(1, 1, SessionState::Pending)]);
    killed.push(vec![row(1, 2, SessionState::Active)]);
    killed.push(vec![row(2, 7, SessionState::Active)]);
    drop(killed);
    let next = backlog(2);
    next.push(vec![row(1, 9, SessionState::Closed)]);
    next.take_over_left().await;
    let (known, taken_over) = next.unwritten(&row(1, 1, SessionState::Pending).server);
    assert!(known.applied_to(vec![]).is_empty() && taken_over.is_empty(), "it has ended");
    let rows = next.take();
    let rows: Vec<_> = rows.iter().map(|row| (row.cid.0, row.version)).collect();
    assert_eq!(rows, [(1, 9)], "a newer version stays, and one that was known is not noted");
    assert_eq!(files(), 1, "it is not written yet");
    next.finish_batch();
    assert_eq!(files(), 0);
    next.push(vec![row(2, 1, SessionState::Pending)]);
    next.take();
    next.finish_batch();
    assert_eq!(files(), 1, "the file of a process stays with it");
    next.forget_approvals();
    assert_eq!(files(), 0);
    // Two servers of one daemon are compared at the same time.
    let killed = backlog(6);
    killed.push(vec![row(6, 1, SessionState::Pending)]);
    drop(killed);
    let both = Arc::new(backlog(7));
    let pending = row(6, 1, SessionState::Pending);
    let compared = |both: Arc<Backlog>, server: ServerName| async move {
        both.take_over_left().await;
        both.unwritten(&server).1.len()
    };
    let tasks: Vec<_> =
        (0..8).map(|_| tokio::spawn(compared(Arc::clone(&both), pending.server.clone()))).collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 1, "each finds it in memory");
    }
    both.take();
    both.finish_batch();
    both.forget_approvals();
    // One that is killed again before it has written them leaves them to the next.
    let killed = backlog(3);
    killed.push(vec![row(3, 1, SessionState::Pending)]);
    drop(killed);
    let killed = backlog(4);
    killed.take_over_left().await;
    drop(killed);
    let last = backlog(5);
    last.take_over_left().await;
    let pending = row(3, 1, SessionState::Pending);
    let (known, taken_over) = last.unwritten(&pending.server);
    assert!(known.applied_to(vec![]).is_empty(), "only the database knows");
    assert_eq!(taken_over, [pending]);
}

/// What stands in its file of approvals.
fn noted(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files = files.filter(|path| path.to_string_lossy().contains(".approved-"));
    files.next().map(|path| std::fs::read_to_string(path).unwrap()).unwrap_or_default()
}

#[test]
fn whoever_writes_approvals_holds_up_only_those_who_begin_sessions() {
    let backlog = Backlog::default();
    backlog.push(vec![row(1, 2, SessionState::Active), row(2, 2, SessionState::Active)]);
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let writing = backlog.approved();
        let backlog = &backlog;
        scope.spawn(move || {
            backlog.push(vec![row(3, 2, SessionState::Active)]);
            let refused = backlog.admit(DenyReason::Throttled.into());
            let batch = backlog.take();
            backlog.put_back(&batch[1..]);
            sender.send((refused, backlog.len())).unwrap();
        });
        let seen = done.recv_timeout(Duration::from_secs(10));
        drop(writing);
        assert_eq!(seen, Ok((DenyReason::Throttled.into(), 5)));
    });
}

#[test]
fn what_is_noted_stays_until_its_row_is_stored_also_when_nothing_waits_for_a_moment() {
    for turn in 1..=50 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let backlog =
            Backlog::new(Some(Journal::new(path, 1 << 20)), row(0, 1, SessionState::Active).id);
        backlog.push(vec![row(turn, 1, SessionState::Pending)]);
        let first = noted(folder.path());
        backlog.take();
        std::thread::scope(|scope| {
            // Nobody gets on from here: the next one is noted and does not wait yet.
            let waiting = backlog.waiting();
            scope.spawn(|| backlog.push(vec![row(turn + 1, 1, SessionState::Pending)]));
            while noted(folder.path()) == first {
                std::thread::yield_now();
            }
            scope.spawn(|| backlog.finish_batch());
            std::thread::yield_now();
            drop(waiting);
        });
        assert!(
            noted(folder.path()).contains(&row(turn + 1, 1, SessionState::Pending).id.to_string())
        );
        backlog.take();
        backlog.finish_batch();
        assert_eq!(noted(folder.path()), "", "all of it is stored");
    }
}

#[test]
fn who_waits_for_some_sessions_waits_for_no_others() {
    let backlog = Backlog::default();
    let ids = [1, 2, 3].map(|number| row(number, 1, SessionState::Active).id);
    backlog.push(vec![row(1, 1, SessionState::Active), row(2, 1, SessionState::Active)]);
    assert!(backlog.settled_of(&ids[2..]).now_or_never().is_some());
    let mut settled = Box::pin(backlog.settled_of(&ids[1..]));
    assert!(settled.as_mut().now_or_never().is_none());
    let batch = backlog.take();
    assert!(backlog.holds(ids[1]), "it is being written");
    backlog.put_back(&batch[..1]);
    backlog.finish_batch();
    assert!(settled.now_or_never().is_some());
    assert_eq!(ids.map(|id| backlog.holds(id)), [true, false, false]);
}

#[test]
fn a_server_is_marked_only_when_no_row_waits() {
    let backlog = Backlog::default();
    let server = |seen| ServerRecord {
        name: "udp".parse().unwrap(),
        address: "unix:///run/udp".into(),
        openvpn_version: String::new(),
        run_started: Timestamp::default(),
        seen_at: Timestamp::from_secs(seen),
        sessions: 1,
    };
    backlog.push(vec![row(1, 1, SessionState::Active)]);
    backlog.mark(server(1));
    backlog.mark(server(2));
    assert_eq!(backlog.take_marks(), []);
    let _batch = backlog.take();
    assert_eq!(backlog.take_marks(), [], "it is not written yet");
    backlog.finish_batch();
    assert!(!backlog.is_empty());
    assert_eq!(backlog.take_marks(), [server(2)], "the newest");
    assert!(backlog.is_empty());
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "virtual time is tokio's own")]
async fn a_change_waits_a_moment_for_others_unless_they_are_many_or_somebody_waits_for_it() {
    let backlog = Backlog::default();
    let begun = Instant::now();
    backlog.gather().await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "there is nothing");
    backlog.push(vec![row(1, 1, SessionState::Pending)]);
    let connected = async {
        sleep(GATHER / 2).await;
        backlog.push(vec![row(1, 2, SessionState::Active)]);
    };
    tokio::join!(backlog.gather(), connected);
    assert_eq!(begun.elapsed(), GATHER);
    let batch = backlog.take();
    assert_eq!(batch.iter().map(|row| row.version).collect::<Vec<_>>(), [2], "one row of both");
    backlog.finish_batch();
    let begun = Instant::now();
    backlog.push(vec![row(2, 1, SessionState::Pending)]);
    let mut settled = Box::pin(backlog.settled(|row| row.cid.0 == 2));
    assert!(settled.as_mut().now_or_never().is_none());
    backlog.gather().await;
    let ending = SessionRecord { cause: Some(Cause::Idle), ..row(2, 2, SessionState::Closing) };
    backlog.push(vec![ending]);
    backlog.gather().await;
    for number in 3..3 + BATCH as u32 {
        backlog.push(vec![row(number, 1, SessionState::Active)]);
    }
    backlog.take();
    backlog.finish_batch();
    backlog.gather().await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "it may be among the rest");
    backlog.take();
    backlog.finish_batch();
    backlog.gather().await;
    for number in 3..3 + BATCH as u32 {
        backlog.push(vec![row(number, 1, SessionState::Active)]);
    }
    backlog.gather().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[test]
fn rows_that_were_read_are_brought_up_to_what_waits_and_what_is_being_written() {
    use SessionState::{Active, Closed, Pending};
    let backlog = Backlog::default();
    for waiting in [row(1, 3, Closed), row(2, 3, Closed)] {
        backlog.push(vec![waiting]);
    }
    let batch = backlog.take();
    assert_eq!((batch.len(), backlog.len()), (2, 2));
    backlog.push(vec![row(3, 5, Active)]);
    backlog.push(vec![row(5, 1, Pending)]);
    backlog.push(vec![row(6, 2, Closed)]);
    let (unwritten, _) = backlog.unwritten(&"udp".parse().unwrap());
    let read =
        vec![row(1, 2, Active), row(2, 1_004, Active), row(3, 4, Pending), row(4, 1, Active)];
    let open: Vec<_> =
        unwritten.applied_to(read).iter().map(|row| (row.cid.0, row.version, row.state)).collect();
    assert_eq!(open, [(2, 1_004, Active), (3, 5, Active), (4, 1, Active), (5, 1, Pending)]);
    backlog.put_back(&batch);
    backlog.finish_batch();
    assert_eq!(backlog.len(), 5);
    assert!(backlog.unwritten(&"tcp".parse().unwrap()).0.applied_to(vec![]).is_empty());
}
