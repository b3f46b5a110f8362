//! Failed logins that daemons tell each other through the database. A core.
//!
//! What happens here is counted at once, and waits to be written; what others have written is counted
//! when it is read. The last seconds are read again, because a row may become visible after a later one
//! and clocks differ.

use std::{
    collections::{HashSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use crate::{
    store::{AuthEvent, AuthEventKind, Lockout, NewAuthEvent},
    types::{DeviceId, Timestamp, Username},
};

use super::throttle::{Limits, MAX_SKEW, Throttle, network};

/// Most that wait to be written while the database is away; the oldest go.
const MOST: usize = 10_000;
/// How far back is read again: by as much another daemon's clock may be behind, and a row may come late.
const OVERLAP: Duration = MAX_SKEW.saturating_add(Duration::from_secs(30));
/// How long nothing is read while nobody logs in: an operator's word is heard all the same.
const QUIET: Duration = Duration::from_secs(5);

/// The throttle, and what is to be told and heard.
#[derive(Debug)]
pub struct Failures {
    throttle: Throttle,
    /// This process, among those that write.
    origin: String,
    waiting: VecDeque<NewAuthEvent>,
    /// How many were ever to be written.
    told: u64,
    lockouts: Vec<Lockout>,
    /// Everything before has been heard.
    heard_until: Option<Timestamp>,
    /// What was heard of the time after.
    heard: HashSet<i64>,
    /// Somebody has logged in since.
    is_asked: bool,
}

impl Failures {
    /// `origin`: 16 characters that no other process has.
    pub fn new(limits: Limits, origin: String) -> Self {
        Self {
            throttle: Throttle::new(limits),
            origin,
            waiting: VecDeque::new(),
            told: 0,
            lockouts: Vec::new(),
            heard_until: None,
            heard: HashSet::new(),
            is_asked: false,
        }
    }

    /// Whether this login has to wait.
    pub fn is_throttled(
        &mut self,
        user: Option<&Username>,
        ip: Option<IpAddr>,
        now: Timestamp,
    ) -> bool {
        self.is_asked = true;
        self.throttle.is_throttled(user, ip, now)
    }

    /// A login has failed.
    pub fn failed(&mut self, user: Option<&Username>, ip: Option<IpAddr>, now: Timestamp) {
        self.count(user, ip, now);
        self.tell(AuthEventKind::Failed, user, ip, now);
    }

    /// Whether this user's logins have to wait where he was not lately.
    pub fn is_throttled_elsewhere(&self, user: &Username, now: Timestamp) -> bool {
        self.throttle.is_throttled_elsewhere(user, now)
    }

    /// A login has failed by its device. The same one again is no new guess.
    pub fn failed_device(
        &mut self,
        user: &Username,
        ip: Option<IpAddr>,
        device: &DeviceId,
        now: Timestamp,
    ) {
        if self.throttle.is_another_device(user, ip, device) {
            self.count_device(user, ip, now);
            self.tell(AuthEventKind::FailedDevice, Some(user), ip, now);
        }
    }

    /// Whether a one-time code of this user has to wait.
    pub fn is_code_throttled(&self, user: &Username, now: Timestamp) -> bool {
        self.throttle.is_code_throttled(user, now)
    }

    /// A login has failed by its one-time code.
    pub fn failed_code(&mut self, user: &Username, ip: Option<IpAddr>, now: Timestamp) {
        self.count_code(user, ip, now);
        self.tell(AuthEventKind::FailedCode, Some(user), ip, now);
    }

    /// A password was right.
    pub fn succeeded(&mut self, user: &Username, ip: Option<IpAddr>, now: Timestamp) {
        if self.throttle.succeeded(user, ip) {
            self.tell(AuthEventKind::Forgiven, Some(user), ip, now);
        }
    }

    fn count(&mut self, user: Option<&Username>, ip: Option<IpAddr>, at: Timestamp) {
        let lockouts = self.throttle.failed(user, ip, at);
        if self.lockouts.len() < MOST {
            self.lockouts.extend(lockouts);
        }
    }

    fn count_device(&mut self, user: &Username, ip: Option<IpAddr>, at: Timestamp) {
        let lockout = self.throttle.failed_device(user, ip, at);
        self.lockouts.extend(lockout.filter(|_| self.lockouts.len() < MOST));
    }

    fn count_code(&mut self, user: &Username, ip: Option<IpAddr>, at: Timestamp) {
        self.count(Some(user), ip, at);
        let lockout = self.throttle.failed_code(user, at);
        self.lockouts.extend(lockout.filter(|_| self.lockouts.len() < MOST));
    }

    fn tell(
        &mut self,
        kind: AuthEventKind,
        user: Option<&Username>,
        ip: Option<IpAddr>,
        at: Timestamp,
    ) {
        if self.waiting.len() >= MOST {
            self.waiting.pop_front();
        }
        let (user, network) = (user.cloned(), ip.map(network));
        self.told += 1;
        let serial = Some(self.told);
        self.waiting.push_back(NewAuthEvent { kind, user, network, at, serial });
    }

    /// This process, as it signs what it writes.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What is to be written, at most so many; given back by [`Self::keep`] when that failed.
    pub fn take(&mut self, most: usize) -> Vec<NewAuthEvent> {
        let count = self.waiting.len().min(most);
        self.waiting.drain(..count).collect()
    }

    /// It could not be written.
    pub fn keep(&mut self, events: Vec<NewAuthEvent>) {
        for event in events.into_iter().rev() {
            if self.waiting.len() < MOST {
                self.waiting.push_front(event);
            }
        }
    }

    /// Whether there is something to tell or, because somebody logs in or after a while, to hear.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let is_fresh = self.heard_until.is_some_and(|until| {
            now.saturating_since(until) < QUIET && until.saturating_since(now) < QUIET
        });
        self.is_asked || !is_fresh || self.has_news()
    }

    /// Whether there is something to tell.
    pub fn has_news(&self) -> bool {
        !self.waiting.is_empty() || !self.lockouts.is_empty()
    }

    /// From when on to read what others have written: at first all that counts.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        let window = now.saturating_sub(self.throttle.window());
        self.heard_until.map_or(window, |until| until.saturating_sub(OVERLAP).max(window))
    }

    /// What was read from [`Self::since`] on, oldest first.
    pub fn hear(&mut self, events: &[AuthEvent], now: Timestamp) {
        let known = std::mem::take(&mut self.heard);
        for event in events.iter().filter(|event| !known.contains(&event.id)) {
            let (user, ip) = (event.user.as_ref(), event.network);
            match (event.kind, user) {
                (AuthEventKind::Failed, _) => self.count(user, ip, event.at),
                (AuthEventKind::FailedCode, Some(user)) => self.count_code(user, ip, event.at),
                (AuthEventKind::FailedDevice, Some(user)) => {
                    self.count_device(user, ip, event.at);
                }
                (AuthEventKind::Forgiven, Some(user)) => {
                    self.throttle.succeeded(user, ip);
                }
                (
                    AuthEventKind::Forgiven
                    | AuthEventKind::FailedCode
                    | AuthEventKind::FailedDevice,
                    None,
                ) => {}
                (AuthEventKind::Cleared, _) => self.throttle.clear(user, ip),
            }
        }
        self.is_asked = false;
        self.heard = events.iter().map(|event| event.id).collect();
        self.heard_until = Some(now);
    }

    /// Who has to wait since the last call, and still has to.
    pub fn take_lockouts(&mut self, now: Timestamp) -> Vec<Lockout> {
        let mut lockouts = std::mem::take(&mut self.lockouts);
        lockouts.retain(|lockout| lockout.until > now);
        lockouts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(900);
    const LIMITS: Limits = Limits {
        user_failures: 3,
        address_failures: 5,
        everywhere_failures: 7,
        code_failures: 2,
        window: WINDOW,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + seconds)
    }

    fn here() -> Option<IpAddr> {
        Some([192, 0, 2, 1].into())
    }

    fn alice() -> Username {
        "alice".parse().unwrap()
    }

    /// What one has written, as another reads it.
    fn read(events: &[NewAuthEvent], first: i64) -> Vec<AuthEvent> {
        let event = |(id, new): (i64, &NewAuthEvent)| {
            let NewAuthEvent { kind, user, network, at, serial: _ } = new.clone();
            AuthEvent { id, kind, user, network, at }
        };
        (first..).zip(events).map(event).collect()
    }

    fn failures(origin: &str) -> Failures {
        Failures::new(LIMITS, origin.into())
    }

    #[test]
    fn daemons_count_together_and_each_failure_once() {
        let (mut one, mut two) = (failures("one"), failures("two"));
        for second in 0..2 {
            one.failed(Some(&alice()), here(), at(second));
        }
        let told = read(&one.take(10), 1);
        assert_eq!((told.len(), one.take(10)), (2, vec![]));
        for now in [5, 10] {
            assert!(two.since(at(now)) <= told[0].at, "the last seconds are read again");
            two.hear(&told, at(now));
        }
        assert!(!two.is_throttled(Some(&alice()), here(), at(11)));
        two.failed(Some(&alice()), here(), at(11));
        assert!(two.is_throttled(Some(&alice()), here(), at(11)));
        let lockouts = two.take_lockouts(at(11));
        assert_eq!((lockouts.len(), lockouts[0].failures, lockouts[0].until), (1, 3, at(900)));
        assert!(two.take_lockouts(at(11)).is_empty());
        let told = read(&two.take(10), 3);
        one.hear(&told, at(12));
        assert!(one.is_throttled(Some(&alice()), here(), at(12)));
    }

    #[test]
    fn while_nobody_logs_in_others_are_heard_only_now_and_then() {
        let mut failures = failures("one");
        assert!(failures.is_due(at(0)), "before the first login");
        failures.hear(&[], at(0));
        assert!(!failures.is_due(at(1)));
        assert!(failures.is_due(at(5)));
        assert!(failures.is_due(at(-5)), "the clock was set back");
        failures.is_throttled(None, here(), at(1));
        assert!(failures.is_due(at(2)), "somebody has logged in");
        failures.hear(&[], at(2));
        assert!(!failures.is_due(at(3)));
        failures.failed(None, here(), at(3));
        assert!(failures.is_due(at(3)), "there is something to tell");
    }

    #[test]
    fn a_restart_forgets_nothing_that_counts() {
        let mut old = failures("old");
        for second in [0, 700, 701] {
            old.failed(Some(&alice()), here(), at(second));
        }
        let told = read(&old.take(10), 1);
        let mut new = failures("new");
        assert_eq!(new.since(at(800)), at(-100), "a whole window");
        new.hear(&told, at(800));
        assert!(new.is_throttled(Some(&alice()), here(), at(899)));
        assert!(!new.is_throttled(Some(&alice()), here(), at(900)), "not a second longer");
        assert!(new.take_lockouts(at(900)).is_empty(), "nobody is told of what is over");
    }

    #[test]
    fn a_right_password_and_an_operator_are_heard_too() {
        let (mut one, mut two) = (failures("one"), failures("two"));
        one.succeeded(&alice(), here(), at(0));
        assert_eq!(one.take(10), [], "there was nothing to forget");
        for _ in 0..3 {
            one.failed(Some(&alice()), here(), at(0));
        }
        two.hear(&read(&one.take(10), 1), at(1));
        one.succeeded(&alice(), here(), at(2));
        two.hear(&read(&one.take(10), 4), at(3));
        assert!(!two.is_throttled(Some(&alice()), here(), at(3)));
        for _ in 0..5 {
            two.failed(None, here(), at(4));
        }
        assert!(two.is_throttled(None, here(), at(5)));
        let (kind, network) = (AuthEventKind::Cleared, here());
        let cleared = NewAuthEvent { kind, user: None, network, at: at(6), serial: None };
        two.hear(&read(&[cleared], 9), at(7));
        assert!(!two.is_throttled(None, here(), at(7)));
    }

    #[test]
    fn what_a_daemon_writes_whose_clock_is_behind_is_heard() {
        let mut one = failures("one");
        let mut two = failures("two");
        two.hear(&[], at(100));
        // Its clock is behind by as much as counts.
        one.failed(Some(&alice()), here(), at(40));
        let told = read(&one.take(10), 1);
        assert!(two.since(at(101)) <= told[0].at);
    }

    #[test]
    fn each_event_has_its_own_number_and_keeps_it() {
        let mut failures = failures("one");
        for second in 0..3 {
            failures.failed(None, here(), at(second));
        }
        let first = failures.take(2);
        failures.keep(first.clone());
        assert_eq!(failures.take(2), first);
        let serials: Vec<_> =
            first.iter().chain(&failures.take(9)).map(|event| event.serial).collect();
        assert_eq!(serials, [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn guesses_of_devices_count_on_all_daemons_and_the_same_one_again_does_not() {
        let (mut one, mut two) = (failures("one"), failures("two"));
        let device = |number: u32| DeviceId::parse(&format!("02:00:00:00:00:0{number}")).unwrap();
        for _ in 0..9 {
            one.failed_device(&alice(), here(), &device(1), at(0));
        }
        assert!(!one.is_throttled(Some(&alice()), here(), at(0)), "who tries again");
        for number in 2..4 {
            one.failed_device(&alice(), here(), &device(number), at(1));
        }
        assert!(one.is_throttled(Some(&alice()), here(), at(1)));
        assert!(
            !one.is_throttled(Some(&"bob".parse().unwrap()), here(), at(1)),
            "nobody else there"
        );
        two.hear(&read(&one.take(20), 1), at(2));
        assert!(two.is_throttled(Some(&alice()), here(), at(2)));
        assert!(!two.is_throttled(Some(&alice()), None, at(2)));
    }

    #[test]
    fn wrong_codes_count_on_all_daemons_together() {
        let (mut one, mut two) = (failures("one"), failures("two"));
        one.failed_code(&alice(), here(), at(0));
        two.hear(&read(&one.take(10), 1), at(1));
        assert!(!two.is_code_throttled(&alice(), at(1)));
        two.failed_code(&alice(), Some([192, 0, 2, 2].into()), at(1));
        assert!(two.is_code_throttled(&alice(), at(1)));
        assert_eq!(two.take_lockouts(at(1)).len(), 1);
    }

    #[test]
    fn what_could_not_be_written_waits_in_its_order_and_is_bounded() {
        let mut failures = failures("one");
        for second in 0..4 {
            failures.failed(None, here(), at(second));
        }
        let taken = failures.take(3);
        failures.keep(taken);
        let seconds: Vec<_> = failures.take(10).iter().map(|event| event.at).collect();
        assert_eq!(seconds, [at(0), at(1), at(2), at(3)]);
        for second in 0..MOST as i64 + 5 {
            failures.failed(None, here(), at(second));
        }
        assert_eq!(failures.take(usize::MAX).len(), MOST);
    }
}
