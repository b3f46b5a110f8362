//! The clock of a daemon's process is set while clients are in (`step.c`): UTC steps, the monotonic clock does not.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ovpn_warden::types::Timestamp;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::{Bed, Controller, Listener, MAC, RUN, client_row};

/// How late a test may be on a busy machine.
const LATE: Duration = Duration::from_secs(8);

/// What is to be loaded before all else. (libfaketime takes memory when it is first asked for the time, which our
/// allocator does when it is first asked for memory.)
async fn clock(folder: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fake/step.c");
    let library = folder.join("step.so");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
    assert!(cc.status().await.unwrap().success());
    library
}

/// A daemon whose clock is the machine's until [`Stepped::step`].
struct Stepped {
    bed: Bed,
    daemon: Child,
    controller: Controller,
}

impl Stepped {
    async fn new(listener: &Listener, limit_s: u32) -> Self {
        let bed = Bed::new(listener).await;
        let config = format!(
            "[database]\nurl = \"{}\"\n[[servers]]\nname = \"udp\"\nmanagement = \"tcp://{}\"\n\
             [http]\nlisten = \"\"\n[journal]\npath = \"{}\"\n[session]\nlimit_s = {limit_s}\n\
             [auth]\nargon2_m_kib = 8\nargon2_t = 1\nwake_up = false\n",
            bed.url(),
            listener.address(),
            bed.folder().join("journal.db").display(),
        );
        let file = bed.folder().join("config.toml");
        fs::write(&file, config).unwrap();
        fs::write(bed.folder().join("step"), "+0\n").unwrap();
        let daemon = Command::new(env!("CARGO_BIN_EXE_ovpn-warden"))
            .env_clear()
            .env("LD_PRELOAD", clock(bed.folder()).await)
            .env("STEP_FILE", bed.folder().join("step"))
            .arg("-c")
            .arg(file)
            .arg("run")
            .stdout(fs::File::create(bed.folder().join("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut controller = listener.accept().await;
        controller.attach(RUN, &[]).await;
        Self { bed, daemon, controller }
    }

    /// Sets the clock so many seconds off the machine's.
    fn step(&self, seconds: i64) {
        // At once: a file that is half written would be no time at all.
        let (fresh, file) = (self.bed.folder().join("fresh"), self.bed.folder().join("step"));
        fs::write(&fresh, format!("{seconds:+}\n")).unwrap();
        fs::rename(fresh, file).unwrap();
    }

    async fn log_in(&mut self, cid: u32) {
        self.controller.connect(cid, "alice", "correct horse", Some(MAC)).await;
        self.controller.expect(&format!("client-auth {cid} 1")).await;
        while self.controller.line().await != "END" {}
        self.controller.establish(cid).await;
    }

    async fn signal(&self, name: &str) {
        let pid = self.daemon.id().unwrap().to_string();
        let done = Command::new("kill").args([&format!("-{name}"), &pid]).status().await.unwrap();
        assert!(done.success());
    }

    /// When the client is told to leave; after `wait` it should have been.
    async fn killed(&mut self, cid: u32, wait: Duration) -> Duration {
        let begun = self.bed.clock.now().mono;
        let kill = format!("client-kill {cid} ");
        loop {
            let waited = self.bed.clock.now().mono - begun;
            assert!(waited < wait, "client {cid} is still there after {waited:?}");
            let line = self.controller.line_within(wait - waited).await.unwrap_or_default();
            if line == "state" {
                // It looks whether the server is there.
                let state = format!("{RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n");
                self.controller.say(&state).await;
            } else if line.starts_with("status") {
                let rows = [0, 1].map(|cid| client_row(cid, "alice", "10.8.0.6"));
                self.controller.say(&super::server::status(&rows)).await;
            } else if line.starts_with(&kill) {
                self.controller.say("SUCCESS: client-kill command succeeded\n").await;
                self.controller.disconnect(cid).await;
                return self.bed.clock.now().mono - begun;
            }
        }
    }

    /// Until the log has an approval of so many hours from now.
    async fn says(&self, hours: i64) {
        for _ in 0..100 {
            let log = fs::read_to_string(self.bed.folder().join("log")).unwrap();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut allowed = lines.filter(|line| line["event"] == "auth.allowed");
            let now = self.bed.clock.now().utc.as_millis();
            if allowed.any(|line| {
                let at: Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
                (at.as_millis() - now + 1_800_000).div_euclid(3_600_000) == hours
            }) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the clock was not set");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_by_hours_lets_nobody_stay_longer() {
    const LIMIT: Duration = Duration::from_secs(15);
    let listener = Listener::tcp().await;
    let mut site = Stepped::new(&listener, 15).await;
    site.log_in(0).await;
    let first = site.bed.clock.now().mono;
    tokio::time::sleep(Duration::from_secs(2)).await;
    site.step(-3 * 3_600);
    // Who is in is answered, and who comes is let in, for as long.
    site.controller.ask("REAUTH", 0, 2, "alice", "correct horse", Some(MAC)).await;
    site.controller.expect("client-auth-nt 0 2").await;
    site.controller.say("SUCCESS: client-auth command succeeded\n").await;
    site.says(-3).await;
    site.log_in(1).await;
    let second = site.bed.clock.now().mono;
    site.killed(0, LIMIT + LATE).await;
    let (lasted, other) = (site.bed.clock.now().mono - first, site.bed.clock.now().mono - second);
    assert!(lasted + Duration::from_secs(1) > LIMIT && lasted < LIMIT + LATE, "{lasted:?}");
    site.killed(1, LIMIT - other + LATE).await;
    let lasted = site.bed.clock.now().mono - second;
    assert!(lasted + Duration::from_secs(1) > LIMIT && lasted < LIMIT + LATE, "{lasted:?}");
    let other = site.bed.any_session(|one| one.cid.0 == 1 && one.ended_at.is_some()).await;
    assert!((14..24).contains(&other.duration_s()), "{other:?}");
    // Its end was before its beginning.
    let first = site.bed.any_session(|one| one.cid.0 == 0 && one.ended_at.is_some()).await;
    assert!((0..24).contains(&first.duration_s()), "{first:?}");
}

#[tokio::test]
async fn who_is_overdue_after_a_suspend_of_hours_goes_and_who_comes_then_stays() {
    let listener = Listener::tcp().await;
    let mut site = Stepped::new(&listener, 3_600).await;
    site.log_in(0).await;
    // The machine sleeps for three hours: nothing runs, the monotonic clock stands still, UTC goes on.
    site.signal("STOP").await;
    site.step(3 * 3_600);
    tokio::time::sleep(Duration::from_secs(1)).await;
    site.signal("CONT").await;
    site.log_in(1).await;
    site.says(3).await;
    // Within the time in which deadlines are held against UTC.
    site.killed(0, Duration::from_secs(60) + LATE).await;
    let ended = site.bed.any_session(|session| session.cid.0 == 0 && session.ended_at.is_some());
    assert!(ended.await.cause.is_some_and(|cause| cause.as_str() == "session_limit"));
    site.controller.ask("REAUTH", 1, 2, "alice", "correct horse", Some(MAC)).await;
    loop {
        let line = site.controller.line().await;
        assert!(!line.starts_with("client-kill") && !line.starts_with("client-deny"), "{line}");
        if line == "client-auth-nt 1 2" {
            break;
        }
    }
}
