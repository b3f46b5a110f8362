//! A second factor on a real OpenVPN: a person at the client's own management interface types what
//! the client asks for.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ovpn_warden::types::Clock;
use totp_rs::{Builder, Secret};

use super::{
    SOON, Site, reneg_sec,
    wake_up::{client_version, waits},
};
use crate::lab::{Backend, Client, ClientOptions, PASSWORD, ServerOptions, arguments, wait_until};

/// The codes of alice's authenticator app, and her recovery codes.
struct App {
    secret: String,
    recovery: Vec<String>,
}

impl App {
    fn enrol(site: &Site) -> Self {
        let shown = site.warden.json(&["user", "totp", "alice"]);
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let recovery = shown["recovery_codes"].as_array().unwrap().iter().map(text).collect();
        Self { secret: text(&shown["secret"]), recovery }
    }

    /// The code of so many steps from now; from -1 to 1 they are right.
    fn code(&self, steps: i64) -> String {
        let secret = Secret::try_from_base32(&self.secret).unwrap();
        let totp = Builder::new().with_secret(secret).build().unwrap();
        let seconds = Clock::new().now().utc.as_secs() + 30 * steps;
        totp.generate(u64::try_from(seconds).unwrap()).to_string()
    }
}

/// Who types `code` wherever a client asks for it, at most once.
struct Person {
    code: String,
    /// For how long it looks for the code, while the client connects.
    delay: Duration,
    has_typed: bool,
    /// State and question of the dynamic challenge that waits.
    challenge: Option<String>,
}

impl Person {
    /// What a person's tool would answer to a line of the client's management interface.
    #[expect(clippy::disallowed_methods, reason = "other processes live in real time")]
    fn answer(&mut self, line: &str) -> Vec<String> {
        if let Some((_, rest)) = line.split_once("['CRV1:") {
            self.challenge = rest.split(':').nth(1).map(str::to_owned);
            Vec::new()
        } else if line.starts_with(">PASSWORD:Need 'Auth'") {
            let password = if let Some(state) = self.challenge.take() {
                format!("CRV1::{state}::{}", self.code)
            } else if line.contains(" SC:") {
                format!("SCRV1:{}:{}", STANDARD.encode(PASSWORD), STANDARD.encode(&self.code))
            } else {
                PASSWORD.to_owned()
            };
            vec!["username \"Auth\" alice".into(), format!("password \"Auth\" \"{password}\"")]
        } else if line.starts_with(">INFOMSG:CR_TEXT:R,E:") && !self.has_typed {
            self.has_typed = true;
            std::thread::sleep(self.delay);
            vec![format!("cr-response {}", STANDARD.encode(&self.code))]
        } else {
            Vec::new()
        }
    }

    /// Sits down at the client of this socket until that ends.
    fn serve(mut self, socket: PathBuf) {
        std::thread::spawn(move || {
            let Some(stream) = wait_until(SOON, || UnixStream::connect(&socket).ok()) else {
                return;
            };
            let mut writer = stream.try_clone().unwrap();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                for answer in self.answer(&line) {
                    if writeln!(writer, "{answer}").is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// A client of alice at which somebody types this code.
fn client(site: &Site, code: &str, more: &[&str]) -> Client {
    slow_client(site, code, Duration::ZERO, more)
}

/// A client at which somebody types it after so long.
fn slow_client(site: &Site, code: &str, delay: Duration, more: &[&str]) -> Client {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let socket = site.lab.path().join(format!("person-{number}.sock"));
    let mut extra = arguments(&["--auth-user-pass", "--auth-retry", "interact"]);
    extra.extend(arguments(&["--management", socket.to_str().unwrap(), "unix"]));
    extra.extend(arguments(&["--management-query-passwords", "--connect-retry", "1", "2"]));
    extra.extend(arguments(more));
    let client = site.client(ClientOptions { real_tun: true, extra, ..Default::default() });
    Person { code: code.to_owned(), delay, has_typed: false, challenge: None }.serve(socket);
    client
}

const STATIC: &[&str] = &["--static-challenge", "Code", "1"];
const PENDING: &[&str] = &["--setenv", "IV_SSO", "webauth,crtext"];
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn by_static_challenge_a_code_lets_in_once() {
    let options = ServerOptions::default();
    let Some(site) = Site::new("static challenge", Backend::Sqlite, options, "") else { return };
    let app = App::enrol(&site);
    let code = app.code(0);
    let mut alice = client(&site, &code, STATIC);
    assert!(alice.connected(PATIENCE), "{}\n{}", alice.log(), site.warden.report());
    assert_eq!(alice.ping(3), 3, "{}", alice.log());
    let allowed = site.warden.wait_event("auth.allowed", |_| true, SOON);
    assert_eq!(allowed["second_factor"], "totp");
    let mark = site.warden.mark();
    let mut again = client(&site, &code, &[STATIC, &["--auth-retry", "none"]].concat());
    assert!(again.refused(PATIENCE).contains("one-time code was wrong"), "{}", again.log());
    let denied = site.warden.wait_event_since(mark, "auth.denied", |_| true, SOON);
    assert_eq!(denied["reason"], "bad_second_factor");
    let mut recovered = client(&site, &app.recovery[3], STATIC);
    assert!(recovered.connected(PATIENCE), "{}", recovered.log());
    let by = |event: &serde_json::Value| event["second_factor"] == "recovery_code";
    site.warden.wait_event("auth.allowed", by, SOON);
    let user = site.warden.json(&["user", "show", "alice"]);
    assert_eq!(user["second_factor"]["recovery_codes"], 9);
    let log = site.warden.report();
    for secret in [&app.secret, &code, &app.recovery[3], PASSWORD] {
        assert!(!log.contains(secret) && !log.contains(&STANDARD.encode(secret)), "{log}");
    }
}

#[test]
fn by_dynamic_challenge_the_client_asks_for_the_code_and_comes_again() {
    let options = ServerOptions::default();
    let Some(site) = Site::new("dynamic challenge", Backend::Sqlite, options, "") else { return };
    let app = App::enrol(&site);
    let mut alice = client(&site, &app.code(0), &[]);
    assert!(alice.connected(PATIENCE), "{}\n{}", alice.log(), site.warden.report());
    assert_eq!(alice.ping(3), 3, "{}", alice.log());
    let asked = site.warden.wait_event("auth.challenged", |_| true, SOON);
    assert_eq!((&asked["way"], &asked["user"]), (&"crv1".into(), &"alice".into()));
    let mut wrong = client(&site, "000000", &[]);
    let denied = site.warden.wait_event("auth.denied", |_| true, PATIENCE);
    assert_eq!(denied["reason"], "bad_second_factor", "{}", wrong.log());
    wrong.kill();
}

#[test]
fn a_client_that_can_is_asked_while_it_connects() {
    let options = ServerOptions::default();
    let knows = options.version().min(client_version()) >= (2, 5);
    let Some(site) = Site::new("CR_TEXT", Backend::Sqlite, options, "") else { return };
    let app = App::enrol(&site);
    let mut alice = client(&site, &app.code(0), PENDING);
    assert!(alice.connected(PATIENCE), "{}\n{}", alice.log(), site.warden.report());
    assert_eq!(alice.ping(3), 3, "{}", alice.log());
    let asked = site.warden.wait_event("auth.challenged", |_| true, SOON);
    // Older ones are asked by a denial.
    assert_eq!(asked["way"], if knows { "cr_text" } else { "crv1" });
    let mut wrong = client(&site, "000000", &[PENDING, &["--auth-retry", "none"]].concat());
    let denied = site.warden.wait_event("auth.denied", |_| true, PATIENCE);
    assert_eq!(denied["reason"], "bad_second_factor", "{}", wrong.log());
    wrong.kill();
}

#[test]
fn who_does_not_answer_is_refused_in_time() {
    let more = "[auth]\nchallenge_timeout_s = 10\n";
    let options = ServerOptions::default();
    if options.version() < (2, 5) {
        // It cannot ask while a client connects.
        return;
    }
    let Some(site) = Site::new("no answer", Backend::Sqlite, options, more) else { return };
    App::enrol(&site);
    let login = ["--auth-retry", "none"];
    let extra = arguments(&[PENDING, &login[..]].concat());
    let mut alice = site.client(ClientOptions { extra, ..Default::default() });
    let told = alice.refused(Duration::from_secs(25));
    assert!(told.contains("came too late"), "{told}");
}

/// Types the code so late, and is let in, with no moment named that is past by then. How often it was told to wait.
fn late_code(test: &str, options: ServerOptions, timeout: u64, delay: u64) -> Option<usize> {
    let more = format!("[auth]\nchallenge_timeout_s = {timeout}\n");
    let site = Site::new(test, Backend::Sqlite, options, &more)?;
    let app = App::enrol(&site);
    let code = &app.recovery[0];
    let mut alice = slow_client(&site, code, Duration::from_secs(delay), PENDING);
    let is_up = alice.connected(Duration::from_secs(delay + 20));
    let log = alice.log();
    assert!(is_up, "{log}\n{}", site.warden.report());
    assert!(!log.contains("process restarting"), "{log}");
    let waits = waits(&log);
    // The last counts from the handshake, too: as much again has to be left.
    assert!(waits.iter().skip(1).all(|(_, last)| u64::from(*last) > 2 * delay), "{log}");
    Some(waits.len())
}

/// Without renegotiations a server leaves of its hand-window what is not over yet.
#[test]
fn a_late_code_is_not_answered_by_a_moment_that_is_past() {
    let extra = arguments(&["--reneg-sec", "0", "--hand-window", "30"]);
    let options = ServerOptions { extra, ..Default::default() };
    let wanted = if client_version() < (2, 6) {
        // It acts on none.
        0
    } else if options.version() < (2, 6) {
        // The server names no time, and the client takes its own.
        2
    } else {
        // That of the question: nothing hurries the approval.
        1
    };
    let waits = late_code("a late code", options, 17, 16);
    assert!(waits.is_none_or(|waits| waits == wanted), "{waits:?}");
}

#[test]
#[ignore = "over a minute each: make test-matrix"]
fn a_code_after_the_client_s_hand_window_lets_in() {
    if ServerOptions::default().version().min(client_version()) < (2, 6) {
        // There a client waits for its hand-window, whatever is asked.
        return;
    }
    let waits = late_code("a code after 70 s", ServerOptions::default(), 240, 70);
    assert!(waits.is_none_or(|waits| waits == 2), "it is hurried: {waits:?}");
    let waits = late_code("a code after 100 s", ServerOptions::default(), 240, 100);
    assert!(waits.is_none_or(|waits| waits == 1), "nothing hurries it: {waits:?}");
}

#[test]
fn nobody_is_asked_again_at_a_renegotiation() {
    let (seconds, time) = reneg_sec();
    // From 2.6 on it has a time of renewal, too: twice `hand-window`, and not `reneg-sec`.
    let with_tokens: &[&str] = match ServerOptions::default().version() {
        (2, 0..=5) => &["--auth-gen-token", "3600", "external-auth"],
        _ => &["--auth-gen-token", "0", "120", "external-auth"],
    };
    for tokens in [&[], with_tokens] {
        let extra = arguments(&[&["--reneg-sec", seconds][..], tokens].concat());
        let options = ServerOptions { extra, ..Default::default() };
        if !tokens.is_empty() && options.version() < (2, 5) {
            // It has no `external-auth`.
            continue;
        }
        let test = "renegotiation with a second factor";
        let Some(site) = Site::new(test, Backend::Sqlite, options, "") else { return };
        let app = App::enrol(&site);
        let ways: [(&str, &[&str]); 3] =
            [(&app.code(0), STATIC), (&app.code(1), &[]), (&app.recovery[0], PENDING)];
        for (code, how) in ways {
            let mut alice = client(&site, code, how);
            assert!(alice.connected(PATIENCE), "{}\n{}", alice.log(), site.warden.report());
            let mark = site.warden.mark();
            site.warden.wait_event_since(mark, "auth.allowed", |e| e["reauth"] == true, time);
            let goes_on = wait_until(time, || (alice.ping(1) == 1).then_some(()));
            assert!(goes_on.is_some(), "{how:?} {tokens:?}: {}", alice.log());
            alice.kill();
        }
        let log = site.warden.report();
        assert!(!log.contains("bad_second_factor") && !log.contains("auth.denied"), "{log}");
    }
}
