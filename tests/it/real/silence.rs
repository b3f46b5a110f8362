//! An OpenVPN that is there and says nothing: the network between loses everything, or it stands still.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{SOON, Site};
use crate::lab::{Backend, ClientOptions, ServerOptions, arguments, wait_until};

/// How long OpenVPN stands still.
const MINUTE: Duration = Duration::from_secs(60);
/// Byte counts come as often, and then the server is asked whether it is there; it has 10 s to answer.
const ACCOUNTING: &str = "[session]\naccounting_interval_s = 3\n";
const NOTICED: Duration = Duration::from_secs(3 + 10 + 3);

fn loopback(site: &Site, state: &str) {
    let status = site.lab.command("ip").args(["link", "set", "lo", state]).status().unwrap();
    assert!(status.success(), "lo {state}: {status}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "other processes live in real time")]
fn a_half_open_connection_is_noticed_in_time_and_made_again_when_the_network_is_back() {
    let test = "half-open";
    let options = ServerOptions::default();
    let Some(site) = Site::new(test, Backend::Sqlite, options, ACCOUNTING) else { return };
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    let opened = site.warden.wait_event("session.opened", |_| true, SOON);
    // Two intervals, so that the first question, which comes later, is behind us.
    std::thread::sleep(Duration::from_secs(7));
    let mark = site.warden.mark();
    // Both ends keep their connection and neither hears a word more.
    loopback(&site, "down");
    let began = Instant::now();
    let lost = site.warden.wait_event_since(mark, "link.lost", |_| true, NOTICED);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(5), "somebody told it: {took:?} {lost}");
    assert!(lost["error"].as_str().unwrap().contains("state"), "{lost}");
    assert_eq!(alice.ping(2), 2, "nobody is disconnected");
    loopback(&site, "up");
    site.warden.wait_event_since(mark, "link.up", |_| true, Duration::from_secs(60));
    assert_eq!(alice.ping(2), 2);
    let row = site.session(|row| row["state"] == "active");
    assert_eq!(row["id"], opened["session_id"], "it is the same session");
    let id = row["id"].as_str().unwrap();
    site.warden.ok(&["session", "kill", id, "--yes"], "");
    site.warden.wait_event_since(mark, "session.closed", |e| e["cause"] == "admin", SOON);
}

/// Of the daemon, in KiB.
fn memory(site: &Site) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", site.warden.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "other processes live in real time")]
fn a_server_that_stands_still_for_a_minute_holds_up_and_costs_nothing_and_its_deadlines_are_kept() {
    let test = "a minute";
    // Its clients wait for it longer than it stands still.
    let extra = arguments(&["--keepalive", "10", "120"]);
    let options = ServerOptions { extra, ..Default::default() };
    let Some(mut site) = Site::new(test, Backend::Sqlite, options.clone(), ACCOUNTING) else {
        return;
    };
    // Another server of the same daemon.
    let other = site.lab.server(options);
    let config = site.lab.config(&site.database, &[&site.server, &other], ACCOUNTING);
    site.warden.set_config(&config);
    site.warden.restart();
    let up = |name: String| site.warden.wait_event("link.up", move |e| e["server"] == name, SOON);
    up(other.name());
    let short = ["policy", "add", "short", "--session-limit-s", "20"];
    site.warden.ok(&short, "");
    site.warden.ok(&["user", "add", "bob", "--password-stdin", "--policy", "short"], "bob's own");
    site.warden.ok(&["device", "add", "bob", "02:00:5e:10:00:02"], "");
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    let bob = ClientOptions {
        user: "bob".into(),
        password: "bob's own".into(),
        mac: Some("02:00:5e:10:00:02".into()),
        own_address: true,
        ..Default::default()
    };
    let mut bob = site.connected(bob);
    site.warden.wait_event("session.opened", |e| e["user"] == "bob", SOON);
    let before = memory(&site);
    let mark = site.warden.mark();
    site.server.signal("STOP");
    let began = Instant::now();
    let mut logins = 0_u32;
    while began.elapsed() < MINUTE {
        // Every login of the other server is answered.
        let asked = Instant::now();
        let mut client = site.lab.client(&other, ClientOptions::default());
        assert!(client.connected(SOON), "{}\n{}", client.log(), site.warden.report());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        client.signal("TERM");
        assert!(client.wait_exit(SOON).is_some());
        logins += 1;
        // Who is overdue on the silent one is tried again and again; that must not add up.
        std::thread::sleep(Duration::from_secs(5));
    }
    let after = memory(&site);
    assert!(after < before + 8 * 1024, "{before} KiB, then {after} KiB, {logins} logins");
    let expired = |event: &serde_json::Value| event["user"] == "bob";
    site.server.signal("CONT");
    // His time was over long ago: he goes as soon as the server hears of it, and she stays.
    site.warden.wait_event_since(mark, "session.closed", expired, Duration::from_secs(30));
    let is_out = wait_until(SOON, || (!bob.is_running()).then_some(()));
    assert!(is_out.is_some(), "{}", bob.log());
    assert_eq!(alice.ping(2), 2, "{}", alice.log());
    let lost: Vec<_> = site.warden.events()[mark..]
        .iter()
        .filter(|event| event["event"] == "link.lost")
        .map(ToString::to_string)
        .collect();
    assert_eq!(lost.len(), 1, "told once: {lost:?}");
}
