//! The shell of a decision: throttle, facts by one query, password on a hashing thread, rules.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    store::{
        Actor, Claim, EnrolmentTerms, Facts, Lockout, NewDevice, OnLimit, Store, StoreError, Usage,
    },
    types::{Clock, DenyReason, Password, SessionId, Timestamp, Username},
};

use super::{
    client_config,
    decide::{Case, Defaults, Enrolment, PasswordCheck, decide, enrolment},
    failures::Failures,
    grace::{Grace, Who},
    password::{
        self, HashParams, PasswordError, Schemes,
        pool::{HashPool, PoolError, Priority},
    },
    request::{AuthRequest, Challenge, Claimed, Decision, Denial, Grant, RequestKind},
    second_factor::{
        self, Demand, FactorCheck,
        challenge::{Seal, Subject},
        check::CheckError,
        demand,
        response::Response,
        totp::BadSecret,
    },
    terms::Terms,
    throttle::Limits,
    token,
};

const SECOND: DenyReason = DenyReason::SecondFactorRequired;
/// Failed logins that are told in one round.
const TOLD: usize = 1_000;
/// Recent logins that the database is asked about in one round, and how long that may take.
const LOOKS: usize = 50;
const LOOK_TIME: Duration = Duration::from_millis(200);

/// Answers login requests. Shared by all links.
pub struct Authenticator {
    store: Arc<dyn Store>,
    pool: Arc<HashPool>,
    failures: Mutex<Failures>,
    grace: Option<Mutex<Grace>>,
    defaults: Defaults,
    params: HashParams,
    schemes: Schemes,
    /// Verified in place of an unknown user's hash, so that the answer takes as long.
    dummy: Arc<str>,
    challenges: Seal,
    clock: Clock,
}

impl Authenticator {
    /// Makes the dummy hash; takes as long as one login.
    ///
    /// # Errors
    /// [`PasswordError`] when the configured parameters are impossible.
    pub fn new(
        store: Arc<dyn Store>,
        pool: Arc<HashPool>,
        limits: Limits,
        defaults: Defaults,
        params: HashParams,
        clock: Clock,
    ) -> Result<Self, PasswordError> {
        let random: [u8; 16] = rand::random();
        let dummy = password::hash(&Password::from(&random[..]), &params)?.into();
        let failures = Failures::new(limits, format!("{:016x}", rand::random::<u64>()));
        let (failures, grace, schemes) = (Mutex::new(failures), None, Schemes::default());
        let challenges = Seal::new(Password::from(&rand::random::<[u8; 32]>()[..]));
        Ok(Self {
            store,
            pool,
            failures,
            grace,
            defaults,
            params,
            schemes,
            dummy,
            challenges,
            clock,
        })
    }

    /// Takes stored hashes of these schemes, and no longer of the default ones only.
    #[must_use]
    pub fn allowing(mut self, schemes: Schemes) -> Self {
        self.schemes = schemes;
        self
    }

    /// Vouches for challenges with this key, which other daemons may have, too.
    #[must_use]
    pub fn with_challenge_key(mut self, key: Password) -> Self {
        self.challenges = Seal::new(key);
        self
    }

    /// While the database is away, lets those in again whose last good login is not older.
    #[must_use]
    pub fn with_grace(mut self, keep: Duration) -> Self {
        self.grace = Some(Mutex::new(Grace::new(keep)));
        self
    }

    /// Asks the database about some of those that it would let in without it: what has changed
    /// there counts.
    ///
    /// # Errors
    /// [`StoreError`]; the others are asked about the next time.
    pub async fn look_after_grace(&self) -> Result<(), StoreError> {
        let Some(grace) = &self.grace else { return Ok(()) };
        let begun = self.clock.now();
        let due = lock(grace).due(LOOKS, begun.mono);
        for (who, certificate) in due {
            let facts =
                self.store.facts(&who.0, who.1.as_ref(), certificate.as_deref(), begun.utc).await?;
            let now = self.clock.now().mono;
            lock(grace).update(&who, facts, now);
            if now - begun.mono > LOOK_TIME {
                break;
            }
        }
        Ok(())
    }

    /// Tells other daemons of the logins that failed here, and hears of those that failed there; who
    /// is held back since the last call. The first call hears of all that counts.
    ///
    /// # Errors
    /// [`StoreError`]; what was not told waits.
    pub async fn exchange_failures(&self) -> Result<Vec<Lockout>, StoreError> {
        let now = self.clock.now().utc;
        let (told, origin, since) = {
            let mut failures = lock(&self.failures);
            (failures.take(TOLD), failures.origin().to_owned(), failures.since(now))
        };
        if !told.is_empty()
            && let Err(error) = self.store.add_auth_events(&told, &origin).await
        {
            lock(&self.failures).keep(told);
            return Err(error);
        }
        let heard = self.store.auth_events(since, &origin).await?;
        let lockouts = {
            let mut failures = lock(&self.failures);
            failures.hear(&heard, now);
            failures.take_lockouts(now)
        };
        if !lockouts.is_empty() {
            self.store.add_lockouts(&lockouts).await?;
        }
        Ok(lockouts)
    }

    /// Decides one login. Always answers: what goes wrong inside is a temporary denial with its
    /// fault. The caller bounds the time by dropping the future.
    pub async fn authenticate(&self, request: AuthRequest) -> Decision {
        match self.judge(&request).await {
            Ok(decision) => decision,
            Err(Fault::Store(StoreError::Unavailable(_))) => DenyReason::BackendUnavailable.into(),
            Err(Fault::Pool(PoolError::Overloaded)) => DenyReason::Overloaded.into(),
            Err(fault) => Decision::Deny(Denial {
                reason: DenyReason::BackendUnavailable,
                fault: Some(match fault {
                    Fault::Store(error) => error.to_string(),
                    Fault::Pool(error) => error.to_string(),
                    Fault::Secret(error) => error.to_string(),
                }),
            }),
        }
    }

    /// Passwords that wait for a hashing thread.
    pub fn queued(&self) -> usize {
        self.pool.queued()
    }

    async fn judge(&self, request: &AuthRequest) -> Result<Decision, Fault> {
        let adopting = matches!(request.kind, RequestKind::Adopt { .. });
        let state = request.response.state();
        let proves = request.password.is_some() || request.token.is_some() || state.is_some();
        if request.user == Claimed::Missing || !(proves || adopting) {
            return Ok(DenyReason::MissingCredentials.into());
        }
        let user = match &request.user {
            Claimed::Valid(user) => Some(user),
            Claimed::Invalid | Claimed::Missing => None,
        };
        // Other people's failures must not end a session that runs.
        if request.kind == RequestKind::Connect && self.is_throttled(request, user) {
            return Ok(DenyReason::Throttled.into());
        }
        // OpenVPN has said so: no database is needed to refuse it.
        if request.token.is_some_and(|token| !token.is_valid) {
            return Ok(DenyReason::BadCredentials.into());
        }
        let answered = match (user, state) {
            (Some(user), Some(state)) => match self.asked_at(request, user, state) {
                Some(at) => Some(at),
                None => return Ok(DenyReason::BadSecondFactor.into()),
            },
            _ => None,
        };
        let mut facts = match (self.facts(request, user).await, user) {
            (Err(error @ StoreError::Unavailable(_)), Some(user)) => {
                let decision = self.judge_offline(request, user).await?;
                return decision.ok_or(Fault::Store(error));
            }
            (facts, _) => facts?,
        };
        let password = match (&request.token, &request.password) {
            _ if adopting => PasswordCheck::NotNeeded,
            (Some(token), _) => {
                let changed = facts.as_ref().and_then(|facts| facts.user.password_changed_at);
                match token.stands_for(changed) {
                    true => PasswordCheck::NotNeeded,
                    false => PasswordCheck::Wrong,
                }
            }
            (None, Some(password)) => self.check(request, password, facts.as_ref()).await?,
            (None, None) => {
                let changed = facts.as_ref().and_then(|facts| facts.user.password_changed_at);
                match answered.is_some() && token::is_current(answered, changed) {
                    true => PasswordCheck::NotNeeded,
                    false => PasswordCheck::Wrong,
                }
            }
        };
        let now = self.clock.now();
        let usage = self.usage(facts.as_ref(), password, now.utc).await?;
        let factor = match (&facts, user) {
            (Some(facts), Some(user)) if password != PasswordCheck::Wrong => {
                let mode = self.defaults.second_factor;
                let guesses = request.response.code().is_some()
                    && demand(request, facts, mode) != Demand::Nothing;
                if guesses && lock(&self.failures).is_code_throttled(user, now.utc) {
                    return Ok(DenyReason::Throttled.into());
                }
                second_factor::check::check(&*self.store, request, facts, mode, now.utc).await?
            }
            (Some(_) | None, _) => FactorCheck::NotNeeded,
        };
        let mut is_second = false;
        let verdict = loop {
            let case = Case {
                request,
                facts: facts.as_ref(),
                usage: &usage,
                password,
                factor,
                defaults: &self.defaults,
                now: now.utc,
            };
            let verdict = decide(&case);
            // A token that has expired is nobody's guess at a password.
            let is_guess = request.token.is_none() || factor == FactorCheck::Wrong;
            if !adopting && is_guess {
                self.remember(request, user, &verdict.err());
            }
            if self.enrol(&case, user, verdict).await? {
                break verdict;
            }
            if is_second {
                break verdict.and(Err(DenyReason::DeviceUnknown));
            }
            is_second = true;
            facts = self.facts(request, user).await?;
        };
        match verdict {
            Err(reason) => {
                if let (Some(who), true) = (who(request, user), password != PasswordCheck::Wrong) {
                    self.grace.iter().for_each(|grace| lock(grace).forget(&who));
                }
                match user.filter(|_| (factor, reason) == (FactorCheck::Missing, SECOND)) {
                    Some(user) => Ok(self.challenge(request, user)),
                    None => Ok(reason.into()),
                }
            }
            Ok(terms) => {
                let session_id = SessionId::new(now.utc, rand::random());
                let config = client_config::of(request, facts.as_ref())?;
                if let (Some(facts), Some(user)) = (&facts, user)
                    && !self.has_place(request, user, facts, session_id, now.utc).await?
                {
                    return Ok(DenyReason::TooManySessions.into());
                }
                if let (Some(grace), Some(facts), Some(who), PasswordCheck::Right) =
                    (&self.grace, &facts, who(request, user), password)
                {
                    let who = (who, request.certificate.clone());
                    lock(grace).remember(who, facts.clone(), terms.deadline, now.mono);
                }
                if let (Some(facts), PasswordCheck::Right) = (facts, password) {
                    self.upgrade(request, facts);
                }
                let (second_factor, is_offline) = (factor.factor(), false);
                Ok(Decision::Allow(Grant { session_id, terms, is_offline, second_factor, config }))
            }
        }
    }

    /// The database is away: who logged in a while ago with this device and this password is let in
    /// again, by the rules as they were then. Everybody else may come again later (`None`), after
    /// as long a time.
    async fn judge_offline(
        &self,
        request: &AuthRequest,
        user: &Username,
    ) -> Result<Option<Decision>, Fault> {
        let (Some(grace), RequestKind::Connect, None, Some(password), Some(who)) = (
            &self.grace,
            request.kind,
            &request.token,
            &request.password,
            who(request, Some(user)),
        ) else {
            return Ok(None);
        };
        // Places, quotas and codes are in the database only.
        let needs_store = |facts: &Facts| {
            facts.policy.max_sessions.unwrap_or(0) > 0
                || facts.policy.has_quotas()
                || demand(request, facts, self.defaults.second_factor) != Demand::Nothing
        };
        let now = self.clock.now();
        let facts = lock(grace).recall(&who, &request.certificate, now);
        let facts = facts.filter(|facts| !needs_store(facts));
        let password = self.check(request, password, facts.as_ref()).await?;
        let now = self.clock.now();
        let case = Case {
            request,
            facts: facts.as_ref(),
            usage: &Usage::default(),
            password,
            factor: FactorCheck::NotNeeded,
            defaults: &self.defaults,
            now: now.utc,
        };
        let verdict = decide(&case);
        if facts.is_some() && password == PasswordCheck::Wrong {
            self.remember(request, Some(user), &Some(DenyReason::BadCredentials));
        }
        // A device that is yet to be registered has no place to be registered at.
        let needs_no_store = facts.as_ref().is_some_and(|facts| enrolment(&case, facts).is_none());
        let Some(terms) = verdict.ok().filter(|_| needs_no_store) else { return Ok(None) };
        let config = client_config::of(request, facts.as_ref())?;
        lock(grace).admitted(&who, terms.deadline);
        let session_id = SessionId::new(now.utc, rand::random());
        let (second_factor, is_offline) = (None, true);
        let grant = Grant { session_id, terms, is_offline, second_factor, config };
        Ok(Some(Decision::Allow(grant)))
    }

    /// When the password was right that the answer to a challenge stands for. A client that is up
    /// sends, at each renegotiation, what let it in: OpenVPN has locked its name, and the challenge
    /// is of then.
    fn asked_at(&self, request: &AuthRequest, user: &Username, state: &str) -> Option<Timestamp> {
        match request.kind {
            RequestKind::Connect => {
                let subject = Subject { user, device: &request.device };
                self.challenges.read(state, subject, self.clock.now().utc)
            }
            RequestKind::Reauth { connected_since, .. }
            | RequestKind::Adopt { connected_since } => Some(connected_since),
        }
    }

    fn challenge(&self, request: &AuthRequest, user: &Username) -> Decision {
        let subject = Subject { user, device: &request.device };
        let state = self.challenges.make(subject, self.clock.now().utc, rand::random());
        let response = Response::None;
        let request = AuthRequest { password: None, token: None, response, ..request.clone() };
        Decision::Challenge(Box::new(Challenge {
            state: state.into(),
            user: user.clone(),
            request,
        }))
    }

    async fn facts(
        &self,
        request: &AuthRequest,
        user: Option<&Username>,
    ) -> Result<Option<Facts>, StoreError> {
        let device = request.device.as_ref().ok().and_then(Option::as_ref);
        match user {
            Some(user) => {
                let certificate = request.certificate.as_deref();
                self.store.facts(user, device, certificate, self.clock.now().utc).await
            }
            None => Ok(None),
        }
    }

    /// What the user has used; asked only where there are quotas, and by nobody who is refused
    /// before that matters.
    async fn usage(
        &self,
        facts: Option<&Facts>,
        password: PasswordCheck,
        now: Timestamp,
    ) -> Result<Usage, StoreError> {
        let policy = facts.map(|facts| &facts.policy).filter(|policy| policy.has_quotas());
        let (Some(facts), Some(policy)) = (facts, policy) else { return Ok(Usage::default()) };
        if password == PasswordCheck::Wrong {
            return Ok(Usage::default());
        }
        let zone = policy.time_zone.unwrap_or(self.defaults.time_zone);
        let users = [(facts.user.name.clone(), zone.began(now))];
        Ok(self.store.usage(&users, now).await?.into_iter().next().unwrap_or_default())
    }

    /// Registers a device that its user has brought, where the rules say so; false when the facts
    /// are no longer what they were.
    async fn enrol(
        &self,
        case: &Case<'_>,
        user: Option<&Username>,
        verdict: Result<Terms, DenyReason>,
    ) -> Result<bool, Fault> {
        // Only somebody who is let in otherwise, or whose device is all that is in doubt.
        if !matches!(verdict, Ok(_) | Err(DenyReason::DevicePending)) {
            return Ok(true);
        }
        let (Some(user), Some(facts), Ok(Some(id))) = (user, case.facts, &case.request.device)
        else {
            return Ok(true);
        };
        let Some(Enrolment { status, by_window }) = enrolment(case, facts) else {
            return Ok(true);
        };
        let device = NewDevice { user: user.clone(), id: id.clone(), label: None, status };
        let terms = EnrolmentTerms { known: facts.devices, by_window };
        let by = Actor { name: "daemon:enrolment".into(), at: case.now };
        let is_done = self.store.enrol_device(&device, terms, &by).await? == Some(status);
        // The audit has it, too.
        tracing::debug!(%user, device = %id, %status, is_done, "device brought by its user");
        Ok(is_done)
    }

    /// Whether the user may have one more session; takes the place.
    async fn has_place(
        &self,
        request: &AuthRequest,
        user: &Username,
        facts: &Facts,
        session: SessionId,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        match place(request, user, facts, session) {
            Some(claim) => Ok(self.store.claim(&claim, now).await?),
            None => Ok(true),
        }
    }

    /// Compares the password, or a dummy where there is nothing to compare with.
    async fn check(
        &self,
        request: &AuthRequest,
        password: &Password,
        facts: Option<&Facts>,
    ) -> Result<PasswordCheck, Fault> {
        let stored = facts.and_then(|facts| facts.user.password_hash.as_deref());
        let priority = match request.kind {
            RequestKind::Reauth { .. } => Priority::Live,
            RequestKind::Connect | RequestKind::Adopt { .. } => Priority::Login,
        };
        let hash = match stored {
            Some(stored) => {
                self.schemes.admit(stored).map_err(PoolError::from)?;
                Arc::from(stored)
            }
            None => Arc::clone(&self.dummy),
        };
        let right = self.pool.verify(password.clone(), hash, priority).await?;
        Ok(if right && stored.is_some() { PasswordCheck::Right } else { PasswordCheck::Wrong })
    }

    fn is_throttled(&self, request: &AuthRequest, user: Option<&Username>) -> bool {
        let now = self.clock.now().utc;
        lock(&self.failures).is_throttled(user, request.client_ip, now)
    }

    fn remember(
        &self,
        request: &AuthRequest,
        user: Option<&Username>,
        refused: &Option<DenyReason>,
    ) {
        let now = self.clock.now().utc;
        match (refused, user) {
            (Some(DenyReason::BadSecondFactor), Some(user)) => {
                lock(&self.failures).failed_code(user, request.client_ip, now);
            }
            (
                Some(
                    DenyReason::BadCredentials
                    | DenyReason::UnknownUser
                    | DenyReason::BadSecondFactor,
                ),
                _,
            ) => {
                lock(&self.failures).failed(user, request.client_ip, now);
            }
            (None, Some(user)) => {
                lock(&self.failures).succeeded(user, request.client_ip, now);
            }
            _ => {}
        }
    }

    /// Replaces a hash of older parameters or another scheme in the background; a failure only means: next time.
    fn upgrade(&self, request: &AuthRequest, facts: Facts) {
        let (Some(password), Some(old)) = (&request.password, facts.user.password_hash) else {
            return;
        };
        if !password::is_outdated(&old, &self.params) {
            return;
        }
        let (pool, store) = (Arc::clone(&self.pool), Arc::clone(&self.store));
        let (password, params, clock) = (password.clone(), self.params, self.clock);
        let name = facts.user.name;
        tokio::spawn(async move {
            let upgraded = match pool.hash(password, params, Priority::Background).await {
                Ok(new) => store.upgrade_hash(&name, &old, &new, clock.now().utc).await.is_ok(),
                Err(_) => false,
            };
            tracing::debug!(user = %name, upgraded, "password hash of older parameters or another scheme");
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whose login it is, on which device; `None` without a sound user or device.
fn who(request: &AuthRequest, user: Option<&Username>) -> Option<Who> {
    Some((user?.clone(), request.device.as_ref().ok()?.clone()))
}

/// The place among the user's sessions that a new one has to have; `None` where there are as many
/// as there may be.
pub fn place<'a>(
    request: &'a AuthRequest,
    user: &'a Username,
    facts: &Facts,
    session: SessionId,
) -> Option<Claim<'a>> {
    let max = facts.policy.max_sessions.unwrap_or(0);
    if max == 0 || request.kind != RequestKind::Connect {
        return None;
    }
    let device = request.device.as_ref().ok().and_then(Option::as_ref);
    let on_limit = facts.policy.on_limit.unwrap_or(OnLimit::ReplaceSameDevice);
    Some(Claim { session, server: &request.server, user, device, max, on_limit })
}

/// What went wrong inside.
enum Fault {
    Store(StoreError),
    Pool(PoolError),
    Secret(BadSecret),
}

impl From<CheckError> for Fault {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Store(error) => Self::Store(error),
            CheckError::Secret(error) => Self::Secret(error),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}
