//! A login as a rehearsal: every rule's verdict, and nothing changed, counted or used up.

use std::borrow::Cow;

use crate::{
    auth::{
        client_config,
        decide::{Case, Defaults, PasswordCheck, decide, explain, refusing_rule},
        device::DeviceError,
        password::{self, PasswordError, Schemes, Workspace},
        request::{AuthRequest, Claimed, Denial, RequestKind},
        second_factor::{
            Demand, FactorCheck, demand,
            response::Response,
            totp::{self, BadSecret, Candidate},
        },
        terms::Terms,
        text,
        throttle::network,
    },
    store::{Facts, Store, StoreError, Usage},
    types::{
        DenyReason, DeviceId, Factor, Fingerprint, LockoutScope, Password, ServerName, SessionId,
        Timestamp, Username,
    },
};

use super::{place, throttling::was_here};

/// A login to try.
#[derive(Debug, Clone)]
pub struct Trial {
    /// On which server.
    pub server: ServerName,
    /// Who.
    pub user: Username,
    /// With which device, or why what it sends is none.
    pub device: Result<Option<DeviceId>, DeviceError>,
    /// With which certificate.
    pub fingerprint: Option<Fingerprint>,
    /// Its common name; `None`: the login name.
    pub common_name: Option<String>,
    /// From where; `None`: anywhere, so that nothing is said of lockouts.
    pub client_ip: Option<std::net::IpAddr>,
    /// `None`: as if it were right.
    pub password: Option<Password>,
    /// It sends no password at all.
    pub has_no_password: bool,
    /// `None`: as if it were right.
    pub code: Option<Password>,
}

/// What one rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has nothing against the login.
    Pass,
    /// It refuses.
    Deny(DenyReason),
    /// It was given nothing to judge.
    NotChecked,
}

/// What would come of the login.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the database says of the user; `None`: there is no such user.
    pub facts: Option<Facts>,
    /// The terms, or the reason against it.
    pub verdict: Result<Terms, DenyReason>,
    /// The rule that refuses, where it is not the last word of a lockout or of a full place.
    pub rule: Option<&'static str>,
    /// Every rule by its name, in the order in which they are asked.
    pub rules: Vec<(&'static str, Verdict)>,
    /// What OpenVPN would be told about the client.
    pub config: Vec<String>,
    /// Why the login could not be judged, if so: a stored value that cannot be used.
    pub fault: Option<String>,
}

impl Outcome {
    /// What the client would read, with this device.
    pub fn client_sees(&self, device: Option<&DeviceId>) -> Option<Cow<'static, str>> {
        let denial = |reason| Denial { rule: self.rule, ..Denial::new(reason) };
        self.verdict.err().map(|reason| text::denial_of(&denial(reason), device, None))
    }
}

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored key of the second factor.
    #[error(transparent)]
    Secret(#[from] BadSecret),
}

impl Trial {
    /// Asks every rule. With a password this takes a hash's time, on this thread.
    ///
    /// # Errors
    /// [`TrialError`].
    pub async fn run(
        self,
        store: &dyn Store,
        defaults: &Defaults,
        schemes: &Schemes,
        now: Timestamp,
    ) -> Result<Outcome, TrialError> {
        let (user, code) = (self.user, self.code);
        let device = self.device.as_ref().ok().and_then(Option::as_ref);
        let found = store.facts(&user, device, self.fingerprint.as_ref(), now).await?;
        let facts = found.as_ref();
        let compared = compare(self.password.as_ref(), facts, schemes);
        // At a login, too, a stored hash that cannot be used is our fault and not a wrong password.
        let password = *compared.as_ref().unwrap_or(&PasswordCheck::NotNeeded);
        let common_name = self.common_name.unwrap_or_else(|| user.to_string());
        let request = AuthRequest {
            holds: None,
            proven: None,
            is_other: false,
            server: self.server,
            kind: RequestKind::Connect,
            user: Claimed::Valid(user.clone()),
            password: self.password,
            token: None,
            response: Response::None,
            common_name: Some(common_name.into()),
            device: self.device,
            certificate: self.fingerprint.map(Box::new),
            client_ip: self.client_ip,
        };
        let demand = facts.map(|facts| demand(&request, facts, defaults.second_factor));
        let is_code_open = matches!(demand, Some(Demand::Code(_))) && code.is_none();
        let factor = match (demand, facts, &code) {
            (Some(Demand::Enrolment), _, _) => FactorCheck::NotEnrolled,
            (Some(Demand::Code(factor)), Some(facts), Some(code)) => {
                match totp::judge(code, facts.user.id, factor, now)? {
                    Candidate::Step(_) => FactorCheck::Right(Factor::Totp),
                    Candidate::Used => FactorCheck::Used,
                    Candidate::Recovery(_) | Candidate::Wrong => FactorCheck::Wrong,
                }
            }
            (Some(Demand::Code(_) | Demand::Nothing) | None, _, _) => FactorCheck::NotNeeded,
        };
        let usage = usage(store, facts, defaults, now).await?;
        let case =
            Case { request: &request, facts, usage: &usage, password, factor, defaults, now };
        let has_place = has_place(store, &request, &user, facts, now).await?;
        let has_code = matches!(demand, Some(Demand::Code(_)))
            && code.as_ref().is_none_or(|code| !totp::is_recovery(code));
        let is_held = is_held(store, &request, &user, has_code, now).await?;
        let config = client_config::of(&request, facts);
        let unusable = DenyReason::BackendUnavailable;
        let verdict = match (decide(&case), has_place, is_held) {
            _ if self.has_no_password => Err(DenyReason::MissingCredentials),
            (Err(DenyReason::UnknownUser), _, _) => Err(DenyReason::UnknownUser),
            (_, _, Some(true)) => Err(DenyReason::Throttled),
            _ if compared.is_err() => Err(unusable),
            (Ok(_), _, _) if config.is_err() => Err(unusable),
            (Ok(_), Some(false), _) => Err(DenyReason::TooManySessions),
            (verdict, _, _) => verdict,
        };
        let throttled = |is_held: bool| is_held.then_some(DenyReason::Throttled);
        let place = |has_place: bool| (!has_place).then_some(DenyReason::TooManySessions);
        let missing = self.has_no_password.then_some(DenyReason::MissingCredentials);
        let rules = std::iter::once(("credentials", missing))
            .chain(explain(&case))
            .chain(facts.map(|_| ("throttle", is_held.and_then(throttled))))
            .chain(config.as_ref().err().map(|_| ("client_config", Some(unusable))))
            .chain(has_place.map(|has_place| ("max_sessions", place(has_place))))
            .map(|(rule, reason)| {
                let verdict = match (reason, rule, password) {
                    (Some(reason), _, _) => Verdict::Deny(reason),
                    (None, "password", _) if compared.is_err() => Verdict::Deny(unusable),
                    (None, "password", PasswordCheck::NotNeeded) => Verdict::NotChecked,
                    (None, "second_factor", _) if is_code_open => Verdict::NotChecked,
                    (None, "throttle", _) if is_held.is_none() => Verdict::NotChecked,
                    (None, _, _) => Verdict::Pass,
                };
                (rule, verdict)
            })
            .collect();
        let fault = compared.err().map(|error| error.to_string());
        let (config, fault) = match config {
            Ok(config) => (config, fault),
            Err(error) => (Vec::new(), fault.or(Some(error.to_string()))),
        };
        let config = config.iter().map(|line| line.as_str().to_owned()).collect();
        let rule = refusing_rule(&case).filter(|_| !self.has_no_password);
        Ok(Outcome { facts: found, verdict, rule, rules, config, fault })
    }
}

/// Whether the client would be held back after failed logins; `None` without its address, unless its codes are
/// held back from wherever they come.
async fn is_held(
    store: &dyn Store,
    request: &AuthRequest,
    user: &Username,
    has_code: bool,
    now: Timestamp,
) -> Result<Option<bool>, StoreError> {
    let at = request.client_ip.map(network);
    let lockouts = store.lockouts(now).await?;
    let is_everywhere = |scope| {
        let mut those = lockouts.iter().filter(|held| held.scope == scope);
        those.any(|held| held.user.as_ref() == Some(user))
    };
    let is_here = lockouts.iter().any(|held| {
        held.scope == LockoutScope::Login
            && at.is_some()
            && held.network == at
            && held.user.as_ref().is_none_or(|held| held == user)
    });
    let is_elsewhere =
        is_everywhere(LockoutScope::Elsewhere) || has_code && is_everywhere(LockoutScope::Code);
    let is_held = is_here || is_elsewhere && !was_here(store, user, request.client_ip, now).await?;
    Ok((at.is_some() || is_held).then_some(is_held))
}

/// What the user has used of quotas.
async fn usage(
    store: &dyn Store,
    facts: Option<&Facts>,
    defaults: &Defaults,
    now: Timestamp,
) -> Result<Usage, StoreError> {
    let Some(facts) = facts.filter(|facts| facts.policy.has_quotas()) else {
        return Ok(Usage::default());
    };
    let zone = facts.policy.time_zone.unwrap_or(defaults.time_zone);
    let users = [(facts.user.name.clone(), zone.began(now))];
    Ok(store.usage(&users, now).await?.into_iter().next().unwrap_or_default())
}

/// Whether there is a place for one more session; `None` where there is no limit.
async fn has_place(
    store: &dyn Store,
    request: &AuthRequest,
    user: &Username,
    facts: Option<&Facts>,
    now: Timestamp,
) -> Result<Option<bool>, StoreError> {
    let session = SessionId::new(now, [0; 10]);
    match facts.and_then(|facts| place(request, user, facts, session)) {
        Some(claim) => Ok(Some(store.has_place(&claim, now).await?)),
        None => Ok(None),
    }
}

/// The stored hash is judged also where there is no password to compare with it.
fn compare(
    password: Option<&Password>,
    facts: Option<&Facts>,
    schemes: &Schemes,
) -> Result<PasswordCheck, PasswordError> {
    let Some(stored) = facts.and_then(|facts| facts.user.password_hash.as_deref()) else {
        return Ok(PasswordCheck::Wrong);
    };
    schemes.admit(stored)?;
    let Some(password) = password else {
        return password::examine(stored).map(|()| PasswordCheck::NotNeeded);
    };
    let is_right = password::verify(password, stored, &mut Workspace::default())?;
    Ok(if is_right { PasswordCheck::Right } else { PasswordCheck::Wrong })
}
