//! What every OpenVPN server has to do with us, whatever its version: `make test-matrix` runs this
//! folder against each one that Debian carries.

use std::time::Duration;

use serde_json::Value;

use super::{SOON, Site, reneg_sec};
use crate::lab::{Backend, Client, ClientOptions, ServerOptions, arguments, wait_until};

/// On SQLite, with further options of the server and lines of configuration.
fn site(test: &str, options: &[&str], more: &str) -> Option<Site> {
    let options = ServerOptions { extra: arguments(options), ..Default::default() };
    Site::new(test, Backend::Sqlite, options, more)
}

fn with_tun() -> ClientOptions {
    ClientOptions { real_tun: true, ..Default::default() }
}

/// Whether its tunnel carries something within that time.
fn is_up(client: &Client, time: Duration) -> bool {
    wait_until(time, || (client.ping(1) == 1).then_some(())).is_some()
}

#[test]
fn allow() {
    let Some(site) = site("matrix: allow", &[], "") else { return };
    let alice = site.connected(with_tun());
    assert_eq!(alice.ping(3), 3, "{}", alice.log());
    let row = site.session(|row| row["state"] == "active");
    assert_eq!(row["user"], "alice");
}

#[test]
fn deny_with_reason() {
    let Some(site) = site("matrix: deny", &[], "") else { return };
    let mac = Some("02:00:5e:10:00:99".into());
    let mut client = site.client(ClientOptions { mac, ..Default::default() });
    let told = client.refused(SOON);
    assert!(told.contains("This device is not registered"), "{told}");
    let denied = site.warden.wait_event("auth.denied", |_| true, SOON);
    assert_eq!(denied["reason"], "device_unknown");
}

#[test]
fn reauth() {
    let (seconds, time) = reneg_sec();
    let Some(site) = site("matrix: REAUTH", &["--reneg-sec", seconds], "") else { return };
    let alice = site.connected(with_tun());
    for kid in [1, 2] {
        let again = |event: &Value| event["reauth"] == true && event["kid"].as_u64() >= Some(kid);
        site.warden.wait_event("auth.allowed", again, time);
        assert!(is_up(&alice, time), "{}", alice.log());
    }
    assert!(site.warden.events().iter().all(|event| event["event"] != "auth.denied"));
}

#[test]
fn reauth_with_token() {
    let (seconds, time) = reneg_sec();
    let mut options = vec!["--reneg-sec", seconds, "--auth-gen-token", "3600", "external-auth"];
    if ServerOptions::default().version() >= (2, 6) {
        // Tokens are renewed no oftener than twice in it.
        options.extend(["--hand-window", "4"]);
    }
    let Some(site) = site("matrix: REAUTH with a token", &options, "") else { return };
    let alice = site.connected(with_tun());
    let again = |event: &Value| event["reauth"] == true;
    site.warden.wait_event("auth.allowed", again, time);
    assert!(is_up(&alice, time), "{}", alice.log());
    // The token stands for the password that it was given for.
    let mark = site.warden.mark();
    site.warden.ok(&["user", "set-password", "alice", "--password-stdin"], "another");
    let denied = |event: &Value| event["reason"] == "bad_credentials";
    site.warden.wait_event_since(mark, "auth.denied", denied, time);
    site.warden.wait_event_since(mark, "session.closed", |_| true, time);
}

#[test]
fn kill_by_halt() {
    let Some(site) = site("matrix: HALT", &[], "[session]\nlimit_s = 4\n") else { return };
    let mut alice = site.connected(with_tun());
    assert!(alice.wait_exit(Duration::from_secs(15)).is_some(), "{}", alice.log());
    assert!(alice.log().contains("Your session time is over"), "{}", alice.log());
    let closed = site.warden.wait_event("session.closed", |_| true, SOON);
    assert_eq!(closed["cause"], "session_limit");
}

#[test]
fn kill_by_restart() {
    let more = "[session]\nlimit_s = 4\nexpiry_action = \"restart\"\n";
    let Some(site) = site("matrix: RESTART", &[], more) else { return };
    let mut alice = site.connected(ClientOptions::default());
    let closed = site.warden.wait_event("session.closed", |_| true, Duration::from_secs(15));
    assert_eq!(closed["cause"], "session_limit");
    let opened = |_: &Value| true;
    let mark = site.warden.mark();
    let is_back =
        site.warden.events().iter().filter(|e| e["event"] == "session.opened").count() > 1;
    if !is_back {
        site.warden.wait_event_since(mark, "session.opened", opened, SOON);
    }
    assert!(alice.is_running(), "it came back by itself: {}", alice.log());
}

fn restarted_by(signal: &str) {
    let Some(mut site) = site(&format!("matrix: SIG{signal}"), &[], "") else { return };
    // A 2.5 server that is about to restart still greets new clients, who then hear no more of it.
    let patience = arguments(&["--hand-window", "5"]);
    let mut alice = site.connected(ClientOptions { extra: patience, ..with_tun() });
    let mark = site.warden.mark();
    site.server.signal(signal);
    let closed = site.warden.wait_event_since(mark, "session.closed", |_| true, SOON);
    assert_eq!(closed["cause"], "server_restarted");
    site.warden.wait_event_since(mark, "session.opened", |_| true, Duration::from_secs(60));
    assert!(is_up(&alice, Duration::from_secs(30)), "{}", alice.log());
    assert!(alice.is_running());
}

#[test]
fn sighup() {
    restarted_by("HUP");
}

#[test]
fn sigusr1() {
    restarted_by("USR1");
}

#[test]
fn daemon_restart() {
    let Some(mut site) = site("matrix: daemon restart", &[], "") else { return };
    let alice = site.connected(with_tun());
    let opened = site.warden.wait_event("session.opened", |_| true, SOON);
    site.warden.kill();
    assert_eq!(alice.ping(2), 2, "nobody is disconnected");
    let mark = site.warden.mark();
    site.warden.start();
    let adopted = site.warden.wait_event_since(mark, "session.adopted", |_| true, SOON);
    assert_eq!(adopted["session_id"], opened["session_id"]);
    assert_eq!(alice.ping(1), 1);
}
