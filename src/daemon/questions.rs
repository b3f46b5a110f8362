//! The logins of one server that are being decided.
//!
//! A server has a few questions under way at once, and the others wait here, in their order, until it is this
//! server's turn (`turns`): a storm at one server leaves room on the hashing threads for the logins of all others, and one
//! at all of them overruns nothing. Renegotiations of live clients do not wait. A login that cannot be decided in time is
//! refused for a while as soon as that is clear, the last that came first: those before it are nearly there. A decision
//! that is held back is under way no longer: it takes nobody's turn.

use std::{
    collections::{BTreeMap, HashMap},
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

use super::turns::{Come, Seat, Turns};

/// What there may be.
#[derive(Clone)]
pub(super) struct Bounds {
    /// What is under way, over all servers.
    pub(super) turns: Arc<Turns>,
    /// Waiting; beyond it a login is refused for a while.
    pub(super) waiting: usize,
    /// How long a login may take. A part of it is left for what cannot be foreseen.
    pub(super) patience: Duration,
}

pub(super) struct Questions {
    authenticator: Arc<Authenticator>,
    seat: Seat,
    bounds: Bounds,
    clock: Clock,
    asked: JoinSet<(Ticket, Answer)>,
    stages: HashMap<Ticket, (Stage, AbortHandle)>,
    /// By their serial numbers, which are in the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    refused: BTreeMap<u64, Ticket>,
}

/// How far one is that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has a turn.
    UnderWay,
    /// It needs none.
    Live,
    /// Decided, and not to be told yet.
    Held,
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
            seat: bounds.turns.seat(),
            bounds,
            clock,
            asked: JoinSet::new(),
            stages: HashMap::new(),
            waiting: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Asks, now or as soon as it has a turn. Answers at once where too many wait.
    pub(super) fn ask(&mut self, ticket: Ticket, request: Box<AuthRequest>) -> Option<Decision> {
        let patience = self.bounds.patience * 7 / 8;
        let now = self.clock.now().mono;
        let due = now + patience;
        if matches!(request.kind, RequestKind::Reauth { .. }) {
            self.begin(ticket, request, due, Stage::Live);
            return None;
        }
        match self.seat.come(self.waiting.len() < self.bounds.waiting, patience, now) {
            Come::Now => self.begin(ticket, request, due, Stage::UnderWay),
            Come::Later => {
                // Who guesses passwords takes no honest login's place in the queue.
                if let Some(reason) = self.authenticator.refuses_at_once(&request) {
                    self.seat.leave();
                    return Some(reason.into());
                }
                self.waiting.insert(ticket.serial, Waiting { ticket, request, due });
            }
            Come::Never => return Some(DenyReason::Overloaded.into()),
        }
        None
    }

    /// Nobody waits for this one any more.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        if let Some((stage, handle)) = self.stages.remove(&ticket) {
            handle.abort();
            if stage == Stage::UnderWay {
                self.seat.done(false, self.clock.now().mono);
            }
        } else if self.waiting.remove(&ticket.serial).is_some() {
            self.seat.leave();
        } else {
            self.refused.remove(&ticket.serial);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.refused.is_empty() && self.waiting.is_empty()
    }

    /// The next decision; `None` for a question that was cancelled. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<(Ticket, Decision)> {
        loop {
            self.refill();
            if let Some((_, ticket)) = self.refused.pop_first() {
                return Some((ticket, DenyReason::Overloaded.into()));
            }
            let done = tokio::select! {
                Some(done) = self.asked.join_next() => done,
                () = self.seat.called(), if !self.waiting.is_empty() => continue,
                else => return None,
            };
            let (ticket, answer) = match done {
                Ok(done) => done,
                Err(error) => {
                    // Others may have finished, and come next.
                    if error.is_panic() {
                        self.forget(error.id());
                    }
                    return None;
                }
            };
            let Answer { decision, is_work, hold, reserved } = answer;
            let now = self.clock.now().mono;
            match self.stages.remove(&ticket) {
                Some((Stage::Held, _)) => return Some((ticket, decision)),
                Some((Stage::UnderWay, _)) => self.seat.done(is_work, now),
                Some((Stage::Live, _)) | None => {}
            }
            if hold.is_zero() {
                // Whoever hears of the decision gives it back.
                reserved.into_iter().for_each(Reserved::keep);
                return Some((ticket, decision));
            }
            let handle = self.asked.spawn(async move {
                tokio::time::sleep(hold).await;
                (ticket, Answer { decision, is_work, hold, reserved })
            });
            self.stages.insert(ticket, (Stage::Held, handle));
        }
    }

    /// It panicked.
    fn forget(&mut self, id: tokio::task::Id) {
        let found = self.stages.iter().find(|(_, (_, handle))| handle.id() == id);
        let ticket = found.map(|(ticket, _)| *ticket);
        if let Some((Stage::UnderWay, _)) = ticket.and_then(|ticket| self.stages.remove(&ticket)) {
            self.seat.done(false, self.clock.now().mono);
        }
    }

    /// Those whose turn it is begin, and those that wait in vain are refused.
    fn refill(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        for _ in 0..self.seat.take() {
            let Some((_, Waiting { ticket, request, due })) = self.waiting.pop_first() else {
                break;
            };
            self.begin(ticket, request, due, Stage::UnderWay);
        }
        let now = self.clock.now().mono;
        while let Some(last) = self.waiting.last_entry()
            && self.seat.is_in_vain(last.get().due, now, self.bounds.patience)
        {
            let last = last.remove();
            self.refused.insert(last.ticket.serial, last.ticket);
            self.seat.leave();
        }
    }

    fn begin(&mut self, ticket: Ticket, request: Box<AuthRequest>, due: Mono, stage: Stage) {
        let authenticator = Arc::clone(&self.authenticator);
        self.answer(ticket, async move { authenticator.authenticate(*request).await }, due, stage);
    }

    /// `due`: no longer is anything held back.
    fn answer(
        &mut self,
        ticket: Ticket,
        answer: impl Future<Output = Answer> + Send + 'static,
        due: Mono,
        stage: Stage,
    ) {
        let clock = self.clock;
        let handle = self.asked.spawn(async move {
            let answer = answer.await;
            let hold = answer.hold.min(due - clock.now().mono);
            (ticket, Answer { hold, ..answer })
        });
        self.stages.insert(ticket, (stage, handle));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::{super::turns::Most, *};
    use crate::{
        auth::{
            decide::Defaults,
            password::{
                HashParams,
                pool::{Crowd, HashPool},
            },
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
            user: Claimed::Invalid,
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
        Ticket { cid: Cid(number), serial: number.into() }
    }

    fn bounds(at_once: usize, patience: Duration) -> Bounds {
        let turns = Arc::new(Turns::new(Most::new(at_once, 256, 1), Crowd::default()));
        Bounds { turns, waiting: 100, patience }
    }

    const KIND: RequestKind = RequestKind::Adopt { connected_since: Timestamp::from_secs(0) };
    const LIVE: RequestKind =
        RequestKind::Reauth { connected_since: Timestamp::from_secs(0), is_extended: false };

    impl Questions {
        /// With a turn, those that wait.
        fn load(&self) -> (usize, usize) {
            let stages = self.stages.values();
            let under_way = stages.filter(|(stage, _)| *stage == Stage::UnderWay).count();
            (under_way, self.waiting.len())
        }
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "it is the test's own time")]
    async fn what_is_held_back_takes_nobodys_turn_and_is_told_in_time() {
        let clock = Clock::new();
        let bounds = bounds(4, EACH * 40);
        let mut questions = Questions::new(authenticator(clock), bounds, clock);
        let mut answer = |number, hold, due| {
            assert_eq!(questions.seat.come(true, EACH, Mono::default()), Come::Now);
            let decision = DenyReason::BadCredentials.into();
            let answer = Answer { decision, is_work: true, hold, reserved: None };
            questions.answer(ticket(number), async move { answer }, due, Stage::UnderWay);
        };
        let late = clock.now().mono + EACH * 40;
        answer(1, EACH, late);
        answer(2, EACH * 3, late);
        answer(3, EACH * 2, late);
        answer(4, EACH * 9, clock.now().mono);
        // It waits for its turn, and is decided long before the first is told.
        assert_eq!(questions.ask(ticket(5), request(KIND)), None);
        assert_eq!(questions.load(), (4, 1));
        let begun = tokio::time::Instant::now();
        let mut told = Vec::new();
        while told.len() < 4 {
            let Some((told_of, _)) = questions.next().await else { continue };
            told.push((told_of.cid.0, begun.elapsed().as_millis() / EACH.as_millis()));
            if told_of.cid.0 == 1 {
                questions.cancel(ticket(3));
            }
        }
        assert_eq!(told, [(4, 0), (5, 0), (1, 1), (2, 3)]);
        assert!(questions.next().await.is_none() && questions.is_empty());
    }

    #[tokio::test]
    async fn those_that_wait_come_up_half_of_them_together_and_nobody_before_them() {
        let clock = Clock::new();
        let mut questions = Questions::new(authenticator(clock), bounds(4, EACH * 40), clock);
        for number in 1..=8 {
            assert_eq!(questions.ask(ticket(number), request(KIND)), None);
        }
        let mut seen = Vec::new();
        for number in 9..=12 {
            assert!(questions.next().await.is_some());
            assert_eq!(questions.ask(ticket(number), request(KIND)), None);
            questions.refill();
            seen.push(questions.load());
        }
        assert_eq!(seen, [(3, 5), (4, 4), (3, 5), (4, 4)]);
        let last: Vec<_> = questions.waiting.values().map(|waiting| waiting.ticket.cid.0).collect();
        assert_eq!(last, [9, 10, 11, 12]);
    }

    #[tokio::test]
    async fn renegotiations_neither_wait_nor_take_a_turn() {
        let clock = Clock::new();
        let mut questions = Questions::new(authenticator(clock), bounds(1, EACH * 80), clock);
        for number in 1..=4 {
            assert_eq!(questions.ask(ticket(number), request(LIVE)), None);
        }
        assert_eq!(questions.ask(ticket(5), request(KIND)), None);
        assert_eq!(questions.load(), (1, 0));
        assert_eq!(questions.ask(ticket(6), request(KIND)), None);
        assert_eq!(questions.ask(ticket(7), request(LIVE)), None);
        assert_eq!((questions.load(), questions.stages.len()), ((1, 1), 6));
        let mut told = Vec::new();
        while let Some((ticket, _)) = questions.next().await {
            told.push(ticket.cid.0);
        }
        told.sort_unstable();
        assert_eq!(told, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[tokio::test]
    async fn who_cannot_be_decided_in_time_is_refused_at_once_and_the_last_first() {
        let clock = Clock::new();
        let bounds = bounds(1, EACH * 8);
        // Another server has shown how fast it goes.
        let other = bounds.turns.seat();
        assert_eq!(
            [(); 2].map(|()| other.come(true, EACH, Mono::default())),
            [Come::Now, Come::Later]
        );
        (1..=10).for_each(|number| other.decided(Mono::default() + EACH * number));
        drop(other);
        let mut questions = Questions::new(authenticator(clock), bounds, clock);
        let refused = Some(DenyReason::Overloaded.into());
        let answers: Vec<_> =
            (1..=9).map(|number| questions.ask(ticket(number), request(KIND))).collect();
        assert_eq!(answers[..6], [const { None }; 6]);
        assert_eq!(answers[6..], [(); 3].map(|()| refused.clone()));
        // A live session does not wait.
        assert_eq!(questions.ask(ticket(10), request(LIVE)), None);
        questions.cancel(ticket(10));

        // It goes slower now: the last two that wait are told, and not when their time is over.
        let slow = EACH * 11 / 5;
        for number in 1..=10 {
            questions.seat.decided(Mono::default() + EACH * 10 + slow * number);
        }
        let mut told = Vec::new();
        for _ in 0..3 {
            if let Some((ticket, decision)) = questions.next().await {
                told.push((ticket, Some(decision) == refused));
            }
        }
        told.sort_by_key(|(ticket, _)| ticket.cid);
        assert_eq!(told[0], (ticket(1), false));
        assert_eq!(told[1..], [5, 6].map(|number| (ticket(number), true)));
    }

    #[tokio::test]
    async fn a_crowd_that_leaves_leaves_nothing_behind() {
        let clock = Clock::new();
        let bounds = Bounds { waiting: usize::MAX, ..bounds(4, EACH * 600) };
        let turns = Arc::clone(&bounds.turns);
        let mut questions = Questions::new(authenticator(clock), bounds, clock);
        for number in 1..=50_000 {
            assert_eq!(questions.ask(ticket(number), request(KIND)), None);
        }
        // From the end on, which a search from the beginning finds last.
        (1..=50_000).rev().for_each(|number| questions.cancel(ticket(number)));
        assert_eq!(questions.load(), (0, 0));
        while questions.next().await.is_some() || !questions.is_empty() {}
        // Nor for the others.
        let other = turns.seat();
        assert_eq!([(); 4].map(|()| other.come(false, EACH, Mono::default())), [Come::Now; 4]);
    }
}
