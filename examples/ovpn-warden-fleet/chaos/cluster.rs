//! Three servers that are one database: what is done to them, when they took writes, and two who race
//! for one place the whole time. Whether a node is of use is found by writing to it, and by nothing that
//! the program under test does.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use ovpn_warden::{
    store::{self, Actor, Claim, NewUser, OnLimit, Place, Store},
    types::{Clock, Password, SessionId},
};
use sqlx::{Connection as _, MySqlConnection, Row as _, mysql::MySqlConnectOptions};
use tokio::{process::Command, task::JoinSet, time::sleep};

use super::{
    audit::Span,
    plan::{Fault, How},
    record::Millis,
};

const NODES: u32 = 3;
/// Between two writes to a node.
const STEP: Duration = Duration::from_millis(100);
/// For so long no node may take a write before that counts as an outage.
const GAP: Millis = 500;
/// How long logins may stay away from a node that takes writes.
pub const TAKEOVER: Millis = 5_000;
/// Between two races.
const RACE: Duration = Duration::from_millis(300);
/// A claim is forgotten after a minute; each race is later than that.
const LATER: Duration = Duration::from_secs(120);

/// A write that a node took: when it was answered.
#[derive(Debug, Clone, Copy)]
struct Taken {
    at: Millis,
}

pub struct Cluster {
    folder: PathBuf,
    clock: Clock,
    /// The node that clients do not reach, or 0.
    hidden: Arc<AtomicU32>,
    taken: Arc<Mutex<Vec<Taken>>>,
    /// When no node can have had a majority: two of three were away.
    lost: Mutex<Vec<Span>>,
    races: Arc<Races>,
    tasks: JoinSet<()>,
}

/// What became of those who raced.
#[derive(Debug, Default)]
struct Races {
    is_over: AtomicBool,
    won: AtomicUsize,
    /// Nobody got the place, for want of a database.
    undecided: AtomicUsize,
    both_won: AtomicUsize,
}

/// One host of a URL with several.
pub fn first_host(url: &str) -> String {
    host(url, 0).unwrap_or_else(|| url.to_owned())
}

fn host(url: &str, number: usize) -> Option<String> {
    let (user, rest) = url.rsplit_once('@')?;
    let (hosts, database) = rest.split_once('/')?;
    Some(format!("{user}@{}/{database}", hosts.split(',').nth(number)?))
}

/// The same hosts, from the second on.
fn turned(url: &str) -> Option<String> {
    let (user, rest) = url.rsplit_once('@')?;
    let (hosts, database) = rest.split_once('/')?;
    let (first, others) = hosts.split_once(',')?;
    Some(format!("{user}@{others},{first}/{database}"))
}

fn root(folder: &Path, node: u32) -> MySqlConnectOptions {
    let socket = folder.join(node.to_string()).join("sock");
    MySqlConnectOptions::new().socket(socket).username("root")
}

impl Cluster {
    /// Writes to each node and races for a place, until the end. `url` names all of them.
    pub async fn watch(folder: &Path, url: &str, clock: Clock) -> anyhow::Result<Self> {
        let mut first = MySqlConnection::connect_with(&root(folder, 1)).await?;
        sqlx::raw_sql(
            "CREATE DATABASE probe; CREATE TABLE probe.p (id INT PRIMARY KEY, n INT NOT NULL); \
             INSERT INTO probe.p VALUES (1, 0), (2, 0), (3, 0)",
        )
        .execute(&mut first)
        .await?;
        let mut cluster = Self {
            folder: folder.to_owned(),
            clock,
            hidden: Arc::default(),
            taken: Arc::default(),
            lost: Mutex::default(),
            races: Arc::default(),
            tasks: JoinSet::new(),
        };
        for node in 1..=NODES {
            let (hidden, taken) = (Arc::clone(&cluster.hidden), Arc::clone(&cluster.taken));
            cluster.tasks.spawn(probe(root(folder, node), node, hidden, taken, clock));
        }
        let open = |url: &str| store::open(&store::Options::new(Password::from(url.as_bytes())));
        let stores = [open(url)?, open(&turned(url).context("one host only")?)?];
        let by = Actor { name: "fleet".into(), at: clock.now().utc };
        let user = NewUser {
            name: "racer".parse()?,
            password_hash: None,
            policy: None,
            valid_from: None,
            valid_until: None,
        };
        stores[0].add_user(&user, &by).await?;
        cluster.tasks.spawn(race(stores, Arc::clone(&cluster.races), clock));
        Ok(cluster)
    }

    /// The node that comes so many after another.
    pub const fn after(node: u32, many: u32) -> u32 {
        (node - 1 + many) % NODES + 1
    }

    /// The node that most of the program's connections lead to.
    pub async fn in_use(&self) -> u32 {
        let mut most = (0, 1);
        for node in 1..=NODES {
            most = most.max((self.connections(node).await.unwrap_or(0), node));
        }
        most.1
    }

    async fn connections(&self, node: u32) -> anyhow::Result<i64> {
        let mut connection = MySqlConnection::connect_with(&root(&self.folder, node)).await?;
        let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'warden'";
        Ok(sqlx::query(count).fetch_one(&mut connection).await?.try_get(0)?)
    }

    /// Does it, waits, and undoes it; returns when all are one again.
    pub async fn strike(&self, node: u32, how: How, away: Duration) -> anyhow::Result<()> {
        self.take(node, how).await?;
        sleep(away).await;
        let back = if how == How::Kill { "again" } else { "join" };
        let done = self.script(back, Some(node)).await;
        self.hidden.store(0, Ordering::Relaxed);
        done
    }

    /// Parts the first from the others, kills the second while it is parted, and brings both back in the order of the plan,
    /// with what an operator has to do for it; returns when all are one again. Until then there may be no majority.
    pub async fn strike_two(&self, first: u32, second: u32, fault: &Fault) -> anyhow::Result<()> {
        let done = self.part_and_kill(first, second, fault).await;
        self.hidden.store(0, Ordering::Relaxed);
        done
    }

    async fn part_and_kill(&self, first: u32, second: u32, fault: &Fault) -> anyhow::Result<()> {
        let begun = self.clock.now().mono;
        let until = |time: Duration| sleep(time.saturating_sub(self.clock.now().mono - begun));
        self.take(first, fault.how).await?;
        let (after, away) = fault.second;
        until(after).await;
        self.take(second, How::Kill).await?;
        let from = self.clock.now().utc.as_millis();
        let (opened, launched) = (fault.away, after + away);
        until(opened.min(launched)).await;
        let lost = Span { from, until: self.clock.now().utc.as_millis() };
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).push(lost);
        if launched < opened {
            self.script("launch", Some(second)).await?;
        }
        until(opened).await;
        self.script("open", Some(first)).await?;
        self.hidden.store(0, Ordering::Relaxed);
        if launched >= opened {
            self.script("mend", None).await?;
            until(launched).await;
            self.script("launch", Some(second)).await?;
        }
        self.script("mend", None).await
    }

    async fn take(&self, node: u32, how: How) -> anyhow::Result<()> {
        let what = match how {
            How::Kill => "kill",
            How::Part => "part",
            How::Hide => "hide",
            How::Stop
            | How::Slow
            | How::ReadOnly
            | How::Crowded
            | How::Cut
            | How::Full
            | How::Replace
            | How::Upgrade => {
                bail!("no node of a cluster is {}", how.word())
            }
        };
        if how == How::Hide {
            self.hidden.store(node, Ordering::Relaxed);
        }
        self.script(what, Some(node)).await
    }

    async fn script(&self, what: &str, node: Option<u32>) -> anyhow::Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/cluster.sh");
        let mut command = Command::new(&script);
        command.arg(what).arg(&self.folder).args(node.map(|node| node.to_string()));
        let status = command.status().await?;
        if !status.success() {
            bail!("{} {what} {node:?} ended with {status}", script.display());
        }
        Ok(())
    }

    /// When a node took a write at or after `from`; now, where none has.
    pub fn usable_since(&self, from: Millis) -> Millis {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let first = taken.iter().map(|taken| taken.at).filter(|at| *at >= from).min();
        first.unwrap_or_else(|| self.clock.now().utc.as_millis())
    }

    /// Ends the writing and the racing; when no node took a write, and what became of the races.
    pub async fn finish(mut self, url: &str) -> anyhow::Result<(Vec<Span>, Raced)> {
        self.races.is_over.store(true, Ordering::Relaxed);
        sleep(RACE * 2).await;
        self.tasks.shutdown().await;
        let mut times: Vec<_> = {
            let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.iter().map(|taken| taken.at).collect()
        };
        times.sort_unstable();
        let pairs = times.iter().zip(times.iter().skip(1));
        let gaps = pairs
            .filter(|(from, until)| **until - **from > GAP)
            .map(|(from, until)| Span { from: *from, until: *until });
        let mut tables = Vec::new();
        for number in 0..NODES as usize {
            tables.push(super::rows::read(&host(url, number).context("three hosts")?).await?);
        }
        let raced = Raced {
            won: self.races.won.load(Ordering::Relaxed),
            undecided: self.races.undecided.load(Ordering::Relaxed),
            both_won: self.races.both_won.load(Ordering::Relaxed),
            nodes_differ: tables.iter().any(|table| *table != tables[0]),
            lost: std::mem::take(&mut self.lost.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        Ok((gaps.collect(), raced))
    }
}

/// What the races and the nodes came to.
#[derive(Debug)]
pub struct Raced {
    pub won: usize,
    pub undecided: usize,
    pub both_won: usize,
    /// The nodes do not hold the same sessions.
    pub nodes_differ: bool,
    /// When no node can have had a majority.
    pub lost: Vec<Span>,
}

/// One write after the other, for ever.
async fn probe(
    options: MySqlConnectOptions,
    node: u32,
    hidden: Arc<AtomicU32>,
    taken: Arc<Mutex<Vec<Taken>>>,
    clock: Clock,
) {
    loop {
        if let Ok(mut connection) = MySqlConnection::connect_with(&options).await {
            let write = || sqlx::query("UPDATE probe.p SET n = n + 1 WHERE id = ?").bind(node);
            while write().execute(&mut connection).await.is_ok() {
                if hidden.load(Ordering::Relaxed) != node {
                    let at = clock.now().utc.as_millis();
                    taken.lock().unwrap_or_else(PoisonError::into_inner).push(Taken { at });
                }
                sleep(STEP).await;
            }
        }
        sleep(STEP).await;
    }
}

/// Two daemons and one place, again and again.
async fn race(stores: [Arc<dyn Store>; 2], races: Arc<Races>, clock: Clock) {
    let (Ok(user), Ok(server)) = ("racer".parse(), "race".parse()) else { return };
    let mut now = clock.now().utc;
    while !races.is_over.load(Ordering::Relaxed) {
        let claim = |number: u8| Claim {
            session: SessionId::new(now, [number; 10]),
            server: &server,
            user: &user,
            device: None,
            max: 1,
            on_limit: OnLimit::Deny,
            code: None,
        };
        let (one, two) = (claim(1), claim(2));
        let results = tokio::join!(stores[0].claim(&one, now), stores[1].claim(&two, now));
        let outcome = match results {
            (Ok(Place::Taken), Ok(Place::Taken)) => &races.both_won,
            (Ok(Place::Taken), _) | (_, Ok(Place::Taken)) => &races.won,
            _ => &races.undecided,
        };
        outcome.fetch_add(1, Ordering::Relaxed);
        now = now.saturating_add(LATER);
        sleep(RACE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_several_hosts_is_taken_apart() {
        let url = "mysql://u:p@a:1,b:2,c:3/w";
        assert_eq!(first_host(url), "mysql://u:p@a:1/w");
        assert_eq!(host(url, 2).unwrap(), "mysql://u:p@c:3/w");
        assert_eq!(turned(url).unwrap(), "mysql://u:p@b:2,c:3,a:1/w");
    }

    #[test]
    fn two_of_three_nodes_are_never_the_same() {
        let of = |node| [1, 2].map(|many| Cluster::after(node, many));
        assert_eq!([1, 2, 3].map(of), [[2, 3], [3, 1], [1, 2]]);
    }
}
