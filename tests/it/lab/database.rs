//! A database per lab: a SQLite file, or a database of its own on the servers of `tests/rig/run.sh`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Scratch;
use super::net::Namespace;
use super::process::{Process, must, wait_until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Mysql,
    Mariadb,
}

pub struct Database {
    url: String,
    remote: Option<Remote>,
}

/// A database on a server outside the lab, behind a door inside.
struct Remote {
    name: String,
    /// The server's folder, for `db.sh sql`.
    server: PathBuf,
    port: u16,
    namespace: Namespace,
    log: PathBuf,
    door: Option<Process>,
    _dir: Scratch,
}

impl Database {
    #[track_caller]
    pub(super) fn create(
        scratch: &Scratch,
        namespace: &Namespace,
        index: u16,
        backend: Backend,
    ) -> Self {
        let dir = scratch.path();
        let variable = match backend {
            Backend::Sqlite => {
                let file = dir.join(format!("warden-{index}.db"));
                return Self { url: format!("sqlite://{}", file.display()), remote: None };
            }
            Backend::Mysql => "WARDEN_TEST_MYSQL_DIR",
            Backend::Mariadb => "WARDEN_TEST_MARIADB_DIR",
        };
        let server = PathBuf::from(must(
            std::env::var(variable),
            &format!("find the {backend:?} server by {variable}; run `make test`"),
        ));
        // The scratch directory's name is unique on this machine; its letters may be in capitals.
        let unique = dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase()
            .replace(['-', '.'], "_");
        let name = format!("warden_{unique}_{index}");
        let port = 3306 + index;
        let remote = Remote {
            name: name.clone(),
            server,
            port,
            namespace: namespace.share(),
            log: dir.join(format!("database-{index}.log")),
            door: None,
            _dir: std::sync::Arc::clone(scratch),
        };
        remote.sql(&format!("CREATE DATABASE {name}"), None);
        let mut database = Self {
            url: format!("mysql://warden:warden@127.0.0.1:{port}/{name}"),
            remote: Some(remote),
        };
        database.start();
        database
    }

    /// For `[database] url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs SQL as the server's root in this database; the rows, tab-separated. Not for SQLite.
    ///
    /// # Panics
    /// When the server refuses it.
    #[track_caller]
    pub fn sql(&self, text: &str) -> String {
        match &self.remote {
            Some(remote) => remote.sql(text, Some(&remote.name)),
            None => panic!("SQL is run on MySQL and MariaDB only; read a SQLite file with sqlx"),
        }
    }

    /// Takes the database away: connections are cut, new ones refused. Not for SQLite.
    #[track_caller]
    pub fn stop(&mut self) {
        let Some(remote) = &mut self.remote else { panic!("a SQLite file cannot be stopped") };
        remote.door = None;
    }

    /// Brings it back.
    #[track_caller]
    pub fn start(&mut self) {
        let Some(remote) = &mut self.remote else {
            return;
        };
        let mut command = remote.namespace.command("socat");
        command
            .arg(format!("TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr,backlog=64", remote.port))
            .arg(format!("UNIX-CONNECT:{}", remote.server.join("sock").display()));
        let mut door = Process::start(command, &remote.log, None);
        let probe = format!("exec 3<>/dev/tcp/127.0.0.1/{}", remote.port);
        let open = wait_until(Duration::from_secs(5), || {
            assert!(door.status().is_none(), "socat ended: {}", door.log());
            let mut bash = remote.namespace.command("bash");
            bash.args(["-c", &probe])
                .stderr(Stdio::null())
                .status()
                .ok()
                .filter(|status| status.success())
        });
        assert!(open.is_some(), "the door to the database does not open: {}", door.log());
        remote.door = Some(door);
    }
}

impl Remote {
    #[track_caller]
    fn sql(&self, text: &str, database: Option<&str>) -> String {
        let mut child = must(
            Command::new(super::rig("db.sh"))
                .arg("sql")
                .arg(&self.server)
                .args(database)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn(),
            "start db.sh",
        );
        if let Some(mut input) = child.stdin.take() {
            must(input.write_all(text.as_bytes()), "send SQL");
        }
        let output = must(child.wait_with_output(), "wait for db.sh");
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.door = None;
        if !std::thread::panicking() {
            self.sql(&format!("DROP DATABASE {}", self.name), None);
        }
    }
}
