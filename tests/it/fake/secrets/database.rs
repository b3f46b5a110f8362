//! A database of its own on the private MariaDB, for a user whose password is a canary.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

pub struct Database {
    pub name: String,
    server: PathBuf,
}

impl Database {
    pub fn new(password: &str) -> Self {
        let server = std::env::var("WARDEN_TEST_MARIADB_DIR");
        let server = server.expect("WARDEN_TEST_MARIADB_DIR is not set: run `make test`");
        let name = format!("warden_{}", uuid::Uuid::now_v7().simple());
        let database = Self { name, server: server.into() };
        let name = &database.name;
        database.sql(&format!(
            "CREATE DATABASE {name}; CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'; \
             GRANT ALL ON {name}.* TO '{name}'@'%'"
        ));
        database
    }

    /// The port of its server.
    pub fn port() -> u16 {
        let url = std::env::var("WARDEN_TEST_MARIADB_URL");
        let url = url.expect("WARDEN_TEST_MARIADB_URL is not set: run `make test`");
        url::Url::parse(&url).unwrap().port().unwrap()
    }

    /// Its URL, over that port.
    pub fn url(&self, port: u16, password: &str) -> String {
        let password: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("mysql://{0}:{password}@127.0.0.1:{port}/{0}", self.name)
    }

    /// Runs SQL as the server's root; the rows.
    pub fn sql(&self, text: &str) -> String {
        let mut command = Command::new(crate::lab::rig("db.sh"));
        command.arg("sql").arg(&self.server);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.sql(&format!("DROP DATABASE {0}; DROP USER '{0}'@'%'", self.name));
        }
    }
}
