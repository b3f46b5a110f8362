//! The daemon as people run it, on two servers, and who is in while strangers flood it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use ovpn_warden::{
    auth::{
        password::{self, HashParams},
        second_factor::totp,
    },
    store::{NewSecondFactor, NewUser, UserPatch},
    types::{DenyReason, Password},
};
use tokio::process::{Child, Command};
use totp_rs::{Builder, Secret};

use super::{
    super::*,
    openvpn::{Answer, Asked, OpenVpn},
};

/// Who is in on the first server. Those of the second half have a new password before each renegotiation.
pub const LIVE: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
/// One of the first half, who came in with a one-time code.
pub const CODED: &str = "bob";
/// Their passwords, one after the other.
pub const PASSWORDS: [&str; 3] = ["correct horse", "battery staple", "hunter2 hunter2"];
/// Everybody is here, and so is a stranger who guesses.
pub const HOME: &str = "192.0.2.7";
/// People who come in with [`PASSWORDS`]' first; one with a second factor, and one whose stored hash costs as much time
/// as one may.
pub const CROWD: [&str; 4] = ["ivan", "judy", "mallory", "niaj"];
pub const TINA: &str = "tina";
pub const COSTLY: &str = "olivia";

/// argon2id as it is configured by default.
const USUAL: HashParams = HashParams { m_kib: 19_456, t: 2, p: 1 };
/// 2 GiB of memory times passes.
const COSTLIEST: HashParams = HashParams { m_kib: 65_536, t: 32, p: 1 };
const SECRET: [u8; 20] = *b"12345678901234567890";
/// What each client does meanwhile, at least.
const RENEGOTIATIONS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(250);

pub struct Scene {
    pub bed: Bed,
    pub daemon: Child,
    pub servers: [OpenVpn; 2],
    pub live: Vec<Live>,
    /// What [`CODED`] came in with, and renegotiates with.
    pub spent: String,
    /// What [`TINA`] came in with, once she has.
    pub shown: OnceLock<String>,
    hashes: Vec<String>,
    costly: String,
    cids: AtomicU32,
    addresses: AtomicU32,
}

/// A client that is in.
pub struct Live {
    pub user: &'static str,
    pub cid: u32,
    kid: u32,
    /// Which of the passwords it has, if that changes.
    turn: Option<usize>,
    sent: String,
}

impl Scene {
    pub async fn new() -> Self {
        let listeners = [Listener::tcp().await, Listener::tcp().await];
        let bed = Bed::new(&listeners[0]).await;
        let hash = |password: &str, params| {
            password::hash(&Password::from(password.as_bytes()), params).unwrap()
        };
        let hashes: Vec<_> = PASSWORDS.iter().map(|password| hash(password, &USUAL)).collect();
        for user in LIVE.iter().chain(&CROWD).chain([&TINA]) {
            add_user(&bed, user, &hashes[0]).await;
        }
        let costly = hash(PASSWORDS[0], &COSTLIEST);
        for user in [CODED, TINA] {
            let factor = NewSecondFactor {
                secret: totp::new_secret(SECRET),
                recovery_codes: Vec::new(),
                replace: false,
            };
            bed.store
                .put_second_factor(&user.parse().unwrap(), &factor, &bed.actor())
                .await
                .unwrap();
        }
        let daemon = start(&bed, &listeners);
        let mut servers = Vec::new();
        for listener in &listeners {
            servers.push(OpenVpn::attach(listener.accept().await, bed.clock).await);
        }
        let servers = servers.try_into().unwrap_or_else(|_| panic!("two"));
        let (cids, addresses) = (AtomicU32::new(100), AtomicU32::new(0));
        let (live, spent, shown) = (Vec::new(), String::new(), OnceLock::new());
        let mut scene =
            Self { bed, daemon, servers, live, spent, shown, hashes, costly, cids, addresses };
        scene.spent = scrv1(&scene.code());
        for (cid, user) in (0..).zip(LIVE) {
            let sent = match user == CODED {
                true => scene.spent.clone(),
                false => PASSWORDS[0].to_owned(),
            };
            let answer =
                scene.servers[0].ask("CONNECT", cid, 1, &Asked::new(user, &sent, HOME)).await;
            assert!(answer.is_in(), "{user}: {}", answer.line);
            let turn = (cid >= 4).then_some(0);
            scene.live.push(Live { user, cid, kid: 1, turn, sent });
        }
        scene
    }

    /// From now on refusals are held back for as long as such a comparison takes.
    pub async fn add_costly(&self) {
        add_user(&self.bed, COSTLY, &self.costly).await;
    }

    /// An address that nobody had before.
    pub fn address(&self) -> String {
        let number = self.addresses.fetch_add(1, Ordering::Relaxed);
        format!("198.18.{}.{}", number / 250, number % 250 + 1)
    }

    /// The one-time code of now.
    pub fn code(&self) -> String {
        let seconds = u64::try_from(self.bed.clock.now().utc.as_secs()).unwrap();
        let totp = Builder::new().with_secret(Secret::new_stack(SECRET)).build().unwrap();
        totp.generate(seconds).to_string()
    }

    /// All at once, each on the server of its number.
    pub async fn come(&self, logins: impl IntoIterator<Item = (usize, Asked)>) -> Vec<Answer> {
        let logins: Vec<_> = logins.into_iter().collect();
        // In their order: a lower id than the last would be a server that has begun anew.
        join_all(logins.iter().map(|(server, asked)| {
            let cid = self.cids.fetch_add(1, Ordering::Relaxed);
            self.servers[*server].ask("CONNECT", cid, 1, asked)
        }))
        .await
    }

    /// The same; whoever is shed comes again, as he is told.
    pub async fn come_until_judged(
        &self,
        logins: impl IntoIterator<Item = (usize, Asked)>,
    ) -> Vec<Answer> {
        let logins: Vec<_> = logins.into_iter().collect();
        let mut answers = self.come(logins.clone()).await;
        loop {
            let is_shed = |answer: &Answer| !answer.is_in() && answer.reason().is_temporary();
            let shed: Vec<_> = (0..answers.len()).filter(|n| is_shed(&answers[*n])).collect();
            if shed.is_empty() {
                return answers;
            }
            let again = self.come(shed.iter().map(|number| logins[*number].clone())).await;
            for (number, answer) in shed.into_iter().zip(again) {
                answers[number] = answer;
            }
        }
    }

    pub async fn come_alone(&self, server: usize, asked: Asked) -> Answer {
        self.come_until_judged([(server, asked)]).await.remove(0)
    }

    /// Everybody but the live ones leaves.
    pub async fn clear(&self) {
        for server in &self.servers {
            for cid in server.connected().into_iter().filter(|cid| *cid >= 100) {
                server.disconnect(cid).await;
            }
        }
    }

    /// A flood, again and again until every live client has renegotiated a few times meanwhile; how long that took the
    /// one who waited longest, among those whose password is known and among those that have another.
    pub async fn under(&mut self, flood: impl AsyncFn(&Self, u32)) -> Waits {
        let mut live = std::mem::take(&mut self.live);
        let done: Vec<_> = live.iter().map(|_| AtomicU32::new(0)).collect();
        let is_over = AtomicBool::new(false);
        let scene = &*self;
        let flooding = async {
            let mut round = 0;
            while round == 0
                || done.iter().any(|done| done.load(Ordering::Relaxed) < RENEGOTIATIONS)
            {
                flood(scene, round).await;
                round += 1;
            }
            is_over.store(true, Ordering::Relaxed);
            round
        };
        let renegotiating = live.iter_mut().zip(&done).map(async |(client, done)| {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                longest = longest.max(scene.renegotiate(client).await);
                done.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
            longest
        });
        let (rounds, longest) = tokio::join!(flooding, join_all(renegotiating));
        self.live = live;
        let of = |is_hashed: bool| {
            let of = self.live.iter().zip(&longest);
            of.filter(|(live, _)| live.turn.is_some() == is_hashed).map(|(_, took)| *took).max()
        };
        Waits {
            rounds,
            renegotiations: done.iter().map(|done| done.load(Ordering::Relaxed)).sum(),
            known: of(false).unwrap(),
            hashed: of(true).unwrap(),
        }
    }

    /// Answered with yes, after so long.
    async fn renegotiate(&self, client: &mut Live) -> Duration {
        if let Some(turn) = &mut client.turn {
            *turn = (*turn + 1) % PASSWORDS.len();
            let hash = Some(self.hashes[*turn].clone());
            let patch = UserPatch { password_hash: hash, ..UserPatch::default() };
            let user = client.user.parse().unwrap();
            self.bed.store.patch_user(&user, &patch, &self.bed.actor()).await.unwrap();
            client.sent = PASSWORDS[*turn].to_owned();
        }
        let answer = self.reauth(client).await;
        let wanted = format!("client-auth-nt {} {}", client.cid, client.kid);
        assert_eq!(answer.line, wanted, "{}, after {:?}", client.user, answer.took);
        answer.took
    }

    async fn reauth(&self, client: &mut Live) -> Answer {
        client.kid += 1;
        let asked = Asked::new(client.user, &client.sent, HOME);
        self.servers[0].ask("REAUTH", client.cid, client.kid, &asked).await
    }

    /// Whose password has changed does not get on by the one before.
    pub async fn an_old_password_ends_a_session(&mut self) {
        let mut client = self.live.pop().unwrap();
        let last = client.turn.unwrap();
        client.sent = PASSWORDS[(last + PASSWORDS.len() - 1) % PASSWORDS.len()].to_owned();
        let answer = self.reauth(&mut client).await;
        assert_eq!(answer.reason(), DenyReason::BadCredentials);
        for _ in 0..100 {
            if self.servers[0].killed().contains(&client.cid) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} stays", client.user);
    }

    /// Those who are in, by the table.
    pub async fn open_sessions(&self) -> BTreeSet<(String, u32)> {
        let filter = SessionFilter { limit: 1_000, ..SessionFilter::default() };
        let sessions = self.bed.store.sessions(&filter).await.unwrap();
        sessions.iter().map(|session| (session.user.to_string(), session.cid.0)).collect()
    }

    /// The most memory that the daemon has had, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let file = format!("/proc/{}/status", self.daemon.id().unwrap());
        let status = std::fs::read_to_string(file).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
    }

    /// Ends the daemon; its log.
    pub async fn end(&mut self) -> String {
        let id = self.daemon.id().unwrap().to_string();
        assert!(Command::new("kill").arg(id).status().await.unwrap().success());
        assert!(self.daemon.wait().await.unwrap().success());
        let log = std::fs::read(self.bed.folder().join("log")).unwrap();
        String::from_utf8(log).expect("UTF-8")
    }
}

/// How renegotiations went during a flood.
#[derive(Debug)]
pub struct Waits {
    #[expect(dead_code, reason = "it is shown")]
    rounds: u32,
    #[expect(dead_code, reason = "it is shown")]
    renegotiations: u32,
    pub known: Duration,
    pub hashed: Duration,
}

/// How often each reason was given; nobody may be in.
pub fn reasons<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> BTreeMap<DenyReason, usize> {
    let mut reasons = BTreeMap::new();
    for answer in answers {
        *reasons.entry(answer.reason()).or_default() += 1;
    }
    reasons
}

/// The password of everybody with a one-time code, by static challenge.
pub fn scrv1(code: &str) -> String {
    format!("SCRV1:{}:{}", STANDARD.encode(PASSWORDS[0]), STANDARD.encode(code))
}

async fn add_user(bed: &Bed, name: &str, hash: &str) {
    let hash = Some(hash.to_owned());
    if name == "alice" {
        let patch = UserPatch { password_hash: hash, ..UserPatch::default() };
        bed.store.patch_user(&name.parse().unwrap(), &patch, &bed.actor()).await.unwrap();
        return;
    }
    let (name, policy) = (name.parse().unwrap(), None);
    let device = NewDevice {
        user: Clone::clone(&name),
        id: DeviceId::parse(MAC).unwrap(),
        label: None,
        status: DeviceStatus::Approved,
        valid_until: None,
    };
    let user = NewUser { name, password_hash: hash, policy, valid_from: None, valid_until: None };
    bed.store.add_user(&user, &bed.actor()).await.unwrap();
    bed.store.add_device(&device, &bed.actor()).await.unwrap();
}

/// By default settings but for where things are.
fn start(bed: &Bed, listeners: &[Listener]) -> Child {
    let mut config = format!("[database]\nurl = \"{}\"\n[http]\nlisten = \"\"\n", bed.url());
    let journal = bed.folder().join("journal.db");
    config += &format!("[journal]\npath = \"{}\"\n", journal.display());
    for (name, listener) in ["udp", "tcp"].iter().zip(listeners) {
        let address = listener.address();
        config += &format!("[[servers]]\nname = \"{name}\"\nmanagement = \"tcp://{address}\"\n");
    }
    let file = bed.folder().join("config.toml");
    std::fs::write(&file, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_ovpn-warden"))
        .env_clear()
        .arg("-c")
        .arg(file)
        .arg("run")
        .stdout(std::fs::File::create(bed.folder().join("log")).unwrap())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
