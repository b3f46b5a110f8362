//! Exit codes and errors that belong to no one command.

use std::process::Stdio;

use super::bench::{Bench, Ended, bare, finish};

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    let run = |args: &[&str]| {
        let mut command = bare();
        command.args(args);
        finish(command, b"")
    };
    run(&["nonsense"]).fails(2, "nonsense");
    assert_eq!(run(&[]).code, 2);
    assert_eq!(run(&["user"]).code, 2);
    let help = run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    assert!(help.out.contains("Exit codes"), "{help:?}");
    assert_eq!(run(&["--version"]).out, format!("ovpn-warden {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_bad_configuration_is_2_and_names_the_file() {
    let bench = Bench::new();
    bench.configure("[database\n");
    bench.run(&["user", "list"]).fails(2, "config.toml");
    bench.configure("[databse]\nurl = \"sqlite::memory:\"\n");
    bench.run(&["user", "list"]).fails(2, "databse");
    bench.configure("[database]\nurl = \"ftp://x\"\n");
    bench.run(&["user", "list"]).fails(2, "url");
    let mut command = bare();
    command.args(["-c", &bench.path("missing.toml"), "user", "list"]);
    finish(command, b"").fails(2, "missing.toml");
}

#[test]
fn an_unreachable_database_is_4() {
    let bench = Bench::new();
    // Nobody listens on port 1.
    bench.configure("[database]\nurl = \"mysql://u:hidden@127.0.0.1:1/vpn\"\n");
    for args in [&["user", "list"][..], &["session", "list", "--json"], &["migrate"]] {
        let ended = bench.run(args);
        ended.fails(4, "database unavailable");
        assert!(ended.err.contains("help: ") && !ended.err.contains("hidden"), "{ended:?}");
    }
}

#[test]
fn the_embedded_database_makes_itself() {
    let bench = Bench::new();
    let planned = bench.json(&["migrate", "--dry-run"]);
    assert_eq!(planned["dry_run"], true);
    assert!(!planned["applied"].as_array().unwrap().is_empty(), "{planned}");
    bench.ok(&["user", "list"]);
    assert_eq!(bench.ok(&["migrate"]), "the schema is up to date\n");
    assert_eq!(bench.json(&["migrate"])["applied"].as_array().unwrap().len(), 0);
}

#[test]
fn migrate_names_what_it_applied() {
    let bench = Bench::new();
    let planned = bench.ok(&["migrate", "--dry-run"]);
    assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 1, "only config.toml");
    assert!(planned.lines().all(|line| line.starts_with("would apply ")), "{planned}");
    assert_eq!(bench.ok(&["migrate"]), planned.replace("would apply", "applied"));
}

#[tokio::test]
async fn a_schema_of_another_version_is_left_alone() {
    let bench = Bench::new();
    bench.ok(&["user", "list"]);
    bench
        .sql(
            "INSERT INTO _sqlx_migrations SELECT 99999999999999, 'later', installed_on, success, \
             checksum, execution_time FROM _sqlx_migrations LIMIT 1",
        )
        .await;
    bench.run(&["user", "list"]).fails(1, "older than the database");
    bench.run(&["migrate"]).fails(1, "older than the database");
}

#[tokio::test]
async fn a_broken_schema_names_its_migration() {
    let bench = Bench::new();
    bench.ok(&["user", "list"]);
    bench.sql("UPDATE _sqlx_migrations SET success = 0 WHERE version = 20261123090600").await;
    bench.run(&["user", "list"]).fails(1, "20261123090600");
}

#[tokio::test]
async fn an_older_schema_waits_for_migrate() {
    let bench = Bench::new();
    bench.ok(&["user", "list"]);
    let newest = "(SELECT MAX(version) FROM _sqlx_migrations)";
    bench.sql(&format!("DELETE FROM _sqlx_migrations WHERE version = {newest}")).await;
    let refused = bench.run(&["user", "list"]);
    refused.fails(1, "behind this program");
    assert!(refused.err.contains("ovpn-warden migrate"), "{refused:?}");
}

#[test]
fn a_file_that_is_no_database_has_a_mend() {
    let bench = Bench::new();
    bench.add_user("alice");
    std::fs::write(bench.path("warden.db"), "not a database\n".repeat(100)).unwrap();
    let mac = "02:1a:2b:3c:4d:5e";
    for args in [&["device", "add", "alice", mac][..], &["migrate", "--dry-run"]] {
        let refused = bench.run(args);
        refused.fails(1, "file is not a database");
        assert!(refused.err.contains("help: see that `database.url` names"), "{refused:?}");
    }
}

#[test]
fn a_variable_that_is_not_utf_8_is_named() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let bench = Bench::new();
    let mut command = bench.command(&["user", "list"]);
    command.env("OVPN_WARDEN__AUTH__DEVICE_MODE", OsStr::from_bytes(b"o\xffff"));
    finish(command, b"")
        .fails(2, "OVPN_WARDEN__AUTH__DEVICE_MODE: auth.device_mode: the value is not");
    let mut command = bench.command(&["user", "list"]);
    command.env("OTHER", OsStr::from_bytes(b"\xff"));
    assert_eq!(finish(command, b"").code, 0, "what is not ours does not matter");
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let bench = Bench::new();
    bench.add_user("alice");
    for args in [&["user", "list"][..], &["user", "list", "--json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = bench.command(args);
        let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output();
        let ended = Ended::from(output.unwrap());
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{args:?}");
    }
}
