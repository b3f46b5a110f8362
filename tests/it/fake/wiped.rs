//! Passwords that a running daemon has seen, looked for in its memory.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
    process::Stdio,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ovpn_warden::store::UserPatch;
use sha2::{Digest as _, Sha256};
use tokio::process::{Child, Command};

use super::{metrics::free_port, *};

/// How every password here begins, again and again: nine bytes with its number, so that a rest of seventeen shows it,
/// and so that its base64 repeats as well.
const STEM: &[u8; 6] = b"wIpEmE";
/// What the daemon has to keep: it sends it whenever it connects.
const MANAGEMENT: &str = "k3EpS-mAnAgEmEnT";

/// One hash of each scheme but argon2id: none is of a password that is sent here.
const HASHES: &[(&str, &str)] = &[
    ("argon2i", "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA"),
    ("argon2d", "$argon2d$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA"),
    ("bcrypt", "$2b$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm"),
    (
        "sha512-crypt",
        "$6$rounds=1000$saltstring$EzTqOEb9gQc3Va/4p4pnqWqp/wIh1Otyhg9H9E8sV0eDyHGbNBkoMxYIM0ODHPBfmDNWb6wRiAvTriYxeDgb9.",
    ),
    ("sha256-crypt", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8"),
    ("md5-crypt", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"),
    ("phpass", "$P$6saltsaltRxaFvRrkynTitytVBZApo0"),
    ("pbkdf2-sha256", "pbkdf2_sha256$1000$seasalt$YIWkt6M1JFXrHg5s0jZjBSc7C2Cz6QvchSJ0h8Y+i7c="),
    ("pbkdf2-sha1", "pbkdf2_sha1$1000$seasalt$AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    (
        "pbkdf2-sha512",
        "pbkdf2:sha512:1000$seasalt$00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    ),
    (
        "scrypt",
        "$scrypt$ln=10,r=8,p=1$c2Vhc2FsdHNlYXNhbHQ$A+7MVsuekqUkNw2xIiSlqIRTJIIWvgZ0CyM8diAnREs",
    ),
    ("mysql", "*0000000000000000000000000000000000000000"),
    ("ssha", "{SSHA}Ixeqctr6CgfwWvR7qi44j5Xc9vMxMjM0NTY3OA=="),
    (
        "ssha512",
        "{SSHA512}o9FQwV8amk4H05j62UVoRg47BEVwtjK/Z+J9OiMaBOSTGq2ho772vZTQiAHODGhP7UUHBYZ99vB/oKOVxCVgcTEyMzQ1Njc4",
    ),
    ("nt", "{NT}8846F7EAEE8FB117AD06BDD830B7586C"),
    ("md5", "{MD5}00000000000000000000000000000000"),
    ("sha1", "{SHA1}0000000000000000000000000000000000000000"),
    ("sha256", "{SHA256}0000000000000000000000000000000000000000000000000000000000000000"),
];

fn password(number: u32) -> String {
    assert!(number < 1_000);
    format!("{}{number:03}", str::from_utf8(STEM).unwrap()).repeat(4)
}

/// Where a needle is in what the process has of its own: not in the files that it maps to read, such as the program.
fn found(pid: u32, needles: &[&[u8]]) -> Vec<String> {
    /// So much of a piece is looked at again with the next one.
    const OVERLAP: usize = 64;

    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem"))
        .unwrap_or_else(|error| panic!("the daemon's memory ({error}): this test needs root"));
    let (mut found, mut read) = (Vec::new(), 0);
    let (mut piece, nothing) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    for line in maps.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if !words[1].starts_with("rw") {
            continue;
        }
        let (start, end) = words[0].split_once('-').unwrap();
        let [mut at, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        while at < end {
            let room = usize::try_from(end - at).unwrap().min(piece.len());
            // It may be gone by now.
            let Ok(length @ 1..) = memory.read_at(&mut piece[..room], at) else { break };
            read += length;
            let bytes = &piece[..length];
            if bytes != &nothing[..length] {
                for place in needles.iter().flat_map(|of| memchr::memmem::find_iter(bytes, of)) {
                    let around = &bytes[place.saturating_sub(24)..length.min(place + 40)];
                    found.push(format!("{}: {}", words[0], around.escape_ascii()));
                }
            }
            let is_last = at + length as u64 == end || length <= OVERLAP;
            at += if is_last { length } else { length - OVERLAP } as u64;
        }
    }
    assert!(read > 1 << 20, "this is not the memory of a daemon: {read} bytes");
    found
}

/// Whatever of a password of these tests is there, as it is or in base64.
fn rests(pid: u32) -> Vec<String> {
    found(pid, &[STEM, STANDARD.encode(STEM).as_bytes()])
}

struct Scene {
    bed: Bed,
    listener: Listener,
    daemon: Child,
    controller: Controller,
    cid: u32,
    left: Vec<String>,
}

impl Scene {
    async fn new() -> Self {
        let listener = Listener::tcp().await;
        let bed = Bed::new(&listener).await;
        bed.add_user("anna", &password(1)).await;
        for (scheme, hash) in HASHES {
            let name: String = scheme.replace('-', "");
            bed.add_user(&name, "x").await;
            let patch = UserPatch { password_hash: Some((*hash).into()), ..Default::default() };
            bed.store.patch_user(&name.parse().unwrap(), &patch, &bed.actor()).await.unwrap();
        }
        bed.add_user("weak", "x").await;
        let digest = Sha256::digest(password(200) + "salt");
        let hash = format!("{{SSHA256}}{}", STANDARD.encode([&digest[..], b"salt"].concat()));
        let patch = UserPatch { password_hash: Some(hash), ..Default::default() };
        bed.store.patch_user(&"weak".parse().unwrap(), &patch, &bed.actor()).await.unwrap();
        let daemon = start(&bed, &listener).await;
        let controller = attach(&listener).await;
        Self { bed, listener, daemon, controller, cid: 0, left: Vec::new() }
    }

    fn pid(&self) -> u32 {
        self.daemon.id().unwrap()
    }

    /// What stays there of passwords after `what` was done: the answer may come a moment before its last copy goes.
    async fn look(&mut self, what: &str) {
        let mut left = rests(self.pid());
        for _ in 0..10 {
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            left = rests(self.pid());
        }
        self.left.extend(left.into_iter().map(|rest| format!("{what}: {rest}")));
    }

    /// A client's question, answered; the answer.
    async fn ask(&mut self, event: &str, kid: u32, user: &str, sent: &str) -> String {
        self.controller.ask(event, self.cid, kid, user, sent, Some(MAC)).await;
        self.answer().await
    }

    async fn answer(&mut self) -> String {
        let line = self.controller.command().await;
        if line.starts_with("client-auth ") {
            while self.controller.line().await != "END" {}
            self.controller.establish(self.cid).await;
        } else {
            self.controller.say("SUCCESS: client-deny command succeeded\n").await;
        }
        line
    }

    /// Passwords of which the second half comes later, wherever that is in the daemon's buffer.
    async fn in_pieces(&mut self) {
        for round in 0..16 {
            self.cid += 2;
            let (first, second) = (self.cid - 1, self.cid);
            let whole = block(first, "nobody", &password(400 + round));
            let later = block(second, "nobody", &password(500 + round));
            let middle = later.find(&password(500 + round)).unwrap() + 18;
            let noise = format!(">LOG:1,,{}\n", "x".repeat(100)).repeat(24);
            self.controller.say(&format!("{noise}{whole}{}", &later[..middle])).await;
            let line = self.controller.command().await;
            assert!(line.starts_with(&format!("client-deny {first} ")), "{line}");
            if round % 8 == 0 {
                // It waits for the rest of the line, and is found meanwhile.
                assert!(!rests(self.pid()).is_empty(), "this test can tell");
            }
            let done = "SUCCESS: client-deny command succeeded\n";
            self.controller.say(&format!("{}{done}", &later[middle..])).await;
            let line = self.answer().await;
            assert!(line.starts_with(&format!("client-deny {second} ")), "{line}");
        }
    }

    /// Answers whatever the daemon says until it has read all that it was told.
    async fn settle(&mut self) {
        self.cid += 1;
        self.controller.connect(self.cid, "nobody", "x", Some(MAC)).await;
        loop {
            let line = self.controller.command().await;
            assert!(line.starts_with("client-deny "), "{line}");
            self.controller.say("SUCCESS: client-deny command succeeded\n").await;
            if line.starts_with(&format!("client-deny {} ", self.cid)) {
                return;
            }
        }
    }

    /// The connection is lost in the middle of one, by the server or by the daemon, and there is a next.
    async fn cut_off(&mut self) {
        for number in [990, 991] {
            let text = block(number, "anna", &password(number));
            let half = &text[..text.find("\n>CLIENT:ENV,username").unwrap()];
            if number == 990 {
                self.controller.say(half).await;
                self.controller = Controller::new(tokio::io::empty(), tokio::io::sink());
            } else {
                // A list in place of SUCCESS: the daemon gives the connection up.
                self.cid += 1;
                self.controller.connect(self.cid, "nobody", "x", Some(MAC)).await;
                assert!(self.controller.command().await.starts_with("client-deny "));
                // Behind more than the next connection brings, should it get the same memory.
                let noise = format!(">LOG:1,,{}\n", "x".repeat(100)).repeat(80);
                let list = format!("{RUN},CONNECTED,SUCCESS,,,,,\nEND\n");
                self.controller.say(&format!("{list}{noise}{half}")).await;
            }
            self.controller = attach(&self.listener).await;
            if number == 991 {
                // Nobody has confirmed that denial.
                assert!(self.answer().await.contains("unknown_user"));
            }
            self.login("anna", &password(1), "client-auth").await;
            self.look(&format!("a password that was cut off, {number}")).await;
        }
    }

    /// Waits until a user's hash is argon2id.
    async fn upgraded(&self, name: &str) {
        let name = name.parse().unwrap();
        for _ in 0..200 {
            let user = self.bed.store.user(&name).await.unwrap().unwrap();
            if user.password_hash.is_some_and(|hash| hash.starts_with("$argon2id$")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the hash is not replaced");
    }

    /// A login that is answered with `answer`.
    async fn login(&mut self, user: &str, sent: &str, answer: &str) {
        self.cid += 1;
        let line = self.ask("CONNECT", 1, user, sent).await;
        assert!(line.contains(answer), "{user}: {line}");
    }
}

async fn start(bed: &Bed, listener: &Listener) -> Child {
    let schemes: Vec<_> = HASHES.iter().map(|(scheme, _)| *scheme).collect();
    let config = format!(
        "[database]\nurl = \"{}\"\n[[servers]]\nname = \"udp\"\nmanagement = \"tcp://{}\"\n\
         password = \"{MANAGEMENT}\"\n[http]\nlisten = \"127.0.0.1:{}\"\n[auth]\nargon2_m_kib = 8\n\
         argon2_t = 1\nwake_up = false\noffline_grace_s = 3600\npassword_schemes = {:?}\n\
         [throttle]\naddress_failures = 0\nuser_failures = 0\neverywhere_failures = 0\n\
         [log]\nlevel = \"trace\"\n",
        bed.url(),
        listener.address(),
        free_port().await,
        [&schemes[..], &["argon2id", "ssha256"]].concat(),
    );
    let file = bed.folder().join("config.toml");
    fs::write(&file, config).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    Command::new(env!("CARGO_BIN_EXE_ovpn-warden"))
        .env_clear()
        .arg("-c")
        .arg(file)
        .args(["run", "--record"])
        .arg(bed.folder().join("captures"))
        .stdout(log(bed.folder()))
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn log(folder: &Path) -> Stdio {
    File::options().create(true).append(true).open(folder.join("log")).unwrap().into()
}

async fn attach(listener: &Listener) -> Controller {
    let mut controller = listener.accept().await;
    controller.say("ENTER PASSWORD:").await;
    controller.expect(MANAGEMENT).await;
    controller.say("SUCCESS: password is correct\n").await;
    controller.attach(RUN, &[]).await;
    controller
}

/// A login as OpenVPN writes it.
fn block(cid: u32, user: &str, sent: &str) -> String {
    format!(
        ">CLIENT:CONNECT,{cid},1\n>CLIENT:ENV,n_clients=0\n>CLIENT:ENV,password={sent}\n\
         >CLIENT:ENV,username={user}\n>CLIENT:ENV,UV_CLIENT_MAC={MAC}\n>CLIENT:ENV,END\n"
    )
}

/// What no OpenVPN says, with passwords in it.
fn garbage() -> Vec<String> {
    let env = |key: &str, value: &str| format!(">CLIENT:ENV,{key}={value}\n");
    let [first, second, encoded] = [password(900), password(901), STANDARD.encode(password(902))];
    let blocks = [
        // Twice, without ids, over-long, too much, cut off, between blocks, an answer that nobody waits for.
        format!(">CLIENT:CONNECT,940,1\n{}{}", env("password", &first), env("password", &second)),
        format!(">CLIENT:CONNECT,941,x\n{}", env("password", &first)),
        format!(">CLIENT:CONNECT,942,1\n{}", env("password", &first.repeat(4_000))),
        format!(
            ">CLIENT:CONNECT,943,1\n{}{}",
            env("a", "b").repeat(9_000),
            env("password", &first)
        ),
        format!(
            ">CLIENT:CONNECT,944,1\n{}>CLIENT:CONNECT,945,1\n{}",
            env("password", &first),
            env("password", &second)
        ),
        env("password", &first),
        format!(">CLIENT:CR_RESPONSE,946,1,{encoded}\n{}", env("username", "anna")),
        format!(">CLIENT:CR_RESPONSE,1,1,{encoded}\n{}", env("username", "anna")),
    ];
    blocks.map(|block| block + ">CLIENT:ENV,END\n").into()
}

#[tokio::test]
async fn no_password_is_left_in_the_memory_of_a_daemon_that_has_judged_it() {
    let mut scene = Scene::new().await;
    let pid = scene.pid();
    assert_eq!(rests(pid), Vec::<String>::new(), "before anybody came");
    assert!(!found(pid, &[MANAGEMENT.as_bytes()]).is_empty(), "what is kept is not found");

    scene.login("anna", &password(1), "client-auth").await;
    scene.look("a login").await;
    let line = scene.ask("REAUTH", 2, "anna", &password(1)).await;
    assert!(line.starts_with("client-auth-nt"), "{line}");
    scene.look("a renegotiation").await;
    let line = scene.ask("REAUTH", 3, "anna", &password(2)).await;
    assert!(line.contains("bad_credentials"), "{line}");
    assert!(scene.controller.command().await.starts_with("client-kill "));
    scene.controller.say("SUCCESS: client-kill command succeeded\n").await;
    scene.controller.disconnect(scene.cid).await;
    scene.look("a renegotiation with another password").await;
    for (number, (user, answer)) in
        (3..).zip([("anna", "bad_credentials"), ("nobody", "unknown_user")])
    {
        scene.login(user, &password(number), answer).await;
        scene.look(user).await;
    }
    for (number, (scheme, _)) in (100..).zip(HASHES) {
        let user = scheme.replace('-', "");
        scene.login(&user, &password(number), "bad_credentials").await;
        scene.look(scheme).await;
    }
    scene.login("weak", &password(200), "client-auth").await;
    scene.upgraded("weak").await;
    scene.look("a hash that was replaced").await;

    let encoded = |number| STANDARD.encode(password(number));
    for (number, (sent, answer)) in (300..).zip([
        (format!("SCRV1:{}:{}", encoded(1), encoded(301)), "client-auth"),
        (format!("SCRV1:{}:{}", encoded(302), encoded(303)), "bad_credentials"),
        (format!("SCRV1:{}!:MTI=", encoded(304)), "bad_credentials"),
        (format!("SCRV1:MTI=:{}!", encoded(305)), "bad_credentials"),
        (format!("CRV1::abc::{}", password(306)), "client-deny"),
    ]) {
        scene.login("anna", &sent, answer).await;
        scene.look(&format!("challenge {number}")).await;
    }
    scene.in_pieces().await;
    scene.look("passwords in pieces").await;
    for (number, text) in garbage().into_iter().enumerate() {
        scene.controller.say(&text).await;
        scene.settle().await;
        scene.look(&format!("garbage {number}")).await;
    }
    scene.cut_off().await;
    assert!(scene.left.is_empty(), "{}", scene.left.join("\n"));
}
