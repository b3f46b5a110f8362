//! `client-pending-auth` before an approval: OpenVPN acts on it at once, and nobody is harmed.

use std::time::Duration;

use ovpn_warden::types::Clock;

use super::{SOON, Site};
use crate::lab::{Backend, ClientOptions, ServerOptions, arguments};

const OFF: &str = "[auth]\nwake_up = false\n";
const TEXT: &str = "Your login is accepted; the connection is being set up";

/// The median time from a client's start to its tunnel, of five.
fn time_to_tunnel(site: &Site) -> Duration {
    let clock = Clock::new();
    let mut times: Vec<_> = (0..5)
        .map(|_| {
            let start = clock.now().mono;
            let mut client = site.connected(ClientOptions::default());
            let time = clock.now().mono - start;
            client.kill();
            time
        })
        .collect();
    times.sort();
    times[2]
}

#[test]
fn a_tunnel_is_up_at_once_and_without_it_after_a_second() {
    let test = "wake-up of an approval";
    let options = || ServerOptions::default();
    let Some(with) = Site::new(test, Backend::Sqlite, options(), "") else { return };
    let Some(without) = Site::new(test, Backend::Sqlite, options(), OFF) else { return };
    let (with, without) = (time_to_tunnel(&with), time_to_tunnel(&without));
    assert!(with < without.mul_f64(0.7), "with {with:?}, without {without:?}");
}

#[test]
fn a_renegotiation_does_not_interrupt_the_traffic() {
    let options = ServerOptions { extra: arguments(&["--reneg-sec", "5"]), ..Default::default() };
    let Some(site) = Site::new("wake-up of a renegotiation", Backend::Sqlite, options, "") else {
        return;
    };
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    let answers = alice.ping(60);
    if site.server.version() >= (2, 6) {
        // 12 s with two renegotiations. A packet may be lost on a busy machine; an interruption
        // costs five in a second.
        assert!(answers >= 58, "{answers} of 60\n{}", alice.log());
    } else {
        // It takes a new key into use late, whoever answers; the old one does not last with keys
        // that are as short-lived as here.
        assert!(answers >= 10, "{answers}: {}", alice.log());
    }
    let events = site.warden.events();
    let renewals = events.iter().filter(|event| event["reauth"] == true).count();
    assert!(renewals >= 2, "{renewals}");
    assert!(events.iter().all(|event| event["event"] != "link.lost"));
}

#[test]
fn every_way_to_retry_a_login_goes_on_working() {
    let options = ServerOptions::default();
    let Some(site) = Site::new("wake-up and auth-retry", Backend::Sqlite, options, "") else {
        return;
    };
    for mode in ["none", "nointeract"] {
        let extra = arguments(&["--auth-retry", mode]);
        let good = ClientOptions { extra: extra.clone(), ..Default::default() };
        let client = site.connected(good);
        assert!(client.log().contains(TEXT), "{}", client.log());
        let bad = ClientOptions { extra, password: "wrong".into(), ..Default::default() };
        let mut client = site.client(bad);
        assert!(client.wait_for("AUTH_FAILED", SOON), "{}", client.log());
        assert!(!client.log().contains(TEXT), "a refused client is told nothing of the kind");
    }
}
