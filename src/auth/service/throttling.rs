//! Logins that failed, here and elsewhere.

use crate::{
    auth::request::AuthRequest,
    store::{Lockout, StoreError},
    types::{DenyReason, Username},
};

use super::{Authenticator, TOLD, lock};

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

    pub(super) fn is_throttled(&self, request: &AuthRequest, user: Option<&Username>) -> bool {
        let now = self.clock.now().utc;
        lock(&self.failures).is_throttled(user, request.client_ip, now)
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
            _ => {}
        }
    }
}
