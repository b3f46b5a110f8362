//! What only an SQLite file can show.

use std::{os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use ovpn_warden::{
    store::{Schema, StoreError, Watch},
    types::Clock,
};
use sqlx::{Connection as _, SqliteConnection};

use super::bed::{by, name, new_user, session, store};

#[tokio::test]
async fn a_new_file_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warden.db");
    let store = store(&format!("sqlite://{}", file.display()));
    store.migrate(false).await.unwrap();
    store.add_user(&new_user("alice"), &by()).await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no/warden.db");
    let store = store(&format!("sqlite://{}", file.display()));
    let parent = file.parent().unwrap().display().to_string();
    let text = format!("the directory {parent} does not exist");
    assert_eq!(store.ping().await, Err(StoreError::Unavailable(text)));
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    assert_eq!(store.ping().await, Ok(()));
}

#[tokio::test]
async fn a_file_of_another_kind_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    let notes = "not a database\n".repeat(100);
    std::fs::write(&file, &notes).unwrap();
    let store = store(&format!("sqlite://{}", file.display()));
    let schema = store.schema().await;
    assert!(matches!(schema, Err(StoreError::Corrupt(_))), "{schema:?}");
    assert!(store.migrate(false).await.is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), notes);
}

#[tokio::test]
async fn a_database_in_memory_lives_as_long_as_its_store() {
    let store = store("sqlite::memory:");
    assert_eq!(store.schema().await, Ok(Schema::Missing));
    store.migrate(false).await.unwrap();
    store.add_user(&new_user("alice"), &by()).await.unwrap();
    assert!(store.user(&name("alice")).await.unwrap().is_some());
    let other = super::bed::store("sqlite::memory:");
    assert_eq!(other.schema().await, Ok(Schema::Missing));
}

#[tokio::test]
async fn who_asks_for_changes_waits_for_nobody_who_writes() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("warden.db").display());
    let store = store(&url);
    store.migrate(false).await.unwrap();
    assert_ne!(store.fact_trace().await, Ok(None));
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let writing = Arc::clone(&store);
    let row = tokio::spawn(async move { writing.persist(&[session(1)]).await });
    // Until the row waits for the other.
    let clock = Clock::new();
    let began = clock.now().mono;
    while store.fact_trace().await != Ok(None) {
        assert!(clock.now().mono - began < Duration::from_secs(3));
        tokio::task::yield_now().await;
    }
    let asked = clock.now().mono;
    assert_eq!(store.fact_trace().await, Ok(None));
    assert!(clock.now().mono - asked < Duration::from_millis(500));
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    row.await.unwrap().unwrap();
    assert_ne!(store.fact_trace().await, Ok(None));
}

#[tokio::test]
async fn a_watch_tells_of_what_is_written_and_not_of_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warden.db");
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let store_at = |path: &std::path::Path| store(&format!("sqlite://{}", path.display()));
    let (watching, writing) = (store_at(&link), store_at(&file));
    assert!(watching.watch(None).is_none(), "of what is not there nothing is told");
    writing.migrate(false).await.unwrap();
    watching.ping().await.unwrap();
    let is_told = async |watch: &Watch, wait: u64| {
        tokio::time::timeout(Duration::from_millis(wait), watch.written()).await.is_ok()
    };
    let mut kept = None;
    for user in ["alice", "bob", "carol"] {
        let watch = watching.watch(kept).unwrap();
        writing.user(&name(user)).await.unwrap();
        watching.users(None, 10).await.unwrap();
        assert!(!is_told(&watch, 200).await, "looking tells nothing");
        writing.add_user(&new_user(user), &by()).await.unwrap();
        assert!(is_told(&watch, 5_000).await);
        assert!(is_told(&watch, 0).await, "until it is set again");
        // Nobody listens meanwhile.
        writing.remove_user(&name(user), &by()).await.unwrap();
        kept = Some(watch);
    }
    // Gone, with all that was in it.
    let watch = watching.watch(kept).unwrap();
    assert!(!is_told(&watch, 200).await);
    std::fs::remove_file(&file).unwrap();
    assert!(is_told(&watch, 5_000).await);
    assert!(watching.watch(Some(watch)).is_none());
    // Behind the link is another one now.
    let other = folder.path().join("other.db");
    let writing = store_at(&other);
    writing.migrate(false).await.unwrap();
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let watch = watching.watch(None).unwrap();
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let writing = store_at(&file);
    writing.migrate(false).await.unwrap();
    let watch = watching.watch(Some(watch)).unwrap();
    assert!(!is_told(&watch, 200).await);
    writing.add_user(&new_user("dora"), &by()).await.unwrap();
    assert!(is_told(&watch, 5_000).await);
}

/// By these a daemon knows that there is nothing to ask.
#[tokio::test]
async fn what_another_process_writes_leaves_traces_also_behind_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("data/warden.db"), folder.path().join("warden.db"));
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let writer = store(&format!("sqlite://{}", file.display()));
    writer.migrate(false).await.unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let watching = store(&format!("sqlite://{}", link.display()));
    watching.ping().await.unwrap();
    let mut before = watching.traces();
    assert!(before.is_some());
    for number in 0..20 {
        // Longer than a tick of the clock by which files are dated.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let user = new_user(&format!("user{number}"));
        writer.add_user(&user, &by()).await.unwrap();
        let after = watching.traces();
        assert_ne!(after, before, "{number}");
        assert_eq!(watching.traces(), after, "looking leaves none");
        before = after;
    }
    std::fs::remove_file(&link).unwrap();
    assert_eq!(watching.traces(), None, "of what is not there nothing is known");
}
