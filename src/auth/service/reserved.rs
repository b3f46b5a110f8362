//! Places among a user's sessions that are given back where no session comes of the login.

use std::{fmt, sync::Arc};

use tokio::runtime::Handle;

use crate::{store::Store, types::SessionId};

use super::Authenticator;

/// A place that a login has. Given back with it, unless the login is answered: nobody may wait for a decision any
/// more before it is made, or before it is told.
pub struct Reserved {
    /// `None`: it is kept.
    store: Option<Arc<dyn Store>>,
    session: SessionId,
}

impl Reserved {
    pub(super) const fn new(store: Arc<dyn Store>, session: SessionId) -> Self {
        Self { store: Some(store), session }
    }

    /// A session comes of it, or there was no place.
    pub fn keep(mut self) {
        self.store = None;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.store.take().into_iter().for_each(|store| give_back(store, self.session));
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reserved").field(&self.session).finish()
    }
}

impl Authenticator {
    /// No session comes of a login that was let in: its place is free.
    pub fn abandon(&self, session: SessionId) {
        give_back(Arc::clone(&self.store), session);
    }
}

/// In the background; a failure only means: it counts until it is old.
fn give_back(store: Arc<dyn Store>, session: SessionId) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            if let Err(error) = store.forget_claim(session).await {
                tracing::debug!(%session, %error, "a place was not given back");
            }
        });
    }
}
