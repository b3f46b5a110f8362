//! The SQL of the documentation, on a real MySQL and a real MariaDB.

use std::{fs, process::Command};

use super::{block, block_lines, said};
use crate::{
    cli::bench::{Bench, Ended, finish},
    lab::rig,
};

/// A server of `make test`.
struct Server {
    folder: String,
    port: String,
}

impl Server {
    fn new(kind: &str) -> Self {
        let variable = |what: &str| {
            let name = format!("WARDEN_TEST_{kind}_{what}");
            std::env::var(&name).unwrap_or_else(|_| panic!("no {name}: run `make test`"))
        };
        let url = variable("URL");
        let port = url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
        Self { folder: variable("DIR"), port }
    }

    /// Runs SQL as the server's root.
    fn root(&self, sql: &[u8], database: &[&str]) -> Ended {
        let mut command = Command::new(rig("db.sh"));
        command.args(["sql", &self.folder]).args(database);
        finish(command, sql)
    }

    fn ok(&self, sql: &str, database: &str) -> String {
        let database = [database];
        self.root(sql.as_bytes(), &database[usize::from(database[0].is_empty())..]).ok(&[sql])
    }
}

/// A database and a user made as the README says, and the program with them.
struct Site<'a> {
    server: &'a Server,
    bench: Bench,
    name: String,
}

impl<'a> Site<'a> {
    fn new(server: &'a Server, name: &str, more: &str) -> Self {
        let made = inline_sql("README.md", "CREATE DATABASE vpn")
            .replace("vpn", name)
            .replace("'warden'", &format!("'{name}'"))
            .replace('…', "pass-word");
        server.ok(&made, "");
        let bench = Bench::new();
        let url = format!(
            "mysql://{name}:pass-word@localhost:{}/{name}?socket={}/sock",
            server.port, server.folder
        );
        bench.configure(&format!(
            "[database]\nurl = \"{url}\"\n[auth]\nargon2_m_kib = 64\nargon2_t = 1\n{more}"
        ));
        bench.ok(&["migrate"]);
        Self { server, bench, name: name.to_owned() }
    }

    fn sql(&self, sql: &str) -> String {
        self.server.ok(sql, &self.name)
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        let name = &self.name;
        let gone = format!("DROP DATABASE {name}; DROP USER '{name}'@'localhost'");
        self.server.root(gone.as_bytes(), &[]);
    }
}

/// SQL between backquotes, or in an indented block, that begins so.
fn inline_sql(path: &str, begin: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    let mut all = super::inline(&text).into_iter();
    all.find(|words| words.starts_with(begin)).unwrap_or_else(|| panic!("{path}: no `{begin}`"))
}

fn servers() -> [Server; 2] {
    ["MYSQL", "MARIADB"].map(Server::new)
}

/// A database server is shared by all tests: no two of them make one name.
fn unique(what: &str) -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    format!("docs_{what}_{}", &id[20..])
}

/// Of MySQL: MariaDB's own `mysqldump` is in a package of its own.
#[test]
fn the_dump_of_a_database_makes_another() {
    let server = &Server::new("MYSQL");
    let site = Site::new(server, &unique("a"), "");
    site.bench.add_user("alice");
    let command = said("docs/operations.md", "mysqldump").replace("vpn", &site.name);
    let fetch = Command::new(rig("mysql.sh")).arg("fetch").output().unwrap();
    let programs = String::from_utf8(fetch.stdout).unwrap();
    let options = format!("[client]\nuser=root\nsocket={}/sock\n", server.folder);
    fs::write(site.bench.path(".my.cnf"), options).unwrap();
    let mut shell = Command::new("sh");
    shell.env_clear().env("PATH", format!("{}:/usr/bin:/bin", programs.trim()));
    shell.env("HOME", site.bench.folder.path()).current_dir(site.bench.folder.path());
    shell.args(["-c", &format!("{command} >dump.sql")]);
    finish(shell, b"").ok(&[&command]);
    // Digests of migrations are in it as bytes.
    let dumped = fs::read(site.bench.path("dump.sql")).unwrap();
    let other = Site::new(server, &unique("b"), "");
    let name = &other.name;
    server.ok(&format!("DROP DATABASE {name}; CREATE DATABASE {name}"), "");
    server.root(&dumped, &[name.as_str()]).ok(&["the dump"]);
    assert_eq!(other.bench.json(&["user", "show", "alice"])["name"], "alice");
    assert!(other.bench.ok(&["migrate"]).contains("up to date"));
}

#[test]
fn tables_of_ones_own_serve_by_the_views_of_the_documentation() {
    for server in &servers() {
        let site = Site::new(
            server,
            &unique("v"),
            "password_schemes = [\"argon2id\", \"md5\"]\n[[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:9\"\n",
        );
        site.sql(
            "CREATE TABLE staff (nr INT PRIMARY KEY, login VARCHAR(64), pw VARCHAR(255), active TINYINT, \
             last_day DATE, macs VARCHAR(255), made DATETIME, changed DATETIME); \
             CREATE TABLE laptops (staff_nr INT, mac CHAR(17), stolen TINYINT, bought DATETIME); \
             INSERT INTO staff VALUES (7, 'alice', '5ebe2294ecd0e0f08eab7690d2a6ee69', 1, '2030-12-31', \
             '02-1a-2b-3c-4d-5e 02-1a-2b-3c-4d-5f', '2026-01-01', '2026-01-01'); \
             INSERT INTO laptops VALUES (7, '02-1A-2B-3C-4D-5E', 0, '2026-01-01'), \
             (7, '02-1A-2B-3C-4D-5F', 1, '2026-01-01')",
        );
        // First into our own tables, by the view for the import.
        let text = fs::read_to_string("docs/migration.md").unwrap();
        let lines = block_lines(&text);
        let at =
            lines.iter().position(|line| line.starts_with("CREATE VIEW import_users")).unwrap();
        site.sql(&lines[at..at + 3].join("\n"));
        site.bench.ok(&["import", "view", "--apply"]);
        let alice = ["explain", "alice", "--device", "02:1a:2b:3c:4d:5f", "--password-stdin"];
        let explained = site.bench.run_with(b"secret", &alice);
        assert_eq!(explained.code, 0, "{explained:?}");

        // Then in place of them.
        site.sql("UPDATE staff SET pw = CONCAT('{MD5}', pw)");
        site.sql(&block("docs/schema.md", "sql", "CREATE VIEW users AS"));
        assert!(site.bench.ok(&["user", "list"]).contains("alice"));
        let explained = site.bench.run_with(b"secret", &alice);
        assert!(explained.code == 3 && explained.out.contains("device_blocked"), "{explained:?}");
        assert!(!site.bench.run(&["check", "--connect"]).out.contains("nobody can log in"));
        let begin = "DELETE FROM second_factors WHERE user_id = …";
        let forgotten = inline_sql("docs/schema.md", begin).replace('…', "7");
        for table in
            ["second_factors", "recovery_codes", "user_config", "device_enrolments", "device_ends"]
        {
            site.sql(&forgotten.replace("second_factors", table));
        }
    }
}

#[test]
fn what_is_asked_of_tables_by_hand_is_there() {
    for server in &servers() {
        let site = Site::new(server, &unique("q"), "");
        let text = fs::read_to_string("docs/operations.md").unwrap();
        let asked: Vec<_> =
            block_lines(&text).into_iter().filter(|line| line.starts_with("SELECT ")).collect();
        assert_eq!(asked.len(), 1, "{asked:?}");
        site.sql(asked[0]);
        for begin in ["UPDATE _sqlx_migrations", "DELETE FROM _sqlx_migrations"] {
            let last = site.sql("SELECT MAX(version) FROM _sqlx_migrations");
            site.sql(&inline_sql("docs/schema.md", begin).replace('…', last.trim()));
        }
        let behind = site.bench.run(&["user", "list"]);
        behind.fails(1, "behind this program");
    }
}
