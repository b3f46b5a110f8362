//! What the controller commands, and what follows from it.

use std::{cmp::Reverse, time::Duration};

use bytes::Buf;
use ovpn_warden::types::Mono;

use super::{EXIT, Habits, Phase, StandIn, address, calendar, port};
use crate::{
    chaos::record::End,
    population::user,
    script,
    world::{Act, Answer, Outcome, Totals},
};

impl StandIn {
    pub(super) fn read(&mut self) {
        while let Some(end) = memchr::memchr(b'\n', &self.unread) {
            let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
            self.unread.advance(end + 1);
            self.command(&line);
        }
    }

    pub(super) fn command(&mut self, line: &str) {
        if let Some((cid, kid, timeout)) = &mut self.body {
            if line == "END" {
                let (cid, kid, timeout) = (*cid, *kid, *timeout);
                self.body = None;
                if timeout.is_none() {
                    self.fault(format!("client {cid} was approved without a session-timeout"));
                }
                self.approved(cid, kid, timeout);
            } else if let Some(seconds) = line.strip_prefix("session-timeout ") {
                *timeout = seconds.parse().ok();
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
                    if let Some(record) = &self.world.record {
                        record.attached(self.name, self.world.clock.now().utc);
                    }
                }
            }
            "hold" => self.tell("SUCCESS: hold release succeeded\r\n"),
            "client-pending-auth" => {
                self.tell("SUCCESS: client-pending-auth command succeeded\r\n");
            }
            "client-auth" => match (number(), number()) {
                (Some(cid), Some(kid)) => self.body = Some((cid, kid, None)),
                _ => self.fault(format!("not a command of OpenVPN's: {line}")),
            },
            "client-auth-nt" => match (number(), number()) {
                (Some(cid), Some(kid)) => self.approved(cid, kid, None),
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
    pub(super) fn asked(&mut self, cid: u32, kid: u32) -> Option<(u32, Mono, bool)> {
        let index = *self.of_cid.get(&cid)?;
        let place = &self.places[index as usize];
        match place.phase {
            Phase::Asked(at) if place.kid == kid => Some((index, at, false)),
            Phase::Renegotiating(at) | Phase::Leaving(Some(at)) if place.kid == kid => {
                Some((index, at, true))
            }
            Phase::Asked(_)
            | Phase::Renegotiating(_)
            | Phase::Out
            | Phase::Up
            | Phase::Leaving(_) => None,
        }
    }

    fn approved(&mut self, cid: u32, kid: u32, timeout: Option<u32>) {
        let Some((index, asked, is_reauth)) = self.asked(cid, kid) else {
            self.tell("ERROR: client-auth command failed\r\n");
            self.unasked(format!("client {cid} was approved and had not asked"));
            return;
        };
        self.tell("SUCCESS: client-auth command succeeded\r\n");
        let now = self.world.clock.now().utc;
        let place = &mut self.places[index as usize];
        place.answer();
        let should_not = place.has_wrong_password;
        if !is_reauth {
            place.admitted = Some(now);
            let ip = address(172, place.number);
            if let (Some(record), Some(entry)) = (&self.world.record, place.entry) {
                record.admitted(entry, now);
            }
            self.connected += 1;
            Totals::add(&self.world.totals.up);
            self.tell(&format!(">CLIENT:ADDRESS,{cid},{ip},1\r\n"));
            self.say(index, |script| &script.established);
            if let Some(habits) = &mut self.habits {
                let stay = habits.stay();
                self.later(stay, Act::Gone(cid, End::Left));
                self.renegotiate_later(cid);
                if let Some(seconds) = timeout {
                    let over = Duration::from_secs(seconds.into());
                    self.later(over, Act::Gone(cid, End::TimedOut));
                }
            }
        }
        self.answered(asked, is_reauth, Outcome::Allowed);
        if should_not {
            self.fault(format!("client {cid} was approved with a wrong password"));
        }
    }

    fn denied(&mut self, cid: u32, kid: u32, line: &str) {
        let Some((index, asked, is_reauth)) = self.asked(cid, kid) else {
            self.tell("ERROR: client-deny command failed\r\n");
            self.unasked(format!("client {cid} was denied and had not asked"));
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
            place.answer();
        } else {
            self.acts.push(Reverse((now + EXIT, Act::Denied(cid))));
            let end = if wait.is_some() { End::Postponed } else { End::Denied };
            self.forget(index, end, self.world.clock.now().utc);
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
        } else if !is_reauth {
            self.return_later(index, EXIT);
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
        if let Phase::Leaving(_) = place.phase {
            self.unasked(format!("client {cid} was killed twice within its leave"));
            return;
        }
        // OpenVPN answers `SUCCESS` to a verdict as long as the instance is there.
        place.phase = Phase::Leaving(match place.phase {
            Phase::Renegotiating(at) => Some(at),
            Phase::Asked(_) | Phase::Out | Phase::Up | Phase::Leaving(_) => None,
        });
        self.seen.kills.push((self.name, cid, now.utc));
        Totals::add(&self.world.totals.killed);
        if let (Some(record), Some(entry)) = (&self.world.record, place.entry) {
            record.killed(entry, now.utc);
        }
        let exit = self.habits.as_mut().map_or(EXIT, Habits::exit);
        self.acts.push(Reverse((now.mono + exit, Act::Gone(cid, End::Killed))));
    }

    fn status(&mut self) {
        let utc = self.world.clock.now().utc;
        let now = utc.as_secs();
        let now_text = calendar(now);
        let title = script::VERSION.split("\r\n").next().unwrap_or("");
        let title = title.trim_start_matches("OpenVPN Version: ");
        self.tell(&format!("TITLE\t{title}\r\nTIME\t{now_text}\t{now}\r\n"));
        self.tell(script::STATUS_HEADER);
        let (mut lines, mut routes) = (String::new(), String::new());
        let mut rows = 0;
        for place in &self.places {
            let (name, port, cid) = (user(place.number), port(place.number), place.cid);
            let (real, vpn) = (address(10, place.number), address(172, place.number));
            let since = place.since;
            let since_text = calendar(since);
            let (received, sent) = place.bytes(utc);
            let vpn = match (place.phase, place.admitted) {
                (Phase::Out, _) => continue,
                (_, None) => String::new(),
                (_, Some(_)) => {
                    routes.push_str(&format!(
                        "ROUTING_TABLE\t{vpn}\t{name}\t{real}:{port}\t{now_text}\t{now}\r\n"
                    ));
                    vpn
                }
            };
            lines.push_str(&format!(
                "CLIENT_LIST\t{name}\t{real}:{port}\t{vpn}\t\t{received}\t{sent}\t{since_text}\t{since}\t{name}\t{cid}\t{cid}\tAES-256-GCM\r\n",
            ));
            rows += 1;
        }
        self.tell(&lines);
        self.tell(script::ROUTING_HEADER);
        self.tell(&routes);
        self.tell(script::STATUS_END);
        self.seen.lists.push((self.name, self.world.clock.now().utc, rows));
    }

    /// An answer that nothing asked for: a fault, unless answers may cross with faults.
    fn unasked(&mut self, text: String) {
        if self.habits.is_none() {
            self.fault(text);
        }
    }
}
