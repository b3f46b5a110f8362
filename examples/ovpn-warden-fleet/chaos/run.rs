//! Plays a plan, lets everything come to rest, and hands what was written down to the auditor.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use ovpn_warden::types::{Clock, Timestamp};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep,
};

use super::{
    audit::{self, Evidence, Span},
    back,
    cluster::{self, Cluster, TAKEOVER},
    drift,
    log::Log,
    plan::{self, Fault, Kinds},
    record::{Instance, Millis, Record},
    rows, stall,
    tell::{Played, tell},
};
use crate::{
    args::Args,
    measure::Result,
    population,
    rig::Rig,
    scenario,
    script::Script,
    stand_in::StandIn,
    world::{Act, Order, Seen, Totals, World},
};

/// Between the first login and the first fault.
const BEGIN: Duration = Duration::from_secs(5);
/// After the last fault, until everybody is sent home: long enough to see that logins are back.
const REST: Duration = Duration::from_secs(8);
/// How long the end may take: everybody out, every row written.
const PATIENCE: Duration = Duration::from_secs(60);
/// For so long logins may go on by a node that has lost the others: until it knows (5 s), and until the daemon has looked after
/// that (5 s, and what it takes to look at all).
const UNKNOWN: Millis = 12_000;
/// `session.limit_s` of the defaults.
const LIMIT: Millis = 28_800_000;

struct Play<'a> {
    args: &'a Args,
    clock: Clock,
    world: Arc<World>,
    record: Arc<Record>,
    orders: Vec<mpsc::Sender<Order>>,
    servers: Vec<JoinHandle<std::io::Result<Seen>>>,
    rig: Rig,
    pid: watch::Sender<u32>,
    daemon_since: Millis,
    daemons: Vec<Span>,
    outages: Vec<Span>,
    /// When the daemon was stopped.
    stops: Vec<Span>,
    /// Faults of the plan that nobody met, by their place in it.
    unmet: Vec<usize>,
    cluster: Option<Cluster>,
    begun: Millis,
    /// When everybody was sent home.
    home_since: Option<Millis>,
}

/// The number that repeats a plan.
fn seed(args: &Args) -> anyhow::Result<u64> {
    match (args.seed, std::env::var("CHAOS_SEED")) {
        (Some(seed), _) => Ok(seed),
        (None, Ok(text)) => text.parse().with_context(|| format!("CHAOS_SEED={text}: no number")),
        (None, Err(_)) => Ok(rand::random_range(1..1_000_000)),
    }
}

#[expect(clippy::print_stdout, reason = "what one reads while it runs")]
pub(super) fn say(line: &str) {
    println!("{line}");
}

pub async fn run(args: &Args) -> anyhow::Result<Result> {
    let folder = args.database_folder.as_ref().or(args.cluster_folder.as_ref());
    if args.database.is_some() != folder.is_some() {
        bail!("--database goes together with --database-folder or --cluster-folder");
    }
    let seed = seed(args)?;
    let folder = tempfile::Builder::new().prefix("warden-chaos.").tempdir()?;
    let clock = Clock::new();
    say(&format!("{} faults, CHAOS_SEED={seed}", args.faults));
    let url = args.database.clone().unwrap_or_else(|| Rig::database(folder.path()));
    // What is not the program under test knows one host only.
    let one = cluster::first_host(&url);
    let record = Arc::new(Record::in_file(&folder.path().join("record"))?);
    let world = Arc::new(World {
        clock,
        script: Script::new(),
        totals: Totals::default(),
        wrong: args.wrong,
        retry: true,
        rejoin: true.into(),
        record: Some(Arc::clone(&record)),
    });
    let (mut orders, mut servers, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for name in 0..args.servers {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ports.push(listener.local_addr()?.port());
        let (sender, receiver) = mpsc::channel(64);
        orders.push(sender);
        let server = StandIn::new(name, args.clients, Arc::clone(&world))
            .with_habits(seed.wrapping_add(u64::from(name)));
        servers.push(tokio::spawn(server.serve(listener, receiver)));
    }
    let mut rig = Rig::new(folder.path(), &url, &ports, args).await?;
    if args.upgrade_from.is_some() {
        rig.migrate().await?;
    }
    scenario::seed(args, &one, None, clock).await.context("cannot seed the database")?;
    let cluster = match &args.cluster_folder {
        Some(folder) => Some(Cluster::watch(folder, &url, clock).await?),
        None => None,
    };
    let pid = watch::Sender::new(rig.launch()?);
    let stop = watch::Sender::new(false);
    let stalls = tokio::spawn(stall::watch(clock, pid.subscribe(), stop.subscribe()));
    let drift = tokio::spawn(drift::watch(clock, pid.subscribe(), stop.subscribe()));
    let begun = clock.now().utc.as_millis();
    let (daemons, outages, stops) = (Vec::new(), Vec::new(), Vec::new());
    let mut play = Play {
        args,
        clock,
        world,
        record,
        orders,
        servers,
        rig,
        pid,
        daemon_since: begun,
        daemons,
        outages,
        stops,
        unmet: Vec::new(),
        cluster,
        begun,
        home_since: None,
    };
    let has_database = args.database_folder.is_some();
    let kinds = match (args.period_s, args.every_kind) {
        (Some(_), _) => Kinds::AllButOurEnd,
        (None, true) => Kinds::All,
        (None, false) => Kinds::Kills,
    };
    let plan = if args.cluster_folder.is_some() {
        plan::of_cluster(seed, args.faults, args.servers)
    } else {
        plan::faults(seed, args.faults, args.servers, has_database, kinds)
    };
    let plan = if args.upgrade_from.is_some() { plan::with_upgrade(plan, seed) } else { plan };
    let outcome = play.all(&plan).await;
    let _ = stop.send(true);
    let (stalls, drift) = (stalls.await?, drift.await?);
    let mut result = Result::default();
    result.put("scenario", "chaos");
    result.put("seed", seed);
    let database = match (&args.cluster_folder, &args.database) {
        (Some(_), _) => "cluster",
        (None, Some(_)) => "mariadb",
        (None, None) => "sqlite",
    };
    result.put("database", database);
    result.put("servers", args.servers);
    result.put("clients", args.all());
    let finished = match outcome {
        Ok(open) => play.finish(&url, stalls, &plan, open, &mut result).await,
        Err(error) => Err(error),
    };
    let is_right = finished.is_ok() && result.get("wrong_answers") == Some(0.0);
    if args.keep || !is_right {
        // What an operator would read to find out.
        let path = folder.keep();
        say(&format!("kept: {}", path.display()));
    }
    finished?;
    if args.period_s.is_some() {
        drift::tell(&drift, &mut result);
    }
    Ok(result)
}

impl Play<'_> {
    fn now(&self) -> Millis {
        self.clock.now().utc.as_millis()
    }

    /// Everything that happens; how many were still in at the end.
    async fn all(&mut self, plan: &[Fault]) -> anyhow::Result<usize> {
        let clients = self.args.clients;
        let ramp = BEGIN.mul_f64(0.8) / clients.max(1);
        for server in &self.orders {
            let acts = (0..clients).map(|place| (ramp * place, Act::Connect(place))).collect();
            server.send(Order::Begin(acts)).await?;
        }
        sleep(BEGIN).await;
        for (number, fault) in plan.iter().enumerate() {
            sleep(self.rest(number, fault)).await;
            self.check()?;
            let (up, been) = self.record.count();
            say(&format!(
                "{:3}/{}  at {:6.1} s  {fault}; {up} in, {been} sessions so far",
                number + 1,
                plan.len(),
                (self.now() - self.begun) as f64 / 1e3,
            ));
            if !self.strike(fault).await? {
                say("          nothing met it");
                self.unmet.push(number);
            }
        }
        sleep(REST).await;
        self.check()?;
        self.home_since = Some(self.now());
        self.world.rejoin.store(false, Ordering::Relaxed);
        // A server that was killed last may still be away.
        for server in &self.orders {
            server.send(Order::Leave).await?;
        }
        let end = self.clock.now().mono + PATIENCE;
        loop {
            let open = self.record.count().0;
            if open == 0 && self.rig.links().await.unwrap_or(0) == self.orders.len() {
                break;
            }
            if self.clock.now().mono > end {
                return Ok(open.max(1));
            }
            sleep(Duration::from_millis(100)).await;
        }
        // Who was on a server that has only just come back is still to be found gone, and written.
        sleep(Duration::from_secs(3)).await;
        while self.rig.backlog().await.unwrap_or(1) > 0 && self.clock.now().mono <= end {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(0)
    }

    /// Until the next fault: as planned, or a period after the one before.
    fn rest(&self, number: usize, fault: &Fault) -> Duration {
        let Some(period) = self.args.period_s else { return fault.rest };
        let due = (Millis::from(period) * 1_000).saturating_mul(number as Millis + 1);
        let left = self.begun + due - self.now();
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    fn check(&mut self) -> anyhow::Result<()> {
        if self.servers.iter().any(JoinHandle::is_finished) {
            bail!("a server of the fleet has ended");
        }
        self.rig.check()
    }

    async fn finish(
        mut self,
        url: &str,
        stalls: Vec<Span>,
        plan: &[Fault],
        open: usize,
        result: &mut Result,
    ) -> anyhow::Result<()> {
        self.rig.stop().await?;
        self.daemons.push(Span { from: self.daemon_since, until: self.now() });
        for server in &self.orders {
            server.send(Order::Finish).await?;
        }
        let (mut faults, mut frozen, mut away) = (Vec::new(), Vec::new(), Vec::new());
        for (number, server) in (0..).zip(std::mem::take(&mut self.servers)) {
            let mut seen = server.await??;
            faults.append(&mut seen.faults);
            let span = |(from, until): (Timestamp, Timestamp)| Span {
                from: from.as_millis(),
                until: until.as_millis(),
            };
            away.push(seen.away.into_iter().chain(seen.frozen.iter().copied()).map(span).collect());
            frozen.extend(seen.frozen.into_iter().map(|times| (number, span(times))));
        }
        let (instances, links) = self.record.read();
        let (rows, usage) = rows::read(&cluster::first_host(url)).await?;
        let mut found = Vec::new();
        let stalls = [stalls, std::mem::take(&mut self.stops)].concat();
        let mut closed = self.outages.clone();
        if let Some(cluster) = self.cluster.take() {
            let (gaps, raced) = cluster.finish(url).await?;
            found = self.judge_cluster(&gaps, &raced, result);
            found.extend(self.judge_lost(&instances, &raced.lost, result));
            closed = gaps;
        }
        closed.extend(back::without_daemon(&self.daemons));
        found.extend(self.judge_back(&instances, &closed, &away, &stalls, result));
        let limit = Millis::from(self.args.limit_s) * 1_000;
        let short = (0..self.args.all()).filter(|n| population::is_among(*n, self.args.expiring));
        let evidence = Evidence {
            instances,
            links,
            daemons: std::mem::take(&mut self.daemons),
            outages: std::mem::take(&mut self.outages),
            stalls,
            frozen,
            rows,
            usage,
            log: Log::read(&self.rig.log_path())?,
            accounting: Millis::from(self.args.accounting_s) * 1_000,
            limits: short.map(|number| (number, limit)).collect::<HashMap<_, _>>(),
            limit: LIMIT,
            memory: match self.args.cluster_folder {
                Some(_) => audit::MEMORY_OF_SEVERAL,
                None => audit::MEMORY,
            },
        };
        let mut verdict = audit::judge(&evidence);
        let played = Played::new(plan, &self.unmet);
        verdict.findings.extend(played.never_met());
        verdict.findings.extend(faults);
        verdict.findings.extend(found);
        verdict.findings.extend_from_slice(&evidence.log.complaints);
        if open > 0 {
            verdict.findings.push(format!("{open} sessions or rows did not end in time"));
        }
        played.tell(result);
        tell(&evidence, &verdict, result);
        result.put("asked", Totals::of(&self.world.totals.asked));
        result.put("denied_for_a_moment", Totals::of(&self.world.totals.temporary));
        result.number("seconds", (self.now() - self.begun) as f64 / 1e3);
        Ok(())
    }
}

impl Play<'_> {
    /// How soon logins were back, on each server by itself. `away`: when each of them was.
    fn judge_back(
        &self,
        instances: &[Instance],
        closed: &[Span],
        away: &[Vec<Span>],
        stalls: &[Span],
        result: &mut Result,
    ) -> Option<String> {
        let admitted = instances.iter().filter_map(|one| Some((one.server, one.admitted?)));
        let mut servers = back::by_server(admitted);
        let waits = (0..).zip(away).map(|(server, away)| {
            // Between the last of the first logins and the end others would have been let in.
            let mut admissions = vec![self.begun + BEGIN.as_millis() as Millis];
            admissions.extend(servers.remove(&server).unwrap_or_default());
            admissions.extend(self.home_since);
            admissions.sort_unstable();
            let closed = [closed, &back::without_server(away)].concat();
            (back::longest_wait(&admissions, &closed, stalls), server)
        });
        let ((wait, from), server) = waits.max().unwrap_or_default();
        result.put("logins_back_ms_most", wait);
        let from = self.since_begin(from);
        (wait > TAKEOVER).then(|| {
            format!("no login on server {server} for {wait} ms of a usable database, from {from:.1} s on")
        })
    }

    /// For how long somebody was let in while no node had a majority, by what one knew from before.
    fn judge_lost(
        &self,
        instances: &[Instance],
        lost: &[Span],
        result: &mut Result,
    ) -> Option<String> {
        let admissions: Vec<_> = instances.iter().filter_map(|one| one.admitted).collect();
        let (late, from) = back::latest_within(&admissions, lost);
        let longest = lost.iter().map(|span| span.until - span.from).max();
        result.put("two_of_three_away_ms_most", longest.unwrap_or(0));
        result.put("let_in_without_a_majority_ms_most", late);
        let from = self.since_begin(from);
        (late > UNKNOWN).then(|| {
            format!("let in {late} ms after the majority was lost, which was at {from:.1} s")
        })
    }

    /// Who won the races, and whether the nodes agree; the database was away while none took a write.
    fn judge_cluster(
        &mut self,
        gaps: &[Span],
        raced: &cluster::Raced,
        result: &mut Result,
    ) -> Vec<String> {
        self.outages.extend(gaps.iter().map(|gap| Span { until: gap.until + TAKEOVER, ..*gap }));
        for gap in gaps {
            let (from, until) = (self.since_begin(gap.from), self.since_begin(gap.until));
            say(&format!("no node took a write from {from:.1} s to {until:.1} s"));
        }
        result.put("no_node_usable", gaps.len());
        let longest = gaps.iter().map(|gap| gap.until - gap.from).max();
        result.put("no_node_usable_ms_most", longest.unwrap_or(0));
        result.put("races", raced.won + raced.undecided + raced.both_won);
        result.put("races_undecided", raced.undecided);
        let mut found = Vec::new();
        if raced.both_won > 0 {
            found.push(format!("{} times two had one place", raced.both_won));
        }
        if raced.won == 0 {
            found.push("nobody won a race".into());
        }
        if raced.nodes_differ {
            found.push("the nodes do not hold the same sessions".into());
        }
        found
    }

    fn since_begin(&self, at: Millis) -> f64 {
        (at - self.begun) as f64 / 1e3
    }
}

mod strike;
#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
