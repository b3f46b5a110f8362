//! A MariaDB at an address that is not of this machine's loopback, and a URL without `ssl-mode`: who it is has to be shown.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    cli::bench::bare,
    lab::{Namespace, rig, wait_until},
};

/// What its certificate names.
const HOST: &str = "192.0.2.10";
/// The same server by an address that its certificate does not name.
const OTHER: &str = "192.0.2.11";
const USER: &str = "canary_user";
const PASSWORD: &str = "canary-password";

/// A server in a network of its own, and what records what its clients send.
struct Remote {
    folder: TempDir,
    net: Namespace,
    port: u16,
}

fn ok(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn sh(folder: &Path, script: &str) {
    ok(Command::new("sh").args(["-euc", script]).current_dir(folder).output().unwrap());
}

impl Remote {
    fn start() -> Self {
        let net = Namespace::new();
        net.ip(&format!("link set lo up\naddr add {HOST}/32 dev lo\naddr add {OTHER}/32 dev lo\n"));
        let folder = tempfile::tempdir().unwrap();
        // What is there is kept by db.sh: an authority, and a certificate for that address.
        ok(Command::new(rig("pki.sh")).arg(folder.path().join("db/pki")).output().unwrap());
        ok(Command::new(rig("pki.sh")).arg(folder.path().join("other")).output().unwrap());
        sh(
            &folder.path().join("db/pki"),
            &format!(
                "openssl req -new -key server.key -subj /CN=database -out csr 2>/dev/null
                 echo 'subjectAltName=IP:{HOST}' >ext
                 openssl x509 -req -in csr -CA ca.crt -CAkey ca.key -set_serial 7 -days 30 -extfile ext -out server.crt 2>/dev/null"
            ),
        );
        let mut remote = Self { folder, net, port: 0 };
        let started = remote
            .net
            .command(rig("db.sh"))
            .args(["start", "mariadb"])
            .arg(remote.db())
            .env("WARDEN_RIG_OPTIONS", "--bind-address=0.0.0.0")
            .output();
        let started = ok(started.unwrap());
        let url = started.lines().find_map(|line| line.strip_prefix("URL=")).unwrap();
        let port = url.trim_end_matches('/').rsplit_once(':').unwrap().1;
        remote.port = port.parse().unwrap();
        remote.sql(&format!(
            "CREATE DATABASE warden_remote; CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'; \
             GRANT ALL ON warden_remote.* TO '{USER}'@'%';"
        ));
        remote
    }

    fn db(&self) -> std::path::PathBuf {
        self.folder.path().join("db")
    }

    fn ca(&self, of: &str) -> String {
        format!("?ssl-ca={}", self.folder.path().join(of).join("ca.crt").display())
    }

    fn sql(&self, text: &str) {
        let script = format!(
            "printf %s \"$1\" | '{}' sql '{}'",
            rig("db.sh").display(),
            self.db().display()
        );
        ok(Command::new("sh").args(["-c", &script, "sh", text]).output().unwrap());
    }

    /// Makes the server show another certificate, of its key.
    fn shows(&self, made_by: &str) {
        sh(&self.db().join("pki"), &format!("{made_by} -days 30 -out server.crt 2>/dev/null"));
        self.sql("FLUSH SSL");
    }

    /// The same files without a certificate: such a server has no TLS.
    fn without_tls(&self) {
        let command = fs::read_to_string(self.db().join("command")).unwrap();
        let plain = command.split(' ').filter(|word| !word.starts_with("--ssl-"));
        let plain = plain.collect::<Vec<_>>().join(" ") + " --skip-ssl";
        fs::write(self.db().join("command"), plain).unwrap();
        ok(Command::new(rig("db.sh")).arg("stop").arg(self.db()).output().unwrap());
        let again = self.net.command(rig("db.sh")).arg("again").arg(self.db()).output();
        ok(again.unwrap());
    }

    /// Runs a command of the program with the database at `host`; its exit code, what it said, and what it sent.
    fn run(&self, host: &str, parameters: &str, args: &[&str]) -> (i32, String, Vec<u8>) {
        let (sent, config) =
            (self.folder.path().join("sent"), self.folder.path().join("config.toml"));
        let _ = fs::remove_file(&sent);
        let mut recorder = self
            .net
            .command("socat")
            .arg("-r")
            .arg(&sent)
            .arg(format!("TCP-LISTEN:4406,bind={host},reuseaddr,fork"))
            .arg(format!("TCP:{HOST}:{}", self.port))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let is_open = || {
            let listening =
                self.net.command("ss").args(["-Hltn", "sport = :4406"]).output().unwrap();
            (!listening.stdout.is_empty()).then_some(())
        };
        assert!(wait_until(Duration::from_secs(10), is_open).is_some(), "the recorder listens");
        let url = format!("mysql://{USER}:{PASSWORD}@{host}:4406/warden_remote{parameters}");
        fs::write(&config, format!("[database]\nurl = \"{url}\"\nmax_connections = 1\n")).unwrap();
        let program = bare();
        let mut command = self.net.command(program.get_program());
        let ended = command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        let ended = ended.arg("-c").arg(&config).args(args).output().unwrap();
        let _ = recorder.kill();
        recorder.wait().unwrap();
        let told = [ended.stdout, ended.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        (ended.status.code().unwrap(), told, fs::read(&sent).unwrap_or_default())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = Command::new(rig("db.sh")).arg("stop").arg(self.db()).output();
    }
}

/// How many bytes of application data are in what was sent behind the 36 bytes that ask for TLS; `None` where it is no TLS.
fn in_secret(sent: &[u8]) -> Option<usize> {
    let (mut rest, mut length) = (sent.get(36..)?, 0);
    if !rest.starts_with(&[0x16, 0x03]) {
        return None;
    }
    while let [kind, 3, _, high, low, after @ ..] = rest {
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        length += if *kind == 0x17 { size } else { 0 };
        rest = after.get(size..).unwrap_or_default();
    }
    Some(length)
}

/// An alert under TLS 1.3; a login is many times that.
const ALERT: usize = 40;

fn has(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[test]
fn over_a_network_nobody_is_told_a_password_who_does_not_show_the_certificate_of_the_host() {
    let remote = Remote::start();
    let (code, told, sent) = remote.run(HOST, &remote.ca("db/pki"), &["migrate"]);
    assert_eq!(code, 0, "{told}");
    assert!(in_secret(&sent).is_some_and(|length| length > ALERT), "it is talked to in secret");
    assert!(!has(&sent, USER));
    for (host, parameters, why) in [
        (HOST, String::new(), "UnknownIssuer"),
        (HOST, remote.ca("other"), "certificate"),
        (OTHER, remote.ca("db/pki"), "certificate"),
    ] {
        let (code, told, sent) = remote.run(host, &parameters, &["user", "list"]);
        assert_eq!(code, 4, "{host}{parameters}: {told}");
        assert!(told.contains(why), "{host}{parameters}: {told}");
        let length = in_secret(&sent).expect("TLS was begun");
        assert!(
            length <= ALERT && !has(&sent, USER),
            "{host}{parameters}: {length} bytes were sent"
        );
    }
    // As the instructions of MySQL and MariaDB make it; and one that is its own authority.
    remote.shows("openssl x509 -req -in csr -CA ca.crt -CAkey ca.key -set_serial 8");
    let (code, told, _) = remote.run(HOST, &remote.ca("db/pki"), &["user", "list"]);
    assert!(code == 4 && told.contains("X.509 version 1"), "{told}");
    remote.shows(&format!(
        "openssl req -x509 -key server.key -subj /CN=x -addext subjectAltName=IP:{HOST}"
    ));
    sh(remote.folder.path(), "cp db/pki/server.crt other/ca.crt");
    let (code, told, _) = remote.run(HOST, &remote.ca("other"), &["user", "list"]);
    assert!(code == 4 && told.contains("it is an authority's own"), "{told}");
    remote.without_tls();
    let (code, told, sent) = remote.run(HOST, &remote.ca("db/pki"), &["user", "list"]);
    assert!(code == 4 && sent.is_empty(), "a server without TLS: {told} {sent:?}");
    // Who asks for it has it so, and is seen.
    let (code, told, sent) = remote.run(HOST, "?ssl-mode=DISABLED", &["user", "list"]);
    assert_eq!(code, 0, "{told}");
    assert!(in_secret(&sent).is_none() && has(&sent, USER), "this test can tell");
}
