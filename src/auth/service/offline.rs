//! Logins while the database is away.

use crate::{
    auth::{
        client_config,
        decide::{Case, PasswordCheck, decide, enrolment},
        request::{AuthRequest, Decision, Grant, RequestKind},
        second_factor::{Demand, FactorCheck, demand},
    },
    store::{Facts, StoreError, Usage},
    types::{DenyReason, SessionId, Username},
};

use super::{Authenticator, Course, Fault, LOOK_TIME, LOOKS, lock, who};

impl Authenticator {
    /// Whether logins are remembered for outages, which [`Self::look_after_grace`] keeps up to date.
    pub const fn has_grace(&self) -> bool {
        self.grace.is_some()
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

    /// The database is away: who logged in a while ago with this device and this password is let in
    /// again, by the rules as they were then. Everybody else may come again later (`None`), after
    /// as long a time.
    pub(super) async fn judge_offline(
        &self,
        request: &AuthRequest,
        user: &Username,
        course: &mut Course,
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
        let password = self.check(request, password, facts.as_ref(), course).await?;
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
            self.remember_failure(request, Some(user), DenyReason::BadCredentials);
        }
        // A device that is yet to be registered has no place to be registered at.
        let needs_no_store = facts.as_ref().is_some_and(|facts| enrolment(&case, facts).is_none());
        let Some(terms) = verdict.ok().filter(|_| needs_no_store) else { return Ok(None) };
        let config = client_config::of(request, facts.as_ref())?;
        lock(grace).admitted(&who, terms.deadline);
        let session_id = SessionId::new(now.utc, rand::random());
        let (second_factor, is_offline, has_place) = (None, true, false);
        let proven = self.imprint_of(request, facts.as_ref());
        let grant =
            Grant { session_id, has_place, terms, is_offline, second_factor, config, proven };
        Ok(Some(Decision::Allow(grant)))
    }
}
