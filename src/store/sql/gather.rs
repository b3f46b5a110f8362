//! Questions that come at the same moment, put together: core.
//!
//! One that comes alone is asked at once. While others are asked it waits for the first of these: an
//! answer, enough of its kind, or a moment, after which it is asked beside them. Where asking costs much, one that
//! comes soon after another waits for more to come.

use std::{collections::VecDeque, time::Duration};

use crate::types::{Mono, Now};

/// How long a question waits at most for those that are under way: a slow database must not make
/// one login wait for another.
const MOMENT: Duration = Duration::from_millis(5);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// Ask these; [`Gather::ended`] when that is done.
    Begin(Vec<T>),
    /// [`Gather::due`] after that time.
    Wait(Duration),
    Nothing,
}

/// Questions that wait.
#[derive(Debug)]
pub struct Gather<T> {
    waiting: VecDeque<T>,
    /// The most that are asked together.
    most: usize,
    /// How often they are asked side by side at most.
    at_once: usize,
    /// Fewer than the most are not asked so soon after those before, unless these are answered meanwhile.
    pause: Duration,
    under_way: usize,
    last: Mono,
    /// Somebody calls [`Self::due`].
    is_timed: bool,
}

impl<T> Gather<T> {
    pub const fn new(most: usize, at_once: usize, pause: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            most,
            at_once,
            pause,
            under_way: 0,
            last: Mono(Duration::ZERO),
            is_timed: false,
        }
    }

    pub fn push(&mut self, question: T, now: Now) -> Next<T> {
        self.waiting.push_back(question);
        self.next(now)
    }

    /// Some have been answered: those that have come meanwhile, if any.
    pub fn ended(&mut self, now: Now) -> Option<Vec<T>> {
        self.under_way = self.under_way.saturating_sub(1);
        (!self.waiting.is_empty()).then(|| self.begin(now))
    }

    /// The time of [`Next::Wait`] is over.
    pub fn due(&mut self, now: Now) -> Next<T> {
        self.is_timed = false;
        self.next(now)
    }

    fn next(&mut self, now: Now) -> Next<T> {
        let passed = now.mono - self.last;
        let moment = if self.under_way == 0 { self.pause } else { MOMENT.max(self.pause) };
        if self.waiting.is_empty() || self.under_way >= self.at_once {
            Next::Nothing
        } else if self.waiting.len() >= self.most || passed >= moment {
            Next::Begin(self.begin(now))
        } else if self.is_timed {
            Next::Nothing
        } else {
            self.is_timed = true;
            Next::Wait(moment - passed)
        }
    }

    fn begin(&mut self, now: Now) -> Vec<T> {
        self.under_way += 1;
        self.last = now.mono;
        let count = self.waiting.len().min(self.most);
        self.waiting.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    fn at(millis: u64) -> Now {
        Now { mono: Mono(Duration::from_millis(1_000 + millis)), utc: Timestamp::from_secs(0) }
    }

    #[test]
    fn one_that_comes_alone_is_asked_at_once_and_who_comes_meanwhile_together() {
        let mut gather = Gather::new(3, 2, Duration::ZERO);
        assert_eq!(gather.push(1, at(0)), Next::Begin(vec![1]));
        assert_eq!(gather.push(2, at(1)), Next::Wait(Duration::from_millis(4)));
        assert_eq!(gather.push(3, at(2)), Next::Nothing);
        assert_eq!(gather.ended(at(3)), Some(vec![2, 3]));
        assert_eq!(gather.ended(at(4)), None);
        assert_eq!(gather.due(at(5)), Next::Nothing);
        assert_eq!(gather.push(4, at(6)), Next::Begin(vec![4]));
    }

    #[test]
    fn who_waits_for_a_slow_answer_is_asked_beside_it_after_a_moment_or_when_enough_wait() {
        let mut gather = Gather::new(3, 3, Duration::ZERO);
        assert_eq!(gather.push(1, at(0)), Next::Begin(vec![1]));
        assert_eq!(gather.push(2, at(1)), Next::Wait(Duration::from_millis(4)));
        assert_eq!(gather.due(at(5)), Next::Begin(vec![2]));
        assert_eq!(gather.push(3, at(6)), Next::Wait(Duration::from_millis(4)));
        assert_eq!(gather.push(4, at(6)), Next::Nothing);
        assert_eq!(gather.push(5, at(6)), Next::Begin(vec![3, 4, 5]));
        // There are as many as there may be: the next ones wait for an answer, and only so many go.
        for question in 6..10 {
            assert_eq!(gather.push(question, at(50)), Next::Nothing);
        }
        assert_eq!(gather.due(at(50)), Next::Nothing);
        assert_eq!(gather.ended(at(60)), Some(vec![6, 7, 8]));
        assert_eq!(gather.ended(at(61)), Some(vec![9]));
        for _ in 0..3 {
            assert_eq!(gather.ended(at(62)), None);
        }
        assert_eq!(gather.push(10, at(62)), Next::Begin(vec![10]));
    }

    #[test]
    fn where_asking_costs_much_one_that_comes_soon_after_another_waits_for_more() {
        let mut gather = Gather::new(3, 2, Duration::from_millis(25));
        assert_eq!(gather.push(1, at(0)), Next::Begin(vec![1]));
        assert_eq!(gather.ended(at(1)), None);
        assert_eq!(gather.push(2, at(9)), Next::Wait(Duration::from_millis(16)));
        assert_eq!(gather.push(3, at(18)), Next::Nothing);
        assert_eq!(gather.due(at(25)), Next::Begin(vec![2, 3]));
        // Nor beside others, but for as many as are asked together.
        assert_eq!(gather.push(4, at(34)), Next::Wait(Duration::from_millis(16)));
        assert_eq!(gather.push(5, at(35)), Next::Nothing);
        assert_eq!(gather.push(6, at(36)), Next::Begin(vec![4, 5, 6]));
        assert_eq!(gather.due(at(50)), Next::Nothing);
        assert_eq!((gather.ended(at(51)), gather.ended(at(52))), (None, None));
        // What came while others were under way is asked as soon as these are answered.
        assert_eq!(gather.push(7, at(53)), Next::Wait(Duration::from_millis(8)));
        assert_eq!(gather.due(at(61)), Next::Begin(vec![7]));
        assert_eq!(gather.push(8, at(62)), Next::Wait(Duration::from_millis(24)));
        assert_eq!(gather.ended(at(63)), Some(vec![8]));
        assert_eq!(gather.ended(at(64)), None);
        assert_eq!(gather.due(at(88)), Next::Nothing);
        // One by itself is not kept waiting.
        assert_eq!(gather.push(9, at(90)), Next::Begin(vec![9]));
    }
}
