//! Session rows on disk: what comes back, what stays out, what becomes of a bad file.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use ovpn_warden::store::{Journal, SessionRecord, SessionState, StoreError};

use super::bed::{at, by, new_user, session, store};

const SIZE: u64 = 64 << 20;

fn journal(folder: &Path) -> Journal {
    Journal::new(folder.join("journal.db"), SIZE)
}

async fn rows(journal: &Journal) -> Vec<SessionRecord> {
    let first = journal.first(1_000).await.unwrap();
    assert!(first.unreadable.is_empty(), "{:?}", first.unreadable);
    first.sessions
}

#[tokio::test]
async fn rows_come_back_whole_the_newest_of_each_session_and_after_a_new_opening() {
    let folder = tempfile::tempdir().unwrap();
    let first = journal(folder.path());
    assert!(first.first(1).await.unwrap().sessions.is_empty());
    let newer = SessionRecord { version: 2, bytes_sent: u64::MAX >> 1, ..session(1) };
    first.append(&[session(1), session(2)]).await.unwrap();
    first.append(std::slice::from_ref(&newer)).await.unwrap();
    first.append(&[session(1)]).await.unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
    // Another process, while the first one is not told to close.
    let second = journal(folder.path());
    assert_eq!(rows(&second).await, [newer, session(2)]);
}

#[tokio::test]
async fn only_what_has_not_changed_meanwhile_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path());
    journal.append(&[session(1), session(2)]).await.unwrap();
    let read = rows(&journal).await;
    let newer = SessionRecord {
        version: 2,
        state: SessionState::Closed,
        ended_at: Some(at(9)),
        ..session(1)
    };
    journal.append(std::slice::from_ref(&newer)).await.unwrap();
    journal.remove(&read).await.unwrap();
    assert_eq!(rows(&journal).await, std::slice::from_ref(&newer));
    journal.remove(&[newer]).await.unwrap();
    assert!(journal.first(1).await.unwrap().sessions.is_empty());
}

#[tokio::test]
async fn a_full_journal_says_so_keeps_what_it_has_and_takes_rows_again_when_it_was_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new(folder.path().join("journal.db"), 400 << 10);
    let mut taken = 0;
    let full = loop {
        let batch: Vec<_> = (taken..taken + 50).map(session).collect();
        match journal.append(&batch).await {
            Ok(()) => taken += 50,
            Err(error) => break error,
        }
        assert!(taken < 10_000, "it never ends");
    };
    assert!(
        matches!(&full, StoreError::Unavailable(text) if text.contains("journal.db")),
        "{full}"
    );
    assert!(fs::metadata(folder.path().join("journal.db")).unwrap().len() <= 400 << 10);
    let held = rows(&journal).await;
    assert_eq!(held.len() as u32, taken);
    journal.remove(&held).await.unwrap();
    journal.append(&(0..50).map(session).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(rows(&journal).await.len(), 50);
}

#[tokio::test]
async fn a_database_is_no_journal_and_keeps_its_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let database = store(&format!("sqlite://{}", folder.path().join("journal.db").display()));
    database.migrate(false).await.unwrap();
    database.add_user(&new_user("alice"), &by()).await.unwrap();
    database.persist(&[session(1)]).await.unwrap();
    let error = journal(folder.path()).open(at(0)).await.unwrap_err();
    assert!(error.to_string().contains("no journal"), "{error}");
    assert!(database.session(session(1).id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let full = journal(folder.path());
    full.append(&(0..500).map(session).collect::<Vec<_>>()).await.unwrap();
    full.close().await;
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[4_096..middle].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let journal = journal(folder.path());
    let error = journal.open(at(0)).await.unwrap_err();
    let aside = folder.path().join(format!("journal.db.damaged-{}", at(0).as_secs()));
    assert!(error.to_string().contains(aside.to_str().unwrap()), "{error}");
    assert_eq!(fs::read(aside).unwrap(), bytes, "nothing of it is lost");
    journal.append(&[session(1)]).await.unwrap();
    assert_eq!(rows(&journal).await, [session(1)]);
}
