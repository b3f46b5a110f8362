//! Whether the database is as it was when it was last looked at, so that nothing needs to be asked: a core.
//!
//! Of an SQLite file its size and its times tell. A database server tells when it is asked: one question in place of all
//! others. Where it tells nothing that can be relied on, it is never still.

use std::time::Duration;

use crate::{store::Traces, types::Mono};

/// For how long the database is asked after a change was seen: what was written can be read only once it is on the disk, and
/// some questions are due each few seconds only.
const AWAKE: Duration = Duration::from_secs(15);
/// How often it is asked although nothing has changed,
const ASKED: Duration = Duration::from_secs(120);
/// and where what it tells does not hold all: sessions of a daemon that is gone, a change that took effect much later.
const ASKED_OF_SERVER: Duration = Duration::from_secs(30);
/// For how long what is compared little by little goes on after a change.
const SETTLED: Duration = Duration::from_secs(75);

/// What was seen of the database.
#[derive(Debug, Default)]
pub(super) struct Stillness {
    traces: Option<Traces>,
    /// When they were others, last.
    changed: Mono,
    /// When it was asked last.
    asked: Mono,
}

impl Stillness {
    /// Whether there is nothing to ask, by the traces as they are now. Otherwise it is about to be asked.
    pub(super) fn is_still(&mut self, traces: Option<Traces>, now: Mono) -> bool {
        if traces.is_none() || traces != self.traces {
            self.traces = traces;
            self.changed = now;
        }
        let is_still = self.may_be_still(now);
        if !is_still {
            self.ask(now);
        }
        is_still
    }

    /// Whether it is worth a question whether anything has changed.
    pub(super) fn may_be_still(&self, now: Mono) -> bool {
        now - self.changed >= AWAKE && now < self.next()
    }

    /// It is about to be asked, whether or not anything has changed.
    pub(super) const fn ask(&mut self, now: Mono) {
        self.asked = now;
    }

    /// Whether these are the traces that were seen last.
    pub(super) fn is_as_seen(&self, traces: Option<Traces>) -> bool {
        traces.is_some() && traces == self.traces
    }

    /// When it is asked again, if nothing changes.
    pub(super) fn next(&self) -> Mono {
        self.asked
            + match self.traces {
                Some(Traces::Told(_)) => ASKED_OF_SERVER,
                Some(Traces::Files(_)) | None => ASKED,
            }
    }

    /// Whether nothing at all has changed for so long that even what takes its time has seen it all.
    pub(super) fn is_settled(&self, now: Mono) -> bool {
        matches!(self.traces, Some(Traces::Files(_))) && now - self.changed >= SETTLED
    }

    /// Something was left undone, or the database did not answer.
    pub(super) const fn disturb(&mut self, now: Mono) {
        self.changed = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(number: i64) -> Option<Traces> {
        Some(Traces::Files([(1, 4_096, 0), (2, 32, number)]))
    }

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(1_000 + seconds))
    }

    #[test]
    fn a_file_that_nobody_writes_is_asked_for_a_while_and_then_rarely() {
        let mut stillness = Stillness::default();
        let mut asked = |seconds: std::ops::Range<u64>, number| {
            let is_asked = |second: &u64| !stillness.is_still(traces(number), at(*second));
            seconds.filter(is_asked).collect::<Vec<_>>()
        };
        assert_eq!(asked(0..300, 1), [(0..15).collect::<Vec<_>>(), vec![134, 254]].concat());
        assert_eq!(asked(300..440, 2), [(300..315).collect::<Vec<_>>(), vec![434]].concat());
        assert_eq!(stillness.next(), at(554));
        assert!(stillness.is_as_seen(traces(2)) && !stillness.is_as_seen(traces(3)));
        assert!(!stillness.is_settled(at(374)) && stillness.is_settled(at(375)));
        stillness.disturb(at(500));
        assert!(!stillness.is_still(traces(2), at(501)));
    }

    #[test]
    fn a_server_is_asked_whether_anything_has_changed_and_for_all_of_it_each_half_minute() {
        let mut stillness = Stillness::default();
        let told = |number: i64| Some(Traces::Told(number.to_string()));
        let mut questions = 0;
        // When it is asked for all.
        let mut asked = |seconds: std::ops::Range<u64>, number| {
            let is_asked = |second: &u64| {
                if stillness.may_be_still(at(*second)) {
                    questions += 1;
                    return !stillness.is_still(told(number), at(*second));
                }
                stillness.ask(at(*second));
                true
            };
            seconds.filter(is_asked).collect::<Vec<_>>()
        };
        // First it has to be told with what to compare.
        assert_eq!(asked(0..100, 1), [(0..16).collect::<Vec<_>>(), vec![45, 75]].concat());
        assert_eq!(asked(100..160, 2), [(100..115).collect::<Vec<_>>(), vec![144]].concat());
        assert_eq!(questions, 83 + 45);
        assert!(!stillness.is_settled(at(10_000)), "it does not tell of everything");
    }

    #[test]
    fn a_database_without_traces_is_always_asked() {
        let mut stillness = Stillness::default();
        assert!(
            (0..100).all(|second| !stillness.is_still(None, Mono(Duration::from_secs(second))))
        );
    }
}
