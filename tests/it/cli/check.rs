//! `check`, `run` and `decode`: findings and mends, refusals at the start, bytes in and JSON out.

use std::process::Stdio;

use serde_json::Value;

use super::bench::Bench;

const SERVER: &str =
    "[[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:9\"\n[http]\nlisten = \"\"\n";

fn bench(database: Option<&str>) -> Bench {
    let bench = Bench::new();
    let url =
        database.map_or_else(|| format!("sqlite://{}", bench.path("warden.db")), str::to_owned);
    bench.configure(&format!(
        "[database]\nurl = \"{url}\"\n[auth]\nargon2_m_kib = 64\nargon2_t = 1\n{SERVER}"
    ));
    bench
}

#[test]
fn check_finds_what_is_wrong_and_says_the_mend() {
    let bench = bench(None);
    assert!(bench.ok(&["check"]).contains("ok"));
    let file = bench.path("server.conf");
    std::fs::write(&file, "server 10.8.0.0 255.255.255.0\nmanagement 127.0.0.1 9\n").unwrap();
    let ended = bench.run(&["check", "--openvpn-conf", &file]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.out.contains("server.conf:2  management:"), "{}", ended.out);
    assert!(ended.out.contains("-> add `management-client-auth`"), "{}", ended.out);
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/openvpn-server.conf");
    assert!(bench.ok(&["check", "--openvpn-conf", good]).contains("has what is needed"));
}

#[test]
fn check_connect_visits_the_database_and_the_ports() {
    let reached = bench(None);
    reached.ok(&["migrate"]);
    let ended = reached.run(&["--json", "check", "--connect"]);
    assert_eq!(ended.code, 3, "nobody listens on the management port: {ended:?}");
    let lines: Value = serde_json::from_str(&ended.out).unwrap();
    let is_good = |line: &Value| line["subject"] == "database" && line["severity"] == "ok";
    assert!(lines.as_array().unwrap().iter().any(is_good), "{lines}");
    assert!(lines.to_string().contains("is OpenVPN running"), "{lines}");

    let away = bench(Some("mysql://u:canary@127.0.0.1:9/d"));
    let ended = away.run(&["check", "--connect"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(!ended.out.contains("canary") && !ended.err.contains("canary"), "{ended:?}");
}

#[test]
fn check_looks_at_an_embedded_database_without_being_told_to_connect() {
    let bench = bench(None);
    let file = bench.path("warden.db");
    let shown = bench.ok(&["check"]);
    assert!(shown.contains("is not there yet: `run` or `migrate` will make it"), "{shown}");
    assert!(!std::path::Path::new(&file).exists(), "a question makes no file");

    std::fs::write(&file, "").unwrap();
    let ended = bench.run(&["check"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.out.contains("has no tables yet\n         -> run `ovpn-warden migrate`"));
    assert_eq!(std::fs::read(&file).unwrap(), b"", "a question changes nothing");

    std::fs::write(&file, "not a database\n".repeat(100)).unwrap();
    let ended = bench.run(&["check"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.out.contains("file is not a database") && ended.out.contains("-> "), "{ended:?}");

    std::fs::remove_file(&file).unwrap();
    bench.ok(&["migrate"]);
    assert!(bench.ok(&["check"]).contains("its schema is current"));
}

#[test]
fn check_names_a_folder_that_is_not_there_and_a_server_that_it_does_not_visit() {
    let folder = Bench::new();
    let away = bench(Some(&format!("sqlite://{}", folder.path("no/warden.db"))));
    let ended = away.run(&["check"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.out.contains("no does not exist"), "{ended:?}");
    let shown = bench(Some("mysql://u:canary@127.0.0.1:9/d")).ok(&["check"]);
    assert!(shown.contains("its schema is looked at with --connect"), "{shown}");
}

#[test]
fn check_refuses_an_address_that_no_command_accepts() {
    bench(Some("postgres://canary@localhost/x")).run(&["check"]).fails(
        2,
        "config.toml: database.url: it has to begin with sqlite:// or mysql://; write sqlite:///",
    );
}

#[test]
fn a_database_made_by_root_belongs_to_the_owner_of_its_folder() {
    use std::os::unix::fs::{MetadataExt, chown};
    let bench = Bench::new();
    if chown(bench.folder.path(), Some(12_345), Some(12_345)).is_err() {
        panic!("this test gives a folder away and needs root, as `make test` does");
    }
    bench.add_user("alice");
    let owner = std::fs::metadata(bench.path("warden.db")).unwrap().uid();
    assert_eq!(owner, 12_345);
}

#[test]
fn the_daemon_needs_a_server_and_a_schema_that_it_knows() {
    Bench::new().run(&["run"]).fails(2, "no server is configured");
    let bench = bench(None);
    bench.ok(&["migrate"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bench.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (20991231000000, 'from the future', TRUE, 'x', 0)",
    ));
    for command in [&["run"][..], &["user", "list"], &["migrate"]] {
        bench.run(command).fails(1, "older than the database");
    }
}

#[test]
fn decode_reads_a_file_or_stdin() {
    let bench = Bench::new();
    let bytes = ">HOLD:Waiting for hold release:0\r\nSUCCESS: pid=7\r\n";
    let wanted = "{\"event\":\"hold\"}\n{\"event\":\"success\",\"text\":\"pid=7\"}\n";
    assert_eq!(bench.run_with(bytes.as_bytes(), &["decode"]).ok(&["decode"]), wanted);
    let file = bench.path("capture");
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(bench.ok(&["decode", &file]), wanted);
}

#[test]
fn a_reader_of_decode_that_goes_away_is_no_error() {
    let bench = Bench::new();
    let file = bench.path("capture");
    std::fs::write(&file, ">HOLD:x\r\n".repeat(200_000)).unwrap();
    let mut command = bench.command(&["decode", &file]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
