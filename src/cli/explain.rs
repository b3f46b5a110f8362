//! `explain`: the decision, dry: every rule with its verdict, and what the client would see.

use std::{borrow::Cow, net::IpAddr};

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
        device::{self, DeviceError, DeviceSource},
        service::trial::{Outcome, Trial, TrialError, Verdict},
    },
    config::Config,
    daemon,
    proto::Env,
    store::{MAX_SESSIONS, SessionFilter, SessionRecord},
    types::{Cause, DenyReason, DeviceId, Fingerprint, Password, ServerName, Timestamp, Username},
};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Login name
    user: Username,
    /// The device it would come with: a MAC address in any usual notation, or a mobile client's id
    #[arg(long, value_name = "ID", value_parser = parse::device)]
    device: Option<DeviceId>,
    /// What it would send of its device, as UV_CLIENT_MAC=02-1A-2B-3C-4D-5E: judged as at a login (repeatable)
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "device", value_parser = variable)]
    sends: Vec<(DeviceSource, String)>,
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
    /// At this time: 2026-12-31, "2026-12-31 18:00" (UTC), +2h or -24h [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    /// Check this one-time code too, without using it up; without it a code counts as right
    #[arg(long, value_name = "CODE", value_parser = code)]
    code: Option<Password>,
    /// Check the password on standard input too; without it the password counts as right
    #[arg(long)]
    password_stdin: bool,
    /// It would send no password
    #[arg(long, conflicts_with = "password_stdin")]
    no_password: bool,
}

/// A variable of the peer info.
fn variable(text: &str) -> Result<(DeviceSource, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    match name.parse::<DeviceSource>() {
        Ok(source) if !name.starts_with("tls_") => Ok((source, value.to_owned())),
        Ok(_) => Err("OpenVPN says that, and not the client: use --fingerprint".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The device in what a client sends, as at a login.
fn device(args: &ExplainArgs, config: &Config) -> Result<Option<DeviceId>, DeviceError> {
    if args.sends.is_empty() {
        return Ok(args.device.clone());
    }
    let mut env = Env::default();
    for (source, value) in &args.sends {
        env.push(source.as_str().as_bytes(), value.as_bytes());
    }
    Ok(device::claim(&env, &config.auth.device_sources)?.map(|claim| claim.id))
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
    let device = device(&args, config);
    let trial = Trial {
        server,
        user: args.user.clone(),
        device: device.clone(),
        fingerprint: args.fingerprint,
        common_name: args.common_name,
        client_ip: args.client_ip,
        password,
        has_no_password: args.no_password,
        code: args.code,
    };
    let (defaults, schemes) = (daemon::defaults(config), &config.auth.password_schemes);
    let outcome = trial.run(&*desk.store, &defaults, schemes, now).await?;
    let mut view = Explanation::new(&args.user, device, outcome, now);
    if view.reason == Some(DenyReason::TooManySessions.as_str()) {
        let filter = SessionFilter {
            user: Some(args.user),
            limit: MAX_SESSIONS,
            ..SessionFilter::default()
        };
        view.holders = desk.store.sessions(&filter).await?.iter().map(Holder::from).collect();
    }
    if desk.out.is_json() {
        desk.out.json(&view)?;
    } else {
        desk.out.show(&view)?;
        desk.out.list(&view.rules)?;
    }
    Ok(if view.allowed { Exit::Done } else { Exit::No })
}

impl From<TrialError> for CliError {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::Store(error) => error.into(),
            TrialError::Secret(_) => Self::failed(error.to_string()),
        }
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

#[derive(Serialize)]
struct RuleView {
    rule: &'static str,
    verdict: &'static str,
    reason: Option<&'static str>,
}

impl From<(&'static str, Verdict)> for RuleView {
    fn from((rule, verdict): (&'static str, Verdict)) -> Self {
        let (verdict, reason) = match verdict {
            Verdict::Pass => ("pass", None),
            Verdict::Deny(reason) => ("deny", Some(reason.as_str())),
            Verdict::NotChecked => ("not_checked", None),
        };
        Self { rule, verdict, reason }
    }
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
    /// Why what it sends is no device.
    device_error: Option<String>,
    policy: Option<String>,
    at: String,
    allowed: bool,
    reason: Option<&'static str>,
    temporary: bool,
    client_sees: Option<Cow<'static, str>>,
    /// What is stored and cannot be used.
    fault: Option<String>,
    deadline: Option<String>,
    deadline_reason: Option<&'static str>,
    expiry_action: Option<&'static str>,
    /// What OpenVPN is told about the client.
    config: Vec<String>,
    /// The sessions that take the places, where there is none left.
    holders: Vec<Holder>,
    rules: Vec<RuleView>,
    #[serde(skip)]
    ends: Option<Timestamp>,
}

impl Explanation {
    fn new(
        user: &Username,
        device: Result<Option<DeviceId>, DeviceError>,
        outcome: Outcome,
        now: Timestamp,
    ) -> Self {
        let (terms, reason) = (outcome.verdict.ok(), outcome.verdict.err());
        let (device, device_error) = match device {
            Ok(device) => (device, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let client_sees = outcome.client_sees(device.as_ref());
        let ends = terms.and_then(|terms| terms.deadline);
        Self {
            user: user.to_string(),
            device: device.as_ref().map(DeviceId::to_string),
            device_error,
            policy: outcome.facts.map(|facts| facts.policy.name),
            at: now.to_string(),
            allowed: terms.is_some(),
            reason: reason.map(DenyReason::as_str),
            temporary: reason.is_some_and(DenyReason::is_temporary),
            client_sees,
            fault: outcome.fault,
            deadline: rfc3339(ends),
            deadline_reason: terms.and_then(|terms| terms.deadline_reason).map(Cause::as_str),
            expiry_action: terms.map(|terms| terms.expiry_action.as_str()),
            config: outcome.config,
            holders: Vec::new(),
            rules: outcome.rules.into_iter().map(RuleView::from).collect(),
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
            ("device", or_dash(self.device.as_deref().or(self.device_error.as_deref()))),
            ("policy", or_dash(self.policy.as_deref())),
            ("answer", self.answer()),
        ];
        if let Some(text) = &self.client_sees {
            lines.extend(self.fault.iter().map(|fault| ("because", fault.clone())));
            lines.push(("the client sees", text.to_string()));
            lines.extend(self.holders.iter().map(|holder| ("a place has", holder.shown())));
        } else {
            let why = self.deadline_reason.map(|why| format!(" ({why})")).unwrap_or_default();
            lines.push(("until", format!("{}{why}", short_time(self.ends))));
            lines.extend(self.config.iter().map(|line| ("client", line.clone())));
        }
        lines
    }
}

/// A session that takes a place.
#[derive(Serialize)]
struct Holder {
    session_id: String,
    server: String,
    seen_at: String,
}

impl From<&SessionRecord> for Holder {
    fn from(session: &SessionRecord) -> Self {
        Self {
            session_id: session.id.to_string(),
            server: session.server.to_string(),
            seen_at: session.updated_at.to_string(),
        }
    }
}

impl Holder {
    fn shown(&self) -> String {
        let Self { session_id, server, seen_at } = self;
        format!("session {session_id} on server {server}, last seen {seen_at}")
    }
}

impl Explanation {
    fn answer(&self) -> String {
        self.reason.map_or_else(|| "allowed".into(), |reason| format!("denied: {reason}"))
    }
}
