//! The logins of one server that are being decided.
//!
//! A server has a few questions under way at once, and the others wait here, in their order: a
//! storm at one server leaves room on the hashing threads for the logins of all others.
//! Renegotiations of live clients do not wait.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::task::{AbortHandle, JoinSet};

use crate::{
    auth::{
        request::{AuthRequest, Decision, RequestKind},
        service::Authenticator,
    },
    engine::Ticket,
    types::DenyReason,
};

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Under way at once: enough to keep every hashing thread busy.
    pub(super) at_once: usize,
    /// Waiting; beyond it a login is refused for a while.
    pub(super) waiting: usize,
}

pub(super) struct Questions {
    authenticator: Arc<Authenticator>,
    bounds: Bounds,
    asked: JoinSet<(Ticket, Decision)>,
    handles: HashMap<Ticket, AbortHandle>,
    waiting: VecDeque<(Ticket, Box<AuthRequest>)>,
}

impl Questions {
    pub(super) fn new(authenticator: Arc<Authenticator>, bounds: Bounds) -> Self {
        Self {
            authenticator,
            bounds,
            asked: JoinSet::new(),
            handles: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Asks, now or as soon as there is room. Answers at once where too many wait.
    pub(super) fn ask(&mut self, ticket: Ticket, request: Box<AuthRequest>) -> Option<Decision> {
        let is_live = matches!(request.kind, RequestKind::Reauth { .. });
        if is_live || self.handles.len() < self.bounds.at_once {
            self.begin(ticket, request);
        } else if self.waiting.len() < self.bounds.waiting {
            self.waiting.push_back((ticket, request));
        } else {
            return Some(DenyReason::Overloaded.into());
        }
        None
    }

    /// Nobody waits for this one any more.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        match self.handles.remove(&ticket) {
            Some(handle) => handle.abort(),
            None => self.waiting.retain(|(other, _)| *other != ticket),
        }
        self.refill();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// The next decision; `None` for a question that was cancelled. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<(Ticket, Decision)> {
        let done = self.asked.join_next().await?.ok();
        match &done {
            Some((ticket, _)) => {
                self.handles.remove(ticket);
            }
            None => self.handles.retain(|_, handle| !handle.is_finished()),
        }
        self.refill();
        done
    }

    fn refill(&mut self) {
        while self.handles.len() < self.bounds.at_once
            && let Some((ticket, request)) = self.waiting.pop_front()
        {
            self.begin(ticket, request);
        }
    }

    fn begin(&mut self, ticket: Ticket, request: Box<AuthRequest>) {
        let authenticator = Arc::clone(&self.authenticator);
        let handle =
            self.asked.spawn(async move { (ticket, authenticator.authenticate(*request).await) });
        self.handles.insert(ticket, handle);
    }
}
