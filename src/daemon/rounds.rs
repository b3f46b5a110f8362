//! Who comes up in which round, where servers take turns: core.

use crate::types::Mono;

/// Rounds that are told apart; no server has as many logins waiting.
const MOST: u64 = 1 << 16;

/// How many come up before which round, as it was at a moment.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// When that was.
    pub(super) seen: Mono,
    /// The first of them, how many come up in each and how many before it, and the servers.
    first: u64,
    rounds: Vec<(usize, usize)>,
    servers: usize,
}

impl Rounds {
    /// `servers`: the round in which each comes up next, and of how many rounds it is part.
    pub(super) fn new(seen: Mono, servers: impl Iterator<Item = (u64, usize)> + Clone) -> Self {
        let first = servers.clone().map(|(round, _)| round).min().unwrap_or_default();
        let place = |round: u64| round.saturating_sub(first).min(MOST) as usize;
        // How many more, or fewer, are in each round than in the one before.
        let mut changes: Vec<isize> = Vec::new();
        let mut count = 0;
        for (round, waiting) in servers {
            let from = place(round);
            let until = place(round.saturating_add(waiting as u64));
            if changes.len() <= until {
                changes.resize(until + 1, 0);
            }
            changes[from] += 1;
            changes[until] -= 1;
            count += 1;
        }
        let (mut within, mut before) = (0, 0);
        let rounds = changes.into_iter().map(|change| {
            within += change;
            let in_it = usize::try_from(within).unwrap_or_default();
            before += in_it;
            (in_it, before - in_it)
        });
        Self { seen, first, rounds: rounds.collect(), servers: count }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    /// How many come up before one of that round, before whose server so many others come up in it.
    pub(super) fn before(&self, round: u64, rank: usize) -> usize {
        let place = usize::try_from(round.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let Some((within, before)) = self.rounds.get(place).or(self.rounds.last()) else {
            return 0;
        };
        before + rank * within / self.servers.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_those_that_wait_so_long_and_none_of_whoever_comes_up_later() {
        // Two with three each, one with ten, and one that has had more.
        let servers = [(5, 3), (5, 3), (5, 10), (7, 1)];
        let rounds = Rounds::new(Mono::default(), servers.into_iter());
        let before: Vec<_> = (5..16).map(|round| rounds.before(round, 0)).collect();
        assert_eq!(before, [0, 3, 6, 10, 11, 12, 13, 14, 15, 16, 17]);
        // Half of the servers are before it.
        assert_eq!([rounds.before(5, 2), rounds.before(7, 2)], [1, 8]);
        assert_eq!([rounds.before(4, 0), rounds.before(99, 3)], [0, 17], "not seen then");
    }

    #[test]
    fn bounds_hold() {
        let rounds = Rounds::new(Mono::default(), [(0, usize::MAX), (u64::MAX, 9)].into_iter());
        assert_eq!(rounds.rounds.len(), MOST as usize + 1);
        assert_eq!(Rounds::new(Mono::default(), std::iter::empty()).before(3, 1), 0);
    }
}
