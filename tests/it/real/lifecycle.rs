//! Deadlines, restarts of either side, and what is left in the database.

use std::time::Duration;

use super::{SOON, Site, on_each_backend};
use crate::lab::{Backend, ClientOptions, ServerOptions};

on_each_backend! {
    the_limit_ends_a_session_and_the_client_stays_out => limit;
    stopping_and_starting_the_daemon_disturbs_nobody => restart;
}

fn limit(test: &str, backend: Backend) {
    let more = "[session]\nlimit_s = 5\n";
    let Some(site) = Site::new(test, backend, ServerOptions::default(), more) else { return };
    let mut alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    assert_eq!(alice.ping(2), 2);
    let expired = site.warden.wait_event("session.expired", |_| true, SOON);
    assert_eq!(
        (&expired["deadline_reason"], &expired["action"]),
        (&"session_limit".into(), &"halt".into())
    );
    assert!(alice.wait_exit(SOON).is_some(), "{}", alice.log());
    assert!(alice.log().contains("Your session time is over"), "{}", alice.log());
    assert_eq!(alice.ping(1), 0);
    let closed = site.warden.wait_event("session.closed", |_| true, SOON);
    assert_eq!(closed["cause"], "session_limit");
    let row = site.session(|row| row["state"] == "closed");
    assert_eq!(row["cause"], "session_limit");
    let duration = row["duration_s"].as_u64().unwrap();
    assert!((5..=11).contains(&duration), "{duration}");
    assert!(
        row["bytes_received"].as_u64().unwrap() > 200 && row["bytes_sent"].as_u64().unwrap() > 200
    );
}

#[test]
fn who_does_not_heed_the_end_is_removed_all_the_same_and_refused_afterwards() {
    let Some(site) = Site::new("unheeded", Backend::Mariadb, ServerOptions::default(), "") else {
        return;
    };
    let limits = ["--session-limit-s", "5", "--cooldown-s", "600"];
    site.warden.ok(&[&["policy", "set", "default"][..], &limits].concat(), "");
    let extra = ["--ping-restart", "4", "--connect-retry", "1", "2"].map(String::from).to_vec();
    let mut alice = site.connected(ClientOptions { real_tun: true, extra, ..Default::default() });
    assert_eq!(alice.ping(1), 1);
    // It hears nothing any more, as one that does not heed HALT.
    alice.set_link(false);
    let expired = site.warden.wait_event("session.expired", |_| true, SOON);
    let closed = site.warden.wait_event("session.closed", |_| true, Duration::from_secs(15));
    assert_eq!(
        (&closed["cause"], &closed["session_id"]),
        (&"session_limit".into(), &expired["session_id"])
    );
    assert!(alice.is_running(), "{}", alice.log());
    let mark = site.warden.mark();
    alice.set_link(true);
    let denied =
        site.warden.wait_event_since(mark, "auth.denied", |_| true, Duration::from_secs(30));
    assert_eq!((&denied["reason"], &denied["user"]), (&"cooldown".into(), &"alice".into()));
    assert!(alice.wait_exit(SOON).is_some(), "{}", alice.log());
    assert!(alice.log().contains("wait before you connect again"), "{}", alice.log());
}

fn restart(test: &str, backend: Backend) {
    let more = "[session]\nlimit_s = 12\n";
    let Some(mut site) = Site::new(test, backend, ServerOptions::default(), more) else { return };
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    let opened = site.warden.wait_event("session.opened", |_| true, SOON);
    assert!(site.warden.stop().success());
    assert_eq!(alice.ping(2), 2, "nobody is disconnected");
    let mark = site.warden.mark();
    site.warden.start();
    let adopted = site.warden.wait_event_since(mark, "session.adopted", |_| true, SOON);
    assert_eq!(adopted["session_id"], opened["session_id"]);
    assert_eq!(adopted["deadline"], opened["deadline"]);
    assert_eq!(alice.ping(1), 1);
    site.warden.wait_event_since(mark, "session.expired", |_| true, Duration::from_secs(15));
    let row = site.session(|row| row["state"] == "closed");
    assert_eq!((&row["id"], &row["cause"]), (&opened["session_id"], &"session_limit".into()));
}

#[test]
fn openvpn_ends_the_session_itself_when_the_daemon_is_dead() {
    let more = "[session]\nlimit_s = 3\nbackstop_s = 5\n";
    let Some(mut site) = Site::new("backstop", Backend::Mariadb, ServerOptions::default(), more)
    else {
        return;
    };
    let mut alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    site.session(|row| row["state"] == "active");
    site.warden.kill();
    assert_eq!(alice.ping(1), 1);
    if site.server.version() >= (2, 6) {
        let gone =
            crate::lab::wait_until(Duration::from_secs(20), || (alice.ping(1) == 0).then_some(()));
        assert!(gone.is_some(), "{}\n{}", alice.log(), site.server.log());
        assert!(site.server.log().contains("ession timeout"), "{}", site.server.log());
        alice.kill();
        site.warden.start();
    } else {
        // It has no limit of its own: nothing ends the session until a daemon is back.
        assert_eq!(alice.ping(50), 50, "10 s");
        site.warden.start();
        assert!(alice.wait_exit(SOON).is_some(), "{}", alice.log());
    }
    let row = site.session(|row| row["state"] == "closed");
    assert_eq!(row["cause"], "session_limit");
}

#[test]
fn a_crash_of_openvpn_is_survived_and_told() {
    let Some(mut site) = Site::new("crash", Backend::Sqlite, ServerOptions::default(), "") else {
        return;
    };
    let mut alice = site.connected(ClientOptions { own_address: true, ..Default::default() });
    let mark = site.warden.mark();
    site.server.kill();
    site.warden.wait_event_since(mark, "link.lost", |_| true, SOON);
    alice.kill();
    site.server.start_again();
    site.warden.wait_event_since(mark, "link.up", |_| true, Duration::from_secs(20));
    let closed = site.warden.wait_event_since(mark, "session.closed", |_| true, SOON);
    assert_eq!(closed["cause"], "server_restarted");
    site.connected(ClientOptions::default());
}

#[test]
fn an_operator_ends_and_extends_sessions_within_two_seconds() {
    let more = "[session]\nlimit_s = 8\n";
    let Some(site) = Site::new("operator", Backend::Mariadb, ServerOptions::default(), more) else {
        return;
    };
    let mut alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    let row = site.session(|row| row["state"] == "active");
    let id = row["id"].as_str().unwrap();
    site.warden.ok(&["session", "extend", id, "30s"], "");
    site.warden.wait_event("session.extended", |_| true, Duration::from_secs(2));
    let expired =
        crate::lab::wait_until(Duration::from_secs(9), || (alice.ping(1) == 0).then_some(()));
    assert!(expired.is_none(), "the old limit is over, the new one is not: {}", alice.log());
    site.warden.ok(&["session", "kill", id, "--reason", "maintenance tonight", "--yes"], "");
    assert!(alice.wait_exit(SOON).is_some(), "{}", alice.log());
    assert!(alice.log().contains("maintenance tonight"), "{}", alice.log());
    site.warden.wait_event("session.closed", |event| event["cause"] == "admin", SOON);
    // It belongs to her story.
    site.warden.wait_event("admin.action", |event| event["user"] == "alice", SOON);
}

#[test]
fn who_is_extended_beyond_openvpns_own_limit_is_back_within_seconds() {
    extend_beyond_the_backstop(false);
}

#[test]
fn who_was_extended_by_a_daemon_that_is_dead_is_back_within_seconds_too() {
    extend_beyond_the_backstop(true);
}

fn extend_beyond_the_backstop(kill: bool) {
    let more = "[session]\nlimit_s = 8\nbackstop_s = 5\n";
    let test = if kill { "renewal by another" } else { "renewal" };
    let Some(mut site) = Site::new(test, Backend::Mariadb, ServerOptions::default(), more) else {
        return;
    };
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    let row = site.session(|row| row["state"] == "active");
    let id = row["id"].as_str().unwrap();
    site.warden.ok(&["session", "extend", id, "1h"], "");
    let mark = site.warden.mark();
    if kill {
        site.warden.kill();
        site.warden.start();
        let adopted = site.warden.wait_event_since(mark, "session.adopted", |_| true, SOON);
        assert_eq!(adopted["session_id"], id);
    }
    if site.server.version() < (2, 6) {
        // OpenVPN 2.5 has no limit of its own: the session goes on.
        let gone =
            crate::lab::wait_until(Duration::from_secs(15), || (alice.ping(1) == 0).then_some(()));
        assert!(gone.is_none(), "{}", alice.log());
        return;
    }
    let in_time = Duration::from_secs(20);
    let renewing = site.warden.wait_event_since(mark, "session.renewing", |_| true, in_time);
    assert_eq!(renewing["session_id"], id);
    let closed = site.warden.wait_event_since(mark, "session.closed", |_| true, SOON);
    assert_eq!((&closed["session_id"], &closed["cause"]), (&row["id"], &"admin".into()));
    let back =
        site.warden.wait_event_since(mark, "session.opened", |_| true, Duration::from_secs(8));
    assert_ne!(back["session_id"], id);
    let answers =
        crate::lab::wait_until(Duration::from_secs(3), || (alice.ping(1) == 1).then_some(()));
    assert!(answers.is_some(), "the same client is connected again: {}", alice.log());
}

#[test]
fn a_second_daemon_waits_for_the_port_and_takes_over_when_the_first_dies() {
    let Some(mut site) = Site::new("standby", Backend::Sqlite, ServerOptions::default(), "") else {
        return;
    };
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    let opened = site.warden.wait_event("session.opened", |_| true, SOON);
    let config = site.lab.config(&site.database, &[&site.server], "");
    let mut standby = site.lab.warden(&config.replace("127.0.0.1:9176", ""));
    standby.start();
    let waiting = standby.wait_event("link.waiting", |_| true, SOON);
    assert!(waiting["error"].as_str().unwrap().contains("another management client"), "{waiting}");
    site.warden.kill();
    standby.wait_event("link.up", |_| true, Duration::from_secs(1));
    let adopted = standby.wait_event("session.adopted", |_| true, Duration::from_secs(2));
    assert_eq!(adopted["session_id"], opened["session_id"]);
    assert_eq!(alice.ping(2), 2, "nobody was dropped");
}

#[test]
fn a_change_by_a_command_reaches_live_sessions_within_two_seconds() {
    let test = "live changes";
    let Some(site) = Site::new(test, Backend::Mysql, ServerOptions::default(), "") else { return };
    let soon = Duration::from_secs(2);
    site.warden.ok(&["policy", "add", "short", "--session-limit-s", "3000"], "");
    let mut alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    site.warden.wait_event("session.opened", |_| true, SOON);
    site.warden.ok(&["user", "set", "alice", "--policy", "short"], "");
    let moved = site.warden.wait_event("session.extended", |_| true, soon);
    assert_eq!(moved["deadline_reason"], "session_limit");
    let mark = site.warden.mark();
    site.warden.ok(&["policy", "set", "short", "--session-limit-s", "600"], "");
    let sooner = site.warden.wait_event_since(mark, "session.extended", |_| true, soon);
    assert!(sooner["deadline"].as_str() < moved["deadline"].as_str(), "{sooner}");
    let mark = site.warden.mark();
    site.warden.ok(&["user", "disable", "alice"], "");
    site.warden.wait_event_since(mark, "session.kill_sent", |_| true, soon);
    assert!(alice.wait_exit(SOON).is_some(), "{}", alice.log());
    assert!(alice.log().contains("Your account may no longer connect"), "{}", alice.log());
    let closed = site.warden.wait_event_since(mark, "session.closed", |_| true, SOON);
    assert_eq!(closed["cause"], "account_disabled");
}

#[test]
fn a_device_that_is_blocked_is_out_within_five_seconds() {
    let test = "a device is blocked";
    let Some(site) = Site::new(test, Backend::Sqlite, ServerOptions::default(), "") else { return };
    let mut alice = site.connected(ClientOptions::default());
    site.warden.wait_event("session.opened", |_| true, SOON);
    site.warden.ok(&["device", "block", "alice", crate::lab::MAC], "");
    site.warden.wait_event("session.kill_sent", |_| true, Duration::from_secs(5));
    assert!(alice.wait_exit(SOON).is_some(), "{}", alice.log());
}
