//! Whose turn it is: how many logins are under way over all servers, and how that is spread over those of which more
//! wait. Core, but for its lock, what wakes a server and what tells the hashing threads how many wait.
//!
//! A server that is crowded comes up once in each round, before those that have had more: nobody is ahead for having come
//! first. They come up half of all together, as soon as the other half is decided: the database is then asked about
//! many in one question. Renegotiations take no turn, and wait for none.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{auth::password::pool::Crowd, types::Mono};

use super::{pace::Pace, rounds::Rounds};

/// So many servers may have under way what one alone may have.
const SERVERS: usize = 4;
/// What any server may begin at first.
const FIRST: usize = 4;
/// Who comes is let wait if he is decided within so many eighths of what he would wait: it may go more slowly then.
const LET_IN: u32 = 7;
/// How often those that wait are to look whether they wait in vain.
const LOOK: Duration = Duration::from_millis(100);

/// How many may be under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Of one server: half as many are enough to keep hashing threads busy.
    at_once: usize,
    /// Of all.
    in_all: usize,
    /// Of one server before anything is decided: others may have as many as it has, and are yet to be heard.
    first: usize,
}

impl Most {
    /// `room`: more would find no place before the hashing threads.
    pub(super) fn new(at_once: usize, room: usize, servers: usize) -> Self {
        Self {
            at_once,
            in_all: at_once.saturating_mul(SERVERS).min(room).max(1),
            first: (at_once / servers.max(1)).max(FIRST),
        }
    }
}

/// Shared by the questions of all servers.
pub(super) struct Turns(Mutex<State>);

/// What becomes of a login that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Come {
    Now,
    /// It waits in its server until it has a turn.
    Later,
    /// It would wait in vain.
    Never,
}

/// One server's place among the others.
pub(super) struct Seat {
    turns: Arc<Turns>,
    number: usize,
    called: Arc<Notify>,
}

struct State {
    most: Most,
    pace: Pace,
    places: HashMap<usize, Place>,
    /// Servers whose turn comes, by round, and within one as they came: the key is in the place, too.
    line: BTreeMap<(u64, u64), usize>,
    /// The next number of a place, and of an entry in the line.
    number: usize,
    entry: u64,
    under_way: usize,
    waiting: usize,
    /// Is told how many that is.
    crowd: Crowd,
    /// Servers of which some wait.
    crowded: usize,
    /// How many may be under way now: more with each decision, so that nobody has much before all were heard.
    window: usize,
    /// The last round in which somebody came up, and since when rounds are counted.
    round: u64,
    since: u64,
    looked: Mono,
    /// Who comes up in which round, as it was a moment ago, and how many have come up since; the pace of then, by which
    /// all servers judge that look meanwhile.
    rounds: Rounds,
    begun: usize,
    each_at_best: Duration,
}

#[derive(Default)]
struct Place {
    called: Arc<Notify>,
    waiting: usize,
    /// Those whose turn has come are under way.
    under_way: usize,
    /// Their turn has come, and they are yet to be begun.
    due: usize,
    /// It had all that it may have, and still has more than half of it.
    is_full: bool,
    /// The round in which it comes up next, as rounds were counted then.
    round: u64,
    since: u64,
    entry: Option<(u64, u64)>,
    /// How many servers come up before it within a round, by [`State::rounds`].
    rank: usize,
}

impl Turns {
    pub(super) fn new(most: Most, crowd: Crowd) -> Self {
        Self(Mutex::new(State {
            most,
            pace: Pace::default(),
            places: HashMap::new(),
            line: BTreeMap::new(),
            number: 0,
            entry: 0,
            under_way: 0,
            waiting: 0,
            crowd,
            crowded: 0,
            window: most.at_once.min(most.in_all),
            round: 0,
            since: 0,
            looked: Mono::default(),
            rounds: Rounds::default(),
            begun: 0,
            each_at_best: Duration::ZERO,
        }))
    }

    pub(super) fn seat(self: &Arc<Self>) -> Seat {
        let mut state = self.state();
        state.number += 1;
        let number = state.number;
        let called = Arc::clone(&state.places.entry(number).or_default().called);
        drop(state);
        Seat { turns: Arc::clone(self), number, called }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// One has come, who is willing to wait for so long where `may_wait`.
    pub(super) fn come(&self, may_wait: bool, patience: Duration, now: Mono) -> Come {
        self.turns.state().come(self.number, may_wait, patience, now)
    }

    /// One that was under way is no longer. `is_work`: it was decided, and not without work; the others wait for no less.
    pub(super) fn done(&self, is_work: bool, now: Mono) {
        self.turns.state().done(self.number, is_work, now);
    }

    /// One that waited does so no longer.
    pub(super) fn leave(&self) {
        self.turns.state().leave(self.number);
    }

    /// How many of those that wait longest are to begin.
    pub(super) fn take(&self) -> usize {
        let mut state = self.turns.state();
        state.places.get_mut(&self.number).map_or(0, |place| std::mem::take(&mut place.due))
    }

    /// Whether the last of those that wait does so in vain, who has to be decided by then.
    pub(super) fn is_in_vain(&self, due: Mono, now: Mono, patience: Duration) -> bool {
        self.turns.state().is_in_vain(self.number, due, now, patience)
    }

    /// One of another server was decided.
    #[cfg(test)]
    pub(super) fn decided(&self, now: Mono) {
        self.turns.state().pace.decided(now);
    }

    /// Until some are to begin, or have to look whether they wait in vain. Cancel-safe.
    pub(super) async fn called(&self) {
        self.called.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.turns.state().remove(self.number);
    }
}

impl State {
    fn come(&mut self, number: usize, may_wait: bool, patience: Duration, now: Mono) -> Come {
        let round = self.round_of(number);
        let is_next = self.line.first_key_value().is_none_or(|((first, _), _)| round <= *first);
        let has_room = self.under_way < self.window;
        let wait = self.wait(number, patience, now);
        let first = self.most.first;
        let Some(place) = self.places.get_mut(&number) else { return Come::Never };
        if is_next && has_room && !place.is_full && place.waiting == 0 && place.under_way < first {
            place.round = round;
            self.begin(number);
            return Come::Now;
        }
        if !may_wait || wait > patience * LET_IN / 8 {
            return Come::Never;
        }
        place.waiting += 1;
        self.waiting += 1;
        self.crowd.is(self.waiting);
        self.crowded += usize::from(place.waiting == 1);
        self.line_up(number);
        Come::Later
    }

    fn done(&mut self, number: usize, is_work: bool, now: Mono) {
        self.release(number);
        if is_work && self.crowded > 0 {
            self.pace.decided(now);
            self.window = (self.window + 1).min(self.most.in_all);
        }
        self.deal();
        if self.crowded > 0 && now - self.looked >= LOOK {
            self.looked = now;
            for number in self.line.values() {
                self.places.get(number).into_iter().for_each(|place| place.called.notify_one());
            }
        }
    }

    fn leave(&mut self, number: usize) {
        let Some(place) = self.places.get_mut(&number) else { return };
        if place.waiting > 0 {
            place.waiting -= 1;
            self.waiting -= 1;
            self.no_longer_crowded(number);
        } else if place.due > 0 {
            // Its turn had just come.
            place.due -= 1;
            self.release(number);
        }
        self.deal();
    }

    /// One less is under way.
    fn release(&mut self, number: usize) {
        let Some(place) = self.places.get_mut(&number) else { return };
        place.under_way = place.under_way.saturating_sub(1);
        place.is_full &= place.under_way > self.most.at_once / 2;
        self.under_way = self.under_way.saturating_sub(1);
        self.line_up(number);
    }

    fn remove(&mut self, number: usize) {
        let Some(place) = self.places.get_mut(&number) else { return };
        self.under_way = self.under_way.saturating_sub(place.under_way);
        self.waiting = self.waiting.saturating_sub(place.waiting);
        if std::mem::take(&mut place.waiting) > 0 {
            self.no_longer_crowded(number);
        }
        self.places.remove(&number);
        self.deal();
    }

    /// Those whose turn it is come up, once half of all are decided; where so few servers are crowded that each may have all
    /// that one may have, once half of its own are. By then all were heard.
    fn deal(&mut self) {
        let is_few =
            self.window == self.most.in_all && self.crowded * self.most.at_once <= self.most.in_all;
        if is_few || self.under_way <= self.window / 2 {
            while self.under_way < self.window
                && let Some(((round, _), number)) = self.line.pop_first()
                && let Some(place) = self.places.get_mut(&number)
            {
                place.entry = None;
                place.waiting -= 1;
                place.due += 1;
                place.round = round;
                place.called.notify_one();
                self.waiting -= 1;
                self.begun += 1;
                self.begin(number);
                self.no_longer_crowded(number);
                self.line_up(number);
            }
        }
        self.crowd.is(self.waiting);
        if self.under_way + self.waiting == 0 {
            // What somebody had in this storm is forgotten.
            self.since += 1;
            self.round = 0;
            self.window = self.most.at_once.min(self.most.in_all);
        }
    }

    fn begin(&mut self, number: usize) {
        let Some(place) = self.places.get_mut(&number) else { return };
        place.under_way += 1;
        place.is_full |= place.under_way >= self.most.at_once;
        self.round = self.round.max(place.round);
        place.round += 1;
        self.under_way += 1;
    }

    /// Some of its logins wait, and it may have more under way.
    fn line_up(&mut self, number: usize) {
        let round = self.round_of(number);
        let Some(place) = self.places.get_mut(&number) else { return };
        if place.waiting > 0 && !place.is_full && place.entry.is_none() {
            place.round = round;
            place.entry = Some((round, self.entry));
            self.line.insert((round, self.entry), number);
            self.entry += 1;
        }
    }

    fn no_longer_crowded(&mut self, number: usize) {
        let Some(place) = self.places.get_mut(&number).filter(|place| place.waiting == 0) else {
            return;
        };
        if let Some(entry) = place.entry.take() {
            self.line.remove(&entry);
        }
        self.crowded -= 1;
        if self.crowded == 0 {
            self.pace.rest();
        }
    }

    /// Who has had little is ahead of the others, but not for long: it does not make good for a time in which it wanted nothing.
    fn round_of(&mut self, number: usize) -> u64 {
        let round = self.places.get(&number).map_or(self.round, |place| self.round_at(place));
        if let Some(place) = self.places.get_mut(&number) {
            (place.round, place.since) = (round, self.since);
        }
        round
    }

    fn round_at(&self, place: &Place) -> u64 {
        let ahead = u64::try_from(self.most.first).unwrap_or(u64::MAX);
        let own = if place.since == self.since { place.round } else { 0 };
        own.max(self.round.saturating_sub(ahead))
    }

    /// Whether the last of a server that waits does so in vain: by how many come up before it, which those that wait longer
    /// than it at other servers have no part in. So it does not matter who looks first.
    fn is_in_vain(&mut self, number: usize, due: Mono, now: Mono, patience: Duration) -> bool {
        if now - self.rounds.seen >= LOOK || self.rounds.is_empty() {
            self.see_rounds(now);
            self.each_at_best = self.pace.at_best(patience, now);
        }
        let (left, each) = (due - now, self.each_at_best);
        let time = |turns: usize| each.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX));
        if time(self.under_way + self.waiting) <= left {
            return false;
        }
        let Some(place) = self.places.get(&number).filter(|place| place.waiting > 0) else {
            return false;
        };
        let last = self.round_at(place).saturating_add(place.waiting as u64 - 1);
        let before = self.rounds.before(last, place.rank).saturating_sub(self.begun);
        time(self.under_way + before + 1) > left
    }

    fn see_rounds(&mut self, now: Mono) {
        let in_line = self.line.values().copied();
        let is_outside = |place: &Place| place.waiting > 0 && place.entry.is_none();
        let outside = self.places.iter().filter(|(_, place)| is_outside(place));
        let order: Vec<usize> = in_line.chain(outside.map(|(number, _)| *number)).collect();
        let wanted = order.iter().filter_map(|number| self.places.get(number));
        let wanted = wanted.map(|place| (self.round_at(place), place.waiting));
        self.rounds = Rounds::new(now, wanted);
        self.begun = 0;
        for (rank, number) in order.into_iter().enumerate() {
            if let Some(place) = self.places.get_mut(&number) {
                place.rank = rank;
            }
        }
    }

    /// How long one that comes now waits, as far as is known: who is let in at best is refused before long, and with him
    /// all those of his moment.
    fn wait(&self, number: usize, patience: Duration, now: Mono) -> Duration {
        let Some(place) = self.places.get(&number) else { return Duration::ZERO };
        let crowded = self.crowded + usize::from(place.waiting == 0);
        let turns = (self.rounds_of(place) + 1).saturating_mul(crowded) + self.under_way;
        let turns = turns.min(self.under_way + self.waiting + 1);
        self.pace.each(patience, now).saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX))
    }

    /// How many rounds there are until the last of a server comes up.
    fn rounds_of(&self, place: &Place) -> usize {
        let present = self.line.first_key_value().map_or(self.round, |((round, _), _)| *round);
        let rounds = self.round_at(place).saturating_sub(present);
        place.waiting.saturating_add(usize::try_from(rounds).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
