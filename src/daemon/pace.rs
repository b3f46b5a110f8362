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
/// What is older than one or two of these counts no more. A fourth of any `auth.timeout_ms` is less.
const SPAN: Duration = Duration::from_secs(8);
/// After so long a time another storm may be another matter.
const FRESH: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How many decisions took how long in the present span and in the one before.
    present: (Duration, u32),
    before: (Duration, u32),
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
            (self.present, self.before) = Default::default();
        }
        if !(std::mem::replace(&mut self.is_busy, true) && is_fresh) {
            return;
        }
        self.present.0 += interval.min(LONGEST);
        self.present.1 += 1;
        if self.present.0 >= SPAN {
            self.before = std::mem::take(&mut self.present);
        }
    }

    /// Nobody waits any more.
    pub(super) const fn rest(&mut self) {
        self.is_busy = false;
    }

    /// From one decision to the next, where somebody is willing to wait for so long; nothing as long as nobody knows.
    pub(super) fn each(&self, patience: Duration) -> Duration {
        let time = self.before.0 + self.present.0;
        match self.before.1 + self.present.1 {
            count if time >= patience / SHORTEST => time / count.max(1),
            _ => Duration::ZERO,
        }
    }

    /// The same at best: a storm begins more slowly than it goes on, and what was seen for a short time says little.
    pub(super) fn at_best(&self, patience: Duration) -> Duration {
        let seen = (self.before.0 + self.present.0).as_secs_f64();
        let whole = seen + (patience / UNSEEN).as_secs_f64();
        self.each(patience).mul_f64(if whole > 0.0 { seen / whole } else { 0.0 })
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

    #[test]
    fn a_part_of_the_time_in_question_has_to_be_seen() {
        let mut pace = Pace::default();
        let last = decide(&mut pace, Mono::default(), 100);
        assert_eq!(pace.each(PATIENCE), Duration::ZERO, "nothing is known");
        decide(&mut pace, last, 1);
        assert_eq!(pace.each(PATIENCE), EACH);
        assert_eq!(pace.each(PATIENCE * 2), Duration::ZERO);
        // A second of it was seen, and half a second is given on top.
        assert_eq!(pace.at_best(PATIENCE), EACH.mul_f64(1.0 / 1.5));
    }

    #[test]
    fn what_comes_when_nobody_waits_and_a_machine_that_slept_are_no_pace() {
        let mut pace = Pace::default();
        let last = decide(&mut pace, Mono::default(), 301);
        pace.rest();
        let last = decide(&mut pace, last + FRESH / 2, 100);
        assert_eq!(pace.each(PATIENCE), EACH);
        pace.decided(last + FRESH / 2);
        assert!(pace.each(PATIENCE) < EACH * 3 / 2, "{:?}", pace.each(PATIENCE));
        // Two spans later that is over, too.
        let last = decide(&mut pace, last + FRESH / 2, 2_000);
        assert_eq!(pace.each(PATIENCE), EACH);
        decide(&mut pace, last + FRESH * 2, 10);
        assert_eq!(pace.each(PATIENCE), Duration::ZERO, "it was another storm");
    }
}
