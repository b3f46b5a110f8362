//! `client-pending-auth` before an approval: OpenVPN acts on it at once, and nobody is harmed.

use std::{
    collections::BTreeSet, fs::Permissions, os::unix::fs::PermissionsExt as _, time::Duration,
};

use ovpn_warden::types::Clock;

use super::{Site, reneg_sec};
use crate::lab::{Backend, ClientOptions, Lab, ServerOptions, arguments, wait_until};

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
#[ignore = "times it: make test-matrix"]
fn a_tunnel_is_up_at_once_and_without_it_after_a_second() {
    let test = "wake-up of an approval";
    let options = || ServerOptions::default();
    let Some(with) = Site::new(test, Backend::Sqlite, options(), "") else { return };
    let Some(without) = Site::new(test, Backend::Sqlite, options(), OFF) else { return };
    let (with, without) = (time_to_tunnel(&with), time_to_tunnel(&without));
    assert!(with < without.mul_f64(0.7), "with {with:?}, without {without:?}");
}

/// How many of `count` pings, five in a second, come back over renegotiations of so many seconds.
fn answers(site: &Site, count: u32) -> u32 {
    let alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    let answers = alice.ping(count);
    let events = site.warden.events();
    let renewals = events.iter().filter(|event| event["reauth"] == true).count();
    assert!(renewals >= 1, "{}", site.warden.report());
    assert!(events.iter().all(|event| event["event"] != "link.lost"));
    answers
}

#[test]
fn a_renegotiation_does_not_interrupt_the_traffic() {
    // 12 s with two renegotiations, or 40 s with one.
    let is_quick = ServerOptions::default().version() >= (2, 6);
    let (seconds, count) = if is_quick { ("5", 60) } else { (reneg_sec().0, 200) };
    let options =
        || ServerOptions { extra: arguments(&["--reneg-sec", seconds]), ..Default::default() };
    let test = "wake-up of a renegotiation";
    let Some(with) = Site::new(test, Backend::Sqlite, options(), "") else { return };
    let Some(without) = Site::new(test, Backend::Sqlite, options(), OFF) else { return };
    let (with, without) = std::thread::scope(|scope| {
        let without = scope.spawn(|| answers(&without, count));
        (answers(&with, count), without.join().unwrap())
    });
    let seen = format!("{with} of {count}, without a wake-up {without}");
    // A packet may be lost on a busy machine; an interruption costs five in a second. 2.5 takes a new key into use
    // late, whoever answers: nobody is to lose more than without.
    assert!(if is_quick { with + 2 >= count } else { with + 10 >= without }, "{seen}");
}

/// What a client's log says of each AUTH_PENDING: its hand-window, and for how long it waits now.
pub fn waits(log: &str) -> Vec<(u32, u32)> {
    let seconds = |text: &str| text.split('s').next().unwrap().parse().unwrap();
    let told = log.split("AUTH_PENDING received, extending handshake timeout from ").skip(1);
    told.map(|rest| (seconds(rest), seconds(rest.split_once("s to ").unwrap().1))).collect()
}

/// The version of the client: it acts on AUTH_PENDING from 2.6 on, and one of 2.5 only shows the text.
pub fn client_version() -> (u32, u32) {
    ServerOptions { program: ClientOptions::default().program, ..Default::default() }.version()
}

#[test]
fn a_client_with_a_long_hand_window_keeps_it() {
    let options = ServerOptions::default();
    let Some(site) = Site::new("a long hand-window", Backend::Sqlite, options, "") else { return };
    let extra = arguments(&["--hand-window", "120"]);
    let alice = site.connected(ClientOptions { extra, ..Default::default() });
    let waits = waits(&alice.log());
    assert_eq!(waits.len(), usize::from(client_version() >= (2, 6)), "{}", alice.log());
    for (own, now) in waits {
        assert!(own == 120 && now >= own, "{}", alice.log());
    }
}

/// The server takes its time after the approval: a client with a longer hand-window has to wait for it.
#[test]
#[ignore = "over a minute: make test-matrix"]
fn who_waits_for_a_slow_server_is_not_restarted() {
    let Some(lab) = Lab::new("wake-up and a slow client-connect") else { return };
    let script = lab.path().join("connect.sh");
    let text = "#!/bin/sh\n\
        printf 2 >\"$client_connect_deferred_file\"\n\
        (sleep 70; printf 1 >\"$client_connect_deferred_file\") >/dev/null 2>&1 &\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let extra = ["--script-security", "2", "--client-connect", script.to_str().unwrap()];
    let options = ServerOptions { extra: arguments(&extra), ..Default::default() };
    let site = Site::of(lab, Backend::Sqlite, options, "");
    let extra = arguments(&["--hand-window", "120"]);
    let mut alice = site.client(ClientOptions { extra, ..Default::default() });
    assert!(alice.connected(Duration::from_secs(100)), "{}", alice.log());
    assert!(!alice.log().contains("no-push-reply"), "{}", alice.log());
}

/// How a client that may not in goes on.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Ended,
    TriesAgain,
}

fn outcome_of_refusal(site: &Site, extra: &[String]) -> Outcome {
    let extra = extra.iter().cloned().chain(arguments(&["--connect-retry", "1", "1"])).collect();
    let mut client =
        site.client(ClientOptions { extra, password: "wrong".into(), ..Default::default() });
    let is_over = || {
        let has_ended = !client.is_running();
        let refusals = client.log().matches("AUTH: Received control message: AUTH_FAILED").count();
        match (has_ended, refusals) {
            (true, 1..) => Some(Outcome::Ended),
            (_, 2..) => Some(Outcome::TriesAgain),
            _ => None,
        }
    };
    let outcome = wait_until(Duration::from_secs(30), is_over);
    assert!(!client.log().contains(TEXT), "a refused client is told nothing of the kind");
    outcome.unwrap_or_else(|| panic!("neither refused twice nor ended: {}", client.log()))
}

#[test]
fn every_way_to_retry_a_login_goes_on_working() {
    let (seconds, time) = reneg_sec();
    let options =
        || ServerOptions { extra: arguments(&["--reneg-sec", seconds]), ..Default::default() };
    let test = "wake-up and auth-retry";
    let Some(with) = Site::new(test, Backend::Sqlite, options(), "") else { return };
    let Some(without) = Site::new(test, Backend::Sqlite, options(), OFF) else { return };
    let modes = ["none", "nointeract", "interact"];
    let extra = |mode: &str| arguments(&["--auth-retry", mode]);
    let clients = modes.map(|mode| {
        with.connected(ClientOptions { real_tun: true, extra: extra(mode), ..Default::default() })
    });
    let renewed = wait_until(time, || {
        let events = with.warden.events();
        let renewals = events.iter().filter(|event| event["reauth"] == true);
        let cids: BTreeSet<_> = renewals.map(|event| event["cid"].as_u64()).collect();
        (cids.len() >= modes.len()).then_some(())
    });
    assert!(renewed.is_some(), "{}", with.warden.report());
    for (mode, client) in modes.iter().zip(&clients) {
        let log = client.log();
        assert_eq!(log.contains(TEXT), client_version() >= (2, 5), "{mode}: {log}");
        assert!(
            wait_until(time, || (client.ping(1) == 1).then_some(())).is_some(),
            "{mode}: {log}"
        );
        // It has never been away.
        assert_eq!(log.matches("Initialization Sequence Completed").count(), 1, "{mode}: {log}");
    }
    for mode in modes {
        let wanted = outcome_of_refusal(&without, &extra(mode));
        assert_eq!(outcome_of_refusal(&with, &extra(mode)), wanted, "{mode}");
        assert_eq!(wanted == Outcome::Ended, mode == "none", "{mode}");
    }
}
