//! `explain`: the decision, dry: every rule with its verdict, and what the client would see.

use std::net::IpAddr;

use clap::Args;
use serde::Serialize;

use super::{
    Desk,
    exit::{CliError, Exit},
    input,
    output::{View, or_dash, rfc3339, short_time},
    parse,
};
use crate::{
    auth::{
        client_config,
        decide::{Case, Defaults, PasswordCheck, decide, explain},
        password::{self, Schemes, Workspace},
        request::{AuthRequest, Claimed, RequestKind},
        second_factor::{
            Demand, FactorCheck, demand,
            response::Response,
            totp::{self, Candidate},
        },
        service::place,
        terms::Terms,
        text,
        throttle::network,
    },
    config::Config,
    daemon,
    store::{Facts, Lockout, Usage},
    types::{
        Cause, DenyReason, DeviceId, Factor, Fingerprint, Password, ServerName, SessionId,
        Timestamp, Username,
    },
};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Login name
    user: Username,
    /// The device it would come with: a MAC address in any usual notation, or a mobile client's id
    #[arg(long, value_name = "ID", value_parser = parse::device)]
    device: Option<DeviceId>,
    /// The SHA-256 fingerprint of its certificate, as openssl prints it
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
    /// The common name of its certificate [default: the login name]
    #[arg(long, value_name = "CN")]
    common_name: Option<String>,
    /// On this server [default: the first that is configured]
    #[arg(long)]
    server: Option<ServerName>,
    /// From this address: whether it, or the user there, is held back after failed logins
    #[arg(long, value_name = "IP")]
    client_ip: Option<IpAddr>,
    /// At this time: 2026-12-31T18:00:00Z, 2026-12-31, +2h or -24h [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    /// Check this one-time code too, without using it up; without it a code counts as right
    #[arg(long, value_name = "CODE", value_parser = code)]
    code: Option<Password>,
    /// Check the password on standard input too; without it the password counts as right
    #[arg(long)]
    password_stdin: bool,
}

/// A code of an authenticator app; whether a recovery code is right shows when it is used.
fn code(text: &str) -> Result<Password, String> {
    let digits: String = text.chars().filter(|c| *c != ' ').collect();
    match digits.len() {
        6 if digits.bytes().all(|b| b.is_ascii_digit()) => Ok(Password::from(digits.as_bytes())),
        _ => Err("a one-time code has six digits".into()),
    }
}

/// Shows the verdicts; [`Exit::No`] where the client would be refused.
pub async fn execute(
    desk: &mut Desk,
    config: &Config,
    args: ExplainArgs,
) -> Result<Exit, CliError> {
    let now = match &args.at {
        Some(text) => parse::past_moment("--at", text, desk.now())?,
        None => desk.now(),
    };
    if let Some(server) = &args.server {
        known(server, config)?;
    }
    let first = config.servers.first().map(|server| &server.name);
    let Some(server) = args.server.as_ref().or(first).cloned() else {
        return Err(CliError::usage("no server is configured").or_next("name one with --server"));
    };
    let password = if args.password_stdin { Some(input::new_password(true)?) } else { None };
    let facts =
        desk.store.facts(&args.user, args.device.as_ref(), args.fingerprint.as_ref(), now).await?;
    let check = match &password {
        Some(password) => compare(password, facts.as_ref(), &config.auth.password_schemes)?,
        None => PasswordCheck::NotNeeded,
    };
    let common_name = args.common_name.unwrap_or_else(|| args.user.to_string());
    let request = AuthRequest {
        proven: None,
        server,
        kind: RequestKind::Connect,
        user: Claimed::Valid(args.user.clone()),
        password,
        token: None,
        response: Response::None,
        common_name: Some(common_name.into()),
        device: Ok(args.device.clone()),
        certificate: args.fingerprint.map(Box::new),
        client_ip: args.client_ip,
    };
    let defaults = daemon::defaults(config);
    let facts = facts.as_ref();
    let demand = facts.map(|facts| demand(&request, facts, defaults.second_factor));
    let is_code_open = matches!(demand, Some(Demand::Code(_))) && args.code.is_none();
    let factor = match (demand, facts, &args.code) {
        (Some(Demand::Enrolment), _, _) => FactorCheck::NotEnrolled,
        (Some(Demand::Code(factor)), Some(facts), Some(code)) => {
            match totp::judge(code, facts.user.id, factor, now) {
                Ok(Candidate::Step(_)) => FactorCheck::Right(Factor::Totp),
                Ok(Candidate::Recovery(_) | Candidate::Wrong) => FactorCheck::Wrong,
                Err(error) => return Err(CliError::failed(error.to_string())),
            }
        }
        (Some(Demand::Code(_) | Demand::Nothing) | None, _, _) => FactorCheck::NotNeeded,
    };
    let usage = usage(desk, facts, &defaults, now).await?;
    let case = Case {
        request: &request,
        facts,
        usage: &usage,
        password: check,
        factor,
        defaults: &defaults,
        now,
    };
    let has_place = has_place(desk, &request, &args.user, facts).await?;
    let is_held = is_held(desk, &request, &args.user, now).await?;
    let verdict = match (decide(&case), has_place, is_held) {
        (Err(DenyReason::UnknownUser), _, _) => Err(DenyReason::UnknownUser),
        (_, _, Some(true)) => Err(DenyReason::Throttled),
        (Ok(_), Some(false), _) => Err(DenyReason::TooManySessions),
        (verdict, _, _) => verdict,
    };
    let throttled = |is_held: bool| is_held.then_some(DenyReason::Throttled);
    let place = |has_place: bool| (!has_place).then_some(DenyReason::TooManySessions);
    let rules = explain(&case)
        .into_iter()
        .chain(is_held.map(|is_held| ("throttle", throttled(is_held))))
        .chain(has_place.map(|has_place| ("max_sessions", place(has_place))))
        .map(|(rule, reason)| RuleView {
            rule,
            verdict: match (reason, rule, check) {
                (Some(_), _, _) => "deny",
                (None, "password", PasswordCheck::NotNeeded) => "not_checked",
                (None, "second_factor", _) if is_code_open => "not_checked",
                (None, _, _) => "pass",
            },
            reason: reason.map(DenyReason::as_str),
        })
        .collect();
    let config = client_config::of(&request, facts)?;
    let view = Explanation {
        config: config.iter().map(|line| line.as_str().to_owned()).collect(),
        ..Explanation::new(&args.user, args.device.as_ref(), facts, now, verdict, rules)
    };
    if desk.out.is_json() {
        desk.out.json(&view)?;
    } else {
        desk.out.show(&view)?;
        desk.out.list(&view.rules)?;
    }
    Ok(if view.allowed { Exit::Done } else { Exit::No })
}

/// Whether the client would be held back after failed logins; `None` without its address.
async fn is_held(
    desk: &Desk,
    request: &AuthRequest,
    user: &Username,
    now: Timestamp,
) -> Result<Option<bool>, CliError> {
    let Some(at) = request.client_ip.map(network) else { return Ok(None) };
    let lockouts = desk.store.lockouts(now).await?;
    let is_meant = |lockout: &Lockout| {
        lockout.network == Some(at) && lockout.user.as_ref().is_none_or(|held| held == user)
    };
    Ok(Some(lockouts.iter().any(is_meant)))
}

/// What the user has used of quotas.
async fn usage(
    desk: &Desk,
    facts: Option<&Facts>,
    defaults: &Defaults,
    now: Timestamp,
) -> Result<Usage, CliError> {
    let Some(facts) = facts.filter(|facts| facts.policy.has_quotas()) else {
        return Ok(Usage::default());
    };
    let zone = facts.policy.time_zone.unwrap_or(defaults.time_zone);
    let users = [(facts.user.name.clone(), zone.began(now))];
    Ok(desk.store.usage(&users, now).await?.into_iter().next().unwrap_or_default())
}

/// Whether there is a place for one more session now; `None` where there is no limit.
async fn has_place(
    desk: &Desk,
    request: &AuthRequest,
    user: &Username,
    facts: Option<&Facts>,
) -> Result<Option<bool>, CliError> {
    let now = desk.now();
    let session = SessionId::new(now, [0; 10]);
    match facts.and_then(|facts| place(request, user, facts, session)) {
        Some(claim) => Ok(Some(desk.store.has_place(&claim, now).await?)),
        None => Ok(None),
    }
}

/// Refuses a server that is not configured. Where none is, any will do: accounts are also managed
/// on machines without OpenVPN.
pub fn known(server: &ServerName, config: &Config) -> Result<(), CliError> {
    let names: Vec<String> =
        config.servers.iter().map(|server| format!("`{}`", server.name)).collect();
    if names.is_empty() || config.servers.iter().any(|known| known.name == *server) {
        return Ok(());
    }
    Err(CliError::usage(format!("server `{server}` is not configured"))
        .or_next(format!("configured are {}", names.join(", "))))
}

fn compare(
    password: &Password,
    facts: Option<&Facts>,
    schemes: &Schemes,
) -> Result<PasswordCheck, CliError> {
    let Some(stored) = facts.and_then(|facts| facts.user.password_hash.as_deref()) else {
        return Ok(PasswordCheck::Wrong);
    };
    let right = schemes
        .admit(stored)
        .and_then(|_| password::verify(password, stored, &mut Workspace::default()))
        .map_err(|error| CliError::failed(format!("comparing the password: {error}")))?;
    Ok(if right { PasswordCheck::Right } else { PasswordCheck::Wrong })
}

#[derive(Serialize)]
struct RuleView {
    rule: &'static str,
    verdict: &'static str,
    reason: Option<&'static str>,
}

impl View for RuleView {
    const COLUMNS: &'static [&'static str] = &["RULE", "VERDICT", "REASON"];

    fn row(&self) -> Vec<String> {
        vec![self.rule.into(), self.verdict.into(), or_dash(self.reason)]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![(self.rule, self.verdict.into())]
    }
}

#[derive(Serialize)]
struct Explanation {
    user: String,
    device: Option<String>,
    policy: Option<String>,
    at: String,
    allowed: bool,
    reason: Option<&'static str>,
    temporary: bool,
    client_sees: Option<&'static str>,
    deadline: Option<String>,
    deadline_reason: Option<&'static str>,
    expiry_action: Option<&'static str>,
    /// What OpenVPN is told about the client.
    config: Vec<String>,
    rules: Vec<RuleView>,
    #[serde(skip)]
    ends: Option<Timestamp>,
}

impl Explanation {
    fn new(
        user: &Username,
        device: Option<&DeviceId>,
        facts: Option<&Facts>,
        now: Timestamp,
        verdict: Result<Terms, DenyReason>,
        rules: Vec<RuleView>,
    ) -> Self {
        let (terms, reason) = (verdict.ok(), verdict.err());
        let ends = terms.and_then(|terms| terms.deadline);
        Self {
            user: user.to_string(),
            device: device.map(DeviceId::to_string),
            policy: facts.map(|facts| facts.policy.name.clone()),
            at: now.to_string(),
            allowed: terms.is_some(),
            reason: reason.map(DenyReason::as_str),
            temporary: reason.is_some_and(DenyReason::is_temporary),
            client_sees: reason.map(|reason| text::denial_of(reason, device, None)),
            deadline: rfc3339(ends),
            deadline_reason: terms.and_then(|terms| terms.deadline_reason).map(Cause::as_str),
            expiry_action: terms.map(|terms| terms.expiry_action.as_str()),
            config: Vec::new(),
            rules,
            ends,
        }
    }
}

impl View for Explanation {
    const COLUMNS: &'static [&'static str] = &["USER", "ANSWER", "REASON"];

    fn row(&self) -> Vec<String> {
        vec![self.user.clone(), self.answer(), or_dash(self.reason)]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("user", self.user.clone()),
            ("device", or_dash(self.device.as_deref())),
            ("policy", or_dash(self.policy.as_deref())),
            ("answer", self.answer()),
        ];
        if let Some(text) = self.client_sees {
            lines.push(("the client sees", text.into()));
        } else {
            let why = self.deadline_reason.map(|why| format!(" ({why})")).unwrap_or_default();
            lines.push(("until", format!("{}{why}", short_time(self.ends))));
            lines.extend(self.config.iter().map(|line| ("client", line.clone())));
        }
        lines
    }
}

impl Explanation {
    fn answer(&self) -> String {
        self.reason.map_or_else(|| "allowed".into(), |reason| format!("denied: {reason}"))
    }
}
