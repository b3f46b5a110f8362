//! Configuration: layers, bounds, and errors that a stranger can act on.

mod faults;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use ovpn_warden::{
    config::{Config, ConfigError, ConfigErrors, Endpoint, Loaded, LogFormat, load},
    store::{DeviceMode, SecondFactorMode},
    types::ExpiryAction,
};
use tempfile::TempDir;

use crate::cli::bench::Bench;

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

/// What `check` says, and `run` on its way up, of files with these modes.
#[test]
fn files_of_secrets_that_are_open_to_others_are_told_at_a_start_and_by_check() {
    let bench = Bench::new();
    let with = |file: &str, mode: u32| {
        fs::set_permissions(bench.path(file), fs::Permissions::from_mode(mode)).unwrap();
    };
    for file in ["client.key", "client.pem", "journal.db"] {
        fs::write(bench.path(file), "").unwrap();
    }
    let [key, cert, journal] = ["client.key", "client.pem", "journal.db"].map(|f| bench.path(f));
    let sqlite = format!("sqlite://{}", bench.path("warden.db"));
    assert_eq!(bench.run(&["migrate"]).code, 0);
    let database = |url: &str| {
        bench.configure(&format!(
            "[database]\nurl = \"{url}\"\n[journal]\npath = \"{journal}\"\n[http]\nlisten = \"\"\n\
             [[servers]]\nname = \"a\"\nmanagement = \"tcp://127.0.0.1:1\"\n"
        ));
    };
    let warned = |ended: &str| -> Vec<String> {
        let lines = ended.lines().filter_map(|line| line.strip_prefix("warning: "));
        lines.map(|line| line.replace(&bench.path(""), "")).collect()
    };
    let plain = "mysql://u@127.0.0.1:1/x".to_owned();
    let secret = "mysql://u:canary@127.0.0.1:1/x".to_owned();
    let keyed = format!("{plain}?ssl-cert={cert}&ssl-key={key}");
    let is = |by: &str, file: &str, mend: &str| {
        format!("{file} is {by} by every user of this machine; chmod {mend} {file}")
    };
    for (url, file, mode, told) in [
        (&secret, "config.toml", 0o640, None),
        (&secret, "config.toml", 0o644, Some(is("readable", "config.toml", "0640"))),
        (&secret, "config.toml", 0o646, Some(is("readable and writable", "config.toml", "0640"))),
        (&plain, "config.toml", 0o644, None),
        (&plain, "config.toml", 0o646, Some(is("writable", "config.toml", "o-w"))),
        (&keyed, "client.key", 0o640, None),
        (&keyed, "client.key", 0o644, Some(is("readable", "client.key", "0640"))),
        (&sqlite, "warden.db", 0o640, None),
        (&sqlite, "warden.db", 0o644, Some(is("readable", "warden.db", "0600"))),
        (&sqlite, "journal.db", 0o660, None),
        (&sqlite, "journal.db", 0o666, Some(is("readable and writable", "journal.db", "0600"))),
    ] {
        database(url);
        for file in ["client.key", "client.pem", "journal.db", "warden.db", "config.toml"] {
            with(file, 0o600);
        }
        // What a daemon that was killed has left beside them.
        for file in ["warden.db-wal", "warden.db-shm", "journal.db-wal", "journal.db-shm"] {
            if fs::exists(bench.path(file)).unwrap() {
                with(file, 0o600);
            }
        }
        with(file, mode);
        let ended = bench.run(&["check"]);
        let warnings = warned(&ended.err);
        assert_eq!(warnings.len(), usize::from(told.is_some()), "{file} {mode:o}: {}", ended.err);
        assert!(
            warnings.iter().all(|text| text.ends_with(told.as_deref().unwrap())),
            "{warnings:?}"
        );
        assert!(!ended.err.contains("canary"));
        // The daemon itself, on its way up: without its database it goes on.
        let mut daemon = bench.command(&["run"]);
        let mut daemon = daemon.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        daemon.kill().unwrap();
        let mut said = String::new();
        daemon.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        daemon.wait().unwrap();
        assert_eq!(warned(&said), warnings, "{line}");
    }
    with("journal.db", 0o600);
    fs::write(bench.path("journal.db-wal"), "").unwrap();
    with("journal.db-wal", 0o644);
    let warnings = warned(&bench.run(&["check"]).err);
    let told = is("readable", "journal.db-wal", "0600");
    assert!(matches!(&warnings[..], [one] if one.ends_with(&told)), "{warnings:?}");
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
        ("throttle", "everywhere_failures", 0, 1_000_000),
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
fn a_console_is_of_this_machine_only_and_of_somebody_who_can_log_in() {
    use ovpn_warden::config::ConsoleListen;

    const TOKEN: &str = "token = \"0123456789abcdef0123456789abcdef\"\n";
    assert!(Bed::new("").good().console.is_none());
    assert!(Bed::new(&format!("[console]\n{TOKEN}")).good().console.is_none(), "it is off");
    for (listen, expected) in [
        ("127.0.0.1:9177", ConsoleListen::Tcp(([127, 0, 0, 1], 9177).into())),
        ("unix:///run/x.sock", ConsoleListen::Unix("/run/x.sock".into())),
    ] {
        let text = format!("[console]\nlisten = \"{listen}\"\n{TOKEN}");
        let console = Bed::new(&text).good().console.unwrap();
        assert_eq!((console.listen.to_string().as_str(), console.listen), (listen, expected));
        assert!(console.token.is_some() && console.proxy_header.is_none());
    }
    let behind = "[console]\nlisten = \"unix:///run/x.sock\"\nproxy_header = \"X-User\"\n";
    let console = Bed::new(behind).good().console.unwrap();
    assert_eq!(console.proxy_header.unwrap(), "x-user");
    for (text, wanted) in [
        (format!("listen = \"192.0.2.7:9177\"\n{TOKEN}"), "other machines"),
        (format!("listen = \"0.0.0.0:9177\"\n{TOKEN}"), "other machines"),
        (format!("listen = \"9177\"\n{TOKEN}"), "127.0.0.1:9177"),
        (format!("listen = \"tcp://127.0.0.1:9177\"\n{TOKEN}"), "127.0.0.1:9177"),
        ("listen = \"127.0.0.1:9177\"\n".into(), "nobody could log in"),
        ("listen = \"127.0.0.1:9177\"\ntoken = \"canary\"\n".into(), "guessed"),
        ("listen = \"127.0.0.1:9177\"\nproxy_header = \"X-User\"\n".into(), "unix socket"),
        ("listen = \"unix:///run/x\"\nproxy_header = \"X User\"\n".into(), "name of a header"),
    ] {
        let lines = Bed::new(&format!("[console]\n{text}")).lines().join("\n");
        assert!(lines.contains(wanted) && !lines.contains("canary"), "{text}: {lines}");
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
