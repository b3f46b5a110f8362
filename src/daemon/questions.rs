//! The logins of one server that are being decided.
//!
//! A server has a few questions under way at once, and the others wait here, in their order: a
//! storm at one server leaves room on the hashing threads for the logins of all others. They come
//! up half of them together, as soon as the other half is decided: the database is then asked about all in one question.
//! Renegotiations of live clients do not wait. A login that cannot be decided in time is refused for a
//! while as soon as that is clear, the last that came first: those before it are nearly there. A decision that is
//! held back is under way no longer: it takes nobody's turn.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::task::{AbortHandle, JoinSet};

use crate::{
    auth::{
        request::{AuthRequest, Decision, RequestKind},
        service::{Answer, Authenticator, Reserved},
    },
    engine::Ticket,
    types::{Clock, DenyReason, Mono},
};

use super::pace::{Load, Pace};

/// What there may be.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Under way at once: half as many are enough to keep every hashing thread busy.
    pub(super) at_once: usize,
    /// Waiting; beyond it a login is refused for a while.
    pub(super) waiting: usize,
    /// How long a login may take. A part of it is left for what cannot be foreseen.
    pub(super) patience: Duration,
    /// How fast it goes.
    pub(super) pace: Arc<Pace>,
}

pub(super) struct Questions {
    authenticator: Arc<Authenticator>,
    bounds: Bounds,
    clock: Clock,
    asked: JoinSet<(Ticket, Answer)>,
    handles: HashMap<Ticket, AbortHandle>,
    /// Decided, and not to be told yet.
    held: HashMap<Ticket, AbortHandle>,
    waiting: VecDeque<Waiting>,
    refused: VecDeque<Ticket>,
    /// What the others were told of.
    load: Load,
}

struct Waiting {
    ticket: Ticket,
    request: Box<AuthRequest>,
    /// When it has to be decided.
    due: Mono,
}

impl Questions {
    pub(super) fn new(authenticator: Arc<Authenticator>, bounds: Bounds, clock: Clock) -> Self {
        Self {
            authenticator,
            bounds,
            clock,
            asked: JoinSet::new(),
            handles: HashMap::new(),
            held: HashMap::new(),
            waiting: VecDeque::new(),
            refused: VecDeque::new(),
            load: Load::default(),
        }
    }

    /// Asks, now or as soon as there is room. Answers at once where too many wait.
    pub(super) fn ask(&mut self, ticket: Ticket, request: Box<AuthRequest>) -> Option<Decision> {
        let is_live = matches!(request.kind, RequestKind::Reauth { .. });
        let patience = self.bounds.patience * 7 / 8;
        let before = self.handles.len() + self.waiting.len();
        let due = self.clock.now().mono + patience;
        let has_room = self.waiting.is_empty() && self.handles.len() < self.bounds.at_once;
        if is_live || has_room {
            self.begin(ticket, request, due);
        } else if self.waiting.len() < self.bounds.waiting
            && self.bounds.pace.wait(before, patience) <= patience
        {
            self.waiting.push_back(Waiting { ticket, request, due });
        } else {
            return Some(DenyReason::Overloaded.into());
        }
        self.tell();
        None
    }

    /// Nobody waits for this one any more.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        match self.handles.remove(&ticket).or_else(|| self.held.remove(&ticket)) {
            Some(handle) => handle.abort(),
            None => {
                self.waiting.retain(|waiting| waiting.ticket != ticket);
                self.refused.retain(|refused| *refused != ticket);
            }
        }
        self.refill();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.refused.is_empty()
    }

    /// The next decision; `None` for a question that was cancelled. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<(Ticket, Decision)> {
        loop {
            if let Some(ticket) = self.refused.pop_front() {
                return Some((ticket, DenyReason::Overloaded.into()));
            }
            let (ticket, answer) = match self.asked.join_next().await? {
                Ok(done) => done,
                Err(error) => {
                    // Others may have finished, and come next.
                    self.handles.retain(|_, handle| handle.id() != error.id());
                    self.held.retain(|_, handle| handle.id() != error.id());
                    self.refill();
                    return None;
                }
            };
            let Answer { decision, hold, reserved } = answer;
            if self.held.remove(&ticket).is_some() {
                return Some((ticket, decision));
            }
            self.handles.remove(&ticket);
            self.bounds.pace.decided(self.clock.now().mono);
            self.refill();
            if hold.is_zero() {
                // Whoever hears of the decision gives it back.
                reserved.into_iter().for_each(Reserved::keep);
                return Some((ticket, decision));
            }
            let handle = self.asked.spawn(async move {
                tokio::time::sleep(hold).await;
                (ticket, Answer { decision, hold, reserved })
            });
            self.held.insert(ticket, handle);
        }
    }

    fn refill(&mut self) {
        let now = self.clock.now().mono;
        // Renegotiations, which do not wait, are under way, too: for them nobody waits for long.
        let is_late = |first: &Waiting| first.due - now < self.bounds.patience * 5 / 8;
        let is_time = self.handles.len() <= self.bounds.at_once / 2
            || self.waiting.front().is_some_and(is_late);
        while is_time
            && self.handles.len() < self.bounds.at_once
            && let Some(Waiting { ticket, request, due }) = self.waiting.pop_front()
        {
            self.begin(ticket, request, due);
        }
        while let Some(last) = self.waiting.back() {
            let before = self.handles.len() + self.waiting.len() - 1;
            if now + self.bounds.pace.wait(before, self.bounds.patience) <= last.due {
                break;
            }
            self.refused.extend(self.waiting.pop_back().map(|last| last.ticket));
        }
        self.tell();
    }

    fn begin(&mut self, ticket: Ticket, request: Box<AuthRequest>, due: Mono) {
        let authenticator = Arc::clone(&self.authenticator);
        self.answer(ticket, async move { authenticator.authenticate(*request).await }, due);
    }

    /// `due`: no longer is anything held back.
    fn answer(
        &mut self,
        ticket: Ticket,
        answer: impl Future<Output = Answer> + Send + 'static,
        due: Mono,
    ) {
        let clock = self.clock;
        let handle = self.asked.spawn(async move {
            let answer = answer.await;
            let hold = answer.hold.min(due - clock.now().mono);
            (ticket, Answer { hold, ..answer })
        });
        self.handles.insert(ticket, handle);
    }

    fn tell(&mut self) {
        let load = Load { under_way: self.handles.len(), waiting: self.waiting.len() };
        self.bounds.pace.changed(std::mem::replace(&mut self.load, load), load);
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        self.bounds.pace.changed(self.load, Load::default());
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::{
        auth::{
            decide::Defaults,
            password::{HashParams, pool::HashPool},
            request::Claimed,
            second_factor::response::Response,
            throttle::Limits,
        },
        store::{DeviceMode, Options, SecondFactorMode, open},
        types::{Cid, ExpiryAction, Password, Timestamp, Zone},
    };

    const EACH: Duration = Duration::from_millis(100);

    fn authenticator(clock: Clock) -> Arc<Authenticator> {
        let store = open(&Options::new(Password::from(&b"sqlite::memory:"[..]))).unwrap();
        let pool = Arc::new(HashPool::new(NonZeroUsize::MIN, 4).unwrap());
        let defaults = Defaults {
            device_mode: DeviceMode::Off,
            session_limit: None,
            expiry_action: ExpiryAction::Halt,
            match_common_name: false,
            require_fingerprint: false,
            time_zone: Zone::default(),
            idle: None,
            second_factor: SecondFactorMode::Off,
        };
        let params = HashParams { m_kib: 8, t: 1, p: 1 };
        let limits = Limits::default();
        Arc::new(Authenticator::new(store, pool, limits, defaults, params, clock).unwrap())
    }

    /// Of nobody: it is decided without the database, as soon as this test waits.
    fn request(kind: RequestKind) -> Box<AuthRequest> {
        Box::new(AuthRequest {
            server: "udp".parse().unwrap(),
            kind,
            holds: None,
            user: Claimed::Missing,
            password: None,
            token: None,
            response: Response::None,
            proven: None,
            is_other: false,
            common_name: None,
            device: Ok(None),
            certificate: None,
            client_ip: None,
        })
    }

    fn ticket(number: u32) -> Ticket {
        Ticket { cid: Cid(number), serial: 1 }
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "it is the test's own time")]
    async fn what_is_held_back_takes_nobodys_turn_and_is_told_in_time() {
        let clock = Clock::new();
        let bounds = Bounds { at_once: 1, waiting: 9, patience: EACH * 40, pace: Arc::default() };
        let mut questions = Questions::new(authenticator(clock), bounds, clock);
        let denied = |hold| {
            let decision = DenyReason::BadCredentials.into();
            Answer { decision, hold, reserved: None }
        };
        let late = clock.now().mono + EACH * 40;
        questions.answer(ticket(1), async move { denied(EACH) }, late);
        questions.answer(ticket(2), async move { denied(EACH * 3) }, late);
        questions.answer(ticket(3), async move { denied(EACH * 2) }, late);
        questions.answer(ticket(4), async move { denied(EACH * 9) }, clock.now().mono);
        // It waits for its turn, and is decided long before the first is told.
        assert_eq!(questions.ask(ticket(5), request(RequestKind::Connect)), None);
        let begun = tokio::time::Instant::now();
        let mut told = Vec::new();
        while told.len() < 4 {
            let Some((ticket, _)) = questions.next().await else { continue };
            told.push((ticket.cid.0, begun.elapsed().as_millis() / EACH.as_millis()));
            if ticket.cid.0 == 1 {
                questions.cancel(Ticket { cid: Cid(3), serial: 1 });
            }
        }
        assert_eq!(told, [(4, 0), (5, 0), (1, 1), (2, 3)]);
        assert!(questions.next().await.is_none() && questions.is_empty());
    }

    #[tokio::test]
    async fn those_that_wait_come_up_half_of_them_together_and_nobody_before_them() {
        let clock = Clock::new();
        let bounds = Bounds { at_once: 4, waiting: 9, patience: EACH * 40, pace: Arc::default() };
        let mut questions = Questions::new(authenticator(clock), bounds, clock);
        for number in 1..=8 {
            assert_eq!(questions.ask(ticket(number), request(RequestKind::Connect)), None);
        }
        let mut seen = Vec::new();
        for number in 9..=12 {
            assert!(questions.next().await.is_some());
            assert_eq!(questions.ask(ticket(number), request(RequestKind::Connect)), None);
            seen.push((questions.handles.len(), questions.waiting.len()));
        }
        assert_eq!(seen, [(3, 5), (4, 4), (3, 5), (4, 4)]);
        let last: Vec<_> = questions.waiting.iter().map(|waiting| waiting.ticket.cid.0).collect();
        assert_eq!(last, [9, 10, 11, 12]);
    }

    #[tokio::test]
    async fn nobody_waits_for_long_because_renegotiations_are_under_way() {
        let clock = Clock::new();
        let bounds = Bounds { at_once: 4, waiting: 9, patience: EACH * 80, pace: Arc::default() };
        let mut questions = Questions::new(authenticator(clock), bounds, clock);
        let since = Timestamp::from_secs(0);
        let live = RequestKind::Reauth { connected_since: since, is_extended: false };
        for number in 1..=4 {
            assert_eq!(questions.ask(ticket(number), request(live)), None);
        }
        assert_eq!(questions.ask(ticket(5), request(RequestKind::Connect)), None);
        assert!(questions.next().await.is_some());
        assert_eq!(questions.waiting.len(), 1);
        // As if a quarter of the time were over.
        questions.bounds.patience = EACH * 800;
        questions.ask(ticket(6), request(live));
        assert!(questions.next().await.is_some());
        assert_eq!(questions.waiting.len(), 0);
    }

    #[tokio::test]
    async fn who_cannot_be_decided_in_time_is_refused_at_once_and_the_last_first() {
        let clock = Clock::new();
        let pace = Arc::<Pace>::default();
        let crowd = Load { under_way: 1, waiting: 1 };
        pace.changed(Load::default(), crowd);
        (0..=10).for_each(|number| pace.decided(Mono::default() + EACH * number));
        pace.changed(crowd, Load::default());
        let bounds =
            Bounds { at_once: 1, waiting: 100, patience: EACH * 8, pace: Arc::clone(&pace) };
        let mut questions = Questions::new(authenticator(clock), bounds, clock);
        let refused = Some(DenyReason::Overloaded.into());
        let answers: Vec<_> = (1..=9)
            .map(|number| questions.ask(ticket(number), request(RequestKind::Connect)))
            .collect();
        assert_eq!(answers[..7], [const { None }; 7]);
        assert_eq!(answers[7..], [refused.clone(), refused.clone()]);
        // A live session does not wait.
        let since = Timestamp::from_secs(0);
        let kind = RequestKind::Reauth { connected_since: since, is_extended: false };
        assert_eq!(questions.ask(ticket(10), request(kind)), None);
        questions.cancel(ticket(10));

        // It goes slower now: the last two that wait are told, and not when their time is over.
        let slow = EACH * 11 / 5;
        (1..=10).for_each(|number| pace.decided(Mono::default() + EACH * 10 + slow * number));
        let mut told = Vec::new();
        for _ in 0..3 {
            if let Some((ticket, decision)) = questions.next().await {
                told.push((ticket, Some(decision) == refused));
            }
        }
        told.sort_by_key(|(ticket, _)| ticket.cid);
        assert_eq!(told, [(ticket(1), false), (ticket(6), true), (ticket(7), true)]);
    }
}
