//! Pauses between attempts: doubling, jittered, bounded.

use std::time::Duration;

/// A growing pause. The jitter keeps many daemons from knocking at once.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next pause: between half and all of the present bound, which then doubles.
    pub(super) fn pause(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.longest);
        bound.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }

    /// All is well: start over.
    pub(super) const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for bound in [100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.pause().as_millis();
            assert!((bound / 2..=bound).contains(&pause), "{pause} of {bound}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}
