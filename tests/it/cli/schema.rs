//! `migrate`, and which schemas the other commands accept.

use sqlx::{Connection, Executor};

use super::Bed;

async fn sql(bed: &Bed, statement: &'static str) {
    let mut database = sqlx::SqliteConnection::connect(&bed.url()).await.unwrap();
    database.execute(statement).await.unwrap();
    database.close().await.unwrap();
}

#[test]
fn migrate_says_what_it_does_and_then_that_there_is_nothing_to_do() {
    let bed = Bed::new();
    let planned = bed.run(&["migrate", "--dry-run"]).good();
    assert!(planned.lines().count() >= 5, "{planned}");
    assert!(planned.lines().all(|line| line.starts_with("would apply 2")), "{planned}");
    let applied = bed.json(&["migrate"]);
    let applied = applied.as_array().unwrap();
    assert_eq!(applied.len(), planned.lines().count());
    assert!(
        applied
            .iter()
            .all(|m| m["applied"] == true && m["number"].is_i64() && m["name"].is_string())
    );
    assert_eq!(bed.run(&["migrate"]).good(), "the schema is up to date\n");
    assert_eq!(bed.json(&["migrate"]), serde_json::json!([]));
}

#[test]
fn a_new_embedded_database_is_made_by_itself() {
    let bed = Bed::new();
    assert_eq!(bed.json(&["policy", "list"])[0]["name"], "default");
}

#[tokio::test]
async fn an_older_schema_is_not_changed_without_being_told_to() {
    let bed = Bed::new();
    bed.run(&["migrate"]).good();
    sql(&bed, "DROP TABLE admin_audit").await;
    sql(
        &bed,
        "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    )
    .await;
    let error = bed.run(&["user", "list"]).failed(1);
    assert!(error.contains("1 migration") && error.contains("ovpn-warden migrate"), "{error}");
    assert_eq!(bed.run(&["migrate"]).good().lines().count(), 1);
    bed.run(&["user", "list"]).good();
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_every_command() {
    let bed = Bed::new();
    bed.run(&["migrate"]).good();
    sql(
        &bed,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (20991231000000, 'from the future', TRUE, 'x', 0)",
    )
    .await;
    bed.append(
        "[[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:9\"\n[http]\nlisten = \"\"\n",
    );
    for command in [
        &["run"][..],
        &["user", "list"],
        &["session", "list"],
        &["migrate"],
        &["migrate", "--dry-run"],
    ] {
        let error = bed.run(command).failed(1);
        assert!(
            error.contains("newer than this program") || error.contains("later version"),
            "{error}"
        );
    }
}
