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
    /// Of [`Hit::Both`]: when the daemon is killed, and for how long it is away.
    pub second: (Duration, Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = match self.hit {
            Hit::Server(number) | Hit::Node(Some(number)) => format!(" {number}"),
            Hit::Daemon
            | Hit::Database
            | Hit::Both
            | Hit::Servers
            | Hit::Node(None)
            | Hit::NodeAndDaemon => String::new(),
        };
        let (hit, how) = (self.hit.word(), self.how.word());
        write!(f, "{hit}{server} {how} for {} ms", self.away.as_millis())?;
        if matches!(self.hit, Hit::Both | Hit::NodeAndDaemon) {
            let (after, away) = self.second;
            write!(f, ", the daemon {} ms later for {} ms", after.as_millis(), away.as_millis())?;
        }
        Ok(())
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

/// So many faults of a cluster: of eight, five are of the node in use and one of another, one of these together
/// with the daemon, one of a server of OpenVPN. The first three are each kind of the node in use.
pub fn of_cluster(seed: u64, count: usize, servers: u32) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kinds = How::OF_NODES;
    kinds.shuffle(&mut random);
    let mut deck: Vec<_> = kinds.iter().map(|how| (Hit::Node(None), *how)).collect();
    let mut plan = Vec::with_capacity(count);
    while plan.len() < count {
        let (hit, how) = deck.pop().unwrap_or_else(|| {
            let hits = [Hit::Node(None); 5];
            let hits = hits.into_iter().chain([Hit::NodeAndDaemon, Hit::Node(Some(0))]);
            let mut how = || How::OF_NODES[random.random_range(0..How::OF_NODES.len())];
            deck = hits.map(|hit| (hit, how())).collect();
            deck.push((Hit::Server(0), How::Kill));
            deck.shuffle(&mut random);
            deck.pop().unwrap_or((Hit::Node(None), How::Kill))
        });
        let mut number = |of| random.random_range(0..of);
        let hit = match hit {
            Hit::Server(_) => Hit::Server(number(servers)),
            Hit::Node(Some(_)) => Hit::Node(Some(number(3) + 1)),
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
        let away = within(500, 15_000);
        let second = (within(0, 3_000), within(50, 3_000));
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
            | Hit::NodeAndDaemon => hit,
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
            Hit::Database | Hit::Server(_) | Hit::Servers | Hit::Node(_) => false,
        };
        assert!(!soak.iter().any(is_our_end));
    }
    #[test]
    fn the_first_faults_of_a_cluster_are_each_kind_of_its_node_in_use() {
        let plan = of_cluster(7, 40, 4);
        let mut first: Vec<_> = plan.iter().take(3).map(|fault| fault.how.word()).collect();
        first.sort_unstable();
        assert_eq!(first, ["hidden", "killed", "parted"]);
        assert!(plan.iter().take(3).all(|fault| fault.hit == Hit::Node(None)));
        assert!(plan.iter().any(|fault| fault.hit == Hit::NodeAndDaemon));
        assert!(plan.iter().any(|fault| matches!(fault.hit, Hit::Node(Some(1..=3)))));
        assert!(!plan.iter().any(|fault| matches!(fault.hit, Hit::Node(Some(0)))));
    }
}
