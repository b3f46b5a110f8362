//! How fast logins are decided while some wait, over all servers: core.
//!
//! Who cannot be decided in time is to hear so at once, and not when the time is over. What counts is what
//! comes out, whatever it is that takes long: hashing, the database, or others on the machine.

use std::time::Duration;

use crate::types::Mono;

/// A pause of the machine is no pace.
const LONGEST: Duration = Duration::from_secs(1);
/// Decisions come in bursts, as questions are asked together, and a storm begins slowly: what is shorter
/// than this part of the time in question says nothing of it.
const SHORTEST: u32 = 4;
/// And this part of it counts as if nothing had been seen: who is refused cannot be called back when it goes faster after all.
const UNSEEN: u32 = 8;
/// What is older counts less and less, in steps of no size: with each jump of what is known many would be let wait or
/// refused in one moment, and others of another moment not.
const SPAN: Duration = Duration::from_secs(8);
/// After so long a time another storm may be another matter.
const FRESH: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Decisions, and the seconds that they took, of which the old ones count less.
    count: f64,
    time: f64,
    /// For how long it was seen.
    seen: Duration,
    /// The last decision, and whether somebody has waited since.
    last: Mono,
    is_busy: bool,
}

impl Pace {
    /// One has been decided, by work, while others waited: what comes while nobody waits says how often it comes, and not
    /// how fast it could go.
    pub(super) fn decided(&mut self, now: Mono) {
        let interval = now - std::mem::replace(&mut self.last, now);
        let is_fresh = interval <= FRESH;
        if !is_fresh {
            *self = Self { last: now, is_busy: self.is_busy, ..Self::default() };
        }
        if !(std::mem::replace(&mut self.is_busy, true) && is_fresh) {
            return;
        }
        let interval = interval.min(LONGEST);
        let rest = 1.0 - interval.as_secs_f64() / SPAN.as_secs_f64();
        self.count = self.count.mul_add(rest, 1.0);
        self.time = self.time.mul_add(rest, interval.as_secs_f64());
        self.seen = self.seen.saturating_add(interval);
    }

    /// Nobody waits any more.
    pub(super) const fn rest(&mut self) {
        self.is_busy = false;
    }

    /// From one decision to the next, where somebody is willing to wait for so long; nothing as long as nobody knows, and
    /// nothing by what was seen in another storm: where it lets nobody wait, nothing else would be seen.
    pub(super) fn each(&self, patience: Duration, now: Mono) -> Duration {
        match self.seen >= patience / SHORTEST && now - self.last <= FRESH {
            true => Duration::from_secs_f64(self.time / self.count.max(1.0)),
            false => Duration::ZERO,
        }
    }

    /// The same at best: a storm begins more slowly than it goes on, and what was seen for a short time says little.
    pub(super) fn at_best(&self, patience: Duration, now: Mono) -> Duration {
        let seen = self.seen.min(SPAN).as_secs_f64();
        let whole = seen + (patience / UNSEEN).as_secs_f64();
        self.each(patience, now).mul_f64(if whole > 0.0 { seen / whole } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_millis(10);
    const PATIENCE: Duration = Duration::from_secs(4);

    /// So many decisions, one after the other.
    fn decide(pace: &mut Pace, from: Mono, count: u32) -> Mono {
        for number in 1..=count {
            pace.decided(from + EACH * number);
        }
        from + EACH * count
    }

    /// Whether it is that, but for what is rounded.
    fn is_near(found: Duration, expected: Duration) -> bool {
        found.abs_diff(expected) < Duration::from_micros(1)
    }

    #[test]
    fn a_part_of_the_time_in_question_has_to_be_seen() {
        let mut pace = Pace::default();
        let last = decide(&mut pace, Mono::default(), 100);
        assert_eq!(pace.each(PATIENCE, last), Duration::ZERO, "nothing is known");
        let last = decide(&mut pace, last, 1);
        assert!(is_near(pace.each(PATIENCE, last), EACH));
        assert_eq!(pace.each(PATIENCE * 2, last), Duration::ZERO);
        // A second of it was seen, and half a second is given on top.
        assert!(is_near(pace.at_best(PATIENCE, last), EACH.mul_f64(1.0 / 1.5)));
    }

    #[test]
    fn what_comes_when_nobody_waits_and_a_machine_that_slept_are_no_pace() {
        let mut pace = Pace::default();
        let last = decide(&mut pace, Mono::default(), 301);
        pace.rest();
        let last = decide(&mut pace, last + FRESH / 2, 100);
        assert!(is_near(pace.each(PATIENCE, last), EACH));
        let last = last + FRESH / 2;
        pace.decided(last);
        let each = pace.each(PATIENCE, last);
        assert!(each < EACH * 3 / 2, "{each:?}");
        // Some spans later that is over, too.
        let last = decide(&mut pace, last + FRESH / 2, 8_000);
        let each = pace.each(PATIENCE, last);
        assert!(each < EACH * 101 / 100, "{each:?}");
        // After a longer time it was another storm, also before anything is decided in this one.
        assert!(is_near(pace.each(PATIENCE, last + FRESH), each));
        let next = last + FRESH * 2;
        assert_eq!(pace.each(PATIENCE, next), Duration::ZERO);
        assert_eq!(pace.at_best(PATIENCE, next), Duration::ZERO);
        let last = decide(&mut pace, next, 10);
        assert_eq!(pace.each(PATIENCE, last), Duration::ZERO);
    }

    #[test]
    fn another_pace_is_known_step_by_step() {
        let mut pace = Pace::default();
        let mut last = decide(&mut pace, Mono::default(), 2_000);
        // It takes twice as long from now on.
        let mut before = pace.each(PATIENCE, last);
        let mut steps = Vec::new();
        for _ in 0..2_000 {
            last = last + EACH * 2;
            pace.decided(last);
            let each = pace.each(PATIENCE, last);
            steps.push(each.checked_sub(before).expect("it only grows"));
            before = each;
        }
        assert!(before > EACH * 19 / 10, "{before:?}");
        let longest = steps.into_iter().max().unwrap();
        assert!(longest < EACH / 200, "{longest:?}");
    }
}
