//! The disk under the database is full for a while.

use std::{
    cell::Cell,
    collections::HashSet,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use ovpn_warden::{
    store::{Journal, SessionFilter, SessionState},
    types::{Cid, Timestamp},
};
use sqlx::{Connection as _, MySqlConnection, mysql::MySqlConnectOptions};

use crate::lab::Small;

use super::{
    Bed, Listener, MAC, client_row,
    metrics::beside_with,
    own_server::{Server, done, rig},
    process::is_let_in,
    server::status,
};

#[tokio::test]
async fn a_full_disk_under_sqlite_loses_no_session() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let small = Small::mount(&bed.folder().join("small"), "4m");
    // The database is on it, the journal is not.
    bed.store.close().await;
    for name in ["warden.db", "warden.db-wal", "warden.db-shm"] {
        let from = bed.folder().join(name);
        if from.exists() {
            std::fs::copy(&from, small.path().join(name)).unwrap();
        }
    }
    let database = small.path().join("warden.db");
    let more = format!("[journal]\npath = \"{}\"\n", bed.folder().join("journal.db").display());
    let bed = bed.on(&format!("sqlite://{}", database.display()));
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

/// Waits until the file of approvals is empty: then it has no page in which a line more finds room.
async fn has_none_to_keep(folder: &Path) {
    let bytes = || -> u64 {
        let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let own = files.filter(|f| f.file_name().to_string_lossy().contains(".approved-"));
        own.map(|file| file.metadata().unwrap().len()).sum()
    };
    for _ in 0..200 {
        if bytes() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{} bytes of approvals stay", bytes());
}

/// Waits until the log has so many of both events.
async fn are_told(bed: &Bed, events: [&str; 2], wanted: [usize; 2]) {
    let mut told = [0, 0];
    for _ in 0..100 {
        let log = std::fs::read_to_string(bed.folder().join("log")).unwrap();
        told = events.map(|event| log.matches(&format!("\"event\":\"{event}\"")).count());
        if told == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(told, wanted);
}

/// They are let in all the same: the database is there.
#[tokio::test]
async fn a_full_disk_under_the_approvals_is_told_once_and_so_is_its_end() {
    const EVENTS: [&str; 2] = ["journal.failed", "journal.usable"];
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let small = Small::mount(&bed.folder().join("small"), "1m");
    let path = small.path().join("journal.db");
    // It is there before the disk is full, and stays.
    let journal = Journal::new(path.clone(), 256 << 10);
    journal.open(Timestamp::default()).await.unwrap();
    let more = format!("[journal]\npath = \"{}\"\n", path.display());
    let (_daemon, mut controller, _) = beside_with(&bed, &listener, &more).await;
    let mut cids = 1..;
    for times in 1..3 {
        has_none_to_keep(small.path()).await;
        small.fill();
        for cid in cids.by_ref().take(30) {
            assert!(is_let_in(&mut controller, cid).await);
            controller.disconnect(cid).await;
        }
        are_told(&bed, EVENTS, [times, times - 1]).await;
        small.free();
        for cid in cids.by_ref().take(3) {
            assert!(is_let_in(&mut controller, cid).await);
            controller.disconnect(cid).await;
        }
        are_told(&bed, EVENTS, [times, times]).await;
    }
    let log = std::fs::read_to_string(bed.folder().join("log")).unwrap();
    assert!(log.contains("\"error\":\"approvals: No space left on device"), "{log}");
    assert!(log.contains("\"file\":\"approvals\""), "{log}");
    journal.close().await;
}

/// Which server, which of its disks is small, and what else it is told.
#[derive(Clone, Copy)]
struct Disk {
    kind: &'static str,
    variable: &'static str,
    size: &'static str,
    options: &'static str,
}

impl Disk {
    async fn start(self) -> (Server, String) {
        let rig = [(self.variable, self.size), ("WARDEN_RIG_OPTIONS", self.options)];
        Server::start(self.kind, &rig).await
    }
}

/// Its data.
const fn data(kind: &'static str, size: &'static str) -> Disk {
    Disk { kind, variable: "WARDEN_RIG_DISK", size, options: "" }
}

/// Its binary log, that of a server which waits for room.
const fn binlog(kind: &'static str) -> Disk {
    Disk { kind, variable: "WARDEN_RIG_BINLOG", size: "4m", options: "" }
}

/// Its binary log, on a disk that takes no new file; it begins one after each 4 KB.
const fn new_binlog(kind: &'static str, options: &'static str) -> Disk {
    Disk { kind, variable: "WARDEN_RIG_BINLOG", size: "16m,nr_inodes=300", options }
}

#[tokio::test]
async fn a_full_disk_under_mariadb_loses_no_session() {
    let seen = loses_nothing(data("mariadb", "96m")).await;
    assert!(seen.log.contains("is full (1114)"), "{}", seen.log);
    assert!(!seen.has_ended);
}

/// Three times in four it ends by itself: when what it has begun to write is to be undone, and that needs a page, too.
#[tokio::test]
async fn a_full_disk_under_mysql_loses_no_session() {
    let seen = loses_nothing(data("mysql", "256m")).await;
    let says_why = seen.of_server.contains("Out of tablespace during rollback");
    assert_eq!(seen.has_ended, says_why, "{}", seen.of_server);
}

/// The server does not refuse: it waits, and looks once a minute whether there is room.
#[tokio::test]
#[ignore = "a minute each: make test-disk"]
async fn a_full_disk_under_a_binary_log_loses_no_session_on_mariadb() {
    assert!(!loses_nothing(binlog("mariadb")).await.has_ended);
}

#[tokio::test]
#[ignore = "a minute each: make test-disk"]
async fn a_full_disk_under_a_binary_log_loses_no_session_on_mysql() {
    assert!(!loses_nothing(binlog("mysql")).await.has_ended);
}

/// MySQL ends by itself then, unless it is told otherwise.
#[tokio::test]
async fn a_mysql_that_ends_over_its_binary_log_loses_no_session() {
    let seen = loses_nothing(new_binlog("mysql", "--max-binlog-size=4096")).await;
    assert!(seen.has_ended, "{}", seen.of_server);
    assert!(seen.of_server.contains("Aborting the server"), "{}", seen.of_server);
}

#[tokio::test]
async fn a_mysql_that_goes_on_without_its_binary_log_loses_no_session() {
    let options = "--max-binlog-size=4096 --binlog-error-action=IGNORE_ERROR";
    let seen = loses_nothing(new_binlog("mysql", options)).await;
    assert!(!seen.has_ended, "{}", seen.of_server);
}

/// That goes on without it as well, and has then been seen to end by a fault of its own.
#[tokio::test]
async fn a_mariadb_that_loses_its_binary_log_loses_no_session() {
    let seen = loses_nothing(new_binlog("mariadb", "--max-binlog-size=4096")).await;
    assert!(seen.of_server.contains("Turning logging off"), "{}", seen.of_server);
}

/// A disk that nothing needs is not met, and says so.
#[tokio::test]
async fn a_full_disk_that_nothing_meets_is_no_full_disk() {
    let (server, _) = data("mariadb", "96m").start().await;
    let mut fill = rig("fill");
    let fill = fill.arg(server.folder()).env("WARDEN_RIG_FILL_S", "1").spawn().unwrap();
    let Output { status, stdout, .. } = fill.wait_with_output().await.unwrap();
    assert_eq!((status.code(), &stdout[..]), (Some(3), &b"not met\n"[..]));
}

/// Until the server has taken a write; one that has ended is started again, as its unit does. Whether it had.
async fn takes_a_write(folder: PathBuf, url: String) -> bool {
    let options: MySqlConnectOptions = url.parse().unwrap();
    let write =
        "CREATE TABLE IF NOT EXISTS probe (n INT); INSERT INTO probe VALUES (1); DROP TABLE probe";
    let mut has_ended = false;
    for _ in 0..1_500 {
        if let Ok(mut probe) = MySqlConnection::connect_with(&options).await
            && sqlx::raw_sql(write).execute(&mut probe).await.is_ok()
        {
            return has_ended;
        }
        if !is_there(&folder) {
            assert!(!has_ended, "it has ended once more");
            has_ended = true;
            done(rig("again").arg(&folder).spawn().unwrap()).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server takes no write");
}

/// Whether its process is there, and no zombie.
fn is_there(folder: &Path) -> bool {
    let pid = std::fs::read_to_string(folder.join("pid")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// What the daemon logged, what the server did, and whether that had ended by itself.
struct Seen {
    log: String,
    of_server: String,
    has_ended: bool,
}

/// Clients come and go while the disk is full and after it.
async fn loses_nothing(disk: Disk) -> Seen {
    let listener = Listener::tcp().await;
    let (server, url) = disk.start().await;
    let bed = Bed::new(&listener).await.on(&url);
    bed.store.migrate(false).await.unwrap();
    bed.add_user("alice", "correct horse").await;
    let more = format!("[journal]\npath = \"{}\"\n", bed.folder().join("journal.db").display());
    let (_daemon, mut controller, _) = beside_with(&bed, &listener, &more).await;
    // It goes on in the pages that it has; the first that it needs more is refused.
    let mut fill = server.run("fill");
    let (mut cid, mut came, is_first_in) = (0, HashSet::new(), Cell::new(true));
    let mut come_and_go = async |controller: &mut super::Controller| {
        cid += 1;
        controller.connect(cid, "alice", "correct horse", Some(MAC)).await;
        // After some seconds in which nothing was stored it looks who is there.
        let asks = client_row(cid, "alice", "");
        let there: Vec<_> =
            is_first_in.get().then(|| client_row(0, "alice", "10.8.0.2")).into_iter().collect();
        let mut line = controller.command().await;
        while line == "status 3" {
            controller.say(&status(&[&there[..], std::slice::from_ref(&asks)].concat())).await;
            line = controller.command().await;
        }
        let is_in = line.starts_with(&format!("client-auth {cid} "));
        if is_in {
            // Its body.
            while controller.line().await != "END" {}
            controller.establish(cid).await;
        } else {
            let is_told = line.starts_with(&format!("client-deny {cid} ")) && line.contains("TEMP");
            assert!(is_told, "{line}");
            controller.say("SUCCESS: client-deny command succeeded\n").await;
        }
        if is_in {
            controller.disconnect(cid).await;
            came.insert(Cid(cid));
        }
        is_in
    };
    while fill.try_wait().unwrap().is_none() {
        come_and_go(&mut controller).await;
    }
    assert_eq!(done(fill).await.trim(), "full", "{}", server.log());
    // Who is in is answered and may leave; logins are let in or denied for a moment, and nothing else.
    controller.ask("REAUTH", 0, 2, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth-nt 0 2").await;
    controller.say("SUCCESS: client-auth command succeeded\n").await;
    controller.disconnect(0).await;
    is_first_in.set(false);
    for _ in 0..20 {
        come_and_go(&mut controller).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    done(server.run("free")).await;
    // The server is of use again when it has taken a write.
    let usable = tokio::spawn(takes_a_write(server.folder(), url.clone()));
    while !usable.is_finished() {
        come_and_go(&mut controller).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let has_ended = usable.await.unwrap();
    let mut attempts = 0;
    while !come_and_go(&mut controller).await {
        attempts += 1;
        assert!(attempts < 10, "logins do not come back within 5 s");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    came.insert(Cid(0));
    let all = SessionFilter { ended: true, limit: 10_000, ..SessionFilter::default() };
    let mut rows = Vec::new();
    for _ in 0..200 {
        rows = bed.store.sessions(&all).await.unwrap_or_default();
        let closed = rows.iter().filter(|row| row.state == SessionState::Closed);
        if closed.count() == came.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(rows.iter().map(|row| row.cid).collect::<HashSet<_>>(), came);
    assert_eq!(rows.len(), came.len(), "no session twice");
    for row in &rows {
        assert_eq!((row.bytes_received, row.bytes_sent), (4_000, 5_000), "{row:?}");
    }
    let log = std::fs::read_to_string(bed.folder().join("log")).unwrap();
    assert!(!log.contains("\"store.refused\""), "{log}");
    bed.store.close().await;
    Seen { log, of_server: server.log(), has_ended }
}
