//! Logins that failed, here and elsewhere.

use std::{net::IpAddr, time::Duration};

use crate::{
    auth::{
        request::{AuthRequest, RequestKind},
        second_factor::FactorCheck,
        throttle::network,
    },
    store::{Lockout, SessionFilter, Store, StoreError},
    types::{DenyReason, Factor, Timestamp, Username},
};

use super::{Authenticator, TOLD, lock};

/// A user is known where he had a session within this time,
const LATELY: Duration = Duration::from_secs(30 * 86_400);
/// one of the last so many.
const LAST_SESSIONS: u32 = 50;

impl Authenticator {
    /// Tells other daemons of the logins that failed here, and hears of those that failed there; who
    /// is held back since the last call. The first call hears of all that counts.
    ///
    /// # Errors
    /// [`StoreError`]; what was not told waits.
    pub async fn exchange_failures(&self) -> Result<Vec<Lockout>, StoreError> {
        let now = self.clock.now().utc;
        let (told, origin, since) = {
            let mut failures = lock(&self.failures);
            if !failures.is_due(now) {
                return Ok(Vec::new());
            }
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

    /// Whether some failed here of which the database has not heard.
    pub fn has_failures_to_tell(&self) -> bool {
        lock(&self.failures).has_news()
    }

    pub(super) fn is_throttled(&self, request: &AuthRequest, user: Option<&Username>) -> bool {
        let now = self.clock.now().utc;
        lock(&self.failures).is_throttled(user, request.client_ip, now)
    }

    /// Whether many failures from many addresses hold this login back: not where its user lately was.
    pub(super) async fn is_held_elsewhere(
        &self,
        request: &AuthRequest,
        user: &Username,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now().utc;
        let is_judged = request.kind == RequestKind::Connect && request.token.is_none();
        let is_full = is_judged && lock(&self.failures).is_throttled_elsewhere(user, now);
        match is_full {
            true => was_here(&*self.store, user, request.client_ip, now).await.map(|was| !was),
            false => Ok(false),
        }
    }

    /// Whether this code has to wait: not where its user lately was, and not a recovery code, which nobody guesses.
    pub(super) async fn is_code_held(
        &self,
        request: &AuthRequest,
        user: &Username,
        factor: FactorCheck,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now().utc;
        let is_code = matches!(
            factor,
            FactorCheck::Right(Factor::Totp) | FactorCheck::Wrong | FactorCheck::Used
        );
        match is_code && lock(&self.failures).is_code_throttled(user, now) {
            true => was_here(&*self.store, user, request.client_ip, now).await.map(|was| !was),
            false => Ok(false),
        }
    }

    /// A login was refused; only what somebody may have guessed counts.
    pub(super) fn remember_failure(
        &self,
        request: &AuthRequest,
        user: Option<&Username>,
        reason: DenyReason,
    ) {
        let now = self.clock.now().utc;
        match (reason, user) {
            (DenyReason::BadSecondFactor, Some(user)) => {
                lock(&self.failures).failed_code(user, request.client_ip, now);
            }
            (DenyReason::BadCredentials | DenyReason::UnknownUser, _) => {
                lock(&self.failures).failed(user, request.client_ip, now);
            }
            (DenyReason::DeviceUnknown, Some(user)) => {
                if let Ok(Some(device)) = &request.device {
                    lock(&self.failures).failed_device(user, request.client_ip, device, now);
                }
            }
            _ => {}
        }
    }
}

/// Whether a user lately had a session from this address: only who has everything that a login needs had one.
pub(super) async fn was_here(
    store: &dyn Store,
    user: &Username,
    ip: Option<IpAddr>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(here) = ip.map(network) else { return Ok(false) };
    let filter = SessionFilter {
        user: Some(user.clone()),
        since: Some(now.saturating_sub(LATELY)),
        ended: true,
        limit: LAST_SESSIONS,
        ..SessionFilter::default()
    };
    let sessions = store.sessions(&filter).await?;
    Ok(sessions.iter().any(|session| session.client_ip.map(network) == Some(here)))
}
