//! A model of OpenVPN's side: instances, ids that start again with each run, commands, events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::*;
use crate::auth::request::RequestKind;

/// The server removes a killed instance after this time (`scheduled_exit_interval`).
const EXIT_DELAY: Duration = Duration::from_secs(5);
/// An unanswered client is given up.
const HAND_WINDOW: Duration = Duration::from_secs(60);

/// One client instance. Its user is unique in the whole simulation, so that a name tells whether
/// an answer reached the client that it was meant for.
#[derive(Debug, Clone)]
pub struct Instance {
    pub user: String,
    pub kid: u32,
    pub asked: Option<(RequestKind, Mono)>,
    pub is_up: bool,
    pub since: Timestamp,
    pub bytes: u64,
    /// When it is removed at the latest.
    pub ends: Option<Mono>,
    /// When OpenVPN itself ends it.
    pub session_timeout: Option<Mono>,
}

/// What a command did, for the shadow model to judge.
#[derive(Debug)]
pub enum Deed {
    Admitted(String),
    Renewed(String),
    Denied(String),
    Killed(String),
}

#[derive(Debug, Default)]
pub struct OpenVpn {
    /// `None` while the server is held.
    pub run: Option<Timestamp>,
    pub instances: BTreeMap<u32, Instance>,
    pub next_cid: u32,
    pub is_linked: bool,
    tells_state: bool,
    /// It has read `env-filter 0` on this connection.
    is_filtered: bool,
    /// Users whose CONNECT was said before that.
    pub unheard: BTreeSet<String>,
    /// On their way to the controller, and from it.
    pub said: VecDeque<Message>,
    pub heard: VecDeque<Command>,
    /// Users whose instance has gone, and when, with their bytes.
    pub gone: BTreeMap<String, (Timestamp, u64)>,
}

impl OpenVpn {
    pub fn link(&mut self) {
        self.is_linked = true;
        self.tells_state = false;
        self.is_filtered = false;
        self.say(Message::Info { management_version: Some(5) });
        if self.run.is_none() {
            self.say(Message::Hold);
        }
    }

    pub fn unlink(&mut self) {
        self.is_linked = false;
        self.said.clear();
        self.heard.clear();
    }

    pub fn say(&mut self, message: Message) {
        if self.is_linked {
            self.said.push_back(message);
        }
    }

    /// SIGHUP, SIGUSR1 or a crash: ids start again.
    pub fn restart(&mut self, with_disconnects: bool, now: Now) {
        for cid in self.instances.keys().copied().collect::<Vec<_>>() {
            self.remove(cid, with_disconnects, now);
        }
        self.run = None;
        self.next_cid = 0;
        if self.tells_state {
            self.say(Message::State(state(StateName::Reconnecting, now.utc.as_secs())));
        }
        self.say(Message::Hold);
    }

    pub fn connect(&mut self, user: String, now: Now) {
        let cid = self.next_cid;
        self.next_cid += 1;
        self.instances.insert(
            cid,
            Instance {
                user,
                kid: 0,
                asked: None,
                is_up: false,
                since: now.utc,
                bytes: 0,
                ends: Some(now.mono + HAND_WINDOW),
                session_timeout: None,
            },
        );
        self.ask(cid, RequestKind::Connect, now);
    }

    /// CONNECT or REAUTH with the next key.
    pub fn ask(&mut self, cid: u32, kind: RequestKind, now: Now) {
        let Some(instance) = self.instances.get_mut(&cid) else { return };
        instance.kid += 1;
        instance.asked = Some((kind, now.mono));
        if self.is_linked && !self.is_filtered && kind == RequestKind::Connect {
            self.unheard.insert(instance.user.clone());
        }
        let auth_kind =
            if kind == RequestKind::Connect { AuthKind::Connect } else { AuthKind::Reauth };
        let Message::Auth(mut event) = auth(auth_kind, cid, instance.kid, &instance.user) else {
            return;
        };
        event.env.push(b"time_unix", instance.since.as_secs().to_string().as_bytes());
        self.say(Message::Auth(event));
    }

    /// Ends an instance.
    pub fn remove(&mut self, cid: u32, is_told: bool, now: Now) {
        let Some(instance) = self.instances.remove(&cid) else { return };
        if is_told {
            let env = bytes_env(instance.bytes, instance.bytes);
            self.say(Message::Disconnect { cid: Cid(cid), env });
        }
        self.gone.insert(instance.user, (now.utc, instance.bytes));
    }

    /// What its own timers do.
    pub fn pass(&mut self, now: Now) {
        for cid in self.instances.keys().copied().collect::<Vec<_>>() {
            let Some(instance) = self.instances.get_mut(&cid) else { continue };
            if instance.is_up {
                instance.bytes += 10;
            }
            let ends = instance.ends.into_iter().chain(instance.session_timeout).min();
            if ends.is_some_and(|at| at <= now.mono) {
                self.remove(cid, true, now);
            }
        }
    }

    /// Reads one command.
    pub fn execute(&mut self, now: Now) -> Option<Deed> {
        let command = self.heard.pop_front()?;
        let success = || Message::Success("done".into());
        let refused = || Message::Error("not now".into());
        let mut deed = None;
        let reply = match command {
            Command::EnvFilterOff => {
                self.is_filtered = true;
                success()
            }
            Command::Password(_)
            | Command::ByteCount(_)
            | Command::Log(_)
            | Command::Relayed(_) => success(),
            Command::Version => {
                Message::Version(Version { openvpn: "OpenVPN 2.6.14".into(), management: Some(5) })
            }
            Command::StateOn => {
                self.tells_state = true;
                success()
            }
            Command::State => Message::StateHistory(vec![match self.run {
                Some(run) => state(StateName::Connected, run.as_secs()),
                None => state(StateName::Reconnecting, now.utc.as_secs()),
            }]),
            Command::HoldRelease if self.run.is_none() => {
                self.run = Some(Timestamp::from_secs(now.utc.as_secs()));
                self.say(success());
                if self.tells_state {
                    self.say(Message::State(state(StateName::Connected, now.utc.as_secs())));
                }
                return None;
            }
            Command::HoldRelease => success(),
            _ if self.run.is_none() => refused(),
            Command::Status => Message::Status(self.status()),
            Command::ClientPendingAuth { cid, .. } => {
                if self.instances.contains_key(&cid.0) {
                    success()
                } else {
                    refused()
                }
            }
            Command::ClientAuth { cid, kid, config } => match self.asked(cid, kid) {
                Some((instance, kind)) => {
                    let user = instance.user.clone();
                    instance.session_timeout = config.first().and_then(|line| {
                        let seconds = line.as_str().strip_prefix("session-timeout ")?;
                        Some(now.mono + Duration::from_secs(seconds.parse().ok()?))
                    });
                    deed = Some(approve(instance, kind, user));
                    self.say(success());
                    self.come_up(cid.0, now);
                    return deed;
                }
                None => refused(),
            },
            Command::ClientAuthNt { cid, kid } => match self.asked(cid, kid) {
                Some((instance, kind)) => {
                    let user = instance.user.clone();
                    deed = Some(approve(instance, kind, user));
                    success()
                }
                None => refused(),
            },
            Command::ClientDeny { cid, kid, .. } => match self.asked(cid, kid) {
                Some((instance, _)) => {
                    instance.ends = Some(now.mono + EXIT_DELAY);
                    deed = Some(Deed::Denied(instance.user.clone()));
                    success()
                }
                None => refused(),
            },
            Command::ClientKill { cid, .. } => match self.instances.get_mut(&cid.0) {
                Some(instance) => {
                    instance.ends = Some(now.mono + EXIT_DELAY);
                    deed = Some(Deed::Killed(instance.user.clone()));
                    success()
                }
                None => refused(),
            },
        };
        self.say(reply);
        deed
    }

    /// The instance that waits for an answer to exactly this key.
    fn asked(&mut self, cid: Cid, kid: Kid) -> Option<(&mut Instance, RequestKind)> {
        let instance = self.instances.get_mut(&cid.0).filter(|i| Kid(i.kid) == kid)?;
        let (kind, _) = instance.asked.take()?;
        Some((instance, kind))
    }

    fn come_up(&mut self, cid: u32, now: Now) {
        if let Some(instance) = self.instances.get_mut(&cid) {
            instance.since = Timestamp::from_secs(now.utc.as_secs());
        }
        let cid = Cid(cid);
        self.say(Message::Address { cid, address: "10.8.0.6".into(), primary: true });
        self.say(Message::Established { cid, env: Env::default() });
    }

    fn status(&self) -> StatusReport {
        let clients = self.instances.iter().map(|(cid, instance)| StatusClient {
            connected_since: instance.since,
            bytes_received: instance.bytes,
            bytes_sent: instance.bytes,
            ..listed(*cid, &instance.user, if instance.is_up { "10.8.0.6" } else { "" })
        });
        StatusReport { clients: clients.collect() }
    }
}

fn approve(instance: &mut Instance, kind: RequestKind, user: String) -> Deed {
    if kind == RequestKind::Connect {
        instance.is_up = true;
        instance.ends = None;
        Deed::Admitted(user)
    } else {
        Deed::Renewed(user)
    }
}
