//! Hours, quotas, idle time and certificates on live tunnels.

use std::time::Duration;

use serde_json::Value;

use super::{SOON, Site, on_each_backend};
use crate::lab::{Backend, ClientOptions, ServerOptions, wait_until};

on_each_backend! {
    the_user_who_has_carried_enough_has_to_go_until_more_is_granted => data;
    the_user_whose_time_is_up_has_to_go_and_stays_out_for_a_while => time;
    a_newer_session_on_another_server_of_another_daemon_replaces_the_old_one => replaced;
}

#[test]
fn a_quota_of_data_ends_sessions_on_mariadb_as_well() {
    data("a quota of data on MariaDB", Backend::Mariadb);
}

#[test]
fn a_quota_of_time_ends_sessions_on_mariadb_as_well() {
    time("a quota of time on MariaDB", Backend::Mariadb);
}

/// Another device of alice.
const PHONE: &str = "02:00:00:00:00:50";
/// A change in the database reaches a live session within this time.
const AT_ONCE: Duration = Duration::from_secs(5);

fn refused(site: &Site, options: ClientOptions, reason: &str) -> String {
    let mark = site.warden.mark();
    let mut client = site.client(options);
    let told = client.refused(SOON);
    let denied = site.warden.wait_event_since(mark, "auth.denied", |_| true, SOON);
    assert_eq!(denied["reason"], reason, "{told}");
    told
}

fn data(test: &str, backend: Backend) {
    let Some(site) = Site::new(test, backend, ServerOptions::default(), "") else { return };
    site.warden.ok(&["policy", "set", "default", "--data-quota", "60kB/month"], "");
    let mut alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    assert_eq!(alice.ping(2), 2, "{}", alice.log());
    let gone = wait_until(Duration::from_secs(60), || {
        alice.ping(20);
        let expired = |event: &Value| event["event"] == "session.expired";
        site.warden.events().into_iter().find(expired)
    });
    let gone = gone.unwrap_or_else(|| panic!("{}", site.warden.report()));
    assert_eq!(gone["deadline_reason"], "data_quota");
    assert!(alice.wait_exit(SOON).is_some(), "HALT ends the client");
    let closed = site.warden.wait_event("session.closed", |_| true, SOON);
    assert_eq!(closed["cause"], "data_quota");
    let bytes = |name: &str| closed[name].as_u64().unwrap();
    let carried = bytes("bytes_received") + bytes("bytes_sent");
    assert!((60_000..90_000).contains(&carried), "what came within 5 s: {carried}");
    let told = refused(&site, ClientOptions::default(), "data_quota_used");
    assert!(told.contains("Your data volume is used up"), "{told}");
    let usage = site.warden.json(&["user", "usage", "alice"]);
    assert_eq!(usage[2]["data_used_bytes"], carried, "the month has just what the session had");
    assert_eq!(usage[2]["data_left_bytes"], 0);
    site.warden.ok(&["user", "grant", "alice", "--data", "1MiB"], "");
    drop(site.connected(ClientOptions::default()));
}

fn time(test: &str, backend: Backend) {
    let Some(site) = Site::new(test, backend, ServerOptions::default(), "") else { return };
    let limits = ["--time-quota", "6s/month", "--cooldown-s", "1h"];
    site.warden.ok(&[&["policy", "set", "default"][..], &limits].concat(), "");
    let mut alice = site.connected(ClientOptions::default());
    let opened = site.warden.wait_event("session.opened", |_| true, SOON);
    assert_eq!(opened["deadline_reason"], "time_quota");
    let expired = site.warden.wait_event("session.expired", |_| true, 2 * SOON);
    assert_eq!(expired["deadline_reason"], "time_quota");
    assert!(alice.wait_exit(SOON).is_some(), "HALT ends the client");
    let words = "Your connection time is used up for this period";
    assert!(alice.log().contains(words), "{}", alice.log());
    let closed = site.warden.wait_event("session.closed", |_| true, SOON);
    assert_eq!(closed["cause"], "time_quota");
    // It is over six seconds after the approval, a little after which the tunnel was up; OpenVPN 2.6 takes its time to let go.
    assert!((5..=20).contains(&closed["duration_s"].as_u64().unwrap()), "{closed}");
    refused(&site, ClientOptions::default(), "cooldown");
    site.warden.ok(&["policy", "set", "default", "--cooldown-s", "0"], "");
    let told = refused(&site, ClientOptions::default(), "time_quota_used");
    assert!(told.contains(words), "{told}");
    site.warden.ok(&["user", "grant", "alice", "--time", "1h"], "");
    drop(site.connected(ClientOptions::default()));
}

fn replaced(test: &str, backend: Backend) {
    let Some(site) = Site::new(test, backend, ServerOptions::default(), "") else { return };
    let second = site.lab.server(ServerOptions::default());
    let config = site.lab.config(&site.database, &[&second], "");
    let config = config.replace("127.0.0.1:9176", "").replace("/journal-", "/other-journal-");
    let mut other = site.lab.warden(&config);
    other.start();
    other.wait_event("link.up", |_| true, SOON);
    assert!(second.wait_for("Initialization Sequence Completed", SOON), "{}", second.log());
    site.warden.ok(&["device", "add", "alice", PHONE], "");
    let limits = ["--max-sessions", "1", "--on-limit", "replace_oldest"];
    site.warden.ok(&[&["policy", "set", "default"][..], &limits].concat(), "");
    let mut first = site.connected(ClientOptions::default());
    let opened = site.warden.wait_event("session.opened", |_| true, SOON);
    let phone = ClientOptions { mac: Some(PHONE.into()), ..Default::default() };
    let mut newer = site.lab.client(&second, phone);
    assert!(newer.connected(SOON), "{}\n{}", newer.log(), other.report());
    assert!(first.wait_exit(SOON).is_some(), "{}", first.log());
    assert!(first.log().contains("A newer session of yours"), "{}", first.log());
    let closed = site.warden.wait_event("session.closed", |_| true, SOON);
    assert_eq!(
        (&closed["session_id"], &closed["cause"]),
        (&opened["session_id"], &"replaced".into())
    );
    // Where nobody has to make room, the one that is in stays.
    site.warden.ok(&["policy", "set", "default", "--on-limit", "deny"], "");
    refused(&site, ClientOptions::default(), "too_many_sessions");
    assert!(newer.is_running(), "{}", newer.log());
    newer.signal("TERM");
    assert!(newer.wait_exit(SOON).is_some());
    other.wait_event("session.closed", |_| true, SOON);
    drop(site.connected(ClientOptions::default()));
}

#[test]
fn who_does_nothing_has_to_go_and_who_does_something_stays() {
    let test = "idle time";
    let Some(site) = Site::new(test, Backend::Mariadb, ServerOptions::default(), "") else {
        return;
    };
    let idle = ["--idle-s", "10", "--idle-bytes", "1500"];
    site.warden.ok(&[&["policy", "set", "default"][..], &idle].concat(), "");
    let busy = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    let kept = site.warden.wait_event("auth.allowed", |_| true, SOON)["session_id"].clone();
    let mut lazy = site.connected(ClientOptions { own_address: true, ..Default::default() });
    let expired = wait_until(Duration::from_secs(40), || {
        busy.ping(20);
        site.warden.events().into_iter().find(|event| event["event"] == "session.expired")
    });
    let expired = expired.unwrap_or_else(|| panic!("{}", site.warden.report()));
    assert_eq!(expired["deadline_reason"], "idle");
    assert_ne!(expired["session_id"], kept);
    assert!(lazy.wait_exit(SOON).is_some());
    assert_eq!(busy.ping(2), 2);
}

#[test]
fn at_the_end_of_the_hours_the_client_is_told_and_stays_out() {
    let test = "allowed hours";
    let Some(site) = Site::new(test, Backend::Sqlite, ServerOptions::default(), "") else { return };
    let mut alice = site.connected(ClientOptions::default());
    site.session(|row| row["state"] == "active");
    // Whatever day it is: it is another one in two days.
    let hours = |ahead: &str| {
        let day = site.lab.command("date").args(["-u", "-d", ahead, "+%a"]).output().unwrap();
        let day = String::from_utf8(day.stdout).unwrap().trim().to_lowercase();
        let range = format!("{day} 00:00-24:00");
        site.warden.ok(&["policy", "set", "default", "--hours", &range], "");
    };
    let mark = site.warden.mark();
    hours("2 days");
    let expired = site.warden.wait_event_since(mark, "session.expired", |_| true, AT_ONCE);
    assert_eq!(expired["deadline_reason"], "hours");
    assert!(alice.wait_exit(SOON).is_some());
    assert!(alice.log().contains("The allowed hours are over"), "{}", alice.log());
    let told = refused(&site, ClientOptions::default(), "outside_hours");
    assert!(told.contains("You may not connect at this time of day"), "{told}");
    let (code, _) = explain(&site);
    assert_eq!(code, Some(3));
    hours("now");
    assert_eq!(explain(&site).0, Some(0));
    drop(site.connected(ClientOptions::default()));
}

fn explain(site: &Site) -> (Option<i32>, String) {
    let mac = crate::lab::MAC;
    let output = site.warden.cli(&["explain", "alice", "--device", mac], "");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_certificate_that_is_registered_is_asked_for_beside_the_device() {
    let test = "required fingerprints";
    let Some(site) = Site::new(test, Backend::Sqlite, ServerOptions::default(), "") else { return };
    let with = |name: &str| ClientOptions { certificate: Some(name.into()), ..Default::default() };
    let mut first = site.connected(with("alice-laptop"));
    let id = site.session(|row| row["state"] == "active")["id"].as_str().unwrap().to_owned();
    let shown = site.warden.json(&["session", "show", &id]);
    let fingerprint = shown["certificate"].as_str().unwrap_or_else(|| panic!("{shown}"));
    assert!(fingerprint.starts_with("sha256:") && fingerprint.len() == 71, "{fingerprint}");
    first.signal("TERM");
    assert!(first.wait_exit(SOON).is_some());
    site.warden.ok(&["policy", "set", "default", "--require-fingerprint", "yes"], "");
    refused(&site, with("alice-laptop"), "device_unknown");
    site.warden.ok(&["device", "add", "alice", fingerprint, "--label", "laptop's key"], "");
    let mut alice = site.connected(with("alice-laptop"));
    refused(&site, with("alice-phone"), "device_unknown");
    let mark = site.warden.mark();
    site.warden.ok(&["device", "block", "alice", fingerprint], "");
    let closed = site.warden.wait_event_since(mark, "session.closed", |_| true, 2 * AT_ONCE);
    assert_eq!(closed["cause"], "device_blocked");
    assert!(alice.wait_exit(SOON).is_some());
    refused(&site, with("alice-laptop"), "device_blocked");
}
