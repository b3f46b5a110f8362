//! How clients live where faults are tried: they stay, renegotiate, leave and come again by chance.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// How long OpenVPN waits for an answer (`hand-window`; 60 s there, shorter here so that it comes
/// to that within a run).
pub const HAND_WINDOW: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub struct Habits(StdRng);

impl Habits {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn within(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(self.0.random_range(from_ms..to_ms))
    }

    /// Until it leaves by itself: some soon, most after a while.
    pub fn stay(&mut self) -> Duration {
        if self.0.random_ratio(1, 10) { self.within(50, 3_000) } else { self.within(5_000, 60_000) }
    }

    /// Until its next renegotiation.
    pub fn renegotiate(&mut self) -> Duration {
        self.within(6_000, 20_000)
    }

    /// Until it is there again.
    pub fn return_after(&mut self) -> Duration {
        self.within(200, 5_000)
    }

    /// From the kill until the instance is gone: most clients go when they hear of it, the others
    /// are removed after five seconds.
    pub fn exit(&mut self) -> Duration {
        if self.0.random_ratio(1, 4) { super::EXIT } else { self.within(20, 400) }
    }
}
