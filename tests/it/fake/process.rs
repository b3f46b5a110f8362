//! What happens to the process itself: no descriptors, nobody who reads the log, no core.

use std::{collections::BTreeSet, path::PathBuf, process::Stdio, time::Duration};

use ovpn_warden::store::SessionState;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

use super::{Bed, Controller, Listener, MAC, RUN, deaf::resident, metrics::beside};

pub fn proc(daemon: &Child, file: &str) -> PathBuf {
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
pub async fn is_let_in(controller: &mut Controller, cid: u32) -> bool {
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
    logging_to(bed, listener, "trace", Stdio::piped()).await
}

async fn logging_to(
    bed: &Bed,
    listener: &Listener,
    level: &str,
    log: Stdio,
) -> (Child, Controller) {
    let config = format!(
        "[database]\nurl = \"sqlite://{}\"\n[[servers]]\nname = \"udp\"\n\
         management = \"tcp://{}\"\n[auth]\nargon2_m_kib = 8\nargon2_t = 1\nwake_up = false\n\
         [throttle]\naddress_failures = 0\nuser_failures = 0\n[journal]\npath = \"\"\n\
         [http]\nlisten = \"\"\n[log]\nlevel = \"{level}\"\n",
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
        .stdout(log)
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
async fn a_log_that_nobody_reads_for_a_while_holds_up_nobody_and_loses_nothing() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let (mut daemon, mut controller) = piped(&bed, &listener).await;
    // Each is two lines and more of half a kilobyte; the pipe holds 64.
    let begun = bed.clock.now().mono;
    knock(&mut controller, 1).await;
    assert!(bed.clock.now().mono - begun < Duration::from_secs(40));
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
    // The queue has room for all of them.
    assert_eq!(log.matches("\"auth.denied\"").count(), 400);
    assert!(!log.contains("\"log.dropped\""));
}

/// More than the pipe and the queue of 8,192 lines take.
const TOO_MANY: u32 = 10_000;
/// Asked at a time, before the answers are read.
const AT_ONCE: u32 = 100;

/// All of them are denied.
async fn crowd(controller: &mut Controller, cids: std::ops::Range<u32>) {
    for first in cids.clone().step_by(AT_ONCE as usize) {
        let some = first..cids.end.min(first + AT_ONCE);
        for cid in some.clone() {
            controller.connect(cid, "nobody", "wrong", Some(MAC)).await;
        }
        let mut wanted: BTreeSet<u32> = some.collect();
        while !wanted.is_empty() {
            let line = controller.command().await;
            let cid = line.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(line.starts_with("client-deny ") && wanted.remove(&cid), "{line}");
            controller.say("SUCCESS: client-deny command succeeded\n").await;
        }
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_for_long_holds_up_nobody_and_says_how_much_is_missing() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let (mut daemon, mut controller) = logging_to(&bed, &listener, "info", Stdio::piped()).await;
    crowd(&mut controller, 1..1_001).await;
    let before = resident(&daemon);
    crowd(&mut controller, 1_001..TOO_MANY + 1).await;
    // Who is in goes on, and others come.
    controller.ask("REAUTH", 0, 2, "alice", "correct horse", Some(MAC)).await;
    assert_eq!(controller.command().await, "client-auth-nt 0 2");
    controller.say("SUCCESS: client-auth command succeeded\n").await;
    assert!(is_let_in(&mut controller, TOO_MANY + 1).await);
    let grown = resident(&daemon).saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more");

    // Somebody reads again: what the queue held, and then what is told.
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    let (mut told, mut dropped) = (BTreeSet::new(), 0);
    let mut is_stopping = false;
    let mut read = 0;
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        read += 1;
        if line["event"] == "auth.denied" {
            assert!(told.insert(line["cid"].as_u64().unwrap()), "told twice: {line}");
        }
        dropped += line["lines"].as_u64().filter(|_| line["event"] == "log.dropped").unwrap_or(0);
        // Of a daemon that goes on, a moment later; of this one, at its end.
        if read == 8_192 {
            let id = daemon.id().unwrap().to_string();
            Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        }
        is_stopping |= line["event"] == "daemon.stopping";
    }
    assert!(daemon.wait().await.unwrap().success() && is_stopping);
    let missing = u64::from(TOO_MANY) - told.len() as u64;
    assert!(missing > 500, "the queue took {} lines", told.len());
    // Those of the two who were let in may be among the lost, and lines that told of lost ones.
    assert!((missing..missing + 16).contains(&dropped), "{missing} missing, {dropped} told");
}

/// Less than what systemd waits for.
const STOPPED_WITHIN: Duration = Duration::from_secs(12);

#[tokio::test]
async fn a_daemon_whose_log_nobody_reads_ends_when_it_is_told_to() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let (mut daemon, mut controller) = logging_to(&bed, &listener, "info", Stdio::piped()).await;
    crowd(&mut controller, 1..TOO_MANY + 1).await;
    let id = daemon.id().unwrap().to_string();
    Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
    let ended = tokio::time::timeout(STOPPED_WITHIN, daemon.wait()).await;
    assert!(ended.expect("it waits for a reader").unwrap().success());
    let pipe = daemon.stdout.take().unwrap();
    let mut lines = BufReader::new(pipe).lines();
    let mut count = 0;
    while lines.next_line().await.unwrap().is_some() {
        count += 1;
    }
    assert!(count < TOO_MANY, "the pipe and the queue were not full");
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

#[tokio::test]
async fn a_log_on_a_full_disk_ends_nobodys_session() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    // Whoever writes there is told that no space is left.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (mut daemon, mut controller) = logging_to(&bed, &listener, "trace", full.into()).await;
    knock(&mut controller, 1).await;
    assert!(is_let_in(&mut controller, 1_000).await);
    controller.ask("REAUTH", 0, 2, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth-nt 0 2").await;
    controller.say("SUCCESS: client-auth command succeeded\n").await;
    assert!(daemon.try_wait().unwrap().is_none());
    bed.any_session(|session| session.cid.0 == 1_000 && session.state == SessionState::Active)
        .await;
}
