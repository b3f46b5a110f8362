//! The database away: session changes wait on disk, also when the daemon is killed.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use sqlx::Connection as _;

use super::*;

/// The built daemon with a configuration of its own.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    pub fn start(folder: &Path, port: u16, more: &str) -> Self {
        Self::start_with(folder, port, more, &[])
    }

    pub fn start_with(
        folder: &Path,
        port: u16,
        more: &str,
        environment: &[(&str, String)],
    ) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let text = format!(
            "[database]\nurl = \"sqlite://{}\"\ntimeout_ms = 200\n\
             [auth]\nargon2_m_kib = 8\nargon2_t = 1\nwake_up = false\n\
             [session]\naccounting_interval_s = 1\n[http]\nlisten = \"\"\n\
             [[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:{port}\"\n{more}",
            path("warden.db")
        );
        fs::write(path("config.toml"), text).unwrap();
        let log = folder.join("log");
        let output = fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ovpn-warden"))
            .args(["-c", &path("config.toml"), "run"])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::from(output))
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Whether it has ended by SIGABRT.
    pub fn has_aborted(&mut self) -> bool {
        let ended = self.child.try_wait().unwrap();
        ended.is_some_and(|status| status.signal() == Some(6))
    }

    /// Whether it has ended by itself, and says that it should not have.
    pub fn has_failed(&mut self) -> bool {
        let ended = self.child.try_wait().unwrap();
        ended.is_some_and(|status| status.code().is_some_and(|code| code != 0))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub async fn logs(&self, text: &str) {
        for _ in 0..200 {
            if self.log().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no {text} in {}", self.log());
    }

    /// What tells it to stop; it has its time to end.
    pub fn terminator(&self) -> impl Fn() + use<> {
        let pid = self.child.id().to_string();
        move || assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success())
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

fn journal(bed: &Bed) -> String {
    format!("[journal]\npath = \"{}\"\n", bed.folder().join("journal.db").display())
}

async fn log_in(controller: &mut Controller, cid: u32) {
    controller.connect(cid, "alice", "correct horse", Some(MAC)).await;
    controller.expect(&format!("client-auth {cid} 1")).await;
    while controller.line().await != "END" {}
    controller.establish(cid).await;
}

#[tokio::test]
async fn changes_during_an_outage_survive_the_end_of_the_daemon() {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    let path = bed.folder().join("journal.db");
    bed.config.journal.path = Some(path.clone());
    let store = open(&bed.config);
    let daemon = bed.start_on(Arc::clone(&store));
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    log_in(&mut controller, 0).await;
    bed.session(|s| s.state == SessionState::Active).await;
    // From now on it answers nothing.
    store.close().await;
    let started = bed.clock.now().mono;
    controller.disconnect(0).await;
    // It is asked again soon after, so that its last word has been read.
    controller.connect(1, "alice", "correct horse", Some(MAC)).await;
    expect_denial(&mut controller, "backend_unavailable", "").await;
    daemon.stop().await;
    assert!(bed.clock.now().mono - started < Duration::from_secs(6), "it waits for nothing");
    let journal = store::Journal::new(path, 1 << 20);
    assert!(!journal.first(1).await.unwrap().sessions.is_empty());
    assert_eq!(bed.session(|_| true).await.state, SessionState::Active);
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    let session = bed.session(|s| s.state == SessionState::Closed).await;
    assert_eq!((session.bytes_received, session.bytes_sent), (4_000, 5_000));
    assert_eq!(session.cause, Some(Cause::Unknown));
    daemon.stop().await;
}

#[tokio::test]
async fn changes_during_an_outage_survive_a_daemon_that_is_killed() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let more = journal(&bed);
    let start = || Program::start(bed.folder(), listener.address().port(), &more);
    let program = start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    for cid in [0, 1] {
        log_in(&mut controller, cid).await;
    }
    program.logs("\"event\":\"session.opened\"").await;
    let is_up = async || bed.sessions().await.iter().all(|s| s.state == SessionState::Active);
    for _ in 0..100 {
        if is_up().await && bed.sessions().await.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Somebody keeps the database from being written.
    let url = format!("sqlite://{}", bed.folder().join("warden.db").display());
    let mut holder = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    controller.disconnect(0).await;
    program.logs("\"event\":\"journal.written\"").await;
    program.kill();
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let known = bed.sessions().await;
    assert!(is_up().await && known.len() == 2, "the database knows nothing of it: {known:?}");
    let program = start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[client_row(1, "alice", "10.8.0.6")]).await;
    program.logs("\"event\":\"journal.replayed\"").await;
    program.logs("\"event\":\"session.adopted\"").await;
    let sessions = bed.sessions().await;
    let [left, stayed] = [0, 1].map(|cid| sessions.iter().find(|s| s.cid.0 == cid).unwrap());
    assert_eq!(sessions.len(), 2, "none lost, none doubled");
    assert_eq!((left.state, left.cause), (SessionState::Closed, Some(Cause::Unknown)));
    assert_eq!((left.bytes_received, left.bytes_sent), (4_000, 5_000));
    assert_eq!(stayed.state, SessionState::Active);
    assert!(!program.log().contains("journal.failed"), "{}", program.log());
}

/// A daemon whose journal has a disk of its own, with one client in.
struct OnSmall {
    bed: Bed,
    small: crate::lab::Small,
    journal: store::Journal,
    program: Program,
    listener: Listener,
    controller: Controller,
}

impl OnSmall {
    async fn start() -> Self {
        let listener = Listener::tcp().await;
        let bed = Bed::new(&listener).await;
        let small = crate::lab::Small::mount(&bed.folder().join("small"), "1m");
        let path = small.path().join("journal.db");
        // It is there before the disk is full, and stays.
        let journal = store::Journal::new(path.clone(), 256 << 10);
        journal.open(Timestamp::default()).await.unwrap();
        let more = format!("[journal]\npath = \"{}\"\n", path.display());
        let program = Program::start(bed.folder(), listener.address().port(), &more);
        let mut controller = listener.accept().await;
        controller.attach(RUN, &[]).await;
        log_in(&mut controller, 0).await;
        bed.session(|s| s.state == SessionState::Active).await;
        Self { bed, small, journal, program, listener, controller }
    }

    /// Keeps the database from being written.
    async fn hold(&self) -> sqlx::SqliteConnection {
        let url = format!("sqlite://{}", self.bed.folder().join("warden.db").display());
        let mut holder = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
        holder
    }

    fn has_told_once(&self) {
        for event in ["journal.failed", "journal.usable"] {
            let log = self.program.log();
            assert_eq!(log.matches(event).count(), 1, "{log}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_under_the_journal_in_an_outage_is_told_once_and_so_is_its_end() {
    let mut on = OnSmall::start().await;
    let mut holder = on.hold().await;
    on.small.fill();
    on.controller.disconnect(0).await;
    on.program.logs("\"event\":\"journal.failed\"").await;
    // It is tried again and again meanwhile.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!on.program.log().contains("journal.usable"), "{}", on.program.log());
    on.small.free();
    on.program.logs("\"event\":\"journal.written\"").await;
    on.program.logs("\"file\":\"journal\"").await;
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    on.bed.session(|s| s.state == SessionState::Closed).await;
    on.program.logs("\"event\":\"journal.replayed\"").await;
    on.has_told_once();
    on.journal.close().await;
}

#[tokio::test]
async fn a_full_disk_under_the_journal_after_an_outage_is_told_once_and_so_is_its_end() {
    let mut on = OnSmall::start().await;
    let mut holder = on.hold().await;
    on.controller.disconnect(0).await;
    on.program.logs("\"event\":\"journal.written\"").await;
    on.small.fill();
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    on.bed.session(|s| s.state == SessionState::Closed).await;
    // The row is in the database, and cannot be taken out of the journal.
    on.program.logs("\"event\":\"journal.failed\"").await;
    on.small.free();
    // A server that comes has the journal read.
    drop(on.controller);
    on.controller = on.listener.accept().await;
    on.controller.attach(RUN, &[]).await;
    on.program.logs("\"event\":\"journal.replayed\"").await;
    on.program.logs("\"event\":\"journal.usable\"").await;
    on.has_told_once();
    on.journal.close().await;
}

#[tokio::test]
async fn who_was_approved_in_the_moment_before_a_kill_has_a_row() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let more = journal(&bed);
    let start = || Program::start(bed.folder(), listener.address().port(), &more);
    let program = start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    program.logs("\"event\":\"link.up\"").await;
    // The database can be read, and a row would take a while.
    let url = format!("sqlite://{}", bed.folder().join("warden.db").display());
    let mut holder = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth 0 1").await;
    program.kill();
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    assert_eq!(bed.sessions().await.len(), 0, "the database knows nothing of it");
    // It came and went while nobody was there.
    let program = start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    let session = bed.session(|s| s.state == SessionState::Closed).await;
    assert_eq!((session.cid.0, session.cause), (0, Some(Cause::Unknown)));
    program.kill();
    // Nor does it come twice.
    let program = start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    program.logs("\"event\":\"link.up\"").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bed.sessions().await.len(), 1);
    let told = program.log().matches("\"event\":\"session.closed\"").count();
    assert_eq!(told, 1, "{}", program.log());
}
