//! Looks at an OpenVPN configuration for what this daemon needs. Text in, findings out.

use super::{
    conf::{Conf, Directive, Management, Place, is_loopback},
    rules::{MISSING, PRESENT, PRESENT_AT_CLIENTS, Present},
};
use crate::{
    config::{Config, Endpoint, Server},
    store::{DeviceMode, PolicyRecord, SecondFactorMode},
};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Will hurt one day.
    Warning,
    /// Logins or limits do not work like this.
    Fault,
}

impl Severity {
    /// The word for people and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// One thing to know about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The line, from 1; `None` for something that is missing.
    pub line: Option<usize>,
    /// The directive.
    pub directive: &'static str,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub mend: String,
}

/// What of our own configuration OpenVPN's is held against.
#[derive(Debug, Clone)]
pub struct Ours<'a> {
    /// Time limit for an answer.
    pub auth_timeout_s: u64,
    pub device_mode: DeviceMode,
    /// What a client that OpenVPN lets in by itself gets around; empty: nothing.
    pub strict: Vec<&'static str>,
    /// Longest session where no policy says otherwise.
    pub session_limit_s: Option<u64>,
    /// Whether a device is looked for in a variable that clients have to set.
    pub wants_own_variable: bool,
    pub servers: &'a [Server],
}

impl<'a> From<&'a Config> for Ours<'a> {
    fn from(config: &'a Config) -> Self {
        let sources = &config.auth.device_sources;
        Self {
            auth_timeout_s: config.auth.timeout.as_secs(),
            device_mode: config.auth.device_mode,
            strict: strict(config, &[]),
            session_limit_s: config.session.limit.map(|limit| limit.as_secs()),
            wants_own_variable: !sources.iter().any(|source| source.as_str().starts_with("IV_")),
            servers: &config.servers,
        }
    }
}

/// What is judged at a login only: by the configuration, and by those policies that are known.
pub fn strict(config: &Config, policies: &[PolicyRecord]) -> Vec<&'static str> {
    let judges =
        |mode| matches!(mode, DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce);
    let asks = |mode| mode == SecondFactorMode::Required;
    let auth = &config.auth;
    let any = |is: &dyn Fn(&PolicyRecord) -> bool| policies.iter().any(is);
    let fingerprints =
        auth.require_fingerprint || any(&|policy| policy.require_fingerprint == Some(true));
    [
        (
            "devices",
            fingerprints
                || judges(auth.device_mode)
                || any(&|policy| policy.device_mode.is_some_and(judges)),
        ),
        ("the second factor", {
            asks(auth.second_factor) || any(&|policy| policy.second_factor.is_some_and(asks))
        }),
        ("max_sessions", any(&|policy| policy.max_sessions.unwrap_or(0) > 0)),
        ("cooldown_s", any(&|policy| policy.cooldown_s.unwrap_or(0) > 0)),
    ]
    .into_iter()
    .filter_map(|(what, is_in_use)| is_in_use.then_some(what))
    .collect()
}

impl Ours<'_> {
    /// Which of `[[servers]]` attaches to this OpenVPN.
    pub fn server(&self, management: &Management, dials: bool) -> Option<&Server> {
        self.servers.iter().find(|server| is_same(&server.management, &management.place, dials))
    }
}

/// `dials`: OpenVPN dials us. Hosts may be written in many ways; the port tells them apart.
fn is_same(ours: &Endpoint, theirs: &Place, dials: bool) -> bool {
    match (ours, theirs) {
        (Endpoint::Unix(path), Place::Unix(other)) => !dials && path == other,
        (Endpoint::Tcp { port, .. }, Place::Network { port: other, .. }) => !dials && port == other,
        (Endpoint::Listen(address), Place::Network { port, .. }) => {
            dials && address.port() == *port
        }
        _ => false,
    }
}

/// Looks at a whole configuration, of a server or of a client.
pub fn lint(conf: &Conf, ours: &Ours<'_>) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    if conf.is_client() {
        client(conf, ours, &mut findings);
    } else {
        server(conf, ours, &mut findings);
    }
    findings.0.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.line));
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        severity: Severity,
        line: Option<usize>,
        directive: &'static str,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) {
        let (why, mend) = (why.into(), mend.into());
        self.0.push(Finding { severity, line, directive, why, mend });
    }

    fn fault(&mut self, line: Option<usize>, directive: &'static str, why: &str, mend: &str) {
        self.add(Severity::Fault, line, directive, why, mend);
    }

    fn warning(&mut self, line: Option<usize>, directive: &'static str, why: &str, mend: &str) {
        self.add(Severity::Warning, line, directive, why, mend);
    }

    fn note(&mut self, line: Option<usize>, directive: &'static str, why: &str, mend: &str) {
        self.add(Severity::Note, line, directive, why, mend);
    }

    fn present(&mut self, conf: &Conf, rules: &[Present]) {
        for rule in rules {
            for found in conf.all(rule.name).filter(|found| (rule.applies)(&found.words)) {
                self.add(rule.severity, Some(found.line), rule.name, rule.why, rule.mend);
            }
        }
    }
}

fn line(directive: Option<&Directive>) -> Option<usize> {
    directive.map(|directive| directive.line)
}

fn server(conf: &Conf, ours: &Ours<'_>, findings: &mut Findings) {
    for rule in MISSING {
        if !rule.names.iter().any(|name| conf.has(name)) {
            findings.add(rule.severity, None, rule.names[0], rule.why, rule.mend);
        }
    }
    findings.present(conf, PRESENT);
    match conf.management() {
        Some(management) => port(conf, &management, ours, findings),
        None if conf.has("management") => findings.fault(
            line(conf.last("management")),
            "management",
            "OpenVPN needs an address and a port, or a path and `unix`",
            "write `management 127.0.0.1 7505 FILE` or `management PATH unix FILE`",
        ),
        None => {}
    }
    times(conf, ours, findings);
    tokens(conf, ours, findings);
    names(conf, ours, findings);
}

/// The management line, and the server of ours that is meant to attach there.
fn port(conf: &Conf, management: &Management, ours: &Ours<'_>, findings: &mut Findings) {
    const NAME: &str = "management";
    let (at, dials) = (Some(management.line), conf.has("management-client"));
    let is_network = matches!(management.place, Place::Network { .. });
    if is_network && !management.has_password {
        findings.fault(
            at,
            NAME,
            "every local user can let anybody in over a port without a password",
            "add a password file as the third argument, or use a unix socket",
        );
    }
    if !management.place.is_local() {
        findings.fault(
            at,
            NAME,
            "the management protocol is not encrypted: passwords cross the network in the clear",
            "listen on 127.0.0.1 or on a unix socket, and run this daemon on the same host",
        );
    }
    let Some(server) = ours.server(management, dials) else {
        return unknown_port(conf, management, dials, findings);
    };
    let name = &server.name;
    match (management.has_password, server.password.is_some()) {
        (true, false) => findings.add(
            Severity::Fault,
            at,
            NAME,
            format!("OpenVPN asks for a password here, and server `{name}` has none"),
            format!("set password_file of server `{name}`"),
        ),
        (false, true) => findings.add(
            Severity::Note,
            at,
            NAME,
            format!("the password of server `{name}` is never asked for"),
            "add the file with it as the third argument",
        ),
        (true, true) | (false, false) => {}
    }
}

/// Nobody of ours attaches there.
fn unknown_port(conf: &Conf, management: &Management, dials: bool, findings: &mut Findings) {
    let here = match &management.place {
        Place::Unix(path) if !dials => format!("unix://{}", path.display()),
        Place::Unix(_) => String::new(),
        Place::Network { host, port } => {
            let host = if is_loopback(host) { "127.0.0.1" } else { host };
            format!("{}://{host}:{port}", if dials { "listen" } else { "tcp" })
        }
    };
    if dials {
        let mend = if here.is_empty() {
            "dial an address: `management 127.0.0.1 7600 FILE`".into()
        } else {
            format!("set management = \"{here}\" in [[servers]], or remove the line")
        };
        let why = "OpenVPN dials out, and none of our servers listens there";
        findings.add(
            Severity::Fault,
            line(conf.last("management-client")),
            "management-client",
            why,
            mend,
        );
    } else {
        findings.add(
            Severity::Warning,
            Some(management.line),
            "management",
            "none of our servers attaches there",
            format!("set management = \"{here}\" in [[servers]], unless another daemon serves it"),
        );
    }
}

/// Less often than this, renewals are no burden; in seconds.
const SELDOM_S: u64 = 300;
/// OpenVPN's defaults, in seconds.
const HAND_WINDOW_S: u64 = 60;
const RENEG_S: u64 = 3600;

fn times(conf: &Conf, ours: &Ours<'_>, findings: &mut Findings) {
    let renewal = conf.last("reneg-sec");
    let reneg = conf.number("reneg-sec").unwrap_or(RENEG_S);
    if reneg == 0 {
        findings.warning(
            line(renewal),
            "reneg-sec",
            "keys are never renewed, and nobody is asked again: a changed password counts only at \
             the next login",
            "set `reneg-sec 3600`",
        );
    } else if reneg < SELDOM_S {
        findings.warning(
            line(renewal),
            "reneg-sec",
            "every client is asked for so often, and who is asked while we are away for longer than \
             hand-window is thrown out",
            "set `reneg-sec 3600`",
        );
    }
    hand_window(conf, ours, findings);
    let hand = conf.number("hand-window").unwrap_or(HAND_WINDOW_S);
    let wanted = 2 * ours.auth_timeout_s;
    if reneg > 0 && reneg / 2 < hand && reneg / 2 < wanted {
        findings.add(
            Severity::Warning,
            line(renewal),
            "reneg-sec",
            "OpenVPN waits for an answer no longer than half of it, which a slow answer of ours takes",
            format!("set `reneg-sec {}` or more", (2 * wanted).max(RENEG_S)),
        );
    }
}

fn hand_window(conf: &Conf, ours: &Ours<'_>, findings: &mut Findings) {
    let wanted = 2 * ours.auth_timeout_s;
    if conf.number("hand-window").unwrap_or(HAND_WINDOW_S) < wanted {
        findings.add(
            Severity::Warning,
            line(conf.last("hand-window")),
            "hand-window",
            "a client gives up before a slow answer of ours can act",
            format!("set `hand-window {wanted}` or more, or lower [auth] timeout_ms"),
        );
    }
}

fn tokens(conf: &Conf, ours: &Ours<'_>, findings: &mut Findings) {
    const NAME: &str = "auth-gen-token";
    let Some(found) = conf.last(NAME) else { return };
    let at = Some(found.line);
    if !found.words.iter().any(|word| word == "external-auth") {
        const WHY: &str = "clients that come back with a token are not shown to us as logins: not even \
                           a blocked user is stopped";
        let mend = "add `external-auth` to the line, or remove it";
        match ours.strict.as_slice() {
            [] => findings.warning(at, NAME, WHY, mend),
            strict => {
                let why =
                    format!("{WHY}, and who has a token gets around {}", strict.join(" and "));
                findings.add(Severity::Fault, at, NAME, why, mend);
            }
        }
    }
    let lifetime = conf.number(NAME).unwrap_or_default();
    let reneg = conf.number("reneg-sec").unwrap_or(RENEG_S);
    if lifetime > 0 && lifetime < reneg {
        findings.warning(
            at,
            NAME,
            "a token ends before the first renewal of the keys: people are asked for their password \
             again each time",
            "give it a longer time than reneg-sec (3600), best that of [session] limit_s",
        );
    } else if ours.session_limit_s.is_some_and(|limit| lifetime > 0 && lifetime < limit) {
        findings.warning(
            at,
            NAME,
            "a token ends before the session may: people are asked for their password in the middle",
            "give it at least [session] limit_s",
        );
    }
}

/// Who a client is: certificate, name, device.
fn names(conf: &Conf, ours: &Ours<'_>, findings: &mut Findings) {
    let certificate = conf.last("verify-client-cert");
    let mode = certificate.and_then(|found| found.words.get(1)).map(String::as_str);
    let old = conf.last("client-cert-not-required");
    let (at, name) = match (mode, old) {
        (Some("none" | "optional"), _) => (line(certificate), "verify-client-cert"),
        (_, Some(old)) => (Some(old.line), "client-cert-not-required"),
        (_, None) => (None, ""),
    };
    let certificates = "use client certificates beside it: `verify-client-cert require`";
    let judges_devices =
        matches!(ours.device_mode, DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce);
    if at.is_some() && judges_devices {
        findings.warning(
            at,
            name,
            "only the password is then secret: a device address is text that the client chooses",
            certificates,
        );
    } else if at.is_some() {
        findings.add(
            Severity::Warning,
            at,
            name,
            format!(
                "without certificates and with device_mode = \"{}\" the password alone lets in, from \
                 any device",
                ours.device_mode
            ),
            format!("{certificates}, or set [auth] device_mode to \"enforce\""),
        );
    }
    if ours.device_mode != DeviceMode::Off && !conf.all("push").any(is_peer_info) {
        findings.note(
            None,
            "push-peer-info",
            "devices are known only of clients that have it in their own configuration: it cannot be \
             pushed",
            "see conf/client.ovpn; give a client's configuration to --openvpn-conf to have it checked",
        );
    }
    if conf.has("username-as-common-name") && !conf.has("duplicate-cn") {
        findings.note(
            line(conf.last("username-as-common-name")),
            "username-as-common-name",
            "a second login of a user ends the first, whatever max_sessions says",
            "add `duplicate-cn` where a policy allows more than one session",
        );
    }
}

fn is_peer_info(push: &Directive) -> bool {
    push.words.get(1).is_some_and(|what| what.trim() == "push-peer-info")
}

fn client(conf: &Conf, ours: &Ours<'_>, findings: &mut Findings) {
    if !conf.has("auth-user-pass") {
        findings.fault(
            None,
            "auth-user-pass",
            "the client sends no username and no password, and is refused",
            "add `auth-user-pass`",
        );
    }
    if ours.device_mode != DeviceMode::Off && !conf.has("push-peer-info") {
        let severity = match ours.device_mode {
            DeviceMode::Off | DeviceMode::Log => Severity::Warning,
            DeviceMode::Learn | DeviceMode::Approve | DeviceMode::Enforce => Severity::Fault,
        };
        let why = "no device id leaves the client without it (`device_missing`)";
        findings.add(severity, None, "push-peer-info", why, "add `push-peer-info`");
    }
    let sets_own = conf
        .all("setenv")
        .any(|found| found.words.get(1).is_some_and(|name| name.starts_with("UV_")));
    if ours.device_mode != DeviceMode::Off && ours.wants_own_variable && !sets_own {
        findings.warning(
            None,
            "setenv",
            "[auth] device_sources has only variables that a client's configuration has to set",
            "add `setenv UV_CLIENT_MAC …` with the device's address, or what device_sources names",
        );
    }
    findings.present(conf, PRESENT_AT_CLIENTS);
    hand_window(conf, ours, findings);
}
