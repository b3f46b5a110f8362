//! The shell of a decision: throttle, facts by one query, password on a hashing thread, rules.
//!
//! `throttling` counts what failed, `proof` compares passwords and what stands for them, `offline`
//! decides while the database is away.

mod hold;
mod offline;
mod proof;
mod reserved;
mod throttling;
pub mod trial;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    store::{
        Actor, Claim, EnrolmentTerms, Facts, NewDevice, OnLimit, Place, Store, StoreError, Usage,
        UsedCode,
    },
    types::{Clock, DenyReason, Now, Password, SessionId, Timestamp, Username},
};

pub use reserved::Reserved;

use super::{
    client_config,
    decide::{Case, Defaults, Enrolment, PasswordCheck, decide, enrolment, refusing_rule},
    failures::Failures,
    grace::{Grace, Who},
    imprint::{Imprinter, Replaced},
    password::{
        self, HashParams, PasswordError, Schemes,
        pool::{HashPool, PoolError},
    },
    request::{AuthRequest, Claimed, Decision, Denial, Grant, RequestKind},
    second_factor::{FactorCheck, challenge::Seal, check::check, totp::BadSecret},
    slowest::Slowest,
    terms::Terms,
    throttle::Limits,
};

const SECOND: DenyReason = DenyReason::SecondFactorRequired;
/// Failed logins that are told in one round.
const TOLD: usize = 1_000;
/// Recent logins that the database is asked about in one round, and how long that may take.
const LOOKS: usize = 50;
const LOOK_TIME: Duration = Duration::from_millis(200);

/// What a refusal takes at most by being held back, where nobody says.
const LONGEST_HOLD: Duration = Duration::from_secs(2);

/// A decision, and for how long it is not to be told.
#[derive(Debug)]
pub struct Answer {
    /// What was decided.
    pub decision: Decision,
    /// It took the database or a hashing thread, and was not known at once.
    pub is_work: bool,
    /// A refusal waits for so long, holding nothing else up, as if the slowest stored hash had been compared.
    pub hold: Duration,
    /// The place that somebody has who is let in; whoever answers keeps it.
    pub reserved: Option<Reserved>,
}

/// What a decision leaves behind.
#[derive(Default)]
struct Course {
    /// What its comparisons took.
    spent: Duration,
    /// It was of a password that is longer than people's.
    is_long: bool,
    /// The database has answered.
    is_known: bool,
    reserved: Option<Reserved>,
}

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
    slowest: Mutex<Slowest>,
    longest_hold: Duration,
    challenges: Seal,
    imprinter: Imprinter,
    replaced: Arc<Mutex<Replaced>>,
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
        let key = || Password::from(&rand::random::<[u8; 32]>()[..]);
        let (challenges, imprinter) = (Seal::new(key()), Imprinter::new(key()));
        Ok(Self {
            store,
            pool,
            failures,
            grace,
            defaults,
            params,
            schemes,
            dummy,
            slowest: Mutex::default(),
            longest_hold: LONGEST_HOLD,
            challenges,
            imprinter,
            replaced: Arc::default(),
            clock,
        })
    }

    /// Takes stored hashes of these schemes, and no longer of the default ones only.
    #[must_use]
    pub fn allowing(mut self, schemes: Schemes) -> Self {
        self.schemes = schemes;
        self
    }

    /// Holds refusals back for as long as leaves most of this time, in which an answer has to be there.
    #[must_use]
    pub fn answering_within(mut self, timeout: Duration) -> Self {
        self.longest_hold = timeout / 4;
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

    /// Decides one login; the caller has to hold the answer back. Always answers: what goes wrong inside is a temporary denial with its
    /// fault. The caller bounds the time by dropping the future.
    pub async fn authenticate(&self, request: AuthRequest) -> Answer {
        let mut course = Course::default();
        let judged = self.judge(&request, &mut course).await;
        let is_work = !course.spent.is_zero() || course.is_known && judged.is_ok();
        let decision = match judged {
            Ok(decision) => decision,
            Err(Fault::Store(StoreError::Unavailable(_))) => DenyReason::BackendUnavailable.into(),
            Err(Fault::Pool(PoolError::Overloaded)) => DenyReason::Overloaded.into(),
            Err(fault) => Decision::Deny(Denial {
                reason: DenyReason::BackendUnavailable,
                rule: None,
                fault: Some(match fault {
                    Fault::Store(error) => error.to_string(),
                    Fault::Pool(error) => error.to_string(),
                    Fault::Secret(error) => error.to_string(),
                }),
            }),
        };
        let hold = self.hold(request.kind, &decision, &course);
        Answer { decision, is_work, hold, reserved: course.reserved }
    }

    /// Why a request need not wait for its turn, if it would be refused as soon as it has one.
    pub fn refuses_at_once(&self, request: &AuthRequest) -> Option<DenyReason> {
        let user = match &request.user {
            Claimed::Valid(user) => Some(user),
            Claimed::Invalid | Claimed::Missing => None,
        };
        self.refuses_unseen(request, user).err()
    }

    /// Passwords that wait for a hashing thread.
    pub fn queued(&self) -> usize {
        self.pool.queued()
    }

    async fn judge(&self, request: &AuthRequest, course: &mut Course) -> Result<Decision, Fault> {
        let user = match &request.user {
            Claimed::Valid(user) => Some(user),
            Claimed::Invalid | Claimed::Missing => None,
        };
        let answered = match self.refuses_unseen(request, user) {
            Ok(answered) => answered,
            Err(reason) => return Ok(reason.into()),
        };
        // While the database is away, who comes in is known here.
        if let Some(user) = user
            && self.is_held_elsewhere(request, user).await == Ok(true)
        {
            return Ok(DenyReason::Throttled.into());
        }
        let facts = match (self.facts(request, user).await, user) {
            (Err(error @ StoreError::Unavailable(_)), Some(user)) => {
                let decision = self.judge_offline(request, user, course).await?;
                return decision.ok_or(Fault::Store(error));
            }
            (facts, _) => facts?,
        };
        course.is_known = true;
        let mut known = match self.gather(request, user, facts, answered, course).await? {
            Ok(known) => known,
            Err(reason) => return Ok(reason.into()),
        };
        match self.decide(request, user, &mut known).await? {
            Ok(terms) => self.admit(request, user, known, terms, course).await,
            Err(reason) => Ok(self.refuse(request, user, known, reason)),
        }
    }

    /// What needs no database to be refused; otherwise, of an answer to a challenge, when the password was
    /// right that it stands for.
    fn refuses_unseen(
        &self,
        request: &AuthRequest,
        user: Option<&Username>,
    ) -> Result<Option<Timestamp>, DenyReason> {
        let adopting = matches!(request.kind, RequestKind::Adopt { .. });
        let state = request.response.state();
        let proves = request.password.is_some() || request.token.is_some() || state.is_some();
        if request.user == Claimed::Missing || !(proves || adopting) {
            return Err(DenyReason::MissingCredentials);
        }
        // Other people's failures must not end a session that runs.
        if request.kind == RequestKind::Connect && self.is_throttled(request, user) {
            return Err(DenyReason::Throttled);
        }
        // OpenVPN has said so.
        if request.token.is_some_and(|token| !token.is_valid) {
            return Err(DenyReason::BadCredentials);
        }
        let answered =
            user.zip(state).and_then(|(user, state)| self.asked_at(request, user, state));
        if state.is_some() && user.is_some() && answered.is_none() && request.proven.is_none() {
            return Err(DenyReason::BadSecondFactor);
        }
        Ok(answered)
    }

    /// Everything that the rules look at; a reason where somebody has to wait who guesses codes.
    async fn gather(
        &self,
        request: &AuthRequest,
        user: Option<&Username>,
        facts: Option<Facts>,
        answered: Option<Timestamp>,
        course: &mut Course,
    ) -> Result<Result<Known, DenyReason>, Fault> {
        let password = self.prove(request, facts.as_ref(), answered, course).await?;
        let now = self.clock.now();
        let usage = self.usage(facts.as_ref(), password, now.utc).await?;
        let (factor, code) = match (&facts, user) {
            (Some(facts), Some(user)) if password != PasswordCheck::Wrong => {
                let mode = self.defaults.second_factor;
                let (factor, code) = check(request, facts, mode, now.utc)?;
                if self.is_code_held(request, user, factor).await? {
                    return Ok(Err(DenyReason::Throttled));
                }
                match &code {
                    // Before anything is said of device, hours or limits: it has to be half of a whole login.
                    Some(UsedCode::Recovery(digest))
                        if !self.store.has_recovery_code(facts.user.id, digest).await? =>
                    {
                        (FactorCheck::Used, None)
                    }
                    Some(_) | None => (factor, code),
                }
            }
            (Some(_) | None, _) => (FactorCheck::NotNeeded, None),
        };
        Ok(Ok(Known { facts, usage, password, factor, code, now }))
    }

    /// The verdict of the rules, once more where a device that they let be registered was changed
    /// meanwhile.
    async fn decide(
        &self,
        request: &AuthRequest,
        user: Option<&Username>,
        known: &mut Known,
    ) -> Result<Result<Terms, DenyReason>, Fault> {
        let mut is_second = false;
        loop {
            let case = known.case(request, &self.defaults);
            let verdict = decide(&case);
            // A token that has expired, or a code that was used, is nobody's guess.
            let is_guess = request.token.is_none() || known.factor == FactorCheck::Wrong;
            let is_guess = is_guess && known.factor != FactorCheck::Used;
            if let Err(reason) = verdict
                && is_guess
                && !matches!(request.kind, RequestKind::Adopt { .. })
            {
                self.remember_failure(request, user, reason);
            }
            let Some(device) = device_to_enrol(&case, user, verdict) else { return Ok(verdict) };
            // Half a login registers no device.
            if !self.take_code(known).await? {
                return Ok(Err(DenyReason::BadSecondFactor));
            }
            if self.enrol(device, known.now.utc).await? {
                return Ok(verdict);
            }
            if is_second {
                return Ok(verdict.and(Err(DenyReason::DeviceUnknown)));
            }
            is_second = true;
            known.facts = self.facts(request, user).await?;
        }
    }

    /// Uses the code up, if there is one that was not yet; false when somebody has been faster.
    async fn take_code(&self, known: &mut Known) -> Result<bool, Fault> {
        let (Some(code), Some(facts)) = (known.code.take(), &known.facts) else { return Ok(true) };
        Ok(self.store.take_code(facts.user.id, &code).await?)
    }

    fn refuse(
        &self,
        request: &AuthRequest,
        user: Option<&Username>,
        known: Known,
        reason: DenyReason,
    ) -> Decision {
        let rule = refusing_rule(&known.case(request, &self.defaults));
        if let (Some(who), true) = (who(request, user), known.password != PasswordCheck::Wrong) {
            self.grace.iter().for_each(|grace| lock(grace).forget(&who));
        }
        match user.filter(|_| (known.factor, reason) == (FactorCheck::Missing, SECOND)) {
            Some(user) => {
                // What comes back with the answer has no password.
                if let (Some(facts), PasswordCheck::Right) = (known.facts, known.password) {
                    self.upgrade(request, facts);
                }
                self.challenge(request, user)
            }
            None => Decision::Deny(Denial { rule, ..Denial::new(reason) }),
        }
    }

    /// Lets a client in: with a place among its user's sessions, and its code used up. Both come last, so that
    /// nothing can go wrong here after them.
    async fn admit(
        &self,
        request: &AuthRequest,
        user: Option<&Username>,
        mut known: Known,
        terms: Terms,
        course: &mut Course,
    ) -> Result<Decision, Fault> {
        let now = known.now;
        let session_id = SessionId::new(now.utc, rand::random());
        let config = client_config::of(request, known.facts.as_ref())?;
        let holder = request.holds.unwrap_or(session_id);
        let claim = known.facts.as_ref().zip(user).and_then(|(facts, user)| {
            Some(Claim { code: known.code.as_ref(), ..place(request, user, facts, holder)? })
        });
        let place = if let Some(claim) = claim {
            // What a session has, it keeps, whatever comes of a further key.
            let is_new = request.holds.is_none();
            let reserved = is_new.then(|| Reserved::new(Arc::clone(&self.store), session_id));
            let place = self.store.claim(&claim, now.utc).await?;
            match place {
                Place::Taken => course.reserved = reserved,
                Place::Own | Place::Full | Place::CodeUsed => {
                    reserved.into_iter().for_each(Reserved::keep);
                }
            }
            place
        } else if self.take_code(&mut known).await? {
            Place::Taken
        } else {
            Place::CodeUsed
        };
        let Known { facts, password, factor, .. } = known;
        if place == Place::CodeUsed {
            return Ok(DenyReason::BadSecondFactor.into());
        }
        if let (Some(user), None, false) =
            (user, request.token, matches!(request.kind, RequestKind::Adopt { .. }))
        {
            lock(&self.failures).succeeded(user, request.client_ip, now.utc);
        }
        if place == Place::Full {
            return Ok(DenyReason::TooManySessions.into());
        }
        if let (Some(grace), Some(facts), Some(who), PasswordCheck::Right) =
            (&self.grace, &facts, who(request, user), password)
        {
            let who = (who, request.certificate.clone());
            lock(grace).remember(who, facts.clone(), terms.deadline, now.mono);
        }
        let proven = self.imprint_of(request, facts.as_ref());
        if let (Some(facts), PasswordCheck::Right) = (facts, password) {
            self.upgrade(request, facts);
        }
        let (second_factor, is_offline) = (factor.factor(), false);
        let has_place = course.reserved.is_some();
        let grant =
            Grant { session_id, has_place, terms, is_offline, second_factor, config, proven };
        Ok(Decision::Allow(grant))
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

    /// Registers a device that its user has brought; false when the facts are no longer what they were.
    async fn enrol(
        &self,
        (device, terms): (NewDevice, EnrolmentTerms),
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let by = Actor { name: "daemon:enrolment".into(), at: now };
        let NewDevice { user, id, status, .. } = &device;
        let is_done = self.store.enrol_device(&device, terms, &by).await? == Some(*status);
        // The audit has it, too.
        tracing::debug!(%user, device = %id, %status, is_done, "device brought by its user");
        Ok(is_done)
    }
}

/// What is known when the rules are asked.
struct Known {
    facts: Option<Facts>,
    usage: Usage,
    password: PasswordCheck,
    factor: FactorCheck,
    /// A right code that is still to be used up.
    code: Option<UsedCode>,
    now: Now,
}

impl Known {
    const fn case<'a>(&'a self, request: &'a AuthRequest, defaults: &'a Defaults) -> Case<'a> {
        let Self { facts, usage, password, factor, now, .. } = self;
        Case {
            request,
            facts: facts.as_ref(),
            usage,
            password: *password,
            factor: *factor,
            defaults,
            now: now.utc,
        }
    }
}

/// The device to be registered by itself, where the rules say so: only of somebody who is let in
/// otherwise, or whose device is all that is in doubt.
fn device_to_enrol(
    case: &Case<'_>,
    user: Option<&Username>,
    verdict: Result<Terms, DenyReason>,
) -> Option<(NewDevice, EnrolmentTerms)> {
    let (Ok(_) | Err(DenyReason::DevicePending)) = verdict else { return None };
    let (Some(user), Some(facts), Ok(Some(id))) = (user, case.facts, &case.request.device) else {
        return None;
    };
    let Enrolment { status, by_window } = enrolment(case, facts)?;
    let device =
        NewDevice { user: user.clone(), id: id.clone(), label: None, status, valid_until: None };
    Some((device, EnrolmentTerms { known: facts.devices, by_window }))
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
fn place<'a>(
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
    Some(Claim { session, server: &request.server, user, device, max, on_limit, code: None })
}

/// What went wrong inside.
enum Fault {
    Store(StoreError),
    Pool(PoolError),
    Secret(BadSecret),
}

impl From<BadSecret> for Fault {
    fn from(error: BadSecret) -> Self {
        Self::Secret(error)
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
