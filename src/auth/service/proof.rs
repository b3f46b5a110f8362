//! Whether a client has what proves who it is: password, token, answer to a challenge.

use std::sync::Arc;

use crate::{
    auth::{
        decide::PasswordCheck,
        imprint::Imprint,
        password::{
            self,
            pool::{PoolError, Priority},
        },
        request::{AuthRequest, Challenge, Decision, RequestKind},
        second_factor::{challenge::Subject, response::Response},
        token,
    },
    store::Facts,
    types::{Password, Timestamp, Username},
};

use super::{Authenticator, Course, Fault};

impl Authenticator {
    /// Whether it has shown its password, or what stands for it; `answered`: when the password was
    /// right that the answer to a challenge stands for.
    pub(super) async fn prove(
        &self,
        request: &AuthRequest,
        facts: Option<&Facts>,
        answered: Option<Timestamp>,
        course: &mut Course,
    ) -> Result<PasswordCheck, Fault> {
        if matches!(request.kind, RequestKind::Adopt { .. }) {
            return Ok(PasswordCheck::NotNeeded);
        }
        let changed = facts.and_then(|facts| facts.user.password_changed_at);
        let does_stand = match (&request.token, &request.password) {
            (Some(token), _) => token.stands_for(changed),
            (None, Some(_)) if self.is_proven(request, facts) => return Ok(PasswordCheck::Right),
            (None, Some(password)) => return self.check(request, password, facts, course).await,
            (None, None) => {
                self.is_proven(request, facts)
                    || answered.is_some() && token::is_current(answered, changed)
            }
        };
        Ok(if does_stand { PasswordCheck::NotNeeded } else { PasswordCheck::Wrong })
    }

    /// Whether it has sent again what let it in, and the stored hash is still the same.
    fn is_proven(&self, request: &AuthRequest, facts: Option<&Facts>) -> bool {
        matches!(request.kind, RequestKind::Reauth { .. })
            && request
                .proven
                .zip(self.imprint_of(request, facts))
                .is_some_and(|(known, stored)| super::lock(&self.replaced).is_same(known, stored))
    }

    /// What a renegotiation has to bring back, so that it is not hashed again.
    pub(super) fn imprint_of(
        &self,
        request: &AuthRequest,
        facts: Option<&Facts>,
    ) -> Option<Imprint> {
        if request.token.is_some() || matches!(request.kind, RequestKind::Adopt { .. }) {
            return None;
        }
        self.imprinter.of(facts?.user.password_hash.as_deref()?.as_bytes())
    }

    /// When the password was right that the answer to a challenge stands for. A client that is up
    /// sends, at each renegotiation, what let it in: then its age does not count.
    pub(super) fn asked_at(
        &self,
        request: &AuthRequest,
        user: &Username,
        state: &str,
    ) -> Option<Timestamp> {
        let subject = Subject { user, device: &request.device };
        match request.kind {
            RequestKind::Connect => self.challenges.read(state, subject, self.clock.now().utc),
            RequestKind::Reauth { .. } => self.challenges.signed(state, subject),
            RequestKind::Adopt { .. } => None,
        }
    }

    pub(super) fn challenge(&self, request: &AuthRequest, user: &Username) -> Decision {
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

    /// Compares the password, or a dummy where there is nothing to compare with; what that took is noted.
    pub(super) async fn check(
        &self,
        request: &AuthRequest,
        password: &Password,
        facts: Option<&Facts>,
        course: &mut Course,
    ) -> Result<PasswordCheck, Fault> {
        let priority = match request.kind {
            RequestKind::Reauth { .. } => Priority::Live,
            RequestKind::Connect | RequestKind::Adopt { .. } => Priority::Login,
        };
        let stored = facts.and_then(|facts| facts.user.password_hash.as_deref());
        let Some(stored) = stored.filter(|stored| !password::is_locked(stored)) else {
            self.compare(password, Arc::clone(&self.dummy), priority, course).await?;
            return Ok(PasswordCheck::Wrong);
        };
        let found = match self.schemes.admit(stored) {
            Ok(_) => self.compare(password, Arc::from(stored), priority, course).await,
            Err(error) => Err(PoolError::from(error)),
        };
        let is_over = matches!(found, Ok(true) | Err(PoolError::Overloaded | PoolError::Gone));
        let is_unhashed = matches!(found, Err(PoolError::Password(_)));
        if !is_over && (is_unhashed || password::is_cheaper(stored, &self.params)) {
            // The answer takes as long as that to an unknown user.
            self.compare(password, Arc::clone(&self.dummy), priority, course).await?;
        }
        match found {
            Ok(true) => Ok(PasswordCheck::Right),
            Ok(false) => Ok(PasswordCheck::Wrong),
            // A disabled account says nothing, whatever is stored of it.
            Err(PoolError::Password(_)) if facts.is_some_and(|facts| !facts.user.enabled) => {
                Ok(PasswordCheck::Wrong)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces a hash of older parameters or another scheme in the background; a failure only means: next time.
    pub(super) fn upgrade(&self, request: &AuthRequest, facts: Facts) {
        let (Some(password), Some(old)) = (&request.password, facts.user.password_hash) else {
            return;
        };
        if !password::is_outdated(&old, &self.params) {
            return;
        }
        let (pool, store) = (Arc::clone(&self.pool), Arc::clone(&self.store));
        let (password, params, clock) = (password.clone(), self.params, self.clock);
        let (imprinter, replaced) = (self.imprinter.clone(), Arc::clone(&self.replaced));
        let name = facts.user.name;
        tokio::spawn(async move {
            let upgraded = match pool.hash(password, params, Priority::Background).await {
                Ok(new) => {
                    let done = store.upgrade_hash(&name, &old, &new, clock.now().utc).await;
                    let is_done = done == Ok(true);
                    let imprints = imprinter.of(old.as_bytes()).zip(imprinter.of(new.as_bytes()));
                    if let Some((old, new)) = imprints.filter(|_| is_done) {
                        super::lock(&replaced).note(old, new);
                    }
                    is_done
                }
                Err(_) => false,
            };
            tracing::debug!(user = %name, upgraded, "password hash of older parameters or another scheme");
        });
    }
}
