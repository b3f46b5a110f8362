//! A finding for each thing that support threads are full of, with its line.

use super::{
    conf::Conf,
    lint::{Finding, Ours, Severity, lint},
};
use crate::{
    config::{Endpoint, Server},
    store::DeviceMode,
    types::Password,
};

const GOOD: &str = "server 10.8.0.0 255.255.255.0\n\
    management /run/openvpn/udp.sock unix /etc/openvpn/mgmt.pw\n\
    management-client-auth\nmanagement-hold\n";

fn attached(management: Endpoint, password: Option<&str>) -> Server {
    Server {
        name: "udp".parse().unwrap(),
        management,
        peer: None,
        relay: None,
        password: password.map(|text| Password::from(text.as_bytes())),
    }
}

fn tcp(port: u16) -> Endpoint {
    Endpoint::Tcp { host: "localhost".into(), port }
}

/// Findings of a configuration with a server of ours; no devices, so that no hint is given.
fn with(text: &str, server: Server, change: impl Fn(&mut Ours<'_>)) -> Vec<Finding> {
    let servers = [server];
    let mut ours = Ours {
        auth_timeout_s: 8,
        device_mode: DeviceMode::Off,
        strict: Vec::new(),
        session_limit_s: Some(28_800),
        wants_own_variable: false,
        servers: &servers,
    };
    change(&mut ours);
    let findings = lint(&Conf::parse(text), &ours);
    for finding in &findings {
        assert!(!finding.why.is_empty() && !finding.mend.is_empty(), "{finding:?}");
        for text in [&finding.why, &finding.mend] {
            assert!(!text.contains("  "), "{text}");
        }
    }
    findings
}

type Short = (&'static str, Option<usize>, Severity);

fn short(findings: &[Finding]) -> Vec<Short> {
    findings.iter().map(|f| (f.directive, f.line, f.severity)).collect()
}

fn unix() -> Server {
    attached(Endpoint::Unix("/run/openvpn/udp.sock".into()), Some("x"))
}

fn found(text: &str) -> Vec<Short> {
    short(&with(text, unix(), |_| {}))
}

/// Findings of the good configuration with these lines behind it, the first of which is line 5.
fn plus(lines: &str) -> Vec<Short> {
    found(&format!("{GOOD}{lines}\n"))
}

use Severity::{Fault, Note, Warning};

#[test]
fn a_good_configuration_has_no_findings() {
    assert_eq!(found(GOOD), []);
}

#[test]
fn what_is_missing_is_named() {
    let names: Vec<_> = found("port 1194\n").into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["management", "management-client-auth", "server", "management-hold"]);
}

#[test]
fn a_token_that_openvpn_judges_alone_is_a_fault_where_a_login_is_judged_by_more_than_its_password()
{
    let text = format!("{GOOD}auth-gen-token 0\n");
    for (strict, expected) in [(vec![], Warning), (vec!["devices", "max_sessions"], Fault)] {
        let findings = with(&text, unix(), |ours| ours.strict = strict.clone());
        assert_eq!(short(&findings), [("auth-gen-token", Some(5), expected)]);
        for what in strict {
            assert!(findings[0].why.contains(what), "{}", findings[0].why);
        }
    }
    let external = format!("{GOOD}auth-gen-token 0 external-auth\n");
    assert_eq!(short(&with(&external, unix(), |ours| ours.strict = vec!["devices"])), []);
}

#[test]
fn what_must_not_be_there_is_found_with_its_line() {
    for (line, wanted) in [
        ("--auth-user-pass-verify \"/etc/auth.py\" via-env", ("auth-user-pass-verify", Fault)),
        ("management-signal", ("management-signal", Fault)),
        ("env-filter 1", ("env-filter", Fault)),
        ("auth-user-pass-optional", ("auth-user-pass-optional", Warning)),
        ("client-connect /x", ("client-connect", Warning)),
        ("client-disconnect /x", ("client-disconnect", Warning)),
        ("plugin /usr/lib/openvpn-plugin-auth-pam.so login", ("plugin", Warning)),
        ("management-client-user root", ("management-client-user", Warning)),
        ("management-client-group adm", ("management-client-group", Warning)),
        ("push \"push-peer-info\"", ("push", Warning)),
        ("duplicate-cn", ("duplicate-cn", Note)),
        ("config other.conf", ("config", Note)),
        ("reneg-sec 0", ("reneg-sec", Warning)),
        ("reneg-sec 120", ("reneg-sec", Warning)),
        ("hand-window 10", ("hand-window", Warning)),
        ("auth-gen-token", ("auth-gen-token", Warning)),
        ("auth-gen-token 43200", ("auth-gen-token", Warning)),
        ("auth-gen-token 1800 external-auth", ("auth-gen-token", Warning)),
        ("auth-gen-token 7200 external-auth", ("auth-gen-token", Warning)),
        ("verify-client-cert none", ("verify-client-cert", Warning)),
        ("verify-client-cert optional", ("verify-client-cert", Warning)),
        ("client-cert-not-required", ("client-cert-not-required", Warning)),
    ] {
        let (name, severity) = wanted;
        assert_eq!(plus(&format!("# a comment\n{line}")), [(name, Some(6), severity)], "{line}");
    }
}

#[test]
fn what_is_in_order_is_left_alone() {
    for line in [
        "# auth-user-pass-verify in a comment",
        "plugin /usr/lib/openvpn-plugin-down-root.so",
        "management-client-user ovpn-warden",
        "push \"route 10.0.0.0 255.0.0.0\"",
        "reneg-sec 3600",
        "hand-window 16",
        "auth-gen-token 0 external-auth",
        "auth-gen-token 43200 external-auth",
        "auth-gen-token 43200 3600 external-auth",
        "verify-client-cert require",
    ] {
        assert_eq!(plus(line), [], "{line}");
    }
}

#[test]
fn inline_blocks_are_no_directives() {
    assert_eq!(plus("<ca>\nduplicate-cn\n</ca>"), []);
    assert_eq!(plus("<ca>\n</ca>\nduplicate-cn"), [("duplicate-cn", Some(7), Note)]);
}

#[test]
fn an_open_management_port_is_a_fault() {
    let text = GOOD.replace("/run/openvpn/udp.sock unix /etc/openvpn/mgmt.pw", "0.0.0.0 7505");
    let findings = with(&text, attached(tcp(7505), None), |_| {});
    assert_eq!(short(&findings), [("management", Some(2), Fault); 2]);
    let text = text.replace("0.0.0.0 7505", "localhost");
    assert_eq!(found(&text), [("management", Some(2), Fault)], "no port");
}

#[test]
fn passwords_have_to_be_on_both_sides() {
    let open = GOOD.replace(" /etc/openvpn/mgmt.pw", "");
    let with_none = Server { password: None, ..unix() };
    let findings = with(GOOD, with_none.clone(), |_| {});
    assert_eq!(short(&findings), [("management", Some(2), Fault)]);
    assert!(findings[0].mend.contains("password_file of server `udp`"), "{findings:?}");
    assert_eq!(short(&with(&open, with_none, |_| {})), []);
    assert_eq!(found(&open), [("management", Some(2), Note)]);
}

#[test]
fn a_port_that_nobody_of_ours_attaches_to_is_named() {
    let text = GOOD.replace("/run/openvpn/udp.sock unix", "127.0.0.1 7505");
    let findings = with(&text, unix(), |_| {});
    assert_eq!(short(&findings), [("management", Some(2), Warning)]);
    assert!(findings[0].mend.contains("management = \"tcp://127.0.0.1:7505\""), "{findings:?}");
    assert_eq!(short(&with(&text, attached(tcp(7505), Some("x")), |_| {})), []);
}

#[test]
fn an_openvpn_that_dials_out_needs_somebody_who_listens() {
    let text = GOOD.replace("/run/openvpn/udp.sock unix", "127.0.0.1 7600");
    let text = format!("{text}management-client\n");
    let findings = with(&text, attached(tcp(7600), Some("x")), |_| {});
    assert_eq!(short(&findings), [("management-client", Some(5), Fault)]);
    assert!(findings[0].mend.contains("listen://127.0.0.1:7600"), "{findings:?}");
    let listens = Endpoint::Listen("127.0.0.1:7600".parse().unwrap());
    assert_eq!(short(&with(&text, attached(listens, Some("x")), |_| {})), []);
    let text = format!("{GOOD}management-client\n");
    assert_eq!(found(&text), [("management-client", Some(5), Fault)], "no socket is dialled");
}

#[test]
fn half_of_reneg_sec_bounds_an_answer_too() {
    let findings = with(&format!("{GOOD}reneg-sec 400\n"), unix(), |ours| {
        ours.auth_timeout_s = 120;
    });
    let wanted = [("hand-window", None, Warning)];
    assert_eq!(short(&findings), wanted, "the default of 60 s is too short for 120 s of ours");
    let findings = with(&format!("{GOOD}hand-window 600\nreneg-sec 400\n"), unix(), |ours| {
        ours.auth_timeout_s = 120;
    });
    assert_eq!(short(&findings), [("reneg-sec", Some(6), Warning)]);
}

#[test]
fn without_certificates_the_device_rule_matters() {
    let text = format!("{GOOD}verify-client-cert none\n");
    let why = |mode: DeviceMode| {
        let findings = with(&text, unix(), |ours| ours.device_mode = mode);
        findings.into_iter().find(|f| f.directive == "verify-client-cert").unwrap().why
    };
    for mode in [DeviceMode::Off, DeviceMode::Log] {
        assert!(why(mode).contains(&format!("device_mode = \"{mode}\" the password alone")));
    }
    for mode in [DeviceMode::Learn, DeviceMode::Approve, DeviceMode::Enforce] {
        assert!(why(mode).contains("text that the client chooses"));
    }
}

#[test]
fn where_devices_are_judged_clients_are_hinted_at() {
    let findings = with(GOOD, unix(), |ours| ours.device_mode = DeviceMode::Enforce);
    assert_eq!(short(&findings), [("push-peer-info", None, Note)]);
    assert!(findings[0].mend.contains("conf/client.ovpn"), "{findings:?}");
}

#[test]
fn names_of_users_as_common_names_are_told_of() {
    let name = "username-as-common-name";
    assert_eq!(plus(name), [(name, Some(5), Note); 2]);
    assert_eq!(
        plus(&format!("{name}\nduplicate-cn")),
        [(name, Some(5), Note), ("duplicate-cn", Some(6), Note)]
    );
}

#[test]
fn a_clients_configuration_is_looked_at_as_one() {
    const CLIENT: &str = "client\nremote x 1194\nauth-user-pass\npush-peer-info\n";
    let look = |text: &str, mode: DeviceMode, own: bool| {
        let findings = with(text, unix(), |ours| {
            (ours.device_mode, ours.wants_own_variable) = (mode, own);
        });
        short(&findings)
    };
    let enforce = DeviceMode::Enforce;
    assert_eq!(look(CLIENT, enforce, false), []);
    assert_eq!(look("client\n", DeviceMode::Off, true), [("auth-user-pass", None, Fault)]);
    let silent = CLIENT.replace("push-peer-info\n", "");
    assert_eq!(look(&silent, enforce, false), [("push-peer-info", None, Fault)]);
    assert_eq!(look(&silent, DeviceMode::Log, false), [("push-peer-info", None, Warning)]);
    assert_eq!(look(CLIENT, enforce, true), [("setenv", None, Warning)]);
    let own = format!("{CLIENT}setenv UV_CLIENT_MAC 02:00:00:00:00:01\n");
    assert_eq!(look(&own, enforce, true), []);
    let wrong =
        format!("{CLIENT}setenv CLIENT_MAC 02:00:00:00:00:01\nauth-nocache\nhand-window 9\n");
    assert_eq!(
        look(&wrong, enforce, false),
        [
            ("setenv", Some(5), Warning),
            ("auth-nocache", Some(6), Warning),
            ("hand-window", Some(7), Warning)
        ]
    );
    assert_eq!(look(include_str!("../../../conf/client.ovpn"), enforce, true), []);
}
