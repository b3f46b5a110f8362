//! `import …`.

use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::bench::Bench;

const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm";

fn sql(bench: &Bench, text: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bench.sql(text));
}

fn ask(bench: &Bench, text: &str) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bench.ask(text))
}

fn names(bench: &Bench) -> Vec<String> {
    let users = bench.json(&["user", "list"]);
    let name = |user: &Value| user["name"].as_str().unwrap().to_owned();
    users.as_array().unwrap().iter().map(name).collect()
}

/// A file with one row that is refused, and `bob` there already.
fn people(bench: &Bench) -> String {
    bench.add_user("bob");
    let file = bench.path("people.csv");
    let text = format!(
        "name,password_hash,policy,enabled,valid_from,valid_until,devices\n\
         alice,{BCRYPT},default,1,,2030-12-31,02-1A-2B-3C-4D-5E;021a2b3c4d5f\n\
         bob,{BCRYPT},gone,1,,,\n\
         carl,hunter2,gone,1,,,\n\
         dora,,,no,,,\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn without_apply_it_only_says_what_would_be_done() {
    let bench = Bench::new();
    let file = people(&bench);
    let ended = bench.run(&["import", "csv", &file, "--json"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let reasons = report["refused"][0]["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 2, "{report}");
    assert_eq!(
        report,
        json!({
            "source": format!("csv {file}"), "applied": false, "rows": 4, "users": 2, "devices": 2,
            "without_password": 1, "existing": 1,
            "refused": [{"row": "line 4", "user": "carl", "reasons": reasons}],
        })
    );
    let ended = bench.run(&["import", "csv", &file]);
    assert_eq!((ended.code, ended.err.as_str()), (3, ""), "no bar for a pipe");
    assert!(ended.out.contains("ovpn-warden policy add gone"), "{}", ended.out);
    assert!(ended.out.contains("nothing was written; --apply writes it"), "{}", ended.out);
    assert!(!ended.out.contains("hunter2"), "{}", ended.out);
    assert_eq!(names(&bench), ["bob"]);
    bench.ok(&["import", "csv", &file, "--skip-refused"]);
    assert_eq!(names(&bench), ["bob"]);
}

#[test]
fn a_refused_row_stops_it_unless_it_is_left_out() {
    let bench = Bench::new();
    let file = people(&bench);
    let ended = bench.run(&["import", "csv", &file, "--apply"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("1 of 4 rows are refused: nothing was written"), "{ended:?}");
    assert_eq!(names(&bench), ["bob"]);

    let done = bench.json(&["import", "csv", &file, "--apply", "--skip-refused"]);
    assert_eq!((&done["applied"], &done["users"]), (&json!(true), &json!(2)));
    assert_eq!(names(&bench), ["alice", "bob", "dora"]);
    let alice = bench.json(&["user", "show", "alice"]);
    assert_eq!(alice["valid_until"], "2030-12-31T00:00:00.000Z", "{alice}");
    assert_eq!(bench.json(&["user", "show", "dora"])["enabled"], false);
    let devices = bench.json(&["device", "list", "alice"]);
    assert_eq!(devices.as_array().unwrap().len(), 2, "{devices}");
    assert_eq!(devices[0]["status"], "approved");
    let audit = "SELECT group_concat(action || ' ' || detail) FROM admin_audit \
                 WHERE action LIKE 'import%' OR target LIKE 'alice%'";
    let row = "import users=2 devices=2 existing=1 refused=1";
    assert_eq!(ask(&bench, audit).as_deref(), Some(row));

    let again = bench.json(&["import", "csv", &file, "--apply", "--skip-refused"]);
    assert_eq!((&again["users"], &again["existing"]), (&json!(0), &json!(3)), "{again}");
}

#[test]
fn a_file_that_is_not_understood_says_what_is_wrong() {
    let bench = Bench::new();
    let file = bench.path("people.csv");
    bench.run(&["import", "csv", &file]).fails(1, "people.csv");
    std::fs::write(&file, "login,password\na,b\n").unwrap();
    bench.run(&["import", "csv", &file]).fails(2, "`login` is no column");
    bench.run(&["import", "csv", "/dev/zero"]).fails(2, "not a regular file");
    let big = std::fs::File::create(&file).unwrap();
    big.set_len((64 << 20) + 1).unwrap();
    bench.run(&["import", "csv", &file]).fails(2, "larger than 64 MiB");
}

#[test]
fn many_refused_rows_are_named_up_to_a_bound_and_all_with_json() {
    let bench = Bench::new();
    let file = bench.path("people.csv");
    let rows: String = (0..150).map(|n| format!("user{n},plain\n")).collect();
    std::fs::write(&file, format!("name,password_hash\n{rows}")).unwrap();
    let ended = bench.run(&["import", "csv", &file]);
    assert!(ended.out.contains("and 50 more; --json names all"), "{}", ended.out);
    let ended = bench.run(&["import", "csv", &file, "--json"]);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["refused"].as_array().unwrap().len(), 150);
}

#[test]
fn openvpn_admin_comes_from_another_database() {
    let bench = Bench::new();
    bench.ok(&["migrate"]);
    let other = Bench::new();
    sql_new(
        &other,
        &format!(
            "CREATE TABLE user (user_id TEXT PRIMARY KEY, user_pass TEXT, user_mail TEXT, \
             user_online INT, user_enable INT, user_start_date TEXT, user_end_date TEXT);
             INSERT INTO user VALUES ('al', '{BCRYPT}', NULL, 0, 1, NULL, '2030-12-31'), \
             ('bo', '{BCRYPT}', NULL, 0, 0, '0000-00-00', '0000-00-00');"
        ),
    );
    let url = format!("sqlite://{}", other.path("warden.db"));
    let done = bench.json(&["import", "openvpn-admin", "--from", &url, "--apply"]);
    assert_eq!((&done["users"], &done["source"]), (&json!(2), &json!("openvpn-admin")), "{done}");
    let al = bench.json(&["user", "show", "al"]);
    assert_eq!(al["valid_until"], "2031-01-01T00:00:00.000Z", "the last day counts whole: {al}");
    let bo = bench.json(&["user", "show", "bo"]);
    assert_eq!((&bo["enabled"], &bo["valid_until"]), (&json!(false), &Value::Null), "{bo}");

    let file = bench.path("url");
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let again = bench.json(&["import", "openvpn-admin", "--from-file", &file]);
    assert_eq!(again["existing"], 2);
    let missing = bench.run(&["import", "freeradius", "--from", &url]);
    missing.fails(1, "reading radcheck");
    assert!(missing.err.contains("username, attribute, op, value"), "{missing:?}");
    let none = format!("sqlite://{}", other.path("none.db"));
    bench.run(&["import", "view", "--from", &none]).fails(1, "there is no file");
    assert!(!std::path::Path::new(&other.path("none.db")).exists());
}

#[test]
fn freeradius_users_come_with_their_group_as_policy() {
    let bench = Bench::new();
    bench.ok(&["policy", "add", "staff"]);
    sql(
        &bench,
        &format!(
            "CREATE TABLE radcheck (id INTEGER PRIMARY KEY, username TEXT, attribute TEXT, \
             op TEXT, value TEXT);
             CREATE TABLE radusergroup (username TEXT, groupname TEXT, priority INT);
             INSERT INTO radcheck (username, attribute, op, value) VALUES \
             ('al', 'Crypt-Password', ':=', '{BCRYPT}'), ('al', 'Expiration', ':=', '24 Dec 2030'), \
             ('al', 'Calling-Station-Id', '==', '02-1A-2B-3C-4D-5E'), \
             ('bo', 'Cleartext-Password', ':=', 'canary'), \
             ('cy', 'NT-Password', ':=', '8846f7eaee8fb117ad06bdd830b7586c');
             INSERT INTO radusergroup VALUES ('al', 'staff', 1), ('cy', 'gone', 1);"
        ),
    );
    let ended = bench.run(&["import", "freeradius", "--json"]);
    assert_eq!(ended.code, 3);
    assert!(!ended.out.contains("canary") && !ended.out.contains("8846f7"), "{}", ended.out);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&report["users"], &report["devices"]), (&json!(1), &json!(1)));
    assert_eq!(report["refused"][0]["user"], "bo");
    let cy = report["refused"][1]["reasons"].to_string();
    assert!(cy.contains("add \\\"nt\\\" to [auth]") && cy.contains("policy add gone"), "{cy}");

    bench.ok(&["import", "freeradius", "--apply", "--skip-refused"]);
    let al = bench.json(&["user", "show", "al"]);
    assert_eq!(
        (&al["policy"], &al["valid_until"]),
        (&json!("staff"), &json!("2030-12-24T00:00:00.000Z"))
    );
}

#[test]
fn any_table_comes_by_a_view() {
    let bench = Bench::new();
    bench.ok(&["migrate"]);
    sql(
        &bench,
        &format!(
            "CREATE TABLE staff (login TEXT, pw TEXT, active INT, mac TEXT);
             INSERT INTO staff VALUES ('al', '{BCRYPT}', 1, '02-1A-2B-3C-4D-5E'), ('bo', NULL, NULL, '');
             CREATE VIEW import_users AS SELECT login AS name, pw AS password_hash, NULL AS policy, \
             active AS enabled, NULL AS valid_from, '2030-12-31 18:00:00' AS valid_until, \
             mac AS devices FROM staff;"
        ),
    );
    let ended = bench.run(&["import", "view"]);
    assert!(ended.out.contains("enabled: is NULL"), "{}", ended.out);
    bench.ok(&["import", "view", "--apply", "--skip-refused"]);
    assert_eq!(bench.json(&["user", "show", "al"])["valid_until"], "2030-12-31T18:00:00.000Z");
    assert_eq!(names(&bench), ["al"]);
}

/// SQL on a database that is not there yet.
fn sql_new(bench: &Bench, text: &str) {
    std::fs::write(bench.path("warden.db"), "").unwrap();
    sql(bench, text);
}

/// Killed while it holds the database's lock for writing, in the middle of its one transaction.
#[test]
fn an_import_that_is_killed_leaves_nothing() {
    let bench = Bench::new();
    bench.add_user("bob");
    let file = bench.path("people.csv");
    let rows =
        (0..60_000).map(|n| format!("user{n},02:00:00:00:{:02x}:{:02x}\n", n / 256 % 256, n % 256));
    std::fs::write(&file, format!("name,devices\n{}", rows.collect::<String>())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(bench.path("warden.db"))
            .busy_timeout(std::time::Duration::ZERO);
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        let mut import = bench.command(&["-q", "import", "csv", &file, "--apply"]).spawn().unwrap();
        loop {
            let locked = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await;
            if locked.is_err() {
                break;
            }
            sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
            assert_eq!(import.try_wait().unwrap(), None, "it was done before it was killed");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // Some of its rows are written by now, though for nobody else.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(import.try_wait().unwrap(), None, "it was done before it was killed");
        import.kill().unwrap();
        import.wait().unwrap();
        other.close().await.unwrap();
    });
    assert_eq!(names(&bench), ["bob"]);
    assert_eq!(bench.json(&["device", "list"]), json!([]));
    let audit = "SELECT CAST(COUNT(*) AS TEXT) FROM admin_audit WHERE action = 'import'";
    assert_eq!(ask(&bench, audit).as_deref(), Some("0"));
    // And nothing hinders the next one.
    std::fs::write(&file, "name,devices\nuser1,02:00:00:00:00:01\n").unwrap();
    bench.ok(&["import", "csv", &file, "--apply"]);
    assert_eq!(names(&bench), ["bob", "user1"]);
}
