//! What is done to whom and when: it follows from the seed alone.

use std::{collections::HashMap, fmt, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hit {
    Daemon,
    Database,
    /// The database, and while it is away the daemon.
    Both,
    /// One OpenVPN server, the number is taken modulo their count.
    Server(u32),
    Servers,
    /// A node of a cluster: the one in use, or that of the number.
    Node(Option<u32>),
    /// The node in use, and while it is away the daemon.
    NodeAndDaemon,
    /// Of three nodes the one in use is parted, and while it is, another killed: the one that comes so many after it.
    NodeThenAnother(u32),
    /// Of three nodes another is parted, and while it is, the one in use killed.
    AnotherThenNode(u32),
}

impl Hit {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Database => "database",
            Self::Both => "database_and_daemon",
            Self::Server(_) => "one_server",
            Self::Servers => "all_servers",
            Self::Node(None) => "node_in_use",
            Self::Node(Some(_)) => "node",
            Self::NodeAndDaemon => "node_in_use_and_daemon",
            Self::NodeThenAnother(_) => "node_in_use_then_another_killed",
            Self::AnotherThenNode(_) => "node_then_the_one_in_use_killed",
        }
    }
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// SIGKILL; it is started again.
    Kill,
    /// SIGSTOP; it goes on.
    Stop,
    /// It runs for a quarter of the time.
    Slow,
    /// It takes no writes.
    ReadOnly,
    /// It takes one connection.
    Crowded,
    /// All connections are cut, whatever goes on on them.
    Cut,
    /// There is no byte left on its disk.
    Full,
    /// Another program file takes its place: SIGTERM, and the new one at once.
    Replace,
    /// The schema is migrated by the newest program while the older one serves; then that is replaced, for good.
    Upgrade,
    /// It loses the others without a word; its clients still reach it.
    Part,
    /// Nobody reaches it any more, without a word.
    Hide,
}

impl How {
    const OF_DATABASE: [Self; 7] =
        [Self::Kill, Self::Stop, Self::Slow, Self::ReadOnly, Self::Crowded, Self::Cut, Self::Full];
    const OF_OTHERS: [Self; 2] = [Self::Kill, Self::Stop];
    const OF_DAEMON: [Self; 3] = [Self::Kill, Self::Stop, Self::Replace];
    const OF_NODES: [Self; 3] = [Self::Kill, Self::Part, Self::Hide];
    /// Of the first of two nodes.
    const OF_TWO: [Self; 2] = [Self::Part, Self::Hide];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::Stop => "stopped",
            Self::Slow => "slow",
            Self::ReadOnly => "read_only",
            Self::Crowded => "crowded",
            Self::Cut => "cut",
            Self::Full => "disk_full",
            Self::Replace => "replaced",
            Self::Upgrade => "upgraded",
            Self::Part => "parted",
            Self::Hide => "hidden",
        }
    }
}

/// So many faults of every kind have each kind of the database's and of the daemon's.
pub const EACH_KIND: usize = 25;

/// What is done to whom, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// How long all is left alone before it.
    pub rest: Duration,
    pub hit: Hit,
    pub how: How,
    pub away: Duration,
    /// Of two that are hit: when the second is killed, and for how long it is away.
    pub second: (Duration, Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = match self.hit {
            Hit::Server(number)
            | Hit::Node(Some(number))
            | Hit::NodeThenAnother(number)
            | Hit::AnotherThenNode(number) => format!(" {number}"),
            Hit::Daemon
            | Hit::Database
            | Hit::Both
            | Hit::Servers
            | Hit::Node(None)
            | Hit::NodeAndDaemon => String::new(),
        };
        let (hit, how) = (self.hit.word(), self.how.word());
        write!(f, "{hit}{server} {how} for {} ms", self.away.as_millis())?;
        let second = match self.hit {
            Hit::Both | Hit::NodeAndDaemon => "daemon",
            Hit::NodeThenAnother(_) | Hit::AnotherThenNode(_) => "second",
            Hit::Daemon | Hit::Database | Hit::Server(_) | Hit::Servers | Hit::Node(_) => {
                return Ok(());
            }
        };
        let (after, away) = self.second;
        write!(f, ", the {second} {} ms later for {} ms", after.as_millis(), away.as_millis())
    }
}

/// Which faults there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// SIGKILL only.
    Kills,
    /// Whatever a victim can suffer.
    All,
    /// The same, but the daemon's process stays the same.
    AllButOurEnd,
}

/// So many faults of a cluster: of ten, five are of the node in use and one of another, one of these together
/// with the daemon, two are of two nodes at once, one of a server of OpenVPN. The first ten are each kind.
pub fn of_cluster(seed: u64, count: usize, servers: u32) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut one = [Hit::NodeAndDaemon, Hit::Node(Some(0))]
        .map(|hit| (hit, How::OF_NODES[random.random_range(0..How::OF_NODES.len())]))
        .to_vec();
    one.extend(How::OF_NODES.map(|how| (Hit::Node(None), how)));
    one.push((Hit::Server(0), How::Kill));
    let two = [Hit::NodeThenAnother(0), Hit::AnotherThenNode(0)];
    let mut deck = one;
    deck.extend(two.iter().flat_map(|hit| How::OF_TWO.map(|how| (*hit, how))));
    deck.shuffle(&mut random);
    let mut plan = Vec::with_capacity(count);
    while plan.len() < count {
        let (hit, how) = deck.pop().unwrap_or_else(|| {
            let hits = [Hit::Node(None); 5];
            let hits = hits.into_iter().chain([Hit::NodeAndDaemon, Hit::Node(Some(0))]);
            let mut of = |hows: &[How]| hows[random.random_range(0..hows.len())];
            deck = hits.map(|hit| (hit, of(&How::OF_NODES))).collect();
            deck.extend(two.map(|hit| (hit, of(&How::OF_TWO))));
            deck.push((Hit::Server(0), How::Kill));
            deck.shuffle(&mut random);
            deck.pop().unwrap_or((Hit::Node(None), How::Kill))
        });
        let mut number = |of| random.random_range(0..of);
        let hit = match hit {
            Hit::Server(_) => Hit::Server(number(servers)),
            Hit::Node(Some(_)) => Hit::Node(Some(number(3) + 1)),
            Hit::NodeThenAnother(_) => Hit::NodeThenAnother(number(2) + 1),
            Hit::AnotherThenNode(_) => Hit::AnotherThenNode(number(2) + 1),
            hit @ (Hit::Daemon
            | Hit::Database
            | Hit::Both
            | Hit::Servers
            | Hit::Node(None)
            | Hit::NodeAndDaemon) => hit,
        };
        let mut within = |from, to| Duration::from_millis(random.random_range::<u64, _>(from..to));
        // All logins are to be seen to be back before the next.
        let rest = within(2_000, 6_000);
        let mut away = within(500, 15_000);
        let mut second = (within(0, 3_000), within(50, 3_000));
        if matches!(hit, Hit::NodeThenAnother(_) | Hit::AnotherThenNode(_)) {
            // Before and after the others know that the first is away, and each may come back first.
            second = (within(0, 8_000), within(500, 25_000));
            away = second.0 + within(500, 25_000);
        }
        plan.push(Fault { rest, hit, how, away, second });
    }
    plan
}

/// So many faults. Of ten, three are the daemon's and three the database's, two a server's; one hits all servers
/// and one both the database and the daemon; the first five are one of each. Those of both are kills.
pub fn faults(
    seed: u64,
    count: usize,
    servers: u32,
    has_database: bool,
    wanted: Kinds,
) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    // The part that belongs to every run of the tests.
    let is_short = count <= EACH_KIND;
    let mut deck = Vec::new();
    let mut hows = HashMap::<_, Vec<How>>::new();
    let mut plan = Vec::with_capacity(count);
    while plan.len() < count {
        let hit = deck.pop().unwrap_or_else(|| {
            let mut rest = vec![Hit::Daemon, Hit::Daemon, Hit::Server(0)];
            let mut each = vec![Hit::Daemon, Hit::Server(0), Hit::Servers];
            if has_database {
                rest.extend([Hit::Database; 2]);
                each.push(Hit::Database);
                if wanted != Kinds::AllButOurEnd {
                    each.push(Hit::Both);
                }
            }
            rest.shuffle(&mut random);
            each.shuffle(&mut random);
            // Drawn from the end: a short run has all of them, too.
            deck = [rest, each].concat();
            deck.pop().unwrap_or(Hit::Daemon)
        });
        let hit = match hit {
            Hit::Server(_) => Hit::Server(random.random_range(0..servers)),
            Hit::Daemon
            | Hit::Database
            | Hit::Both
            | Hit::Servers
            | Hit::Node(_)
            | Hit::NodeAndDaemon
            | Hit::NodeThenAnother(_)
            | Hit::AnotherThenNode(_) => hit,
        };
        let mut within = |from, to| Duration::from_millis(random.random_range::<u64, _>(from..to));
        let rest = within(100, if is_short { 3_000 } else { 5_000 });
        let is_long = within(0, 5).is_zero();
        let away = match (is_long, is_short) {
            (false, _) => within(50, 3_000),
            (true, true) => within(3_000, 5_000),
            (true, false) => within(4_000, 9_000),
        };
        let second = (within(0, 3_000), within(50, 3_000));
        let kinds: &[How] = match hit {
            Hit::Daemon if wanted == Kinds::AllButOurEnd => &[How::Stop],
            Hit::Daemon if wanted == Kinds::All => &How::OF_DAEMON,
            Hit::Both => &[How::Kill],
            Hit::Node(_) | Hit::NodeAndDaemon => &How::OF_NODES,
            Hit::NodeThenAnother(_) | Hit::AnotherThenNode(_) => &How::OF_TWO,
            _ if wanted == Kinds::Kills => &[How::Kill],
            Hit::Database => &How::OF_DATABASE,
            Hit::Daemon | Hit::Server(_) | Hit::Servers => &How::OF_OTHERS,
        };
        // Each kind once before any comes again.
        let left = hows.entry(hit.word()).or_default();
        if left.is_empty() {
            left.extend_from_slice(kinds);
            left.shuffle(&mut random);
        }
        let how = left.pop().unwrap_or(How::Kill);
        plan.push(Fault { rest, hit, how, away, second });
    }
    plan
}

/// The same, with an upgrade in the middle: faults before and after it.
pub fn with_upgrade(mut plan: Vec<Fault>, seed: u64) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut within = |from, to| Duration::from_millis(random.random_range::<u64, _>(from..to));
    let (rest, away) = (within(3_000, 5_000), within(3_000, 9_000));
    let second = (Duration::ZERO, Duration::ZERO);
    plan.insert(plan.len() / 2, Fault { rest, hit: Hit::Daemon, how: How::Upgrade, away, second });
    plan
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_repeats_a_plan_and_its_first_five_faults_are_of_every_kind() {
        let words = |seed| -> Vec<String> {
            faults(seed, 20, 4, true, Kinds::All).iter().map(Fault::to_string).collect()
        };
        assert_eq!(words(7), words(7));
        assert_ne!(words(7), words(8));
        let mut kinds: Vec<_> =
            faults(7, 5, 4, true, Kinds::All).iter().map(|fault| fault.hit.word()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), 5);
        let without = faults(7, 20, 4, false, Kinds::Kills);
        assert!(without.iter().all(|fault| !matches!(fault.hit, Hit::Database | Hit::Both)));
        assert!(without.iter().all(|fault| fault.how == How::Kill));
        let of_database: BTreeSet<_> = faults(7, 100, 4, true, Kinds::All)
            .iter()
            .filter(|fault| fault.hit == Hit::Database)
            .map(|fault| fault.how.word())
            .collect();
        assert_eq!(of_database.len(), 7);
        for seed in 0..50 {
            // What belongs to every run of the tests has each of them.
            let plan = faults(seed, EACH_KIND, 4, true, Kinds::All);
            let drawn = |hit: &str| {
                let its = plan.iter().filter(|fault| fault.hit.word() == hit);
                its.map(|fault| fault.how.word()).collect::<BTreeSet<_>>().len()
            };
            assert_eq!((drawn("database"), drawn("daemon")), (7, 3), "seed {seed}");
        }
        let soak = faults(7, 100, 4, true, Kinds::AllButOurEnd);
        let is_our_end = |fault: &Fault| match fault.hit {
            Hit::Daemon => fault.how == How::Kill,
            Hit::Both | Hit::NodeAndDaemon => true,
            Hit::Database
            | Hit::Server(_)
            | Hit::Servers
            | Hit::Node(_)
            | Hit::NodeThenAnother(_)
            | Hit::AnotherThenNode(_) => false,
        };
        assert!(!soak.iter().any(is_our_end));
    }

    #[test]
    fn an_upgrade_is_in_the_middle_and_leaves_the_plan_as_it_is() {
        let words = |plan: &[Fault]| plan.iter().map(Fault::to_string).collect::<Vec<_>>();
        let plain = faults(7, 12, 4, true, Kinds::All);
        let mut plan = with_upgrade(plain.clone(), 7);
        assert_eq!(words(&plan), words(&with_upgrade(plain.clone(), 7)));
        let upgrade = plan.remove(6);
        assert_eq!((upgrade.hit, upgrade.how), (Hit::Daemon, How::Upgrade));
        assert_eq!(words(&plan), words(&plain));
    }

    #[test]
    fn the_first_ten_faults_of_a_cluster_are_each_kind() {
        for seed in 0..50 {
            let plan = of_cluster(seed, 40, 4);
            let words = |plan: &[Fault]| plan.iter().map(Fault::to_string).collect::<Vec<_>>();
            assert_eq!(words(&plan[..12]), words(&of_cluster(seed, 12, 4)), "seed {seed}");
            assert_ne!(words(&plan), words(&of_cluster(seed + 1, 40, 4)));
            let kinds = |hit: &str| {
                let its = plan.iter().take(10).filter(|fault| fault.hit.word() == hit);
                its.map(|fault| fault.how.word()).collect::<BTreeSet<_>>()
            };
            assert_eq!(kinds("node_in_use"), BTreeSet::from(["hidden", "killed", "parted"]));
            for two in ["node_in_use_then_another_killed", "node_then_the_one_in_use_killed"] {
                assert_eq!(kinds(two), BTreeSet::from(["hidden", "parted"]), "seed {seed}");
            }
            for one in ["node_in_use_and_daemon", "node", "one_server"] {
                assert_eq!(kinds(one).len(), 1, "seed {seed}");
            }
            let is_of_two =
                |hit| matches!(hit, Hit::NodeThenAnother(1..=2) | Hit::AnotherThenNode(1..=2));
            for fault in plan.iter().filter(|fault| How::OF_TWO.contains(&fault.how)) {
                // The first is still away when the second is killed.
                assert!(!is_of_two(fault.hit) || fault.second.0 < fault.away, "{fault}");
                assert!(fault.hit != Hit::Node(Some(0)), "{fault}");
            }
            let two = plan[10..].iter().filter(|fault| is_of_two(fault.hit));
            assert_eq!(two.count(), 6, "two of each ten, seed {seed}");
        }
    }
}
