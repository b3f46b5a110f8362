//! Commands of other programs in the documentation: each is run by a test, here or where the table says, with the words
//! that stand there.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use super::{block_lines, documents, example, inline, said};
use crate::cli::bench::{Bench, Ended, finish};

/// What a line or words between backquotes begin with when they are a command.
const PROGRAMS: [&str; 44] = [
    "adduser",
    "apt",
    "apt-get",
    "cargo",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "conf/docker/prepare.sh",
    "cp",
    "curl",
    "docker",
    "dpkg",
    "fail2ban-client",
    "fail2ban-regex",
    "getent",
    "grep",
    "install",
    "journalctl",
    "jq",
    "kill",
    "make",
    "mariadb-dump",
    "mkdir",
    "mv",
    "mysqldump",
    "nginx",
    "openssl",
    "openvpn",
    "pip",
    "promtool",
    "rm",
    "runuser",
    "rustup",
    "sed",
    "sh",
    "sqlite3",
    "ss",
    "ssh",
    "sudo",
    "systemctl",
    "systemd-tmpfiles",
    "useradd",
    "wget",
];

/// How a command begins, and the test that runs it: a file, and words that are in it.
const RUN_BY: [(&str, &str, &str); 29] = [
    ("journalctl -t ovpn-warden -o cat | jq", HERE, "said(\"README.md\", \"journalctl"),
    ("jq 'select(.user == \"NAME\"", HERE, "said(\"docs/troubleshooting.md\", \"jq 'select("),
    ("cat /sys/class/net", HERE, "said(\"docs/clients.md\", \"cat"),
    ("ss -tnp", HERE, "said(\"docs/troubleshooting.md\", \"ss -tnp"),
    (
        "sqlite3 /var/lib/ovpn-warden/warden.db \".backup",
        HERE,
        "said(\"docs/operations.md\", \"sqlite3 /var",
    ),
    ("sqlite3 -header -csv", HERE, "said(\"docs/operations.md\", \"sqlite3 -header"),
    (
        "openssl rand -base64 32 > /etc/ovpn-warden/challenge.key",
        HERE,
        "said(\"docs/second-factor.md\", \"openssl",
    ),
    ("openssl rand -hex 32", HERE, "said(\"docs/console.md\", \"sudo sh -c"),
    ("sudo sh -c 'umask 027; openssl rand", HERE, "said(\"docs/console.md\", \"sudo sh -c"),
    ("mysqldump --single-transaction vpn", "tests/it/docs/sql.rs", "mysqldump"),
    ("cp conf/fail2ban/", "tests/it/watching/fail2ban.rs", "cp conf/fail2ban/"),
    (
        "systemctl reload fail2ban && fail2ban-client",
        "tests/it/watching/fail2ban.rs",
        "fail2ban-client",
    ),
    ("useradd --system", SYSTEMD, "by_hand 'useradd"),
    ("make build && install -m 0755", SYSTEMD, "by_hand 'install -m 0755"),
    ("install -d -o root", SYSTEMD, "by_hand 'install -d"),
    ("install -m 0640 -g ovpn-warden", SYSTEMD, "by_hand 'install -m 0640"),
    ("openssl x509 -req", "tests/rig/systemd-mysql.sh", "sign_as_operations_say"),
    ("install -m 0644 conf/ovpn-warden.service", SYSTEMD, "by_hand 'install -m 0644"),
    ("journalctl -fu ovpn-warden", SYSTEMD, "journalctl -fu"),
    ("systemctl stop ovpn-warden", SYSTEMD, "unit stop"),
    ("systemctl restart ovpn-warden", SYSTEMD, "unit restart"),
    ("systemctl edit ovpn-warden", SYSTEMD, "ovpn-warden.service.d"),
    ("systemd-tmpfiles --create", SYSTEMD, "systemd-tmpfiles --create"),
    ("kill -HUP", "tests/it/service.rs", "config.reloaded"),
    ("runuser -u ovpn-warden -- ovpn-warden migrate", "tests/rig/deb.sh", "ovpn-warden migrate"),
    ("make deb && apt install", "tests/rig/deb.sh", "apt install"),
    ("apt install ./ovpn-warden", "tests/rig/deb.sh", "apt install"),
    // As far as that goes without a container engine.
    (
        "conf/docker/prepare.sh && docker compose up",
        "tests/rig/compose-check.sh",
        "conf/docker/prepare.sh",
    ),
    ("cargo tree", "tests/rig/sbom.sh", "cargo tree"),
];
const HERE: &str = "tests/it/docs/shell.rs";
const SYSTEMD: &str = "tests/rig/systemd.sh";

/// What no test runs: another machine is at its end, or it takes a quarter of an hour.
const BY_HAND: [&str; 4] =
    ["ssh -L", "rustup target add", "apt-get install musl-tools", "cargo build --release --target"];

/// Commands of other programs in a document.
fn commands(text: &str) -> Vec<String> {
    let lines = block_lines(text).into_iter().map(|line| line.split("  #").next().unwrap().trim());
    let all = lines.map(str::to_owned).chain(inline(text)).map(|words| {
        // Without the variables before it.
        let is_variable = |word: &&str| {
            let name = word.split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        };
        words.split(' ').skip_while(is_variable).collect::<Vec<_>>().join(" ")
    });
    let is_command = |words: &String| {
        let mut words = words.split(' ');
        // One word alone is the name of a program.
        words.next().is_some_and(|program| PROGRAMS.contains(&program)) && words.next().is_some()
    };
    all.filter(is_command).collect()
}

#[test]
fn every_command_of_other_programs_is_run_by_a_test() {
    let mut count = 0;
    for (path, text) in documents() {
        if path == "CHANGELOG.md" {
            continue;
        }
        for command in commands(&text) {
            count += 1;
            if let Some(arguments) =
                command.strip_prefix("make ").filter(|rest| !rest.contains("&&"))
            {
                let target = arguments.split(' ').next().unwrap();
                let makefile = fs::read_to_string("Makefile").unwrap();
                assert!(
                    makefile.contains(&format!("\n{target}:")),
                    "{path}: {command}: no such target"
                );
                continue;
            }
            if BY_HAND.iter().any(|words| command.contains(words)) {
                continue;
            }
            let by = RUN_BY.iter().find(|(begin, ..)| command.starts_with(begin));
            let Some((_, file, words)) = by else { panic!("{path}: no test runs `{command}`") };
            assert!(fs::read_to_string(file).unwrap().contains(words), "{file} has no {words}");
        }
    }
    assert!(count > 50, "{count}");
}

/// The lines of every event, as in the documentation.
fn events() -> String {
    let text = fs::read_to_string("docs/events.md").unwrap();
    text.lines()
        .filter(|line| line.starts_with("{\"timestamp\""))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// A shell in the bench's folder, where `folder/bin` is looked at first.
fn shell(bench: &Bench, command: &str, input: &str) -> Ended {
    let mut shell = Command::new("sh");
    let path = format!("{}:/usr/local/bin:/usr/sbin:/usr/bin:/bin", bench.path("bin"));
    shell.env_clear().env("PATH", path).current_dir(bench.folder.path()).args(["-c", command]);
    finish(shell, input.as_bytes())
}

#[test]
fn one_field_tells_a_users_story() {
    let bench = Bench::new();
    fs::create_dir(bench.path("bin")).unwrap();
    fs::write(bench.path("bin/journalctl"), "#!/bin/sh\ncat lines\n").unwrap();
    fs::set_permissions(bench.path("bin/journalctl"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(bench.path("lines"), events()).unwrap();
    let command = said("README.md", "journalctl -t ovpn-warden");
    let told = shell(&bench, &command, "").ok(&[&command]);
    for event in ["auth.allowed", "auth.denied", "session.opened", "session.closed", "admin.action"]
    {
        assert!(told.contains(&format!("\"event\": \"{event}\"")), "{event}: {told}");
    }
    assert!(!told.contains("link.up"), "{told}");
    let command = said("docs/troubleshooting.md", "jq 'select(").replace("NAME", "alice");
    assert_eq!(shell(&bench, &command, &events()).ok(&[&command]), "\"device_unknown\"\n");
}

#[test]
fn a_linux_client_finds_its_address() {
    let command = said("docs/clients.md", "cat /sys");
    let told = shell(&Bench::new(), &command, "").ok(&[&command]);
    assert!(told.lines().all(|line| line.matches(':').count() >= 5), "{told}");
}

#[test]
fn who_holds_a_port_is_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _held = TcpStream::connect(address).unwrap();
    let command = said("docs/troubleshooting.md", "ss -tnp").replace('\\', "");
    let command = command.replace("7505", &address.port().to_string());
    let told = shell(&Bench::new(), &command, "").ok(&[&command]);
    assert!(told.contains(&address.to_string()), "{told}");
}

#[tokio::test]
async fn an_sqlite_database_is_copied_and_its_users_go_elsewhere() {
    let bench = example().await;
    let command = said("docs/operations.md", "sqlite3 /var").replace("/var/lib/ovpn-warden/", "");
    shell(&bench, &command, "").ok(&[&command]);
    let copy = Bench::new();
    fs::copy(bench.path("copy.db"), copy.path("warden.db")).unwrap();
    assert!(copy.ok(&["session", "list"]).contains("alice"));

    let command = said("docs/operations.md", "sqlite3 -header");
    shell(&bench, &command, "").ok(&[&command]);
    let new = Bench::new();
    new.ok(&["migrate"]);
    new.ok(&["policy", "add", "guests"]);
    fs::copy(bench.path("people.csv"), new.path("people.csv")).unwrap();
    new.ok(&["import", "csv", &new.path("people.csv"), "--apply"]);
    let hash = "SELECT password_hash FROM users WHERE name = 'alice'";
    let moved = new.ask(hash).await;
    assert!(moved.is_some() && moved == bench.ask(hash).await, "{moved:?}");
    assert!(new.ok(&["device", "list", "alice"]).contains("02:1a:2b:3c:4d:5e"));
    assert_eq!(new.json(&["user", "show", "alice"])["policy"], "guests");
}

#[test]
fn secrets_that_are_made_as_it_says_are_taken() {
    let bench = Bench::new();
    let here = |command: String| {
        let folder = bench.folder.path().display().to_string();
        // The package makes the group; here everybody's own will do.
        let group =
            String::from_utf8(Command::new("id").arg("-gn").output().unwrap().stdout).unwrap();
        command
            .trim_start_matches("sudo ")
            .replace("chgrp ovpn-warden", &format!("chgrp {}", group.trim()))
            .replace("/etc/ovpn-warden", &folder)
    };
    let token = here(said("docs/console.md", "sudo sh -c 'umask 027; openssl rand -hex 32"));
    shell(&bench, &token, "").ok(&[&token]);
    let key = here(said("docs/second-factor.md", "openssl rand -base64"));
    shell(&bench, &key, "").ok(&[&key]);
    fs::set_permissions(bench.path("challenge.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let mode = fs::metadata(bench.path("console.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    bench.configure(&format!(
        "[database]\nurl = \"sqlite://{}\"\n[auth]\nchallenge_key_file = \"{}\"\n[console]\nlisten = \"127.0.0.1:9177\"\ntoken_file = \"{}\"\n",
        bench.path("warden.db"),
        bench.path("challenge.key"),
        bench.path("console.token"),
    ));
    let ended = bench.run(&["migrate"]);
    assert!(ended.code == 0 && ended.err.is_empty(), "{ended:?}");
}
