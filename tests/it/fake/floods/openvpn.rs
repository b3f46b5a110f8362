//! An OpenVPN that answers by itself, so that many logins are under way at once on it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ovpn_warden::{
    auth::text,
    types::{Clock, DenyReason},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt},
    sync::oneshot,
};

use crate::fake::{
    MAC,
    server::{Controller, RUN, Reader, Writer, client_row, status},
};

/// No login waits longer for its answer: the daemon's own time is over after 8 s.
const PATIENCE: Duration = Duration::from_secs(45);

/// Who asks, with what.
#[derive(Debug, Clone)]
pub struct Asked {
    pub user: Vec<u8>,
    pub password: Vec<u8>,
    pub ip: String,
    /// Whole lines of further variables.
    pub more: Vec<u8>,
}

impl Asked {
    pub fn new(user: impl AsRef<[u8]>, password: impl AsRef<[u8]>, ip: impl Into<String>) -> Self {
        let (user, password) = (user.as_ref().to_vec(), password.as_ref().to_vec());
        Self { user, password, ip: ip.into(), more: Vec::new() }
    }

    /// One more variable.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.more.extend_from_slice(&variable(name, value.as_ref()));
        self
    }

    fn block(&self, event: &str, cid: u32, kid: u32) -> Vec<u8> {
        let variables = [
            ("n_clients", &b"8"[..]),
            ("password", &self.password),
            ("untrusted_port", b"40001"),
            ("untrusted_ip", self.ip.as_bytes()),
            ("common_name", &self.user),
            ("username", &self.user),
            ("UV_CLIENT_MAC", MAC.as_bytes()),
            ("IV_PROTO", b"990"),
            ("IV_VER", b"2.6.14"),
        ];
        let mut block = format!(">CLIENT:{event},{cid},{kid}\r\n").into_bytes();
        for (name, value) in variables {
            block.extend_from_slice(&variable(name, value));
        }
        block.extend_from_slice(&self.more);
        block.extend_from_slice(b">CLIENT:ENV,END\r\n");
        block
    }
}

fn variable(name: &str, value: &[u8]) -> Vec<u8> {
    [b">CLIENT:ENV,", name.as_bytes(), b"=", value, b"\r\n"].concat()
}

/// What a login was answered, and after how long.
#[derive(Debug)]
pub struct Answer {
    pub line: String,
    pub took: Duration,
}

impl Answer {
    pub fn is_in(&self) -> bool {
        self.line.starts_with("client-auth")
    }

    /// Why not. What the client is told has to be that reason's sentence, and "come again" where it is temporary.
    pub fn reason(&self) -> DenyReason {
        let words: Vec<&str> = self.line.split('"').collect();
        let [_, reason, _, told, ""] = words[..] else { panic!("no denial: {}", self.line) };
        let reason: DenyReason = reason.parse().unwrap();
        let retry = if reason.is_temporary() { "TEMP[backoff 10]:" } else { "" };
        // A block that could not be read says nothing of its client.
        assert_eq!(told, format!("{retry}{}", text::denial(reason)), "{}", self.line);
        reason
    }
}

/// One server. What it was told is kept.
#[derive(Clone)]
pub struct OpenVpn(Arc<Inner>);

struct Inner {
    clock: Clock,
    writer: tokio::sync::Mutex<Writer>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    asked: HashMap<(u32, u32), oneshot::Sender<String>>,
    /// Every answer, by client and key.
    answers: BTreeMap<(u32, u32), Vec<String>>,
    /// Who is connected, with his row of `status`.
    connected: BTreeMap<u32, String>,
    users: HashMap<u32, String>,
    killed: BTreeSet<u32>,
    /// Commands that nobody expects.
    odd: Vec<String>,
}

impl OpenVpn {
    /// Attaches the controller, and answers it from now on.
    pub async fn attach(mut controller: Controller, clock: Clock) -> Self {
        controller.attach(RUN, &[]).await;
        let (reader, writer) = controller.into_parts();
        let (writer, state) = (tokio::sync::Mutex::new(writer), Mutex::default());
        let server = Self(Arc::new(Inner { clock, writer, state }));
        tokio::spawn(server.clone().serve(reader));
        server
    }

    /// A question, and its answer.
    pub async fn ask(&self, event: &str, cid: u32, kid: u32, asked: &Asked) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.state(|state| {
            state.asked.insert((cid, kid), sender);
            state.users.insert(cid, String::from_utf8_lossy(&asked.user).into_owned());
        });
        let begun = self.0.clock.now().mono;
        self.say(&asked.block(event, cid, kid)).await;
        let line = tokio::time::timeout(PATIENCE, answer).await;
        let line = line.unwrap_or_else(|_| panic!("{event} {cid} {kid} is not answered"));
        Answer { line: line.unwrap(), took: self.0.clock.now().mono - begun }
    }

    /// A client leaves.
    pub async fn disconnect(&self, cid: u32) {
        self.state(|state| state.connected.remove(&cid));
        self.say(gone(cid).replace('\n', "\r\n").as_bytes()).await;
    }

    /// Every answer so far, by client and key.
    pub fn answers(&self) -> BTreeMap<(u32, u32), Vec<String>> {
        self.state(|state| state.answers.clone())
    }

    pub fn connected(&self) -> BTreeSet<u32> {
        self.state(|state| state.connected.keys().copied().collect())
    }

    pub fn killed(&self) -> BTreeSet<u32> {
        self.state(|state| state.killed.clone())
    }

    pub fn odd(&self) -> Vec<String> {
        self.state(|state| state.odd.clone())
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn say(&self, bytes: &[u8]) {
        // After its end the daemon reads nothing more.
        let _ = self.0.writer.lock().await.write_all(bytes).await;
    }

    async fn serve(self, mut reader: Reader) {
        let mut line = String::new();
        // The client whose approval is being read, up to its END.
        let mut approved = None;
        while matches!(reader.read_line(&mut line).await, Ok(1..)) {
            let reply = match (approved, line.trim_end()) {
                (Some((cid, kid)), "END") => {
                    approved = None;
                    self.answered(cid, kid, format!("client-auth {cid} {kid}"))
                }
                (Some(_), _) => String::new(),
                (None, line) => match ids(line) {
                    Some(("client-auth", cid, kid)) => {
                        approved = Some((cid, kid));
                        String::new()
                    }
                    Some(("client-auth-nt" | "client-deny", cid, kid)) => {
                        self.answered(cid, kid, line.to_owned())
                    }
                    _ => self.other(line),
                },
            };
            line.clear();
            self.say(reply.replace('\n', "\r\n").as_bytes()).await;
        }
    }

    /// A decision: what OpenVPN says then.
    fn answered(&self, cid: u32, kid: u32, line: String) -> String {
        let command = line.split(' ').next().unwrap().to_owned();
        let said = self.state(|state| {
            state.answers.entry((cid, kid)).or_default().push(line.clone());
            if command == "client-auth" {
                let user = state.users.get(&cid).cloned().unwrap_or_default();
                let row = client_row(cid, &user, &address(cid));
                state.connected.insert(cid, row);
            }
            if let Some(asker) = state.asked.remove(&(cid, kid)) {
                let _ = asker.send(line);
            }
            match &*command {
                "client-auth" => up(cid),
                "client-deny" if !state.connected.contains_key(&cid) => gone(cid),
                _ => String::new(),
            }
        });
        format!("SUCCESS: {command} command succeeded\n{said}")
    }

    fn other(&self, line: &str) -> String {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["state"] => format!("{RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n"),
            ["status", "3"] => {
                status(&self.state(|state| state.connected.values().cloned().collect::<Vec<_>>()))
            }
            ["bytecount", _] => "SUCCESS: bytecount interval changed\n".to_owned(),
            ["client-pending-auth", ..] => {
                "SUCCESS: client-pending-auth command succeeded\n".to_owned()
            }
            ["client-kill", cid, ..] => {
                let cid = cid.parse().unwrap();
                let was_there = self.state(|state| {
                    state.killed.insert(cid);
                    state.connected.remove(&cid).is_some()
                });
                let said = if was_there { gone(cid) } else { String::new() };
                format!("SUCCESS: client-kill command succeeded\n{said}")
            }
            _ => {
                self.state(|state| state.odd.push(line.to_owned()));
                "ERROR: unknown command\n".to_owned()
            }
        }
    }
}

/// The command of a line with the ids of a client and its key.
fn ids(line: &str) -> Option<(&str, u32, u32)> {
    let mut words = line.split(' ');
    Some((words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn address(cid: u32) -> String {
    format!("10.8.{}.{}", cid / 250, cid % 250 + 2)
}

fn up(cid: u32) -> String {
    let address = address(cid);
    format!(
        ">CLIENT:ADDRESS,{cid},{address},1\n>CLIENT:ESTABLISHED,{cid}\n\
         >CLIENT:ENV,ifconfig_pool_remote_ip={address}\n>CLIENT:ENV,END\n"
    )
}

fn gone(cid: u32) -> String {
    format!(
        ">CLIENT:DISCONNECT,{cid}\n>CLIENT:ENV,bytes_received=4000\n>CLIENT:ENV,bytes_sent=5000\n\
         >CLIENT:ENV,END\n"
    )
}
