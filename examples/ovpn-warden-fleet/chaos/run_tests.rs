use std::path::Path;

use clap::Parser as _;

use super::*;

/// A MariaDB of its own, which may be killed.
struct Mariadb(tempfile::TempDir);

impl Mariadb {
    fn start() -> (Self, String) {
        let folder = tempfile::Builder::new().prefix("warden-db.").tempdir().unwrap();
        let told = Self::rig(&["start", "mariadb"], folder.path(), "");
        let url = told.lines().find_map(|line| line.strip_prefix("URL=")).unwrap().to_owned();
        Self::rig(&["sql"], folder.path(), "CREATE DATABASE warden_chaos");
        (Self(folder), format!("{url}warden_chaos"))
    }

    fn rig(words: &[&str], folder: &Path, stdin: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/db.sh");
        let input = folder.join("input");
        std::fs::write(&input, stdin).unwrap();
        let output = std::process::Command::new(script)
            .args(words)
            .arg(folder.join("m"))
            .env("WARDEN_RIG_DISK", "256m")
            .stdin(std::fs::File::open(input).unwrap())
            .output()
            .unwrap();
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // A server that is to stop while a test fails is not what it failed by.
        let is_done = output.status.success() || std::thread::panicking();
        assert!(is_done, "db.sh {words:?}: {}", told(&output.stderr));
        told(&output.stdout)
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        Self::rig(&["stop"], self.0.path(), "");
    }
}

/// Two hundred clients, so many faults.
fn play(faults: usize, more: &[&str]) {
    let words = "fleet chaos --servers 4 --clients 50 --cheap --limit-s 8 --expiring 60 \
                 --wrong 2 --accounting-s 2 --backstop-s 5 --retry-backoff-s 2";
    let faults = faults.to_string();
    let words = words.split_whitespace().chain(["--faults", &faults]);
    let args = Args::parse_from(words.chain(more.iter().copied()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let result = runtime.block_on(run(&args)).unwrap();
    say(&result.table());
    assert!(result.get("sessions").unwrap() > 200.0, "too little happened");
    assert_eq!(result.get("wrong_answers"), Some(0.0), "the findings are above");
}

#[test]
fn faults_of_every_kind_lose_no_session_and_let_nobody_overstay() {
    let (database, url) = Mariadb::start();
    let folder = database.0.path().join("m");
    let folder = folder.to_str().unwrap();
    play(plan::EACH_KIND, &["--every-kind", "--database", &url, "--database-folder", folder]);
}

#[test]
fn six_kills_lose_no_session_and_let_nobody_overstay_on_sqlite() {
    play(6, &[]);
}

#[test]
fn six_kills_lose_no_session_and_let_nobody_overstay_on_mariadb() {
    let (database, url) = Mariadb::start();
    let folder = database.0.path().join("m");
    play(6, &["--database", &url, "--database-folder", folder.to_str().unwrap()]);
}
