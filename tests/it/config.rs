//! Configuration: layers, bounds, and errors that a stranger can act on.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use ovpn_warden::{
    config::{Config, ConfigError, ConfigErrors, Endpoint, Loaded, LogFormat, load},
    store::{DeviceMode, SecondFactorMode},
    types::ExpiryAction,
};
use tempfile::TempDir;

/// The example of the interface document, word for word.
const INTERFACE: &str = r#"
[database]
url = "sqlite:///var/lib/ovpn-warden/warden.db"   # embedded default; or mysql://user@db1,db2:3306/vpn ; url_file = …
max_connections = 10

[[servers]]
name = "udp-1194"
management = "tcp://127.0.0.1:7505"       # or unix:///run/openvpn/udp.sock, or listen://127.0.0.1:7600
password_file = "/etc/ovpn-warden/mgmt.pw" #    (listen: OpenVPN dials in with management-client)

[auth]
timeout_ms = 8000                # always under half of OpenVPN's hand-window
device_mode = "enforce"          # off | log | learn | approve | enforce
device_sources = ["UV_CLIENT_MAC", "IV_HWADDR"]
hash_workers = 0                 # 0 = one per core
hash_queue = 256                 # beyond it: temporary denial

[session]
limit_s = 28800                  # 0 = none; policies override
expiry_action = "halt"           # halt | restart
accounting_interval_s = 30

[throttle]
user_failures = 5
address_failures = 20
window_s = 900

[log]
format = "json"
[http]
listen = "127.0.0.1:9176"        # /metrics /livez /readyz ; empty = off
"#;

struct Bed {
    folder: TempDir,
    files: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    flags: Vec<(&'static str, String)>,
}

impl Bed {
    fn new(text: &str) -> Self {
        let mut bed = Self {
            folder: TempDir::new().unwrap(),
            files: Vec::new(),
            environment: Vec::new(),
            flags: Vec::new(),
        };
        bed.add("config.toml", text);
        bed
    }

    fn add(&mut self, name: &str, text: &str) {
        let path = self.write(name, text.as_bytes());
        self.files.push(path);
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        path
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        let environment = self.environment.iter();
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        load(&self.files, environment, &self.flags)
    }

    #[track_caller]
    fn good(&self) -> Config {
        self.load().unwrap_or_else(|errors| panic!("{errors}")).config
    }

    /// The lines of the error, without the folder's name.
    fn lines(&self) -> Vec<String> {
        let errors = self.load().map(|_| ()).unwrap_err();
        let folder = format!("{}/", self.folder.path().display());
        errors.to_string().lines().map(|line| line.replace(&folder, "")).collect()
    }
}

fn sources(config: &Config) -> Vec<&str> {
    config.auth.device_sources.iter().map(|source| source.as_str()).collect()
}

#[test]
fn the_example_of_the_interface_loads_word_for_word() {
    let mut bed = Bed::new("");
    let secret = bed.write("mgmt.pw", b"s3cret\n");
    bed.add(
        "example.toml",
        &INTERFACE.replace("/etc/ovpn-warden/mgmt.pw", secret.to_str().unwrap()),
    );
    let config = bed.good();
    assert_eq!(config.database.url.expose(), b"sqlite:///var/lib/ovpn-warden/warden.db");
    assert_eq!(config.servers.len(), 1);
    let server = &config.servers[0];
    assert_eq!(server.name.as_str(), "udp-1194");
    assert_eq!(server.management, Endpoint::Tcp { host: "127.0.0.1".into(), port: 7505 });
    assert_eq!(server.password.as_ref().map(|p| p.expose()), Some(&b"s3cret"[..]));
    assert_eq!(config.auth.timeout, Duration::from_secs(8));
    assert_eq!(config.auth.device_mode, DeviceMode::Enforce);
    assert_eq!(sources(&config), ["UV_CLIENT_MAC", "IV_HWADDR"]);
    assert!(config.auth.hash_workers.get() >= 1, "0 became the number of cores");
    assert_eq!(config.session.limit, Some(Duration::from_secs(28_800)));
    assert_eq!(config.session.expiry_action, ExpiryAction::Halt);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.http.listen.map(|a| a.to_string()), Some("127.0.0.1:9176".into()));
}

#[test]
fn the_schemes_of_passwords_are_a_list_of_words() {
    use ovpn_warden::auth::password::{Scheme, Schemes};
    let schemes = |text: &str| Bed::new(text).good().auth.password_schemes;
    assert_eq!(schemes(""), Schemes::default(), "conf/default.toml says what the code says");
    let all: Vec<_> = Scheme::ALL.iter().map(|scheme| scheme.as_str()).collect();
    let text = format!("[auth]\npassword_schemes = {all:?}\n");
    assert_eq!(schemes(&text), Scheme::ALL.iter().copied().collect());
    let bed = Bed::new("").env("OVPN_WARDEN__AUTH__PASSWORD_SCHEMES", "argon2id, ssha");
    let listed = Schemes::from_iter([Scheme::Argon2id, Scheme::Ssha]);
    assert_eq!(bed.good().auth.password_schemes, listed);
}

#[test]
fn every_file_in_conf_loads() {
    let mut count = 0;
    for folder in ["conf", "conf/docker"] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            count += 1;
            // Secrets are where the file says only on the machine it is for.
            let mut bed = Bed::new("");
            let (url, password) =
                (bed.write("url", b"mysql://u:p@db/vpn\n"), bed.write("pw", b"x\n"));
            let lines = fs::read_to_string(&path).unwrap();
            let lines = lines.lines().map(|line| match line.split_once(" = ") {
                Some(("url_file", _)) => format!("url_file = {url:?}"),
                Some(("password_file", _)) => format!("password_file = {password:?}"),
                _ => line.to_owned(),
            });
            let text = lines.collect::<Vec<_>>().join("\n");
            bed.add("copy.toml", &text);
            let loaded = bed.load().unwrap_or_else(|errors| panic!("{}: {errors}", path.display()));
            assert_eq!(loaded.warnings, Vec::<String>::new(), "{}", path.display());
        }
    }
    assert!(count >= 3, "{count}");
}

#[test]
fn sessions_are_kept_for_ever_or_for_some_days() {
    assert_eq!(Bed::new("").good().retention.sessions, None);
    let config = Bed::new("[retention]\nsessions_days = 90\n").good();
    assert_eq!(config.retention.sessions, Some(Duration::from_secs(90 * 86_400)));
}

#[test]
fn zero_and_empty_switch_off() {
    let config = Bed::new("[session]\nlimit_s = 0\n[http]\nlisten = \"\"\n").good();
    assert_eq!(config.session.limit, None);
    assert_eq!(config.http.listen, None);
    assert!(config.servers.is_empty());
}

#[test]
fn later_files_then_the_environment_then_flags_win() {
    let mut bed = Bed::new(
        "[log]\nformat = \"compact\"\nlevel = \"warn\"\n[auth]\nhash_queue = 1\ntimeout_ms = 1000\n",
    );
    bed.add("second.toml", "[auth]\nhash_queue = 2\ntimeout_ms = 2000\n");
    let mut bed = bed
        .env("OVPN_WARDEN__AUTH__TIMEOUT_MS", "3000")
        .env("OVPN_WARDEN__LOG__FORMAT", "json")
        .env("OVPN_WARDEN__AUTH__MATCH_COMMON_NAME", "true")
        .env("OVPN_WARDEN__AUTH__DEVICE_SOURCES", "IV_HWADDR, UV_ID");
    bed.flags.push(("log.format", "pretty".into()));
    let config = bed.good();
    assert_eq!(config.auth.hash_queue, 2);
    assert_eq!(config.auth.timeout, Duration::from_secs(3));
    assert!(config.auth.match_common_name);
    assert_eq!(sources(&config), ["IV_HWADDR", "UV_ID"]);
    assert_eq!(config.log.format, LogFormat::Pretty);
    assert_eq!(config.log.level, tracing::level_filters::LevelFilter::WARN);
}

#[test]
fn the_environment_can_make_servers_and_change_those_of_a_file() {
    let bed = Bed::new("")
        .env("OVPN_WARDEN__SERVERS__0__NAME", "udp")
        .env("OVPN_WARDEN__SERVERS__0__MANAGEMENT", "unix:///run/udp.sock")
        .env("OVPN_WARDEN__SERVERS__0__PASSWORD", "007");
    let config = bed.good();
    assert_eq!(config.servers[0].management, Endpoint::Unix("/run/udp.sock".into()));
    let password = config.servers[0].password.as_ref().map(|p| p.expose().to_vec());
    assert_eq!(password, Some(b"007".to_vec()), "never taken for a number");

    let server =
        "[[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:7505\"\npassword = \"old\"\n";
    let bed = Bed::new(server);
    let new = bed.write("new.pw", b"1e3\n");
    let bed = bed.env("OVPN_WARDEN__SERVERS__0__PASSWORD_FILE", new.to_str().unwrap());
    let config = bed.good();
    assert_eq!(config.servers[0].name.as_str(), "udp");
    assert_eq!(config.servers[0].password.as_ref().map(|p| p.expose()), Some(&b"1e3"[..]));
}

#[test]
fn the_upper_layer_decides_between_a_secret_and_its_file() {
    let bed = Bed::new("");
    let url = bed.write("url", b"mysql://u:007@db/vpn\n");
    let mut bed = bed.env("OVPN_WARDEN__DATABASE__URL_FILE", url.to_str().unwrap());
    assert_eq!(bed.good().database.url.expose(), b"mysql://u:007@db/vpn");
    bed.environment.clear();
    bed.add("a.toml", &format!("[database]\nurl_file = {url:?}\n"));
    bed.add("b.toml", "[database]\nurl = \"sqlite:///b.db\"\n");
    assert_eq!(bed.good().database.url.expose(), b"sqlite:///b.db");
}

#[test]
fn errors_name_file_key_and_mend_in_one_line_each() {
    for (text, line) in [
        (
            "[auth]\ntimeuot_ms = 1\n",
            "config.toml: auth.timeuot_ms: no such key; did you mean `timeout_ms`?",
        ),
        ("[sesion]\n", "config.toml: sesion: no such section; did you mean `session`?"),
        ("[http]\nport = 1\n", "config.toml: http.port: no such key; there are listen"),
        (
            "port = 1\n",
            "config.toml: port: no such section; there are database, servers, auth, session, throttle, retention, journal, webhook, log and http",
        ),
        (
            "[auth]\ntimeout_ms = \"8s\"\n",
            "config.toml: auth.timeout_ms: text stands where a whole number is expected",
        ),
        (
            "[auth]\ntimeout_ms = 30001\n",
            "config.toml: auth.timeout_ms: 30001 is out of range; use 100 to 30000",
        ),
        (
            "[throttle]\nuser_failures = -1\n",
            "config.toml: throttle.user_failures: -1 is out of range; use 0 to 1000000",
        ),
        (
            "[log]\nformat = \"yaml\"\n",
            "config.toml: log.format: `yaml` is not one of the permitted words; use json, pretty or compact",
        ),
        (
            "[auth]\ndevice_mode = true\n",
            "config.toml: auth.device_mode: true or false stands where text in quotes is expected",
        ),
        (
            "[auth]\nmatch_common_name = \"yes\"\n",
            "config.toml: auth.match_common_name: text stands where true or false is expected",
        ),
        (
            "[auth]\ndevice_sources = [\"MAC\"]\n",
            "config.toml: auth.device_sources: `MAC` carries no device: use IV_HWADDR, UV_… or tls_digest_sha256_0",
        ),
        (
            "[auth]\ndevice_sources = []\n",
            "config.toml: auth.device_sources: it is empty, so nobody could connect; name UV_CLIENT_MAC or IV_HWADDR, or set device_mode = \"off\"",
        ),
        (
            "[auth]\nargon2_m_kib = 8\nargon2_p = 4\n",
            "config.toml: auth.argon2_m_kib: argon2_p = 4 needs at least 32 KiB; raise it or lower argon2_p",
        ),
        (
            "[auth]\nargon2_m_kib = 1048576\nargon2_t = 3\n",
            "config.toml: auth.argon2_m_kib: argon2_t = 3 times so much memory is over 2097152 KiB, which is too slow for a login; lower one of the two",
        ),
        (
            "[auth]\npassword_schemes = \"bcrypt\"\n",
            "config.toml: auth.password_schemes: text stands where a list of texts is expected",
        ),
        (
            "[auth]\npassword_schemes = [\"argon2id\", \"des\"]\n",
            "config.toml: auth.password_schemes: `des` is not one of the permitted words; use argon2id, argon2i, argon2d, bcrypt, sha512-crypt, sha256-crypt, md5-crypt, phpass, pbkdf2-sha256, scrypt, mysql, ssha, ssha256, ssha512, nt, md5, sha1 or sha256",
        ),
        (
            "[auth]\npassword_schemes = [\"bcrypt\"]\n",
            "config.toml: auth.password_schemes: it leaves out argon2id, which new hashes are made with; add it",
        ),
        (
            "[auth]\npassword_schemes = []\n",
            "config.toml: auth.password_schemes: it leaves out argon2id, which new hashes are made with; add it",
        ),
        (
            "[auth]\ndevice_mode = \"strict\"\n",
            "config.toml: auth.device_mode: `strict` is not one of the permitted words; use off, log, learn, approve or enforce",
        ),
        (
            "[auth]\ntimeout = 8000\n",
            "config.toml: auth.timeout: no such key; did you mean `timeout_ms`?",
        ),
        (
            "\"servers[9999999999]\" = { name = \"a\" }\n",
            "config.toml: servers[9999999999]: no such section; write a key below its section, as [auth] and then timeout_ms = 8000",
        ),
        (
            "[database]\nurl = 2026-12-31\n",
            "config.toml: database.url: a date stands where text in quotes is expected",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npassword = 7\n",
            "config.toml: servers[0].password: a number stands where text in quotes is expected",
        ),
        ("[auth]\nargon2_m_kib = 8 8\n", "config.toml:2: auth.argon2_m_kib: not valid TOML: "),
        (
            "[session]\nlimit_s = 99999999999999999999\n",
            "config.toml:2: session.limit_s: no key takes a number so far from 0; use at most 9223372036854775807",
        ),
        (
            "[session]\nlimit_s = -999999999999999999999999999999999999999999999999\n",
            "config.toml:2: session.limit_s: no key takes a number so far from 0; use at most 9223372036854775807",
        ),
        (
            "[database]\nurl = \"postgres://canary@h/x\"\n",
            "config.toml: database.url: it has to begin with sqlite:// or mysql://; write sqlite:///var/lib/ovpn-warden/warden.db or mysql://user:password@host/name",
        ),
        ("auth = 7\n", "config.toml: auth: a number stands where a section is expected"),
        (
            "[servers]\nname = \"a\"\n",
            "config.toml: servers: a section stands where a list of sections, each begun by [[servers]], is expected",
        ),
        (
            "[[servers]]\nname = \"a\"\n",
            "config.toml: servers[0].management: missing; say where OpenVPN's `management` line listens, as management = \"tcp://127.0.0.1:7505\"",
        ),
        (
            "[[servers]]\nmanagement = \"tcp://h:1\"\n",
            "config.toml: servers[0].name: missing; give each server a name, as name = \"udp-1194\"",
        ),
        (
            "[[servers]]\nname = \"a b\"\nmanagement = \"tcp://h:1\"\n",
            "config.toml: servers[0].name: `a b` is no server name; use 1 to 64 of A-Z a-z 0-9 . _ -",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"localhost\"\n",
            "config.toml: servers[0].management: `localhost`: not the address of a management interface; use tcp://host:port, unix:///path or listen://address:port",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"listen://7600\"\n",
            "config.toml: servers[0].management: `listen://7600`: no address and port to listen on; use listen://127.0.0.1:7600 (IPv6 in brackets)",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npeer = \"127.0.0.1\"\n",
            "config.toml: servers[0].peer: only a server that dials in (management = \"listen://…\") has a peer",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"listen://127.0.0.1:1\"\n[[servers]]\nname = \"b\"\nmanagement = \"listen://127.0.0.1:1\"\n",
            "config.toml: servers[1].management: server `b` cannot be told from `a`, which dials in to 127.0.0.1:1 too; give each a password_file of its own, or a peer",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\nrelay = \"tcp://0.0.0.0:7600\"\n",
            "config.toml: servers[0].relay: everybody could read there who is connected; use unix:///path or tcp://127.0.0.1:port",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://127.0.0.1:1\"\nrelay = \"tcp://127.0.0.1:1\"\n",
            "config.toml: servers[0].relay: servers[0] has the same address; correct one of them",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\n[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:2\"\n",
            "config.toml: servers[1].name: servers[0] is named `a` too; give each server its own name",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\n[[servers]]\nname = \"b\"\nmanagement = \"tcp://h:1\"\n",
            "config.toml: servers[1].management: servers[0] has the same address, and OpenVPN serves one client at a time; correct one of them",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npassword = \"x\"\npassword_file = \"/x\"\n",
            "config.toml: servers[0].password: given beside password_file; keep one of the two",
        ),
        (
            "[database]\nurl = \"sqlite:///x\"\nurl_file = \"/x\"\n",
            "config.toml: database.url: given beside url_file; keep one of the two",
        ),
        (
            "[database]\nurl_file = \"/nonexistent/url\"\n",
            "config.toml: database.url_file: /nonexistent/url: cannot read it: there is no such file; correct the path or make it",
        ),
        (
            "[database]\nurl_file = \"mysql://u@h/d\"\n",
            "config.toml: database.url_file: not the absolute path of a file, as /etc/ovpn-warden/url; a secret itself belongs in `url`",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://u@h:1\"\n",
            "config.toml: servers[0].management: no user or password belongs in it: the password has keys of its own; use tcp://host:port or unix:///path",
        ),
        (
            "[http]\nlisten = \"9176\"\n",
            "config.toml: http.listen: `9176` is no address with a port; use one as 127.0.0.1:9176, or \"\" to switch it off",
        ),
    ] {
        let lines = Bed::new(text).lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with(line), "\n{}\n{line}", lines[0]);
        assert!(lines[0] == line || line.ends_with(' '), "\n{}\n{line}", lines[0]);
    }
}

#[test]
fn faults_are_told_all_together() {
    let mut bed = Bed::new("[auth]\ntimeout_ms = 1\nhash_que = 3\n[log]\nformat = \"xml\"\n");
    bed.add("broken.toml", "[http\n");
    bed.add("absent.toml", "");
    fs::remove_file(&bed.files[2]).unwrap();
    let bed = bed.env("OVPN_WARDEN__AUTH__ARGON2_T", "many").env("OVPN_WARDEN__HTTP", "x");
    let lines = bed.lines();
    for part in [
        "config.toml: auth.timeout_ms: ",
        "config.toml: auth.hash_que: ",
        "config.toml: log.format: ",
        "broken.toml:1: not valid TOML: ",
        "absent.toml: cannot read the configuration: there is no such file",
        "environment variable OVPN_WARDEN__AUTH__ARGON2_T: auth.argon2_t: text stands where",
        "environment variable OVPN_WARDEN__HTTP: http: no such key; use OVPN_WARDEN__SECTION__KEY",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(part)), "{part}\n{lines:#?}");
    }
    assert_eq!(lines.len(), 7, "{lines:#?}");
}

#[test]
fn a_gap_between_servers_of_the_environment_is_named() {
    let bed = Bed::new("")
        .env("OVPN_WARDEN__SERVERS__1__NAME", "a")
        .env("OVPN_WARDEN__SERVERS__1__MANAGEMENT", "tcp://h:1");
    assert_eq!(
        bed.lines(),
        ["environment: servers[0]: missing; number the servers from 0 without a gap"]
    );
}

#[test]
fn what_can_be_no_configuration_file_is_told_so() {
    let mut bed = Bed::new("");
    bed.add("big.toml", &"#".repeat((1 << 20) + 1));
    assert_eq!(
        bed.lines(),
        [
            "big.toml: cannot read the configuration: it is larger than 1 MiB; is this the right file?"
        ]
    );
    bed.files = vec!["/".into()];
    assert_eq!(bed.lines(), ["/: cannot read the configuration: it is a folder; name a file"]);
}

#[test]
fn terminal_escapes_in_a_configuration_do_not_reach_the_terminal() {
    let lines = Bed::new("[log]\nformat = \"\\u001b[31m\\n\"\n").lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("\\u{1b}[31m\\u{a}"), "{}", lines[0]);

    let mut bed = Bed::new("");
    bed.add("a\nb.toml", "[log]\nlevel = 3\n");
    bed.add("c\nd.toml", "[log\n");
    assert_eq!(bed.lines().len(), 2, "{:#?}", bed.lines());
}

#[test]
fn secrets_are_in_no_error_and_no_debug_output() {
    let server = "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npassword = \"canary\"\n";
    let database = "[database]\nurl = \"mysql://u:canary@h/d\"\n";
    let good = Bed::new(&format!("{database}{server}"));
    assert!(!format!("{:?}", good.load().unwrap()).contains("canary"));
    let long = "canary".repeat(1_000);
    for text in [
        format!("{database}{server}password_file = \"/x\"\n"),
        format!("{database}url_file = \"/x\"\n"),
        "[database]\nurl = [\"canary\"]\n".into(),
        "[database]\nurl = \"canary\\ncanary\"\n".into(),
        format!("[database]\nurl = \"{long}\"\n"),
        "[database]\nurl = \"canary\n".into(),
        "[database]\nurl = canary\n".into(),
        "[database]\nurl = \"a\" canary\n".into(),
        format!("{server}password = \"canary2\"\n"),
        "[database]\nurl_file = \"mysql://u:canary@h/d\"\n".into(),
        server.replace("password = ", "password_file = "),
        server.replace("tcp://h:1", "tcp://u:canary@h:1"),
    ] {
        let lines = Bed::new(&text).lines();
        assert!(!lines.join("\n").contains("canary"), "{lines:#?}");
    }
}

#[test]
fn what_is_open_to_others_is_warned_about() {
    let bed = Bed::new("");
    let secret = bed.write("pw", b"x\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bed = bed;
    bed.add(
        "server.toml",
        &format!("[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npassword_file = {secret:?}\n[http]\nlisten = \"0.0.0.0:9176\"\n"),
    );
    let warnings = bed.load().unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(
        warnings[0].contains("servers[0].password_file: ") && warnings[0].contains("chmod 0640")
    );
    assert!(warnings[1].contains("http.listen: 0.0.0.0:9176 can be reached"), "{}", warnings[1]);
}

#[test]
fn every_number_has_both_bounds() {
    for (section, key, min, max) in [
        ("database", "max_connections", 1, 1_000),
        ("database", "timeout_ms", 100, 60_000),
        ("auth", "timeout_ms", 100, 30_000),
        ("auth", "hash_workers", 0, 256),
        ("auth", "hash_queue", 1, 65_536),
        ("auth", "argon2_m_kib", 8, 1_048_576),
        ("auth", "argon2_t", 1, 64),
        ("auth", "argon2_p", 1, 64),
        ("auth", "retry_backoff_s", 1, 3_600),
        ("session", "limit_s", 0, 315_360_000),
        ("session", "accounting_interval_s", 1, 3_600),
        ("session", "backstop_s", 5, 86_400),
        ("throttle", "user_failures", 0, 1_000_000),
        ("throttle", "address_failures", 0, 1_000_000),
        ("throttle", "window_s", 1, 86_400),
        ("retention", "sessions_days", 0, 36_500),
        ("auth", "offline_grace_s", 0, 604_800),
        ("session", "warn_before_s", 0, 86_400),
        ("journal", "max_mib", 1, 65_536),
        ("auth", "challenge_timeout_s", 10, 240),
        ("throttle", "code_failures", 0, 1_000_000),
        ("webhook", "timeout_ms", 100, 60_000),
        ("webhook", "queue", 1, 100_000),
    ] {
        let with = |value: i64| Bed::new(&format!("[{section}]\n{key} = {value}\n"));
        for good in [min, max] {
            with(good).good();
        }
        for bad in [min - 1, max + 1, i64::MIN, i64::MAX] {
            let ConfigErrors(errors) = with(bad).load().map(|_| ()).unwrap_err();
            assert!(
                matches!(&errors[..], [ConfigError::OutOfRange { .. }]),
                "{section}.{key} = {bad}: {errors:?}"
            );
        }
    }
}

#[test]
fn a_challenge_key_is_long_and_kept_to_itself() {
    let auth = Bed::new("").good().auth;
    assert!(auth.challenge_key.is_none());
    assert_eq!(auth.second_factor, SecondFactorMode::Optional);
    let key = "canary-canary-canary-canary-4711";
    let text = format!("[auth]\nchallenge_key = \"{key}\"\nsecond_factor = \"required\"\n");
    let auth = Bed::new(&text).good().auth;
    assert_eq!(auth.challenge_key.as_ref().unwrap().expose(), key.as_bytes());
    assert_eq!(auth.second_factor, SecondFactorMode::Required);
    assert!(!format!("{auth:?}").contains("canary"));
    let short = Bed::new("[auth]\nchallenge_key = \"canary\"\n").lines().join("\n");
    assert!(short.contains("auth.challenge_key") && !short.contains("canary"), "{short}");
    let word = Bed::new("[auth]\nsecond_factor = \"always\"\n").lines().join("\n");
    assert!(word.contains("auth.second_factor"), "{word}");
}

#[test]
fn a_webhook_needs_a_url_that_can_be_used_and_a_secret() {
    assert!(Bed::new("").good().webhook.is_none());
    let text = |url: &str| format!("[webhook]\nurl = \"{url}\"\nsecret = \"s\"\n");
    let hook = Bed::new(&text("https://hooks.example.com/vpn?x=1")).good().webhook.unwrap();
    assert_eq!(hook.url.expose(), b"https://hooks.example.com/vpn?x=1");
    assert!(!format!("{hook:?}").contains("example"), "its path may be a secret");
    assert_eq!(hook.events, ovpn_warden::config::WEBHOOK_EVENTS);
    for bad in ["ftp://host/", "host/path", "https://user:canary@host/", "https://", "/path"] {
        let lines = Bed::new(&text(bad)).lines().join("\n");
        assert!(lines.contains("webhook.url") && !lines.contains("canary"), "{bad}: {lines}");
    }
    let lines = Bed::new("[webhook]\nurl = \"https://host/\"\n").lines().join("\n");
    assert!(lines.contains("webhook.url") && lines.contains("secret_file"), "{lines}");
    let lines = Bed::new("[webhook]\nevents = [\"session.open\"]\n").lines().join("\n");
    assert!(lines.contains("webhook.events") && lines.contains("session.opened"), "{lines}");
    for (url, warned) in [
        ("http://10.0.0.1/", true),
        ("http://127.0.0.1:8080/", false),
        ("http://[::1]:8080/", false),
        ("https://10.0.0.1/", false),
    ] {
        let loaded = Bed::new(&text(url)).load().unwrap();
        assert_eq!(loaded.warnings.iter().any(|w| w.contains("webhook.url")), warned, "{url}");
    }
}

#[test]
fn a_journal_has_an_absolute_path_or_none() {
    let journal = Bed::new("").good().journal;
    assert_eq!(journal.path, Some("/var/lib/ovpn-warden/journal.db".into()));
    assert_eq!(journal.max_bytes, 64 << 20);
    assert_eq!(Bed::new("[journal]\npath = \"\"\n").good().journal.path, None);
    let lines = Bed::new("[journal]\npath = \"journal.db\"\n").lines().join("\n");
    assert!(lines.contains("journal.path") && lines.contains("absolute"), "{lines}");
}
