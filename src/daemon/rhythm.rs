//! When all sessions are to be judged again: a core.
//!
//! Where the database tells that nobody has written what sessions are judged by, they are not read again: that is what
//! grows with them.

use std::time::Duration;

use crate::{store::FactTrace, types::Mono};

/// Of the time, at most one part in so many goes into judging sessions: a small site learns of a change within
/// seconds, a large one later, but without a load on its database.
const SHARE: u32 = 10;
/// The same while nothing has changed,
const SHARE_UNCHANGED: u32 = 100;
/// and how often they are judged then, at most and at least.
const UNCHANGED: Duration = Duration::from_secs(30);
const UNCHANGED_AT_LAST: Duration = Duration::from_secs(120);
/// From one look to the next: a change in the database ends sessions within 5 s, as long as judging them all takes less
/// than half a second.
const LOOK: Duration = Duration::from_millis(2_500);
/// After a change was seen they are judged at each look, until one that begins so much later, at least: another may have
/// been made in the same second, or take effect only now.
const AWAKE: Duration = Duration::from_secs(10);

/// What a look has shown.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) began: Mono,
    /// As it was when the look began.
    pub(super) trace: Option<FactTrace>,
    /// Of all sessions, if they were judged.
    pub(super) judged: Option<Judged>,
}

/// What all sessions were found to be.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) took: Duration,
    /// For how long the judgement holds if nothing is changed, from the look's beginning; `None`: for good.
    pub(super) holds: Option<Duration>,
}

/// When to look, and whether it has to be at the sessions themselves.
#[derive(Debug)]
pub(super) struct Rhythm {
    /// How long a login may take that was decided by what was there before a change.
    awake: Duration,
    trace: Option<FactTrace>,
    /// When it was another, last.
    changed: Mono,
    /// When the sessions were judged last.
    judged: Mono,
    /// When to look next.
    next: Mono,
    /// When the sessions have to be judged, changed or not.
    next_judgement: Mono,
    /// When time alone makes another judgement of it, if it does.
    holds_until: Option<Mono>,
}

impl Rhythm {
    /// `login`: how long a login may take.
    pub(super) fn new(login: Duration, now: Mono) -> Self {
        let awake = AWAKE.max(login + LOOK * 2);
        Self {
            awake,
            trace: None,
            changed: now,
            judged: now,
            next: now,
            next_judgement: now,
            holds_until: None,
        }
    }

    /// When to look next.
    pub(super) const fn next(&self) -> Mono {
        self.next
    }

    /// When the sessions are to be judged of whom it is known that nothing changes; `None`: never.
    pub(super) fn next_of_still(&self) -> Option<Mono> {
        let due = if self.is_awake() { Some(self.next) } else { self.holds_until };
        due.map(|due| due.max(self.next))
    }

    /// With which trace there is no need to judge the sessions; `None`: there is in any case.
    pub(super) fn unless(&self, now: Mono) -> Option<FactTrace> {
        let is_needed = self.is_awake() || now >= self.next_judgement;
        self.trace.clone().filter(|_| !is_needed)
    }

    /// There may be sessions that were not judged when the others were.
    pub(super) fn disturb(&mut self, now: Mono) {
        self.changed = self.changed.max(now);
    }

    pub(super) fn take_in(&mut self, looked: Looked) {
        let Looked { began, trace, judged } = looked;
        let is_told = trace.is_some();
        if is_told && trace != self.trace {
            self.trace = trace;
            self.changed = self.changed.max(began);
        }
        self.next = began + LOOK;
        let Some(Judged { took, holds }) = judged else {
            // What time alone changes is not put off by a look at which nothing was to be done.
            self.next = self.holds_until.map_or(self.next, |until| self.next.min(until));
            return;
        };
        let again = holds.is_some_and(|holds| holds < took * SHARE);
        if self.is_awake() || !is_told || again {
            self.next = self.next.max(began + took * (SHARE + 1));
        }
        self.judged = began;
        let pause = (took * SHARE_UNCHANGED).clamp(UNCHANGED, UNCHANGED_AT_LAST);
        self.next_judgement = began + holds.map_or(pause, |holds| pause.min(holds));
        self.holds_until = holds.map(|holds| began + holds);
    }

    /// Whether they are judged at each look.
    fn is_awake(&self) -> bool {
        self.judged < self.changed + self.awake
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

    /// Looks whenever it is due until then; at which milliseconds all sessions were judged, which takes `took` of them.
    fn play(
        rhythm: &mut Rhythm,
        until: u64,
        took: u64,
        holds: Option<Duration>,
        trace: impl Fn(u64) -> Option<FactTrace>,
    ) -> Vec<u64> {
        let took = Duration::from_millis(took);
        let mut judged = Vec::new();
        while rhythm.next() < at(until) {
            let began = rhythm.next();
            let ms = u64::try_from(began.0.as_millis()).unwrap();
            let (unless, trace) = (rhythm.unless(began), trace(ms));
            let is_needed = unless.is_none() || unless != trace;
            judged.extend(is_needed.then_some(ms));
            let judged = is_needed.then_some(Judged { took, holds });
            rhythm.take_in(Looked { began, trace, judged });
        }
        judged
    }

    #[test]
    fn sessions_of_whom_nothing_changes_are_judged_rarely_and_a_change_is_seen_at_the_next_look() {
        let mut rhythm = Rhythm::new(Duration::from_secs(1), at(0));
        let judged = play(&mut rhythm, 100_000, 1, None, |_| trace("a"));
        assert_eq!(judged, [0, 2_500, 5_000, 7_500, 10_000, 40_000, 70_000]);
        // One at 100,600: seen at 102,500, and looked at closely for ten seconds.
        let judged =
            play(&mut rhythm, 145_000, 1, None, |ms| trace(if ms < 100_600 { "a" } else { "b" }));
        assert_eq!(judged, [100_000, 102_500, 105_000, 107_500, 110_000, 112_500, 142_500]);
    }

    #[test]
    fn without_a_trace_they_are_judged_at_each_look() {
        let mut rhythm = Rhythm::new(Duration::from_secs(1), at(0));
        let judged = play(&mut rhythm, 60_000, 1, None, |_| None);
        assert_eq!(judged.len(), 24);
    }

    #[test]
    fn many_sessions_take_a_tenth_of_the_time_after_a_change_and_little_without() {
        let mut rhythm = Rhythm::new(Duration::from_secs(1), at(0));
        let judged = play(&mut rhythm, 400_000, 3_500, None, |_| trace("a"));
        assert_eq!(judged, [0, 38_500, 159_500, 279_500, 399_500]);
        // A change just after one that nothing asked for does not wait.
        let judged = play(&mut rhythm, 500_000, 3_500, None, |_| trace("b"));
        assert_eq!(judged, [402_000, 440_500]);
    }

    #[test]
    fn a_file_that_is_being_written_to_tells_nothing_and_is_read_a_tenth_of_the_time() {
        let mut rhythm = Rhythm::new(Duration::from_secs(1), at(0));
        play(&mut rhythm, 100_000, 3_500, None, |_| trace("a"));
        let judged = play(&mut rhythm, 180_000, 3_500, None, |_| None);
        assert_eq!(judged, [102_000, 140_500, 179_000]);
        // What it tells then is compared with what it told before.
        assert_eq!(play(&mut rhythm, 250_000, 3_500, None, |_| trace("a")), [0; 0]);
    }

    #[test]
    fn who_logs_in_by_what_was_there_before_a_change_is_judged_after_it() {
        let mut rhythm = Rhythm::new(Duration::from_secs(60), at(0));
        let judged = play(&mut rhythm, 90_000, 1, None, |_| trace("a"));
        assert_eq!(judged.last(), Some(&65_000));
        assert_eq!(judged.len(), 27);
    }

    #[test]
    fn a_judgement_that_time_alone_changes_is_made_again_then() {
        let mut rhythm = Rhythm::new(Duration::from_secs(1), at(0));
        let holds = Some(Duration::from_secs(12));
        let judged = play(&mut rhythm, 60_000, 1, holds, |_| trace("a"));
        assert_eq!(judged, [0, 2_500, 5_000, 7_500, 10_000, 22_000, 34_000, 46_000, 58_000]);
        // Quotas: others use them up, so that it never holds.
        let holds = Some(Duration::ZERO);
        let judged = play(&mut rhythm, 120_000, 1, holds, |_| trace("a"));
        assert_eq!((judged[0], judged.len()), (70_000, 20));
    }

    #[test]
    fn of_what_is_known_to_be_still_only_time_brings_another_judgement() {
        let mut rhythm = Rhythm::new(Duration::from_secs(1), at(0));
        assert_eq!(rhythm.next_of_still(), Some(at(0)), "it was never judged");
        play(&mut rhythm, 50_000, 1, None, |_| trace("a"));
        assert_eq!(rhythm.next_of_still(), None);
        rhythm.disturb(at(50_000));
        assert_eq!(rhythm.next_of_still(), Some(at(50_000)));
        play(&mut rhythm, 70_000, 1, Some(Duration::from_secs(60)), |_| trace("a"));
        assert_eq!(rhythm.next_of_still(), Some(at(120_000)));
    }

    #[test]
    fn what_comes_back_is_judged_at_the_next_look() {
        let mut rhythm = Rhythm::new(Duration::from_secs(1), at(0));
        play(&mut rhythm, 50_000, 1, None, |_| trace("a"));
        rhythm.disturb(at(50_000));
        let judged = play(&mut rhythm, 75_000, 1, None, |_| trace("a"));
        assert_eq!(judged, [50_000, 52_500, 55_000, 57_500, 60_000]);
    }
}
