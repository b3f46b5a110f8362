//! What is refused, with which exit code, and whether a stranger can act on the line.

use super::Desk;

#[test]
fn usage_and_configuration_end_with_2() {
    let desk = Desk::new();
    assert!(desk.fails(2, &["user", "add"], "").contains("<NAME>"));
    assert!(desk.fails(2, &["nonsense"], "").contains("unrecognized subcommand"));
    assert!(desk.fails(2, &["run"], "").contains("no server is configured"));
    let error = desk.fails(2, &["device", "add", "alice", "00:11:22:33:44"], "");
    assert!(error.contains("not a MAC address") && error.contains("00-11-22-33-44-55"), "{error}");
    let error = desk.fails(2, &["device", "add", "alice", "ff:ff:ff:ff:ff:ff"], "");
    assert!(error.contains("broadcast"), "{error}");
    let error = desk.fails(2, &["session", "extend", "0190aaaa", "soon"], "");
    assert!(error.contains("write it as 30m or 2h"), "{error}");
    let error = desk.fails(2, &["session", "show", "xyz"], "");
    assert!(error.contains("no session id"), "{error}");
    let error = desk.fails(2, &["user", "add", "a", "--password-stdin"], "");
    assert!(error.contains("the password is empty"), "{error}");
    let error =
        desk.fails(2, &["user", "add", "a", "--password-stdin", "--valid-until", "tomorrow"], "pw");
    assert!(error.contains("`tomorrow` is not a time"), "{error}");
    let error = desk.fails(2, &["user", "remove", "alice"], "");
    assert!(error.contains("--yes"), "{error}");
    desk.append("[log]\nlevle = \"info\"\n");
    let error = desk.fails(2, &["check"], "");
    assert!(error.contains("config.toml") && error.contains("do you mean `log.level`?"), "{error}");
}

#[test]
fn what_is_not_there_or_is_there_already_ends_with_1() {
    let desk = Desk::new();
    assert!(desk.fails(1, &["user", "show", "nobody"], "").contains("user nobody not found"));
    assert!(desk.fails(1, &["device", "add", "nobody", "001122334455"], "").contains("not found"));
    let absent = "01a208d6-7dc1-7724-b0b5-3be2f2610d97";
    assert!(desk.fails(1, &["session", "show", absent], "").contains("not found"));
    assert!(desk.fails(1, &["session", "kill", "01a208"], "").contains("not found"));
    desk.ok_with(&["user", "add", "alice", "--password-stdin"], "pw");
    let error = desk.fails(1, &["user", "add", "alice", "--password-stdin"], "pw");
    assert!(error.contains("exists already"), "{error}");
    let error = desk.fails(1, &["policy", "remove", "default", "--yes"], "");
    assert!(error.contains("in use"), "{error}");
}

#[test]
fn a_database_that_does_not_answer_ends_with_4() {
    let desk = Desk::new();
    let url = "mysql://warden:canary-11f0@127.0.0.1:9/vpn";
    let output =
        desk.command(&["user", "list"]).env("OVPN_WARDEN__DATABASE__URL", url).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("database unavailable") && error.contains("[database] url"), "{error}");
    assert!(!error.contains("canary-11f0"), "{error}");
    let output = desk
        .command(&["check", "--connect"])
        .env("OVPN_WARDEN__DATABASE__URL", url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn an_address_that_is_none_ends_with_2() {
    let desk = Desk::new();
    let output = desk
        .command(&["user", "list"])
        .env("OVPN_WARDEN__DATABASE__URL", "postgres://canary-77@localhost/x")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("database.url") && !error.contains("canary-77"), "{error}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let desk = Desk::new();
    let output = desk
        .command(&["user", "list"])
        .env("OVPN_WARDEN__DATABASE__URL", "sqlite:///nonexistent/folder/warden.db")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(error.contains("/nonexistent/folder"), "{error}");
}

#[test]
fn the_daemon_refuses_a_schema_that_it_does_not_know() {
    let desk = Desk::new();
    desk.append(
        "[[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:9\"\n[http]\nlisten = \"\"\n",
    );
    desk.ok(&["migrate"]);
    let database = desk.path("warden.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::Connection;
        let url = format!("sqlite://{}", database.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
             VALUES (99990101000000, 'future', '2099-01-01', 1, x'00', 0)",
        )
        .execute(&mut connection)
        .await
        .unwrap();
    });
    for command in [&["run"][..], &["user", "list"]] {
        let error = desk.fails(1, command, "");
        assert!(error.contains("newer than this program"), "{error}");
    }
}

#[test]
fn passwords_and_hashes_are_never_said() {
    let desk = Desk::new();
    let canary = "canary-5c01";
    let mut said = String::new();
    for arguments in [
        &["user", "add", "alice", "--password-stdin"][..],
        &["user", "set-password", "alice", "--password-stdin"],
        &["user", "add", "alice", "--password-stdin"],
        &["-v", "-v", "user", "show", "alice"],
        &["--json", "user", "list"],
    ] {
        let output = desk.run(arguments, canary);
        said += &String::from_utf8_lossy(&output.stdout);
        said += &String::from_utf8_lossy(&output.stderr);
    }
    assert!(
        said.contains("alice") && !said.contains(canary) && !said.contains("$argon2id$"),
        "{said}"
    );
}
