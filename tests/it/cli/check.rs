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
}

#[test]
fn our_own_examples_have_no_fault() {
    let bench = bench(None);
    let example = |name: &str| format!("{}/conf/{name}", env!("CARGO_MANIFEST_DIR"));
    let shown = bench.ok(&["check", "--openvpn-conf", &example("client.ovpn")]);
    assert!(shown.contains("client.ovpn  a client's: has what is needed"), "{shown}");
    let shown = bench.ok(&["check", "--openvpn-conf", &example("openvpn-server.conf")]);
    assert!(shown.contains("none of our servers attaches there"), "{shown}");
    assert!(shown.contains("-> set management = \"tcp://127.0.0.1:7505\""), "{shown}");
    bench.configure(&format!(
        "[database]\nurl = \"sqlite://{}\"\n[[servers]]\nname = \"udp\"\n\
         management = \"tcp://127.0.0.1:7505\"\npassword = \"x\"\n",
        bench.path("warden.db")
    ));
    let shown = bench.ok(&["check", "--openvpn-conf", &example("openvpn-server.conf")]);
    assert!(shown.contains("openvpn-server.conf  has what is needed"), "{shown}");
    assert!(shown.contains("push-peer-info: devices are known only of clients"), "{shown}");
}

#[test]
fn management_passwords_are_compared_and_never_shown() {
    let bench = Bench::new();
    let (conf, file) = (bench.path("server.conf"), bench.path("mgmt.pw"));
    let server = "server 10.8.0.0 255.255.255.0\nmanagement 127.0.0.1 9 mgmt.pw\n\
                  management-client-auth\nmanagement-hold\n";
    std::fs::write(&conf, server).unwrap();
    bench.configure(&format!(
        "[database]\nurl = \"sqlite://{}\"\n[auth]\ndevice_mode = \"off\"\n[[servers]]\nname = \"udp\"\n\
         management = \"tcp://127.0.0.1:9\"\npassword = \"canary one\"\n",
        bench.path("warden.db")
    ));
    let check = || bench.run(&["check", "--openvpn-conf", &conf]);
    let shown = check();
    assert!(shown.out.contains("server.conf:2  management: its password file"), "{shown:?}");
    std::fs::write(&file, "canary two\n").unwrap();
    set_mode(&file, 0o600);
    let shown = check();
    assert_eq!(shown.code, 3, "{shown:?}");
    assert!(shown.out.contains("is another than that of server `udp`"), "{shown:?}");
    assert!(!format!("{shown:?}").contains("canary"), "{shown:?}");
    std::fs::write(&file, "canary one\r\nand more").unwrap();
    let shown = check();
    assert!(shown.code == 0 && shown.out.contains("has what is needed"), "{shown:?}");
    set_mode(&file, 0o644);
    assert!(check().out.contains("every user of this machine can read"), "{:?}", check());
}

fn set_mode(path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_socket_that_everybody_can_open_is_told_of() {
    let bench = Bench::new();
    // Every folder above has to be open, too.
    let open = tempfile::tempdir_in("/tmp").unwrap();
    let folder = open.path().join("run").to_str().unwrap().to_owned();
    let socket = format!("{folder}/udp.sock");
    let configure = |password: &str| {
        bench.configure(&format!(
            "[database]\nurl = \"sqlite://{}\"\n[[servers]]\nname = \"udp\"\n\
             management = \"unix://{socket}\"\n{password}",
            bench.path("warden.db")
        ));
    };
    configure("");
    let check = || bench.run(&["check"]);
    assert!(check().out.contains("run is not there: OpenVPN cannot make the socket"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(&socket, "").unwrap();
    assert!(check().out.contains("what is there is no socket"), "{:?}", check());
    std::fs::remove_file(&socket).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    set_mode(open.path().to_str().unwrap(), 0o755);
    set_mode(&folder, 0o755);
    set_mode(&socket, 0o777);
    let shown = check();
    assert_eq!(shown.code, 3, "{shown:?}");
    assert!(shown.out.contains("it has no password\n"), "{shown:?}");
    assert!(shown.out.contains(&format!("chmod 0750 {folder}")), "{shown:?}");
    configure("password = \"x\"\n");
    let shown = check();
    assert!(shown.code == 0 && shown.out.contains("guess its password"), "{shown:?}");
    set_mode(&folder, 0o750);
    assert!(!check().out.contains("every local user"), "{:?}", check());
}

#[test]
fn a_port_that_is_held_names_who_holds_it() {
    use std::{io::Write, net::TcpListener};
    // Accepts and says nothing, as OpenVPN does while it serves another.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, http) = (held.local_addr().unwrap().port(), metrics.local_addr().unwrap().port());
    let bench = Bench::new();
    let configure = |listen: &str| {
        bench.configure(&format!(
            "[database]\nurl = \"sqlite://{}\"\n[http]\nlisten = \"{listen}\"\n[[servers]]\n\
             name = \"udp\"\nmanagement = \"tcp://127.0.0.1:{port}\"\n",
            bench.path("warden.db")
        ));
    };
    configure("");
    bench.ok(&["migrate"]);
    let shown = bench.run(&["check", "--connect"]);
    assert!(shown.code == 0 && shown.out.contains("warning  udp"), "{shown:?}");
    assert!(shown.out.contains(&format!("`ss -tnp dport = :{port}` shows who")), "{shown:?}");

    configure(&format!("127.0.0.1:{http}"));
    for (is_up, code, words) in
        [(1, 0, "by ovpn-warden itself, whose link is up"), (0, 3, "has to wait")]
    {
        let server = metrics.try_clone().unwrap();
        let answers = std::thread::spawn(move || {
            let text = format!(
                "ovpn_warden_build_info{{version=\"1\"}} 1\novpn_warden_link_up{{server=\"udp\"}} {is_up}\n"
            );
            let (mut stream, _) = server.accept().unwrap();
            let mut request = [0; 1_024];
            let _ = std::io::Read::read(&mut stream, &mut request).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
            stream.write_all((head + &text).as_bytes()).unwrap();
        });
        let shown = bench.run(&["check", "--connect"]);
        answers.join().unwrap();
        assert!(shown.code == code && shown.out.contains(words), "{shown:?}");
    }
}

#[test]
fn a_visit_tells_of_wrong_passwords_and_of_an_openvpn_that_is_too_old() {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let bench = Bench::new();
    let configure = |password: &str| {
        bench.configure(&format!(
            "[database]\nurl = \"sqlite://{}\"\n[http]\nlisten = \"\"\n[[servers]]\nname = \"udp\"\n\
             management = \"tcp://127.0.0.1:{port}\"\n{password}",
            bench.path("warden.db")
        ));
    };
    configure("");
    bench.ok(&["migrate"]);
    for (password, version, code, words) in [
        ("", 5, 3, "the server asks for a management password; set password_file"),
        ("password = \"wrong\"\n", 5, 3, "the management password is wrong"),
        ("password = \"right\"\n", 5, 0, "answers: OpenVPN 2"),
        ("password = \"right\"\n", 3, 0, "older than 2.6: without session-timeout"),
        ("password = \"right\"\n", 1, 0, "older than 2.5: without client-pending-auth"),
    ] {
        configure(password);
        let listener = listener.try_clone().unwrap();
        let openvpn = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"ENTER PASSWORD:").unwrap();
            while let Some(Ok(line)) = lines.next() {
                let answer = match line.as_str() {
                    "right" => {
                        format!(
                            "SUCCESS: password is correct\r\n>INFO:OpenVPN Management Interface Version {version} -- type 'help' for more info\r\n"
                        )
                    }
                    "version" => {
                        format!(
                            "OpenVPN Version: OpenVPN 2.x\r\nManagement Version: {version}\r\nEND\r\n"
                        )
                    }
                    _ => "ENTER PASSWORD:".into(),
                };
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let shown = bench.run(&["check", "--connect"]);
        openvpn.join().unwrap();
        assert!(shown.code == code && shown.out.contains(words), "{words}: {shown:?}");
        assert!(!shown.out.contains("fault") || shown.out.contains("\n         -> "), "{shown:?}");
    }
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

#[tokio::test]
async fn tables_of_ones_own_that_let_nobody_in_are_a_fault() {
    let bench = bench(None);
    bench.ok(&["migrate"]);
    let found = |words: &str| {
        let checked = bench.run(&["check"]);
        assert_eq!(checked.code, 3, "{checked:?}");
        assert!(checked.out.contains("nobody can log in"), "{checked:?}");
        assert!(
            checked.out.contains(words) && checked.out.contains("docs/schema.md"),
            "{checked:?}"
        );
    };
    assert!(!bench.run(&["check"]).out.contains("nobody can log in"));
    bench
        .sql(
            "DROP TABLE devices; DROP TABLE users; \
             CREATE TABLE staff (id INTEGER, name TEXT, active INTEGER, made TEXT); \
             INSERT INTO staff VALUES (1, 'alice', 7, '2026-01-01 00:00:00.000'); \
             CREATE VIEW devices AS SELECT 1 AS user_id, 'mac' AS kind, '' AS identifier, \
             NULL AS label, 'approved' AS status, '' AS created_at, '' AS updated_at WHERE 0; \
             CREATE VIEW users AS SELECT id, name, NULL AS password_hash, NULL AS policy, \
             active AS enabled, NULL AS valid_from, NULL AS valid_until, made AS created_at, \
             made AS updated_at FROM staff",
        )
        .await;
    found("password_changed_at");
    let refused = bench.run(&["user", "list"]);
    assert!(refused.err.contains("docs/schema.md"), "{refused:?}");
    bench
        .sql(
            "DROP VIEW users; CREATE VIEW users AS SELECT id, name, NULL AS password_hash, \
             NULL AS policy, active AS enabled, NULL AS valid_from, NULL AS valid_until, \
             NULL AS password_changed_at, made AS created_at, made AS updated_at FROM staff",
        )
        .await;
    found("users.enabled where name is `alice`");
    bench.sql("UPDATE staff SET active = 1").await;
    let checked = bench.run(&["check"]);
    assert!(
        !checked.out.contains("nobody can log in") && !checked.out.contains("gone"),
        "{checked:?}"
    );
    bench
        .sql(
            "INSERT INTO device_enrolments VALUES (1, '2999-01-01 00:00:00.000'); \
             INSERT INTO second_factors (user_id, secret, created_at) \
             VALUES (7, 'JBSWY3DPEHPK3PXP', '2026-01-01 00:00:00.000'); \
             INSERT INTO device_ends VALUES (7, '02:1a:2b:3c:4d:5e', '2999-01-01 00:00:00.000')",
        )
        .await;
    let checked = bench.run(&["check"]);
    for table in ["second_factors", "device_ends"] {
        let told = format!("1 rows of {table} are of users that are gone");
        assert!(checked.out.contains(&told), "{checked:?}");
    }
    assert!(!checked.out.contains("device_enrolments"), "{checked:?}");
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
fn a_socket_of_ours_that_has_no_folder_is_a_fault() {
    let bench = Bench::new();
    let configure = |folder: &str| {
        bench.configure(&format!(
            "[database]\nurl = \"sqlite://{}\"\n[[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:9\"\n\
             relay = \"unix://{folder}/udp.sock\"\n[console]\nlisten = \"unix://{folder}/console.sock\"\n\
             proxy_header = \"X-Forwarded-User\"\n",
            bench.path("warden.db")
        ));
    };
    configure(&bench.path("no"));
    let shown = bench.run(&["check"]);
    assert_eq!(shown.code, 3, "{shown:?}");
    for text in [
        "fault    console (",
        "no is not there: the daemon does not start",
        "warning  relay of udp (",
        "no is not there: nobody can use it",
    ] {
        assert!(shown.out.contains(text), "{shown:?}");
    }
    // The unit makes it.
    configure("/run/ovpn-warden");
    assert_eq!(bench.run(&["check"]).code, 0);
    configure(&bench.path("."));
    assert_eq!(bench.run(&["check"]).code, 0);
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
