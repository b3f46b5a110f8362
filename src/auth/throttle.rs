//! Guessing made slow: failed logins counted per user and address, and per address. A core.
//!
//! A user is held back at the address where the failures came from, so that a stranger
//! cannot lock somebody out from everywhere. Very many failures from wherever they come, and wrong one-time
//! codes, which have six digits only, hold a user back at all addresses but those where he lately was; that is for the
//! shell to look up. Memory is bounded; the oldest counts go first. Counts are
//! in UTC, because they outlive the process and come from other daemons (`failures`).

use std::{collections::HashMap, hash::Hash, net::IpAddr, time::Duration};

use crate::{
    store::Lockout,
    types::{DeviceId, LockoutScope, Timestamp, Username},
};

/// Largest number of counters of one kind.
const MAX_ENTRIES: usize = 65_536;
/// By how much a failure may lie in the future: another daemon's clock. More is a clock that was set.
pub(super) const MAX_SKEW: Duration = Duration::from_secs(60);

/// The limits; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Failures of one user from one address in a window.
    pub user_failures: u32,
    /// Failures from one address in a window.
    pub address_failures: u32,
    /// Failures of one user, from anywhere, in a window.
    pub everywhere_failures: u32,
    /// Wrong one-time codes of one user, from anywhere, in a window.
    pub code_failures: u32,
    /// The window, from the first failure.
    pub window: Duration,
}

/// Counts of failed logins.
#[derive(Debug)]
pub struct Throttle {
    limits: Limits,
    by_user: HashMap<(Username, Option<IpAddr>), Count>,
    by_address: HashMap<IpAddr, Count>,
    by_name: HashMap<Username, Count>,
    by_code: HashMap<Username, Count>,
    /// Which device of a user was last refused where.
    refused: HashMap<(Username, Option<IpAddr>), DeviceId>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    since: Timestamp,
}

impl Count {
    /// Who has to wait by just this failure.
    fn lockout(
        self,
        limit: u32,
        window: Duration,
        user: Option<&Username>,
        network: Option<IpAddr>,
    ) -> Option<Lockout> {
        let Self { failures, since } = self;
        let (user, until) = (user.cloned(), since.saturating_add(window));
        let lockout = Lockout { user, scope: LockoutScope::Login, network, failures, since, until };
        (failures == limit).then_some(lockout)
    }
}

impl Throttle {
    /// No failures yet.
    pub fn new(limits: Limits) -> Self {
        let (by_user, by_address, by_name, by_code, refused) = Default::default();
        Self { limits, by_user, by_address, by_name, by_code, refused }
    }

    /// The time in which failures count.
    pub const fn window(&self) -> Duration {
        self.limits.window
    }

    /// Whether this login has to wait.
    pub fn is_throttled(
        &self,
        user: Option<&Username>,
        ip: Option<IpAddr>,
        now: Timestamp,
    ) -> bool {
        let ip = ip.map(network);
        let full = |count: Option<&Count>, limit: u32| {
            limit > 0
                && count
                    .is_some_and(|c| c.failures >= limit && !is_over(c, self.limits.window, now))
        };
        user.is_some_and(|user| {
            full(self.by_user.get(&(user.clone(), ip)), self.limits.user_failures)
        }) || ip.is_some_and(|ip| full(self.by_address.get(&ip), self.limits.address_failures))
    }

    /// Counts a failed login; who has to wait from now on. Only wrong credentials count, never a fault of ours.
    pub fn failed(
        &mut self,
        user: Option<&Username>,
        ip: Option<IpAddr>,
        at: Timestamp,
    ) -> Vec<Lockout> {
        let network = ip.map(network);
        let Limits { user_failures, address_failures, everywhere_failures, window, .. } =
            self.limits;
        let mut lockouts = Vec::new();
        if let Some(user) = user {
            let here = count(&mut self.by_user, (user.clone(), network), window, at);
            lockouts.extend(here.lockout(user_failures, window, Some(user), network));
            let all = count(&mut self.by_name, user.clone(), window, at);
            let lockout = all.lockout(everywhere_failures, window, Some(user), None);
            lockouts.extend(lockout.map(|held| Lockout { scope: LockoutScope::Elsewhere, ..held }));
        }
        if let Some(ip) = network {
            let count = count(&mut self.by_address, ip, window, at);
            lockouts.extend(count.lockout(address_failures, window, None, network));
        }
        lockouts
    }

    /// Whether a device is another than the one of this user that was last refused there; from now on it is the last.
    pub fn is_another_device(
        &mut self,
        user: &Username,
        ip: Option<IpAddr>,
        device: &DeviceId,
    ) -> bool {
        if self.refused.len() >= MAX_ENTRIES {
            self.refused.clear();
        }
        let last = self.refused.insert((user.clone(), ip.map(network)), device.clone());
        last.as_ref() != Some(device)
    }

    /// Counts a login whose device is not registered, for its user there only: many people at one address may have
    /// new devices.
    pub fn failed_device(
        &mut self,
        user: &Username,
        ip: Option<IpAddr>,
        at: Timestamp,
    ) -> Option<Lockout> {
        let (network, Limits { user_failures, window, .. }) = (ip.map(network), self.limits);
        let here = count(&mut self.by_user, (user.clone(), network), window, at);
        here.lockout(user_failures, window, Some(user), network)
    }

    /// Whether this user has to wait where he was not lately.
    pub fn is_throttled_elsewhere(&self, user: &Username, now: Timestamp) -> bool {
        let Limits { everywhere_failures, window, .. } = self.limits;
        let is_full = |c: &Count| c.failures >= everywhere_failures && !is_over(c, window, now);
        everywhere_failures > 0 && self.by_name.get(user).is_some_and(is_full)
    }

    /// Whether a one-time code of this user has to wait where he was not lately.
    pub fn is_code_throttled(&self, user: &Username, now: Timestamp) -> bool {
        let Limits { code_failures, window, .. } = self.limits;
        let is_full = |c: &Count| c.failures >= code_failures && !is_over(c, window, now);
        code_failures > 0 && self.by_code.get(user).is_some_and(is_full)
    }

    /// Counts a wrong one-time code, beside [`Self::failed`]. A right one does not forgive others:
    /// who has the password goes on guessing meanwhile.
    pub fn failed_code(&mut self, user: &Username, at: Timestamp) -> Option<Lockout> {
        let Limits { code_failures, window, .. } = self.limits;
        let count = count(&mut self.by_code, user.clone(), window, at);
        let lockout = count.lockout(code_failures, window, Some(user), None);
        lockout.map(|held| Lockout { scope: LockoutScope::Code, ..held })
    }

    /// Forgets the failures of a user at an address: the password was right. Whether there were any.
    pub fn succeeded(&mut self, user: &Username, ip: Option<IpAddr>) -> bool {
        self.by_user.remove(&(user.clone(), ip.map(network))).is_some()
    }

    /// Forgets what an operator says: all failures of a user, those at an address, or those of the
    /// user there.
    pub fn clear(&mut self, user: Option<&Username>, ip: Option<IpAddr>) {
        let ip = ip.map(network);
        self.by_user.retain(|(name, at), _| {
            let is_meant = user.is_none_or(|user| user == name) && (ip.is_none() || ip == *at);
            !is_meant
        });
        if ip.is_none() {
            self.by_code.retain(|name, _| user.is_some_and(|user| user != name));
            self.by_name.retain(|name, _| user.is_some_and(|user| user != name));
        }
        if user.is_none() {
            self.by_address.retain(|at, _| ip.is_some_and(|ip| ip != *at));
        }
    }
}

/// What one person has: an IPv4 address, or the /64 of an IPv6 one.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
        ip @ IpAddr::V4(_) => ip,
    }
}

/// The window is over, or the clock was set back since.
fn is_over(count: &Count, window: Duration, now: Timestamp) -> bool {
    now.saturating_since(count.since) >= window || count.since.saturating_since(now) > MAX_SKEW
}

fn count<K: Hash + Eq>(
    map: &mut HashMap<K, Count>,
    key: K,
    window: Duration,
    at: Timestamp,
) -> Count {
    if map.len() >= MAX_ENTRIES && !map.contains_key(&key) {
        map.retain(|_, c| !is_over(c, window, at));
        if map.len() >= MAX_ENTRIES {
            // All are fresh: drop the half with the fewest failures rather than grow.
            let mut failures: Vec<u32> = map.values().map(|c| c.failures).collect();
            let (_, median, _) = failures.select_nth_unstable(MAX_ENTRIES / 2);
            let median = *median;
            // Of those with as many as the median one, as many as still fit.
            let mut room = MAX_ENTRIES / 2 - map.values().filter(|c| c.failures > median).count();
            map.retain(|_, c| {
                let fits = c.failures == median && room > 0;
                room -= usize::from(fits);
                fits || c.failures > median
            });
        }
    }
    let count = map.entry(key).or_insert(Count { failures: 0, since: at });
    if is_over(count, window, at) {
        *count = Count { failures: 0, since: at };
    }
    count.failures = count.failures.saturating_add(1);
    *count
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(900);
    const LIMITS: Limits = Limits {
        user_failures: 3,
        address_failures: 5,
        everywhere_failures: 7,
        code_failures: 4,
        window: WINDOW,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn a_user_is_held_back_only_where_the_failures_came_from() {
        let mut throttle = Throttle::new(LIMITS);
        let alice: Username = "alice".parse().unwrap();
        let (here, there) = (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
        for _ in 0..3 {
            assert!(!throttle.is_throttled(Some(&alice), here, at(0)));
            throttle.failed(Some(&alice), here, at(0));
        }
        assert!(throttle.is_throttled(Some(&alice), here, at(899)));
        assert!(!throttle.is_throttled(Some(&alice), there, at(899)));
        assert!(!throttle.is_throttled(Some(&alice), here, at(900)));
    }

    #[test]
    fn an_address_is_held_back_over_all_users_and_success_forgives_the_user() {
        let mut throttle = Throttle::new(LIMITS);
        let here = Some([192, 0, 2, 1].into());
        let alice: Username = "alice".parse().unwrap();
        throttle.failed(Some(&alice), here, at(0));
        throttle.failed(Some(&alice), here, at(0));
        throttle.succeeded(&alice, here);
        throttle.failed(Some(&alice), here, at(1));
        assert!(!throttle.is_throttled(Some(&alice), here, at(1)));
        for n in 0..2 {
            throttle.failed(format!("user{n}").parse().ok().as_ref(), here, at(2));
        }
        assert!(throttle.is_throttled(Some(&"bob".parse().unwrap()), here, at(3)));
        assert!(throttle.is_throttled(None, here, at(3)));
    }

    #[test]
    fn very_many_failures_from_anywhere_hold_a_user_back_elsewhere_and_a_success_forgives_none() {
        let mut throttle = Throttle::new(LIMITS);
        let (alice, bob): (Username, _) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let mut told = Vec::new();
        for host in 0..7 {
            assert!(!throttle.is_throttled_elsewhere(&alice, at(0)));
            let there = Some([198, 51, 100, host].into());
            told.extend(throttle.failed(Some(&alice), there, at(0)));
            throttle.succeeded(&alice, there);
        }
        let [held] = &told[..] else { panic!("{told:?}") };
        assert_eq!((held.scope, held.network, held.failures), (LockoutScope::Elsewhere, None, 7));
        assert!(throttle.is_throttled_elsewhere(&alice, at(899)));
        assert!(!throttle.is_throttled_elsewhere(&bob, at(899)));
        assert!(!throttle.is_throttled_elsewhere(&alice, at(900)));
        throttle.clear(Some(&alice), Some([198, 51, 100, 1].into()));
        assert!(throttle.is_throttled_elsewhere(&alice, at(1)));
        throttle.clear(Some(&alice), None);
        assert!(!throttle.is_throttled_elsewhere(&alice, at(1)));
        let mut throttle = Throttle::new(Limits { everywhere_failures: 0, ..LIMITS });
        throttle.failed(Some(&alice), None, at(0));
        assert!(!throttle.is_throttled_elsewhere(&alice, at(0)));
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let mut throttle = Throttle::new(LIMITS);
        let ip = |text: &str| Some(text.parse().unwrap());
        for host in 0..5 {
            throttle.failed(None, ip(&format!("2001:db8::{host}")), at(0));
        }
        assert!(throttle.is_throttled(None, ip("2001:db8::ffff"), at(0)));
        assert!(!throttle.is_throttled(None, ip("2001:db8:0:1::1"), at(0)));
        for _ in 0..5 {
            throttle.failed(None, ip("::ffff:192.0.2.1"), at(0));
        }
        assert!(throttle.is_throttled(None, ip("192.0.2.1"), at(0)));
    }

    #[test]
    fn wrong_codes_of_a_user_count_from_everywhere_and_are_not_forgiven() {
        let mut throttle = Throttle::new(LIMITS);
        let (alice, bob): (Username, _) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let mut told = Vec::new();
        for host in 0..4 {
            assert!(!throttle.is_code_throttled(&alice, at(0)));
            let here = Some([192, 0, 2, host].into());
            throttle.failed(Some(&alice), here, at(0));
            told.extend(throttle.failed_code(&alice, at(0)));
            throttle.succeeded(&alice, here);
        }
        assert_eq!((told.len(), told[0].network, told[0].failures), (1, None, 4));
        assert!(throttle.is_code_throttled(&alice, at(899)));
        let is_held = throttle.is_throttled(Some(&alice), None, at(899));
        assert!(!is_held, "her password is not held back");
        assert!(!throttle.is_code_throttled(&bob, at(899)));
        assert!(!throttle.is_code_throttled(&alice, at(900)));
        throttle.clear(Some(&bob), None);
        throttle.clear(Some(&alice), Some([192, 0, 2, 1].into()));
        assert!(throttle.is_code_throttled(&alice, at(1)));
        throttle.clear(Some(&alice), None);
        assert!(!throttle.is_code_throttled(&alice, at(1)));
        let mut throttle = Throttle::new(Limits { code_failures: 0, ..LIMITS });
        assert_eq!(throttle.failed_code(&alice, at(0)), None);
        assert!(!throttle.is_code_throttled(&alice, at(0)));
    }

    #[test]
    fn zero_switches_a_limit_off() {
        let mut throttle =
            Throttle::new(Limits { user_failures: 0, address_failures: 0, ..LIMITS });
        let here = Some([192, 0, 2, 1].into());
        for _ in 0..100 {
            throttle.failed(None, here, at(0));
        }
        assert!(!throttle.is_throttled(None, here, at(0)));
    }

    #[test]
    fn memory_is_bounded_and_the_busiest_are_kept() {
        let mut map = HashMap::new();
        let window = Duration::from_secs(900);
        for _ in 0..9 {
            count(&mut map, u64::MAX, window, at(0));
        }
        for key in 0..2 * MAX_ENTRIES as u64 {
            count(&mut map, key, window, at(1));
        }
        assert!((MAX_ENTRIES / 2..=MAX_ENTRIES).contains(&map.len()));
        assert_eq!(map.get(&u64::MAX).map(|c| c.failures), Some(9));
    }

    #[test]
    fn who_has_to_wait_is_told_once() {
        let mut throttle = Throttle::new(LIMITS);
        let alice: Username = "alice".parse().unwrap();
        let here = Some([192, 0, 2, 1].into());
        let mut found = Vec::new();
        for second in 0..6 {
            found.extend(throttle.failed(Some(&alice), here, at(second)));
        }
        let lockout = |user: Option<&Username>, failures| Lockout {
            user: user.cloned(),
            scope: LockoutScope::Login,
            network: here,
            failures,
            since: at(0),
            until: at(900),
        };
        assert_eq!(found, [lockout(Some(&alice), 3), lockout(None, 5)]);
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nobody_back_for_long() {
        let mut throttle = Throttle::new(LIMITS);
        let (alice, here) = ("alice".parse().unwrap(), Some([192, 0, 2, 1].into()));
        for _ in 0..3 {
            throttle.failed(Some(&alice), here, at(7_200));
        }
        assert!(throttle.is_throttled(Some(&alice), here, at(7_190)), "another daemon's clock");
        assert!(!throttle.is_throttled(Some(&alice), here, at(0)));
        throttle.failed(Some(&alice), here, at(0));
        assert!(!throttle.is_throttled(Some(&alice), here, at(1)));
    }

    #[test]
    fn an_operator_clears_a_user_an_address_or_both() {
        let (alice, bob) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let (here, there) = (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
        let full = || {
            let mut throttle = Throttle::new(LIMITS);
            for _ in 0..5 {
                for user in [&alice, &bob] {
                    for ip in [here, there] {
                        throttle.failed(Some(user), ip, at(0));
                    }
                }
            }
            throttle
        };
        let held = |throttle: &Throttle| {
            let held = |user, ip| throttle.is_throttled(user, ip, at(1));
            [
                held(Some(&alice), None) || throttle.by_user.contains_key(&(alice.clone(), here)),
                throttle.by_user.contains_key(&(alice.clone(), there)),
                throttle.by_user.contains_key(&(bob.clone(), here)),
                held(None, here),
                held(None, there),
            ]
        };
        let mut throttle = full();
        throttle.clear(Some(&alice), None);
        assert_eq!(held(&throttle), [false, false, true, true, true]);
        let mut throttle = full();
        throttle.clear(Some(&alice), here);
        assert_eq!(held(&throttle), [false, true, true, true, true]);
        let mut throttle = full();
        throttle.clear(None, here);
        assert_eq!(held(&throttle), [false, true, false, false, true]);
        let mut throttle = full();
        throttle.clear(None, None);
        assert_eq!(held(&throttle), [false; 5]);
    }
}
