//! Counters of successive looks become rates. Core.

use std::collections::{BTreeMap, VecDeque};

use super::metrics::Answers;
use crate::types::Mono;

/// Looks that are remembered: wider than any terminal.
const MOST: usize = 512;

/// Answers a second, between one look and the one before.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rates {
    pub allowed: f64,
    pub denied: BTreeMap<&'static str, f64>,
}

impl Rates {
    pub fn all_denied(&self) -> f64 {
        self.denied.values().sum()
    }
}

/// What was, oldest first. A look that failed is a gap.
#[derive(Debug, Default)]
pub struct History {
    last: Option<(Mono, Answers)>,
    looks: VecDeque<Option<Rates>>,
}

impl History {
    /// A look that failed.
    pub fn miss(&mut self) {
        self.push(None);
    }

    /// A look; the first one only begins.
    pub fn look(&mut self, at: Mono, answers: Answers) {
        if let Some((before, was)) = &self.last {
            let seconds = (at - *before).as_secs_f64();
            if seconds <= 0.0 {
                return;
            }
            let rate = |was: f64, is: f64| grown(was, is) / seconds;
            let denied = answers.denied.iter().map(|(reason, is)| {
                (*reason, rate(was.denied.get(reason).copied().unwrap_or_default(), *is))
            });
            let rates =
                Rates { allowed: rate(was.allowed, answers.allowed), denied: denied.collect() };
            self.push(Some(rates));
        }
        self.last = Some((at, answers));
    }

    fn push(&mut self, rates: Option<Rates>) {
        if self.looks.len() >= MOST {
            self.looks.pop_front();
        }
        self.looks.push_back(rates);
    }

    /// The rates of the last look, if it was one.
    pub fn now(&self) -> Option<&Rates> {
        self.looks.back()?.as_ref()
    }

    /// One series, its newest `most` values.
    pub fn series(&self, most: usize, of: impl Fn(&Rates) -> f64) -> Vec<Option<f64>> {
        let from = self.looks.len().saturating_sub(most);
        self.looks.range(from..).map(|rates| rates.as_ref().map(&of)).collect()
    }

    /// The reasons of `answers`, those that occurred most lately first.
    pub fn reasons(&self, answers: &Answers) -> Vec<&'static str> {
        let lately = |reason: &str| -> f64 {
            self.looks.iter().flatten().filter_map(|rates| rates.denied.get(reason)).sum()
        };
        let mut reasons: Vec<_> = answers
            .denied
            .iter()
            .filter(|(_, total)| **total > 0.0)
            .map(|(reason, total)| (*reason, lately(reason), *total))
            .collect();
        reasons.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.2.total_cmp(&a.2)).then(a.0.cmp(b.0)));
        reasons.into_iter().map(|(reason, ..)| reason).collect()
    }
}

/// By how much a counter has grown; one that fell was started anew.
fn grown(was: f64, is: f64) -> f64 {
    if is >= was { is - was } else { is }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn answers(allowed: f64, bad: f64) -> Answers {
        let denied = if bad > 0.0 { BTreeMap::from([("throttled", bad)]) } else { BTreeMap::new() };
        Answers { allowed, denied }
    }

    #[test]
    fn rates_come_from_what_was_added_in_between() {
        let mut history = History::default();
        history.look(at(10), answers(100.0, 0.0));
        assert_eq!(history.now(), None, "one look is no rate");
        history.look(at(12), answers(110.0, 4.0));
        let rates = history.now().unwrap();
        assert_eq!((rates.allowed, rates.all_denied()), (5.0, 2.0));
        history.look(at(12), answers(200.0, 4.0));
        assert_eq!(history.series(9, |r| r.allowed), [Some(5.0)], "no time, no rate");
    }

    #[test]
    fn a_restarted_daemon_counts_from_nought() {
        let mut history = History::default();
        history.look(at(0), answers(100.0, 50.0));
        history.look(at(2), answers(6.0, 0.0));
        let rates = history.now().unwrap();
        assert_eq!((rates.allowed, rates.all_denied()), (3.0, 0.0));
    }

    #[test]
    fn what_was_missed_is_a_gap_and_its_time_counts() {
        let mut history = History::default();
        history.look(at(0), answers(0.0, 0.0));
        history.miss();
        assert_eq!(history.now(), None);
        history.look(at(4), answers(8.0, 0.0));
        assert_eq!(history.series(9, |r| r.allowed), [None, Some(2.0)]);
        assert_eq!(history.series(1, |r| r.allowed), [Some(2.0)]);
    }

    #[test]
    fn the_past_is_bounded() {
        let mut history = History::default();
        for second in 0..2 * MOST as u64 {
            history.look(at(second), answers(second as f64, 0.0));
        }
        assert_eq!(history.series(usize::MAX, |r| r.allowed).len(), MOST);
    }

    #[test]
    fn reasons_of_lately_come_first() {
        let mut history = History::default();
        let look = |throttled: f64, timeout: f64, protocol: f64| Answers {
            allowed: 0.0,
            denied: [("throttled", throttled), ("timeout", timeout), ("protocol", protocol)].into(),
        };
        history.look(at(0), look(500.0, 1.0, 0.0));
        let last = look(500.0, 2.0, 0.0);
        history.look(at(1), last.clone());
        assert_eq!(history.reasons(&last), ["timeout", "throttled"]);
    }
}
