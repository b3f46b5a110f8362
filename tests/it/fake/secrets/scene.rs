//! The daemon with everything that it speaks to, and what comes out of it.

use std::{fs, process::Stdio};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Child,
};
use totp_rs::{Builder, Secret};

use super::{
    super::{metrics::free_port, webhook::Receiver, *},
    CHALLENGE, CONSOLE, DATABASE, HASH, MANAGEMENT, PASSWORD, WEBHOOK, WEBHOOK_PATH, canaries,
    database::Database,
    forms::Canaries,
};
use crate::{
    cli::bench::{Ended, bare, finish},
    store::proxy::Proxy,
};

/// The daemon, what is around it, and everything that came out.
pub struct Scene {
    folder: TempDir,
    pub database: Database,
    pub proxy: Proxy,
    pub listener: Listener,
    pub receiver: Receiver,
    pub clock: Clock,
    pub canaries: Canaries,
    /// Where, and what stood there.
    pub seen: Vec<(String, Vec<u8>)>,
    more: String,
    pub http: u16,
    pub console: u16,
}

impl Scene {
    pub async fn new() -> Self {
        let database = Database::new(DATABASE);
        let proxy = Proxy::start(Database::port()).await;
        let receiver = Receiver::default();
        *receiver.refusals.lock().unwrap() = 1;
        let url = receiver.start().await.replace("?of=warden", &format!("?{WEBHOOK_PATH}"));
        let (http, console) = (free_port().await, free_port().await);
        let mut scene = Self {
            folder: TempDir::new().unwrap(),
            more: String::new(),
            listener: Listener::tcp().await,
            clock: Clock::new(),
            seen: Vec::new(),
            canaries: canaries(),
            database,
            proxy,
            receiver,
            http,
            console,
        };
        scene.secret("database.url", &scene.database.url(scene.proxy.port, DATABASE));
        for (file, secret) in
            [("mgmt.pw", MANAGEMENT), ("challenge.key", CHALLENGE), ("console.token", CONSOLE)]
        {
            scene.secret(file, secret);
        }
        scene.more = format!(
            "[webhook]\nurl = \"{url}\"\nsecret = \"{WEBHOOK}\"\n\
             [journal]\npath = \"{}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n",
            scene.path("journal.db")
        );
        scene.configure("");
        scene
    }

    pub fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    pub fn secret(&self, file: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::write(self.path(file), text).unwrap();
        fs::set_permissions(self.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The whole configuration, and something behind it.
    pub fn configure(&self, more: &str) {
        let file = |name| self.path(name);
        let text = format!(
            "[database]\nurl_file = \"{}\"\ntimeout_ms = 2000\n\
             [auth]\nargon2_m_kib = 8\nargon2_t = 1\nwake_up = false\nchallenge_key_file = \"{}\"\n\
             [session]\naccounting_interval_s = 1\n[throttle]\nuser_failures = 0\naddress_failures = 0\n\
             code_failures = 0\neverywhere_failures = 0\n[log]\nlevel = \"trace\"\n\
             [console]\nlisten = \"127.0.0.1:{}\"\ntoken_file = \"{}\"\n\
             [[servers]]\nname = \"udp\"\nmanagement = \"tcp://{}\"\npassword_file = \"{}\"\n{}{more}",
            file("database.url"),
            file("challenge.key"),
            self.console,
            file("console.token"),
            self.listener.address(),
            file("mgmt.pw"),
            self.more,
        );
        fs::write(file("config.toml"), text).unwrap();
    }

    pub fn see(&mut self, place: &str, bytes: impl Into<Vec<u8>>) {
        self.seen.push((place.to_owned(), bytes.into()));
    }

    /// Runs a command; both its outputs are seen.
    pub fn run(&mut self, args: &[&str], input: &str) -> i32 {
        let ended = self.run_unseen(args, input);
        self.see(&format!("{args:?}"), format!("{}\n{}", ended.out, ended.err));
        ended.code
    }

    pub fn run_unseen(&self, args: &[&str], input: &str) -> Ended {
        let mut command = bare();
        command.args(["-c", &self.path("config.toml"), "-v", "-v"]).args(args);
        finish(command, input.as_bytes())
    }

    /// Alice with her device and her second factor, and Carol with a hash that is none; the key and a recovery code.
    pub fn people(&mut self) -> (String, String) {
        assert_eq!(self.run(&["migrate"], ""), 0);
        for user in ["alice", "bob", "carol"] {
            assert_eq!(self.run(&["user", "add", user, "--password-stdin"], PASSWORD), 0);
            assert_eq!(self.run(&["device", "add", user, MAC], ""), 0);
        }
        // What stands there is for the person who asked, once.
        let shown = self.run_unseen(&["user", "totp", "alice", "--json"], "");
        let shown: Value = serde_json::from_str(&shown.out).unwrap();
        let (key, codes) = (&shown["secret"], shown["recovery_codes"].as_array().unwrap());
        let (key, codes) = (key.as_str().unwrap(), codes.iter().map(|code| code.as_str().unwrap()));
        let codes: Vec<_> = codes.map(str::to_owned).collect();
        self.canaries.add("the one-time key", key);
        for code in &codes {
            self.canaries.add("a recovery code", code);
        }
        let name = &self.database.name;
        let hashes = format!("SELECT password_hash FROM {name}.users WHERE name <> 'carol'");
        for hash in self.database.sql(&hashes).lines() {
            let (_, hash) = hash.rsplit_once('$').unwrap();
            self.canaries.add("a stored hash", hash);
        }
        self.database
            .sql(&format!("UPDATE {name}.users SET password_hash = '{HASH}' WHERE name = 'carol'"));
        (key.to_owned(), codes[0].clone())
    }

    pub fn code(&self, key: &str) -> String {
        let seconds = u64::try_from(self.clock.now().utc.as_secs()).unwrap();
        let key = Secret::try_from_base32(key).unwrap();
        let totp = Builder::new().with_secret(key).build().unwrap();
        totp.generate(seconds).to_string()
    }

    pub fn start(&self) -> Child {
        let output = |file| Stdio::from(fs::File::create(self.path(file)).unwrap());
        tokio::process::Command::new(env!("CARGO_BIN_EXE_ovpn-warden"))
            .env_clear()
            .args(["-c", &self.path("config.toml"), "run", "--record", &self.path("captures")])
            .stdout(output("log"))
            .stderr(output("errors"))
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Waits until the log has a line with this text, after so many bytes.
    pub async fn logs_after(&self, start: usize, text: &str) {
        for _ in 0..300 {
            if self.log()[start..].contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no {text} in {}", &self.log()[start..]);
    }

    pub async fn logs(&self, text: &str) {
        self.logs_after(0, text).await;
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Accepts the daemon and asks for the password.
    pub async fn asked(&self) -> Controller {
        // A connection that was made meanwhile may have been given up.
        loop {
            let mut controller = self.listener.accept().await;
            if controller.try_say("ENTER PASSWORD:").await && controller.line().await == MANAGEMENT
            {
                return controller;
            }
        }
    }

    /// Accepts the daemon and lets it in.
    pub async fn attach(&self, clients: &[String]) -> Controller {
        let mut controller = self.asked().await;
        controller.say("SUCCESS: password is correct\n").await;
        controller.attach(RUN, clients).await;
        controller
    }

    /// A login and its answer, which is seen; who is let in, comes up.
    pub async fn come(
        &mut self,
        controller: &mut Controller,
        cid: u32,
        user: &str,
        password: &str,
    ) -> String {
        controller.connect(cid, user, password, Some(MAC)).await;
        self.answer(controller, cid).await
    }

    pub async fn answer(&mut self, controller: &mut Controller, cid: u32) -> String {
        let line = controller.command().await;
        self.see("what OpenVPN is told", line.clone());
        if line.starts_with("client-auth ") {
            while controller.line().await != "END" {}
            controller.establish(cid).await;
        } else {
            controller.say("SUCCESS: client-deny command succeeded\n").await;
        }
        line
    }

    pub async fn http(&self, port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub async fn get(&mut self, port: u16, path: &str, headers: &str) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        let answer = self.http(port, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        self.see(path, answer);
    }

    pub fn see_files(&mut self, place: &str, is_wanted: impl Fn(&str) -> bool) {
        let mut count = 0;
        for entry in fs::read_dir(self.path(place)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if path.is_file() && is_wanted(path.file_name().unwrap().to_str().unwrap()) {
                self.see(&name, fs::read(&path).unwrap());
                count += 1;
            }
        }
        assert!(count > 0, "nothing of that name in {place:?}");
    }
}
