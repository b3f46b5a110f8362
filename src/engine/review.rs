//! Sessions that run, judged again by what the database says now.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use crate::{
    auth::terms::Terms,
    store::SessionState,
    telemetry::events::{ClientRef, Event},
    types::{Cause, Cid, Mono, Now, SessionId, Timestamp},
};

use super::{Engine, OUTPUTS_KEPT, Reconciled, Review, session::Departed};

/// A deadline that moves by less stays: an approval and its row are not of one moment.
const TOLERANCE: Duration = Duration::from_secs(2);
/// For so long an open row may be unknown here: its end is being written.
const UNKNOWN_ROW: Duration = Duration::from_secs(10);
/// For so long after its end here a session's row may still be read as open,
const ENDED_KEPT: Duration = Duration::from_secs(60);
/// and of so many ends that is known at most.
pub(super) const MOST_ENDED: usize = 65_536;

/// Sessions that ended here a short while ago, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ended(pub(super) VecDeque<(Mono, SessionId)>);

impl Ended {
    pub(super) fn push(&mut self, at: Mono, session: SessionId) {
        if self.0.len() >= MOST_ENDED {
            self.0.pop_front();
        }
        self.0.push_back((at, session));
    }

    pub(super) fn forget_old(&mut self, now: Mono) {
        while self.0.front().is_some_and(|(at, _)| *at + ENDED_KEPT <= now) {
            self.0.pop_front();
        }
        if self.0.is_empty() {
            self.0.shrink_to(OUTPUTS_KEPT);
        }
    }

    fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.0.iter().map(|(_, session)| *session)
    }
}

impl Engine {
    /// Ends those that may not go on, and moves the deadlines of the others. These are all sessions that
    /// are open on this server.
    pub fn handle_reviews(&mut self, reviews: Vec<Review>, now: Now) {
        if self.is_ready() && self.reconciled == Reconciled::Yes {
            self.compare_unknown(&reviews, now);
        }
        self.handle_some_reviews(reviews, now);
    }

    /// The same for some of the sessions.
    pub fn handle_some_reviews(&mut self, reviews: Vec<Review>, now: Now) {
        // After the comparison they are all reviewed.
        if !self.is_ready() || self.reconciled != Reconciled::Yes {
            return;
        }
        for (session, verdict) in reviews {
            let Some(cid) = self.clients.of_session(session) else {
                continue;
            };
            match verdict {
                Ok(Some(terms)) => {
                    self.move_deadline(cid, terms, now);
                    self.limit(cid, &terms, now);
                }
                Ok(None) => {}
                Err(cause) => self.end_client(cid, cause, None, now),
            }
        }
    }

    /// Makes the comparison once more for a row that stays open while its session is unknown: a
    /// daemon before this one may have written it after this one had read the open rows.
    fn compare_unknown(&mut self, reviews: &[Review], now: Now) {
        let mut known = std::mem::take(&mut self.unknown_rows);
        let unknown = reviews.iter().filter(|(id, _)| self.clients.of_session(*id).is_none());
        self.unknown_rows = unknown
            .map(|(id, _)| (*id, known.remove(id).unwrap_or(Some(now.mono + UNKNOWN_ROW))))
            .collect();
        if self.unknown_rows.values().flatten().any(|due| *due <= now.mono) {
            self.timers.unknown_rows = None;
            self.compare_again(now);
            return;
        }
        self.timers.unknown_rows = self.next_late();
    }

    /// When rows are to be compared whether or not sessions are read until then: those that were written late. Where
    /// many leave, the end of some is always being written; that comes by itself.
    fn next_late(&self) -> Option<Mono> {
        let open = || self.unknown_rows.iter().filter_map(|(id, due)| Some((id, (*due)?)));
        open().next()?;
        let departed = self.departed.iter().map(Departed::session_id);
        let ended: HashSet<_> = self.ended.ids().chain(departed).collect();
        open().filter(|(id, _)| !ended.contains(id)).map(|(_, due)| due).min()
    }

    /// A row was unknown when the sessions were read last, and has been for long.
    pub(super) fn compare_again(&mut self, now: Now) {
        if self.is_ready() && self.reconciled == Reconciled::Yes {
            self.reconciled = Reconciled::No;
            self.ask_status(now);
        }
    }

    /// The comparison that is made now is theirs, too.
    pub(super) fn settle_unknown(&mut self) {
        self.timers.unknown_rows = None;
        self.unknown_rows.values_mut().for_each(|due| *due = None);
    }

    /// What is not the deadline holds for a session whose end an operator has set, too.
    fn limit(&mut self, cid: Cid, terms: &Terms, now: Now) {
        let Some(session) = self.clients.get_mut(cid).and_then(|c| c.session.as_mut()) else {
            return;
        };
        if session.limit(terms, now) {
            self.watch_closely(now);
            self.end_exceeded(cid, now);
        }
        self.arm(cid);
    }

    fn move_deadline(&mut self, cid: Cid, terms: Terms, now: Now) {
        let Some(client) = self.clients.get_mut(cid) else {
            return;
        };
        let who = client.who.clone();
        let Some(session) = client.session.as_mut() else {
            return;
        };
        let record = &session.record;
        // What an operator has granted stands until then.
        let is_fixed = record.deadline_reason == Some(Cause::Admin);
        let is_same = is_near(record.deadline, terms.deadline)
            && record.deadline_reason == terms.deadline_reason
            && record.expiry_action == terms.expiry_action;
        if is_fixed || is_same || record.state == SessionState::Closing {
            return;
        }
        session.record.deadline = terms.deadline;
        session.record.deadline_reason = terms.deadline_reason;
        session.record.expiry_action = terms.expiry_action;
        session.arm(now);
        session.touch(now.utc);
        let record = session.record.clone();
        self.persist(&record);
        self.report(Event::SessionExtended {
            server: self.server(),
            client: ClientRef { kid: None, ..who },
            session_id: record.id,
            deadline: record.deadline,
            deadline_reason: record.deadline_reason,
        });
        self.arm(cid);
    }
}

fn is_near(a: Option<Timestamp>, b: Option<Timestamp>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.saturating_since(b).max(b.saturating_since(a)) < TOLERANCE,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
