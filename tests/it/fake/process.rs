//! What happens to the process itself: no descriptors, nobody who reads the log, a full disk, no core.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ovpn_warden::store::SessionState;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    process::{Child, Command},
};

use super::{
    Bed, Controller, Listener, MAC, RUN,
    metrics::{beside, beside_with},
};

fn proc(daemon: &Child, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{file}", daemon.id().unwrap()))
}

#[tokio::test]
async fn no_core_dump_and_no_secret_among_the_arguments() {
    let listener = Listener::tcp().await;
    let (_bed, daemon, _controller, _) = beside(&listener).await;
    let limits = std::fs::read_to_string(proc(&daemon, "limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<_> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{core}");
    let arguments = std::fs::read(proc(&daemon, "cmdline")).unwrap();
    let arguments = String::from_utf8(arguments).unwrap();
    assert_eq!(arguments.split('\0').filter(|word| !word.is_empty()).count(), 4, "{arguments}");
}

/// Answers to a client's login, in what the server reads next.
async fn is_let_in(controller: &mut Controller, cid: u32) -> bool {
    controller.connect(cid, "alice", "correct horse", Some(MAC)).await;
    let line = controller.command().await;
    if line.starts_with(&format!("client-auth {cid} ")) {
        // Its body.
        while controller.line().await != "END" {}
        controller.establish(cid).await;
        return true;
    }
    assert!(line.starts_with(&format!("client-deny {cid} ")) && line.contains("TEMP"), "{line}");
    controller.say("SUCCESS: client-deny command succeeded\n").await;
    false
}

#[tokio::test]
async fn without_descriptors_live_clients_stay_and_logins_come_back_with_them() {
    let listener = Listener::tcp().await;
    let (bed, mut daemon, mut controller, http) = beside(&listener).await;
    let used = std::fs::read_dir(proc(&daemon, "fd")).unwrap().count();
    let pid = daemon.id().unwrap().to_string();
    let limit = format!("--nofile={}:", used + 2);
    let limited = Command::new("prlimit").args(["--pid", &pid, &limit]).status().await.unwrap();
    assert!(limited.success());
    // Silent connections take what is left.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(("127.0.0.1", http)).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(std::fs::read_dir(proc(&daemon, "fd")).unwrap().count() >= used + 2);
    // Who is in is answered, with the connections that there are.
    controller.ask("REAUTH", 0, 2, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth-nt 0 2").await;
    controller.say("SUCCESS: client-auth command succeeded\n").await;
    drop(silent);
    let freed = Command::new("prlimit").args(["--pid", &pid, "--nofile=1024:"]).status().await;
    assert!(freed.unwrap().success());
    let mut cid = 1;
    while !is_let_in(&mut controller, cid).await {
        cid += 1;
        assert!(cid < 20, "logins do not come back");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(daemon.try_wait().unwrap().is_none());
    bed.any_session(|session| session.cid.0 == cid && session.state == SessionState::Active).await;
    bed.any_session(|session| session.cid.0 == 0 && session.state == SessionState::Active).await;
}

/// The daemon with its log in a pipe, and alice on the server.
async fn piped(bed: &Bed, listener: &Listener) -> (Child, Controller) {
    let config = format!(
        "[database]\nurl = \"sqlite://{}\"\n[[servers]]\nname = \"udp\"\n\
         management = \"tcp://{}\"\n[auth]\nargon2_m_kib = 8\nargon2_t = 1\nwake_up = false\n\
         [throttle]\naddress_failures = 0\nuser_failures = 0\n[journal]\npath = \"\"\n\
         [http]\nlisten = \"\"\n[log]\nlevel = \"trace\"\n",
        bed.folder().join("warden.db").display(),
        listener.address(),
    );
    let file = bed.folder().join("config.toml");
    std::fs::write(&file, config).unwrap();
    let daemon = Command::new(env!("CARGO_BIN_EXE_ovpn-warden"))
        .env_clear()
        .arg("-c")
        .arg(file)
        .arg("run")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    assert!(is_let_in(&mut controller, 0).await);
    (daemon, controller)
}

/// More lines than a pipe holds, each login answered.
async fn knock(controller: &mut Controller, from: u32) {
    for cid in from..from + 400 {
        controller.connect(cid, "alice", "wrong", Some(MAC)).await;
        super::expect_denial(controller, "bad_credentials", "").await;
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nobody_and_what_is_lost_is_told() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let (mut daemon, mut controller) = piped(&bed, &listener).await;
    // Each is two lines and more of half a kilobyte; the pipe holds 64.
    let begun = bed.clock.now().mono;
    knock(&mut controller, 1).await;
    assert!(bed.clock.now().mono - begun < Duration::from_secs(20));
    assert!(is_let_in(&mut controller, 1_000).await);
    // Somebody reads again.
    let mut pipe = daemon.stdout.take().unwrap();
    let mut log = Vec::new();
    let id = daemon.id().unwrap().to_string();
    let read = async {
        pipe.read_to_end(&mut log).await.unwrap();
    };
    let stop = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        daemon.wait().await.unwrap()
    };
    let ((), status) = tokio::join!(read, stop);
    assert!(status.success(), "{status}");
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("\"daemon.stopping\""), "the last lines are there");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}"));
    }
    let told = log.matches("\"auth.denied\"").count();
    assert!(told == 400 || log.contains("\"log.dropped\""), "{told} lines, and nobody says why");
}

#[tokio::test]
async fn a_log_whose_reader_has_gone_ends_nobodys_session() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let (mut daemon, mut controller) = piped(&bed, &listener).await;
    drop(daemon.stdout.take());
    knock(&mut controller, 1).await;
    assert!(is_let_in(&mut controller, 1_000).await);
    assert!(daemon.try_wait().unwrap().is_none());
}

/// A small file system of its own, gone with this.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Self {
        std::fs::create_dir(at).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"]).arg(at);
        let mounted = mount.status().unwrap();
        assert!(mounted.success(), "mounting a tmpfs needs root: run `make test`, which has it");
        Self(at.to_owned())
    }

    /// Leaves no byte.
    fn fill(&self) {
        use std::io::Write as _;

        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_under_the_database_loses_no_session() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let small = Small::mount(&bed.folder().join("small"), "4m");
    // The database is on it, the journal is not.
    bed.store.close().await;
    for name in ["warden.db", "warden.db-wal", "warden.db-shm"] {
        let from = bed.folder().join(name);
        if from.exists() {
            std::fs::copy(&from, small.0.join(name)).unwrap();
        }
    }
    let database = small.0.join("warden.db");
    let more = format!("[journal]\npath = \"{}\"\n", bed.folder().join("journal.db").display());
    let bed = bed.on(&database);
    let (_daemon, mut controller, _) = beside_with(&bed, &listener, &more).await;
    let before = bed.session(|session| session.state == SessionState::Active).await;
    small.fill();
    // Who is in is answered and may leave, whatever of it is stored when.
    controller.ask("REAUTH", 0, 2, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth-nt 0 2").await;
    controller.say("SUCCESS: client-auth command succeeded\n").await;
    controller.disconnect(0).await;
    // A login is let in or denied for a moment, and nothing else.
    let mut is_in = is_let_in(&mut controller, 1).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    small.free();
    let closed = bed
        .any_session(|session| session.id == before.id && session.state == SessionState::Closed)
        .await;
    assert_eq!((closed.bytes_received, closed.bytes_sent), (4_000, 5_000));
    for cid in 2..20 {
        if is_in {
            break;
        }
        is_in = is_let_in(&mut controller, cid).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(is_in, "logins do not come back");
    bed.any_session(|session| session.id != before.id && session.state == SessionState::Active)
        .await;
    let log = std::fs::read_to_string(bed.folder().join("log")).unwrap();
    assert!(!log.contains("\"store.refused\""), "{log}");
    assert!(log.contains("full"), "{log}");
}
