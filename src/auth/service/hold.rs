//! For how long a refusal is held back, so that its time says nothing of what is stored.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    auth::{
        password::{
            self, Scheme,
            pool::{PoolError, Priority},
        },
        request::Decision,
    },
    store::StoreError,
    types::{Password, Username},
};

use super::{Authenticator, Course, lock};

/// Users of one statement of a survey, and the pause before the next one.
const PAGE: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(50);
/// Comparisons with each of the costliest hashes.
const TRIES: usize = 3;

impl Authenticator {
    /// For how long a decision waits before it is told; `spent`: what its comparisons took.
    pub(super) fn hold(&self, decision: &Decision, spent: Duration) -> Duration {
        let now = self.clock.now().mono;
        let mut slowest = lock(&self.slowest);
        match decision {
            // Nothing was compared: nothing is to be learnt by the time.
            _ if spent.is_zero() => Duration::ZERO,
            Decision::Deny(_) => {
                slowest.saw(spent, now);
                slowest.rest(spent, self.longest_hold, now)
            }
            Decision::Allow(_) | Decision::Challenge(_) => {
                slowest.saw(spent, now);
                Duration::ZERO
            }
        }
    }

    /// Measures how long a comparison with the costliest stored hashes takes: those who never log in are known by
    /// nothing else.
    ///
    /// # Errors
    /// [`StoreError`]; what was known before holds.
    pub async fn survey(&self) -> Result<(), StoreError> {
        let mut costliest = BTreeMap::<Scheme, (u64, String)>::new();
        let mut after: Option<Username> = None;
        loop {
            let page = self.store.users(after.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            after = page.last().map(|user| user.name.clone());
            for hash in page.into_iter().filter_map(|user| user.password_hash) {
                if let (Ok(scheme), Ok(cost)) = (self.schemes.admit(&hash), password::cost(&hash))
                    && costliest.get(&scheme).is_none_or(|(known, _)| *known < cost)
                {
                    costliest.insert(scheme, (cost, hash));
                }
            }
            if is_last {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let mut slowest = Duration::ZERO;
        for (_, hash) in costliest.into_values() {
            slowest = slowest.max(self.measure(&hash).await);
        }
        tracing::debug!(?slowest, "comparisons with the costliest stored hashes");
        lock(&self.slowest).surveyed(slowest);
        Ok(())
    }

    /// What the comparison with a hash takes, with a dummy beside it where a login has one.
    async fn measure(&self, hash: &str) -> Duration {
        let mut slowest = Duration::ZERO;
        // Some schemes take longer for a long password.
        let password = Password::from(&rand::random::<[[u8; 32]; 4]>().concat()[..]);
        for _ in 0..TRIES {
            let mut course = Course::default();
            let compared =
                self.compare(&password, Arc::from(hash), Priority::Background, &mut course);
            // A queue that is full: the logins in it are measured as well.
            if matches!(compared.await, Err(PoolError::Overloaded | PoolError::Gone)) {
                break;
            }
            if password::is_cheaper(hash, &self.params) {
                let dummy = Arc::clone(&self.dummy);
                let _ = self.compare(&password, dummy, Priority::Background, &mut course).await;
            }
            slowest = slowest.max(course.spent);
        }
        slowest
    }

    /// Compares a password with a stored hash on a hashing thread, and adds what that took.
    pub(super) async fn compare(
        &self,
        password: &Password,
        stored: Arc<str>,
        priority: Priority,
        course: &mut Course,
    ) -> Result<bool, PoolError> {
        let (is_right, took) = self.pool.verify(password.clone(), stored, priority).await?;
        course.spent += took;
        Ok(is_right)
    }
}
