//! The web console of a running daemon, over its own sockets.

use std::{
    collections::BTreeMap, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc, time::Duration,
};

use ovpn_warden::{
    config::{self, ConsoleListen},
    console::Console,
    daemon,
    store::{self, DeviceStatus, SessionState},
    types::Password,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    process::Child,
};
use tokio_util::sync::CancellationToken;

use super::{
    Bed, Controller, Listener, MAC,
    metrics::{beside_with, free_port},
};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A daemon with its console on a port, alice on the server, and nobody logged in.
pub struct Site {
    pub bed: Bed,
    pub controller: Controller,
    pub port: u16,
    _daemon: Child,
    _listener: Listener,
}

pub async fn site() -> Site {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let port = free_port().await;
    let more = format!("[console]\nlisten = \"127.0.0.1:{port}\"\ntoken = \"{TOKEN}\"\n");
    let (daemon, controller, _) = beside_with(&bed, &listener, &more).await;
    Site { bed, controller, port, _daemon: daemon, _listener: listener }
}

/// What a server answers.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    /// Where it sends the browser.
    #[track_caller]
    pub fn to(&self) -> &str {
        assert_eq!(self.status, 303, "{self:?}");
        &self.headers["location"]
    }

    /// The signature of the page's forms.
    #[track_caller]
    pub fn signature(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"signature\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }
}

pub async fn speak(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, body: body.to_owned() }
}

pub fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

pub fn post(path: &str, headers: &str, form: &str) -> String {
    let length = form.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{headers}\r\n{form}"
    )
}

impl Site {
    async fn ask(&self, request: &str) -> Answer {
        speak(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap(), request).await
    }

    /// Logs in; the header that is to be sent from now on.
    async fn log_in(&self) -> String {
        let answer = self.ask(&post("/login", "", &format!("token={TOKEN}&next=/sessions"))).await;
        assert_eq!(answer.to(), "/sessions");
        let cookie = answer.headers["set-cookie"].split(';').next().unwrap().to_owned();
        format!("Cookie: {cookie}\r\n")
    }

    /// The log, once it is as wanted: its lines are written by a thread of their own.
    async fn log_with(&self, is_wanted: impl Fn(&str) -> bool) -> String {
        let log = || std::fs::read_to_string(self.bed.folder().join("log")).unwrap();
        for _ in 0..100 {
            if is_wanted(&log()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(is_wanted(&log()), "{}", log());
        log()
    }
}

/// Every path of the router and its method, as the source has them.
fn routes() -> Vec<(&'static str, bool)> {
    let source = include_str!("../../../src/console/mod.rs");
    source
        .lines()
        .filter_map(|line| line.trim().strip_prefix(".route(\""))
        .flat_map(|line| {
            let (path, handlers) = line.split_once('"').unwrap();
            [("get(", false), ("post(", true)]
                .into_iter()
                .filter(|(method, _)| handlers.contains(method))
                .map(move |(_, is_post)| (path, is_post))
        })
        .collect()
}

#[tokio::test]
async fn nobody_sees_or_changes_anything_without_logging_in() {
    let site = site().await;
    let routes = routes();
    assert!(routes.len() > 12, "{routes:?}");
    let open = ["/login", "/console.css", "/console.js"];
    for (path, is_post) in routes.into_iter().filter(|(path, _)| !open.contains(path)) {
        for cookie in ["", "Cookie: ovpn_warden_console=00\r\n"] {
            let request =
                if is_post { post(path, cookie, "signature=") } else { get(path, cookie) };
            let answer = site.ask(&request).await;
            assert!(answer.to().starts_with("/login"), "{path}: {answer:?}");
            assert_eq!(answer.body, "", "{path}");
        }
    }
    assert!(site.ask(&get("/nothing", "")).await.to().starts_with("/login"));
    // To a page whose name was made to lead here, the login is not there either.
    for host in ["evil.example", "localhost.evil.example:9177"] {
        let request = post("/login", "", &format!("token={TOKEN}"));
        let answer = site.ask(&request.replace("Host: localhost", &format!("Host: {host}"))).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    // Afterwards he is where he wanted to go.
    let there = site.ask(&get("/user?name=alice", "")).await;
    assert_eq!(there.to(), "/login?next=%2Fuser%3Fname%3Dalice");
    let page = site.ask(&get(there.to(), "")).await;
    assert!(page.body.contains("name=\"next\" value=\"/user?name=alice\""), "{page:?}");
    for path in open {
        let answer = site.ask(&get(path, "")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.headers["content-security-policy"].starts_with("default-src 'none'"));
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["cross-origin-resource-policy"], "same-origin");
    }
}

#[tokio::test]
async fn a_wrong_token_is_told_and_guessing_is_slow() {
    let site = site().await;
    for _ in 0..10 {
        let answer = site.ask(&post("/login", "", "token=canary-guess")).await;
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("That is not the token"), "{answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    let answer = site.ask(&post("/login", "", &format!("token={TOKEN}"))).await;
    assert_eq!(answer.status, 429);
    let log = site.log_with(|log| log.matches("\"console.denied\"").count() == 10).await;
    assert!(!log.contains("canary") && !log.contains(TOKEN), "{log}");
}

#[tokio::test]
async fn a_session_is_extended_and_ended_and_everything_is_audited() {
    let mut site = site().await;
    let cookie = site.log_in().await;
    let before = site.bed.session(|session| session.vpn_ip.is_some()).await;
    let id = before.id.to_string();
    let page = site.ask(&get(&format!("/session?id={id}"), &cookie)).await;
    assert_eq!(page.status, 200);
    let signature = page.signature();
    let form = format!("id={id}&by=2h&signature={signature}");

    // Without its signature, of another site's page, or of another visit it is nothing.
    let other = site.log_in().await;
    for (headers, form) in [
        (cookie.clone(), format!("id={id}&by=2h")),
        (cookie.clone(), format!("id={id}&by=2h&signature=00")),
        (format!("{cookie}Sec-Fetch-Site: cross-site\r\n"), form.clone()),
        (other, form.clone()),
    ] {
        let answer = site.ask(&post("/session/extend", &headers, &form)).await;
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    let long = format!("{form}&reason={}", "x".repeat(9_000));
    assert_eq!(site.ask(&post("/session/kill", &cookie, &long)).await.status, 400);
    let bad = format!("id={id}&by=soon&signature={signature}");
    let answer = site.ask(&post("/session/extend", &cookie, &bad)).await;
    assert!(answer.status == 400 && answer.body.contains("no duration"), "{answer:?}");

    let answer = site.ask(&post("/session/extend", &cookie, &form)).await;
    assert_eq!(answer.to(), format!("/session?id={id}&note=extended"));
    let after = site.bed.session(|session| session.deadline > before.deadline).await;
    let added = after.deadline.unwrap().saturating_since(before.deadline.unwrap());
    assert_eq!(added.as_secs(), 7_200);

    let form = format!("id={id}&reason=go+home&signature={signature}");
    let request = post("/session/kill", &cookie, &form);
    let killing = async {
        site.controller.expect("client-kill 0 \"HALT,go home\"").await;
        site.controller.say("SUCCESS: client-kill command succeeded\n").await;
        site.controller.disconnect(0).await;
    };
    let stream = TcpStream::connect(("127.0.0.1", site.port)).await.unwrap();
    let (answer, ()) = tokio::join!(speak(stream, &request), killing);
    assert_eq!(answer.to(), format!("/session?id={id}&note=killed"));
    let page = site.ask(&get(answer.to(), &cookie)).await;
    assert!(page.body.contains("The session is being ended."), "{page:?}");
    site.bed.session(|session| session.state == SessionState::Closed).await;
    let again = site.ask(&request).await;
    assert!(again.status == 409 && again.body.contains("has ended"), "{again:?}");

    let audit = site.bed.store.audit_of(&id, 10).await.unwrap();
    let audit: Vec<_> = audit.iter().map(|a| (a.actor.as_str(), a.action.as_str())).collect();
    assert_eq!(audit, [("console:token", "session.kill"), ("console:token", "session.extend")]);
    let out = site.ask(&post("/logout", &cookie, &format!("signature={signature}"))).await;
    assert_eq!(out.to(), "/login");
    assert!(site.ask(&get("/", &cookie)).await.to().starts_with("/login"), "the cookie is void");
}

#[tokio::test]
async fn devices_are_judged_and_accounts_switched() {
    let mut site = site().await;
    let cookie = site.log_in().await;
    let page = site.ask(&get("/user?name=alice", &cookie)).await;
    let signature = page.signature();
    let form = format!("user=alice&device={MAC}&status=blocked&from=devices&signature={signature}");
    let answer = site.ask(&post("/device", &cookie, &form)).await;
    assert_eq!(answer.to(), "/devices?note=blocked");
    let alice = "alice".parse().unwrap();
    let devices = site.bed.store.devices(Some(&alice), 10).await.unwrap();
    assert_eq!(devices[0].status, DeviceStatus::Blocked);
    // It reaches who is connected.
    let line = site.controller.command().await;
    assert!(line.starts_with("client-kill 0"), "{line}");

    let form = format!("user=alice&enabled=false&signature={signature}");
    let answer = site.ask(&post("/user/enabled", &cookie, &form)).await;
    assert_eq!(answer.to(), "/user?name=alice&note=disabled");
    assert!(!site.bed.store.user(&alice).await.unwrap().unwrap().enabled);
    let page = site.ask(&get(answer.to(), &cookie)).await;
    for text in ["The account is switched off", "Switch on", "console:token: user.set alice"] {
        assert!(page.body.contains(text), "{text}: {page:?}");
    }
    let page = site.ask(&get(&format!("/explain?user=alice&device={MAC}"), &cookie)).await;
    assert!(page.body.contains("denied: account_disabled"), "{page:?}");
    for (path, status) in [
        ("/user?name=nobody", 404),
        ("/user", 400),
        ("/session?id=01a20843-fc7f-7707-8707-070707070707", 404),
        ("/session?id=x", 400),
        ("/sessions?cause=odd", 400),
        ("/devices?status=odd", 400),
        ("/explain?user=alice&at=soon", 400),
        ("/nothing", 404),
    ] {
        assert_eq!(site.ask(&get(path, &cookie)).await.status, status, "{path}");
    }
    site.log_with(|log| log.contains("\"device.block\"") && log.contains("\"user.disable\"")).await;
}

#[tokio::test]
async fn without_the_database_it_says_so_and_changes_nothing() {
    let bed = Bed::new(&Listener::tcp().await).await;
    let port = free_port().await;
    // Nobody listens there.
    let url = format!("mysql://warden:canary-secret@127.0.0.1:{}/vpn", free_port().await);
    let console = Console {
        store: store::open(&store::Options::new(Password::from(url.as_bytes()))).unwrap(),
        servers: vec!["udp".parse().unwrap()],
        defaults: daemon::defaults(&bed.config),
        schemes: bed.config.auth.password_schemes.clone(),
        readiness: Arc::default(),
        clock: bed.clock,
    };
    let config = config::Console {
        listen: ConsoleListen::Tcp(([127, 0, 0, 1], port).into()),
        token: Some(Password::from(TOKEN.as_bytes())),
        proxy_header: None,
    };
    let stop = CancellationToken::new();
    let served = ovpn_warden::console::serve(&config, console, stop.clone()).await.unwrap();
    let ask = async |request: String| {
        speak(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), &request).await
    };
    let answer = ask(post("/login", "", &format!("token={TOKEN}"))).await;
    let cookie = format!("Cookie: {}\r\n", answer.headers["set-cookie"].split(';').next().unwrap());
    let overview = ask(get("/", &cookie)).await;
    assert_eq!(overview.status, 200, "{overview:?}");
    for text in ["the database does not answer", "not attached", "role=\"alert\""] {
        assert!(overview.body.contains(text), "{text}: {overview:?}");
    }
    assert!(!overview.body.contains("canary"), "{overview:?}");
    for path in ["/sessions", "/users", "/user?name=alice", "/devices", "/explain?user=alice"] {
        let page = ask(get(path, &cookie)).await;
        assert_eq!(page.status, 503, "{path}: {page:?}");
        assert!(!page.body.contains("canary"), "{page:?}");
    }
    let id = "01a20843-fc7f-7707-8707-070707070707";
    let signature = overview.signature();
    for (path, form) in [
        ("/session/kill", format!("id={id}")),
        ("/session/extend", format!("id={id}&by=1h")),
        ("/device", format!("user=alice&device={MAC}&status=approved")),
        ("/user/enabled", "user=alice&enabled=true".to_owned()),
    ] {
        let answer = ask(post(path, &cookie, &format!("{form}&signature={signature}"))).await;
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
    }
    stop.cancel();
    served.await.unwrap();
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[tokio::test]
async fn hostile_names_are_shown_and_not_obeyed_and_secrets_are_on_no_page() {
    let site = site().await;
    let cookie = site.log_in().await;
    let name = "<script>alert(1)</script>\" '\u{202e}&é";
    site.bed.add_user(name, "canary password").await;
    let query: String =
        name.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().join("");
    let pages = [
        "/".to_owned(),
        "/users".into(),
        "/devices".into(),
        "/sessions?ended=yes&user=%3Cscript%3E".into(),
        format!("/user?name={query}"),
        format!("/explain?user={query}&device=%3Cscript%3E0123456789abcdef"),
        "/user?name=alice&note=%3Cscript%3E".into(),
        "/login?next=%22%3E%3Cscript%3E".into(),
    ];
    let mut shown = 0;
    for path in &pages {
        let page = site.ask(&get(path, &cookie)).await;
        let body = page.body.replace("<script src=\"/console.js\" defer></script>", "");
        assert!(!body.contains("<script"), "{path}: {body}");
        // A form sends the name as it is; nobody sees that.
        let seen = body.replace(&format!("name=\"user\" value=\"{}\"", escaped(name)), "");
        assert!(!seen.contains('\u{202e}'), "{path}: {seen}");
        for secret in
            ["$argon2", "canary", TOKEN, cookie["Cookie: ovpn_warden_console=".len()..].trim()]
        {
            assert!(!body.contains(secret), "{path} shows {secret}");
        }
        shown += usize::from(body.contains("&lt;script&gt;alert(1)"));
    }
    assert_eq!(shown, 5, "overview, users, devices, the user, explain");
}

#[tokio::test]
async fn behind_a_proxy_who_it_let_in_is_named_in_the_audit() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let socket: PathBuf = bed.folder().join("console.sock");
    let more = format!(
        "[console]\nlisten = \"unix://{}\"\nproxy_header = \"X-Forwarded-User\"\n",
        socket.display()
    );
    let (mut daemon, _controller, _) = beside_with(&bed, &listener, &more).await;
    assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o660);
    let ask =
        async |request: &str| speak(UnixStream::connect(&socket).await.unwrap(), request).await;
    assert_eq!(ask(&get("/", "")).await.status, 403);
    assert_eq!(ask(&get("/login", "")).await.status, 404);
    let header = "X-Forwarded-User: anna\r\n";
    let page = ask(&get("/user?name=alice", header)).await;
    assert!(page.body.contains("Signed in: <b>anna</b>"), "{page:?}");
    let signature = page.signature();
    let form = format!("user=alice&enabled=false&signature={signature}");
    let otto = "X-Forwarded-User: otto\r\n";
    assert_eq!(ask(&post("/user/enabled", otto, &form)).await.status, 403, "anna's form");
    assert_eq!(ask(&post("/user/enabled", header, &form)).await.status, 303);
    let audit = bed.store.audit_of("alice", 1).await.unwrap();
    assert_eq!(audit[0].actor, "console:anna");
    // SIGTERM: the socket goes with the daemon.
    let id = daemon.id().unwrap().to_string();
    std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
    tokio::time::timeout(Duration::from_secs(10), daemon.wait()).await.unwrap().unwrap();
    assert!(!socket.exists());
}
