//! A folder with a configuration and a database, and the program run on it.

use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

/// The columns of `sessions` that rows of tests have.
pub const COLUMNS: &str = "id, version, state, server, run_started, cid, user_name, common_name, device, \
     device_kind, client_ip, client_port, vpn_ip, client_version, client_platform, started_at, \
     updated_at, deadline, deadline_reason, expiry_action, ended_at, cause, duration_s, \
     bytes_received, bytes_sent";

pub struct Bench {
    pub folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bench {
    /// An empty database; hashing is cheap.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self { folder };
        let url = format!("sqlite://{}", bench.path("warden.db"));
        bench.configure(&format!(
            "[database]\nurl = \"{url}\"\n[auth]\nargon2_m_kib = 64\nargon2_t = 1\n"
        ));
        bench
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Writes the configuration, for its owner only: it may hold a secret.
    pub fn configure(&self, text: &str) {
        let file = self.folder.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// The program with its configuration, and with nothing of this process's environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = bare();
        command.args(["-c", &self.path("config.toml")]).args(args);
        command
    }

    /// Runs it with nothing on standard input.
    pub fn run(&self, args: &[&str]) -> Ended {
        finish(self.command(args), b"")
    }

    /// Runs it with `input` on standard input.
    pub fn run_with(&self, input: &[u8], args: &[&str]) -> Ended {
        finish(self.command(args), input)
    }

    /// Runs it and expects success; returns what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok(args)
    }

    /// Runs it with `--json` and expects success.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.ok(&[args, &["--json"]].concat());
        assert_eq!(out.lines().count(), 1, "one line: {out}");
        serde_json::from_str(&out).unwrap()
    }

    pub fn add_user(&self, name: &str) {
        let args = ["user", "add", name, "--password-stdin"];
        self.run_with(b"secret", &args).ok(&args);
    }

    /// Runs SQL of the test's own on the database, as a daemon would change it.
    pub async fn sql(&self, sql: &str) {
        let options = SqliteConnectOptions::new().filename(self.path("warden.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A session that is open until 2999, as a daemon would have written it; `user` is SQL within
    /// quotes.
    pub async fn open_session(&self, id: &str, server: &str, cid: u32, user: &str) {
        self.sql(&format!(
            "INSERT INTO sessions (id, version, state, server, run_started, cid, user_name, \
             common_name, device, device_kind, client_ip, client_port, vpn_ip, client_version, \
             client_platform, started_at, updated_at, deadline, deadline_reason, expiry_action, \
             duration_s, bytes_received, bytes_sent) VALUES ('{id}', 1, 'active', '{server}', \
             '2026-11-01 00:00:00.000', {cid}, '{user}', 'cn', '02:1a:2b:3c:4d:5e', 'mac', \
             '198.51.100.207', 40000, '10.128.100.200', '2.6.12', 'linux', \
             '2026-11-03 00:00:00.000', '2026-11-03 00:00:00.000', '2999-01-01 00:00:00.000', \
             'session_limit', 'halt', 0, 1536, 10)"
        ))
        .await;
    }

    /// The one value that a query returns.
    pub async fn ask(&self, sql: &str) -> Option<String> {
        let options = SqliteConnectOptions::new().filename(self.path("warden.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let value = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned()))
            .fetch_optional(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        value
    }
}

/// The program without a configuration.
pub fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovpn-warden"));
    command.env_clear().env("USER", "tester");
    command
}

pub fn finish(mut command: Command, input: &[u8]) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without reading: that is its own affair.
    let _ = child.stdin.take().unwrap().write_all(input);
    Ended::from(child.wait_with_output().unwrap())
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    #[track_caller]
    pub fn ok(self, args: &[&str]) -> String {
        assert_eq!(self.code, 0, "{args:?}: {self:?}");
        self.out
    }

    /// Expects a failure with this code, an `error: …` that holds `words`, and no output.
    #[track_caller]
    pub fn fails(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.starts_with("error: ") && self.err.contains(words), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
    }
}
