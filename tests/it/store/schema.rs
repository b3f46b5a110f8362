//! Migrations, on every backend.

use std::sync::Arc;

use ovpn_warden::store::{Schema, StoreError};

use super::bed::{Backend, Bed, at, name};

/// Version and name of each file in `migrations/`.
fn files(backend: Backend) -> Vec<(i64, String)> {
    let folder = if backend == Backend::Sqlite { "migrations/sqlite" } else { "migrations/mysql" };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let file = file.unwrap().file_name().into_string().unwrap();
            let (version, name) = file.trim_end_matches(".sql").split_once('_').unwrap();
            (version.parse().unwrap(), name.replace('_', " "))
        })
        .collect();
    files.sort();
    files
}

pub async fn an_empty_database_is_missing_its_schema(bed: Arc<Bed>) {
    assert_eq!(bed.store.ping().await, Ok(()));
    assert_eq!(bed.store.schema().await, Ok(Schema::Missing));
    let facts = bed.store.facts(&name("alice"), None, None, at(0)).await;
    assert!(matches!(facts, Err(StoreError::Schema(_))), "{facts:?}");
}

pub async fn a_dry_run_lists_and_changes_nothing(bed: Arc<Bed>) {
    let files = files(bed.backend);
    for _ in 0..2 {
        // Also that a new file did not miss the binary.
        assert_eq!(bed.store.migrate(true).await.unwrap().applied, files);
        assert_eq!(bed.store.schema().await, Ok(Schema::Missing));
    }
    assert_eq!(bed.store.migrate(false).await.unwrap().applied, files);
    assert_eq!(bed.store.schema().await, Ok(Schema::Current));
    assert_eq!(bed.store.migrate(true).await.unwrap().applied, []);
}

pub async fn two_daemons_migrate_at_once(bed: Arc<Bed>) {
    let (one, two) = (bed.second(), bed.second());
    let (one, two) = tokio::join!(one.migrate(false), two.migrate(false));
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert_eq!(bed.store.schema().await, Ok(Schema::Current));
}

pub async fn a_refused_migration_can_be_run_again(bed: Arc<Bed>) {
    bed.sql("CREATE TABLE sessions (mine INTEGER)").await;
    let refused = bed.store.migrate(false).await;
    let Err(StoreError::Schema(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("20261123090400") && text.contains("exists"), "{text}");
    let left = bed.store.schema().await;
    assert!(matches!(left, Ok(Schema::Missing | Schema::Behind(_))), "{left:?}");
    bed.sql("DROP TABLE sessions").await;
    bed.store.migrate(false).await.unwrap();
    assert_eq!(bed.store.schema().await, Ok(Schema::Current));
}

pub async fn a_current_schema_stays_as_it_is(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    assert_eq!(bed.store.migrate(false).await.unwrap().applied, []);
    assert_eq!(bed.store.schema().await, Ok(Schema::Current));
    assert!(bed.store.user(&name("alice")).await.unwrap().is_some());
}

pub async fn a_newer_schema_is_refused(bed: Arc<Bed>) {
    bed.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (20991231000000, 'from the future', TRUE, 'x', 0)",
    )
    .await;
    assert_eq!(bed.store.schema().await, Ok(Schema::Ahead(20_991_231_000_000)));
    for dry_run in [true, false] {
        let refused = bed.store.migrate(dry_run).await;
        let Err(StoreError::Schema(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains("later version"), "{text}");
    }
}

pub async fn a_broken_migration_is_named(bed: Arc<Bed>) {
    let version = 20_261_123_090_300;
    let row = format!("WHERE version = {version}");
    for (spoil, mend) in [
        ("success = FALSE", "success = TRUE"),
        ("description = 'x', checksum = 'x'", "description = 'x'"),
    ] {
        bed.sql(&format!("UPDATE _sqlx_migrations SET {spoil} {row}")).await;
        assert_eq!(bed.store.schema().await, Ok(Schema::Broken(version)));
        let refused = bed.store.migrate(false).await;
        assert!(matches!(refused, Err(StoreError::Schema(_))), "{refused:?}");
        bed.sql(&format!("UPDATE _sqlx_migrations SET {mend} {row}")).await;
    }
    bed.sql(&format!("DELETE FROM _sqlx_migrations {row}")).await;
    assert_eq!(bed.store.schema().await, Ok(Schema::Broken(version)));
}

pub async fn a_migration_that_is_missing_is_applied(bed: Arc<Bed>) {
    let (version, name) = files(bed.backend).pop().unwrap();
    assert_eq!(name, "session timeout", "undo the newest migration here");
    bed.sql(&format!(
        "ALTER TABLE sessions DROP COLUMN session_timeout_s; DELETE FROM _sqlx_migrations WHERE version = {version}"
    ))
    .await;
    assert_eq!(bed.store.schema().await, Ok(Schema::Behind(1)));
    let applied = bed.store.migrate(false).await.unwrap().applied;
    assert_eq!(applied, [(version, name)]);
    assert_eq!(bed.store.schema().await, Ok(Schema::Current));
    assert_eq!(bed.texts("SELECT session_timeout_s FROM sessions").await, [""; 0]);
}
