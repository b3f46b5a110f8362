//! When all sessions are to be judged again: a core.
//!
//! Where the database tells that nobody has written what sessions are judged by, they are not read again: that is what
//! grows with them.

use std::time::Duration;

use crate::{store::FactTrace, types::Mono};

/// Of the time, at most one part in so many goes into looking whether sessions may go on: a small
/// site learns of a change within seconds, a large one later, but without a load on its database.
const SHARE: u32 = 10;
/// The same while nothing has changed.
const SHARE_UNCHANGED: u32 = 100;
/// From one look to the next, at least: a change in the database ends sessions within 5 s, as long as the look
/// takes less than half a second.
const LOOK: Duration = Duration::from_millis(2_500);
/// From one judgement of all sessions to the next while nothing has changed, at least.
const UNCHANGED: Duration = Duration::from_secs(30);
/// After a change was seen they are judged at each look, until one that begins so much later: another may have been made
/// in the same second, or take effect only now.
const AWAKE: Duration = Duration::from_secs(10);

/// What a look has shown.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) began: Mono,
    pub(super) ended: Mono,
    /// As it was when the look began.
    pub(super) trace: Option<FactTrace>,
    /// Of all sessions, if they were judged.
    pub(super) judged: Option<Judged>,
}

/// What all sessions were found to be.
#[derive(Debug)]
pub(super) struct Judged {
    /// For how long the judgement holds if nothing is changed, from the look's beginning; `None`: for good.
    pub(super) holds: Option<Duration>,
}

/// When to look, and whether it has to be at the sessions themselves.
#[derive(Debug)]
pub(super) struct Rhythm {
    trace: Option<FactTrace>,
    /// When it was another, last.
    changed: Mono,
    /// When the sessions were judged last.
    judged: Mono,
    /// When the next look is due,
    next: Mono,
    /// and when the sessions are to be judged, changed or not.
    next_judgement: Mono,
}

impl Rhythm {
    pub(super) const fn new(now: Mono) -> Self {
        Self { trace: None, changed: now, judged: now, next: now, next_judgement: now }
    }

    /// When the next look is due.
    pub(super) const fn next(&self) -> Mono {
        self.next
    }

    /// With which trace there is no need to judge the sessions; `None`: there is in any case.
    pub(super) fn unless(&self, now: Mono) -> Option<FactTrace> {
        let is_needed = self.judged < self.changed + AWAKE || now >= self.next_judgement;
        self.trace.clone().filter(|_| !is_needed)
    }

    /// There may be sessions that were not judged when the others were.
    pub(super) const fn disturb(&mut self, now: Mono) {
        self.changed = now;
    }

    pub(super) fn take_in(&mut self, looked: Looked) {
        let Looked { began, ended, trace, judged } = looked;
        let took = ended - began;
        if trace.is_none() || trace != self.trace {
            self.trace = trace;
            self.changed = began;
        }
        self.next = (began + LOOK).max(ended + took * SHARE);
        if let Some(Judged { holds }) = judged {
            self.judged = began;
            let at_last = (began + UNCHANGED).max(ended + took * SHARE_UNCHANGED);
            self.next_judgement = holds.map_or(at_last, |holds| at_last.min(began + holds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(Duration::from_millis(ms))
    }

    fn trace(text: &str) -> Option<FactTrace> {
        Some(FactTrace(text.to_owned()))
    }

    /// Looks whenever it is due until then; at which milliseconds all sessions were judged.
    fn play(
        rhythm: &mut Rhythm,
        until: u64,
        took: u64,
        holds: Option<Duration>,
        trace: impl Fn(u64) -> Option<FactTrace>,
    ) -> Vec<u64> {
        let mut judged = Vec::new();
        while rhythm.next() < at(until) {
            let began = rhythm.next();
            let ms = u64::try_from(began.0.as_millis()).unwrap();
            let now = trace(ms);
            let unless = rhythm.unless(began);
            let is_needed = unless.is_none() || unless != now;
            let ended = if is_needed { began + Duration::from_millis(took) } else { began };
            judged.extend(is_needed.then_some(ms));
            let judged = is_needed.then_some(Judged { holds });
            rhythm.take_in(Looked { began, ended, trace: now, judged });
        }
        judged
    }

    #[test]
    fn sessions_of_whom_nothing_changes_are_judged_rarely_and_a_change_is_seen_at_the_next_look() {
        let mut rhythm = Rhythm::new(at(0));
        let judged = play(&mut rhythm, 100_000, 1, None, |_| trace("a"));
        assert_eq!(judged, [0, 2_500, 5_000, 7_500, 10_000, 40_000, 70_000]);
        // One at 100,600: seen at 102,500, and looked at closely for ten seconds.
        let judged =
            play(&mut rhythm, 145_000, 1, None, |ms| trace(if ms < 100_600 { "a" } else { "b" }));
        assert_eq!(judged, [100_000, 102_500, 105_000, 107_500, 110_000, 112_500, 142_500]);
    }

    #[test]
    fn without_a_trace_they_are_judged_at_each_look() {
        let mut rhythm = Rhythm::new(at(0));
        let judged = play(&mut rhythm, 60_000, 1, None, |_| None);
        assert_eq!(judged.len(), 24);
    }

    #[test]
    fn many_sessions_take_a_tenth_of_the_time_after_a_change_and_a_hundredth_without() {
        let mut rhythm = Rhythm::new(at(0));
        let judged = play(&mut rhythm, 1_000_000, 3_500, None, |_| trace("a"));
        assert_eq!(judged, [0, 38_500, 392_000, 745_500]);
    }

    #[test]
    fn a_judgement_that_time_alone_changes_is_made_again_then() {
        let mut rhythm = Rhythm::new(at(0));
        let holds = Some(Duration::from_secs(12));
        let judged = play(&mut rhythm, 60_000, 1, holds, |_| trace("a"));
        assert_eq!(judged, [0, 2_500, 5_000, 7_500, 10_000, 22_500, 35_000, 47_500]);
        // Quotas: others use them up, so that it never holds.
        let holds = Some(Duration::ZERO);
        assert_eq!(play(&mut rhythm, 120_000, 1, holds, |_| trace("a")).len(), 24);
    }

    #[test]
    fn what_comes_back_is_judged_at_the_next_look() {
        let mut rhythm = Rhythm::new(at(0));
        play(&mut rhythm, 50_000, 1, None, |_| trace("a"));
        rhythm.disturb(at(50_000));
        let judged = play(&mut rhythm, 75_000, 1, None, |_| trace("a"));
        assert_eq!(judged, [50_000, 52_500, 55_000, 57_500, 60_000]);
    }
}
