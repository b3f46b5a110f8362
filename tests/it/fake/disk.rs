//! The disk under the database is full for a while.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use ovpn_warden::{
    store::{SessionFilter, SessionState},
    types::Cid,
};
use sqlx::{Connection as _, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::process::{Child, Command};

use super::{Bed, Listener, MAC, metrics::beside_with, process::is_let_in};

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
async fn a_full_disk_under_sqlite_loses_no_session() {
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

/// A MariaDB of its own whose data is on a small file system.
struct Mariadb(tempfile::TempDir);

impl Mariadb {
    async fn start() -> (Self, String) {
        let own = Self(tempfile::Builder::new().prefix("warden-db.").tempdir().unwrap());
        let mut words = own.rig("start");
        words.arg("mariadb").arg(own.0.path().join("m")).env("WARDEN_RIG_DISK", "96m");
        let told = done(words.spawn().unwrap()).await;
        let url = told.lines().find_map(|line| line.strip_prefix("URL=")).unwrap();
        let options: MySqlConnectOptions = url.trim_end_matches('/').parse().unwrap();
        let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("CREATE DATABASE warden_full").execute(&mut connection).await.unwrap();
        (own, format!("{url}warden_full"))
    }

    fn rig(&self, what: &str) -> Command {
        let mut command = Command::new(crate::lab::rig("db.sh"));
        command.arg(what).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Begun; what it tells is known when it has ended.
    fn run(&self, what: &str) -> Child {
        self.rig(what).arg(self.0.path().join("m")).spawn().unwrap()
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        let script = crate::lab::rig("db.sh");
        let folder = self.0.path().join("m");
        let _ = std::process::Command::new(script).arg("stop").arg(folder).status();
    }
}

async fn done(child: Child) -> String {
    let Output { status, stdout, stderr } = child.wait_with_output().await.unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[tokio::test]
async fn a_full_disk_under_mariadb_loses_no_session() {
    let listener = Listener::tcp().await;
    let (server, url) = Mariadb::start().await;
    let bed = Bed::new(&listener).await.on(&url);
    bed.store.migrate(false).await.unwrap();
    bed.add_user("alice", "correct horse").await;
    let more = format!("[journal]\npath = \"{}\"\n", bed.folder().join("journal.db").display());
    let (_daemon, mut controller, _) = beside_with(&bed, &listener, &more).await;
    // It goes on in the pages that it has; the first that it needs more is refused.
    let mut fill = server.run("fill");
    let (mut cid, mut came) = (0, HashSet::new());
    let mut come_and_go = async |controller: &mut super::Controller| {
        cid += 1;
        let is_in = is_let_in(controller, cid).await;
        if is_in {
            controller.disconnect(cid).await;
            came.insert(Cid(cid));
        }
        is_in
    };
    while fill.try_wait().unwrap().is_none() {
        come_and_go(&mut controller).await;
    }
    assert_eq!(done(fill).await.trim(), "full");
    // Who is in is answered and may leave; logins are let in or denied for a moment, and nothing else.
    controller.ask("REAUTH", 0, 2, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth-nt 0 2").await;
    controller.say("SUCCESS: client-auth command succeeded\n").await;
    controller.disconnect(0).await;
    for _ in 0..20 {
        come_and_go(&mut controller).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    done(server.run("free")).await;
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
    assert!(log.contains("is full (1114)"), "{log}");
    bed.store.close().await;
}
