//! How long the slowest comparison of a password takes: core.
//!
//! What is refused is told no sooner than after such a time, so that the time does not say what is stored for a
//! name, or whether anything is. Two things make it up: what the logins of late took, and a comparison with the
//! costliest hashes that are stored. Without the second, nobody who never logs in would be hidden.

use std::time::Duration;

use crate::types::Mono;

/// What a login took counts for so long, and for up to twice as long: a machine that was busy once makes nobody
/// wait for a day.
const SPAN: Duration = Duration::from_secs(600);

/// The slowest comparison of late.
#[derive(Debug, Default)]
pub struct Slowest {
    surveyed: Duration,
    present: Duration,
    before: Duration,
    /// When the present span began.
    since: Mono,
}

impl Slowest {
    /// A login's comparison took so long.
    pub fn saw(&mut self, took: Duration, now: Mono) {
        self.turn(now);
        self.present = self.present.max(took);
    }

    /// One with the costliest stored hash took so long. Holds until the next survey; of one that is not whole, where
    /// it is more than what held before.
    pub fn surveyed(&mut self, took: Duration, is_whole: bool) {
        self.surveyed = if is_whole { took } else { self.surveyed.max(took) };
    }

    /// For how much longer an answer waits whose comparison took so long; `most` is what an answer takes at most
    /// by waiting.
    pub fn rest(&mut self, took: Duration, most: Duration, now: Mono) -> Duration {
        self.turn(now);
        self.surveyed.max(self.present).max(self.before).min(most).saturating_sub(took)
    }

    fn turn(&mut self, now: Mono) {
        let age = now - self.since;
        if age >= SPAN {
            let present = std::mem::take(&mut self.present);
            self.before = if age < SPAN * 2 { present } else { Duration::ZERO };
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(2);
    const SHORT: Duration = Duration::from_millis(17);
    const LONG: Duration = Duration::from_millis(240);

    #[test]
    fn all_wait_for_the_slowest_of_late_and_the_slowest_for_nothing() {
        let mut slowest = Slowest::default();
        let begun = Mono::default() + SPAN;
        assert_eq!(slowest.rest(SHORT, MOST, begun), Duration::ZERO);
        slowest.saw(LONG, begun);
        slowest.saw(SHORT, begun);
        assert_eq!(slowest.rest(SHORT, MOST, begun), LONG - SHORT);
        assert_eq!(slowest.rest(LONG, MOST, begun), Duration::ZERO);
        // It counts until the end of the span after its own.
        assert_eq!(slowest.rest(SHORT, MOST, begun + SPAN), LONG - SHORT);
        slowest.saw(SHORT, begun + SPAN);
        assert_eq!(slowest.rest(Duration::ZERO, MOST, begun + SPAN * 2), SHORT);
    }

    #[test]
    fn nothing_of_a_quiet_time_counts_but_what_is_stored() {
        let mut slowest = Slowest::default();
        slowest.saw(LONG, Mono::default());
        let later = Mono::default() + SPAN * 2;
        assert_eq!(slowest.rest(Duration::ZERO, MOST, later), Duration::ZERO);
        slowest.surveyed(LONG, true);
        assert_eq!(slowest.rest(SHORT, MOST, later + SPAN * 9), LONG - SHORT);
        slowest.surveyed(SHORT, false);
        assert_eq!(slowest.rest(SHORT, MOST, later + SPAN * 9), LONG - SHORT);
        slowest.surveyed(SHORT, true);
        assert_eq!(slowest.rest(SHORT, MOST, later + SPAN * 9), Duration::ZERO);
    }

    #[test]
    fn nobody_waits_for_long() {
        let mut slowest = Slowest::default();
        slowest.saw(MOST * 2, Mono::default());
        assert_eq!(slowest.rest(SHORT, MOST, Mono::default()), MOST - SHORT);
        assert_eq!(slowest.rest(MOST * 2, MOST, Mono::default()), Duration::ZERO);
    }
}
