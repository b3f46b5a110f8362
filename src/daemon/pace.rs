//! How fast logins are decided while some wait, over all servers: core, but for its lock.
//!
//! Who cannot be decided in time is to hear so at once, and not when the time is over. What counts is what
//! comes out, whatever it is that takes long: hashing, the database, or others on the machine.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::types::Mono;

/// A pause of the machine is no pace.
const LONGEST: Duration = Duration::from_secs(1);
/// Decisions come in bursts, as questions are asked together, and a storm begins slowly: what is shorter
/// than this part of the time in question says nothing of it.
const SHORTEST: u32 = 4;
/// What is older than one or two of these counts no more. A fourth of any `auth.timeout_ms` is less.
const SPAN: Duration = Duration::from_secs(8);
/// After so long a time another storm may be another matter.
const FRESH: Duration = Duration::from_secs(60);

/// Shared by the questions of all servers.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many decisions took how long in the present span and in the one before.
    present: (Duration, u32),
    before: (Duration, u32),
    /// The last decision, and whether somebody has waited since.
    last: Mono,
    is_busy: bool,
    /// Logins under way and waiting, of all servers.
    all: usize,
    /// Servers of which some wait.
    crowded: usize,
}

/// What one server has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) under_way: usize,
    pub(super) waiting: usize,
}

impl Load {
    const fn all(self) -> usize {
        self.under_way + self.waiting
    }
}

impl Pace {
    /// A server's load is another now.
    pub(super) fn changed(&self, before: Load, after: Load) {
        let mut state = self.state();
        state.all = (state.all + after.all()).saturating_sub(before.all());
        let (was, is) = (usize::from(before.waiting > 0), usize::from(after.waiting > 0));
        state.crowded = (state.crowded + is).saturating_sub(was);
        state.is_busy &= state.crowded > 0;
    }

    /// One has been decided.
    pub(super) fn decided(&self, now: Mono) {
        let mut state = self.state();
        // What comes while nobody waits says how often it comes, and not how fast it could go.
        if state.crowded == 0 {
            return;
        }
        let interval = now - std::mem::replace(&mut state.last, now);
        let is_fresh = interval <= FRESH;
        if !is_fresh {
            (state.present, state.before) = Default::default();
        }
        if !(std::mem::replace(&mut state.is_busy, true) && is_fresh) {
            return;
        }
        state.present.0 += interval.min(LONGEST);
        state.present.1 += 1;
        if state.present.0 >= SPAN {
            state.before = std::mem::take(&mut state.present);
        }
    }

    /// How long until one is decided before which a server has so many, as far as is known. Crowded servers
    /// are served in turn.
    pub(super) fn wait(&self, before: usize, patience: Duration) -> Duration {
        let state = self.state();
        let turns =
            before.saturating_add(1).saturating_mul(state.crowded.max(1)).min(state.all + 1);
        state.each(patience / SHORTEST) * u32::try_from(turns).unwrap_or(u32::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// From one decision to the next; nothing as long as nobody knows.
    fn each(&self, shortest: Duration) -> Duration {
        let time = self.before.0 + self.present.0;
        match self.before.1 + self.present.1 {
            count if time >= shortest => time / count.max(1),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_millis(10);
    const PATIENCE: Duration = Duration::from_secs(4);

    fn load(under_way: usize, waiting: usize) -> Load {
        Load { under_way, waiting }
    }

    /// So many decisions, one after the other.
    fn decide(pace: &Pace, from: Mono, count: u32) -> Mono {
        for number in 1..=count {
            pace.decided(from + EACH * number);
        }
        from + EACH * count
    }

    #[test]
    fn the_wait_is_that_of_those_before_at_the_pace_of_the_last_decisions() {
        let pace = Pace::default();
        pace.changed(load(0, 0), load(32, 100));
        let last = decide(&pace, Mono::default(), 100);
        assert_eq!(pace.wait(131, PATIENCE), Duration::ZERO, "nothing is known");
        decide(&pace, last, 1);
        assert_eq!(pace.wait(0, PATIENCE), EACH);
        assert_eq!(pace.wait(131, PATIENCE), EACH * 132);
        // A second server takes its turns, but there is no more to do than there is.
        pace.changed(load(0, 0), load(32, 1));
        assert_eq!(pace.wait(49, PATIENCE), EACH * 100);
        assert_eq!(pace.wait(131, PATIENCE), EACH * 166);
        pace.changed(load(32, 1), load(32, 0));
        assert_eq!(pace.wait(49, PATIENCE), EACH * 50);
    }

    #[test]
    fn what_comes_when_nobody_waits_and_a_machine_that_slept_are_no_pace() {
        let pace = Pace::default();
        pace.changed(load(0, 0), load(32, 10));
        let last = decide(&pace, Mono::default(), 301);
        pace.changed(load(32, 10), load(1, 0));
        pace.decided(last + FRESH / 3);
        pace.changed(load(1, 0), load(32, 10));
        let last = decide(&pace, last + FRESH / 2, 100);
        assert_eq!(pace.wait(0, PATIENCE), EACH);
        pace.decided(last + FRESH / 2);
        assert!(pace.wait(0, PATIENCE) < EACH * 3 / 2, "{:?}", pace.wait(0, PATIENCE));
        // Two spans later that is over, too.
        let last = decide(&pace, last + FRESH / 2, 2_000);
        assert_eq!(pace.wait(0, PATIENCE), EACH);
        decide(&pace, last + FRESH * 2, 10);
        assert_eq!(pace.wait(0, PATIENCE), Duration::ZERO, "it was another storm");
    }
}
