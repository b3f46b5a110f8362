//! What a real OpenVPN does with what it is told about a client.

use super::{SOON, Site, on_each_backend};
use crate::lab::{Backend, ClientOptions, ServerOptions, arguments, wait_until};

on_each_backend! {
    a_client_has_its_address_routes_and_dns => configured;
}

fn configured(test: &str, backend: Backend) {
    let options = ServerOptions {
        extra: arguments(&["--route", "10.55.0.0", "255.255.0.0", "--verb", "4"]),
        ..ServerOptions::default()
    };
    // Nobody answers there.
    let another = "[[servers]]\nname = \"another\"\nmanagement = \"tcp://127.0.0.1:9\"\n";
    let Some(site) = Site::new(test, backend, options, another) else { return };
    let set =
        |args: &[&str]| site.warden.ok(&[&["user", "config", "alice"][..], args].concat(), "");
    let name = site.server.name();
    set(&["--address", "10.99.0.9/24", "--iroute", "10.55.0.0/16"]);
    set(&["--server", &name, "--address", "10.8.0.77/24"]);
    set(&["--server", "another", "--address", "10.98.0.9/24"]);
    let rest = ["--dns", "10.0.0.53", "--domain", "corp.example", "--add", "push-remove ping"];
    site.warden.ok(&[&["policy", "config", "default"][..], &rest].concat(), "");
    // More than one message of OpenVPN holds.
    for n in 0..5 {
        let routes: Vec<String> =
            (0..10).map(|m| format!("10.{}.0.0/16", 100 + n * 10 + m)).collect();
        let args: Vec<&str> = routes.iter().flat_map(|route| ["--route", route]).collect();
        site.warden.ok(&[&["policy", "config", "default"][..], &args].concat(), "");
    }
    let extra = arguments(&["--verb", "4"]);
    let alice = site.connected(ClientOptions { real_tun: true, extra, ..Default::default() });
    let log = alice.log();
    assert!(
        log.contains("ifconfig 10.8.0.77 255.255.255.0"),
        "the server's own line is the closest:\n{log}"
    );
    assert!(log.contains("dhcp-option DNS 10.0.0.53,"), "{log}");
    assert!(log.contains("dhcp-option DOMAIN corp.example"), "{log}");
    for n in 0..50 {
        assert!(log.contains(&format!("route 10.{}.0.0 255.255.0.0", 100 + n)), "{n}: {log}");
    }
    assert_eq!(alice.ping(2), 2);
    let row = site.session(|row| row["state"] == "active");
    assert_eq!(row["vpn_ip"], "10.8.0.77");
    let server = site.server.log();
    assert!(server.contains("MULTI: internal route 10.55.0.0/16 -> "), "{server}");
    for complaint in ["Options error", "Unrecognized option"] {
        // Of its own configuration it need not know all.
        let mut lines = server.lines().filter(|line| !line.contains("server-0.conf"));
        assert!(!lines.any(|line| line.contains(complaint)), "{server}");
    }
}

#[test]
fn a_line_that_openvpn_would_ignore_lets_nobody_in_without_it() {
    let test = "a spoilt line";
    let Some(site) = Site::new(test, Backend::Mysql, ServerOptions::default(), "") else { return };
    site.warden.ok(&["user", "config", "alice", "--add", "push-reset"], "");
    site.database.sql("UPDATE user_config SET option_line = 'push route 10.1.0.0 255.255.0.0'");
    let mark = site.warden.mark();
    let client = site.client(ClientOptions::default());
    let fault = site.warden.wait_event_since(mark, "auth.error", |_| true, SOON);
    assert!(fault["error"].as_str().unwrap().contains("user_config of user"), "{fault}");
    let denied = site.warden.wait_event_since(mark, "auth.denied", |_| true, SOON);
    assert_eq!(denied["reason"], "backend_unavailable", "{}", client.log());
    drop(client);
    site.warden.ok(&["user", "config", "alice", "--clear"], "");
    drop(site.connected(ClientOptions::default()));
}

#[test]
fn a_renegotiation_keeps_what_the_login_brought() {
    let (seconds, patience) = super::reneg_sec();
    let options =
        ServerOptions { extra: arguments(&["--reneg-sec", seconds]), ..ServerOptions::default() };
    let Some(site) = Site::new("renegotiation", Backend::Sqlite, options, "") else { return };
    site.warden.ok(&["user", "config", "alice", "--address", "10.8.0.77/24"], "");
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    site.warden.wait_event("auth.allowed", |event| event["reauth"] == true, patience);
    // 2.5 looks at the new key only each 10 s.
    let is_there = wait_until(patience, || (alice.ping(2) == 2).then_some(()));
    assert!(is_there.is_some(), "{}", alice.log());
    assert_eq!(site.session(|row| row["state"] == "active")["vpn_ip"], "10.8.0.77");
}
