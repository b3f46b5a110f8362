//! One OpenVPN server of the fleet: its listener, its clients, and what it says to its controller.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use ovpn_warden::types::{Mono, Timestamp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    population::{PASSWORD, mac, user},
    script::{self, Facts, Script},
    world::{Act, Answer, Order, Outcome, Seen, Totals, World},
};

/// How long a client that is told to leave stays (`scheduled_exit_interval` of OpenVPN), and one
/// that is denied.
const EXIT: Duration = Duration::from_secs(5);
/// What may wait for the controller before this server says more by itself, in bytes.
const AHEAD: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Out,
    Asked(Mono),
    Up,
    Renegotiating(Mono),
    /// Killed; the controller was told that it will go.
    Leaving,
}

struct Place {
    number: usize,
    has_wrong_password: bool,
    cid: u32,
    kid: u32,
    phase: Phase,
    since: i64,
    received: u64,
    sent: u64,
}

/// One server.
pub struct StandIn {
    name: u32,
    world: Arc<World>,
    places: Vec<Place>,
    of_cid: HashMap<u32, u32>,
    next_cid: u32,
    connected: usize,
    acts: BinaryHeap<Reverse<(Mono, Act)>>,
    unread: BytesMut,
    out: Vec<u8>,
    sent: usize,
    run: i64,
    accounting: Option<(Duration, Mono)>,
    /// An approval whose body is being read, and whether it has a `session-timeout`.
    body: Option<(u32, u32, bool)>,
    is_deaf: bool,
    is_attached: bool,
    seen: Seen,
}

impl StandIn {
    pub fn new(name: u32, clients: u32, world: Arc<World>) -> Self {
        let first = name as usize * clients as usize;
        let places = (first..first + clients as usize)
            .map(|number| Place {
                number,
                has_wrong_password: crate::population::is_among(number, world.wrong),
                cid: 0,
                kid: 1,
                phase: Phase::Out,
                since: 0,
                received: 0,
                sent: 0,
            })
            .collect();
        let run = world.clock.now().utc.as_secs();
        Self {
            name,
            world,
            places,
            of_cid: HashMap::new(),
            next_cid: 0,
            connected: 0,
            acts: BinaryHeap::new(),
            unread: BytesMut::new(),
            out: Vec::new(),
            sent: 0,
            run,
            accounting: None,
            body: None,
            is_deaf: false,
            is_attached: false,
            seen: Seen::default(),
        }
    }

    /// Serves one controller after the other until [`Order::Finish`].
    pub async fn serve(
        mut self,
        listener: TcpListener,
        mut orders: mpsc::Receiver<Order>,
    ) -> io::Result<Seen> {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted?.0,
                order = orders.recv() => match order {
                    None | Some(Order::Finish) => return Ok(self.seen),
                    Some(order) => { self.obey(order); continue }
                },
            };
            self.unread.clear();
            self.out.clear();
            self.sent = 0;
            self.body = None;
            self.is_attached = false;
            stream.set_nodelay(true)?;
            self.out.extend_from_slice(script::INFO.as_bytes());
            if self.converse(stream, &mut orders).await {
                return Ok(self.seen);
            }
        }
    }

    /// Until the connection ends; true: the run is over.
    async fn converse(&mut self, stream: TcpStream, orders: &mut mpsc::Receiver<Order>) -> bool {
        let (mut reader, mut writer) = stream.into_split();
        loop {
            self.act();
            let (now, clock) = (self.world.clock.now().mono, self.world.clock);
            let next = [self.acts.peek().map(|Reverse((at, _))| *at), self.accounting.map(|a| a.1)]
                .into_iter()
                .flatten()
                .min();
            let unsent = self.out.len() - self.sent;
            // What is due already waits for the controller to read.
            let timer = next.filter(|at| *at > now && self.is_attached);
            tokio::select! {
                read = reader.read_buf(&mut self.unread), if !self.is_deaf => match read {
                    Ok(0) | Err(_) => return false,
                    Ok(_) => self.read(),
                },
                written = writer.write(&self.out[self.sent..]), if unsent > 0 => match written {
                    Ok(count) => {
                        self.sent += count;
                        if self.sent == self.out.len() {
                            self.out.clear();
                            self.sent = 0;
                        }
                    }
                    Err(_) => return false,
                },
                order = orders.recv() => match order {
                    None | Some(Order::Finish) => return true,
                    Some(Order::Drop) => return false,
                    Some(order) => self.obey(order),
                },
                () = sleep_until(Instant::from_std(clock.instant(timer.unwrap_or(now)))),
                    if timer.is_some() => {}
            }
        }
    }

    fn obey(&mut self, order: Order) {
        let now = self.world.clock.now().mono;
        match order {
            Order::Begin(acts) => {
                self.acts.extend(acts.into_iter().map(|(after, act)| Reverse((now + after, act))));
            }
            Order::Deafen => self.is_deaf = true,
            Order::Read => self.is_deaf = false,
            Order::Drop | Order::Finish => {}
        }
    }

    /// Says what is due, as far as the controller keeps up.
    fn act(&mut self) {
        if !self.is_attached {
            return;
        }
        let now = self.world.clock.now();
        while self.out.len() - self.sent < AHEAD {
            match self.acts.peek() {
                Some(Reverse((at, _))) if *at <= now.mono => {}
                _ => break,
            }
            let Some(Reverse((_, act))) = self.acts.pop() else { break };
            match act {
                Act::Connect(place) => self.connect(place),
                Act::Reauth(place) => self.reauth(place),
                Act::Disconnect(place) => {
                    if self.places[place as usize].phase == Phase::Up {
                        self.disconnect(place);
                        self.acts.push(Reverse((now.mono, Act::Connect(place))));
                    }
                }
                Act::Gone(cid) => {
                    if let Some(place) = self.of_cid.get(&cid).copied() {
                        self.disconnect(place);
                        if self.world.rejoin.load(Ordering::Relaxed) {
                            self.acts.push(Reverse((now.mono, Act::Connect(place))));
                        }
                    }
                }
                Act::Denied(cid) => {
                    self.tell(&format!(">CLIENT:DISCONNECT,{cid}\r\n>CLIENT:ENV,END\r\n"));
                }
            }
        }
        if let Some((interval, at)) = self.accounting
            && at <= now.mono
            && self.out.len() - self.sent < AHEAD
        {
            self.accounting = Some((interval, now.mono + interval));
            self.count_bytes();
        }
    }

    fn count_bytes(&mut self) {
        for place in self.places.iter_mut().filter(|place| place.phase == Phase::Up) {
            place.received += 1_000;
            place.sent += 10_000;
            let line =
                format!(">BYTECOUNT_CLI:{},{},{}\r\n", place.cid, place.received, place.sent);
            self.out.extend_from_slice(line.as_bytes());
        }
    }

    fn tell(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn connect(&mut self, index: u32) {
        let (cid, now) = (self.next_cid, self.world.clock.now());
        let place = &mut self.places[index as usize];
        if place.phase != Phase::Out {
            return;
        }
        self.next_cid += 1;
        place.cid = cid;
        place.kid = 1;
        place.phase = Phase::Asked(now.mono);
        (place.received, place.sent) = (2_000, 2_000);
        self.of_cid.insert(cid, index);
        self.say(index, |script| &script.connect);
        Totals::add(&self.world.totals.asked);
    }

    fn reauth(&mut self, index: u32) {
        let now = self.world.clock.now();
        let place = &mut self.places[index as usize];
        if place.phase == Phase::Up {
            place.kid += 2;
            place.phase = Phase::Renegotiating(now.mono);
            self.say(index, |script| &script.reauth);
            Totals::add(&self.world.totals.asked);
        }
    }

    fn disconnect(&mut self, index: u32) {
        self.say(index, |script| &script.disconnect);
        let place = &mut self.places[index as usize];
        place.phase = Phase::Out;
        self.of_cid.remove(&place.cid);
        self.connected -= 1;
        self.world.totals.up.fetch_sub(1, Ordering::Relaxed);
    }

    fn say(&mut self, index: u32, block: impl Fn(&Script) -> &script::Block) {
        let place = &self.places[index as usize];
        let now = self.world.clock.now().utc;
        let facts = Facts {
            cid: place.cid,
            kid: place.kid,
            user: &user(place.number),
            password: if place.has_wrong_password { "wrong" } else { PASSWORD },
            mac: &mac(place.number),
            ip: &address(10, place.number),
            port: port(place.number),
            vpn_ip: &address(172, place.number),
            since: place.since,
            since_text: &calendar(place.since),
            duration: u64::try_from(now.as_secs() - place.since).unwrap_or(0),
            received: place.received,
            sent: place.sent,
            clients: self.connected,
        };
        block(&self.world.script).say(&facts, &mut self.out);
    }

    fn read(&mut self) {
        while let Some(end) = memchr::memchr(b'\n', &self.unread) {
            let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
            self.unread.advance(end + 1);
            self.command(&line);
        }
    }

    fn command(&mut self, line: &str) {
        if let Some((cid, kid, has_timeout)) = &mut self.body {
            if line == "END" {
                let (cid, kid, has_timeout) = (*cid, *kid, *has_timeout);
                self.body = None;
                if !has_timeout {
                    self.fault(format!("client {cid} was approved without a session-timeout"));
                }
                self.approved(cid, kid);
            } else {
                *has_timeout |= line.starts_with("session-timeout ");
            }
            return;
        }
        let mut words = line.split(' ');
        let command = words.next().unwrap_or("");
        let mut number = || words.next().and_then(|word| word.parse::<u32>().ok());
        match command {
            "version" => self.tell(script::VERSION),
            "env-filter" => self.tell("SUCCESS: env_filter_level=0\r\n"),
            "state" if line == "state on" => {
                self.tell("SUCCESS: real-time state notification set to ON\r\n");
            }
            "state" => {
                let run = self.run;
                self.tell(&format!("{run},CONNECTED,SUCCESS,10.99.0.1,,,,\r\nEND\r\n"));
            }
            "status" => self.status(),
            "bytecount" => {
                let interval = Duration::from_secs(number().unwrap_or(0).max(1).into());
                // Not all servers of a fleet at the same moment.
                let first = interval.mul_f64(f64::from(self.name % 97) / 97.0);
                self.accounting = Some((interval, self.world.clock.now().mono + first));
                self.tell("SUCCESS: bytecount interval changed\r\n");
                if !self.is_attached {
                    self.is_attached = true;
                    Totals::add(&self.world.totals.attached);
                }
            }
            "hold" => self.tell("SUCCESS: hold release succeeded\r\n"),
            "client-pending-auth" => {
                self.tell("SUCCESS: client-pending-auth command succeeded\r\n");
            }
            "client-auth" => match (number(), number()) {
                (Some(cid), Some(kid)) => self.body = Some((cid, kid, false)),
                _ => self.fault(format!("not a command of OpenVPN's: {line}")),
            },
            "client-auth-nt" => match (number(), number()) {
                (Some(cid), Some(kid)) => self.approved(cid, kid),
                _ => self.fault(format!("not a command of OpenVPN's: {line}")),
            },
            "client-deny" => match (number(), number()) {
                (Some(cid), Some(kid)) => self.denied(cid, kid, line),
                _ => self.fault(format!("not a command of OpenVPN's: {line}")),
            },
            "client-kill" => match number() {
                Some(cid) => self.killed(cid),
                None => self.fault(format!("not a command of OpenVPN's: {line}")),
            },
            _ => {
                self.tell("ERROR: unknown command, enter 'help' for more options\r\n");
                self.fault(format!("not a command of OpenVPN's: {line}"));
            }
        }
    }

    /// The place whose question this answers, and when it was asked.
    fn asked(&mut self, cid: u32, kid: u32) -> Option<(u32, Mono, bool)> {
        let index = *self.of_cid.get(&cid)?;
        let place = &self.places[index as usize];
        match place.phase {
            Phase::Asked(at) if place.kid == kid => Some((index, at, false)),
            Phase::Renegotiating(at) if place.kid == kid => Some((index, at, true)),
            Phase::Asked(_) | Phase::Renegotiating(_) | Phase::Out | Phase::Up | Phase::Leaving => {
                None
            }
        }
    }

    fn approved(&mut self, cid: u32, kid: u32) {
        let Some((index, asked, is_reauth)) = self.asked(cid, kid) else {
            self.tell("ERROR: client-auth command failed\r\n");
            self.fault(format!("client {cid} was approved and had not asked"));
            return;
        };
        self.tell("SUCCESS: client-auth command succeeded\r\n");
        let now = self.world.clock.now().utc;
        let place = &mut self.places[index as usize];
        place.phase = Phase::Up;
        let should_not = place.has_wrong_password;
        if !is_reauth {
            place.since = now.as_secs();
            let ip = address(172, place.number);
            self.connected += 1;
            Totals::add(&self.world.totals.up);
            self.tell(&format!(">CLIENT:ADDRESS,{cid},{ip},1\r\n"));
            self.say(index, |script| &script.established);
        }
        self.answered(asked, is_reauth, Outcome::Allowed);
        if should_not {
            self.fault(format!("client {cid} was approved with a wrong password"));
        }
    }

    fn denied(&mut self, cid: u32, kid: u32, line: &str) {
        let Some((index, asked, is_reauth)) = self.asked(cid, kid) else {
            self.tell("ERROR: client-deny command failed\r\n");
            self.fault(format!("client {cid} was denied and had not asked"));
            return;
        };
        self.tell("SUCCESS: client-deny command succeeded\r\n");
        let wait = line.split_once("TEMP[backoff ").and_then(|(_, rest)| {
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        });
        let now = self.world.clock.now().mono;
        let place = &mut self.places[index as usize];
        let is_right = place.has_wrong_password || wait.is_some();
        if is_reauth {
            // A kill follows.
            place.phase = Phase::Up;
        } else {
            place.phase = Phase::Out;
            self.of_cid.remove(&cid);
            self.acts.push(Reverse((now + EXIT, Act::Denied(cid))));
        }
        let outcome = if wait.is_some() { Outcome::Temporary } else { Outcome::Denied };
        self.answered(asked, is_reauth, outcome);
        if !is_right {
            self.fault(format!("client {cid} was denied: {line}"));
        }
        if let Some(wait) = wait.filter(|_| self.world.retry && !is_reauth) {
            // Clients do not come back in the same millisecond.
            let wait = Duration::from_secs(wait) + Duration::from_millis(u64::from(index) % 1_000);
            self.acts.push(Reverse((now + wait, Act::Connect(index))));
        }
    }

    fn answered(&mut self, asked: Mono, is_reauth: bool, outcome: Outcome) {
        let (server, answered) = (self.name, self.world.clock.now().mono);
        self.seen.answers.push(Answer { server, is_reauth, asked, answered, outcome });
        let totals = &self.world.totals;
        Totals::add(&totals.answered);
        match outcome {
            Outcome::Allowed => Totals::add(&totals.allowed),
            Outcome::Temporary => Totals::add(&totals.temporary),
            Outcome::Denied => {}
        }
    }

    fn killed(&mut self, cid: u32) {
        let now = self.world.clock.now();
        let Some(index) = self.of_cid.get(&cid).copied() else {
            // It left in the same moment.
            self.tell("ERROR: client-kill command failed\r\n");
            return;
        };
        self.tell("SUCCESS: client-kill command succeeded\r\n");
        let place = &mut self.places[index as usize];
        if place.phase == Phase::Leaving {
            self.fault(format!("client {cid} was killed twice within its leave"));
            return;
        }
        place.phase = Phase::Leaving;
        self.seen.kills.push((self.name, cid, now.utc));
        Totals::add(&self.world.totals.killed);
        self.acts.push(Reverse((now.mono + EXIT, Act::Gone(cid))));
    }

    fn status(&mut self) {
        let now = self.world.clock.now().utc.as_secs();
        let now_text = calendar(now);
        let title = script::VERSION.split("\r\n").next().unwrap_or("");
        let title = title.trim_start_matches("OpenVPN Version: ");
        self.tell(&format!("TITLE\t{title}\r\nTIME\t{now_text}\t{now}\r\n"));
        self.tell(script::STATUS_HEADER);
        let mut routes = String::new();
        let mut rows = 0;
        for place in &self.places {
            let (name, port, cid) = (user(place.number), port(place.number), place.cid);
            let (real, vpn) = (address(10, place.number), address(172, place.number));
            let since = place.since;
            let since_text = calendar(since);
            let line = match place.phase {
                Phase::Out => continue,
                Phase::Asked(_) => format!(
                    "CLIENT_LIST\t{name}\t{real}:{port}\t\t\t{}\t{}\t{now_text}\t{now}\t{name}\t{cid}\t{cid}\tAES-256-GCM\r\n",
                    place.received, place.sent
                ),
                Phase::Up | Phase::Renegotiating(_) | Phase::Leaving => {
                    routes.push_str(&format!(
                        "ROUTING_TABLE\t{vpn}\t{name}\t{real}:{port}\t{now_text}\t{now}\r\n"
                    ));
                    format!(
                        "CLIENT_LIST\t{name}\t{real}:{port}\t{vpn}\t\t{}\t{}\t{since_text}\t{since}\t{name}\t{cid}\t{cid}\tAES-256-GCM\r\n",
                        place.received, place.sent
                    )
                }
            };
            rows += 1;
            self.out.extend_from_slice(line.as_bytes());
        }
        self.tell(script::ROUTING_HEADER);
        self.tell(&routes);
        self.tell(script::STATUS_END);
        self.seen.lists.push((self.name, self.world.clock.now().utc, rows));
    }

    fn fault(&mut self, text: String) {
        Totals::add(&self.world.totals.wrong);
        if self.seen.faults.len() < 5 {
            self.seen.faults.push(format!("server {}: {text}", self.name));
        }
    }
}

fn address(first: u8, number: usize) -> String {
    let [.., a, b, c] = (number as u64).to_be_bytes();
    format!("{first}.{a}.{b}.{c}")
}

fn port(number: usize) -> u16 {
    1_024 + u16::try_from(number % 60_000).unwrap_or(0)
}

/// As OpenVPN prints a time.
fn calendar(secs: i64) -> String {
    let text = Timestamp::from_secs(secs).to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}
