//! Canaries: what is secret is nowhere that people or programs read, whatever happens and however loud the log is.

mod database;
mod forms;
mod scene;

use std::{fs, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::process::Child;

use super::*;
use crate::{cli::bench::Bench, store::proxy::Mode};
use forms::Canaries;
use scene::Scene;

/// None of them is a word of the program, and each has bytes that some shape writes differently.
const PASSWORD: &str = "pQ4/uW9+eR7 tY2=iO5%aS8dF1";
const WRONG: &str = "wK3/zX6+cV9 bN1=mL4%kJ7hG0";
/// Where no OpenVPN would ever send one.
const MISPLACED: &str = "mQ1/nW4+bE7 vR2=cT5%xY8zU0";
const MANAGEMENT: &str = "gT8/yH5+uJ2 iK9=oL6%pM3nB1";
const DATABASE: &str = "dC7/fV4+gB1 hN8=jM5%kQ2wE9";
const WRONG_DATABASE: &str = "xS6/cD3+vF0 bG7=nH4%mJ1kL8";
const WEBHOOK: &str = "hA5/sD2+fG9 jH6=kL3%qW0eR7";
const WEBHOOK_PATH: &str = "rT4yU1iO8pA5sD2fG9hJ6";
const CHALLENGE: &str = "cZ3/xC0+vB7 nM4=aS1%dF8gH5jK2lQ9";
const CONSOLE: &str = "oW2/eR9+tY6<uI3=oP0%aS7dF4gH1jK8";
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$bE1nV8mC5xZ2$kD9sA6fG3hJ0qW7eR4tY1uI8!!";

fn canaries() -> Canaries {
    let mut canaries = Canaries::default();
    for (name, secret) in [
        ("the password", PASSWORD),
        ("a wrong password", WRONG),
        ("a misplaced password", MISPLACED),
        ("the management password", MANAGEMENT),
        ("the database's password", DATABASE),
        ("a wrong password of the database", WRONG_DATABASE),
        ("the webhook's secret", WEBHOOK),
        ("the webhook's path", WEBHOOK_PATH),
        ("the challenge key", CHALLENGE),
        ("the console's token", CONSOLE),
        ("a damaged hash", HASH.rsplit('$').next().unwrap()),
    ] {
        canaries.add(name, secret);
    }
    canaries
}

fn post(path: &str, form: &str) -> String {
    let length = form.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
    )
}

fn scrv1(password: &str, code: &str) -> String {
    format!("SCRV1:{}:{}", STANDARD.encode(password), STANDARD.encode(code))
}

/// Who comes with what, right and wrong, in every way that there is.
async fn logins(scene: &mut Scene, controller: &mut Controller, key: &str, recovery: &str) {
    let code = scene.code(key);
    scene.canaries.add("a one-time code, encoded", &STANDARD.encode(&code));
    let mut token = [0x5a; 60];
    token[12..20].copy_from_slice(&scene.clock.now().utc.as_secs().to_be_bytes());
    let token = format!("SESS_ID_AT_{}", STANDARD.encode(token.map(|byte| byte ^ 0x33)));
    scene.canaries.add("a session token", &token);
    let asked = scene.come(controller, 10, "alice", PASSWORD).await;
    let state = asked.split(':').nth(2).expect("a challenge").to_owned();
    assert!(asked.contains("CRV1:R,E:"), "{asked}");
    for (cid, (user, sent, answer)) in (11..).zip([
        ("alice", scrv1(PASSWORD, &code), "client-auth"),
        ("alice", scrv1(PASSWORD, &code), "\"bad_second_factor\""),
        ("alice", scrv1(WRONG, &code), "\"bad_credentials\""),
        ("alice", scrv1(PASSWORD, recovery), "client-auth"),
        ("alice", format!("CRV1::{state}::{code}"), "\"bad_second_factor\""),
        ("alice", format!("CRV1::{state}::{WRONG}"), "\"bad_second_factor\""),
        ("alice", format!("SCRV1:{PASSWORD}:{code}"), "\"bad_credentials\""),
        ("bob", PASSWORD.to_owned(), "client-auth"),
        ("bob", WRONG.to_owned(), "\"bad_credentials\""),
        ("bob", format!("{PASSWORD}\u{1}\u{7f}"), "\"bad_credentials\""),
        ("bob", PASSWORD.repeat(40), "client-deny"),
        ("bob", token.clone(), "\"bad_credentials\""),
        ("carol", PASSWORD.to_owned(), "\"backend_unavailable\""),
        ("nobody", PASSWORD.to_owned(), "\"unknown_user\""),
    ]) {
        let line = scene.come(controller, cid, user, &sent).await;
        assert!(line.contains(answer), "{user}, {answer}: {line}");
    }
    for (cid, state, answer) in [(30, "Authenticated", "client-"), (31, "Expired", "client-deny")] {
        controller
            .say(&format!(
                ">CLIENT:CONNECT,{cid},1\n>CLIENT:ENV,session_id=AAAA\n>CLIENT:ENV,session_state={state}\n\
                 >CLIENT:ENV,password={token}\n>CLIENT:ENV,username=bob\n>CLIENT:ENV,UV_CLIENT_MAC={MAC}\n\
                 >CLIENT:ENV,END\n"
            ))
            .await;
        let line = scene.answer(controller, cid).await;
        assert!(line.starts_with(answer), "{line}");
    }
}

/// Blocks and lines that are none, with passwords in them; then the next login is answered.
async fn garbage(scene: &mut Scene, controller: &mut Controller) {
    let env = |key: &str, value: &str| format!(">CLIENT:ENV,{key}={value}\n");
    for block in [
        // Twice, cut short, without ids, over-long, in a name's place, between blocks.
        format!(">CLIENT:CONNECT,40,1\n{}{}", env("password", PASSWORD), env("password", WRONG)),
        format!(">CLIENT:CONNECT,41,x\n{}", env("password", PASSWORD)),
        format!(">CLIENT:CONNECT,,\n{}", env("password", PASSWORD)),
        format!(">CLIENT:CONNECT,42,1\n{}", env("password", &PASSWORD.repeat(4_000))),
        format!(">CLIENT:CONNECT,43,1\n{}", env(MISPLACED, MISPLACED)),
        format!(">CLIENT:CONNECT,44,1\n>CLIENT:ENV,password{MISPLACED}\n>CLIENT:{MISPLACED}\n"),
        env("password", PASSWORD),
        format!(">CLIENT:CR_RESPONSE,45,1,{}\n", STANDARD.encode(PASSWORD)),
        format!(">CLIENT:CR_RESPONSE,{MISPLACED}\n>CLIENT:REAUTH,{MISPLACED}\n"),
        format!(">CLIENT:ADDRESS,{MISPLACED}\n>BYTECOUNT_CLI:{MISPLACED}\n>STATE:{MISPLACED}\n"),
        format!(
            ">PASSWORD:Need 'Auth' {PASSWORD}\n>{MISPLACED}\n{MISPLACED}\nERROR: {MISPLACED}\n"
        ),
    ] {
        controller.say(&format!("{block}>CLIENT:ENV,END\n")).await;
    }
    // An answer that nobody asked for ends the connection.
    while let Some(line) = controller.line_within(Duration::from_secs(2)).await {
        scene.see("what OpenVPN is told", line.clone());
        if line.starts_with("client-deny ") {
            controller.say("SUCCESS: client-deny command succeeded\n").await;
        }
    }
}

/// The database away, back, and without a table; what waits for it is in the journal meanwhile.
async fn outage(scene: &mut Scene, controller: &mut Controller, up: u32) {
    scene.proxy.set(Mode::Cut);
    controller.disconnect(up).await;
    let line = scene.come(controller, 60, "bob", PASSWORD).await;
    assert!(line.contains("\"backend_unavailable\""), "{line}");
    scene.logs("\"event\":\"journal.written\"").await;
    scene.logs("\"event\":\"store.down\"").await;
    scene.see_files("", |file| file.starts_with("journal.db"));
    assert_eq!(scene.run(&["check", "--connect"], ""), 4);
    assert_eq!(scene.run(&["user", "list"], ""), 4);
    scene.proxy.set(Mode::Open);
    scene.logs("\"event\":\"journal.replayed\"").await;
    scene.logs("\"event\":\"store.up\"").await;
    let (name, start) = (scene.database.name.clone(), scene.log().len());
    scene.database.sql(&format!("RENAME TABLE {name}.users TO {name}.gone"));
    let line = scene.come(controller, 61, "bob", PASSWORD).await;
    assert!(line.contains("\"backend_unavailable\""), "{line}");
    scene.run(&["user", "show", "bob"], "");
    scene.run(&["user", "add", "dave", "--password-stdin"], PASSWORD);
    scene.database.sql(&format!("RENAME TABLE {name}.gone TO {name}.users"));
    scene.logs_after(start, "\"event\":\"auth.").await;
    // The password of the file is another than the server's.
    let start = scene.log().len();
    let set = |password: &str| format!("ALTER USER '{name}'@'%' IDENTIFIED BY '{password}'");
    scene.database.sql(&set(WRONG_DATABASE));
    scene.proxy.set(Mode::Cut);
    tokio::time::sleep(Duration::from_millis(200)).await;
    scene.proxy.set(Mode::Open);
    scene.logs_after(start, "\"event\":\"store.down\"").await;
    assert_eq!(scene.run(&["check", "--connect"], ""), 4);
    scene.database.sql(&set(DATABASE));
    scene.logs_after(start, "\"event\":\"store.up\"").await;
}

/// A configuration that is refused by the running daemon, and databases that are by commands.
async fn configurations(scene: &mut Scene, daemon: &Child) {
    let pid = daemon.id().unwrap().to_string();
    for (count, broken) in (1..).zip([
        format!("[console\ntoken = \"{CONSOLE}\"\n"),
        format!("[[servers]]\nname = \"a\"\nmanagement = \"tcp://u:{MANAGEMENT}@h:1\"\n"),
        format!(
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npassword = [\"{MANAGEMENT}\"]\n"
        ),
    ]) {
        scene.configure(&broken);
        assert_eq!(scene.run(&["check"], ""), 2, "{broken}");
        assert!(Command::new("kill").args(["-s", "HUP", &pid]).status().unwrap().success());
        let rejected = || scene.log().matches("\"event\":\"config.rejected\"").count();
        for _ in 0..100 {
            if rejected() == count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(rejected(), count);
    }
    scene.configure("");
    for url in [
        scene.database.url(1, WRONG_DATABASE),
        scene.database.url(scene.proxy.port, WRONG_DATABASE),
    ] {
        scene.secret("database.url", &url);
        assert_eq!(scene.run(&["check", "--connect"], ""), 4);
        assert_eq!(scene.run(&["user", "list"], ""), 4);
    }
    scene.secret("database.url", &scene.database.url(scene.proxy.port, DATABASE));
}

/// What people look at, on the command line and in the browser.
async fn looks(scene: &mut Scene) {
    let conf = scene.path("server.conf");
    let text = format!(
        "management 127.0.0.1 9 {}\nserver 10.8.0.0 255.255.255.0\n",
        scene.path("mgmt.pw")
    );
    fs::write(&conf, text).unwrap();
    for args in [
        &["check"][..],
        &["check", "--openvpn-conf", &conf],
        &["user", "list"],
        &["user", "show", "alice"],
        &["user", "show", "carol", "--json"],
        &["session", "list", "--all"],
        &["session", "history", "--json"],
        &["audit-hashes"],
        &["lockout", "list"],
        &["report", "lockout"],
        &["policy", "list"],
        &["explain", "alice", "--device", MAC],
        &["migrate", "--dry-run"],
    ] {
        scene.run(args, "");
    }
    for password in [PASSWORD, WRONG] {
        scene.run(&["explain", "bob", "--device", MAC, "--password-stdin"], password);
        scene.run(&["user", "set-password", "bob", "--password-stdin"], password);
        // A password among the arguments is refused.
        scene.run(&["user", "add", "eve", "--password-stdin", "--policy", "none"], password);
    }
    let (http, console) = (scene.http, scene.console);
    for path in ["/metrics", "/readyz"] {
        scene.get(http, path, "").await;
    }
    let refused = scene.http(console, &post("/login", &format!("token={WRONG}"))).await;
    scene.see("a refused login at the console", refused);
    let form: String = form_urlencoded::byte_serialize(CONSOLE.as_bytes()).collect();
    let entered = scene.http(console, &post("/login", &format!("token={form}&next=/"))).await;
    let (_, cookie) = entered.split_once("set-cookie: ").unwrap_or_else(|| panic!("{entered}"));
    let cookie = cookie.split(';').next().unwrap().to_owned();
    scene.canaries.add("the console's cookie", cookie.split_once('=').unwrap().1);
    let headers = format!("Cookie: {cookie}\r\n");
    for path in ["/", "/sessions", "/users", "/user?name=alice", "/user?name=carol", "/devices"] {
        scene.get(console, path, &headers).await;
    }
    scene.get(console, "/explain?user=alice", &headers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_whatever_happens() {
    let mut scene = Scene::new().await;
    let (key, recovery) = scene.people();
    let mut daemon = scene.start();
    let mut controller = scene.attach(&[]).await;
    scene.logs("\"event\":\"link.up\"").await;
    logins(&mut scene, &mut controller, &key, &recovery).await;
    garbage(&mut scene, &mut controller).await;
    drop(controller);
    let rows = [client_row(18, "bob", "10.8.0.6")];
    let mut controller = scene.attach(&rows).await;
    outage(&mut scene, &mut controller, 18).await;
    let id = daemon.id().unwrap();
    for file in ["cmdline", "environ", "status", "comm", "maps"] {
        scene.see(file, fs::read(format!("/proc/{id}/{file}")).unwrap());
    }
    looks(&mut scene).await;
    configurations(&mut scene, &daemon).await;
    drop(controller);
    let mut controller = scene.asked().await;
    // Asked again: it was wrong.
    let start = scene.log().len();
    controller.say("ENTER PASSWORD:").await;
    scene.logs_after(start, "the management password is wrong").await;
    assert!(Command::new("kill").arg(id.to_string()).status().unwrap().success());
    assert!(daemon.wait().await.unwrap().success());

    let log = scene.log();
    for event in [
        "auth.allowed",
        "auth.denied",
        "auth.error",
        "auth.challenged",
        "protocol.rejected",
        "link.lost",
        "session.opened",
        "session.closed",
        "store.down",
        "journal.written",
        "config.rejected",
        "webhook.failed",
        "admin.action",
        "console.denied",
        "daemon.stopping",
    ] {
        assert!(log.contains(&format!("\"event\":\"{event}\"")), "no {event} in {log}");
    }
    assert!(log.contains("\"level\":\"debug\""), "it is loud");
    scene.see("the log", log);
    scene.see_files("", |file| file == "errors");
    scene.see_files("captures", |_| true);
    let notices = std::mem::take(&mut *scene.receiver.notices.lock().unwrap());
    assert!(notices.len() > 5, "{}", notices.len());
    for (headers, body) in notices {
        scene.see("a notice", [format!("{headers:?}\n").as_bytes(), &body].concat());
    }
    let tables =
        ["sessions", "auth_events", "admin_audit", "session_commands", "lockouts", "devices"];
    for table in tables {
        let rows = scene.database.sql(&format!("SELECT * FROM {}.{table}", scene.database.name));
        scene.see(table, rows);
    }
    assert!(scene.seen.len() > 80, "{}", scene.seen.len());
    let found: Vec<_> = scene
        .seen
        .iter()
        .flat_map(|(place, bytes)| {
            let mut found = scene.canaries.in_bytes(bytes);
            // A capture keeps what nobody understands, and hides what is a password.
            found.retain(|found| {
                !(place.contains("captures") && found.starts_with("a misplaced password"))
            });
            found.into_iter().map(move |found| format!("{place}: {found}"))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_configuration_that_is_wrong_is_refused_without_its_secrets() {
    let bench = Bench::new();
    let canaries = canaries();
    let server = "[[servers]]\nname = \"a\"\n";
    for text in [
        format!("[database]\nurl = \"mysql://u:{DATABASE}@127.0.0.1:1/x\"\n"),
        format!("[database]\nurl = \"mysq://u:{DATABASE}@127.0.0.1:1/x\"\n"),
        format!("[database]\nurl = \"mysql://u:{DATABASE}@h\"\n"),
        format!("[database]\nurl = \"mysql://u:p@h/d?ssl-mode={DATABASE}\"\n"),
        format!("[database]\nurl = \"{DATABASE}\"\n"),
        format!("[database]\nurl_file = \"{DATABASE}\"\n"),
        format!("{server}password = \"{MANAGEMENT}\"\n"),
        format!("{server}management = \"tcp://u:{MANAGEMENT}@h:1\"\n"),
        format!("{server}management = \"tcp://h:1\"\npasword = \"{MANAGEMENT}\"\n"),
        format!("{server}management = \"tcp://h:1\"\npassword_file = \"{MANAGEMENT}\"\n"),
        format!("[webhook]\nurl = \"https://u:{WEBHOOK_PATH}@h/\"\nsecret = \"{WEBHOOK}\"\n"),
        format!("[webhook]\nurl = \"https://h/{WEBHOOK_PATH}\"\nsecrets = \"{WEBHOOK}\"\n"),
        format!("[console]\nlisten = \"x\"\ntoken = \"{CONSOLE}\"\n"),
        format!("[auth]\nchallenge_key = \"{}\"\n", &CHALLENGE[..24]),
        format!("[auth\nchallenge_key = \"{CHALLENGE}\"\n"),
        format!("[auth]\nchallenge_key = \"{CHALLENGE}\n"),
    ] {
        bench.configure(&text);
        for command in ["check", "run", "migrate"] {
            let ended = bench.run(&[command]);
            let told = format!("{}{}", ended.out, ended.err);
            assert!(ended.code != 0 && !told.is_empty(), "{command}: {text}");
            assert_eq!(
                canaries.in_bytes(told.as_bytes()),
                Vec::<String>::new(),
                "{command}: {text}"
            );
        }
    }
}
