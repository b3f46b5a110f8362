//! One OpenVPN server of the fleet: its listener, its clients, and what it says to its controller.

mod commands;
mod habits;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::BytesMut;
use ovpn_warden::types::{Mono, Timestamp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    chaos::record::{End, flow},
    population::{PASSWORD, mac, user},
    script::{self, Facts, Script},
    world::{Act, Order, Seen, Totals, World},
};

pub use habits::HAND_WINDOW;
use habits::Habits;

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
    /// Killed, with a question since then; the controller was told that it will go.
    Leaving(Option<Mono>),
}

struct Place {
    number: usize,
    has_wrong_password: bool,
    cid: u32,
    kid: u32,
    phase: Phase,
    /// When it came, in seconds.
    since: i64,
    /// When it was approved.
    admitted: Option<Timestamp>,
    /// Its entry in the record.
    entry: Option<usize>,
}

/// How a connection ended.
enum Parting {
    /// The controller has gone.
    Lost,
    /// The run is over.
    Over,
    /// This server is killed, and comes again after that time.
    Died(Duration),
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
    /// An approval whose body is being read, and its `session-timeout`.
    body: Option<(u32, u32, Option<u32>)>,
    is_deaf: bool,
    /// A controller is there.
    is_connected: bool,
    /// It has set the connection up.
    is_attached: bool,
    /// Clients that live by themselves, whether a controller is there or not.
    habits: Option<Habits>,
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
                admitted: None,
                entry: None,
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
            is_connected: false,
            is_attached: false,
            habits: None,
            seen: Seen::default(),
        }
    }

    /// Lets the clients live by themselves.
    pub fn with_habits(self, seed: u64) -> Self {
        Self { habits: Some(Habits::new(seed)), ..self }
    }

    /// Serves one controller after the other until [`Order::Finish`].
    pub async fn serve(
        mut self,
        mut listener: TcpListener,
        mut orders: mpsc::Receiver<Order>,
    ) -> io::Result<Seen> {
        let address = listener.local_addr()?;
        loop {
            self.act();
            let timer = self.next_act().filter(|_| self.habits.is_some());
            let clock = self.world.clock;
            let at = timer.unwrap_or_else(|| clock.now().mono);
            let parting = tokio::select! {
                accepted = listener.accept() => {
                    let stream = accepted?.0;
                    stream.set_nodelay(true)?;
                    self.converse(stream, &mut orders).await
                }
                order = orders.recv() => match order {
                    None | Some(Order::Finish) => Parting::Over,
                    Some(Order::Die(away)) => Parting::Died(away),
                    Some(Order::Freeze(time)) => { self.freeze(time).await; Parting::Lost }
                    Some(order) => { self.obey(order); Parting::Lost }
                },
                () = sleep_until(Instant::from_std(clock.instant(at))), if timer.is_some() => {
                    Parting::Lost
                }
            };
            self.lose();
            match parting {
                Parting::Lost => {}
                Parting::Over => return Ok(self.seen),
                Parting::Died(away) => {
                    drop(listener);
                    listener = self.die(address, away).await?;
                }
            }
        }
    }

    /// The controller is gone, and what was not sent with it.
    fn lose(&mut self) {
        if self.is_attached
            && let Some(record) = &self.world.record
        {
            record.detached(self.name, self.world.clock.now().utc);
        }
        self.is_connected = false;
        self.is_attached = false;
        self.accounting = None;
        self.unread.clear();
        self.out.clear();
        self.sent = 0;
        self.body = None;
    }

    /// All clients are gone without a word; another run begins, in which ids start again.
    async fn die(&mut self, address: SocketAddr, away: Duration) -> io::Result<TcpListener> {
        self.acts.clear();
        for index in 0..u32::try_from(self.places.len()).unwrap_or(0) {
            if self.places[index as usize].phase != Phase::Out {
                self.forget(index, End::ServerDied, self.world.clock.now().utc);
            }
            self.return_later(index, away);
        }
        self.next_cid = 0;
        let from = self.world.clock.now().utc;
        sleep(away).await;
        let until = self.world.clock.now().utc;
        self.seen.away.push((from, until));
        self.run = until.as_secs();
        TcpListener::bind(address).await
    }

    /// Stands still, as under SIGSTOP: its sockets stay, and what is sent to it waits in them.
    async fn freeze(&mut self, time: Duration) {
        let from = self.world.clock.now().utc;
        sleep(time).await;
        self.seen.frozen.push((from, self.world.clock.now().utc));
    }

    /// When the next thing is to be done.
    fn next_act(&self) -> Option<Mono> {
        let act = self.acts.peek().map(|Reverse((at, _))| *at);
        act.into_iter().chain(self.accounting.map(|(_, at)| at)).min()
    }

    /// Until the connection ends.
    async fn converse(&mut self, stream: TcpStream, orders: &mut mpsc::Receiver<Order>) -> Parting {
        let (mut reader, mut writer) = stream.into_split();
        self.is_connected = true;
        self.tell(script::INFO);
        loop {
            self.act();
            let (now, clock) = (self.world.clock.now().mono, self.world.clock);
            let unsent = self.out.len() - self.sent;
            // What is due already waits for the controller to read.
            let timer = self.next_act().filter(|at| *at > now && self.acts_now());
            tokio::select! {
                read = reader.read_buf(&mut self.unread), if !self.is_deaf => match read {
                    Ok(0) | Err(_) => return Parting::Lost,
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
                    Err(_) => return Parting::Lost,
                },
                order = orders.recv() => match order {
                    None | Some(Order::Finish) => return Parting::Over,
                    Some(Order::Drop(leaves)) => {
                        self.lose();
                        self.leave_unheard(leaves);
                        return Parting::Lost;
                    }
                    Some(Order::Die(away)) => return Parting::Died(away),
                    Some(Order::Freeze(time)) => self.freeze(time).await,
                    Some(order) => self.obey(order),
                },
                () = sleep_until(Instant::from_std(clock.instant(timer.unwrap_or(now)))),
                    if timer.is_some() => {}
            }
        }
    }

    /// Whether clients do anything: those with habits always, others once they are watched.
    const fn acts_now(&self) -> bool {
        self.is_attached || self.habits.is_some()
    }

    fn obey(&mut self, order: Order) {
        let now = self.world.clock.now().mono;
        match order {
            Order::Begin(acts) => {
                self.acts.extend(acts.into_iter().map(|(after, act)| Reverse((now + after, act))));
            }
            Order::Deafen => self.is_deaf = true,
            Order::Read => self.is_deaf = false,
            Order::Leave => {
                for index in 0..u32::try_from(self.places.len()).unwrap_or(0) {
                    if self.places[index as usize].phase != Phase::Out {
                        self.depart(index, End::Left);
                    }
                }
            }
            Order::Drop(_) | Order::Finish | Order::Die(_) | Order::Freeze(_) => {}
        }
    }

    /// Says what is due, as far as the controller keeps up.
    fn act(&mut self) {
        if !self.acts_now() {
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
                        self.depart(place, End::Left);
                        self.acts.push(Reverse((now.mono, Act::Connect(place))));
                    }
                }
                Act::Gone(cid, why) => {
                    if let Some(place) = self.of_cid.get(&cid).copied() {
                        self.depart(place, why);
                        if self.habits.is_some() {
                            self.return_later(place, Duration::ZERO);
                        } else if self.world.rejoin.load(Ordering::Relaxed) {
                            self.acts.push(Reverse((now.mono, Act::Connect(place))));
                        }
                    }
                }
                Act::Denied(cid) => self.tell_gone(cid),
                Act::Renegotiate(cid) => {
                    if let Some(place) = self.of_cid.get(&cid).copied() {
                        self.reauth(place);
                        self.renegotiate_later(cid);
                    }
                }
                Act::Unanswered(cid, kid) => {
                    if let Some((place, _, _)) = self.asked(cid, kid)
                        && !matches!(self.places[place as usize].phase, Phase::Leaving(_))
                    {
                        self.depart(place, End::Unanswered);
                        self.return_later(place, Duration::ZERO);
                    }
                }
            }
        }
        if let Some((interval, at)) = self.accounting
            && at <= now.mono
            && self.out.len() - self.sent < AHEAD
        {
            self.accounting = Some((interval, now.mono + interval));
            self.count_bytes(now.utc);
        }
    }

    fn count_bytes(&mut self, now: Timestamp) {
        let mut lines = String::new();
        for place in self.places.iter().filter(|place| place.admitted.is_some()) {
            let (received, sent) = place.bytes(now);
            // Writing to a string cannot fail.
            let _ = write!(lines, ">BYTECOUNT_CLI:{},{received},{sent}\r\n", place.cid);
        }
        self.tell(&lines);
    }

    /// Says it to the controller, if one is there.
    fn tell(&mut self, text: &str) {
        if self.is_connected {
            self.out.extend_from_slice(text.as_bytes());
        }
    }

    /// A client that was never in is forgotten: nothing is said of it but its id.
    fn tell_gone(&mut self, cid: u32) {
        self.tell(&format!(">CLIENT:DISCONNECT,{cid}\r\n>CLIENT:ENV,END\r\n"));
    }

    fn later(&mut self, after: Duration, act: Act) {
        self.acts.push(Reverse((self.world.clock.now().mono + after, act)));
    }

    /// A client with habits comes again.
    fn return_later(&mut self, index: u32, away: Duration) {
        if let Some(habits) = &mut self.habits
            && self.world.rejoin.load(Ordering::Relaxed)
        {
            let pause = habits.return_after();
            self.later(away + pause, Act::Connect(index));
        }
    }

    fn renegotiate_later(&mut self, cid: u32) {
        if let Some(habits) = &mut self.habits {
            let pause = habits.renegotiate();
            self.later(pause, Act::Renegotiate(cid));
        }
    }

    fn connect(&mut self, index: u32) {
        let (cid, now) = (self.next_cid, self.world.clock.now());
        let is_over = self.habits.is_some() && !self.world.rejoin.load(Ordering::Relaxed);
        let place = &mut self.places[index as usize];
        if place.phase != Phase::Out || is_over {
            return;
        }
        self.next_cid += 1;
        place.cid = cid;
        place.kid = 1;
        place.phase = Phase::Asked(now.mono);
        place.since = now.utc.as_secs();
        let record = self.world.record.as_ref();
        place.entry =
            record.map(|record| record.asked(self.name, self.run, cid, place.number, now.utc));
        self.of_cid.insert(cid, index);
        self.say(index, |script| &script.connect);
        Totals::add(&self.world.totals.asked);
        self.wait_for_answer(cid, 1);
    }

    fn reauth(&mut self, index: u32) {
        let now = self.world.clock.now();
        let place = &mut self.places[index as usize];
        if place.phase == Phase::Up {
            place.kid += 2;
            place.phase = Phase::Renegotiating(now.mono);
            let (cid, kid) = (place.cid, place.kid);
            self.say(index, |script| &script.reauth);
            Totals::add(&self.world.totals.asked);
            self.wait_for_answer(cid, kid);
        }
    }

    fn wait_for_answer(&mut self, cid: u32, kid: u32) {
        if self.habits.is_some() {
            self.later(HAND_WINDOW, Act::Unanswered(cid, kid));
        }
    }

    /// A client is gone, and the controller hears of it.
    fn depart(&mut self, index: u32, why: End) {
        // What the controller is told and what is written down are of one moment: the auditor compares to the octet.
        let now = self.world.clock.now().utc;
        if self.places[index as usize].admitted.is_some() {
            self.say_at(index, now, |script| &script.disconnect);
        } else {
            self.tell_gone(self.places[index as usize].cid);
        }
        self.forget(index, why, now);
    }

    /// While no controller is there.
    fn leave_unheard(&mut self, index: u32) {
        let now = self.world.clock.now();
        self.seen.unheard.push((self.name, self.places[index as usize].cid, now.utc));
        self.depart(index, End::Left);
        self.acts.push(Reverse((now.mono, Act::Connect(index))));
    }

    /// A client is gone.
    fn forget(&mut self, index: u32, why: End, now: Timestamp) {
        let place = &mut self.places[index as usize];
        place.phase = Phase::Out;
        self.of_cid.remove(&place.cid);
        if let (Some(record), Some(entry)) = (&self.world.record, place.entry.take()) {
            record.ended(entry, why, now);
        }
        if place.admitted.take().is_some() {
            self.connected -= 1;
            self.world.totals.up.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn say(&mut self, index: u32, block: impl Fn(&Script) -> &script::Block) {
        self.say_at(index, self.world.clock.now().utc, block);
    }

    fn say_at(&mut self, index: u32, now: Timestamp, block: impl Fn(&Script) -> &script::Block) {
        if !self.is_connected {
            return;
        }
        let place = &self.places[index as usize];
        let (received, sent) = place.bytes(now);
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
            received,
            sent,
            clients: self.connected,
        };
        block(&self.world.script).say(&facts, &mut self.out);
    }

    fn fault(&mut self, text: String) {
        Totals::add(&self.world.totals.wrong);
        if self.seen.faults.len() < 5 {
            self.seen.faults.push(format!("server {}: {text}", self.name));
        }
    }
}

impl Place {
    /// Its question is answered; who was killed meanwhile leaves all the same.
    const fn answer(&mut self) {
        self.phase = match self.phase {
            Phase::Leaving(_) => Phase::Leaving(None),
            Phase::Out | Phase::Asked(_) | Phase::Up | Phase::Renegotiating(_) => Phase::Up,
        };
    }

    /// What it has carried.
    fn bytes(&self, now: Timestamp) -> (u64, u64) {
        flow(self.admitted.map_or(0, |at| now.as_millis() - at.as_millis()))
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
