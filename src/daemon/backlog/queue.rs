//! Rows that wait, the newest version of each session, in the order in which their sessions began to wait.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use crate::{store::SessionRecord, types::SessionId};

/// Whoever waits longest goes first, also where more comes than goes; and the rows of a storm, whose ids
/// rise with time, reach the database's pages one after the other.
#[derive(Default)]
pub(super) struct Queue {
    rows: HashMap<SessionId, SessionRecord>,
    /// Each of them, and here and there one twice that was put back and had changed meanwhile.
    order: VecDeque<SessionId>,
    /// How many places have been taken since the beginning.
    taken: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn holds(&self, session: SessionId) -> bool {
        self.rows.contains_key(&session)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SessionRecord> {
        self.rows.values()
    }

    /// How many places have been taken since the beginning.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// How many of them will have been when all that wait now have been.
    pub(super) fn end(&self) -> u64 {
        self.taken + self.order.len() as u64
    }

    /// Keeps the newer of two versions, in the place of the one that came first.
    pub(super) fn put(&mut self, record: SessionRecord) {
        match self.rows.entry(record.id) {
            Entry::Vacant(entry) => {
                self.order.push_back(record.id);
                entry.insert(record);
            }
            Entry::Occupied(mut entry) if entry.get().version < record.version => {
                entry.insert(record);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Gives back what was taken, in its place before all others.
    pub(super) fn put_back(&mut self, records: &[SessionRecord]) {
        for record in records.iter().rev() {
            self.order.push_front(record.id);
            self.taken = self.taken.saturating_sub(1);
            match self.rows.entry(record.id) {
                Entry::Occupied(entry) if entry.get().version >= record.version => {}
                entry @ (Entry::Occupied(_) | Entry::Vacant(_)) => {
                    entry.insert_entry(record.clone());
                }
            }
        }
    }

    /// Takes the first `most`. What a storm or an outage needed is given back once no more than `room` are
    /// left: a busy daemon's is never empty.
    pub(super) fn take(&mut self, most: usize, room: usize) -> Vec<SessionRecord> {
        let mut taken = Vec::with_capacity(most.min(self.rows.len()));
        while taken.len() < most
            && let Some(id) = self.order.pop_front()
        {
            self.taken += 1;
            taken.extend(self.rows.remove(&id));
        }
        if self.rows.len() <= room {
            self.rows.shrink_to(room);
            self.order.shrink_to(room);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{SessionState, tests::session as row};

    #[test]
    fn whoever_waits_longest_goes_first_although_more_comes_than_goes() {
        let mut queue = Queue::default();
        for number in 0..1_000 {
            queue.put(row(number, 1, SessionState::Active));
        }
        let mut next = 1_000;
        for turn in 0..10 {
            for _ in 0..200 {
                queue.put(row(next, 1, SessionState::Active));
                next += 1;
            }
            // A newer version keeps its place, an older one changes nothing.
            queue.put(row(turn * 100, 3, SessionState::Closed));
            queue.put(row(turn * 100, 2, SessionState::Active));
            let taken = queue.take(100, 10);
            let numbers: Vec<_> = taken.iter().map(|row| row.cid.0).collect();
            assert_eq!(numbers, (turn * 100..turn * 100 + 100).collect::<Vec<_>>());
            assert_eq!(taken[0].version, 3);
        }
        assert_eq!((queue.len(), queue.iter().count()), (2_000, 2_000));
    }

    #[test]
    fn what_is_put_back_goes_first_again_and_counts_as_not_taken() {
        let mut queue = Queue::default();
        for number in 0..6 {
            queue.put(row(number, 1, SessionState::Pending));
        }
        let end = queue.end();
        let taken = queue.take(4, 10);
        queue.put(row(2, 3, SessionState::Closed));
        queue.put(row(9, 1, SessionState::Pending));
        queue.put_back(&taken[1..]);
        assert_eq!(queue.taken(), 1);
        let mut seen = Vec::new();
        while !queue.is_empty() {
            assert_eq!(queue.taken() >= end, seen.len() >= 5, "{seen:?}");
            seen.extend(queue.take(1, 10).iter().map(|row| (row.cid.0, row.version)));
        }
        assert_eq!(seen, [(1, 1), (2, 3), (3, 1), (4, 1), (5, 1), (9, 1)]);
    }

    #[test]
    fn what_many_needed_is_given_back_although_more_comes_all_the_time() {
        let mut queue = Queue::default();
        for number in 0..20_000 {
            queue.put(row(number, 1, SessionState::Active));
        }
        assert!(queue.rows.capacity() >= 20_000);
        let mut next = 20_000;
        while queue.len() > 1 {
            queue.take(500, 500);
            queue.put(row(next, 1, SessionState::Active));
            next += 1;
        }
        let capacities = (queue.rows.capacity(), queue.order.capacity());
        assert!(capacities.0 < 2_000 && capacities.1 < 2_000, "{capacities:?}");
    }
}
