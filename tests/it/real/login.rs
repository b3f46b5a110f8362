//! Who is let in, who is refused, and what the refused one reads.

use std::time::Duration;

use super::{SOON, Site, on_each_backend, reneg_sec};
use crate::lab::{Backend, ClientOptions, Lab, MAC, PASSWORD, ServerOptions, Transport};

on_each_backend! {
    a_right_login_is_let_in_and_every_wrong_one_is_told_why => right_and_wrong;
}

fn right_and_wrong(test: &str, backend: Backend) {
    let Some(site) = Site::new(test, backend, ServerOptions::default(), "") else { return };
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    assert_eq!(alice.ping(3), 3, "{}", alice.log());
    let allowed = site.warden.wait_event("auth.allowed", |_| true, SOON);
    assert_eq!(allowed["user"], "alice");
    assert_eq!(allowed["device"], "02:00:5e:10:00:01");
    let opened = site.warden.wait_event("session.opened", |_| true, SOON);
    assert_eq!(opened["session_id"], allowed["session_id"]);
    assert_eq!(opened["deadline_reason"], "session_limit");

    let refusals = [
        (
            ClientOptions { password: "wrong".into(), ..Default::default() },
            "bad_credentials",
            "Wrong username or password",
        ),
        (
            ClientOptions { user: "mallory".into(), ..Default::default() },
            "unknown_user",
            "Wrong username or password",
        ),
        (
            ClientOptions { mac: Some("02:00:5e:10:00:99".into()), ..Default::default() },
            "device_unknown",
            "This device is not registered",
        ),
        (
            ClientOptions { mac: Some("ff:ff:ff:ff:ff:ff".into()), ..Default::default() },
            "device_invalid",
            "cannot be used",
        ),
        (
            ClientOptions { push_peer_info: false, ..Default::default() },
            "device_missing",
            "push-peer-info",
        ),
    ];
    for (options, reason, text) in refusals {
        let mark = site.warden.mark();
        let mut client = site.client(options);
        let told = client.refused(SOON);
        assert!(told.contains(text), "{reason}: the client was told `{told}`");
        let denied = site.warden.wait_event_since(mark, "auth.denied", |_| true, SOON);
        assert_eq!(denied["reason"], reason);
        assert_eq!(denied["temporary"], false);
    }
    assert_eq!(alice.ping(1), 1, "the others' refusals did not disturb alice");
    let log = site.warden.report();
    assert!(!log.contains("correct horse"), "no password in any line");
}

#[test]
fn a_unix_socket_without_a_password_serves_as_well() {
    let options =
        ServerOptions { transport: Transport::Unix, password: false, ..Default::default() };
    let Some(site) = Site::new("unix socket", Backend::Sqlite, options, "") else { return };
    site.connected(ClientOptions::default());
}

#[test]
fn a_unix_socket_with_a_password_serves_as_well() {
    let options =
        ServerOptions { transport: Transport::Unix, password: true, ..Default::default() };
    let Some(site) = Site::new("unix socket", Backend::Sqlite, options, "") else { return };
    site.connected(ClientOptions::default());
}

#[test]
fn without_its_database_logins_are_refused_for_a_while_and_live_clients_stay() {
    let test = "database away";
    let Some(mut site) = Site::new(test, Backend::Mysql, ServerOptions::default(), "") else {
        return;
    };
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    site.database.stop();
    site.warden.wait_event("store.down", |_| true, SOON);
    let mark = site.warden.mark();
    let mut late = site.client(ClientOptions::default());
    let denied = site.warden.wait_event_since(mark, "auth.denied", |_| true, SOON);
    assert_eq!(denied["reason"], "backend_unavailable");
    assert_eq!(denied["temporary"], true);
    assert!(late.wait_for("AUTH_FAILED,TEMP", SOON), "{}", late.log());
    assert_eq!(alice.ping(2), 2);
    site.database.start();
    site.warden.wait_event("store.up", |_| true, SOON);
    assert!(late.connected(Duration::from_secs(30)), "it came back by itself: {}", late.log());
    assert_eq!(alice.ping(1), 1);
}

#[test]
fn a_renegotiation_is_answered_without_a_break() {
    let (seconds, time) = reneg_sec();
    let extra = crate::lab::arguments(&["--reneg-sec", seconds]);
    let options = ServerOptions { extra, ..Default::default() };
    let Some(site) = Site::new("renegotiation", Backend::Sqlite, options, "") else { return };
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    site.warden.wait_event("auth.allowed", |event| event["reauth"] == true, time);
    // A packet that meets the change of keys may be lost; the tunnel is not.
    let goes_on = crate::lab::wait_until(time, || (alice.ping(1) == 1).then_some(()));
    assert!(goes_on.is_some(), "{}", alice.log());
    let mark = site.warden.mark();
    // Only a renegotiation shows that the client has another password.
    site.warden.ok(&["user", "set-password", "alice", "--password-stdin"], "another");
    site.warden.wait_event_since(mark, "auth.denied", |event| event["reauth"] == true, time);
    site.warden.wait_event_since(
        mark,
        "session.closed",
        |event| event["cause"] == "account_disabled",
        SOON,
    );
    assert_eq!(alice.ping(1), 0);
}

#[test]
fn an_openvpn_that_dials_in_is_served_and_ends_with_its_controller() {
    let Some(lab) = Lab::new("management-client") else { return };
    let database = lab.database(Backend::Sqlite);
    let server = "[[servers]]\nname = \"udp-1194\"\nmanagement = \"listen://127.0.0.1:7505\"\n";
    let mut warden = lab.warden(&lab.config(&database, &[], server));
    warden.ok(&["migrate"], "");
    warden.ok(&["user", "add", "alice", "--password-stdin"], PASSWORD);
    warden.ok(&["device", "add", "alice", MAC], "");
    warden.start();
    warden.wait_event("daemon.started", |_| true, SOON);
    let transport = Transport::DialsIn;
    let mut server = lab.server(ServerOptions { transport, password: false, ..Default::default() });
    warden.wait_event("link.up", |_| true, SOON);
    let mut client = lab.client(&server, ClientOptions::default());
    assert!(client.connected(SOON), "{}", client.log());
    warden.wait_event("session.opened", |_| true, SOON);
    // OpenVPN's own rule, told in docs/operations.md.
    warden.stop();
    let ended = crate::lab::wait_until(SOON, || (!server.is_running()).then_some(()));
    assert!(ended.is_some(), "{}", server.log());
}
