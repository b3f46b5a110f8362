//! A database server of a test's own, to which anything may be done.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySqlConnection,
    mysql::MySqlConnectOptions,
};
use tokio::process::{Child, Command};

/// Gone with this.
pub struct Server(tempfile::TempDir);

impl Server {
    /// `kind` and variables as `tests/rig/db.sh` knows them; also the URL of an empty database on it.
    pub async fn start(kind: &str, variables: &[(&str, &str)]) -> (Self, String) {
        let own = Self(tempfile::Builder::new().prefix("warden-db.").tempdir().unwrap());
        let mut words = rig("start");
        words.arg(kind).arg(own.folder()).envs(variables.iter().copied());
        let told = done(words.spawn().unwrap()).await;
        let url = told.lines().find_map(|line| line.strip_prefix("URL=")).unwrap();
        let options: MySqlConnectOptions = url.trim_end_matches('/').parse().unwrap();
        let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("CREATE DATABASE warden_own").execute(&mut connection).await.unwrap();
        (own, format!("{url}warden_own"))
    }

    pub fn folder(&self) -> PathBuf {
        self.0.path().join("m")
    }

    /// Begun; what it tells is known when it has ended.
    pub fn run(&self, what: &str) -> Child {
        rig(what).arg(self.folder()).spawn().unwrap()
    }

    /// What the server itself writes down.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder().join("log")).unwrap()).into_owned()
    }

    /// Who may do everything.
    pub async fn root(&self) -> MySqlConnection {
        let options = MySqlConnectOptions::new().socket(self.folder().join("sock"));
        options.username("root").database("warden_own").connect().await.unwrap()
    }
}

/// Statements, whatever they answer.
pub async fn sql(connection: &mut MySqlConnection, text: &str) {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(connection).await.unwrap();
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "why a test has failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        let script = crate::lab::rig("db.sh");
        let _ = std::process::Command::new(script).arg("stop").arg(self.folder()).status();
    }
}

pub fn rig(what: &str) -> Command {
    let mut command = Command::new(crate::lab::rig("db.sh"));
    command.arg(what).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub async fn done(child: Child) -> String {
    let Output { status, stdout, stderr } = child.wait_with_output().await.unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
