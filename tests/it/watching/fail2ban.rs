//! The filter in `conf/fail2ban`, by the real fail2ban-regex on lines that the code has written.

use std::{collections::BTreeSet, fs, path::Path, process::Command, sync::Arc, time::Duration};

use ovpn_warden::{
    telemetry::events::{ClientRef, Event},
    types::{Cid, DenyReason, DeviceId, Kid, SessionId, Timestamp},
};

use super::tools;
use crate::{docs, events};

const FILTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/fail2ban/filter.conf");
/// What a guess at somebody's credentials ends with.
const GUESSES: [DenyReason; 3] =
    [DenyReason::BadCredentials, DenyReason::UnknownUser, DenyReason::BadSecondFactor];

/// A denial of a client at this address, with all fields or with the fewest.
fn denied(reason: DenyReason, address: Option<&str>, user: Option<&str>, is_full: bool) -> Event {
    let session_id = SessionId::new(Timestamp::from_secs(1_795_435_003), [7; 10]);
    Event::AuthDenied {
        server: "udp-1194".parse().unwrap(),
        client: ClientRef {
            cid: Cid(7),
            kid: Some(Kid(1)),
            user: user.map(Arc::from),
            common_name: is_full.then(|| "a,\"b\\".into()),
            device: is_full.then(|| DeviceId::parse("00:11:22:33:44:55").unwrap()),
            client_ip: address.map(|address| address.parse().unwrap()),
            client_port: is_full.then_some(40_000),
        },
        reauth: is_full,
        latency: Duration::from_millis(41),
        session_id: is_full.then_some(session_id),
        deadline: is_full.then_some(Timestamp::from_secs(1_795_435_003)),
        reason,
    }
}

/// One of fail2ban's programs, with its configuration in this folder.
fn program(name: &str, configuration: &Path) -> Command {
    let tools = tools();
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", tools.join("usr/lib/python3/dist-packages"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(tools.join("usr/bin").join(name))
        .arg("-c")
        .arg(configuration);
    command
}

/// The addresses that fail2ban finds in these lines, and how many lines matched.
fn found(lines: &str) -> (BTreeSet<String>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::write(&log, lines).unwrap();
    let run = |more: &[&str]| {
        let mut regex = program("fail2ban-regex", &tools().join("etc/fail2ban"));
        let output = regex.args(more).args([log.to_str().unwrap(), FILTER]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let addresses = run(&["-o", "ip"]).lines().map(str::to_owned).collect();
    let report = run(&[]);
    let matched = report.lines().find_map(|line| line.strip_prefix("Lines: ")).unwrap();
    let matched = matched.split(", ").find_map(|part| part.strip_suffix(" matched")).unwrap();
    (addresses, matched.parse().unwrap())
}

#[test]
fn guesses_count_and_nothing_else_does() {
    for reason in DenyReason::ALL {
        let written = events::written([
            denied(*reason, Some("192.0.2.7"), Some("alice"), true),
            denied(*reason, Some("2001:db8::7"), None, false),
            denied(*reason, None, Some("alice"), true),
        ]);
        let (addresses, lines) = found(&written);
        if GUESSES.contains(reason) {
            let both = ["192.0.2.7", "2001:db8::7"].map(str::to_owned);
            assert_eq!((addresses, lines), (both.into(), 2), "{reason}");
        } else {
            assert_eq!((addresses, lines), (BTreeSet::new(), 0), "{reason}");
        }
    }
}

#[test]
fn filter_and_jail_are_taken_where_the_documentation_puts_them() {
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path().display().to_string();
    let run = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    };
    run(&format!("cp -r '{}'/etc/fail2ban '{etc}'", tools().display()));
    // Debian's own jail wants a log that is not here.
    fs::remove_file(folder.path().join("fail2ban/jail.d/defaults-debian.conf")).unwrap();
    for file in ["filter", "jail"] {
        let line = docs::said("docs/operations.md", &format!("cp conf/fail2ban/{file}"));
        run(&line.replace("/etc/", &format!("{etc}/")));
    }
    let ask = |what: &str| {
        let output =
            program("fail2ban-client", &folder.path().join("fail2ban")).arg(what).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    ask("-t");
    let told = ask("-d");
    for words in [
        "'addjournalmatch', '_SYSTEMD_UNIT=ovpn-warden.service'",
        "'addfailregex', '^[^{\"]*\\\\{,\"level\":\"warn\",\"event\":\"auth",
        "['start', 'ovpn-warden']",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn no_other_line_counts() {
    let (addresses, lines) = found(&events::written(events::samples()));
    assert_eq!((addresses, lines), (BTreeSet::new(), 0));
}

#[test]
fn the_line_may_come_from_journald_or_syslog() {
    let line = events::written([denied(GUESSES[0], Some("192.0.2.7"), Some("alice"), true)]);
    for before in ["vpn ovpn-warden[812]: ", "Nov 24 10:00:00 vpn ovpn-warden[812]: "] {
        assert_eq!(found(&format!("{before}{line}")).1, 1, "{before}");
    }
}

#[test]
fn nobody_gets_somebody_else_banned_by_what_he_types() {
    let line = events::written([denied(GUESSES[0], Some("198.51.100.1"), Some("x"), true)]);
    let line = line.trim();
    let names = [
        format!("\n{line}\n"),
        format!("\"}}\n{line}"),
        line.to_owned(),
        "\",\"client_ip\":\"198.51.100.1\",\"reauth\":false,\"latency_ms\":1,\"reason\":\"bad_credentials\",\"temporary\":false}".into(),
        "\\\",\"client_ip\":\"198.51.100.1".into(),
        "\"timestamp\":\"2026-11-24T08:00:00.000Z\"".into(),
        "client 198.51.100.1 198.51.100.1:1194 <HOST>".into(),
    ];
    for name in names {
        for is_full in [false, true] {
            let event = denied(GUESSES[0], Some("192.0.2.7"), Some(&name), is_full);
            let (addresses, lines) = found(&events::written([event]));
            assert_eq!((addresses, lines), (["192.0.2.7".to_owned()].into(), 1), "{name:?}");
            // A denial that is no guess stays none.
            let event = denied(DenyReason::Cooldown, Some("192.0.2.7"), Some(&name), is_full);
            assert_eq!(found(&events::written([event])).1, 0, "{name:?}");
        }
    }
}
