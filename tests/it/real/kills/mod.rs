//! The daemon and OpenVPN are killed at random moments while clients come and go.
//!
//! Nobody may be dropped, admitted or kept wrongly: `audit` has the rules. The scenario follows
//! from its seed, except for what the machine's speed changes.
//!
//! `WARDEN_TEST_KILLS` is the number of faults (6 unless set), `WARDEN_TEST_SEED` repeats a scenario.

mod audit;
mod crew;
mod records;

use std::fmt;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use self::audit::Evidence;
use self::crew::{Crew, LIMITED, UNLIMITED};
use self::records::{Millis, now};
use super::{Site, on_each_backend};
use crate::lab::{Backend, PASSWORD, ServerOptions, arguments, wait_until};

on_each_backend! {
    nobody_is_wrongly_dropped_admitted_or_kept => kills;
}

/// How long good clients may take to be in once nothing more is broken: a client that was approved
/// by a server that died in the same moment gives up after a minute.
const SETTLE: Duration = Duration::from_secs(80);
/// `[session] backstop_s`.
const BACKSTOP: Millis = 5_000;
/// `[session] accounting_interval_s`.
const ACCOUNTING: Millis = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hit {
    DaemonKill,
    DaemonTerm,
    OpenvpnKill,
    OpenvpnHup,
    OpenvpnUsr1,
    /// The daemon killed, and OpenVPN restarted while it is away.
    Both,
}

impl Hit {
    const ALL: [Self; 6] = [
        Self::DaemonKill,
        Self::DaemonTerm,
        Self::OpenvpnKill,
        Self::OpenvpnHup,
        Self::OpenvpnUsr1,
        Self::Both,
    ];
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DaemonKill => "daemon SIGKILL",
            Self::DaemonTerm => "daemon SIGTERM",
            Self::OpenvpnKill => "OpenVPN SIGKILL",
            Self::OpenvpnHup => "OpenVPN SIGHUP",
            Self::OpenvpnUsr1 => "OpenVPN SIGUSR1",
            Self::Both => "both",
        })
    }
}

/// What was done, and when.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub hit: Hit,
    /// From the signal on the daemon is not there, until it is started again.
    pub daemon: Option<(Millis, Millis)>,
    /// From the signal on the server's run is over, until it is started again.
    pub openvpn: Option<(Millis, Millis)>,
}

impl Fault {
    pub fn at(&self) -> Millis {
        let starts = self.daemon.into_iter().chain(self.openvpn).map(|(start, _)| start);
        starts.min().unwrap_or_default()
    }

    /// When everything ran again.
    pub fn until(&self) -> Millis {
        let ends = self.daemon.into_iter().chain(self.openvpn).map(|(_, end)| end);
        ends.max().unwrap_or_default()
    }
}

/// A deck in which every fault is; drawn from the top.
struct Deck(Vec<Hit>);

impl Deck {
    /// The next card. Six of ten are the daemon's, since a restart of OpenVPN ends all sessions.
    fn draw(&mut self, random: &mut StdRng) -> Hit {
        if self.0.is_empty() {
            self.0.extend([Hit::DaemonKill, Hit::DaemonKill, Hit::DaemonKill, Hit::DaemonTerm]);
            self.0.shuffle(random);
            let mut each = Hit::ALL;
            each.shuffle(random);
            self.0.extend(each);
        }
        self.0.pop().unwrap()
    }
}

/// Blocks; everything else here is another process.
#[expect(clippy::disallowed_methods, reason = "other processes live in real time")]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Its lines are what one reads while it runs.
#[expect(clippy::print_stdout, reason = "the protocol of a long test")]
fn say(line: &str) {
    println!("{line}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

fn kills(test: &str, backend: Backend) {
    let count = number("WARDEN_TEST_KILLS").unwrap_or(6);
    let seed = number("WARDEN_TEST_SEED").unwrap_or_else(|| rand::random_range(1..1_000_000));
    let options = ServerOptions {
        extra: arguments(&["--machine-readable-output", "--keepalive", "2", "10"]),
        ..Default::default()
    };
    let more = format!(
        "[session]\nbackstop_s = {}\naccounting_interval_s = {}\n\
         [throttle]\nuser_failures = 0\naddress_failures = 0\n",
        BACKSTOP / 1_000,
        ACCOUNTING / 1_000
    );
    let Some(site) = Site::new(test, backend, options, &more) else { return };
    say(&format!("{test}: {count} faults, WARDEN_TEST_SEED={seed}"));
    add_users(&site);

    let mut random = StdRng::seed_from_u64(seed);
    let crew = Crew::new(site, StdRng::from_rng(&mut random));
    let mut scenario = Scenario { crew, random, faults: Vec::new(), is_short: count <= 10 };
    scenario.play(count);
    let verdict = audit::judge(&scenario.end());
    say(&format!(
        "{} clients, {} tunnels, {} sessions; {} tunnels ended by restarts, {} by their limit",
        verdict.clients, verdict.tunnels, verdict.rows, verdict.restarted, verdict.limited
    ));
    assert!(verdict.tunnels > 3 && verdict.limited > 0, "too little happened");
    assert!(
        verdict.findings.is_empty(),
        "seed {seed}: {} findings:\n{}",
        verdict.findings.len(),
        verdict.findings.join("\n")
    );
}

struct Scenario {
    crew: Crew,
    random: StdRng,
    faults: Vec<Fault>,
    /// The part that belongs to every run of the tests.
    is_short: bool,
}

impl Scenario {
    fn play(&mut self, count: u64) {
        let began = now();
        let mut deck = Deck(Vec::new());
        self.crew.live(if self.is_short { 2_000 } else { 5_000 });
        for number in 1..=count {
            // Those that vanish stay with the server for a while: not at the end.
            self.crew.may_vanish = !self.is_short && number + 5 < count;
            let rest = match (self.is_short, self.random.random_bool(0.25)) {
                (_, true) => 200..1_500,
                (true, false) => 1_500..3_500,
                (false, false) => 3_000..11_000,
            };
            let rest = self.random.random_range(rest);
            self.crew.live(rest);
            self.crew.burst();
            let moment = self.random.random_range(0..1_200);
            self.crew.live(moment);

            assert!(self.crew.site.warden.is_running(), "the daemon ended by itself");
            assert!(self.crew.site.server.is_running(), "OpenVPN ended by itself");
            let hit = deck.draw(&mut self.random);
            let before = self.crew.up();
            let fault = self.strike(hit);
            let after = self.crew.up();
            let kept = before.iter().filter(|up| after.contains(up)).count();
            let away = |times: Option<(Millis, Millis)>| {
                times.map_or("       ".into(), |(a, b)| format!("{:5} ms", b - a))
            };
            say(&format!(
                "{number:4}/{count}  at {:7.1} s  {:15}  daemon away {}  OpenVPN away {}  \
                 up {:2}, of these now {:2}  logging in {:2}",
                (fault.at() - began) as f64 / 1_000.0,
                fault.hit,
                away(fault.daemon),
                away(fault.openvpn),
                before.len(),
                kept,
                self.crew.waiting(),
            ));
            self.faults.push(fault);
        }
    }

    fn strike(&mut self, hit: Hit) -> Fault {
        let mut fault = Fault { hit, daemon: None, openvpn: None };
        let start = now();
        match hit {
            Hit::DaemonKill | Hit::DaemonTerm => {
                if hit == Hit::DaemonKill {
                    self.crew.site.warden.kill();
                } else {
                    assert!(self.crew.site.warden.stop().success());
                }
                let away = self.away();
                self.crew.live(away);
                self.crew.site.warden.start();
                fault.daemon = Some((start, now()));
            }
            Hit::OpenvpnKill | Hit::OpenvpnHup | Hit::OpenvpnUsr1 => {
                self.restart_openvpn(hit, &mut fault);
            }
            Hit::Both => {
                self.crew.site.warden.kill();
                let first = self.random.random_range(0..1_500);
                self.crew.live(first);
                let how = [Hit::OpenvpnKill, Hit::OpenvpnHup, Hit::OpenvpnUsr1];
                let how = how[self.random.random_range(0..how.len())];
                self.restart_openvpn(how, &mut fault);
                let second = self.random.random_range(0..2_000);
                self.crew.live(second);
                self.crew.site.warden.start();
                fault.daemon = Some((start, now()));
            }
        }
        fault
    }

    fn restart_openvpn(&mut self, hit: Hit, fault: &mut Fault) {
        let start = now();
        match hit {
            Hit::OpenvpnHup => self.crew.site.server.signal("HUP"),
            Hit::OpenvpnUsr1 => self.crew.site.server.signal("USR1"),
            Hit::DaemonKill | Hit::DaemonTerm | Hit::OpenvpnKill | Hit::Both => {
                self.crew.site.server.kill();
                let away = self.random.random_range(0..3_000);
                self.crew.live(away);
                self.crew.site.server.start_again();
            }
        }
        fault.openvpn = Some((start, now()));
    }

    /// How long the daemon stays away: mostly as a supervisor takes, sometimes longer than a
    /// session may last.
    fn away(&mut self) -> Millis {
        let longest = match self.random.random_range(0..10) {
            _ if self.is_short => 2_000,
            0..7 => 1_500,
            7..9 => 6_000,
            _ => 12_000,
        };
        self.random.random_range(longest / 10..=longest)
    }

    /// Lets everything come to rest, sends everybody home and gathers the records.
    fn end(mut self) -> Evidence {
        self.crew.is_closed = true;
        let longest =
            LIMITED.map(|(_, _, seconds)| Millis::from(seconds) * 1_000).into_iter().max();
        let rest = longest.unwrap_or(0) + 2_000;
        self.crew.live(rest);
        // Whoever may be in has to come in.
        let all_in = wait_until(SETTLE, || self.crew.missing().is_empty().then_some(()));
        let missing = if all_in.is_some() { Vec::new() } else { self.crew.missing() };
        self.crew.dismiss();
        let warden = &mut self.crew.site.warden;
        // Of those that vanished the server takes leave after its ping time-out.
        let mut open = Vec::new();
        let _ = wait_until(Duration::from_secs(30), || {
            let rows = warden.json(&["session", "list"]);
            open = rows.as_array().unwrap().iter().map(|row| row["id"].to_string()).collect();
            open.is_empty().then_some(())
        });
        assert!(warden.stop().success());
        Evidence {
            rows: warden.json(&["session", "list", "--all"]),
            events: warden.events(),
            exits: records::exits(&self.crew.site.server.log()),
            has_backstop: self.crew.site.server.version() >= (2, 6),
            crew: self.crew,
            faults: self.faults,
            missing,
            open,
        }
    }
}

fn add_users(site: &Site) {
    let add = |user: &str, mac: &str, policy: &str| {
        site.warden.ok(&["user", "add", user, "--policy", policy, "--password-stdin"], PASSWORD);
        site.warden.ok(&["device", "add", user, mac], "");
    };
    for (user, mac) in UNLIMITED {
        add(user, mac, "default");
    }
    for (user, mac, seconds) in LIMITED {
        let (policy, seconds) = (format!("short-{seconds}"), seconds.to_string());
        site.warden.ok(&["policy", "add", &policy, "--session-limit-s", &seconds], "");
        add(user, mac, &policy);
    }
}
