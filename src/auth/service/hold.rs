//! For how long a refusal is held back, so that its time says nothing of what is stored.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    auth::{
        password::{
            self, Scheme, USUAL_PASSWORD,
            pool::{PoolError, Priority},
        },
        request::{Decision, RequestKind},
    },
    store::StoreError,
    types::Password,
};

use super::{Authenticator, Course, lock};

/// Users of one statement of a survey, and the pause before the next one.
const PAGE: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(50);
/// Comparisons with each of the costliest hashes.
const TRIES: usize = 3;

impl Authenticator {
    /// For how long a decision waits before it is told.
    pub(super) fn hold(&self, kind: RequestKind, decision: &Decision, course: &Course) -> Duration {
        let &Course { spent, is_long, .. } = course;
        if spent.is_zero() {
            // Nothing was compared: nothing is to be learnt by the time.
            return Duration::ZERO;
        }
        let now = self.clock.now().mono;
        let mut slowest = lock(&self.slowest);
        if !is_long {
            slowest.saw(spent, now);
        }
        let is_hidden = match decision {
            // Whoever renegotiates is known, and is not to hear late that it is over.
            Decision::Deny(_) => kind == RequestKind::Connect,
            Decision::Allow(_) | Decision::Challenge(_) => false,
        };
        match (is_hidden, is_long) {
            (false, _) => Duration::ZERO,
            (true, false) => slowest.rest(spent, self.longest_hold, now),
            // How long that takes depends on the scheme, and was not surveyed.
            (true, true) => self.longest_hold.saturating_sub(spent),
        }
    }

    /// Measures how long a comparison with the costliest stored hashes takes: those who never log in are known by
    /// nothing else.
    ///
    /// Returns what could not be read and was passed over: who has such a row cannot log in.
    ///
    /// # Errors
    /// [`StoreError`]; what was known before holds.
    pub async fn survey(&self) -> Result<Vec<StoreError>, StoreError> {
        let mut costliest = BTreeMap::<Scheme, (u64, String)>::new();
        let mut unreadable = Vec::new();
        let mut after = i64::MIN;
        loop {
            let page = self.store.password_hashes(after, PAGE).await?;
            let last = page.iter().map(|(id, _)| *id).max().filter(|last| *last > after);
            let next = last.filter(|_| page.len() == PAGE as usize);
            for (_, hash) in page {
                let hash = match hash {
                    Ok(Some(hash)) => hash,
                    Ok(None) => continue,
                    Err(error) => {
                        unreadable.push(error);
                        continue;
                    }
                };
                if let (Ok(scheme), Ok(cost)) = (self.schemes.admit(&hash), password::cost(&hash))
                    && costliest.get(&scheme).is_none_or(|(known, _)| *known < cost)
                {
                    costliest.insert(scheme, (cost, hash));
                }
            }
            let Some(next) = next else { break };
            after = next;
            tokio::time::sleep(PAUSE).await;
        }
        let mut slowest = Duration::ZERO;
        let mut is_whole = true;
        for (_, hash) in costliest.into_values() {
            let measured = self.measure(&hash).await;
            is_whole &= measured.is_some();
            slowest = slowest.max(measured.unwrap_or_default());
        }
        tracing::debug!(?slowest, is_whole, "comparisons with the costliest stored hashes");
        lock(&self.slowest).surveyed(slowest, is_whole);
        Ok(unreadable)
    }

    /// What the comparison with a hash takes, with a dummy beside it where a login has one; `None`: there is no room
    /// for it among the logins.
    async fn measure(&self, hash: &str) -> Option<Duration> {
        let mut slowest = None;
        // Some schemes take longer for a long password.
        let password =
            Password::from(&rand::random::<[[u8; 32]; USUAL_PASSWORD / 32]>().concat()[..]);
        for _ in 0..TRIES {
            let mut course = Course::default();
            let compared =
                self.compare(&password, Arc::from(hash), Priority::Background, &mut course);
            if matches!(compared.await, Err(PoolError::Overloaded | PoolError::Gone)) {
                break;
            }
            if password::is_cheaper(hash, &self.params) {
                let dummy = Arc::clone(&self.dummy);
                let _ = self.compare(&password, dummy, Priority::Background, &mut course).await;
            }
            slowest = slowest.max(Some(course.spent));
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
        course.is_long |= password.expose().len() > USUAL_PASSWORD;
        Ok(is_right)
    }
}
