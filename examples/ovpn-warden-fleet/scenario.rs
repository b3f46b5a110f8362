//! What happens, in which order, and what is made of it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use ovpn_warden::{
    auth::password::{self, HashParams},
    store::{self, Actor, PolicyChange, PolicyRecord},
    types::{Clock, Mono, Password, Timestamp},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::sleep};

use crate::{
    args::{Args, Scenario},
    bare, fairness,
    measure::Result,
    population::{self, PASSWORD, SHORT, Seed},
    rig::{Rig, Rigs, Switches, Usage},
    script::Script,
    stand_in::StandIn,
    world::{Act, Answer, Order, Outcome, Seen, Totals, World},
};

/// How long argon2 alone is measured, before and after.
const BARE: Duration = Duration::from_secs(4);
/// How long nothing happens before memory is looked at.
const SETTLE: Duration = Duration::from_secs(2);
/// How long anything may take that should be over at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fleet, with its daemon attached.
struct Fleet<'a> {
    args: &'a Args,
    clock: Clock,
    world: Arc<World>,
    orders: Vec<mpsc::Sender<Order>>,
    servers: Vec<JoinHandle<std::io::Result<Seen>>>,
    rig: Rigs,
    result: Result,
}

/// Runs the scenario; the daemon and its folder are gone when this returns.
pub async fn run(args: &Args) -> anyhow::Result<Result> {
    let folder = tempfile::Builder::new().prefix("warden-fleet.").tempdir()?;
    let clock = Clock::new();
    let cores = std::thread::available_parallelism()?.get();
    let mut result = Result::default();
    let scenario = clap::ValueEnum::to_possible_value(&args.scenario);
    result.put("scenario", scenario.map(|value| value.get_name().to_owned()).unwrap_or_default());
    result.put("database", if args.database.is_some() { "mysql" } else { "sqlite" });
    result.put("servers", args.servers);
    result.put("clients", args.all());
    let (m_kib, t) = args.argon2();
    result.put("argon2", format!("m={m_kib} KiB, t={t}, p=1"));
    result.put("cores", cores);
    if let Some(max) = args.max_sessions {
        result.put("max_sessions", max);
        result.put("on_limit", args.on_limit.as_str());
    }
    let bare_before = (args.scenario == Scenario::ConnectStorm)
        .then(|| bare::argon2(m_kib, t, cores, BARE))
        .transpose()?;
    // When all accounts end: after everybody is connected, with some time to spare.
    let ramp = Duration::from_secs_f64(args.all() as f64 / f64::from(args.ramp));
    let seeded = clock.now();
    let url = args.database.clone().unwrap_or_else(|| Rig::database(folder.path()));
    let end = (args.scenario == Scenario::ExpiryStorm)
        .then(|| seeded.utc.saturating_add(ramp.mul_f64(1.5) + Duration::from_secs(15)));
    seed(args, &url, end, clock).await.context("cannot seed the database")?;
    let world = Arc::new(World {
        clock,
        script: Script::new(),
        totals: Totals::default(),
        wrong: args.wrong,
        retry: args.retry,
        rejoin: (args.scenario == Scenario::Steady).into(),
        record: None,
    });
    let (mut orders, mut servers, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for name in 0..args.servers {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ports.push(listener.local_addr()?.port());
        let (sender, receiver) = mpsc::channel(16);
        orders.push(sender);
        let server = StandIn::new(name, args.clients, Arc::clone(&world));
        servers.push(tokio::spawn(server.serve(listener, receiver)));
    }
    result.put("daemons", args.daemons);
    let mut rig = Rigs::new(folder.path(), &url, &ports, args).await?;
    let ready = rig.start(clock).await?;
    result.number("start_to_ready_ms", ready.as_secs_f64() * 1_000.0);
    let mut fleet = Fleet { args, clock, world, orders, servers, rig, result };
    fleet.wait(PATIENCE, |totals| Totals::of(&totals.attached) >= u64::from(args.servers)).await?;
    let window = match args.scenario {
        Scenario::ConnectStorm => fleet.connect_storm(bare_before).await?,
        Scenario::Steady => fleet.steady().await?,
        Scenario::ExpiryStorm => fleet.expiry_storm(end.unwrap_or_default()).await?,
        Scenario::Reconnect => fleet.reconnect().await?,
        Scenario::SlowReader => fleet.slow_reader().await?,
        Scenario::Chaos => bail!("that is played in another way"),
    };
    let result = fleet.finish(window).await?;
    if args.keep {
        eprintln_path(&folder.keep());
    }
    Ok(result)
}

#[expect(clippy::print_stderr, reason = "where it is, beside the result")]
fn eprintln_path(path: &std::path::Path) {
    eprintln!("kept: {}", path.display());
}

pub async fn seed(
    args: &Args,
    url: &str,
    end: Option<Timestamp>,
    clock: Clock,
) -> anyhow::Result<()> {
    let store = store::open(&store::Options::new(Password::from(url.as_bytes())))?;
    // An older build has made an older schema.
    if args.upgrade_from.is_none() {
        store.migrate(false).await?;
    }
    if !store.users(None, 1).await?.is_empty() {
        bail!("there are users in the database: the fleet wants an empty one");
    }
    let by = Actor { name: "fleet".into(), at: clock.now().utc };
    let short = PolicyRecord {
        name: SHORT.into(),
        session_limit_s: Some(args.limit_s),
        ..PolicyRecord::default()
    };
    store.put_policy(&short, false, &by).await?;
    if let Some(max) = args.max_sessions {
        let limit = |policy: &mut PolicyRecord| {
            policy.max_sessions = Some(max);
            policy.on_limit = Some(args.on_limit);
        };
        for name in ["default", SHORT] {
            let change = PolicyChange { apply: &limit, sets_hours: false };
            store.change_policy(name, change, &by).await?;
        }
    }
    let (m_kib, t) = args.argon2();
    let hash =
        password::hash(&Password::from(PASSWORD.as_bytes()), &HashParams { m_kib, t, p: 1 })?;
    let valid_until = end.map(|end| end.to_string().replace('T', " ").replace('Z', ""));
    let seed = Seed { count: args.all(), hash: &hash, short: args.expiring, valid_until };
    population::write(url, &seed).await?;
    store.close().await;
    Ok(())
}

impl Fleet<'_> {
    async fn order(&self, server: usize, order: Order) -> anyhow::Result<()> {
        self.orders[server].send(order).await.ok().context("a server of the fleet has ended")
    }

    /// Each server does these.
    async fn all_do(&self, acts: impl Fn(u32) -> Vec<(Duration, Act)>) -> anyhow::Result<()> {
        for server in 0..self.args.servers {
            self.order(server as usize, Order::Begin(acts(server))).await?;
        }
        Ok(())
    }

    /// Until the totals are so, at most for `patience`.
    async fn wait(
        &self,
        patience: Duration,
        done: impl Fn(&Totals) -> bool,
    ) -> anyhow::Result<bool> {
        let end = self.clock.now().mono + patience;
        while !done(&self.world.totals) {
            if self.servers.iter().any(JoinHandle::is_finished) {
                bail!("a server of the fleet has ended");
            }
            if self.clock.now().mono > end {
                return Ok(false);
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(true)
    }

    /// Of so many, how many are not there after all.
    fn missing(&mut self, name: &str, wanted: u64, count: impl Fn(&Totals) -> u64) {
        self.result.put(name, wanted.saturating_sub(count(&self.world.totals)));
    }

    /// Connects everybody, at the rate that was asked for; what the daemon used before.
    async fn ramp(&mut self) -> anyhow::Result<Usage> {
        sleep(SETTLE).await;
        let before = self.rig.usage();
        let begun = self.clock.now().mono;
        let (servers, rate) = (self.args.servers, f64::from(self.args.ramp));
        self.all_do(|server| {
            (0..self.args.clients)
                .map(|place| {
                    let turn = f64::from(place) * f64::from(servers) + f64::from(server);
                    (Duration::from_secs_f64(turn / rate), Act::Connect(place))
                })
                .collect()
        })
        .await?;
        let all = self.args.all() as u64;
        let patience = Duration::from_secs_f64(all as f64 / rate) + PATIENCE;
        let is_done = self
            .wait(patience, |totals| {
                let denied = Totals::of(&totals.answered) - Totals::of(&totals.allowed);
                Totals::of(&totals.allowed) + denied >= all
            })
            .await?;
        let up = Totals::of(&self.world.totals.up);
        let wanted = all * u64::from(100 - self.args.wrong) / 100;
        self.result.put("ramp_incomplete", wanted.saturating_sub(up).max(u64::from(!is_done)));
        self.result.number("ramp_s", (self.clock.now().mono - begun).as_secs_f64());
        let connected = self.rig.usage();
        let cpu = (connected.cpu - before.cpu).as_secs_f64();
        self.result.number("cpu_us_per_login", cpu * 1e6 / all as f64);
        // How long the database takes longer than the logins.
        let begun = self.clock.now().mono;
        while self.rig.backlog().await? > 1_000 && self.clock.now().mono - begun < PATIENCE {
            sleep(Duration::from_millis(50)).await;
        }
        self.result.number("rows_behind_s", (self.clock.now().mono - begun).as_secs_f64());
        sleep(SETTLE).await;
        let after = self.rig.usage();
        self.result.put("sessions", up);
        self.result.put("rss_kib_before", before.rss_kib);
        self.result.put("rss_kib", after.rss_kib);
        self.of_each("rss_bytes_per_session", before, after);
        Ok(before)
    }

    /// How many bytes the daemon has grown by, for each session that is up now.
    fn of_each(&mut self, name: &str, before: Usage, after: Usage) {
        let up = Totals::of(&self.world.totals.up).max(1);
        let grown = after.rss_kib.saturating_sub(before.rss_kib) * 1_024;
        self.result.number(name, grown as f64 / up as f64);
    }

    async fn connect_storm(&mut self, bare_before: Option<f64>) -> anyhow::Result<(Mono, Mono)> {
        let before = self.rig.usage();
        let begun = self.clock.now().mono;
        let clients = self.args.clients;
        let each = Duration::from_secs(self.args.over_s.into()) / clients;
        self.all_do(|_| (0..clients).map(|place| (each * place, Act::Connect(place))).collect())
            .await?;
        let (all, retry) = (self.args.all() as u64, self.args.retry);
        let patience = Duration::from_millis(self.args.timeout_ms) + PATIENCE;
        let patience = patience + Duration::from_secs(self.args.over_s.into());
        self.wait(patience, |totals| {
            let temporary = if retry { Totals::of(&totals.temporary) } else { 0 };
            Totals::of(&totals.answered) - temporary >= all
        })
        .await?;
        self.missing("storm_incomplete", all, |totals| {
            Totals::of(&totals.answered) - if retry { Totals::of(&totals.temporary) } else { 0 }
        });
        let ended = self.clock.now().mono;
        let after = self.rig.usage();
        self.result.put("rss_kib", after.rss_kib);
        self.result.number("daemon_cpu_s", (after.cpu - before.cpu).as_secs_f64());
        sleep(SETTLE).await;
        if let Some(bare_before) = bare_before {
            let (m_kib, t) = self.args.argon2();
            let cores = std::thread::available_parallelism()?.get();
            let bare_after = bare::argon2(m_kib, t, cores, BARE)?;
            self.result.number("bare_argon2_per_s_before", bare_before);
            self.result.number("bare_argon2_per_s_after", bare_after);
            self.result.number("bare_argon2_per_s", (bare_before + bare_after) / 2.0);
        }
        Ok((begun, ended))
    }

    async fn steady(&mut self) -> anyhow::Result<(Mono, Mono)> {
        let empty = self.ramp().await?;
        if self.args.restart {
            self.restart(u64::from(self.args.servers) * 2).await?;
        }
        let seconds = self.args.seconds;
        let (servers, clients) = (self.args.servers, self.args.clients);
        // Evenly over time and servers; the places of each kind in turn, so that nobody who is
        // away is asked.
        let spread = |rate: u32, server: u32, first: u32, act: fn(u32) -> Act| {
            let count = u64::from(rate) * seconds;
            (0..count).filter(move |turn| turn % u64::from(servers) == u64::from(server)).map(
                move |turn| {
                    let place =
                        (turn / u64::from(servers) * 2 + u64::from(first)) % u64::from(clients);
                    let after = Duration::from_secs_f64(turn as f64 / f64::from(rate));
                    (after, act(u32::try_from(place).unwrap_or(0)))
                },
            )
        };
        sleep(Duration::from_secs(self.args.settle_s)).await;
        let before = self.rig.usage();
        let (begun, killed) = (self.clock.now().mono, Totals::of(&self.world.totals.killed));
        self.all_do(|server| {
            spread(self.args.reauths, server, 0, Act::Reauth)
                .chain(spread(self.args.disconnects, server, 1, Act::Disconnect))
                .collect()
        })
        .await?;
        let mut switches = Switches::default();
        self.rig.count_switches(&mut switches);
        for _ in 0..seconds {
            sleep(Duration::from_secs(1)).await;
            self.rig.count_switches(&mut switches);
        }
        let after = self.rig.usage();
        let ended = self.clock.now().mono;
        let time = (ended - begun).as_secs_f64();
        self.result.number("measured_s", time);
        self.result.number("cpu_percent", (after.cpu - before.cpu).as_secs_f64() / time * 100.0);
        self.result.number("wake_ups_per_s", switches.sum as f64 / time);
        let killed = Totals::of(&self.world.totals.killed) - killed;
        self.result.number("kills_per_s", killed as f64 / time);
        self.result.put("rss_kib_at_end", after.rss_kib);
        self.of_each("rss_bytes_per_session_at_end", empty, after);
        self.result.put("backlog_at_end", self.rig.backlog().await?);
        // Whoever still waits is answered, too.
        let patience = Duration::from_millis(self.args.timeout_ms) + SETTLE;
        let has_all = |totals: &Totals| Totals::of(&totals.answered) >= Totals::of(&totals.asked);
        self.wait(patience, has_all).await?;
        Ok((begun, ended))
    }

    async fn expiry_storm(&mut self, end: Timestamp) -> anyhow::Result<(Mono, Mono)> {
        self.ramp().await?;
        let now = self.clock.now();
        let left = end.saturating_since(now.utc);
        if left.is_zero() {
            bail!("the time was over before everybody was connected: give a lower --ramp");
        }
        let before = self.rig.usage();
        sleep(left).await;
        let up = Totals::of(&self.world.totals.up);
        self.wait(PATIENCE, |totals| Totals::of(&totals.killed) >= up).await?;
        let after = self.rig.usage();
        self.result.put("kills_missing", up.saturating_sub(Totals::of(&self.world.totals.killed)));
        self.result.number("daemon_cpu_s", (after.cpu - before.cpu).as_secs_f64());
        self.result.put("rss_kib_at_end", after.rss_kib);
        Ok((now.mono, self.clock.now().mono))
    }

    async fn reconnect(&mut self) -> anyhow::Result<(Mono, Mono)> {
        self.ramp().await?;
        let begun = self.clock.now().mono;
        let servers = u64::from(self.args.servers);
        for server in 0..self.orders.len() {
            self.order(server, Order::Drop(self.args.clients - 1)).await?;
            // Somebody renegotiates as soon as the link is back.
            self.order(server, Order::Begin(vec![(Duration::ZERO, Act::Reauth(0))])).await?;
        }
        let answered = Totals::of(&self.world.totals.answered);
        self.wait(PATIENCE, |totals| Totals::of(&totals.attached) >= servers * 2).await?;
        let attached = self.clock.now().mono - begun;
        self.result.number("reattached_ms", attached.as_secs_f64() * 1_000.0);
        // That one, and who left without being heard and comes again.
        self.wait(PATIENCE, |totals| Totals::of(&totals.answered) >= answered + servers * 2)
            .await?;
        let ended = self.clock.now().mono;
        self.result.number("served_again_ms", (ended - begun).as_secs_f64() * 1_000.0);
        sleep(SETTLE).await;
        self.restart(servers * 3).await?;
        Ok((begun, ended))
    }

    /// The daemon anew: it adopts everybody, and knows nobody's password any more. `attached`: how often servers are attached
    /// to by then.
    async fn restart(&mut self, attached: u64) -> anyhow::Result<()> {
        self.rig.stop().await?;
        let ready = self.rig.start(self.clock).await?;
        self.result.number("restart_to_ready_ms", ready.as_secs_f64() * 1_000.0);
        self.wait(PATIENCE, |totals| Totals::of(&totals.attached) >= attached).await?;
        self.missing("attaches_missing", attached, |totals| Totals::of(&totals.attached));
        let all = self.args.all();
        for _ in 0..10 {
            sleep(SETTLE).await;
            let log = self.rig.log()?;
            let count: usize = log.adopted.values().map(|(_, count)| count).sum();
            if count + usize::try_from(log.dropped).unwrap_or(0) >= all {
                break;
            }
        }
        Ok(())
    }

    async fn slow_reader(&mut self) -> anyhow::Result<(Mono, Mono)> {
        let deaf = self.orders.len() / 2;
        for server in 0..deaf {
            self.order(server, Order::Deafen).await?;
        }
        let begun = self.clock.now().mono;
        let (servers, rate) = (self.args.servers, f64::from(self.args.ramp));
        self.all_do(|server| {
            (0..self.args.clients)
                .map(|place| {
                    let turn = f64::from(place) * f64::from(servers) + f64::from(server);
                    (Duration::from_secs_f64(turn / rate), Act::Connect(place))
                })
                .collect()
        })
        .await?;
        sleep(Duration::from_secs(self.args.seconds)).await;
        for server in 0..deaf {
            self.order(server, Order::Read).await?;
        }
        let all = self.args.all() as u64;
        self.wait(PATIENCE, |totals| Totals::of(&totals.answered) >= all).await?;
        self.result.put("deaf_servers", deaf);
        self.result.put("rss_kib", self.rig.usage().rss_kib);
        Ok((begun, self.clock.now().mono))
    }

    /// Ends everything and makes the numbers of what was seen between the two moments.
    async fn finish(mut self, (begun, ended): (Mono, Mono)) -> anyhow::Result<Result> {
        // What has just been asked is still to be answered.
        self.wait(SETTLE, |totals| Totals::of(&totals.answered) >= Totals::of(&totals.asked))
            .await?;
        for server in 0..self.orders.len() {
            self.order(server, Order::Finish).await?;
        }
        let mut seen = Seen::default();
        for server in self.servers {
            let mut of_server = server.await??;
            seen.answers.append(&mut of_server.answers);
            seen.kills.append(&mut of_server.kills);
            seen.lists.append(&mut of_server.lists);
            seen.unheard.append(&mut of_server.unheard);
            seen.faults.append(&mut of_server.faults);
        }
        self.rig.stop().await?;
        let log = self.rig.log()?;
        let totals = &self.world.totals;
        let mut wrong = Totals::of(&totals.wrong);
        let result = &mut self.result;
        seen.answers.retain(|answer| answer.asked >= begun && answer.asked <= ended);
        let is_deaf = self.args.scenario == Scenario::SlowReader;
        let deaf = if is_deaf { self.args.servers / 2 } else { 0 };
        latencies(result, &seen.answers, deaf, Duration::from_millis(self.args.timeout_ms));
        let unanswered = Totals::of(&totals.asked) - Totals::of(&totals.answered);
        result.put("unanswered", unanswered);
        let mut late = Vec::new();
        let mut early = 0;
        for (server, cid, at) in &seen.kills {
            if let Some(deadline) = log.deadlines.get(&(*server, *cid)) {
                early += u64::from(at < deadline);
                late.push(at.saturating_since(*deadline));
            }
        }
        wrong += early;
        if !seen.kills.is_empty() {
            result.put("kills", seen.kills.len());
            // Whose approval is not in the log: what was dropped of it is not known to have been in time.
            result.put("kills_unjudged", seen.kills.len() - late.len());
            result.put("kills_early", early);
            result.spread("kill_late", late);
        }
        if self.args.scenario == Scenario::Reconnect {
            // Who has left unheard is known once the list was compared.
            let closed = |(server, cid, left): &(u32, u32, Timestamp)| {
                Some(log.closed.get(&(*server, *cid))?.saturating_since(*left))
            };
            let found: Vec<_> = seen.unheard.iter().filter_map(closed).collect();
            result.put("unheard_missing", seen.unheard.len() - found.len());
            result.spread("compared", found);
            // The last list is the one that the new daemon adopted by.
            let lists: HashMap<u32, Timestamp> =
                seen.lists.iter().map(|(server, asked, _)| (*server, *asked)).collect();
            let spans = lists.iter().filter_map(|(server, asked)| {
                Some(log.adopted.get(server)?.0.saturating_since(*asked))
            });
            let adopted: usize = log.adopted.values().map(|(_, count)| count).sum();
            result.put("adopted", adopted);
            result.spread("reconcile", spans.collect());
        }
        result.put("log_lines_dropped", log.dropped);
        result.put("errors_logged", log.errors);
        if let Some(line) = log.first_error {
            result.put("first_error", line.as_str());
        }
        result.put("wrong_answers", wrong);
        for fault in seen.faults.iter().take(5) {
            result.put("fault", fault.as_str());
        }
        Ok(self.result)
    }
}

fn latencies(result: &mut Result, answers: &[Answer], deaf: u32, timeout: Duration) {
    let took = |wanted: &dyn Fn(&&Answer) -> bool| -> Vec<Duration> {
        answers.iter().filter(wanted).map(|answer| answer.answered - answer.asked).collect()
    };
    let logins = |answer: &&Answer| !answer.is_reauth;
    let first = answers.iter().filter(logins).map(|answer| answer.asked).min();
    let last = answers.iter().filter(logins).map(|answer| answer.answered).max();
    if let (Some(first), Some(last)) = (first, last) {
        let time = (last - first).as_secs_f64();
        let count = |wanted: &dyn Fn(&Answer) -> bool| {
            answers.iter().filter(|answer| !answer.is_reauth && wanted(answer)).count() as f64
        };
        result.number("window_s", time);
        result.number("answers_per_s", count(&|_| true) / time);
        // An answer that is a decision, and not a request to come again.
        let decided = count(&|answer| answer.outcome != Outcome::Temporary) / time;
        result.number("logins_per_s", decided);
        let ratio = result.get("bare_argon2_per_s").map(|bare| decided / bare);
        if let Some(ratio) = ratio {
            result.number("ratio_to_bare_argon2", ratio);
        }
    }
    for (name, outcome) in [
        ("allowed", Outcome::Allowed),
        ("denied", Outcome::Denied),
        ("temporary", Outcome::Temporary),
    ] {
        result.put(name, answers.iter().filter(|answer| answer.outcome == outcome).count());
    }
    for (name, evenness) in [
        ("evenness_of_servers", fairness::evenness_of_servers(answers)),
        ("evenness_of_moments", fairness::evenness_of_moments(answers)),
    ] {
        if let Some(evenness) = evenness {
            result.number(name, evenness);
        }
    }
    if let Some(shares) = fairness::decided_of_moments(answers) {
        let shares: Vec<_> = shares.iter().map(|share| format!("{share:.2}")).collect();
        result.put("decided_of_moments", shares.join(" "));
    }
    if let Some((least, most)) = fairness::decided_of_servers(answers) {
        result.put("decided_of_server_least", least);
        result.put("decided_of_server_most", most);
    }
    result.spread("login", took(&|answer| !answer.is_reauth && answer.server >= deaf));
    if deaf > 0 {
        result.spread("login_at_deaf", took(&|answer| !answer.is_reauth && answer.server < deaf));
    }
    let reauths = took(&|answer| answer.is_reauth);
    if !reauths.is_empty() {
        result.spread("reauth", reauths);
        let is_put_off =
            |answer: &&Answer| answer.is_reauth && answer.outcome == Outcome::Temporary;
        result.put("reauths_put_off", answers.iter().filter(is_put_off).count());
    }
    // A tenth of a second for the way to and fro on a machine that has its hands full.
    let limit = timeout + Duration::from_millis(100);
    let late = answers.iter().filter(|a| a.server >= deaf && a.answered - a.asked > limit).count();
    result.put("later_than_timeout", late);
}
